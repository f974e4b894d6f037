//! Sets of semaphores: operations that do not sleep, control, and what an exit takes back.

use std::sync::atomic::Ordering;

use super::shm::key_of_parent;
use super::{CREAT, EXCL, INFO, IPC_PRIVATE, NOWAIT, Owned, Perm, RMID, SET, STAT, key, row_of};
use super::{end_of, sleeper};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    semget_makes_and_finds,
    semget_of_bad_counts,
    semctl_sets_and_gets,
    semop_happens_at_once_or_not,
    semop_counts_twice_on_one_semaphore,
    semop_of_bad_arguments,
    semop_beyond_the_range,
    semctl_tells_who_was_last,
    sem_permissions,
    sem_owner_can_be_changed,
    sem_stat_tells_everything,
    sem_info_and_stat_by_index,
    sem_table_in_proc,
    sem_undo_at_exit,
    sem_undo_is_cut_to_the_range,
    sem_undo_beyond_its_range,
    sem_undo_is_not_inherited,
    sem_undo_survives_exec,
    sem_undo_is_forgotten_by_setval,
    sem_undo_wakes_sleepers,
    sem_undo_of_a_killed_process,
    sem_undo_of_threads_that_share,
    sem_undo_of_a_thread_alone,
    sem_undo_at_unshare,
    sem_undo_of_a_removed_set,
];

pub const UNDO: i32 = 0x1000;
pub const GETPID: i32 = 11;
pub const GETVAL: i32 = 12;
pub const GETALL: i32 = 13;
pub const GETNCNT: i32 = 14;
pub const GETZCNT: i32 = 15;
pub const SETVAL: i32 = 16;
pub const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const STAT_ANY: i32 = 20;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ds {
    pub perm: Perm,
    pub otime: i64,
    unused1: u64,
    pub ctime: i64,
    unused2: u64,
    pub nsems: u64,
    unused3: [u64; 2],
}

/// `struct sembuf`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Op {
    num: u16,
    op: i16,
    flags: i16,
}

pub fn op(num: u16, op: i16) -> Op {
    with(num, op, 0)
}

pub fn with(num: u16, op: i16, flags: i32) -> Op {
    let flags = flags as i16;
    Op { num, op, flags }
}

pub fn semget(key: i32, count: i32, flags: i32) -> Sys<i32> {
    sys!(SYS_semget, key, count, flags).map(|id| id as i32)
}

pub fn private(count: i32) -> Sys<Owned> {
    semget(IPC_PRIVATE, count, 0o600).map(Owned::sem)
}

pub fn semop(id: i32, ops: &[Op]) -> Sys {
    sys!(SYS_semop, id, ops.as_ptr(), ops.len())
}

pub fn semctl(id: i32, number: i32, cmd: i32, value: i32) -> Sys<i32> {
    sys!(SYS_semctl, id, number, cmd, value).map(|answer| answer as i32)
}

pub fn value(id: i32, number: i32) -> Sys<i32> {
    semctl(id, number, GETVAL, 0)
}

pub fn stat_as(id: i32, cmd: i32) -> Sys<(i32, Ds)> {
    let mut ds = zeroed::<Ds>();
    let answer = sys!(SYS_semctl, id, 0, cmd, &mut ds)?;
    Ok((answer as i32, std::hint::black_box(ds)))
}

pub fn stat_of(id: i32) -> Sys<Ds> {
    stat_as(id, STAT).map(|(_, ds)| ds)
}

fn all(id: i32, count: usize) -> Sys<Vec<u16>> {
    let mut values = vec![0_u16; count];
    sys!(SYS_semctl, id, 0, GETALL, values.as_mut_ptr())?;
    Ok(values)
}

pub fn remove(id: i32) -> Sys<i32> {
    semctl(id, 0, RMID, 0)
}

fn semget_makes_and_finds() -> Outcome {
    fails(semget(key(), 1, 0o600), libc::ENOENT)?;
    let made = Owned::sem(semget(key(), 3, CREAT | 0o600)?);
    equal(semget(key(), 3, 0o600)?, made.id)?;
    equal(semget(key(), 0, 0)?, made.id)?;
    fails(semget(key(), 4, 0), libc::EINVAL)?;
    fails(semget(key(), 3, CREAT | EXCL), libc::EEXIST)?;
    let other = private(3)?;
    check(other.id != made.id, "a private set is found")?;
    equal(all(made.id, 3)?, vec![0; 3])
}

