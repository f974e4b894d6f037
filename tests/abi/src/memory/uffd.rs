//! userfaultfd: faults that a program sees to itself.

use std::sync::atomic::Ordering;

use super::{ANON, RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    uffd_flags_and_rights,
    uffd_api_comes_first,
    uffd_api_refuses_what_is_not_there,
    uffd_register_refuses,
    uffd_register_tells_its_calls,
    uffd_missing_page_is_copied,
    uffd_missing_page_is_zero,
    uffd_message_tells_write_and_address,
    uffd_copy_refuses,
    uffd_copy_of_several_pages_stops_at_one,
    uffd_page_that_is_there_is_no_fault,
    uffd_dontneed_makes_missing_again,
    uffd_wake_alone_faults_again,
    uffd_kernel_accesses_wait_too,
    uffd_close_lets_go,
    uffd_unregister_lets_go,
    uffd_sigbus_feature,
    uffd_user_mode_only_refuses_the_kernel,
    uffd_poll,
    uffd_write_protects,
    uffd_write_protect_refuses,
    uffd_copy_protected,
    uffd_of_shared_memory,
    uffd_fork_is_not_watched,
    uffd_signal_ends_the_wait,
    uffd_two_waiters_on_one_page,
];

const API: u64 = 0xc018_aa3f;
const REGISTER: u64 = 0xc020_aa00;
const UNREGISTER: u64 = 0x8010_aa01;
const WAKE: u64 = 0x8010_aa02;
const COPY: u64 = 0xc028_aa03;
const ZEROPAGE: u64 = 0xc020_aa04;
const WRITEPROTECT: u64 = 0xc018_aa06;
const USER_MODE_ONLY: i32 = 1;

fn ioctl<T>(fd: i32, number: u64, argument: &mut T) -> Sys {
    sys!(SYS_ioctl, fd, number, argument)
}

/// A descriptor that is ready, with these features.
fn uffd(flags: i32, features: u64) -> Outcome<i32> {
    let fd = sys!(SYS_userfaultfd, flags)? as i32;
    ioctl(fd, API, &mut [0xaa_u64, features, 0])?;
    Ok(fd)
}

fn register(fd: i32, addr: usize, pages: usize, mode: u64) -> Sys<u64> {
    let mut argument = [addr as u64, (pages * PAGE) as u64, mode, 0];
    ioctl(fd, REGISTER, &mut argument)?;
    Ok(argument[3])
}

/// Copies pages; the call's answer and the count that it leaves.
fn copy(fd: i32, dst: usize, src: usize, len: usize, mode: u64) -> (Sys, i64) {
    let mut argument = [dst as u64, src as u64, len as u64, mode, 0];
    let answer = ioctl(fd, COPY, &mut argument);
    (answer, argument[4] as i64)
}

fn zero(fd: i32, addr: usize, mode: u64) -> Sys {
    ioctl(fd, ZEROPAGE, &mut [addr as u64, PAGE as u64, mode, 0])
}

fn wake(fd: i32, addr: usize) -> Sys {
    ioctl(fd, WAKE, &mut [addr as u64, PAGE as u64])
}

fn protect(fd: i32, addr: usize, mode: u64) -> Sys {
    ioctl(fd, WRITEPROTECT, &mut [addr as u64, PAGE as u64, mode])
}

/// Waits for a message: flags and address of a fault.
fn message(fd: i32) -> Outcome<(u64, u64)> {
    let mut words = [0_u64; 4];
    loop {
        match sys!(SYS_read, fd, words.as_mut_ptr(), 32) {
            Err(Errno(libc::EAGAIN)) => nap(),
            count => {
                equal(count?, 32)?;
                equal(words[0] & 0xff, 0x12)?;
                return Ok((words[1], words[2]));
            }
        }
    }
}

/// What a thread is to do, and what it found.
struct Job {
    addr: usize,
    /// Written if not zero, else read.
    byte: u8,
    /// 1 more than the byte that it read last.
    seen: usize,
}

