//! Signals: numbers, sets, actions, `siginfo_t`, `stack_t` and the x86-64 signal frame, as `asm/signal.h`,
//! `asm-generic/siginfo.h`, `asm/sigcontext.h` and `asm/ucontext.h` lay them out.

use core::fmt;

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A valid signal number: 1 to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signo(u8);

impl Signo {
    pub const MAX: u8 = 64;
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    pub const ILL: Self = Self(4);
    pub const TRAP: Self = Self(5);
    pub const ABRT: Self = Self(6);
    pub const BUS: Self = Self(7);
    pub const FPE: Self = Self(8);
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const SEGV: Self = Self(11);
    pub const USR2: Self = Self(12);
    pub const PIPE: Self = Self(13);
    pub const ALRM: Self = Self(14);
    pub const TERM: Self = Self(15);
    pub const STKFLT: Self = Self(16);
    pub const CHLD: Self = Self(17);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);
    pub const TSTP: Self = Self(20);
    pub const TTIN: Self = Self(21);
    pub const TTOU: Self = Self(22);
    pub const URG: Self = Self(23);
    pub const XCPU: Self = Self(24);
    pub const XFSZ: Self = Self(25);
    pub const VTALRM: Self = Self(26);
    pub const PROF: Self = Self(27);
    pub const WINCH: Self = Self(28);
    pub const IO: Self = Self(29);
    pub const PWR: Self = Self(30);
    pub const SYS: Self = Self(31);
    /// The first real-time signal as the kernel counts them (libc keeps some for itself).
    pub const RTMIN: Self = Self(32);

    /// The signal numbered `n`, if there is one.
    pub const fn new(n: i32) -> Option<Self> {
        if n >= 1 && n <= Self::MAX as i32 {
            Some(Self(n as u8))
        } else {
            None
        }
    }

    /// 1 to 64.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// 1 to 64, as `int`.
    pub const fn as_i32(self) -> i32 {
        self.0 as i32
    }

    /// 0 to 63, for tables.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }

    pub const fn is_realtime(self) -> bool {
        self.0 >= Self::RTMIN.0
    }
}

impl fmt::Debug for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal {}", self.0)
    }
}

impl fmt::Display for Signo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `sigset_t` of the kernel: bit `n - 1` stands for signal `n`.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct SigSet(u64);

impl SigSet {
    pub const EMPTY: Self = Self(0);
    pub const FULL: Self = Self(!0);
    /// SIGKILL and SIGSTOP, which can be neither blocked nor caught.
    pub const UNMASKABLE: Self = Self::EMPTY.with(Signo::KILL).with(Signo::STOP);
    /// The signals that stop a process by default.
    pub const STOPS: Self = Self::EMPTY
        .with(Signo::STOP)
        .with(Signo::TSTP)
        .with(Signo::TTIN)
        .with(Signo::TTOU);
    /// The faults that a thread causes itself; they are taken before others.
    pub const SYNCHRONOUS: Self = Self::EMPTY
        .with(Signo::SEGV)
        .with(Signo::BUS)
        .with(Signo::ILL)
        .with(Signo::TRAP)
        .with(Signo::FPE)
        .with(Signo::SYS);
    /// The signals that a process without a handler does not notice.
    pub const IGNORED_BY_DEFAULT: Self = Self::EMPTY
        .with(Signo::CONT)
        .with(Signo::CHLD)
        .with(Signo::WINCH)
        .with(Signo::URG);

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    pub const fn of(signo: Signo) -> Self {
        Self(1 << signo.index())
    }

    #[must_use]
    pub const fn with(self, signo: Signo) -> Self {
        Self(self.0 | 1 << signo.index())
    }

    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0)
    }

    pub const fn contains(self, signo: Signo) -> bool {
        self.0 & 1 << signo.index() != 0
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn insert(&mut self, signo: Signo) {
        self.0 |= 1 << signo.index();
    }

    pub const fn remove(&mut self, signo: Signo) {
        self.0 &= !(1 << signo.index());
    }

    /// The lowest numbered member.
    pub const fn first(self) -> Option<Signo> {
        if self.0 == 0 {
            None
        } else {
            Some(Signo(self.0.trailing_zeros() as u8 + 1))
        }
    }

    pub fn iter(self) -> impl Iterator<Item = Signo> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let signo = rest.first()?;
            rest.remove(signo);
            Some(signo)
        })
    }
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigSet({:#018x})", self.0)
    }
}

