//! The modern PCI transport (VIRTIO 1.2, 4.1).

use alloc::vec::Vec;

use devapi::{DeviceError, Result};
use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::hal::{Mmio, wait_for};
use crate::pci::{ConfigSpace, Function, VENDOR};

const VIRTIO_VENDOR: u16 = 0x1af4;
const NO_VECTOR: u16 = 0xffff;
const RESET_LIMIT_NS: u64 = 100_000_000;

/// What kind of virtio device the function is, if it is one. Transitional devices, which have numbers of their own,
/// speak the modern protocol too.
pub fn device_type(function: &Function) -> Option<DeviceType> {
    if function.vendor != VIRTIO_VENDOR {
        return None;
    }
    match function.device {
        0x1000 => Some(DeviceType::Network),
        0x1001 => Some(DeviceType::Block),
        0x1002 => Some(DeviceType::MemoryBalloon),
        0x1003 => Some(DeviceType::Console),
        0x1004 => Some(DeviceType::ScsiHost),
        0x1005 => Some(DeviceType::EntropySource),
        0x1009 => Some(DeviceType::_9P),
        number @ 0x1041..=0x107f => DeviceType::try_from(number - 0x1040).ok(),
        _ => None,
    }
}

/// Registers of the common configuration.
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0;
    pub const DEVICE_FEATURE: usize = 4;
    pub const DRIVER_FEATURE_SELECT: usize = 8;
    pub const DRIVER_FEATURE: usize = 12;
    pub const CONFIG_VECTOR: usize = 16;
    pub const DEVICE_STATUS: usize = 20;
    pub const CONFIG_GENERATION: usize = 21;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_VECTOR: usize = 26;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY_OFF: usize = 30;
    pub const QUEUE_DESCRIPTORS: usize = 32;
    pub const QUEUE_DRIVER: usize = 40;
    pub const QUEUE_DEVICE: usize = 48;
    pub const BYTES: usize = 56;
}

/// Kinds of the vendor capability.
mod structure {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
}

/// A device's registers.
pub struct PciTransport {
    kind: DeviceType,
    common: Mmio,
    notify: Mmio,
    notify_multiplier: u32,
    isr: Mmio,
    device: Option<Mmio>,
    /// The MSI-X message that every queue and the configuration interrupt by, if any.
    vector: Option<u16>,
    /// Where each queue's doorbell is, in bytes; looked up once, as the queue selector is shared.
    doorbells: Vec<usize>,
}

impl PciTransport {
    /// Finds the registers of `function` in its windows, which `map` maps (register number to window).
    pub fn new(
        config: &dyn ConfigSpace,
        function: &Function,
        map: &mut dyn FnMut(u8) -> Option<Mmio>,
    ) -> Result<Self> {
        let kind = device_type(function).ok_or(DeviceError::Unsupported)?;
        let mut found: [Option<Mmio>; 5] = [const { None }; 5];
        let mut notify_multiplier = 0;
        for cap in function.capabilities.iter().filter(|cap| cap.id == VENDOR) {
            let at = |offset| cap.offset + offset;
            let structure = config.read8(function.address, at(3));
            let bar = config.read8(function.address, at(4));
            let offset = config.read(function.address, at(8));
            let bytes = config.read(function.address, at(12));
            // The first of each kind is the one the device prefers.
            let Some(place) = found.get_mut(usize::from(structure)) else {
                continue;
            };
            if structure == 0 || place.is_some() {
                continue;
            }
            let window = map(bar).and_then(|w| w.window(offset as usize, bytes as usize));
            if structure == structure::NOTIFY && window.is_some() {
                notify_multiplier = config.read(function.address, at(16));
            }
            *place = window;
        }
        let mut take = |kind: u8| found[usize::from(kind)].take();
        let common = take(structure::COMMON).filter(|w| w.bytes() >= common::BYTES);
        Ok(Self {
            kind,
            common: common.ok_or(DeviceError::Unsupported)?,
            notify: take(structure::NOTIFY).ok_or(DeviceError::Unsupported)?,
            notify_multiplier,
            isr: take(structure::ISR).ok_or(DeviceError::Unsupported)?,
            device: take(structure::DEVICE),
            vector: None,
            doorbells: Vec::new(),
        })
    }

    /// From the next reset on, everything interrupts by MSI-X message `vector`.
    pub fn use_vector(&mut self, vector: u16) {
        self.vector = Some(vector);
    }