fn semget_of_bad_counts() -> Outcome {
    fails(semget(IPC_PRIVATE, 0, 0o600), libc::EINVAL)?;
    fails(semget(IPC_PRIVATE, -1, 0o600), libc::EINVAL)?;
    fails(semget(IPC_PRIVATE, 32001, 0o600), libc::EINVAL)?;
    let large = private(32000)?;
    equal(value(large.id, 31999)?, 0)
}

fn semctl_sets_and_gets() -> Outcome {
    let set = private(3)?;
    semctl(set.id, 1, SETVAL, 32767)?;
    equal(all(set.id, 3)?, vec![0, 32767, 0])?;
    fails(semctl(set.id, 1, SETVAL, 32768), libc::ERANGE)?;
    fails(semctl(set.id, 1, SETVAL, -1), libc::ERANGE)?;
    fails(semctl(set.id, 3, SETVAL, 1), libc::EINVAL)?;
    fails(semctl(set.id, -1, GETVAL, 0), libc::EINVAL)?;
    let values = [7_u16, 8, 9];
    sys!(SYS_semctl, set.id, 0, SETALL, &values)?;
    equal(all(set.id, 3)?, values.to_vec())?;
    let large = [0_u16, 0x8000, 0];
    fails(sys!(SYS_semctl, set.id, 0, SETALL, &large), libc::ERANGE)?;
    equal(all(set.id, 3)?, values.to_vec())?;
    fails(sys!(SYS_semctl, set.id, 0, SETALL, 8), libc::EFAULT)?;
    fails(sys!(SYS_semctl, set.id, 0, GETALL, 8), libc::EFAULT)?;
    fails(semctl(set.id, 0, 99, 0), libc::EINVAL)?;
    fails(semctl(-1, 0, GETVAL, 0), libc::EINVAL)?;
    fails(value(set.id + 0x8000, 0), libc::EINVAL)
}

fn semop_happens_at_once_or_not() -> Outcome {
    let set = private(3)?;
    semop(set.id, &[op(0, 5), op(1, 2), op(2, 0)])?;
    equal(all(set.id, 3)?, vec![5, 2, 0])?;
    let blocked = [op(0, -5), with(1, -3, NOWAIT), op(2, 9)];
    fails(semop(set.id, &blocked), libc::EAGAIN)?;
    equal(all(set.id, 3)?, vec![5, 2, 0])?;
    semop(set.id, &[op(0, -5), op(0, 0), op(1, -2)])?;
    equal(all(set.id, 3)?, vec![0; 3])?;
    // The one that would sleep says whether the call does.
    semctl(set.id, 0, SETVAL, 1)?;
    fails(
        semop(set.id, &[with(0, 0, NOWAIT), op(1, -1)]),
        libc::EAGAIN,
    )
}

fn semop_counts_twice_on_one_semaphore() -> Outcome {
    let set = private(1)?;
    semop(set.id, &[op(0, 3), op(0, -2), op(0, 4)])?;
    equal(value(set.id, 0)?, 5)?;
    let last = [op(0, -5), op(0, 0), with(0, -1, NOWAIT)];
    fails(semop(set.id, &last), libc::EAGAIN)?;
    equal(value(set.id, 0)?, 5)?;
    semop(set.id, &[op(0, -5), op(0, 0), op(0, 2)])?;
    equal(value(set.id, 0)?, 2)
}

fn semop_of_bad_arguments() -> Outcome {
    let set = private(2)?;
    fails(semop(set.id, &[]), libc::EINVAL)?;
    fails(semop(set.id, &vec![op(0, 1); 501]), libc::E2BIG)?;
    semop(set.id, &vec![op(0, 1); 500])?;
    equal(value(set.id, 0)?, 500)?;
    fails(semop(set.id, &[op(2, 1)]), libc::EFBIG)?;
    fails(semop(set.id, &[op(0, 1), with(9, 1, UNDO)]), libc::EFBIG)?;
    fails(sys!(SYS_semop, set.id, 8, 1), libc::EFAULT)?;
    fails(semop(-1, &[op(0, 1)]), libc::EINVAL)?;
    fails(semop(set.id + 0x8000, &[op(0, 1)]), libc::EINVAL)?;
    fails(semop(set.id + 0x8000, &[with(0, 1, UNDO)]), libc::EINVAL)?;
    equal(all(set.id, 2)?, vec![500, 0])
}

