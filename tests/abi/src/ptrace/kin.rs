//! Looks into other processes without tracing them: process_vm_readv and _writev, kcmp, and files of `/proc`.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    vm_readv_copies_between_ranges,
    vm_writev_copies_between_ranges,
    vm_calls_stop_at_bad_memory,
    vm_calls_obey_the_rights,
    vm_calls_check_their_arguments,
    vm_calls_need_permission,
    mem_reads_and_writes,
    mem_ignores_the_rights,
    mem_refuses_what_is_not_there,
    mem_is_empty_after_exec,
    mem_needs_permission,
    kcmp_knows_what_is_shared,
    kcmp_orders_files,
    kcmp_of_semaphore_adjustments,
    kcmp_finds_what_an_epoll_watches,
    kcmp_checks_its_arguments,
    syscall_tells_what_a_sleeper_waits_in,
    auxv_is_what_the_program_got,
    stack_is_the_super_users,
];

fn iov(addr: usize, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: addr as *mut libc::c_void,
        iov_len: len,
    }
}

fn vm_read(pid: i32, local: &[libc::iovec], remote: &[libc::iovec]) -> Sys {
    sys!(
        SYS_process_vm_readv,
        pid,
        local.as_ptr(),
        local.len(),
        remote.as_ptr(),
        remote.len(),
        0
    )
}

fn vm_write(pid: i32, local: &[libc::iovec], remote: &[libc::iovec]) -> Sys {
    sys!(
        SYS_process_vm_writev,
        pid,
        local.as_ptr(),
        local.len(),
        remote.as_ptr(),
        remote.len(),
        0
    )
}

/// A child that sleeps, forked with `bytes` at an address which is zeroed here afterwards.
fn child_with(bytes: &[u8]) -> Outcome<(i32, usize)> {
    // The page behind is not there, whatever lies next to it.
    let addr = map(9 * PAGE)?;
    sys!(SYS_munmap, addr + 8 * PAGE, PAGE)?;
    (addr..).zip(bytes).for_each(|(at, byte)| poke(at, *byte));
    let pid = paused()?;
    (addr..).zip(bytes).for_each(|(at, _)| poke(at, 0));
    Ok((pid, addr))
}

fn bytes_at(addr: usize, len: usize) -> Vec<u8> {
    (addr..addr + len).map(peek).collect()
}

fn vm_readv_copies_between_ranges() -> Outcome {
    let (pid, addr) = child_with(b"abcdefgh")?;
    let got = vm_read(
        pid,
        &[iov(addr + 100, 3), iov(addr + 200, 10)],
        &[iov(addr + 4, 4), iov(addr, 2)],
    )?;
    equal(got, 6)?;
    equal(bytes_at(addr + 100, 3), b"efg".to_vec())?;
    equal(bytes_at(addr + 200, 4), b"hab\0".to_vec())?;
    equal(vm_read(pid, &[iov(addr, 0)], &[iov(addr, 8)])?, 0)?;
    equal(vm_read(pid, &[iov(addr, 8)], &[iov(addr, 0)])?, 0)?;
    let big = map(64 * PAGE)?;
    equal(
        vm_read(pid, &[iov(big, 8 * PAGE)], &[iov(addr, 8 * PAGE)])?,
        8 * PAGE,
    )?;
    equal(bytes_at(big, 8), b"abcdefgh".to_vec())?;
    kill_now(pid)
}

fn vm_writev_copies_between_ranges() -> Outcome {
    let (pid, addr) = child_with(b"abcdefgh")?;
    (addr + 300..)
        .zip(b"123456")
        .for_each(|(at, byte)| poke(at, *byte));
    let got = vm_write(
        pid,
        &[iov(addr + 300, 2), iov(addr + 302, 4)],
        &[iov(addr + 1, 3), iov(addr + PAGE - 1, 2)],
    )?;
    equal(got, 5)?;
    equal(vm_read(pid, &[iov(addr + 100, 8)], &[iov(addr, 8)])?, 8)?;
    equal(bytes_at(addr + 100, 8), b"a123efgh".to_vec())?;
    vm_read(pid, &[iov(addr + 100, 2)], &[iov(addr + PAGE - 1, 2)])?;
    equal(bytes_at(addr + 100, 2), b"45".to_vec())?;
    equal(peek(addr), 0)?;
    kill_now(pid)
}

