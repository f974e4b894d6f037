//! The virtio entropy source (VIRTIO 1.2, 5.4): one queue of buffers that the device fills with random bytes.

use devapi::{DeviceError, EntropySource, Result};
use ksync::IrqSpinLock;
use virtio_drivers::transport::Transport;

use super::{PciTransport, negotiate};
use crate::hal::{Ring, Used};

const QUEUE: u16 = 0;
const BUFFERS: usize = 4;
const BUFFER_BYTES: usize = 64;

struct Inner {
    transport: PciTransport,
    ring: Ring<BUFFERS>,
    /// A filled buffer, and how much of it was given out.
    current: Option<(Used, usize)>,
    dead: bool,
}

/// An entropy source.
///
/// # Invariants
/// Unless it is dead, the device has every buffer that is not `current`; so it interrupts when it has bytes, and is
/// asked for no more than a few hundred bytes that nobody wants.
pub struct VirtioRng {
    inner: IrqSpinLock<Inner>,
}

impl VirtioRng {
    pub fn new(mut transport: PciTransport) -> Result<Self> {
        negotiate(&mut transport, 0)?;
        let ring = Ring::new(&mut transport, QUEUE, BUFFER_BYTES)?;
        transport.finish_init();
        if transport.needs_reset() {
            transport.fail();
            return Err(DeviceError::Io);
        }
        let mut inner = Inner {
            transport,
            ring,
            current: None,
            dead: false,
        };
        inner.ask();
        Ok(Self {
            inner: IrqSpinLock::new(inner),
        })
    }

    /// Called at an interrupt: whether it was this device's, and it has bytes.
    pub fn interrupt(&self) -> bool {
        let inner = self.inner.lock();
        inner.transport.take_line_interrupt() && inner.ring.can_pop()
    }

    pub fn is_dead(&self) -> bool {
        self.inner.lock().dead
    }
}

impl Inner {
    fn ask(&mut self) {
        if self.ring.offer_all() > 0 && self.ring.should_notify() {
            self.transport.notify(QUEUE);
        }
    }

    fn next(&mut self) -> Option<(Used, usize)> {
        if self.current.is_none() && !self.dead {
            match self.ring.pop() {
                Ok(used) => self.current = used.map(|used| (used, 0)),
                Err(reason) => {
                    log::warn!("virtio-rng: answered nonsense ({reason:?}), no longer used");
                    self.dead = true;
                    self.transport.fail();
                }
            }
        }
        self.current
    }
}

impl EntropySource for VirtioRng {
    fn name(&self) -> &str {
        "virtio_rng.0"
    }

    fn read(&self, buffer: &mut [u8]) -> usize {
        let mut inner = self.inner.lock();
        let mut filled = 0;
        while filled < buffer.len() {
            let Some((used, offset)) = inner.next() else {
                break;
            };
            let count = inner.ring.read(used, offset, &mut buffer[filled..]);
            filled += count;
            if offset + count >= used.bytes || count == 0 {
                inner.current = None;
                inner.ring.done(used);
            } else {
                inner.current = Some((used, offset + count));
            }
        }
        if !inner.dead {
            inner.ask();
        }
        filled
    }
}

impl Drop for VirtioRng {
    fn drop(&mut self) {
        // The ring leaks its memory by itself; a reset keeps the device from interrupting about it.
        if let Err(reason) = self.inner.lock().transport.reset() {
            log::warn!("virtio-rng: does not reset ({reason:?})");
        }
    }
}