fn semop_beyond_the_range() -> Outcome {
    let set = private(2)?;
    semctl(set.id, 0, SETVAL, 32767)?;
    fails(semop(set.id, &[op(1, 1), op(0, 1)]), libc::ERANGE)?;
    equal(all(set.id, 2)?, vec![32767, 0])?;
    semop(set.id, &[op(1, 32767), op(0, -32767)])?;
    equal(all(set.id, 2)?, vec![0, 32767])
}

fn semctl_tells_who_was_last() -> Outcome {
    let set = private(2)?;
    equal(semctl(set.id, 0, GETPID, 0)?, 0)?;
    let child = fork(|| i32::from(semop(set.id, &[op(0, 1), op(1, 0)]).is_err()))?;
    equal(wait(child)?, 0)?;
    equal(semctl(set.id, 0, GETPID, 0)?, child)?;
    // Waiting for zero counts too.
    equal(semctl(set.id, 1, GETPID, 0)?, child)?;
    semctl(set.id, 1, SETVAL, 3)?;
    equal(semctl(set.id, 1, GETPID, 0)?, getpid())?;
    equal(semctl(set.id, 0, GETPID, 0)?, child)
}

fn sem_permissions() -> Outcome {
    let secret = Owned::sem(semget(key(), 1, CREAT | 0o600)?);
    let shown = Owned::sem(semget(IPC_PRIVATE, 1, 0o644)?);
    let (secret, shown) = (secret.id, shown.id);
    within(|| {
        let key = key_of_parent();
        become_user()?;
        fails(semget(key, 0, 0o400), libc::EACCES)?;
        equal(semget(key, 0, 0)?, secret)?;
        fails(value(secret, 0), libc::EACCES)?;
        fails(semop(secret, &[op(0, 0)]), libc::EACCES)?;
        // The number is looked at first by SETVAL, and last by GETVAL.
        fails(semctl(secret, 9, SETVAL, 0), libc::EINVAL)?;
        fails(semctl(secret, 0, SETVAL, 0), libc::EACCES)?;
        fails(semctl(secret, 9, GETVAL, 0), libc::EACCES)?;
        fails(remove(secret), libc::EPERM)?;
        let index = secret & 0x7fff;
        fails(stat_as(index, SEM_STAT), libc::EACCES)?;
        equal(stat_as(index, STAT_ANY)?.0, secret)?;
        equal(value(shown, 0)?, 0)?;
        // Reading is enough for who only waits.
        semop(shown, &[op(0, 0)])?;
        fails(semop(shown, &[op(0, 1)]), libc::EACCES)?;
        fails(semctl(shown, 0, SETVAL, 0), libc::EACCES)?;
        let ds = stat_of(shown)?;
        fails(sys!(SYS_semctl, shown, 0, SET, &ds), libc::EPERM)
    })
}

fn sem_owner_can_be_changed() -> Outcome {
    let set = private(1)?;
    let mut ds = stat_of(set.id)?;
    (ds.perm.uid, ds.perm.gid, ds.perm.mode) = (1000, 1001, 0o640);
    sys!(SYS_semctl, set.id, 0, SET, &ds)?;
    let now = stat_of(set.id)?.perm;
    equal((now.uid, now.gid, now.mode), (1000, 1001, 0o640))?;
    fails(sys!(SYS_semctl, set.id, 0, SET, 8), libc::EFAULT)?;
    let id = set.id;
    within(|| {
        become_user()?;
        semop(id, &[op(0, 1)])?;
        remove(id)?;
        Ok(())
    })
}