fn vm_calls_stop_at_bad_memory() -> Outcome {
    let (pid, addr) = child_with(b"abcdefgh")?;
    let end = addr + 8 * PAGE;
    let into = map(4 * PAGE)?;
    let got = vm_read(
        pid,
        &[iov(into, 2 * PAGE)],
        &[iov(end - 10, 10), iov(16, 10)],
    )?;
    equal(got, 10)?;
    fails(vm_read(pid, &[iov(into, 8)], &[iov(16, 8)]), libc::EFAULT)?;
    fails(vm_write(pid, &[iov(into, 8)], &[iov(16, 8)]), libc::EFAULT)?;
    fails(vm_read(pid, &[iov(16, 8)], &[iov(addr, 8)]), libc::EFAULT)?;
    fails(vm_write(pid, &[iov(16, 8)], &[iov(addr, 8)]), libc::EFAULT)?;
    fails(
        vm_read(pid, &[iov(into, 8)], &[iov(usize::MAX - 100, 8)]),
        libc::EFAULT,
    )?;
    kill_now(pid)
}

fn vm_calls_obey_the_rights() -> Outcome {
    let addr = map(2 * PAGE)?;
    poke(addr, 7);
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ)?;
    sys!(SYS_mprotect, addr + PAGE, PAGE, libc::PROT_NONE)?;
    let pid = paused()?;
    let into = map(PAGE)?;
    equal(vm_read(pid, &[iov(into, 1)], &[iov(addr, 1)])?, 1)?;
    equal(peek(into), 7)?;
    fails(
        vm_write(pid, &[iov(into, 1)], &[iov(addr, 1)]),
        libc::EFAULT,
    )?;
    fails(
        vm_read(pid, &[iov(into, 1)], &[iov(addr + PAGE, 1)]),
        libc::EFAULT,
    )?;
    kill_now(pid)
}

fn vm_calls_check_their_arguments() -> Outcome {
    let (pid, addr) = child_with(b"a")?;
    let one = [iov(addr, 1)];
    fails(
        sys!(SYS_process_vm_readv, pid, &one, 1, &one, 1, 1),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_process_vm_readv, pid, &one, 1025, &one, 1, 0),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_process_vm_readv, pid, &one, 1, &one, 1025, 0),
        libc::EINVAL,
    )?;
    fails(
        sys!(SYS_process_vm_readv, pid, 16, 1, &one, 1, 0),
        libc::EFAULT,
    )?;
    fails(
        sys!(SYS_process_vm_readv, pid, &one, 1, 16, 1, 0),
        libc::EFAULT,
    )?;
    fails(vm_read(-1, &one, &one), libc::ESRCH)?;
    fails(vm_read(pid, &one, &[iov(addr, usize::MAX)]), libc::EINVAL)?;
    equal(vm_read(getpid(), &[iov(addr + 8, 1)], &[iov(addr, 1)])?, 1)?;
    kill_now(pid)
}

fn vm_calls_need_permission() -> Outcome {
    let (pid, addr) = child_with(b"a")?;
    within(|| {
        become_user()?;
        let one = [iov(addr, 1)];
        fails(vm_read(pid, &one, &one), libc::EPERM)?;
        fails(vm_write(pid, &one, &one), libc::EPERM)
    })?;
    kill_now(pid)
}

fn mem_of(pid: i32, flags: i32) -> Sys<i32> {
    open(&c_string(&format!("/proc/{pid}/mem")), flags)
}

fn pread(fd: i32, len: usize, at: usize) -> Sys<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = sys!(SYS_pread64, fd, bytes.as_mut_ptr(), len, at)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn pwrite(fd: i32, bytes: &[u8], at: usize) -> Sys {
    sys!(SYS_pwrite64, fd, bytes.as_ptr(), bytes.len(), at)
}

fn mem_reads_and_writes() -> Outcome {
    let (pid, addr) = child_with(b"abcdefgh")?;
    let fd = mem_of(pid, libc::O_RDWR)?;
    equal(pread(fd, 8, addr)?, b"abcdefgh".to_vec())?;
    equal(pwrite(fd, b"XY", addr + 2)?, 2)?;
    equal(sys!(SYS_lseek, fd, addr + 1, libc::SEEK_SET)?, addr + 1)?;
    let mut four = [0; 4];
    equal(read(fd, &mut four)?, 4)?;
    equal(&four, b"bXYe")?;
    equal(sys!(SYS_lseek, fd, 1, libc::SEEK_CUR)?, addr + 6)?;
    fails(sys!(SYS_lseek, fd, 0, libc::SEEK_END), libc::EINVAL)?;
    equal(pread(fd, 2 * PAGE, addr + 7 * PAGE)?.len(), PAGE)?;
    kill_now(pid)
}

