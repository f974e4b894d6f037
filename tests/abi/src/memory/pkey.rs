//! Protection keys, where the processor has them.

use super::{ANON, RW};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    pkey_alloc_refuses_bad_arguments,
    pkey_alloc_runs_out,
    pkey_free_refuses,
    pkey_mprotect_refuses_unknown_keys,
    pkey_denies_access,
    pkey_denies_writes,
    pkey_denies_the_kernel,
    pkey_fault_names_the_key,
    pkey_rights_are_a_threads_own,
    pkey_is_inherited_by_fork,
    pkey_of_a_page_that_is_not_there,
    pkey_stays_at_mprotect,
    pkey_minus_one_is_mprotect,
    pkey_handler_starts_with_none,
    pkey_return_restores_rights,
    pkey_exec_resets,
    pkey_execute_only,
    pkey_in_smaps,
];

fn alloc(rights: usize) -> Sys {
    sys!(SYS_pkey_alloc, 0, rights)
}

/// Skips on a processor without keys.
fn key(rights: usize) -> Outcome<i32> {
    let flags = text_of("/proc/cpuinfo")?;
    if !flags.split_whitespace().any(|word| word == "ospke") {
        return skip("the processor has no protection keys");
    }
    Ok(alloc(rights)? as i32)
}

fn protect(addr: usize, prot: i32, key: i32) -> Sys {
    sys!(SYS_pkey_mprotect, addr, PAGE, prot, key)
}

fn pkru() -> u32 {
    let value: u32;
    // SAFETY: reads a register; callers have seen that there is one.
    unsafe { std::arch::asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _) };
    value
}

fn set_pkru(value: u32) {
    // SAFETY: memory of this program has key 0, which cases leave alone.
    unsafe { std::arch::asm!("wrpkru", in("ecx") 0, in("eax") value, in("edx") 0) };
}

fn set_rights(key: i32, denied: u32) {
    set_pkru(pkru() & !(3 << (2 * key)) | denied << (2 * key));
}

fn pkey_alloc_refuses_bad_arguments() -> Outcome {
    key(0)?;
    fails(sys!(SYS_pkey_alloc, 1, 0), libc::EINVAL)?;
    fails(alloc(4), libc::EINVAL)
}

fn pkey_alloc_runs_out() -> Outcome {
    let first = key(0)?;
    equal(first, 1)?;
    let mut count = 1;
    while alloc(3).is_ok() {
        count += 1;
    }
    equal(count, 15)?;
    fails(alloc(0), libc::ENOSPC)?;
    sys!(SYS_pkey_free, 7)?;
    equal(alloc(0)?, 7)
}

fn pkey_free_refuses() -> Outcome {
    let key = key(0)?;
    fails(sys!(SYS_pkey_free, key + 1), libc::EINVAL)?;
    fails(sys!(SYS_pkey_free, -1), libc::EINVAL)?;
    fails(sys!(SYS_pkey_free, 16), libc::EINVAL)?;
    sys!(SYS_pkey_free, key)?;
    fails(sys!(SYS_pkey_free, key), libc::EINVAL)
}

fn pkey_mprotect_refuses_unknown_keys() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    fails(protect(addr, RW, key + 1), libc::EINVAL)?;
    fails(protect(addr, RW, 16), libc::EINVAL)?;
    fails(protect(addr, RW, -2), libc::EINVAL)?;
    equal(protect(addr, RW, key)?, 0)
}

fn pkey_denies_access() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    poke(addr, 7);
    protect(addr, RW, key)?;
    equal(peek(addr), 7)?;
    set_rights(key, 1);
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)?;
    set_rights(key, 0);
    equal(peek(addr), 7)
}

fn pkey_denies_writes() -> Outcome {
    let key = key(2)?;
    let addr = map(PAGE)?;
    poke(addr, 7);
    protect(addr, RW, key)?;
    equal(peek(addr), 7)?;
    equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)
}

fn pkey_denies_the_kernel() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    poke(addr, 7);
    protect(addr, RW, key)?;
    let (read_end, write_end) = pipe()?;
    set_rights(key, 1);
    fails(sys!(SYS_write, write_end, addr, 1), libc::EFAULT)?;
    set_rights(key, 2);
    equal(sys!(SYS_write, write_end, addr, 1)?, 1)?;
    fails(sys!(SYS_read, read_end, addr, 1), libc::EFAULT)
}

/// A handler that gives access back, so that the access goes on.
extern "C" fn allow(_signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's frame: a siginfo of 128 bytes, whose key lies at 32.
    let words = unsafe { std::slice::from_raw_parts(info.cast::<u32>(), 32) };
    SEEN[0].store(words[2], std::sync::atomic::Ordering::SeqCst);
    SEEN[1].store(words[8], std::sync::atomic::Ordering::SeqCst);
    SEEN[2].store(pkru(), std::sync::atomic::Ordering::SeqCst);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the frame's context; its instruction is skipped: `mov al, [rdi]` has two bytes.
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] += 2 };
}

static SEEN: [std::sync::atomic::AtomicU32; 3] =
    [const { std::sync::atomic::AtomicU32::new(0) }; 3];

