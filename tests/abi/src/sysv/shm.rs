//! Shared memory segments.

use super::{CREAT, EXCL, INFO, IPC_PRIVATE, Owned, Perm, RMID, SET, STAT, key, row_of};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    shmget_makes_and_finds,
    shmget_of_bad_sizes,
    shm_is_shared_by_processes,
    shm_starts_as_zeros_and_keeps_its_content,
    shm_stat_tells_everything,
    shm_counts_attachments_over_fork_and_exit,
    shm_is_detached_by_exec,
    shm_dontfork_is_not_inherited,
    shm_removed_lives_until_the_last_detach,
    shm_removed_can_still_be_attached,
    shm_removed_by_its_last_exit,
    shm_read_only_cannot_be_written,
    shm_exec_is_executable,
    shmat_chooses_addresses,
    shmat_of_bad_ids,
    shmdt_wants_the_start,
    shmdt_takes_what_is_left,
    shm_parts_count_as_attachments,
    shm_moved_is_still_attached,
    shm_maps_tell_the_key_and_the_id,
    shm_permissions,
    shm_owner_can_be_changed,
    shm_lock_shows_in_the_mode,
    shm_lock_obeys_the_limit,
    shm_info_and_stat_by_index,
    shm_table_in_proc,
    shm_ids_go_round,
];

pub const RDONLY: i32 = 0o10000;
const RND: i32 = 0o20000;
const REMAP: i32 = 0o40000;
const EXEC: i32 = 0o100000;
const LOCK: i32 = 11;
const UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const STAT_ANY: i32 = 15;
const DEST: u32 = 0o1000;
const LOCKED: u32 = 0o2000;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ds {
    pub perm: Perm,
    pub segsz: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: i32,
    pub lpid: i32,
    pub nattch: u64,
    unused: [u64; 2],
}

pub fn shmget(key: i32, size: usize, flags: i32) -> Sys<i32> {
    sys!(SYS_shmget, key, size, flags).map(|id| id as i32)
}

pub fn private(size: usize) -> Sys<Owned> {
    shmget(IPC_PRIVATE, size, 0o600).map(Owned::shm)
}

pub fn shmat(id: i32, addr: usize, flags: i32) -> Sys {
    sys!(SYS_shmat, id, addr, flags)
}

pub fn shmdt(addr: usize) -> Sys {
    sys!(SYS_shmdt, addr)
}

pub fn stat_as(id: i32, cmd: i32) -> Sys<(usize, Ds)> {
    let mut ds = zeroed::<Ds>();
    let answer = sys!(SYS_shmctl, id, cmd, &mut ds)?;
    Ok((answer, std::hint::black_box(ds)))
}

pub fn stat_of(id: i32) -> Sys<Ds> {
    stat_as(id, STAT).map(|(_, ds)| ds)
}

pub fn nattch(id: i32) -> Sys<u64> {
    stat_of(id).map(|ds| ds.nattch)
}

pub fn remove(id: i32) -> Sys {
    sys!(SYS_shmctl, id, RMID, 0)
}

fn shmget_makes_and_finds() -> Outcome {
    let (a, b) = (private(PAGE)?, private(PAGE)?);
    check(a.id != b.id, "two private segments are one")?;
    fails(shmget(key(), PAGE, 0o600), libc::ENOENT)?;
    let made = Owned::shm(shmget(key(), 2 * PAGE, CREAT | 0o600)?);
    equal(shmget(key(), 2 * PAGE, 0o600)?, made.id)?;
    equal(shmget(key(), 0, 0)?, made.id)?;
    equal(shmget(key(), PAGE, CREAT)?, made.id)?;
    equal(shmget(key(), PAGE, EXCL)?, made.id)?;
    fails(shmget(key(), PAGE, CREAT | EXCL), libc::EEXIST)
}