fn sem_stat_tells_everything() -> Outcome {
    let set = Owned::sem(semget(key(), 5, CREAT | 0o604)?);
    let ds = stat_of(set.id)?;
    equal((ds.perm.key, ds.perm.mode, ds.nsems), (key(), 0o604, 5))?;
    equal((ds.otime, i32::from(ds.perm.seq)), (0, set.id >> 15))?;
    check(ds.ctime > 0, "no time of change")?;
    semctl(set.id, 0, SETVAL, 1)?;
    equal(stat_of(set.id)?.otime, 0)?;
    semop(set.id, &[op(1, 0)])?;
    check(stat_of(set.id)?.otime >= ds.ctime, "no time of operation")?;
    fails(sys!(SYS_semctl, set.id, 0, STAT, 8), libc::EFAULT)
}

fn sem_info_and_stat_by_index() -> Outcome {
    let set = private(7)?;
    let mut info = [0_i32; 10];
    let highest = sys!(SYS_semctl, 0, 0, INFO, &mut info)? as i32;
    let limits = std::hint::black_box(info);
    equal(
        limits,
        [
            1_024_000_000,
            32000,
            1_024_000_000,
            1_024_000_000,
            32000,
            500,
            500,
            20,
            32767,
            32767,
        ],
    )?;
    check(highest >= set.id & 0x7fff, "the highest index")?;
    sys!(SYS_semctl, 0, 0, SEM_INFO, &mut info)?;
    let usage = std::hint::black_box(info);
    check(usage[7] >= 1 && usage[9] >= 7, "sets and semaphores")?;
    let (id, ds) = stat_as(set.id & 0x7fff, SEM_STAT)?;
    equal((id, ds.nsems), (set.id, 7))?;
    fails(stat_as(0x7ffe, SEM_STAT), libc::EINVAL)
}

fn sem_table_in_proc() -> Outcome {
    let set = Owned::sem(semget(key(), 4, CREAT | 0o620)?);
    semop(set.id, &[op(0, 1)])?;
    let text = text_of("/proc/sysvipc/sem")?;
    let head =
        "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime";
    equal(text.lines().next(), Some(head))?;
    let ds = stat_of(set.id)?;
    let row = format!(
        "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
        key(),
        set.id,
        0o620,
        4,
        0,
        0,
        0,
        0,
        ds.otime,
        ds.ctime,
    );
    check(
        text.lines().any(|line| line == row),
        &format!("no row {row:?}"),
    )?;
    equal(row_of("sem", set.id)?.len(), 10)
}

/// Runs operations in a child that then exits.
fn in_child(id: i32, ops: &[Op]) -> Outcome {
    let child = fork(|| i32::from(semop(id, ops).is_err()))?;
    equal(wait(child)?, 0)
}

fn sem_undo_at_exit() -> Outcome {
    let set = private(3)?;
    semctl(set.id, 1, SETVAL, 5)?;
    in_child(set.id, &[with(0, 4, UNDO), with(1, -3, UNDO), op(2, 2)])?;
    equal(all(set.id, 3)?, vec![0, 5, 2])
}

fn sem_undo_is_cut_to_the_range() -> Outcome {
    let set = private(2)?;
    semctl(set.id, 1, SETVAL, 10)?;
    let id = set.id;
    let child = fork(|| {
        let done = semop(id, &[with(0, 9, UNDO), with(1, -10, UNDO)])
            .and_then(|_| semop(id, &[op(0, -4), op(1, 32767)]));
        i32::from(done.is_err())
    })?;
    equal(wait(child)?, 0)?;
    equal(all(set.id, 2)?, vec![0, 32767])?;
    equal(semctl(set.id, 0, GETPID, 0)?, child)
}

fn sem_undo_beyond_its_range() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 32767, UNDO)])?;
        semop(id, &[op(0, -32767)])?;
        semop(id, &[with(0, 1, UNDO)])?;
        fails(semop(id, &[with(0, 1, UNDO)]), libc::ERANGE)?;
        equal(value(id, 0)?, 1)
    })
}

fn sem_undo_is_not_inherited() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 3, UNDO)])?;
        in_child(id, &[op(0, 1)])?;
        equal(value(id, 0)?, 4)
    })?;
    equal(value(id, 0)?, 1)
}

