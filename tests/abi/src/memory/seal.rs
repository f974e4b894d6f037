//! Seals of memfds, with mappings in place and to come.

use super::{RW, map_file};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    seal_none_by_default,
    seal_ordinary_files_have_none,
    seal_needs_a_writer,
    seal_unknown_is_einval,
    seal_adds_up_and_seal_ends_it,
    seal_shrink,
    seal_grow,
    seal_grow_cuts_a_write,
    seal_grow_and_fallocate,
    seal_write_with_a_writable_map_is_ebusy,
    seal_write_with_a_forked_map_is_ebusy,
    seal_write_with_a_readable_map_of_a_writer_is_ebusy,
    seal_write_with_a_private_map,
    seal_write_forbids_everything,
    seal_write_lets_readers_map,
    seal_future_write_keeps_old_maps,
    seal_future_write_of_a_reading_map,
    seal_future_write_forbids_calls,
    seal_after_munmap_of_the_last_part,
    seal_after_mremap_still_counts,
    seal_holds_for_all_descriptors,
    seal_punch_hole,
    seal_exec,
];

fn memfd(size: usize) -> Outcome<i32> {
    let fd = sys!(
        SYS_memfd_create,
        c"m",
        libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC
    )? as i32;
    sys!(SYS_ftruncate, fd, size)?;
    Ok(fd)
}

fn seal(fd: i32, seals: i32) -> Sys {
    sys!(SYS_fcntl, fd, libc::F_ADD_SEALS, seals)
}

fn seals(fd: i32) -> Sys {
    sys!(SYS_fcntl, fd, libc::F_GET_SEALS)
}

/// The same file opened once more.
fn reopen(fd: i32, flags: i32) -> Sys<i32> {
    open(&c_string(&format!("/proc/self/fd/{fd}")), flags)
}

fn seal_none_by_default() -> Outcome {
    let fd = sys!(SYS_memfd_create, c"m", 0)? as i32;
    equal(seals(fd)?, libc::F_SEAL_SEAL as usize)?;
    fails(seal(fd, libc::F_SEAL_GROW), libc::EPERM)?;
    equal(seals(memfd(0)?)?, 0)
}

fn seal_ordinary_files_have_none() -> Outcome {
    let (read_end, write_end) = pipe()?;
    fails(seals(read_end), libc::EINVAL)?;
    fails(seal(read_end, libc::F_SEAL_GROW), libc::EPERM)?;
    fails(seal(write_end, libc::F_SEAL_GROW), libc::EINVAL)
}

fn seal_needs_a_writer() -> Outcome {
    let fd = memfd(PAGE)?;
    let reader = reopen(fd, libc::O_RDONLY)?;
    fails(seal(reader, libc::F_SEAL_GROW), libc::EPERM)?;
    equal(seals(reader)?, 0)
}

fn seal_unknown_is_einval() -> Outcome {
    let fd = memfd(PAGE)?;
    fails(seal(fd, 0x40), libc::EINVAL)?;
    fails(seal(fd, libc::F_SEAL_GROW | 0x100), libc::EINVAL)?;
    equal(seal(fd, 0)?, 0)
}

fn seal_adds_up_and_seal_ends_it() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_GROW)?;
    seal(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL)?;
    let all = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    equal(seals(fd)?, all as usize)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EPERM)?;
    fails(seal(fd, 0), libc::EPERM)
}

fn seal_shrink() -> Outcome {
    let fd = memfd(2 * PAGE)?;
    seal(fd, libc::F_SEAL_SHRINK)?;
    fails(sys!(SYS_ftruncate, fd, PAGE), libc::EPERM)?;
    fails(reopen(fd, libc::O_RDWR | libc::O_TRUNC), libc::EPERM)?;
    sys!(SYS_ftruncate, fd, 3 * PAGE)?;
    equal(sys!(SYS_ftruncate, fd, 3 * PAGE)?, 0)
}

fn seal_grow() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_GROW)?;
    fails(sys!(SYS_ftruncate, fd, PAGE + 1), libc::EPERM)?;
    fails(sys!(SYS_pwrite64, fd, c"ab", 2, PAGE), libc::EPERM)?;
    equal(sys!(SYS_pwrite64, fd, c"ab", 2, PAGE - 2)?, 2)?;
    sys!(SYS_ftruncate, fd, 10)?;
    fails(sys!(SYS_pwrite64, fd, c"ab", 2, 9), libc::EPERM)
}

fn seal_grow_cuts_a_write() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_GROW)?;
    // The first page is written before the second is refused.
    let bytes = [7_u8; 2 * PAGE];
    equal(sys!(SYS_pwrite64, fd, bytes.as_ptr(), 2 * PAGE, 0)?, PAGE)?;
    equal(fstat(fd)?.st_size, PAGE as i64)
}

fn seal_grow_and_fallocate() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_GROW)?;
    fails(sys!(SYS_fallocate, fd, 0, 0, 2 * PAGE), libc::EPERM)?;
    fails(sys!(SYS_fallocate, fd, 0, PAGE, PAGE), libc::EPERM)?;
    equal(sys!(SYS_fallocate, fd, 0, 0, PAGE)?, 0)
}

fn seal_write_with_a_writable_map_is_ebusy() -> Outcome {
    let fd = memfd(2 * PAGE)?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    equal(seals(fd)?, 0)?;
    poke(addr, 1);
    // Rights that were taken away can come back.
    sys!(SYS_mprotect, addr, 2 * PAGE, libc::PROT_READ)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, addr, 2 * PAGE)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)
}

