//! Lends the machine to the interpreter, within a time limit.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use acpi::address::{AddressSpace, GenericAddress, MappedGas};
use acpi::aml::AmlError;
use acpi::registers::{FixedRegisters, Pm1ControlRegisterBlock, Pm1EventRegisterBlock};
use acpi::{AcpiError, Handle, Handler, PciAddress, PhysicalMapping};
use spin::Mutex;

/// What byte code may reach. Widths are 1, 2, 4 or 8 bytes.
pub trait Firmware: Send + Sync {
    fn port_read(&self, port: u16, bytes: u8) -> u32;
    fn port_write(&self, port: u16, bytes: u8, value: u32);
    fn memory_read(&self, address: u64, bytes: u8) -> u64;
    fn memory_write(&self, address: u64, bytes: u8, value: u64);
    fn config_read(&self, function: PciAddress, offset: u16, bytes: u8) -> u32;
    fn config_write(&self, function: PciAddress, offset: u16, bytes: u8, value: u32);
    fn now_ns(&self) -> u64;
    /// Lets others run for a while.
    fn sleep_ns(&self, ns: u64);
}

/// The ports of the fixed registers, from the FADT.
#[derive(Clone, Copy, Debug, Default)]
pub struct ControlPorts {
    pub event_a: u16,
    pub event_b: u16,
    pub control_a: u16,
    pub control_b: u16,
    /// Bytes of each event block.
    pub event_bytes: u8,
}

/// The firmware's interface, as a handler of the interpreter.
#[derive(Clone)]
pub(super) struct Lent {
    firmware: Arc<dyn Firmware>,
    /// Shared by all copies, so that each question gets its own.
    deadline_ns: Arc<AtomicU64>,
    /// How often each mutex is held; all code runs in one thread.
    mutexes: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Lent {
    pub(super) fn new(firmware: Arc<dyn Firmware>, limit_ns: u64) -> Self {
        let lent = Self {
            firmware,
            deadline_ns: Arc::default(),
            mutexes: Arc::default(),
        };
        lent.allow(limit_ns);
        lent
    }

    /// Lets code run for `limit_ns` from now on.
    pub(super) fn allow(&self, limit_ns: u64) {
        let end_ns = self.firmware.now_ns().saturating_add(limit_ns);
        self.deadline_ns.store(end_ns, Ordering::Relaxed);
    }

    /// The machine, while there is time.
    ///
    /// # Panics
    /// When there is none left. The interpreter has no other way to be stopped, and its callers contain panics.
    fn firmware(&self) -> &dyn Firmware {
        assert!(
            self.firmware.now_ns() < self.deadline_ns.load(Ordering::Relaxed),
            "the firmware's code takes too long"
        );
        &*self.firmware
    }
}

/// The fixed registers, as the interpreter wants them.
pub(super) fn registers(
    ports: ControlPorts,
    lent: &Lent,
) -> Result<FixedRegisters<Lent>, AcpiError> {
    let map = |port: u16, bytes: u8| {
        let address = GenericAddress {
            address_space: AddressSpace::SystemIo,
            bit_width: bytes.saturating_mul(8),
            bit_offset: 0,
            access_size: 0,
            address: u64::from(port),
        };
        #[expect(
            unsafe_code,
            reason = "the only way to make the interpreter's registers"
        )]
        // SAFETY: a register in port space touches no memory; `Lent` decides what the access does.
        unsafe {
            MappedGas::map_gas(address, lent)
        }
    };
    let second = |port: u16, bytes: u8| (port != 0).then(|| map(port, bytes)).transpose();
    Ok(FixedRegisters {
        pm1_event_registers: Pm1EventRegisterBlock {
            pm1_event_length: usize::from(ports.event_bytes),
            pm1a: map(ports.event_a, ports.event_bytes)?,
            pm1b: second(ports.event_b, ports.event_bytes)?,
        },
        pm1_control_registers: Pm1ControlRegisterBlock {
            pm1a: map(ports.control_a, 2)?,
            pm1b: second(ports.control_b, 2)?,
        },
    })
}

macro_rules! memory {
    ($($read:ident $write:ident $type:ty;)*) => {$(
        fn $read(&self, address: usize) -> $type {
            self.firmware().memory_read(address as u64, size_of::<$type>() as u8) as $type
        }
        fn $write(&self, address: usize, value: $type) {
            self.firmware().memory_write(address as u64, size_of::<$type>() as u8, u64::from(value));
        }
    )*};
}

macro_rules! ports {
    ($($read:ident $write:ident $type:ty;)*) => {$(
        fn $read(&self, port: u16) -> $type {
            self.firmware().port_read(port, size_of::<$type>() as u8) as $type
        }
        fn $write(&self, port: u16, value: $type) {
            self.firmware().port_write(port, size_of::<$type>() as u8, u32::from(value));
        }
    )*};
}

macro_rules! config {
    ($($read:ident $write:ident $type:ty;)*) => {$(
        fn $read(&self, function: PciAddress, offset: u16) -> $type {
            self.firmware().config_read(function, offset, size_of::<$type>() as u8) as $type
        }
        fn $write(&self, function: PciAddress, offset: u16, value: $type) {
            self.firmware().config_write(function, offset, size_of::<$type>() as u8, u32::from(value));
        }
    )*};
}

impl Handler for Lent {
    #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
    unsafe fn map_physical_region<T>(&self, start: usize, size: usize) -> PhysicalMapping<Self, T> {
        // Tables are given to the interpreter as slices and registers are ports, so nothing is mapped.
        unreachable!(
            "the interpreter maps {size} bytes at {start:#x} ({:p})",
            NonNull::<T>::dangling()
        );
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}

    memory! {
        read_u8 write_u8 u8;
        read_u16 write_u16 u16;
        read_u32 write_u32 u32;
        read_u64 write_u64 u64;
    }

    ports! {
        read_io_u8 write_io_u8 u8;
        read_io_u16 write_io_u16 u16;
        read_io_u32 write_io_u32 u32;
    }

    config! {
        read_pci_u8 write_pci_u8 u8;
        read_pci_u16 write_pci_u16 u16;
        read_pci_u32 write_pci_u32 u32;
    }

    fn nanos_since_boot(&self) -> u64 {
        self.firmware().now_ns()
    }

    fn stall(&self, microseconds: u64) {
        let end_ns = self
            .firmware
            .now_ns()
            .saturating_add(microseconds.saturating_mul(1000));
        while self.firmware().now_ns() < end_ns {
            core::hint::spin_loop();
        }
    }

    fn sleep(&self, milliseconds: u64) {
        self.firmware()
            .sleep_ns(milliseconds.saturating_mul(1_000_000));
    }

    fn create_mutex(&self) -> Handle {
        let mut mutexes = self.mutexes.lock();
        let number = mutexes.len() as u32;
        mutexes.insert(number, 0);
        Handle(number)
    }

    fn acquire(&self, mutex: Handle, _: u16) -> Result<(), AmlError> {
        // One thread runs all code, so a mutex that is held is held by the one who asks.
        *self.mutexes.lock().entry(mutex.0).or_default() += 1;
        Ok(())
    }

    fn release(&self, mutex: Handle) {
        if let Some(count) = self.mutexes.lock().get_mut(&mutex.0) {
            *count = count.saturating_sub(1);
        }
    }
}
