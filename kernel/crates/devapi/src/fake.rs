//! Devices without hardware, for tests of what stands on the traits.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Mutex;

use crate::{
    BlockInfo, Clock, ConsoleDevice, ConsoleEvents, DeviceError, FrameSink, MacAddress, NetDevice,
    Result, WindowSize,
};

/// A disk in memory that reads and writes slices. It stands below logic crates, which see no physical memory.
pub struct RamDisk {
    info: BlockInfo,
    bytes: Mutex<Vec<u8>>,
    /// Requests to let pass before each one fails.
    fail_after: AtomicU64,
}

impl RamDisk {
    pub fn new(content: Vec<u8>, read_only: bool) -> Self {
        let info = BlockInfo {
            sectors: content.len() as u64 / 512,
            logical_block_bytes: 512,
            read_only,
            max_segments: 128,
        };
        Self {
            info,
            bytes: Mutex::new(content),
            fail_after: AtomicU64::new(u64::MAX),
        }
    }

    pub fn info(&self) -> BlockInfo {
        self.info
    }

    /// After `requests` more requests every one answers `Io`, as a disk that died.
    pub fn die_after(&self, requests: u64) {
        self.fail_after.store(requests, Ordering::Relaxed);
    }

    fn span(&self, sector: u64, bytes: usize) -> Result<core::ops::Range<usize>> {
        let left = self.fail_after.load(Ordering::Relaxed);
        if left == 0 {
            return Err(DeviceError::Io);
        }
        self.fail_after.store(left - 1, Ordering::Relaxed);
        let start = sector.checked_mul(512).ok_or(DeviceError::Invalid)?;
        let start = usize::try_from(start).map_err(|_| DeviceError::Invalid)?;
        let end = start.checked_add(bytes).ok_or(DeviceError::Invalid)?;
        if end as u64 > self.info.sectors * 512 || !bytes.is_multiple_of(512) {
            return Err(DeviceError::Invalid);
        }
        Ok(start..end)
    }

    pub fn read(&self, sector: u64, buffer: &mut [u8]) -> Result<()> {
        let span = self.span(sector, buffer.len())?;
        buffer.copy_from_slice(&self.bytes.lock()[span]);
        Ok(())
    }

    pub fn write(&self, sector: u64, buffer: &[u8]) -> Result<()> {
        if self.info.read_only {
            return Err(DeviceError::ReadOnly);
        }
        let span = self.span(sector, buffer.len())?;
        self.bytes.lock()[span].copy_from_slice(buffer);
        Ok(())
    }
}

/// A network card whose frames land at its peer.
pub struct Wire {
    mac: MacAddress,
    sink: Arc<Mutex<Option<Arc<dyn FrameSink>>>>,
    peer: Arc<Mutex<Option<Arc<dyn FrameSink>>>>,
}

impl Wire {
    /// Two cards joined by a wire.
    pub fn pair() -> (Self, Self) {
        let (a, b) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let left = Self {
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            sink: a.clone(),
            peer: b.clone(),
        };
        (
            left,
            Self {
                mac: MacAddress([2, 0, 0, 0, 0, 2]),
                sink: b,
                peer: a,
            },
        )
    }
}

impl NetDevice for Wire {
    fn mac(&self) -> MacAddress {
        self.mac
    }

    fn mtu(&self) -> usize {
        1500
    }

    fn link_up(&self) -> bool {
        self.peer.lock().is_some()
    }

    fn transmit(&self, frame: &[u8]) -> Result<()> {
        if frame.len() > self.mtu() + 14 {
            return Err(DeviceError::Invalid);
        }
        let peer = self.peer.lock().clone().ok_or(DeviceError::Gone)?;
        peer.frame(frame);
        Ok(())
    }

    fn start(&self, sink: Arc<dyn FrameSink>) -> Result<()> {
        *self.sink.lock() = Some(sink);
        Ok(())
    }
}

/// A console that keeps what was written, with room for a set number of bytes.
pub struct FakeConsole {
    room: usize,
    written: Mutex<VecDeque<u8>>,
    early: Mutex<Vec<u8>>,
    events: Mutex<Option<Arc<dyn ConsoleEvents>>>,
}

impl FakeConsole {
    pub fn new(room: usize) -> Self {
        Self {
            room,
            written: Mutex::new(VecDeque::new()),
            early: Mutex::new(Vec::new()),
            events: Mutex::new(None),
        }
    }