fn sem_undo_survives_exec() -> Outcome {
    let set = private(2)?;
    let (read_end, write_end) = pipe2(libc::O_CLOEXEC)?;
    let (told, tell) = pipe2(libc::O_CLOEXEC)?;
    let child = fork(|| {
        let _ = semop(set.id, &[with(0, 2, UNDO)]);
        let _ = sys!(SYS_dup3, read_end, 0, 0);
        let argv = [c"cat".as_ptr(), std::ptr::null()];
        let envp = [std::ptr::null::<libc::c_char>()];
        let _ = sys!(SYS_execve, c"/bin/cat", &argv, &envp);
        1
    })?;
    close(tell)?;
    // The end of this pipe is closed by the exec.
    equal(read_some(told)?.len(), 0)?;
    equal(value(set.id, 0)?, 2)?;
    close(write_end)?;
    equal(wait(child)?, 0)?;
    equal(value(set.id, 0)?, 0)
}

fn sem_undo_is_forgotten_by_setval() -> Outcome {
    let set = private(2)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 3, UNDO), with(1, 3, UNDO)])?;
        semctl(id, 0, SETVAL, 7)?;
        Ok(())
    })?;
    equal(all(id, 2)?, vec![7, 0])?;
    within(|| {
        semop(id, &[with(0, 3, UNDO), with(1, 3, UNDO)])?;
        sys!(SYS_semctl, id, 0, SETALL, &[1_u16, 2])?;
        semop(id, &[with(1, 5, UNDO)])?;
        Ok(())
    })?;
    equal(all(id, 2)?, vec![1, 2])
}

fn sem_undo_wakes_sleepers() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    semctl(id, 0, SETVAL, 2)?;
    let (read_end, write_end) = pipe()?;
    let holder = fork(|| {
        let _ = semop(id, &[with(0, -2, UNDO)]);
        let _ = write(write_end, b"x");
        let _ = sys!(SYS_pause);
        0
    })?;
    read_some(read_end)?;
    let waiter = sleeper(|| semop(id, &[op(0, -1)]))?;
    sys!(SYS_kill, holder, libc::SIGTERM)?;
    equal(end_of(waiter)?, 0)?;
    equal(value(id, 0)?, 1)
}

fn sem_undo_of_a_killed_process() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    equal(
        death_of(|| {
            let _ = semop(id, &[with(0, 6, UNDO)]);
            let _ = raise(libc::SIGKILL);
        })?,
        libc::SIGKILL,
    )?;
    equal(value(id, 0)?, 0)
}

extern "C" fn raise_with_undo(id: *mut libc::c_void) -> i32 {
    let _ = semop(id as usize as i32, &[with(0, 1, UNDO)]);
    0
}

fn sem_undo_of_threads_that_share() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        let ended = thread(raise_with_undo, id as usize)?;
        await_word(ended, 0);
        equal(value(id, 0)?, 1)
    })?;
    equal(value(id, 0)?, 0)
}

fn sem_undo_of_a_thread_alone() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 4, UNDO)])?;
        let addr = map(PAGE)?;
        word(addr).store(1, Ordering::SeqCst);
        let flags = (THREAD & !libc::CLONE_SYSVSEM) | libc::CLONE_CHILD_CLEARTID;
        clone_run(flags, raise_with_undo, id as usize, (0, addr))?;
        await_word(word(addr), 0);
        // The word is cleared before the thread lets go of its semaphores.
        while value(id, 0)? != 4 {
            nap();
        }
        Ok(())
    })?;
    equal(value(id, 0)?, 0)
}

fn sem_undo_at_unshare() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 3, UNDO)])?;
        sys!(SYS_unshare, libc::CLONE_SYSVSEM)?;
        equal(value(id, 0)?, 0)?;
        semop(id, &[with(0, 2, UNDO)])?;
        Ok(())
    })?;
    equal(value(id, 0)?, 0)
}

fn sem_undo_of_a_removed_set() -> Outcome {
    let set = private(1)?;
    let id = set.id;
    within(|| {
        semop(id, &[with(0, 3, UNDO)])?;
        remove(id)?;
        // Another set may have the same memory: it is not the same set.
        let next = private(1)?;
        semop(next.id, &[with(0, 1, UNDO), op(0, 1)])?;
        equal(value(next.id, 0)?, 2)
    })?;
    fails(value(id, 0), libc::EINVAL)
}