extern "C" fn run(raw: *mut libc::c_void) -> i32 {
    // SAFETY: the argument is a leaked `Job`.
    let job = unsafe { &*raw.cast::<Job>() };
    if job.byte != 0 {
        poke(job.addr, job.byte);
    }
    word(job.seen).store(u32::from(peek(job.addr)) + 1, Ordering::SeqCst);
    0
}

/// A thread that touches an address; the word of what it saw.
fn toucher(addr: usize, byte: u8) -> Outcome<&'static std::sync::atomic::AtomicU32> {
    let seen = map_shared(PAGE)?;
    let job = Box::leak(Box::new(Job { addr, byte, seen }));
    thread(run, std::ptr::from_ref(job) as usize)?;
    Ok(word(seen))
}

fn uffd_flags_and_rights() -> Outcome {
    sys!(SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    fails(sys!(SYS_userfaultfd, 0x10), libc::EINVAL)?;
    within(|| {
        become_user()?;
        fails(sys!(SYS_userfaultfd, 0), libc::EPERM)?;
        sys!(SYS_userfaultfd, USER_MODE_ONLY)?;
        Ok(())
    })
}

fn uffd_api_comes_first() -> Outcome {
    let fd = sys!(SYS_userfaultfd, libc::O_NONBLOCK)? as i32;
    let addr = map(PAGE)?;
    fails(register(fd, addr, 1, 1), libc::EINVAL)?;
    let mut bytes = [0; 32];
    fails(read(fd, &mut bytes), libc::EINVAL)?;
    let mut argument = [0xaa_u64, 0, 0];
    ioctl(fd, API, &mut argument)?;
    let basic = 1_u64 << 63 | 3;
    equal((argument[0], argument[2] & basic), (0xaa, basic))?;
    fails(ioctl(fd, API, &mut [0xaa_u64, 0, 0]), libc::EINVAL)?;
    fails(read(fd, &mut bytes), libc::EAGAIN)?;
    fails(read(fd, &mut bytes[..31]), libc::EINVAL)
}

fn uffd_api_refuses_what_is_not_there() -> Outcome {
    for (api, features) in [(0xab_u64, 0_u64), (0xaa, 1 << 60)] {
        let fd = sys!(SYS_userfaultfd, 0)? as i32;
        let mut argument = [api, features, 7];
        fails(ioctl(fd, API, &mut argument), libc::EINVAL)?;
        equal(argument, [0, 0, 0])?;
    }
    fails(ioctl(uffd(0, 0)?, 0xaa99, &mut [0_u64; 4]), libc::EINVAL)
}

fn uffd_register_refuses() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(4 * PAGE)?;
    fails(register(fd, addr, 1, 0), libc::EINVAL)?;
    fails(register(fd, addr, 1, 8), libc::EINVAL)?;
    fails(register(fd, addr + 1, 1, 1), libc::EINVAL)?;
    fails(register(fd, addr, 0, 1), libc::EINVAL)?;
    fails(register(fd, 0, 1, 1), libc::EINVAL)?;
    let hole = map(PAGE)?;
    sys!(SYS_munmap, hole, PAGE)?;
    fails(register(fd, hole, 1, 1), libc::EINVAL)?;
    let other = uffd(0, 0)?;
    register(fd, addr, 2, 1)?;
    fails(register(other, addr + PAGE, 1, 1), libc::EBUSY)?;
    register(fd, addr, 4, 1)?;
    Ok(())
}

fn uffd_register_tells_its_calls() -> Outcome {
    let fd = uffd(0, 1)?;
    let addr = map(2 * PAGE)?;
    equal(register(fd, addr, 1, 1)? & 0x5c, 0x1c)?;
    equal(register(fd, addr + PAGE, 1, 3)? & 0x5c, 0x5c)
}

fn uffd_missing_page_is_copied() -> Outcome {
    let fd = uffd(0, 0)?;
    let (addr, source) = (map(2 * PAGE)?, map(PAGE)?);
    poke(source + 5, 77);
    register(fd, addr, 2, 1)?;
    let seen = toucher(addr + PAGE + 5, 0)?;
    equal(message(fd)?, (0, (addr + PAGE) as u64))?;
    let (answer, copied) = copy(fd, addr + PAGE, source, PAGE, 0);
    equal((answer?, copied), (0, PAGE as i64))?;
    await_word(seen, 78);
    equal(peek(addr + PAGE + 6), 0)
}

