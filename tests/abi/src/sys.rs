//! Raw system calls, and helpers over them that several families use.
//!
//! Calls go past the C library, so that what is tested is the kernel. They are not marked unsafe:
//! a case may hand the kernel any pointer, and what comes of that is what it tests.

use std::ffi::{CStr, CString};
use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::check::{Outcome, Trouble};
use crate::harness;

/// An error number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

/// What a call answers.
pub type Sys<T = usize> = Result<T, Errno>;

/// What may be an argument of a call.
pub trait Arg {
    /// The register's value.
    fn arg(self) -> usize;
}

macro_rules! numbers {
    ($($ty:ty)*) => {$(impl Arg for $ty { fn arg(self) -> usize { self as usize } })*};
}
numbers!(i32 u32 i64 u64 usize u16 u8);

impl<T> Arg for &T {
    fn arg(self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}
impl<T> Arg for &mut T {
    fn arg(self) -> usize {
        std::ptr::from_mut(self) as usize
    }
}
impl Arg for &CStr {
    fn arg(self) -> usize {
        self.as_ptr() as usize
    }
}
impl<T> Arg for *const T {
    fn arg(self) -> usize {
        self as usize
    }
}
impl<T> Arg for *mut T {
    fn arg(self) -> usize {
        self as usize
    }
}

/// `sys!(SYS_read, fd, pointer, length)`: makes a call.
#[macro_export]
macro_rules! sys {
    ($name:ident $(, $arg:expr)* $(,)?) => {
        $crate::sys::call(libc::$name, &[$($crate::sys::Arg::arg($arg)),*])
    };
}

/// Makes the call with that number.
pub fn call(number: i64, args: &[usize]) -> Sys {
    let arg = |index: usize| args.get(index).copied().unwrap_or(0);
    // SAFETY: see the head of the file.
    let answer = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    if answer == -1 {
        Err(errno())
    } else {
        Ok(answer as usize)
    }
}

/// The C library's error number.
pub fn errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

// Descriptors.

pub fn open(path: &CStr, flags: i32) -> Sys<i32> {
    open_mode(path, flags, 0o644)
}

pub fn open_mode(path: &CStr, flags: i32, mode: u32) -> Sys<i32> {
    sys!(SYS_openat, libc::AT_FDCWD, path, flags, mode).map(|fd| fd as i32)
}

/// A new file with these contents, open for reading and writing at its start.
pub fn file_with(path: &CStr, bytes: &[u8]) -> Sys<i32> {
    let fd = open(path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?;
    write(fd, bytes)?;
    sys!(SYS_lseek, fd, 0, libc::SEEK_SET)?;
    Ok(fd)
}

pub fn close(fd: i32) -> Sys {
    sys!(SYS_close, fd)
}

pub fn read(fd: i32, bytes: &mut [u8]) -> Sys {
    sys!(SYS_read, fd, bytes.as_mut_ptr(), bytes.len())
}

pub fn write(fd: i32, bytes: &[u8]) -> Sys {
    sys!(SYS_write, fd, bytes.as_ptr(), bytes.len())
}

/// Reads once, up to 4096 bytes.
pub fn read_some(fd: i32) -> Sys<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let count = read(fd, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// All of a file's contents, as text.
pub fn text_of(path: &str) -> Outcome<String> {
    Ok(std::fs::read_to_string(path)?)
}

pub fn pipe2(flags: i32) -> Sys<(i32, i32)> {
    let mut fds = [0_i32; 2];
    sys!(SYS_pipe2, &mut fds, flags)?;
    Ok((fds[0], fds[1]))
}

pub fn pipe() -> Sys<(i32, i32)> {
    pipe2(0)
}

pub fn stat(path: &CStr) -> Sys<libc::stat> {
    let mut out = zeroed::<libc::stat>();
    sys!(SYS_newfstatat, libc::AT_FDCWD, path, &mut out, 0)?;
    Ok(out)
}

pub fn lstat(path: &CStr) -> Sys<libc::stat> {
    let mut out = zeroed::<libc::stat>();
    sys!(
        SYS_newfstatat,
        libc::AT_FDCWD,
        path,
        &mut out,
        libc::AT_SYMLINK_NOFOLLOW
    )?;
    Ok(out)
}

pub fn fstat(fd: i32) -> Sys<libc::stat> {
    let mut out = zeroed::<libc::stat>();
    sys!(SYS_fstat, fd, &mut out)?;
    Ok(out)
}

/// The events of `poll` on one descriptor that are there now.
pub fn ready(fd: i32, events: i16) -> Sys<i16> {
    poll_one(fd, events, 0)
}

/// Waits until one of the events is there.
pub fn poll_one(fd: i32, events: i16, timeout_ms: i32) -> Sys<i16> {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    sys!(SYS_poll, &mut poll, 1, timeout_ms)?;
    Ok(poll.revents)
}

// Plain data.

/// A value of all zeroes, for types where that is one: those of the C library.
pub fn zeroed<T: Copy>() -> T {
    // SAFETY: used with plain C structures only, of which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

/// Reads a byte from memory.
pub fn peek(addr: usize) -> u8 {
    // SAFETY: see the head of the file; a volatile read, so that it takes place.
    unsafe { (addr as *const u8).read_volatile() }
}

/// Reads a byte for what the access causes.
pub fn touch(addr: usize) {
    let _ = std::hint::black_box(peek(addr));
}

/// Writes a byte to memory.
pub fn poke(addr: usize, byte: u8) {
    // SAFETY: see the head of the file; a volatile write, so that it takes place.
    unsafe { (addr as *mut u8).write_volatile(byte) }
}

/// A word in memory that processes or threads share.
pub fn word(addr: usize) -> &'static AtomicU32 {
    // SAFETY: callers hand in aligned addresses of mappings that stay.
    unsafe { &*(addr as *const AtomicU32) }
}

pub const PAGE: usize = 4096;

/// Maps anonymous private memory.
pub fn map(len: usize) -> Sys {
    map_with(
        len,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )
}

/// Maps anonymous memory that children share.
pub fn map_shared(len: usize) -> Sys {
    map_with(
        len,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    )
}

pub fn map_with(len: usize, prot: i32, flags: i32) -> Sys {
    sys!(SYS_mmap, 0, len, prot, flags, -1, 0)
}

pub fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

// Processes.

pub fn getpid() -> i32 {
    sys!(SYS_getpid).unwrap_or(0) as i32
}

/// Starts a process that ends with what the body answers.
pub fn fork(body: impl FnOnce() -> i32) -> Sys<i32> {
    // SAFETY: the program has a single thread, or the child only makes system calls.
    match unsafe { libc::fork() } {
        -1 => Err(errno()),
        0 => {
            let status = body();
            exit(status)
        }
        pid => Ok(pid),
    }
}

pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(status) }
}

/// Waits for a child's end and answers its status.
pub fn wait(pid: i32) -> Sys<i32> {
    wait_with(pid, 0)
}

pub fn wait_with(pid: i32, options: i32) -> Sys<i32> {
    let mut status = 0;
    sys!(SYS_wait4, pid, &mut status, options, 0)?;
    Ok(status)
}

/// Runs a body in a process of its own; its outcome is the caller's.
#[track_caller]
pub fn within(body: impl FnOnce() -> Outcome) -> Outcome {
    let (read, write) = pipe2(libc::O_CLOEXEC)?;
    let pid = fork(|| {
        harness::send(write, &body());
        0
    })?;
    close(write)?;
    let mut answer = Vec::new();
    loop {
        let some = match read_some(read) {
            Err(Errno(libc::EINTR)) => continue,
            some => some?,
        };
        answer.extend_from_slice(&some);
        if some.is_empty() || answer.ends_with(b"\n") {
            break;
        }
    }
    close(read)?;
    let status = wait(pid)?;
    if libc::WIFSIGNALED(status) {
        let what = format!(
            "a process of the case is killed by signal {}",
            libc::WTERMSIG(status)
        );
        return Err(Trouble::Fail(what));
    }
    harness::received(&answer)
}

/// The signal that ends a process that runs this body; 0 if it ends by itself.
pub fn death_of(body: impl FnOnce()) -> Sys<i32> {
    let pid = fork(|| {
        body();
        0
    })?;
    let status = wait(pid)?;
    Ok(if libc::WIFSIGNALED(status) {
        libc::WTERMSIG(status)
    } else {
        0
    })
}

/// The letter of a process's state in `/proc/PID/stat`.
pub fn state_of(pid: i32) -> Outcome<char> {
    let text = text_of(&format!("/proc/{pid}/stat"))?;
    let after = text.rsplit(") ").next().unwrap_or_default();
    Ok(after.chars().next().unwrap_or('?'))
}

/// Waits until a process is in one of these states.
pub fn await_state(pid: i32, states: &str) -> Outcome {
    while !states.contains(state_of(pid)?) {
        nap();
    }
    Ok(())
}

/// Lets others run for a moment.
pub fn nap() {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let _ = sys!(SYS_nanosleep, &time, 0);
}

/// Becomes the user and the group 1000, with no others.
pub fn become_user() -> Sys<()> {
    sys!(SYS_setgroups, 0, 0)?;
    sys!(SYS_setresgid, 1000, 1000, 1000)?;
    sys!(SYS_setresuid, 1000, 1000, 1000)?;
    Ok(())
}

// Tasks that share memory.

/// What runs in a cloned task.
pub type Body = extern "C" fn(*mut libc::c_void) -> i32;

/// The flags of a thread.
pub const THREAD: i32 = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM;

/// Starts a task by clone with these flags on a new stack; it runs `body` with `argument`, and
/// `tids` are the addresses of the parent's and the child's words.
///
/// The task has the caller's thread pointer: it makes system calls and touches shared words only.
pub fn clone_run(flags: i32, body: Body, argument: usize, tids: (usize, usize)) -> Sys<i32> {
    clone_tls(flags, body, argument, tids, 0)
}

/// The same with the address for CLONE_SETTLS.
pub fn clone_tls(
    flags: i32,
    body: Body,
    argument: usize,
    tids: (usize, usize),
    tls: usize,
) -> Sys<i32> {
    let stack = map(16 * PAGE)? + 16 * PAGE;
    let answer: isize;
    // SAFETY: the child starts on a stack of its own, keeps what it needs in registers that the
    // call preserves, and never returns from here.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, 60",
            "syscall",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => answer,
            in("rdi") flags as usize,
            in("rsi") stack,
            in("rdx") tids.0,
            in("r10") tids.1,
            in("r8") tls,
            in("r12") argument,
            in("r13") body,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    if answer < 0 {
        return Err(Errno(-answer as i32));
    }
    Ok(answer as i32)
}

/// Starts a thread; the word answered becomes 0 once it has ended.
pub fn thread(body: Body, argument: usize) -> Sys<&'static AtomicU32> {
    let addr = map(PAGE)?;
    word(addr).store(1, Ordering::SeqCst);
    clone_run(
        THREAD | libc::CLONE_CHILD_CLEARTID,
        body,
        argument,
        (0, addr),
    )?;
    Ok(word(addr))
}

