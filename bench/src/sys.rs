//! System calls without a libc between: nothing is cached, emulated or retried.
//!
//! Every wrapper answers what the kernel answered: a value, or an error number below zero.

use std::arch::asm;
use std::ffi::CStr;

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
        $(#[inline(always)]
        pub fn $name($($arg: $kind),*) -> isize {
            // SAFETY: the types above are those that the call asks for.
            unsafe { call(libc::$number, [$($arg.word()),*]) }
        })*
    };
}

calls! {
    getpid() = SYS_getpid;
    close(fd: i32) = SYS_close;
    open(path: &CStr, flags: i32, mode: u32) = SYS_open;
    stat(path: &CStr, out: &mut libc::stat) = SYS_stat;
    pipe2(ends: &mut [i32; 2], flags: i32) = SYS_pipe2;
    fork() = SYS_fork;
    wait4(pid: i32, status: &mut i32, options: i32, usage: usize) = SYS_wait4;
    getrusage(who: i32, out: &mut libc::rusage) = SYS_getrusage;
    kill(pid: i32, signal: i32) = SYS_kill;
    poll(polled: &mut libc::pollfd, count: usize, timeout_ms: i32) = SYS_poll;
    uname(out: &mut libc::utsname) = SYS_uname;
}

#[inline(always)]
pub fn read(fd: i32, into: &mut [u8]) -> isize {
    // SAFETY: the kernel writes into the slice alone.
    unsafe {
        call(
            libc::SYS_read,
            [fd.word(), into.as_mut_ptr() as usize, into.len()],
        )
    }
}

#[inline(always)]
pub fn write(fd: i32, from: &[u8]) -> isize {
    // SAFETY: the kernel reads from the slice alone.
    unsafe {
        call(
            libc::SYS_write,
            [fd.word(), from.as_ptr() as usize, from.len()],
        )
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

plain!(libc::stat, libc::rusage, libc::utsname);