    /// Types `bytes`.
    pub fn type_in(&self, bytes: &[u8]) {
        let events = self.events.lock().clone();
        match events {
            Some(events) => events.input(bytes),
            None => self.early.lock().extend_from_slice(bytes),
        }
    }

    /// What was written since, making room.
    pub fn drain(&self) -> Box<[u8]> {
        let written = self.written.lock().drain(..).collect();
        let events = self.events.lock().clone();
        if let Some(events) = events {
            events.writable();
        }
        written
    }
}

impl ConsoleDevice for FakeConsole {
    fn name(&self) -> &str {
        "fake0"
    }

    fn write(&self, bytes: &[u8]) -> usize {
        let mut written = self.written.lock();
        let taken = bytes.len().min(self.room - written.len());
        written.extend(&bytes[..taken]);
        taken
    }

    fn pending(&self) -> usize {
        self.written.lock().len()
    }

    fn window_size(&self) -> Option<WindowSize> {
        Some(WindowSize {
            columns: 80,
            rows: 25,
        })
    }

    fn set_events(&self, events: Arc<dyn ConsoleEvents>) {
        let early = core::mem::take(&mut *self.early.lock());
        if !early.is_empty() {
            events.input(&early);
        }
        *self.events.lock() = Some(events);
    }
}

/// A clock that stands still until told.
#[derive(Default)]
pub struct FakeClock(AtomicU64);

impl FakeClock {
    pub fn advance(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{BlockOp, BlockRequest, Segment};

    #[test]
    fn ram_disk_keeps_what_is_written_and_refuses_the_rest() {
        let disk = RamDisk::new(vec![0; 4096], false);
        disk.write(7, &[9; 512]).unwrap();
        let mut sector = [0; 512];
        disk.read(7, &mut sector).unwrap();
        assert_eq!(sector, [9; 512]);
        assert_eq!(disk.read(8, &mut sector), Err(DeviceError::Invalid));
        assert_eq!(
            disk.read(u64::MAX / 512, &mut sector),
            Err(DeviceError::Invalid)
        );
        disk.die_after(1);
        assert_eq!(disk.read(0, &mut sector), Ok(()));
        assert_eq!(disk.read(0, &mut sector), Err(DeviceError::Io));
        let sealed = RamDisk::new(vec![0; 512], true);
        assert_eq!(sealed.write(0, &sector), Err(DeviceError::ReadOnly));
    }

    #[test]
    fn requests_are_checked_against_the_disk() {
        let info = BlockInfo {
            sectors: 16,
            logical_block_bytes: 1024,
            read_only: true,
            max_segments: 2,
        };
        let request = |op, sector, sizes: &[u32]| BlockRequest {
            op,
            sector,
            segments: sizes
                .iter()
                .map(|&bytes| Segment { phys: 0, bytes })
                .collect(),
            done: Box::new(|_| ()),
        };
        assert_eq!(request(BlockOp::Read, 14, &[1024]).check(&info), Ok(()));
        for (bad, why) in [
            (request(BlockOp::Read, 16, &[1024]), DeviceError::Invalid),
            (request(BlockOp::Read, 1, &[1024]), DeviceError::Invalid),
            (request(BlockOp::Read, 0, &[512]), DeviceError::Invalid),
            (
                request(BlockOp::Read, 0, &[1024, 1024, 1024]),
                DeviceError::Invalid,
            ),
            (
                request(BlockOp::Discard { sectors: u64::MAX }, 2, &[]),
                DeviceError::Invalid,
            ),
            (request(BlockOp::Write, 0, &[1024]), DeviceError::ReadOnly),
        ] {
            assert_eq!(bad.check(&info), Err(why));
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<Vec<u8>>);

    impl ConsoleEvents for Heard {
        fn input(&self, bytes: &[u8]) {
            self.0.lock().extend_from_slice(bytes);
        }
        fn writable(&self) {
            self.0.lock().push(b'!');
        }
        fn resized(&self, _: WindowSize) {}
        fn carrier(&self, _: bool) {}
    }

    #[test]
    fn console_delivers_early_input_first_and_tells_of_room() {
        let console = FakeConsole::new(3);
        console.type_in(b"ab");
        let heard = Arc::new(Heard::default());
        console.set_events(heard.clone());
        console.type_in(b"c");
        assert_eq!(console.write(b"hello"), 3);
        assert_eq!(&*console.drain(), b"hel");
        assert_eq!(*heard.0.lock(), b"abc!");
    }
}
