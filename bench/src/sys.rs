//! System calls without a libc between: nothing is cached, emulated or retried.
//!
//! Every wrapper answers what the kernel answered: a value, or an error number below zero.

use std::arch::asm;
use std::ffi::{CStr, CString, c_char};
use std::io::IoSlice;
use std::sync::atomic::AtomicU32;

/// Makes a system call with `N` arguments.
///
/// # Safety
/// Addresses among the arguments must be good for what the call does with them.
#[inline(always)]
pub unsafe fn call<const N: usize>(number: i64, arg: [usize; N]) -> isize {
    let mut result = number as isize;
    macro_rules! issue {
        ($($register:tt = $index:literal),*) => {
            // SAFETY: the caller vouches for the arguments; the kernel changes only the registers named here.
            unsafe {
                asm!(
                    "syscall",
                    inlateout("rax") result,
                    $(in($register) arg[$index],)*
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack),
                )
            }
        };
    }
    match N {
        0 => issue!(),
        1 => issue!("rdi" = 0),
        2 => issue!("rdi" = 0, "rsi" = 1),
        3 => issue!("rdi" = 0, "rsi" = 1, "rdx" = 2),
        4 => issue!("rdi" = 0, "rsi" = 1, "rdx" = 2, "r10" = 3),
        5 => issue!("rdi" = 0, "rsi" = 1, "rdx" = 2, "r10" = 3, "r8" = 4),
        _ => issue!(
            "rdi" = 0,
            "rsi" = 1,
            "rdx" = 2,
            "r10" = 3,
            "r8" = 4,
            "r9" = 5
        ),
    }
    result
}

/// What fits an argument register.
pub trait Word {
    fn word(self) -> usize;
}

macro_rules! integers {
    ($($kind:ty),*) => {
        $(impl Word for $kind {
            #[inline(always)]
            fn word(self) -> usize {
                self as usize
            }
        })*
    };
}

integers!(i32, u32, i64, u64, usize);

impl Word for &CStr {
    #[inline(always)]
    fn word(self) -> usize {
        self.as_ptr() as usize
    }
}

impl<T> Word for &T {
    #[inline(always)]
    fn word(self) -> usize {
        std::ptr::from_ref(self) as usize
    }
}

impl<T> Word for &mut T {
    #[inline(always)]
    fn word(self) -> usize {
        std::ptr::from_mut(self) as usize
    }
}

/// Defines wrappers: each argument is what the call's manual page asks for, so that the kernel
/// reads and writes no other memory than what is lent to it.
macro_rules! calls {
    ($($name:ident($($arg:ident: $kind:ty),*) = $number:ident;)*) => {
        $(
            #[inline(always)]
            pub fn $name($($arg: $kind),*) -> isize {
                // SAFETY: the types above are those that the call asks for.
                unsafe { call(libc::$number, [$($arg.word()),*]) }
            }
        )*
    };
}

