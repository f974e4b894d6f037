//! signalfd: pending signals, read from a descriptor by whoever asks for them.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::{Layout, SigInfo, SigSet};
use abi::{Errno, Result};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::fs::file::{File, FileOps};
use crate::mm::user::IoSink;
use crate::signal::mask;
use crate::sync::PollTable;
use crate::task;

/// `struct signalfd_siginfo`.
#[derive(Clone, Copy, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
struct SignalfdSiginfo {
    signo: u32,
    errno: i32,
    code: i32,
    pid: u32,
    uid: u32,
    fd: i32,
    tid: u32,
    band: u32,
    overrun: u32,
    trapno: u32,
    status: i32,
    int: i32,
    ptr: u64,
    utime: u64,
    stime: u64,
    addr: u64,
    addr_lsb: u16,
    pad2: u16,
    syscall: i32,
    call_addr: u64,
    arch: u32,
    pad: [u8; 28],
}

const _: () = assert!(size_of::<SignalfdSiginfo>() == 128);

/// Which signals the descriptor gives.
pub struct SignalFd {
    mask: AtomicU64,
}

impl SignalFd {
    /// Gives the signals in `mask`, SIGKILL and SIGSTOP apart.
    pub fn new(mask: SigSet) -> Self {
        Self {
            mask: AtomicU64::new(mask.difference(SigSet::UNMASKABLE).bits()),
        }
    }

    /// Replaces the mask of an open signalfd.
    ///
    /// # Errors
    /// `EINVAL` for another kind of file.
    pub fn change(file: &File, mask: SigSet) -> Result<()> {
        let signals = file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?;
        signals.mask.store(
            mask.difference(SigSet::UNMASKABLE).bits(),
            Ordering::Relaxed,
        );
        task::current().process.signal.arrival.wake_all();
        Ok(())
    }

    fn mask(&self) -> SigSet {
        SigSet::from_bits(self.mask.load(Ordering::Relaxed))
    }
}

fn layout(info: &SigInfo) -> SignalfdSiginfo {
    let mut out = SignalfdSiginfo::new_zeroed();
    out.signo = info.si_signo as u32;
    out.errno = info.si_errno;
    out.code = info.si_code;
    match Layout::of(info.si_signo, info.si_code) {
        Layout::Kill => {
            out.pid = info.pid() as u32;
            out.uid = info.uid();
        }
        Layout::Timer => {
            out.tid = info.pid() as u32;
            out.overrun = info.uid();
            out.ptr = info.value();
            out.int = info.value() as i32;
        }
        Layout::Rt => {
            out.pid = info.pid() as u32;
            out.uid = info.uid();
            out.ptr = info.value();
            out.int = info.value() as i32;
        }
        Layout::Child => {
            out.pid = info.pid() as u32;
            out.uid = info.uid();
            out.status = info.status();
            (out.utime, out.stime) = (info.times().0 as u64, info.times().1 as u64);
        }
        Layout::Fault => out.addr = info.addr(),
        Layout::Poll => {
            out.band = info.band().0 as u32;
            out.fd = info.band().1;
        }
    }
    out
}

impl FileOps for SignalFd {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        let room = sink.remaining() / size_of::<SignalfdSiginfo>();
        if room == 0 {
            return Err(Errno::EINVAL);
        }
        let nonblock = file.flags().contains(OpenFlags::NONBLOCK);
        let mut total = 0;
        for index in 0..room {
            // Only the first may sleep.
            let info = match mask::take_pending(self.mask()) {
                Some(info) => info,
                None if index > 0 => break,
                None if nonblock => return Err(Errno::EAGAIN),
                None => {
                    let current = task::current();
                    let signal = &current.process.signal;
                    signal.has_signalfd.store(true, Ordering::SeqCst);
                    signal
                        .arrival
                        .wait_until(|| mask::take_pending(self.mask()))?
                }
            };
            if let Err(errno) = sink.put(layout(&info).as_bytes()) {
                if total == 0 {
                    return Err(errno);
                }
                break;
            }
            total += size_of::<SignalfdSiginfo>();
        }
        Ok(total)
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        let current = task::current();
        if let Some(table) = table {
            current
                .process
                .signal
                .has_signalfd
                .store(true, Ordering::SeqCst);
            table.register(&current.process.signal.arrival);
        }
        let pending = current
            .signal
            .pending()
            .union(current.process.signal.pending());
        match pending.intersects(self.mask()) {
            true => PollEvents::READABLE,
            false => PollEvents::empty(),
        }
    }

    fn fdinfo(&self, _file: &File, out: &mut dyn core::fmt::Write) {
        let _ = writeln!(out, "sigmask:\t{:016x}", self.mask().bits());
    }
}