bitflags! {
    /// `sa_flags`. The kernel keeps bits it does not know, as Linux does on x86-64 apart from
    /// [`SaFlags::UAPI_MASK`]'s complement, which it clears so that programs can probe.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SaFlags: u64 {
        const NOCLDSTOP = 0x0000_0001;
        const NOCLDWAIT = 0x0000_0002;
        const SIGINFO = 0x0000_0004;
        const UNSUPPORTED = 0x0000_0400;
        const EXPOSE_TAGBITS = 0x0000_0800;
        const RESTORER = 0x0400_0000;
        const ONSTACK = 0x0800_0000;
        const RESTART = 0x1000_0000;
        const NODEFER = 0x4000_0000;
        const RESETHAND = 0x8000_0000;
    }
}

/// `SIG_DFL` and `SIG_IGN` as handler addresses.
pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;

/// `struct sigaction` of the kernel (`struct kernel_sigaction`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SigSet,
}

impl SigAction {
    pub const DEFAULT: Self = Self {
        handler: SIG_DFL,
        flags: 0,
        restorer: 0,
        mask: SigSet::EMPTY,
    };

    pub const fn is_default(&self) -> bool {
        self.handler == SIG_DFL
    }

    pub const fn is_ignore(&self) -> bool {
        self.handler == SIG_IGN
    }

    pub const fn has(&self, flags: SaFlags) -> bool {
        self.flags & flags.bits() == flags.bits()
    }
}

/// `how` of `rt_sigprocmask`.
pub const SIG_BLOCK: i32 = 0;
pub const SIG_UNBLOCK: i32 = 1;
pub const SIG_SETMASK: i32 = 2;

/// `si_code` of signals that the user sends, and of others that are not bound to one signal.
pub mod si {
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const QUEUE: i32 = -1;
    pub const TIMER: i32 = -2;
    pub const MESGQ: i32 = -3;
    pub const ASYNCIO: i32 = -4;
    pub const SIGIO: i32 = -5;
    pub const TKILL: i32 = -6;
    pub const DETHREAD: i32 = -7;
    pub const ASYNCNL: i32 = -60;
}

/// `si_code` of SIGILL.
pub mod ill {
    pub const ILLOPN: i32 = 2;
}

/// `si_code` of SIGFPE.
pub mod fpe {
    pub const INTDIV: i32 = 1;
    pub const INTOVF: i32 = 2;
    pub const FLTDIV: i32 = 3;
    pub const FLTOVF: i32 = 4;
    pub const FLTUND: i32 = 5;
    pub const FLTRES: i32 = 6;
    pub const FLTINV: i32 = 7;
    pub const FLTUNK: i32 = 14;
}

/// `si_code` of SIGSEGV.
pub mod segv {
    pub const MAPERR: i32 = 1;
    pub const ACCERR: i32 = 2;
    pub const BNDERR: i32 = 3;
    pub const PKUERR: i32 = 4;
}

/// `si_code` of SIGBUS.
pub mod bus {
    pub const ADRALN: i32 = 1;
    pub const ADRERR: i32 = 2;
    pub const OBJERR: i32 = 3;
}

/// `si_code` of SIGTRAP.
pub mod trap {
    pub const BRKPT: i32 = 1;
    pub const TRACE: i32 = 2;
    pub const HWBKPT: i32 = 4;
}

/// `si_code` of SIGCHLD.
pub mod cld {
    pub const EXITED: i32 = 1;
    pub const KILLED: i32 = 2;
    pub const DUMPED: i32 = 3;
    pub const TRAPPED: i32 = 4;
    pub const STOPPED: i32 = 5;
    pub const CONTINUED: i32 = 6;
}