fn shmget_of_bad_sizes() -> Outcome {
    fails(shmget(IPC_PRIVATE, 0, 0o600), libc::EINVAL)?;
    fails(shmget(IPC_PRIVATE, usize::MAX, 0o600), libc::EINVAL)?;
    let made = Owned::shm(shmget(key(), 100, CREAT | 0o600)?);
    // The size is what was asked for, though memory comes in pages.
    fails(shmget(key(), 101, 0), libc::EINVAL)?;
    equal(stat_of(made.id)?.segsz, 100)
}

fn shm_is_shared_by_processes() -> Outcome {
    let segment = private(2 * PAGE)?;
    let mine = shmat(segment.id, 0, 0)?;
    poke(mine + PAGE, 7);
    within(|| {
        // Once by inheritance, and once by the id.
        let other = shmat(segment.id, 0, 0)?;
        check(other != mine, "two attachments are at one place")?;
        equal((peek(mine + PAGE), peek(other + PAGE)), (7, 7))?;
        poke(other, 9);
        equal(peek(mine), 9)
    })?;
    equal(peek(mine), 9)
}

fn shm_starts_as_zeros_and_keeps_its_content() -> Outcome {
    let segment = private(3 * PAGE)?;
    let first = shmat(segment.id, 0, 0)?;
    check((0..3 * PAGE).all(|at| peek(first + at) == 0), "not zero")?;
    poke(first + 2 * PAGE, 5);
    shmdt(first)?;
    equal(nattch(segment.id)?, 0)?;
    let again = shmat(segment.id, 0, RDONLY)?;
    equal(peek(again + 2 * PAGE), 5)
}

fn shm_stat_tells_everything() -> Outcome {
    let segment = Owned::shm(shmget(key(), 5000, CREAT | 0o640)?);
    let ds = stat_of(segment.id)?;
    equal((ds.perm.key, ds.perm.mode), (key(), 0o640))?;
    equal(
        [ds.perm.uid, ds.perm.gid, ds.perm.cuid, ds.perm.cgid],
        [0; 4],
    )?;
    equal(i32::from(ds.perm.seq), segment.id >> 15)?;
    equal((ds.segsz, ds.nattch), (5000, 0))?;
    equal((ds.atime, ds.dtime), (0, 0))?;
    equal((ds.cpid, ds.lpid), (getpid(), 0))?;
    check(ds.ctime > 0, "no time of change")?;
    let child = fork(|| {
        let place = shmat(segment.id, 0, 0).unwrap_or(0);
        i32::from(shmdt(place).is_err())
    })?;
    equal(wait(child)?, 0)?;
    let after = stat_of(segment.id)?;
    equal((after.cpid, after.lpid), (getpid(), child))?;
    check(
        after.atime >= ds.ctime && after.dtime >= after.atime,
        "times of attaching and detaching",
    )?;
    fails(sys!(SYS_shmctl, segment.id, STAT, 8), libc::EFAULT)?;
    fails(sys!(SYS_shmctl, segment.id, 99, 0), libc::EINVAL)
}

fn shm_counts_attachments_over_fork_and_exit() -> Outcome {
    let segment = private(PAGE)?;
    let (_first, _second) = (shmat(segment.id, 0, 0)?, shmat(segment.id, 0, 0)?);
    equal(nattch(segment.id)?, 2)?;
    let (read_end, write_end) = pipe()?;
    let child = fork(|| {
        let _ = close(write_end);
        let _ = read(read_end, &mut [0]);
        0
    })?;
    equal(nattch(segment.id)?, 4)?;
    close(write_end)?;
    wait(child)?;
    equal(nattch(segment.id)?, 2)?;
    equal(stat_of(segment.id)?.lpid, child)
}

/// Becomes `cat`, which ends when its input does.
fn exec_cat(input: i32) -> i32 {
    let _ = sys!(SYS_dup3, input, 0, 0);
    let argv = [c"cat".as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null::<libc::c_char>()];
    let _ = sys!(SYS_execve, c"/bin/cat", &argv, &envp);
    1
}