fn mem_ignores_the_rights() -> Outcome {
    let addr = map(PAGE)?;
    poke(addr, 7);
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_NONE)?;
    let pid = paused()?;
    let fd = mem_of(pid, libc::O_RDWR)?;
    equal(pread(fd, 1, addr)?, vec![7])?;
    equal(pwrite(fd, &[8], addr)?, 1)?;
    equal(pread(fd, 1, addr)?, vec![8])?;
    let own = mem_of(getpid(), libc::O_RDWR)?;
    equal(pread(own, 1, addr)?, vec![7])?;
    kill_now(pid)
}

fn mem_refuses_what_is_not_there() -> Outcome {
    let (pid, addr) = child_with(b"abcdefgh")?;
    let fd = mem_of(pid, libc::O_RDWR)?;
    fails(pread(fd, 1, 16), libc::EIO)?;
    fails(pwrite(fd, b"x", 16), libc::EIO)?;
    fails(sys!(SYS_pread64, fd, 16, 1, addr), libc::EFAULT)?;
    let read_only = mem_of(pid, libc::O_RDONLY)?;
    fails(pwrite(read_only, b"x", addr), libc::EBADF)?;
    kill_now(pid)
}

fn mem_is_empty_after_exec() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let addr = map(PAGE)?;
    let pid = fork(|| {
        let _ = read_some(read_end);
        let argv = [c"sleep".as_ptr(), c"100".as_ptr(), std::ptr::null()];
        let envp: [*const i8; 1] = [std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/sleep", argv.as_ptr(), envp.as_ptr());
        77
    })?;
    let fd = mem_of(pid, libc::O_RDWR)?;
    equal(pread(fd, 1, addr)?.len(), 1)?;
    write(write_end, b"x")?;
    while text_of(&format!("/proc/{pid}/comm"))? != "sleep\n" {
        nap();
    }
    equal(pread(fd, 1, addr)?.len(), 0)?;
    equal(pwrite(fd, b"x", addr)?, 0)?;
    kill_now(pid)
}

fn mem_needs_permission() -> Outcome {
    let pid = paused()?;
    within(|| {
        become_user()?;
        fails(mem_of(pid, libc::O_RDONLY), libc::EACCES)
    })?;
    kill_now(pid)
}

const KCMP_FILE: i32 = 0;
const KCMP_VM: i32 = 1;
const KCMP_FILES: i32 = 2;
const KCMP_FS: i32 = 3;
const KCMP_SIGHAND: i32 = 4;
const KCMP_IO: i32 = 5;
const KCMP_SYSVSEM: i32 = 6;
const KCMP_EPOLL_TFD: i32 = 7;

fn kcmp(one: i32, two: i32, kind: i32, idx1: i32, idx2: i32) -> Sys {
    sys!(SYS_kcmp, one, two, kind, idx1, idx2)
}

extern "C" fn sleep_for_ever(_argument: *mut libc::c_void) -> i32 {
    loop {
        let _ = sys!(SYS_pause);
    }
}

fn kcmp_knows_what_is_shared() -> Outcome {
    let me = getpid();
    let kinds = [KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND];
    let forked = paused()?;
    for kind in kinds {
        equal(kcmp(me, me, kind, 0, 0)?, 0)?;
        check(kcmp(me, forked, kind, 0, 0)? != 0, "shared after fork")?;
    }
    equal(kcmp(me, forked, KCMP_IO, 0, 0)?, 0)?;
    let flags = [
        libc::CLONE_VM,
        libc::CLONE_FILES,
        libc::CLONE_FS,
        libc::CLONE_VM | libc::CLONE_SIGHAND,
    ];
    for (kind, flags) in kinds.into_iter().zip(flags) {
        let pid = clone_run(flags | libc::SIGCHLD, sleep_for_ever, 0, (0, 0))?;
        equal(kcmp(me, pid, kind, 0, 0)?, 0)?;
        kill_now(pid)?;
    }
    kill_now(forked)
}

fn kcmp_orders_files() -> Outcome {
    let me = getpid();
    let one = open(c"/dev/null", libc::O_RDONLY)?;
    let two = open(c"/dev/null", libc::O_RDONLY)?;
    let copy = sys!(SYS_dup, one)? as i32;
    equal(kcmp(me, me, KCMP_FILE, one, copy)?, 0)?;
    let order = kcmp(me, me, KCMP_FILE, one, two)?;
    check(order == 1 || order == 2, "the same file")?;
    equal(kcmp(me, me, KCMP_FILE, two, copy)?, 3 - order)?;
    let pid = paused()?;
    equal(kcmp(me, pid, KCMP_FILE, one, copy)?, 0)?;
    equal(kcmp(pid, me, KCMP_FILE, one, two)?, order)?;
    kill_now(pid)
}