fn uffd_missing_page_is_zero() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = toucher(addr, 0)?;
    message(fd)?;
    zero(fd, addr, 0)?;
    await_word(seen, 1);
    poke(addr, 4);
    equal(peek(addr), 4)?;
    fails(zero(fd, addr, 0), libc::EEXIST)
}

fn uffd_message_tells_write_and_address() -> Outcome {
    const EXACT_ADDRESS: u64 = 1 << 11;
    let fd = uffd(0, EXACT_ADDRESS)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = toucher(addr + 100, 9)?;
    equal(message(fd)?, (1, addr as u64 + 100))?;
    zero(fd, addr, 0)?;
    await_word(seen, 10);
    Ok(())
}

fn uffd_copy_refuses() -> Outcome {
    let fd = uffd(0, 0)?;
    let (addr, source) = (map(2 * PAGE)?, map(PAGE)?);
    register(fd, addr, 1, 1)?;
    fails(copy(fd, addr + 1, source, PAGE, 0).0, libc::EINVAL)?;
    fails(copy(fd, addr, source, 5, 0).0, libc::EINVAL)?;
    fails(copy(fd, addr, source, PAGE, 4).0, libc::EINVAL)?;
    let (answer, told) = copy(fd, addr + PAGE, source, PAGE, 0);
    fails(answer, libc::ENOENT)?;
    equal(told, -i64::from(libc::ENOENT))?;
    fails(copy(fd, addr, 8, PAGE, 0).0, libc::EFAULT)?;
    copy(fd, addr, source, PAGE, 0).0?;
    let (answer, told) = copy(fd, addr, source, PAGE, 0);
    fails(answer, libc::EEXIST)?;
    equal(told, -i64::from(libc::EEXIST))
}

fn uffd_copy_of_several_pages_stops_at_one() -> Outcome {
    let fd = uffd(0, 0)?;
    let (addr, source) = (map(4 * PAGE)?, map(4 * PAGE)?);
    register(fd, addr, 4, 1)?;
    copy(fd, addr + 2 * PAGE, source, PAGE, 0).0?;
    let (answer, told) = copy(fd, addr, source, 4 * PAGE, 0);
    fails(answer, libc::EAGAIN)?;
    equal(told, 2 * PAGE as i64)
}

fn uffd_page_that_is_there_is_no_fault() -> Outcome {
    let fd = uffd(libc::O_NONBLOCK, 0)?;
    let addr = map(2 * PAGE)?;
    poke(addr, 3);
    register(fd, addr, 2, 1)?;
    equal(peek(addr), 3)?;
    poke(addr, 4);
    let mut bytes = [0; 32];
    fails(read(fd, &mut bytes), libc::EAGAIN)
}

fn uffd_dontneed_makes_missing_again() -> Outcome {
    let fd = uffd(0, 0)?;
    let (addr, source) = (map(PAGE)?, map(PAGE)?);
    poke(addr, 3);
    poke(source, 5);
    register(fd, addr, 1, 1)?;
    sys!(SYS_madvise, addr, PAGE, libc::MADV_DONTNEED)?;
    let seen = toucher(addr, 0)?;
    message(fd)?;
    copy(fd, addr, source, PAGE, 0).0?;
    await_word(seen, 6);
    Ok(())
}

fn uffd_wake_alone_faults_again() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = toucher(addr, 0)?;
    equal(message(fd)?.1, addr as u64)?;
    wake(fd, addr)?;
    equal(message(fd)?.1, addr as u64)?;
    // A page without a wake leaves it asleep.
    zero(fd, addr, 1)?;
    (0..20).for_each(|_| nap());
    equal(seen.load(Ordering::SeqCst), 0)?;
    wake(fd, addr)?;
    await_word(seen, 1);
    Ok(())
}

