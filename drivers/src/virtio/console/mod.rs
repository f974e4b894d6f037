//! The virtio console (VIRTIO 1.2, 5.3): consoles (`hvc0`) and named ports between guest and host.
//!
//! | module | what |
//! |---|---|
//! | `control` | messages about ports: which there are, their names, who opened them |
//! | `port` | one port: bytes in, bytes out, and a handle for its user |
//!
//! All state of a device is under one lock that the interrupt handler takes; what users are to be told is collected
//! under it and told after it is released. Bytes that nobody reads stay in the device's buffers, so the host stops
//! sending.

mod control;
mod port;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use devapi::{DeviceError, Result, WindowSize};
use ksync::IrqSpinLock;
use virtio_drivers::transport::Transport;

use super::{PciTransport, negotiate};
use control::Control;
use port::{Happened, PortState, queues_of};
pub use port::{Port, PortEvents, PortInfo};

const FEATURE_SIZE: u64 = 1 << 0;
const FEATURE_MULTIPORT: u64 = 1 << 1;
/// Ports beyond these are not used; each costs 36 KiB of buffers.
const MOST_PORTS: u32 = 8;

struct Inner {
    transport: PciTransport,
    control: Option<Control>,
    ports: Vec<PortState>,
    has_size: bool,
    dead: bool,
}

/// A device with one or more ports.
pub struct VirtioConsole {
    inner: IrqSpinLock<Inner>,
    /// Someone is delivering input; whoever comes second leaves it to them, so that bytes stay in order.
    delivering: AtomicBool,
    again: AtomicBool,
}

impl VirtioConsole {
    /// Starts the device. Its ports show up at once or, where it has several, by and by: [`Self::ports`].
    pub fn new(mut transport: PciTransport) -> Result<Arc<Self>> {
        let features = negotiate(&mut transport, FEATURE_SIZE | FEATURE_MULTIPORT)?;
        let several = features & FEATURE_MULTIPORT != 0;
        let count = if several {
            transport.read_config_space::<u32>(4).unwrap_or(1)
        } else {
            1
        };
        let mut ports = Vec::new();
        for id in 0..count.clamp(1, MOST_PORTS) {
            let (receive, transmit) = queues_of(id);
            ports.push(PortState::new(&mut transport, receive, transmit)?);
        }
        let control = if several {
            Some(Control::new(&mut transport)?)
        } else {
            None
        };
        transport.finish_init();
        if transport.needs_reset() {
            transport.fail();
            return Err(DeviceError::Io);
        }
        let has_size = features & FEATURE_SIZE != 0 && !several;
        let mut inner = Inner {
            transport,
            control,
            ports,
            has_size,
            dead: false,
        };
        inner.start();
        Ok(Arc::new(Self {
            inner: IrqSpinLock::new(inner),
            delivering: AtomicBool::new(false),
            again: AtomicBool::new(false),
        }))
    }

    /// The ports that are there now.
    pub fn ports(self: &Arc<Self>) -> Vec<(Port, PortInfo)> {
        // Room for all is made before the lock is taken.
        let mut found = Vec::with_capacity(MOST_PORTS as usize);
        let inner = self.inner.lock();
        for (id, port) in inner.ports.iter().enumerate() {
            if let Some(info) = port.info() {
                found.push((id, info));
            }
        }
        drop(inner);
        found
            .into_iter()
            .map(|(id, info)| (Port::new(self.clone(), id), info))
            .collect()
    }

    /// Called at an interrupt. True when it was this device's; `ports_changed` is called when ports came or went or
    /// got their name.
    pub fn interrupt(&self, ports_changed: &mut dyn FnMut()) -> bool {
        let mut inner = self.inner.lock();
        if !inner.transport.take_line_interrupt() {
            return false;
        }
        let changed = inner.handle();
        drop(inner);
        if changed {
            ports_changed();
        }
        self.deliver();
        true
    }

    /// Tells the users of all ports what happened and hands them their input.
    fn deliver(&self) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            if self.delivering.swap(true, Ordering::SeqCst) {
                // They look at `again` after they let go of `delivering`.
                return;
            }
            self.again.store(false, Ordering::SeqCst);
            let count = self.inner.lock().ports.len();
            for id in 0..count {
                self.deliver_port(id);
            }
            self.delivering.store(false, Ordering::SeqCst);
        }
    }

    fn deliver_port(&self, id: usize) {
        let mut bytes = [0; 512];
        loop {
            let mut inner = self.inner.lock();
            let Inner {
                transport, ports, ..
            } = &mut *inner;
            let Some(port) = ports.get_mut(id) else {
                return;
            };
            let Some(listener) = port.listener() else {
                return;
            };
            let happened = port.take_happened();
            let count = if listener.pushes() {
                port.read(transport, &mut bytes)
            } else {
                0
            };
            drop(inner);
            listener.tell(happened, &bytes[..count]);
            if count == 0 {
                return;
            }
        }
    }
}

impl Inner {
    fn start(&mut self) {
        for port in &mut self.ports {
            port.start(&mut self.transport);
        }
        match &mut self.control {
            Some(control) => control.start(&mut self.transport),
            None => self.ports[0].become_console(),
        }
        self.read_size();
    }

    fn read_size(&mut self) {
        if !self.has_size {
            return;
        }
        if let Ok([columns, rows]) = self.transport.read_config_space::<[u16; 2]>(0) {
            self.ports[0].set_size(WindowSize { columns, rows });
        }
    }

    /// Looks at everything the device may have interrupted about; whether ports came, went or got their name.
    fn handle(&mut self) -> bool {
        if self.dead {
            return false;
        }
        let mut changed = false;
        let mut anything = false;
        if let Some(control) = &mut self.control {
            anything |= control.has_messages();
            match control.handle(&mut self.transport, &mut self.ports) {
                Ok(ports_changed) => changed = ports_changed,
                Err(reason) => self.give_up(reason),
            }
        }
        for index in 0..self.ports.len() {
            match self.ports[index].handle() {
                Ok(happened) => anything |= happened != Happened::empty(),
                Err(reason) => self.give_up(reason),
            }
        }
        if !anything {
            // An interrupt about no ring is one about the configuration.
            self.read_size();
        }
        changed
    }

    fn give_up(&mut self, reason: DeviceError) {
        if !self.dead {
            log::warn!("virtio-console: answered nonsense ({reason:?}), no longer used");
            self.dead = true;
            self.transport.fail();
        }
    }
}

impl Drop for VirtioConsole {
    fn drop(&mut self) {
        // Rings leak their memory by themselves; a reset keeps the device from interrupting about it.
        if let Err(reason) = self.inner.lock().transport.reset() {
            log::warn!("virtio-console: does not reset ({reason:?})");
        }
    }
}