/// The 48 bytes of `siginfo_t` that the kernel fills; user space sees 80 zero bytes after them.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigInfo {
    pub si_signo: i32,
    pub si_errno: i32,
    pub si_code: i32,
    _pad: i32,
    /// The union `_sifields`: which member holds follows from `si_signo` and `si_code`.
    fields: [u64; 4],
}

/// Which members of `_sifields` hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Kill,
    Timer,
    Rt,
    Child,
    Fault,
    Poll,
}

impl Layout {
    pub const fn of(signo: i32, code: i32) -> Self {
        match code {
            si::TIMER => Self::Timer,
            si::SIGIO => Self::Poll,
            si::USER | si::TKILL | si::KERNEL => Self::Kill,
            ..0 => Self::Rt,
            _ => match signo {
                4 | 5 | 7 | 8 | 11 => Self::Fault,
                17 => Self::Child,
                29 => Self::Poll,
                _ => Self::Kill,
            },
        }
    }
}

/// Whether the kernel knows which members of the union a code uses (`known_siginfo_layout`).
fn has_known_layout(signo: i32, code: i32) -> bool {
    match code {
        si::KERNEL | si::ASYNCNL => true,
        1.. => {
            let limit = match signo {
                4 => 11,
                8 => 15,
                11 => 10,
                7 => 5,
                5 | 17 => 6,
                31 => 2,
                _ => 6,
            };
            code <= limit
        }
        _ => code >= si::DETHREAD,
    }
}