// `impl Word` where the C libraries disagree about a constant's type.
calls! {
    access(path: &CStr, mode: i32) = SYS_access;
    chdir(path: &CStr) = SYS_chdir;
    clock_gettime(clock: i32, out: &mut libc::timespec) = SYS_clock_gettime;
    close(fd: i32) = SYS_close;
    dup(fd: i32) = SYS_dup;
    epoll_create1(flags: i32) = SYS_epoll_create1;
    epoll_ctl(epoll: i32, what: i32, fd: i32, event: &libc::epoll_event) = SYS_epoll_ctl;
    eventfd2(value: u32, flags: i32) = SYS_eventfd2;
    fcntl(fd: i32, command: i32) = SYS_fcntl;
    fcntl_lock(fd: i32, command: i32, lock: &libc::flock) = SYS_fcntl;
    flock(fd: i32, how: i32) = SYS_flock;
    fork() = SYS_fork;
    fstat(fd: i32, out: &mut libc::stat) = SYS_fstat;
    ftruncate(fd: i32, size: i64) = SYS_ftruncate;
    futex_wait(word: &AtomicU32, operation: i32, value: u32, no_timeout: usize) = SYS_futex;
    futex_wake(word: &AtomicU32, operation: i32, count: u32) = SYS_futex;
    getpid() = SYS_getpid;
    getpriority(which: impl Word, who: i32) = SYS_getpriority;
    getrlimit(which: impl Word, out: &mut libc::rlimit) = SYS_getrlimit;
    getrusage(who: i32, out: &mut libc::rusage) = SYS_getrusage;
    getsid(pid: i32) = SYS_getsid;
    gettid() = SYS_gettid;
    getuid() = SYS_getuid;
    kill(pid: i32, signal: i32) = SYS_kill;
    lseek(fd: i32, offset: i64, whence: i32) = SYS_lseek;
    nanosleep(time: &libc::timespec, no_rest: usize) = SYS_nanosleep;
    open(path: &CStr, flags: i32, mode: u32) = SYS_open;
    pipe2(ends: &mut [i32; 2], flags: i32) = SYS_pipe2;
    prctl_number(what: i32, value: i32) = SYS_prctl;
    prlimit64(pid: i32, which: impl Word, no_new: usize, old: &mut libc::rlimit) = SYS_prlimit64;
    rename(old: &CStr, new: &CStr) = SYS_rename;
    rt_sigaction(signal: i32, new: &Action, old: &mut Action, set_bytes: usize) = SYS_rt_sigaction;
    rt_sigprocmask(how: i32, new: &u64, old: &mut u64, set_bytes: usize) = SYS_rt_sigprocmask;
    rt_sigsuspend(mask: &u64, set_bytes: usize) = SYS_rt_sigsuspend;
    sched_setaffinity(tid: i32, bytes: usize, mask: &[u64; 1]) = SYS_sched_setaffinity;
    sched_yield() = SYS_sched_yield;
    semctl(set: i32, index: i32, command: i32) = SYS_semctl;
    semget(key: i32, count: i32, flags: i32) = SYS_semget;
    semop(set: i32, operation: &mut libc::sembuf, one: usize) = SYS_semop;
    sendfile(to: i32, from: i32, offset: &mut i64, count: usize) = SYS_sendfile;
    setitimer(which: i32, new: &libc::itimerval, old: &mut libc::itimerval) = SYS_setitimer;
    setrlimit(which: impl Word, new: &libc::rlimit) = SYS_setrlimit;
    shmctl(segment: i32, command: i32, no_buffer: usize) = SYS_shmctl;
    shmget(key: i32, size: usize, flags: i32) = SYS_shmget;
    socketpair(domain: i32, kind: i32, protocol: i32, ends: &mut [i32; 2]) = SYS_socketpair;
    stat(path: &CStr, out: &mut libc::stat) = SYS_stat;
    statx(dir: i32, path: &CStr, flags: i32, mask: u32, out: &mut libc::statx) = SYS_statx;
    uname(out: &mut libc::utsname) = SYS_uname;
    unlink(path: &CStr) = SYS_unlink;
    wait4(pid: i32, status: &mut i32, options: i32, no_usage: usize) = SYS_wait4;
    waitid(kind: u32, id: u32, out: &mut libc::siginfo_t, options: i32, no_usage: usize) = SYS_waitid;
}

/// Sets the heap's end, or answers where it is. Going below what the heap has in use is refused.
pub fn brk(to: usize) -> isize {
    // SAFETY: the call takes no address that it reads or writes; libc's heap does not go above its own end.
    unsafe { call(libc::SYS_brk, [to]) }
}

/// Adds one to a byte of memory that `brk` has made; what was there before.
#[inline(always)]
pub fn bump_at(address: usize) -> u8 {
    let at = address as *mut u8;
    // SAFETY: the caller has just made the page by `brk`, and nothing else uses it.
    unsafe {
        let old = at.read_volatile();
        at.write_volatile(old.wrapping_add(1));
        old
    }
}

/// What `rt_sigaction` takes, for dispositions that need no handler.
#[repr(C)]
pub struct Action {
    pub handler: usize,
    pub flags: u64,
    pub restorer: usize,
    pub mask: u64,
}

/// Defines wrappers for calls that take a buffer by address and length.
macro_rules! buffers {
    ($($name:ident($($first:ident: $kind:ty,)* [$buffer:ty] $(, $last:ident: $last_kind:ty)*) = $number:ident;)*) => {
        $(
            #[inline(always)]
            pub fn $name($($first: $kind,)* buffer: $buffer $(, $last: $last_kind)*) -> isize {
                let (start, len) = (buffer.as_ptr() as usize, buffer.len());
                // SAFETY: the kernel stays inside of the buffer, and writes only where it is lent mutably.
                unsafe { call(libc::$number, [$($first.word(),)* start, len $(, $last.word())*]) }
            }
        )*
    };
}

buffers! {
    epoll_wait(epoll: i32, [&mut [libc::epoll_event]], timeout_ms: i32) = SYS_epoll_wait;
    getcwd([&mut [u8]]) = SYS_getcwd;
    getdents64(fd: i32, [&mut [u8]]) = SYS_getdents64;
    poll([&mut [libc::pollfd]], timeout_ms: i32) = SYS_poll;
    pread64(fd: i32, [&mut [u8]], offset: i64) = SYS_pread64;
    pwrite64(fd: i32, [&[u8]], offset: i64) = SYS_pwrite64;
    read(fd: i32, [&mut [u8]]) = SYS_read;
    readlink(path: &CStr, [&mut [u8]]) = SYS_readlink;
    write(fd: i32, [&[u8]]) = SYS_write;
    writev(fd: i32, [&[IoSlice]]) = SYS_writev;
}