fn shm_is_detached_by_exec() -> Outcome {
    let segment = private(PAGE)?;
    let _mine = shmat(segment.id, 0, 0)?;
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let child = fork(|| exec_cat(read_end))?;
    while nattch(segment.id)? != 1 {
        nap();
    }
    equal(wait_with(child, libc::WNOHANG)?, 0)?;
    close(write_end)?;
    equal(wait(child)?, 0)
}

fn shm_dontfork_is_not_inherited() -> Outcome {
    let segment = private(PAGE)?;
    let mine = shmat(segment.id, 0, 0)?;
    sys!(SYS_madvise, mine, PAGE, libc::MADV_DONTFORK)?;
    let id = segment.id;
    within(|| equal(nattch(id)?, 1))
}

fn shm_removed_lives_until_the_last_detach() -> Outcome {
    let segment = Owned::shm(shmget(key(), PAGE, CREAT | 0o600)?);
    let place = shmat(segment.id, 0, 0)?;
    poke(place, 3);
    remove(segment.id)?;
    let ds = stat_of(segment.id)?;
    equal((ds.perm.key, ds.perm.mode), (0, 0o600 | DEST))?;
    // The key is free, and the next one is another.
    fails(shmget(key(), PAGE, 0), libc::ENOENT)?;
    let next = Owned::shm(shmget(key(), PAGE, CREAT | 0o600)?);
    check(next.id != segment.id, "the removed one is found")?;
    equal(peek(place), 3)?;
    shmdt(place)?;
    fails(stat_of(segment.id), libc::EINVAL)?;
    fails(remove(segment.id), libc::EINVAL)
}

fn shm_removed_can_still_be_attached() -> Outcome {
    let segment = private(PAGE)?;
    let first = shmat(segment.id, 0, 0)?;
    remove(segment.id)?;
    let second = shmat(segment.id, 0, 0)?;
    poke(first, 8);
    shmdt(first)?;
    equal((peek(second), nattch(segment.id)?), (8, 1))?;
    shmdt(second)?;
    fails(shmat(segment.id, 0, 0), libc::EINVAL)
}

fn shm_removed_by_its_last_exit() -> Outcome {
    let segment = private(PAGE)?;
    let id = segment.id;
    within(|| {
        shmat(id, 0, 0)?;
        remove(id)?;
        equal(nattch(id)?, 1)
    })?;
    fails(stat_of(id), libc::EINVAL)
}

fn shm_read_only_cannot_be_written() -> Outcome {
    let segment = private(PAGE)?;
    let place = shmat(segment.id, 0, RDONLY)?;
    equal(death_of(|| poke(place, 1))?, libc::SIGSEGV)?;
    let both = libc::PROT_READ | libc::PROT_WRITE;
    fails(sys!(SYS_mprotect, place, PAGE, both), libc::EACCES)?;
    sys!(SYS_mprotect, place, PAGE, libc::PROT_NONE)?;
    Ok(())
}

/// The line of `/proc/self/maps` that begins with this address.
fn map_line(place: usize) -> Outcome<String> {
    let maps = text_of("/proc/self/maps")?;
    let start = format!("{place:x}-");
    let line = maps.lines().find(|line| line.starts_with(&start));
    some(line.map(str::to_owned), "the area is not in the map")
}

fn shm_exec_is_executable() -> Outcome {
    let segment = Owned::shm(shmget(IPC_PRIVATE, PAGE, 0o700)?);
    let place = shmat(segment.id, 0, EXEC)?;
    let line = map_line(place)?;
    equal(line.split(' ').nth(1), Some("rwxs"))?;
    let plain = map_line(shmat(segment.id, 0, RDONLY)?)?;
    equal(plain.split(' ').nth(1), Some("r--s"))
}