/// Size of the user's `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;
/// The user's `siginfo_t`, of which the kernel looks at [`SigInfo`].
pub type UserSigInfo = [u8; SIGINFO_SIZE];

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl SigInfo {
    const fn new(signo: Signo, code: i32, fields: [u64; 4]) -> Self {
        Self {
            si_signo: signo.as_i32(),
            si_errno: 0,
            si_code: code,
            _pad: 0,
            fields,
        }
    }

    /// From `kill` (SI_USER) and `tkill` (SI_TKILL): who sent it.
    pub const fn user(signo: Signo, code: i32, pid: i32, uid: u32) -> Self {
        Self::new(signo, code, [pair(pid as u32, uid), 0, 0, 0])
    }

    /// From the kernel, without a sender (SI_KERNEL).
    pub const fn kernel(signo: Signo) -> Self {
        Self::new(signo, si::KERNEL, [0; 4])
    }

    /// With a value (SI_QUEUE, SI_MESGQ).
    pub const fn queued(signo: Signo, code: i32, pid: i32, uid: u32, value: u64) -> Self {
        Self::new(signo, code, [pair(pid as u32, uid), value, 0, 0])
    }

    /// Of a POSIX timer (SI_TIMER).
    pub const fn timer(signo: Signo, timer_id: i32, overrun: i32, value: u64) -> Self {
        Self::new(
            signo,
            si::TIMER,
            [pair(timer_id as u32, overrun as u32), value, 0, 0],
        )
    }

    /// Of a fault at `address`.
    pub const fn fault(signo: Signo, code: i32, address: u64) -> Self {
        Self::new(signo, code, [address, 0, 0, 0])
    }

    /// SIGSEGV of an access that the page's protection key forbids.
    pub const fn key_fault(code: i32, address: u64, key: u32) -> Self {
        Self::new(Signo::SEGV, code, [address, 0, key as u64, 0])
    }

    /// SIGCHLD: what became of a child; times in clock ticks (1/100 s).
    pub const fn child(code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> Self {
        let fields = [
            pair(pid as u32, uid),
            status as u32 as u64,
            utime as u64,
            stime as u64,
        ];
        Self::new(Signo::CHLD, code, fields)
    }

    /// SIGIO and SIGPOLL: the band and the descriptor.
    pub const fn poll(signo: Signo, code: i32, band: i64, fd: i32) -> Self {
        Self::new(signo, code, [band as u64, fd as u32 as u64, 0, 0])
    }

    /// SIGSYS of seccomp.
    pub const fn sys(call_addr: u64, syscall: i32, arch: u32, errno: i32) -> Self {
        let mut info = Self::new(Signo::SYS, 1, [call_addr, pair(syscall as u32, arch), 0, 0]);
        info.si_errno = errno;
        info
    }

    /// The signal, if the number is one.
    pub const fn signo(&self) -> Option<Signo> {
        Signo::new(self.si_signo)
    }

    #[must_use]
    pub const fn with_errno(mut self, errno: i32) -> Self {
        self.si_errno = errno;
        self
    }

    /// `si_pid` of the kill, rt and child layouts; the timer's id of the timer layout.
    pub const fn pid(&self) -> i32 {
        self.fields[0] as i32
    }

    /// `si_uid` of the kill, rt and child layouts; the overrun of the timer layout.
    pub const fn uid(&self) -> u32 {
        (self.fields[0] >> 32) as u32
    }

    pub const fn set_pid(&mut self, pid: i32) {
        self.fields[0] = pair(pid as u32, self.uid());
    }

    pub const fn set_uid(&mut self, uid: u32) {
        self.fields[0] = pair(self.pid() as u32, uid);
    }

    /// `si_overrun` of the timer layout.
    pub const fn overrun(&self) -> i32 {
        self.uid() as i32
    }

    pub const fn set_overrun(&mut self, overrun: i32) {
        self.set_uid(overrun as u32);
    }

    /// `si_value` of the rt and timer layouts.
    pub const fn value(&self) -> u64 {
        self.fields[1]
    }

    /// `si_addr` of the fault layout.
    pub const fn addr(&self) -> u64 {
        self.fields[0]
    }

    /// `si_status` of the child layout.
    pub const fn status(&self) -> i32 {
        self.fields[1] as i32
    }

    /// `si_utime` and `si_stime` of the child layout.
    pub const fn times(&self) -> (i64, i64) {
        (self.fields[2] as i64, self.fields[3] as i64)
    }

    /// `si_band` and `si_fd` of the poll layout.
    pub const fn band(&self) -> (i64, i32) {
        (self.fields[0] as i64, self.fields[1] as i32)
    }

    /// The user's `siginfo_t`.
    pub fn to_user(&self) -> [u8; SIGINFO_SIZE] {
        let mut out = [0; SIGINFO_SIZE];
        if let Some(head) = out.first_chunk_mut::<48>() {
            head.copy_from_slice(self.as_bytes());
        }
        out
    }

    /// From the user's `siginfo_t`. `None` (E2BIG) when it has more than the kernel carries: bytes beyond the first 48,
    /// of a layout that the kernel does not know.
    pub fn from_user(bytes: &[u8; SIGINFO_SIZE], signo: i32) -> Option<Self> {
        let (mut info, rest) = Self::read_from_prefix(bytes).ok()?;
        info.si_signo = signo;
        let is_known = has_known_layout(signo, info.si_code);
        (is_known || rest.iter().all(|byte| *byte == 0)).then_some(info)
    }

    /// The 48 bytes that the kernel carries of the user's 128.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigInfo")
            .field("si_signo", &self.si_signo)
            .field("si_errno", &self.si_errno)
            .field("si_code", &self.si_code)
            .field("fields", &self.fields)
            .finish()
    }
}

/// `stack_t`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct StackT {
    pub ss_sp: u64,
    pub ss_flags: i32,
    _pad: i32,
    pub ss_size: u64,
}

impl StackT {
    pub const fn new(ss_sp: u64, ss_flags: i32, ss_size: u64) -> Self {
        Self {
            ss_sp,
            ss_flags,
            _pad: 0,
            ss_size,
        }
    }
}

pub const SS_ONSTACK: i32 = 1;
pub const SS_DISABLE: i32 = 2;
/// Bit 31: the alternate stack is switched off while a handler runs on it.
pub const SS_AUTODISARM: i32 = i32::MIN;
pub const MINSIGSTKSZ: u64 = 2048;