fn seen(index: usize) -> u32 {
    SEEN[index].load(std::sync::atomic::Ordering::SeqCst)
}

/// Reads a byte by an instruction of two bytes.
fn short_read(addr: usize) {
    // SAFETY: faults are handled by `allow`, which skips the instruction.
    unsafe { std::arch::asm!("mov al, byte ptr [rdi]", in("rdi") addr, out("al") _) };
}

fn denied_page() -> Outcome<(usize, i32)> {
    let key = key(0)?;
    let addr = map(PAGE)?;
    poke(addr, 7);
    protect(addr, RW, key)?;
    set_rights(key, 1);
    let handler = allow as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
    handle(libc::SIGSEGV, handler, libc::SA_SIGINFO, &[])?;
    Ok((addr, key))
}

fn pkey_fault_names_the_key() -> Outcome {
    const SEGV_PKUERR: u32 = 4;
    let (addr, key) = denied_page()?;
    short_read(addr);
    equal((seen(0), seen(1)), (SEGV_PKUERR, key as u32))
}

fn pkey_handler_starts_with_none() -> Outcome {
    let (addr, _key) = denied_page()?;
    let before = pkru();
    short_read(addr);
    equal(seen(2), 0x5555_5554)?;
    equal(pkru(), before)
}

fn pkey_return_restores_rights() -> Outcome {
    let key = key(0)?;
    set_rights(key, 2);
    let before = pkru();
    catch(libc::SIGUSR1, 0)?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(pkru(), before)
}

extern "C" fn change_rights(argument: *mut libc::c_void) -> i32 {
    set_pkru(0x5555_5554);
    word(argument as usize).store(1, std::sync::atomic::Ordering::SeqCst);
    nap();
    0
}

fn pkey_rights_are_a_threads_own() -> Outcome {
    let key = key(0)?;
    let before = pkru();
    equal(before >> (2 * key) & 3, 0)?;
    let flag = map_shared(PAGE)?;
    let end = thread(change_rights, flag)?;
    await_word(word(flag), 1);
    equal(pkru(), before)?;
    await_word(end, 0);
    equal(pkru(), before)
}

fn pkey_is_inherited_by_fork() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    poke(addr, 7);
    protect(addr, RW, key)?;
    set_rights(key, 2);
    within(|| {
        equal(peek(addr), 7)?;
        equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)?;
        check(alloc(0)? as i32 == key + 1, "the key is free in the child")?;
        set_rights(key, 0);
        poke(addr, 8);
        Ok(())
    })?;
    equal(peek(addr), 7)
}

fn pkey_of_a_page_that_is_not_there() -> Outcome {
    let key = key(1)?;
    let addr = map(PAGE)?;
    protect(addr, RW, key)?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)?;
    equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)?;
    set_rights(key, 0);
    equal(peek(addr), 0)
}

fn pkey_stays_at_mprotect() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    protect(addr, RW, key)?;
    poke(addr, 7);
    sys!(SYS_mprotect, addr, PAGE, 0)?;
    sys!(SYS_mprotect, addr, PAGE, RW)?;
    set_rights(key, 1);
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)?;
    protect(addr, RW, 0)?;
    equal(peek(addr), 7)
}

fn pkey_minus_one_is_mprotect() -> Outcome {
    let addr = map(PAGE)?;
    protect(addr, libc::PROT_READ, -1)?;
    equal(death_of(|| poke(addr, 1))?, libc::SIGSEGV)?;
    equal(peek(addr), 0)
}

fn pkey_exec_resets() -> Outcome {
    let key = key(0)?;
    set_rights(key, 0);
    let pid = fork(|| {
        let words = [c"true".as_ptr(), std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/true", words.as_ptr(), 0);
        1
    })?;
    equal(wait(pid)?, 0)
}

fn pkey_execute_only() -> Outcome {
    let key = key(0)?;
    let addr = map(PAGE)?;
    poke(addr, 0xc3);
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_EXEC)?;
    let run = || {
        // SAFETY: the page holds a return instruction.
        unsafe { std::arch::asm!("call {}", in(reg) addr) }
    };
    equal(death_of(run)?, 0)?;
    equal(death_of(|| touch(addr))?, libc::SIGSEGV)?;
    // Its key is the kernel's own.
    fails(sys!(SYS_pkey_free, key + 1), libc::EINVAL)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ | libc::PROT_EXEC)?;
    equal(peek(addr), 0xc3)?;
    let other = map_with(PAGE, libc::PROT_EXEC, ANON)?;
    equal(death_of(|| touch(other))?, libc::SIGSEGV)
}

fn pkey_in_smaps() -> Outcome {
    let key = key(0)?;
    let addr = map(3 * PAGE)?;
    protect(addr + PAGE, RW, key)?;
    let text = text_of("/proc/self/smaps")?;
    let entry = some(
        text.split_once(&format!("{:x}-", addr + PAGE)),
        "not in smaps",
    )?
    .1;
    let row = entry
        .lines()
        .find_map(|line| line.strip_prefix("ProtectionKey:"));
    equal(some(row, "ProtectionKey")?.trim(), key.to_string().as_str())
}