    /// Brings the device back to its start, so that it touches no memory any more.
    pub fn reset(&mut self) -> Result<()> {
        self.common.write8(common::DEVICE_STATUS, 0);
        wait_for(RESET_LIMIT_NS, || {
            self.common.read8(common::DEVICE_STATUS) == 0
        })?;
        self.doorbells.clear();
        if let Some(vector) = self.vector {
            self.common.write16(common::CONFIG_VECTOR, vector);
            if self.common.read16(common::CONFIG_VECTOR) == NO_VECTOR {
                return Err(DeviceError::Unsupported);
            }
        }
        Ok(())
    }

    /// Tells the device that the driver gave up on it.
    pub fn fail(&mut self) {
        self.set_status(DeviceStatus::FAILED);
    }

    /// Whether the device says it is broken.
    pub fn needs_reset(&self) -> bool {
        self.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Whether this device has something to say, where interrupts are by a shared line. Reading it quiets the line.
    pub fn take_line_interrupt(&self) -> bool {
        self.vector.is_some() || self.isr.read8(0) & 3 != 0
    }

    fn select(&self, queue: u16) {
        self.common.write16(common::QUEUE_SELECT, queue);
    }

    fn write_address(&self, register: usize, address: u64) {
        self.common.write32(register, address as u32);
        self.common.write32(register + 4, (address >> 32) as u32);
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write32(common::DEVICE_FEATURE_SELECT, 0);
        let low = self.common.read32(common::DEVICE_FEATURE);
        self.common.write32(common::DEVICE_FEATURE_SELECT, 1);
        u64::from(self.common.read32(common::DEVICE_FEATURE)) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.common.write32(common::DRIVER_FEATURE_SELECT, 0);
        self.common.write32(common::DRIVER_FEATURE, features as u32);
        self.common.write32(common::DRIVER_FEATURE_SELECT, 1);
        self.common
            .write32(common::DRIVER_FEATURE, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        u32::from(self.common.read16(common::QUEUE_SIZE))
    }

    fn notify(&mut self, queue: u16) {
        if let Some(&doorbell) = self.doorbells.get(usize::from(queue)) {
            self.notify.write16(doorbell, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(u32::from(self.common.read8(common::DEVICE_STATUS)))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common
            .write8(common::DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {
        // Only the legacy interface has it.
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.select(queue);
        self.common.write16(common::QUEUE_SIZE, size as u16);
        self.write_address(common::QUEUE_DESCRIPTORS, descriptors);
        self.write_address(common::QUEUE_DRIVER, driver_area);
        self.write_address(common::QUEUE_DEVICE, device_area);
        self.common
            .write16(common::QUEUE_VECTOR, self.vector.unwrap_or(NO_VECTOR));
        let offset = u32::from(self.common.read16(common::QUEUE_NOTIFY_OFF));
        let doorbell = offset.saturating_mul(self.notify_multiplier) as usize;
        if self.doorbells.len() <= usize::from(queue) {
            self.doorbells
                .resize(usize::from(queue) + 1, usize::MAX / 2);
        }
        self.doorbells[usize::from(queue)] = doorbell;
        self.common.write16(common::QUEUE_ENABLE, 1);
    }

    fn queue_unset(&mut self, _: u16) {
        // The modern interface cannot take one queue back; a reset takes all.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(common::QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(u32::from(self.isr.read8(0)))
    }

    fn read_config_generation(&self) -> u32 {
        u32::from(self.common.read8(common::CONFIG_GENERATION))
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        let device = self
            .device
            .as_ref()
            .ok_or(virtio_drivers::Error::ConfigSpaceMissing)?;
        if offset
            .checked_add(size_of::<T>())
            .is_none_or(|end| end > device.bytes())
        {
            return Err(virtio_drivers::Error::ConfigSpaceTooSmall);
        }
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        // Fields are read in their own width, longer ones in words.
        match bytes.len() {
            2 => bytes.copy_from_slice(&device.read16(offset).to_le_bytes()),
            n if n % 4 == 0 => {
                for (i, word) in bytes.chunks_exact_mut(4).enumerate() {
                    word.copy_from_slice(&device.read32(offset + i * 4).to_le_bytes());
                }
            }
            _ => {
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = device.read8(offset + i);
                }
            }
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> virtio_drivers::Result<()> {
        let device = self
            .device
            .as_ref()
            .ok_or(virtio_drivers::Error::ConfigSpaceMissing)?;
        if offset
            .checked_add(size_of::<T>())
            .is_none_or(|end| end > device.bytes())
        {
            return Err(virtio_drivers::Error::ConfigSpaceTooSmall);
        }
        match value.as_bytes() {
            &[a, b] => device.write16(offset, u16::from_le_bytes([a, b])),
            &[a, b, c, d] => device.write32(offset, u32::from_le_bytes([a, b, c, d])),
            bytes => {
                for (i, byte) in bytes.iter().enumerate() {
                    device.write8(offset + i, *byte);
                }
            }
        }
        Ok(())
    }
}