fn kcmp_of_semaphore_adjustments() -> Outcome {
    let me = getpid();
    let forked = paused()?;
    // Neither has a list.
    equal(kcmp(me, forked, KCMP_SYSVSEM, 0, 0)?, 0)?;
    let sharer = libc::CLONE_VM | libc::CLONE_SYSVSEM | libc::SIGCHLD;
    let sharer = clone_run(sharer, sleep_for_ever, 0, (0, 0))?;
    equal(kcmp(me, sharer, KCMP_SYSVSEM, 0, 0)?, 0)?;
    check(kcmp(me, forked, KCMP_SYSVSEM, 0, 0)? != 0, "one has a list")?;
    kill_now(sharer)?;
    kill_now(forked)
}

fn kcmp_finds_what_an_epoll_watches() -> Outcome {
    let me = getpid();
    let of = |file: i32, slot: [u32; 3]| sys!(SYS_kcmp, me, me, KCMP_EPOLL_TFD, file, &slot);
    let set = sys!(SYS_epoll_create1, 0)? as i32;
    let (one, two) = pipe()?;
    let copy = sys!(SYS_dup, one)? as i32;
    let watch = |fd: i32| {
        let mut event = libc::epoll_event { events: 1, u64: 0 };
        sys!(SYS_epoll_ctl, set, libc::EPOLL_CTL_ADD, fd, &mut event)
    };
    watch(one)?;
    let (epoll, number) = (set as u32, one as u32);
    equal(of(one, [epoll, number, 0])?, 0)?;
    equal(of(copy, [epoll, number, 0])?, 0)?;
    check(of(two, [epoll, number, 0])? != 0, "the pipe's other end")?;
    fails(of(one, [epoll, number, 1]), libc::ENOENT)?;
    fails(of(one, [epoll, two as u32, 0]), libc::ENOENT)?;
    fails(of(one, [number, number, 0]), libc::EINVAL)?;
    fails(of(one, [999, number, 0]), libc::EBADF)?;
    fails(of(999, [epoll, number, 0]), libc::EBADF)?;
    fails(sys!(SYS_kcmp, me, me, KCMP_EPOLL_TFD, one, 8), libc::EFAULT)?;
    // The number stands for another file now, and the first is watched still, for the copy keeps it open.
    sys!(SYS_dup2, two, one)?;
    watch(one)?;
    let found = [0, 1].map(|skip| of(copy, [epoll, number, skip]));
    check(found.contains(&Ok(0)), "the first file is not found")?;
    let found = [0, 1].map(|skip| of(one, [epoll, number, skip]));
    check(found.contains(&Ok(0)), "the second file is not found")?;
    Ok(())
}

fn kcmp_checks_its_arguments() -> Outcome {
    let me = getpid();
    fails(kcmp(me, -1, KCMP_VM, 0, 0), libc::ESRCH)?;
    fails(kcmp(me, me, 99, 0, 0), libc::EINVAL)?;
    fails(kcmp(me, me, -1, 0, 0), libc::EINVAL)?;
    fails(kcmp(me, me, KCMP_FILE, 0, 999), libc::EBADF)?;
    within(|| {
        become_user()?;
        fails(kcmp(getpid(), me, KCMP_VM, 0, 0), libc::EPERM)
    })
}

fn syscall_tells_what_a_sleeper_waits_in() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    let buffer = map(PAGE)?;
    let pid = fork(|| {
        let _ = sys!(SYS_read, read_end, buffer, 33);
        0
    })?;
    await_state(pid, "S")?;
    let text = text_of(&format!("/proc/{pid}/syscall"))?;
    let start = format!("0 {read_end:#x} {buffer:#x} 0x21 ");
    check(text.starts_with(&start), &text)?;
    equal(text.split(' ').count(), 9)?;
    // Of oneself: the call that reads.
    let own = text_of("/proc/self/syscall")?;
    check(own.starts_with("0 0x"), &own)?;
    kill_now(pid)
}

fn auxv_is_what_the_program_got() -> Outcome {
    const AT_PAGESZ: u64 = 6;
    let bytes = std::fs::read("/proc/self/auxv")?;
    let words: Vec<u64> = bytes
        .chunks(8)
        .map(|word| {
            word.iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        })
        .collect();
    let pagesz = words.chunks(2).find(|pair| pair[0] == AT_PAGESZ);
    equal(pagesz.map(|pair| pair[1]), Some(PAGE as u64))
}

fn stack_is_the_super_users() -> Outcome {
    let pid = paused()?;
    await_state(pid, "S")?;
    let text = text_of(&format!("/proc/{pid}/stack"))?;
    for line in text.lines() {
        check(line.starts_with("[<0>] ") && line.contains("+0x"), line)?;
    }
    check(!text.is_empty(), "no stack")?;
    kill_now(pid)
}