fn shmat_chooses_addresses() -> Outcome {
    let segment = private(2 * PAGE)?;
    let room = map(8 * PAGE)?;
    poke(room + PAGE, 1);
    fails(shmat(segment.id, room, 0), libc::EINVAL)?;
    fails(shmat(segment.id, room + PAGE + 8, REMAP), libc::EINVAL)?;
    fails(shmat(segment.id, 0, REMAP), libc::EINVAL)?;
    fails(shmat(segment.id, 8, RND | REMAP), libc::EINVAL)?;
    equal(shmat(segment.id, room + PAGE, REMAP)?, room + PAGE)?;
    equal(peek(room + PAGE), 0)?;
    equal(
        shmat(segment.id, room + 4 * PAGE + 8, REMAP | RND)?,
        room + 4 * PAGE,
    )?;
    sys!(SYS_munmap, room + 6 * PAGE, 2 * PAGE)?;
    equal(
        shmat(segment.id, room + 6 * PAGE + 9, RND)?,
        room + 6 * PAGE,
    )?;
    equal(nattch(segment.id)?, 3)?;
    fails(shmat(segment.id, usize::MAX - 4095, 0), libc::EINVAL)?;
    equal(nattch(segment.id)?, 3)
}

fn shmat_of_bad_ids() -> Outcome {
    let segment = private(PAGE)?;
    fails(shmat(-1, 0, 0), libc::EINVAL)?;
    fails(shmat(segment.id + (1 << 15), 0, 0), libc::EINVAL)?;
    fails(stat_of(segment.id + (1 << 15)), libc::EINVAL)?;
    fails(sys!(SYS_shmctl, -1, STAT, 0), libc::EINVAL)?;
    remove(segment.id)?;
    fails(shmat(segment.id, 0, 0), libc::EINVAL)
}

fn shmdt_wants_the_start() -> Outcome {
    let segment = private(2 * PAGE)?;
    let place = shmat(segment.id, 0, 0)?;
    fails(shmdt(place + PAGE), libc::EINVAL)?;
    fails(shmdt(place + 1), libc::EINVAL)?;
    fails(shmdt(map(PAGE)?), libc::EINVAL)?;
    shmdt(place)?;
    fails(shmdt(place), libc::EINVAL)
}

fn shmdt_takes_what_is_left() -> Outcome {
    let segment = private(6 * PAGE)?;
    let place = shmat(segment.id, 0, 0)?;
    sys!(SYS_munmap, place + PAGE, PAGE)?;
    sys!(SYS_mprotect, place + 3 * PAGE, PAGE, libc::PROT_READ)?;
    // Something else in the hole stays.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    let both = libc::PROT_READ | libc::PROT_WRITE;
    sys!(SYS_mmap, place + PAGE, PAGE, both, flags, -1, 0)?;
    poke(place + PAGE, 4);
    shmdt(place)?;
    equal(nattch(segment.id)?, 0)?;
    equal(peek(place + PAGE), 4)?;
    // The first page alone may be gone.
    let place = shmat(segment.id, 0, 0)?;
    sys!(SYS_munmap, place, PAGE)?;
    shmdt(place)?;
    equal(nattch(segment.id)?, 0)
}

fn shm_parts_count_as_attachments() -> Outcome {
    let segment = private(4 * PAGE)?;
    let place = shmat(segment.id, 0, 0)?;
    sys!(SYS_munmap, place + PAGE, PAGE)?;
    equal(nattch(segment.id)?, 2)?;
    sys!(SYS_mprotect, place + 3 * PAGE, PAGE, libc::PROT_READ)?;
    equal(nattch(segment.id)?, 3)?;
    shmdt(place)?;
    equal(nattch(segment.id)?, 0)
}

fn shm_moved_is_still_attached() -> Outcome {
    let segment = private(2 * PAGE)?;
    let place = shmat(segment.id, 0, 0)?;
    poke(place + PAGE, 6);
    let room = map(4 * PAGE)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    let moved = sys!(SYS_mremap, place, 2 * PAGE, 2 * PAGE, flags, room)?;
    equal((moved, peek(moved + PAGE)), (room, 6))?;
    equal(nattch(segment.id)?, 1)?;
    shmdt(moved)?;
    equal(nattch(segment.id)?, 0)
}

