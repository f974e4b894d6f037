//! A tracee's memory.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    words_can_be_read_and_written,
    words_may_cross_pages,
    unmapped_memory_is_eio,
    code_can_be_written,
    files_are_not_changed,
    inaccessible_memory_can_be_reached,
    a_poked_page_keeps_its_rights,
    shared_read_only_memory_is_not_written,
    the_vdso_can_be_read,
    untouched_memory_reads_as_zeros,
    a_forked_page_is_not_changed_for_the_child,
];

fn peek_data(pid: i32, addr: usize) -> Sys<u64> {
    let mut word = 0x5555_u64;
    sys!(SYS_ptrace, req::PEEKDATA, pid, addr, &mut word)?;
    Ok(std::hint::black_box(word))
}

fn poke_data(pid: i32, addr: usize, word: u64) -> Sys {
    sys!(SYS_ptrace, req::POKEDATA, pid, addr, word)
}

fn load(addr: usize) -> u64 {
    // SAFETY: callers hand in mapped memory.
    unsafe { (addr as *const u64).read_unaligned() }
}

fn store(addr: usize, word: u64) {
    // SAFETY: callers hand in writable memory.
    unsafe { (addr as *mut u64).write_unaligned(word) }
}

fn words_can_be_read_and_written() -> Outcome {
    let addr = map(PAGE)?;
    store(addr, 0x1122_3344_5566_7788);
    let pid = traced(|| i32::from(load(addr) != 99))?;
    equal(peek_data(pid, addr)?, 0x1122_3344_5566_7788)?;
    poke_data(pid, addr, 99)?;
    equal(peek_data(pid, addr)?, 99)?;
    equal(load(addr), 0x1122_3344_5566_7788)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn words_may_cross_pages() -> Outcome {
    let addr = map(2 * PAGE)? + PAGE - 3;
    let pid = traced(|| i32::from(load(addr) != 0x0102_0304_0506_0708))?;
    poke_data(pid, addr, 0x0102_0304_0506_0708)?;
    equal(peek_data(pid, addr)?, 0x0102_0304_0506_0708)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn unmapped_memory_is_eio() -> Outcome {
    let addr = map(2 * PAGE)?;
    sys!(SYS_munmap, addr + PAGE, PAGE)?;
    let pid = traced(|| 0)?;
    for bad in [0, 16, addr + PAGE, addr + PAGE - 4, usize::MAX - 8, 1 << 62] {
        fails(peek_data(pid, bad), libc::EIO)?;
        fails(poke_data(pid, bad, 1), libc::EIO)?;
    }
    fails(ptrace(req::PEEKDATA, pid, addr, 16), libc::EFAULT)?;
    kill_now(pid)
}

#[inline(never)]
extern "C" fn answer() -> i32 {
    std::hint::black_box(3)
}

fn code_can_be_written() -> Outcome {
    let code = answer as *const () as usize;
    let pid = traced(|| answer())?;
    let old = peek_data(pid, code)?;
    equal(old, load(code))?;
    poke_data(pid, code, old & !0xff | 0xcc)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let mut regs = regs_of(pid)?;
    equal(regs.rip as usize, code + 1)?;
    // The tracer's own code is another page now.
    equal(load(code), old)?;
    equal(answer(), 3)?;
    poke_data(pid, code, old)?;
    regs.rip -= 1;
    set_regs(pid, &regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

/// A private mapping of a file with these rights.
fn file_map(name: &std::ffi::CStr, prot: i32, flags: i32) -> Sys<(i32, usize)> {
    let fd = file_with(name, &[7; PAGE])?;
    let addr = sys!(SYS_mmap, 0, PAGE, prot, flags, fd, 0)?;
    Ok((fd, addr))
}

fn files_are_not_changed() -> Outcome {
    let (fd, addr) = file_map(c"f", libc::PROT_READ, libc::MAP_PRIVATE)?;
    let pid = traced(|| i32::from(peek(addr) != 9))?;
    poke_data(pid, addr, 0x0707_0707_0707_0709)?;
    let mut byte = [0];
    sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, 0)?;
    equal((byte[0], peek(addr)), (7, 7))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn inaccessible_memory_can_be_reached() -> Outcome {
    let addr = map(2 * PAGE)?;
    store(addr, 5);
    sys!(SYS_mprotect, addr, 2 * PAGE, libc::PROT_NONE)?;
    let pid = traced(|| {
        if death_of(|| touch(addr)) != Ok(libc::SIGSEGV)
            || death_of(|| touch(addr + PAGE)) != Ok(libc::SIGSEGV)
        {
            return 1;
        }
        let _ = sys!(SYS_mprotect, addr, 2 * PAGE, libc::PROT_READ);
        i32::from((load(addr), load(addr + PAGE)) != (6, 7))
    })?;
    equal(
        (peek_data(pid, addr)?, peek_data(pid, addr + PAGE)?),
        (5, 0),
    )?;
    poke_data(pid, addr, 6)?;
    poke_data(pid, addr + PAGE, 7)?;
    equal(
        (peek_data(pid, addr)?, peek_data(pid, addr + PAGE)?),
        (6, 7),
    )?;
    loop {
        resume(pid, 0)?;
        let status = next(pid)?;
        if libc::WIFEXITED(status) {
            return equal(status, 0);
        }
        equal(libc::WSTOPSIG(status), libc::SIGCHLD)?;
    }
}

fn a_poked_page_keeps_its_rights() -> Outcome {
    let (_, addr) = file_map(c"f", libc::PROT_READ, libc::MAP_PRIVATE)?;
    let pid = traced(|| {
        touch(addr);
        poke(addr, 1);
        0
    })?;
    poke_data(pid, addr, 8)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGSEGV)?;
    equal(siginfo(pid)?.si_code, 2)?;
    kill_now(pid)
}

fn shared_read_only_memory_is_not_written() -> Outcome {
    let (_, addr) = file_map(c"f", libc::PROT_READ, libc::MAP_SHARED)?;
    let pid = traced(|| 0)?;
    fails(poke_data(pid, addr, 8), libc::EIO)?;
    equal(peek_data(pid, addr)?, 0x0707_0707_0707_0707)?;
    kill_now(pid)
}

fn the_vdso_can_be_read() -> Outcome {
    const AT_SYSINFO_EHDR: u64 = 33;
    // SAFETY: a look at the auxiliary vector.
    let addr = unsafe { libc::getauxval(AT_SYSINFO_EHDR) } as usize;
    let pid = traced(|| 0)?;
    equal(
        peek_data(pid, addr)? as u32,
        u32::from_le_bytes(*b"\x7fELF"),
    )?;
    kill_now(pid)
}

fn untouched_memory_reads_as_zeros() -> Outcome {
    let addr = map(1024 * PAGE)?;
    let pid = traced(|| i32::from(load(addr + 4 * PAGE) != 1))?;
    equal(peek_data(pid, addr + 3 * PAGE)?, 0)?;
    poke_data(pid, addr + 4 * PAGE, 1)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn a_forked_page_is_not_changed_for_the_child() -> Outcome {
    let addr = map(PAGE)?;
    store(addr, 1);
    let flag = map_shared(PAGE)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ)?;
    let pid = traced(|| {
        let child = fork(|| {
            await_word(word(flag), 1);
            load(addr) as i32
        });
        let _ = raise(libc::SIGUSR1);
        word(flag).store(1, std::sync::atomic::Ordering::SeqCst);
        let status = wait(child.unwrap_or(-1)).unwrap_or(-1);
        i32::from((status, load(addr)) != (1 << 8, 2))
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    poke_data(pid, addr, 2)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}