extern "C" fn read_into(raw: *mut libc::c_void) -> i32 {
    // SAFETY: the argument is a leaked `Job`.
    let job = unsafe { &*raw.cast::<Job>() };
    let Ok((read_end, write_end)) = pipe() else {
        return 1;
    };
    let _ = write(write_end, b"q");
    let answer = match sys!(SYS_read, read_end, job.addr, 1) {
        Ok(_) => 1 + u32::from(peek(job.addr)),
        Err(Errno(errno)) => 1000 + errno as u32,
    };
    word(job.seen).store(answer, Ordering::SeqCst);
    0
}

fn kernel_toucher(addr: usize) -> Outcome<&'static std::sync::atomic::AtomicU32> {
    let seen = map_shared(PAGE)?;
    let job = Box::leak(Box::new(Job {
        addr,
        byte: 0,
        seen,
    }));
    thread(read_into, std::ptr::from_ref(job) as usize)?;
    Ok(word(seen))
}

fn uffd_kernel_accesses_wait_too() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = kernel_toucher(addr)?;
    equal(message(fd)?, (1, addr as u64))?;
    zero(fd, addr, 0)?;
    await_word(seen, 1 + u32::from(b'q'));
    Ok(())
}

fn uffd_close_lets_go() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(2 * PAGE)?;
    register(fd, addr, 2, 1)?;
    let seen = toucher(addr, 0)?;
    message(fd)?;
    close(fd)?;
    await_word(seen, 1);
    equal(peek(addr + PAGE), 0)
}