fn shm_maps_tell_the_key_and_the_id() -> Outcome {
    let segment = Owned::shm(shmget(key(), PAGE, CREAT | 0o600)?);
    let place = shmat(segment.id, 0, 0)?;
    let line = map_line(place)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let name = format!("/SYSV{:08x}", key());
    let id = segment.id.to_string();
    let want = ["rw-s", "00000000", &id, &name, "(deleted)"];
    let got: Vec<&str> = [1, 2, 4, 5, 6]
        .iter()
        .filter_map(|at| words.get(*at).copied())
        .collect();
    equal(got, want)?;
    // As what memfd_create makes.
    let fd = sys!(SYS_memfd_create, c"m", 0)? as i32;
    let dev = fstat(fd)?.st_dev;
    let device = format!("{:02x}:{:02x}", libc::major(dev), libc::minor(dev));
    equal(words.get(3).copied(), Some(device.as_str()))
}

fn shm_permissions() -> Outcome {
    let secret = Owned::shm(shmget(key(), PAGE, CREAT | 0o600)?);
    let shown = Owned::shm(shmget(IPC_PRIVATE, PAGE, 0o644)?);
    let (secret, shown) = (secret.id, shown.id);
    within(|| {
        let key = key_of_parent();
        become_user()?;
        fails(shmget(key, 0, 0o600), libc::EACCES)?;
        fails(shmget(key, 0, 0o004), libc::EACCES)?;
        equal(shmget(key, 0, 0)?, secret)?;
        fails(shmat(secret, 0, RDONLY), libc::EACCES)?;
        fails(stat_of(secret), libc::EACCES)?;
        fails(remove(secret), libc::EPERM)?;
        fails(sys!(SYS_shmctl, secret, LOCK, 0), libc::EPERM)?;
        let index = secret & 0x7fff;
        fails(stat_as(index, SHM_STAT), libc::EACCES)?;
        equal(stat_as(index, STAT_ANY)?.0 as i32, secret)?;
        fails(shmat(shown, 0, 0), libc::EACCES)?;
        fails(shmat(shown, 0, RDONLY | EXEC), libc::EACCES)?;
        shmat(shown, 0, RDONLY)?;
        let ds = stat_of(shown)?;
        fails(sys!(SYS_shmctl, shown, SET, &ds), libc::EPERM)
    })
}

/// The key of the process that made this one.
pub fn key_of_parent() -> i32 {
    0x4950_0000 + sys!(SYS_getppid).unwrap_or(0) as i32
}

fn shm_owner_can_be_changed() -> Outcome {
    let segment = private(PAGE)?;
    let mut ds = stat_of(segment.id)?;
    (ds.perm.uid, ds.perm.gid, ds.perm.mode) = (1000, 1001, 0o7640);
    sys!(SYS_shmctl, segment.id, SET, &ds)?;
    let now = stat_of(segment.id)?.perm;
    equal((now.uid, now.gid, now.mode), (1000, 1001, 0o640))?;
    equal((now.cuid, now.cgid), (0, 0))?;
    ds.perm.uid = u32::MAX;
    fails(sys!(SYS_shmctl, segment.id, SET, &ds), libc::EINVAL)?;
    fails(sys!(SYS_shmctl, segment.id, SET, 8), libc::EFAULT)?;
    let id = segment.id;
    within(|| {
        become_user()?;
        shmat(id, 0, 0)?;
        remove(id)?;
        Ok(())
    })
}

fn shm_lock_shows_in_the_mode() -> Outcome {
    let segment = private(PAGE)?;
    sys!(SYS_shmctl, segment.id, LOCK, 0)?;
    equal(stat_of(segment.id)?.perm.mode, 0o600 | LOCKED)?;
    sys!(SYS_shmctl, segment.id, LOCK, 0)?;
    sys!(SYS_shmctl, segment.id, UNLOCK, 0)?;
    equal(stat_of(segment.id)?.perm.mode, 0o600)?;
    sys!(SYS_shmctl, segment.id, UNLOCK, 0)?;
    fails(sys!(SYS_shmctl, segment.id + 0x8000, LOCK, 0), libc::EINVAL)
}