/// `struct sigcontext_64`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SigContext {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub di: u64,
    pub si: u64,
    pub bp: u64,
    pub bx: u64,
    pub dx: u64,
    pub ax: u64,
    pub cx: u64,
    pub sp: u64,
    pub ip: u64,
    pub flags: u64,
    pub cs: u16,
    pub gs: u16,
    pub fs: u16,
    pub ss: u16,
    pub err: u64,
    pub trapno: u64,
    pub oldmask: u64,
    pub cr2: u64,
    pub fpstate: u64,
    pub reserved1: [u64; 8],
}

/// The frame has an XSAVE area after its 512 bytes of FXSAVE.
pub const UC_FP_XSTATE: u64 = 1;
/// The frame holds SS, and sigreturn restores it.
pub const UC_SIGCONTEXT_SS: u64 = 2;
/// SS is restored even when it does not look like a 64-bit one.
pub const UC_STRICT_RESTORE_SS: u64 = 4;

/// `struct ucontext`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct UContext {
    pub uc_flags: u64,
    pub uc_link: u64,
    pub uc_stack: StackT,
    pub uc_mcontext: SigContext,
    pub uc_sigmask: SigSet,
}

/// `struct rt_sigframe` of x86-64: what lies at the handler's stack pointer.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RtSigFrame {
    /// The address that the handler returns to (`sa_restorer`).
    pub pretcode: u64,
    pub uc: UContext,
    pub info: [u8; SIGINFO_SIZE],
}

/// `sigevent_t`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SigEvent {
    pub sigev_value: u64,
    pub sigev_signo: i32,
    pub sigev_notify: i32,
    /// `sigev_notify_thread_id` of SIGEV_THREAD_ID.
    pub tid: i32,
    pad: [i32; 11],
}

pub const SIGEV_SIGNAL: i32 = 0;
pub const SIGEV_NONE: i32 = 1;
pub const SIGEV_THREAD: i32 = 2;
pub const SIGEV_THREAD_ID: i32 = 4;

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<SigSet>() == 8);
    assert!(size_of::<SigAction>() == 32);
    assert!(size_of::<SigInfo>() == 48);
    assert!(size_of::<StackT>() == 24);
    assert!(size_of::<SigContext>() == 256);
    assert!(offset_of!(SigContext, cs) == 144);
    assert!(offset_of!(SigContext, fpstate) == 184);
    assert!(size_of::<UContext>() == 304);
    assert!(offset_of!(UContext, uc_mcontext) == 40);
    assert!(offset_of!(UContext, uc_sigmask) == 296);
    assert!(size_of::<RtSigFrame>() == 440);
    assert!(size_of::<SigEvent>() == 64);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siginfo_travels_to_user_space_and_back() {
        let info = SigInfo::queued(Signo::USR1, si::QUEUE, 7, 1000, 0x1234_5678_9abc);
        let bytes = info.to_user();
        assert_eq!(bytes[0], 10);
        assert_eq!(bytes[16], 7);
        assert_eq!(bytes[24..30], [0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(SigInfo::from_user(&bytes, 10), Some(info));
    }

    #[test]
    fn an_unknown_layout_with_more_bytes_is_refused() {
        let mut bytes = SigInfo::queued(Signo::USR1, -50, 7, 1000, 0).to_user();
        assert!(SigInfo::from_user(&bytes, 10).is_some());
        bytes[100] = 1;
        assert_eq!(SigInfo::from_user(&bytes, 10), None);
        let mut known = SigInfo::queued(Signo::USR1, si::QUEUE, 7, 1000, 0).to_user();
        known[100] = 1;
        assert!(SigInfo::from_user(&known, 10).is_some());
    }

    #[test]
    fn sets_iterate_in_the_order_of_numbers() {
        let set = SigSet::of(Signo::TERM)
            .with(Signo::HUP)
            .with(Signo::new(64).unwrap());
        let numbers: std::vec::Vec<_> = set.iter().map(Signo::get).collect();
        assert_eq!(numbers, [1, 15, 64]);
        assert_eq!(Signo::new(0), None);
        assert_eq!(Signo::new(65), None);
    }
}