/// `clone()` of a whole process: no memory is shared, so no stack is needed.
pub fn clone_process(flags: i32) -> isize {
    assert!(flags & (libc::CLONE_VM | libc::CLONE_SETTLS | libc::CLONE_PARENT_SETTID) == 0);
    // SAFETY: the child is a copy, as of fork().
    unsafe { call(libc::SYS_clone, [flags as usize, 0, 0, 0, 0]) }
}

/// Replaces the program.
pub fn execve(path: &CStr, arguments: &Strings, environment: &Strings) -> isize {
    // SAFETY: the path ends in a zero byte, the lists in a null pointer.
    unsafe {
        call(
            libc::SYS_execve,
            [path.word(), arguments.address(), environment.address()],
        )
    }
}

/// Starts a program in a child that borrows this process's memory until then; the child's id.
pub fn vfork_exec(path: &CStr, arguments: &Strings, environment: &Strings) -> isize {
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as usize;
    let mut result = libc::SYS_clone as isize;
    // SAFETY: the child runs these few instructions alone, touches no memory, and ends by execve or exit; this
    // thread stands still meanwhile. The strings and lists are as execve wants them.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r12",
            "mov rsi, r13",
            "mov rdx, r14",
            "mov eax, {execve}",
            "syscall",
            "mov edi, 127",
            "mov eax, {exit}",
            "syscall",
            "2:",
            execve = const libc::SYS_execve,
            exit = const libc::SYS_exit_group,
            inlateout("rax") result,
            inlateout("rdi") flags => _,
            inlateout("rsi") 0usize => _,
            inlateout("rdx") 0usize => _,
            in("r10") 0usize,
            in("r8") 0usize,
            in("r12") path.word(),
            in("r13") arguments.address(),
            in("r14") environment.address(),
            lateout("rcx") _,
            lateout("r11") _,
        )
    }
    result
}

/// `posix_spawn()` as libc does it.
pub fn posix_spawn(path: &CStr, arguments: &Strings, environment: &Strings) -> Result<i32, i32> {
    let mut pid = 0;
    // SAFETY: the strings and lists are as the function wants them; it does not write to them.
    let error = unsafe {
        libc::posix_spawn(
            &mut pid,
            path.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            arguments.address() as *const *mut c_char,
            environment.address() as *const *mut c_char,
        )
    };
    if error == 0 { Ok(pid) } else { Err(error) }
}

/// `clock_gettime()` as libc does it: by the vDSO.
#[inline(always)]
pub fn clock_gettime_libc(clock: i32, out: &mut libc::timespec) -> isize {
    // SAFETY: the structure is this function's to fill.
    unsafe { libc::clock_gettime(clock, out) as isize }
}

/// Installs a handler; libc brings the way back from it.
pub fn handle(signal: i32, handler: extern "C" fn(i32)) -> isize {
    let mut action: libc::sigaction = blank();
    action.sa_sigaction = handler as *const () as usize;
    // SAFETY: the handlers of this suite do nothing that a signal handler may not do.
    unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) as isize }
}

/// Makes a page of the suite's own readable and writable, from a signal handler.
pub fn allow_page(address: usize) -> isize {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    // SAFETY: more rights to a page take nothing from anybody.
    unsafe { call(libc::SYS_mprotect, [address, 4096, protection]) }
}

/// The path by which this program was executed.
pub fn executed_path() -> Option<&'static CStr> {
    // SAFETY: the kernel leaves a string there for as long as the process lives, or nothing.
    unsafe {
        let path = libc::getauxval(libc::AT_EXECFN) as *const c_char;
        (!path.is_null()).then(|| CStr::from_ptr(path))
    }
}

/// An argument list or an environment.
pub struct Strings {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    pub fn new(strings: &[&CStr]) -> Self {
        let strings: Vec<CString> = strings.iter().map(|&string| string.to_owned()).collect();
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self {
            pointers,
            _strings: strings,
        }
    }

    fn address(&self) -> usize {
        self.pointers.as_ptr() as usize
    }
}

/// Ends the process without running anything that libc or Rust would run.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call takes no address and does not return.
        unsafe { call(libc::SYS_exit_group, [status.word()]) };
    }
}

/// A zeroed structure for the kernel to fill.
pub fn blank<T: Plain>() -> T {
    // SAFETY: of a `Plain` type any bytes are a value.
    unsafe { std::mem::zeroed() }
}

/// Structures of integers and arrays alone.
///
/// # Safety
/// All zeroes must be a value of the type.
pub unsafe trait Plain {}

macro_rules! plain {
    ($($kind:ty),*) => {
        $(
            // SAFETY: it is made of integers.
            unsafe impl Plain for $kind {}
        )*
    };
}

plain!(
    libc::stat,
    libc::statx,
    libc::rusage,
    libc::rlimit,
    libc::utsname,
    libc::flock,
    libc::timespec,
    libc::itimerval,
    libc::siginfo_t,
    libc::sigaction,
    Action
);