fn shm_lock_obeys_the_limit() -> Outcome {
    within(|| {
        become_user()?;
        let (small, large) = (private(PAGE)?, private(8 * PAGE)?);
        let limit = |bytes: usize| {
            let limit = [bytes, 64 * PAGE];
            sys!(SYS_prlimit64, 0, libc::RLIMIT_MEMLOCK, &limit, 0)
        };
        limit(4 * PAGE)?;
        sys!(SYS_shmctl, small.id, LOCK, 0)?;
        fails(sys!(SYS_shmctl, large.id, LOCK, 0), libc::ENOMEM)?;
        limit(9 * PAGE)?;
        sys!(SYS_shmctl, large.id, LOCK, 0)?;
        remove(large.id)?;
        let other = private(8 * PAGE)?;
        sys!(SYS_shmctl, other.id, LOCK, 0)?;
        sys!(SYS_shmctl, other.id, UNLOCK, 0)?;
        limit(0)?;
        fails(sys!(SYS_shmctl, other.id, LOCK, 0), libc::EPERM)?;
        sys!(SYS_shmctl, small.id, UNLOCK, 0)?;
        Ok(())
    })
}

fn shm_info_and_stat_by_index() -> Outcome {
    let segment = private(3 * PAGE)?;
    let place = shmat(segment.id, 0, 0)?;
    poke(place, 1);
    let mut limits = [0_u64; 9];
    let highest = sys!(SYS_shmctl, 0, INFO, &mut limits)? as i32;
    let limits = std::hint::black_box(limits);
    equal((limits[1], limits[2], limits[3]), (1, 4096, 4096))?;
    check(highest >= segment.id & 0x7fff, "the highest index")?;
    let mut usage = [0_u64; 6];
    equal(sys!(SYS_shmctl, 0, SHM_INFO, &mut usage)? as i32, highest)?;
    let usage = std::hint::black_box(usage);
    check(usage[0] >= 1 && usage[1] >= 3, "segments and pages")?;
    check(usage[2] >= 1 && usage[2] <= usage[1], "resident pages")?;
    let (id, ds) = stat_as(segment.id & 0x7fff, SHM_STAT)?;
    equal((id as i32, ds.segsz), (segment.id, 3 * PAGE as u64))?;
    fails(stat_as(0x7ffe, SHM_STAT), libc::EINVAL)?;
    fails(sys!(SYS_shmctl, 0, INFO, 8), libc::EFAULT)
}

fn shm_table_in_proc() -> Outcome {
    let segment = Owned::shm(shmget(key(), 2 * PAGE, CREAT | 0o604)?);
    let place = shmat(segment.id, 0, 0)?;
    poke(place, 1);
    let text = text_of("/proc/sysvipc/shm")?;
    let head = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  \
                cgid      atime      dtime      ctime                   rss                  swap";
    equal(text.lines().next(), Some(head))?;
    let ds = stat_of(segment.id)?;
    let row = format!(
        "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10} {:21} {:21}",
        key(),
        segment.id,
        0o604,
        2 * PAGE,
        getpid(),
        getpid(),
        1,
        0,
        0,
        0,
        0,
        ds.atime,
        ds.dtime,
        ds.ctime,
        PAGE,
        0,
    );
    check(
        text.lines().any(|line| line == row),
        &format!("no row {row:?}"),
    )?;
    equal(row_of("shm", segment.id)?.len(), 16)
}

fn shm_ids_go_round() -> Outcome {
    let first = private(PAGE)?;
    remove(first.id)?;
    let second = private(PAGE)?;
    let (index, seq) = (second.id & 0x7fff, second.id >> 15);
    if index > first.id & 0x7fff {
        equal(seq, first.id >> 15)?;
        equal(index, (first.id & 0x7fff) + 1)
    } else {
        equal(seq, (first.id >> 15) + 1)
    }
}