/// Waits until a word has this value.
pub fn await_word(word: &AtomicU32, value: u32) {
    while word.load(Ordering::SeqCst) != value {
        nap();
    }
}

// Signals.

static HITS: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];
static INFO: [AtomicI32; 32] = [const { AtomicI32::new(0) }; 32];

extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    if let Some(hits) = HITS.get(signal as usize) {
        hits.fetch_add(1, Ordering::SeqCst);
    }
    if !info.is_null() {
        for (index, slot) in INFO.iter().enumerate() {
            // SAFETY: a siginfo has 32 words.
            slot.store(unsafe { *info.cast::<i32>().add(index) }, Ordering::SeqCst);
        }
    }
}

/// Catches a signal and counts it; `SA_SIGINFO` is set.
pub fn catch(signal: i32, flags: i32) -> Sys<()> {
    handle(
        signal,
        note as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize,
        flags | libc::SA_SIGINFO,
        &[],
    )
}

/// Sets a signal's handler, its flags and the signals blocked meanwhile.
pub fn handle(signal: i32, handler: usize, flags: i32, mask: &[i32]) -> Sys<()> {
    let mut action = zeroed::<libc::sigaction>();
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    for &signal in mask {
        // SAFETY: the set is the action's own.
        unsafe { libc::sigaddset(&mut action.sa_mask, signal) };
    }
    // SAFETY: the action is whole.
    match unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// How often a signal was caught.
pub fn hits(signal: i32) -> u32 {
    HITS.get(signal as usize)
        .map_or(0, |hits| hits.load(Ordering::SeqCst))
}

/// The information of the signal that was caught last.
pub fn last_info() -> libc::siginfo_t {
    let words: [i32; 32] = std::array::from_fn(|index| {
        INFO.get(index)
            .map_or(0, |slot| slot.load(Ordering::SeqCst))
    });
    // SAFETY: a siginfo is 128 bytes of plain data.
    unsafe { std::mem::transmute(words) }
}

/// The kernel's set with these signals.
pub fn set_of(signals: &[i32]) -> u64 {
    signals
        .iter()
        .fold(0, |set, signal| set | 1 << (signal - 1))
}

/// Blocks these signals; answers the mask from before.
pub fn block(signals: &[i32]) -> Sys<u64> {
    let (set, mut old) = (set_of(signals), 0_u64);
    sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, &mut old, 8)?;
    Ok(old)
}

/// Unblocks these signals.
pub fn unblock(signals: &[i32]) -> Sys {
    let set = set_of(signals);
    sys!(SYS_rt_sigprocmask, libc::SIG_UNBLOCK, &set, 0, 8)
}

/// The signals that are pending.
pub fn pending() -> Sys<u64> {
    let mut set = 0_u64;
    sys!(SYS_rt_sigpending, &mut set, 8)?;
    Ok(set)
}

/// Sends a signal to the caller's process.
pub fn raise(signal: i32) -> Sys {
    sys!(SYS_kill, getpid(), signal)
}

/// Takes one of the signals from the queue, waiting for it.
pub fn take(signals: &[i32]) -> Sys<libc::siginfo_t> {
    let set = set_of(signals);
    let mut info = zeroed::<libc::siginfo_t>();
    sys!(SYS_rt_sigtimedwait, &set, &mut info, 0, 8)?;
    Ok(info)
}
