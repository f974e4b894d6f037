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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeVirtio, VERSION_1};

    fn start(device: &FakeVirtio) -> Result<VirtioRng> {
        VirtioRng::new(device.transport(0x1044))
    }

    #[test]
    fn bytes_arrive_in_order_and_buffers_go_back() {
        let device = FakeVirtio::new(VERSION_1, 1, &[]);
        let rng = start(&device).unwrap();
        assert_eq!(device.status(), 15);
        assert_eq!(device.rings(0), 1);
        let mut out = [0; 100];
        assert_eq!(rng.read(&mut out), 0, "nothing yet, and no waiting");
        let first = device.take(0).unwrap();
        device.give(0, &first, &[1; 64]);
        let second = device.take(0).unwrap();
        device.give(0, &second, &[2; 10]);
        assert!(rng.interrupt());
        assert_eq!(rng.read(&mut out), 74);
        assert_eq!((&out[..64], &out[64..74]), (&[1; 64][..], &[2; 10][..]));
        let mut waiting = 0;
        while device.take(0).is_some() {
            waiting += 1;
        }
        assert_eq!(waiting, BUFFERS, "the device has all buffers again");
        assert!(!rng.interrupt(), "the line is quiet");
    }

    #[test]
    fn a_buffer_may_be_read_in_pieces() {
        let device = FakeVirtio::new(VERSION_1, 1, &[]);
        let rng = start(&device).unwrap();
        let chain = device.take(0).unwrap();
        let data: [u8; 64] = core::array::from_fn(|i| i as u8);
        device.give(0, &chain, &data);
        let mut out = [0; 64];
        for piece in out.chunks_mut(7) {
            assert_eq!(rng.read(piece), piece.len());
        }
        assert_eq!(out, data);
    }

    #[test]
    fn devices_that_lie_are_given_up() {
        for (head, bytes) in [(63, 8), (0xffff_ffff, 8), (2, 8)] {
            let device = FakeVirtio::new(VERSION_1, 1, &[]);
            let rng = start(&device).unwrap();
            if head == 2 {
                // The same buffer twice.
                device.give_raw(0, 2, 8);
                assert_eq!(rng.read(&mut [0; 8]), 8);
                device.give_raw(0, 3, 8);
                device.give_raw(0, 3, 8);
                assert_eq!(rng.read(&mut [0; 32]), 8);
            } else {
                device.give_raw(0, head, bytes);
                assert_eq!(rng.read(&mut [0; 32]), 0);
            }
            assert!(rng.is_dead());
            assert_eq!(rng.read(&mut [0; 32]), 0);
        }
    }

    #[test]
    fn a_length_beyond_the_buffer_is_cut() {
        let device = FakeVirtio::new(VERSION_1, 1, &[]);
        let rng = start(&device).unwrap();
        device.give_raw(0, 0, u32::MAX);
        assert_eq!(rng.read(&mut [0; 1000]), BUFFER_BYTES);
    }

    #[test]
    fn devices_that_do_not_start_are_refused() {
        let refused = |device: FakeVirtio| start(&device).err();
        assert_eq!(
            refused(FakeVirtio::new(0, 1, &[])),
            Some(DeviceError::Unsupported)
        );
        assert_eq!(
            refused(FakeVirtio::new(VERSION_1, 1, &[]).picky()),
            Some(DeviceError::Unsupported)
        );
        let stuck = FakeVirtio::new(VERSION_1, 1, &[]);
        let mut transport = stuck.transport(0x1044);
        transport.fail();
        assert_eq!(
            VirtioRng::new({
                let _ = stuck.clone().stuck();
                transport
            })
            .err(),
            Some(DeviceError::Timeout)
        );
        assert_eq!(
            refused(FakeVirtio::new(VERSION_1, 0, &[])),
            Some(DeviceError::Invalid)
        );
    }

    #[test]
    fn every_queue_uses_the_given_vector() {
        let device = FakeVirtio::new(VERSION_1 | 1 << 28 | 1, 1, &[]);
        let mut transport = device.transport(0x1044);
        transport.use_vector(5);
        let rng = VirtioRng::new(transport).unwrap();
        assert_eq!(device.vector(0), 5);
        assert_eq!(
            device.accepted(),
            VERSION_1,
            "nothing that is not known is accepted"
        );
        let chain = device.take(0).unwrap();
        device.give(0, &chain, &[1]);
        assert!(rng.interrupt());
        assert!(
            rng.interrupt(),
            "with messages the line's register is not looked at"
        );
    }
}