fn seal_write_with_a_forked_map_is_ebusy() -> Outcome {
    let fd = memfd(PAGE)?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = close(write_end);
        let _ = read_some(read_end);
        0
    })?;
    sys!(SYS_munmap, addr, PAGE)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    close(write_end)?;
    equal(wait(pid)?, 0)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)
}

fn seal_write_with_a_readable_map_of_a_writer_is_ebusy() -> Outcome {
    let fd = memfd(PAGE)?;
    let reader = reopen(fd, libc::O_RDONLY)?;
    let read_only = map_file(reader, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    let addr = map_file(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, addr, PAGE)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)?;
    fails(sys!(SYS_mprotect, read_only, PAGE, RW), libc::EACCES)
}

fn seal_write_with_a_private_map() -> Outcome {
    let fd = memfd(PAGE)?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    seal(fd, libc::F_SEAL_WRITE)?;
    poke(addr, 5);
    let mut byte = [9_u8];
    sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, 0)?;
    equal((peek(addr), byte[0]), (5, 0))?;
    map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    Ok(())
}

fn seal_write_forbids_everything() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_WRITE)?;
    fails(write(fd, b"x"), libc::EPERM)?;
    fails(map_file(fd, PAGE, RW, libc::MAP_SHARED), libc::EPERM)?;
    let other = reopen(fd, libc::O_RDWR)?;
    fails(write(other, b"x"), libc::EPERM)?;
    // Sizes are other seals' matter.
    sys!(SYS_ftruncate, fd, 2 * PAGE)?;
    equal(sys!(SYS_ftruncate, fd, 1)?, 0)
}

fn seal_write_lets_readers_map() -> Outcome {
    let fd = memfd(PAGE)?;
    write(fd, b"k")?;
    seal(fd, libc::F_SEAL_WRITE)?;
    let reader = reopen(fd, libc::O_RDONLY)?;
    let addr = map_file(reader, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    equal(peek(addr), b'k')
}

fn seal_future_write_keeps_old_maps() -> Outcome {
    let fd = memfd(PAGE)?;
    let addr = map_file(fd, PAGE, RW, libc::MAP_SHARED)?;
    seal(fd, libc::F_SEAL_FUTURE_WRITE)?;
    poke(addr, 6);
    equal(peek(addr), 6)?;
    sys!(SYS_mprotect, addr, PAGE, libc::PROT_READ)?;
    sys!(SYS_mprotect, addr, PAGE, RW)?;
    poke(addr, 7);
    equal(peek(addr), 7)
}

fn seal_future_write_of_a_reading_map() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_FUTURE_WRITE)?;
    fails(map_file(fd, PAGE, RW, libc::MAP_SHARED), libc::EPERM)?;
    let addr = map_file(fd, PAGE, libc::PROT_READ, libc::MAP_SHARED)?;
    equal(peek(addr), 0)?;
    fails(sys!(SYS_mprotect, addr, PAGE, RW), libc::EACCES)?;
    let private = map_file(fd, PAGE, RW, libc::MAP_PRIVATE)?;
    poke(private, 1);
    Ok(())
}

fn seal_future_write_forbids_calls() -> Outcome {
    let fd = memfd(PAGE)?;
    seal(fd, libc::F_SEAL_FUTURE_WRITE)?;
    fails(write(fd, b"x"), libc::EPERM)?;
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    fails(sys!(SYS_fallocate, fd, punch, 0, PAGE), libc::EPERM)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)
}

fn seal_after_munmap_of_the_last_part() -> Outcome {
    let fd = memfd(4 * PAGE)?;
    let addr = map_file(fd, 4 * PAGE, RW, libc::MAP_SHARED)?;
    sys!(SYS_munmap, addr + PAGE, 2 * PAGE)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, addr, PAGE)?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, addr + 3 * PAGE, PAGE)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)
}

fn seal_after_mremap_still_counts() -> Outcome {
    let fd = memfd(4 * PAGE)?;
    let addr = map_file(fd, 2 * PAGE, RW, libc::MAP_SHARED)?;
    map(PAGE)?;
    let new = sys!(
        SYS_mremap,
        addr,
        2 * PAGE,
        4 * PAGE,
        libc::MREMAP_MAYMOVE,
        0
    )?;
    fails(seal(fd, libc::F_SEAL_WRITE), libc::EBUSY)?;
    sys!(SYS_munmap, new, 4 * PAGE)?;
    equal(seal(fd, libc::F_SEAL_WRITE)?, 0)
}

fn seal_holds_for_all_descriptors() -> Outcome {
    let fd = memfd(PAGE)?;
    let other = reopen(fd, libc::O_RDWR)?;
    seal(other, libc::F_SEAL_SHRINK)?;
    equal(seals(fd)?, libc::F_SEAL_SHRINK as usize)?;
    close(other)?;
    fails(sys!(SYS_ftruncate, fd, 0), libc::EPERM)
}

fn seal_punch_hole() -> Outcome {
    let fd = memfd(2 * PAGE)?;
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    seal(fd, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW)?;
    equal(sys!(SYS_fallocate, fd, punch, 0, PAGE)?, 0)?;
    seal(fd, libc::F_SEAL_WRITE)?;
    fails(sys!(SYS_fallocate, fd, punch, 0, PAGE), libc::EPERM)
}

fn seal_exec() -> Outcome {
    const F_SEAL_EXEC: i32 = 0x20;
    let fd = memfd(PAGE)?;
    if seal(fd, F_SEAL_EXEC) == Err(Errno(libc::EINVAL)) {
        return skip("no F_SEAL_EXEC before Linux 6.3");
    }
    fails(sys!(SYS_fchmod, fd, 0o600), libc::EPERM)?;
    // What is executable and stays so may not change at all.
    fails(write(fd, b"x"), libc::EPERM)
}