fn uffd_unregister_lets_go() -> Outcome {
    let fd = uffd(0, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = toucher(addr, 0)?;
    message(fd)?;
    ioctl(fd, UNREGISTER, &mut [addr as u64, PAGE as u64])?;
    await_word(seen, 1);
    fails(zero(fd, addr, 0), libc::ENOENT)
}

fn uffd_sigbus_feature() -> Outcome {
    const SIGBUS: u64 = 1 << 7;
    let fd = uffd(0, SIGBUS)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    catch(libc::SIGBUS, libc::SA_RESETHAND)?;
    let (_read_end, write_end) = pipe()?;
    fails(sys!(SYS_write, write_end, addr, 1), libc::EFAULT)?;
    zero(fd, addr, 0)?;
    equal(peek(addr), 0)
}

fn uffd_user_mode_only_refuses_the_kernel() -> Outcome {
    let fd = uffd(USER_MODE_ONLY, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let (_read_end, write_end) = pipe()?;
    fails(sys!(SYS_write, write_end, addr, 1), libc::EFAULT)?;
    let seen = toucher(addr, 0)?;
    message(fd)?;
    zero(fd, addr, 0)?;
    await_word(seen, 1);
    Ok(())
}

fn uffd_poll() -> Outcome {
    let raw = sys!(SYS_userfaultfd, libc::O_NONBLOCK)? as i32;
    equal(ready(raw, libc::POLLIN)?, libc::POLLERR)?;
    equal(ready(uffd(0, 0)?, libc::POLLIN)?, libc::POLLERR)?;
    let fd = uffd(libc::O_NONBLOCK, 0)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    let addr = map(PAGE)?;
    register(fd, addr, 1, 1)?;
    let seen = toucher(addr, 0)?;
    equal(poll_one(fd, libc::POLLIN, -1)?, libc::POLLIN)?;
    message(fd)?;
    equal(ready(fd, libc::POLLIN)?, 0)?;
    zero(fd, addr, 0)?;
    await_word(seen, 1);
    Ok(())
}

fn uffd_write_protects() -> Outcome {
    let fd = uffd(0, 1)?;
    let addr = map(2 * PAGE)?;
    poke(addr, 3);
    register(fd, addr, 2, 2)?;
    protect(fd, addr, 1)?;
    // Reading is free, and so is the other page.
    equal(peek(addr), 3)?;
    poke(addr + PAGE, 1);
    let seen = toucher(addr, 9)?;
    let (flags, at) = message(fd)?;
    equal((flags, at), (3, addr as u64))?;
    equal((peek(addr), seen.load(Ordering::SeqCst)), (3, 0))?;
    protect(fd, addr, 0)?;
    await_word(seen, 10);
    poke(addr, 11);
    equal(peek(addr), 11)
}

fn uffd_write_protect_refuses() -> Outcome {
    let fd = uffd(0, 1)?;
    let addr = map(2 * PAGE)?;
    register(fd, addr, 1, 1)?;
    fails(protect(fd, addr, 1), libc::ENOENT)?;
    fails(protect(fd, addr + PAGE, 1), libc::ENOENT)?;
    register(fd, addr, 1, 3)?;
    fails(protect(fd, addr, 3), libc::EINVAL)?;
    fails(protect(fd, addr, 8), libc::EINVAL)?;
    equal(protect(fd, addr, 1)?, 0)
}

fn uffd_copy_protected() -> Outcome {
    let fd = uffd(0, 1)?;
    let (addr, source) = (map(PAGE)?, map(PAGE)?);
    poke(source, 6);
    register(fd, addr, 1, 3)?;
    copy(fd, addr, source, PAGE, 2).0?;
    equal(peek(addr), 6)?;
    let seen = toucher(addr, 9)?;
    equal(message(fd)?, (3, addr as u64))?;
    protect(fd, addr, 0)?;
    await_word(seen, 10);
    Ok(())
}

fn uffd_of_shared_memory() -> Outcome {
    let fd = uffd(0, 0)?;
    let memory = sys!(SYS_memfd_create, c"m", 0)? as i32;
    sys!(SYS_ftruncate, memory, 2 * PAGE)?;
    let addr = map_file(memory, 2 * PAGE, RW, libc::MAP_SHARED)?;
    let source = map(PAGE)?;
    poke(source, 6);
    sys!(SYS_pwrite64, memory, c"z", 1, PAGE)?;
    register(fd, addr, 2, 1)?;
    // What the file has is not missing.
    equal(peek(addr + PAGE), b'z')?;
    let seen = toucher(addr, 0)?;
    equal(message(fd)?, (0, addr as u64))?;
    copy(fd, addr, source, PAGE, 0).0?;
    await_word(seen, 7);
    let mut byte = [0];
    sys!(SYS_pread64, memory, byte.as_mut_ptr(), 1, 0)?;
    equal(byte[0], 6)
}

fn uffd_fork_is_not_watched() -> Outcome {
    let fd = uffd(libc::O_NONBLOCK, 0)?;
    let addr = map_with(PAGE, RW, ANON)?;
    register(fd, addr, 1, 1)?;
    within(|| equal(peek(addr), 0))?;
    let mut bytes = [0; 32];
    fails(read(fd, &mut bytes), libc::EAGAIN)
}

fn uffd_signal_ends_the_wait() -> Outcome {
    let addr = map(PAGE)?;
    let pid = fork(|| {
        let Ok(fd) = uffd(0, 0) else { return 1 };
        if register(fd, addr, 1, 1).is_err() || catch(libc::SIGALRM, 0).is_err() {
            return 1;
        }
        touch(addr);
        2
    })?;
    await_state(pid, "SD")?;
    sys!(SYS_kill, pid, libc::SIGALRM)?;
    (0..20).for_each(|_| nap());
    // The handler has run, and it waits again.
    await_state(pid, "SD")?;
    sys!(SYS_kill, pid, libc::SIGKILL)?;
    equal(wait(pid)?, libc::SIGKILL)
}

fn uffd_two_waiters_on_one_page() -> Outcome {
    let fd = uffd(0, 0)?;
    let (addr, source) = (map(PAGE)?, map(PAGE)?);
    poke(source, 6);
    register(fd, addr, 1, 1)?;
    let (one, two) = (toucher(addr, 0)?, toucher(addr, 0)?);
    message(fd)?;
    message(fd)?;
    copy(fd, addr, source, PAGE, 0).0?;
    await_word(one, 7);
    await_word(two, 7);
    Ok(())
}
