//! Message queues, where nobody sleeps.

use super::shm::key_of_parent;
use super::{CREAT, EXCL, INFO, IPC_PRIVATE, NOWAIT, Owned, Perm, RMID, SET, STAT, key, row_of};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    msgget_makes_and_finds,
    msg_comes_in_order_and_by_type,
    msg_lowest_type_first,
    msg_except_a_type,
    msg_too_long_is_e2big_or_cut,
    msg_copy_leaves_it,
    msg_of_bad_arguments,
    msg_queue_is_full_by_bytes,
    msg_queue_is_full_by_number,
    msg_to_a_bad_address_is_lost,
    msg_permissions,
    msg_owner_and_size_can_be_changed,
    msg_stat_tells_everything,
    msg_info_and_stat_by_index,
    msg_table_in_proc,
];

pub const NOERROR: i32 = 0o10000;
pub const EXCEPT: i32 = 0o20000;
pub const COPY: i32 = 0o40000;
const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const STAT_ANY: i32 = 13;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ds {
    pub perm: Perm,
    pub stime: i64,
    pub rtime: i64,
    pub ctime: i64,
    pub cbytes: u64,
    pub qnum: u64,
    pub qbytes: u64,
    pub lspid: i32,
    pub lrpid: i32,
    unused: [u64; 2],
}

/// `struct msgbuf` with room for a text.
#[repr(C)]
pub struct Buf {
    mtype: i64,
    text: [u8; 8192],
}

pub fn msgget(key: i32, flags: i32) -> Sys<i32> {
    sys!(SYS_msgget, key, flags).map(|id| id as i32)
}

pub fn private() -> Sys<Owned> {
    msgget(IPC_PRIVATE, 0o600).map(Owned::msg)
}

pub fn send_flags(id: i32, mtype: i64, text: &[u8], flags: i32) -> Sys {
    let mut buf = Buf {
        mtype,
        text: [0; 8192],
    };
    for (slot, byte) in buf.text.iter_mut().zip(text) {
        *slot = *byte;
    }
    sys!(SYS_msgsnd, id, &buf, text.len(), flags)
}

pub fn send(id: i32, mtype: i64, text: &[u8]) -> Sys {
    send_flags(id, mtype, text, NOWAIT)
}

pub fn receive_flags(id: i32, max: usize, mtype: i64, flags: i32) -> Sys<(i64, Vec<u8>)> {
    let mut buf = Buf {
        mtype: 0,
        text: [0; 8192],
    };
    let len = sys!(SYS_msgrcv, id, &mut buf, max, mtype, flags)?;
    let buf = std::hint::black_box(buf);
    Ok((buf.mtype, buf.text.iter().take(len).copied().collect()))
}

pub fn receive(id: i32, mtype: i64) -> Sys<(i64, Vec<u8>)> {
    receive_flags(id, 8192, mtype, NOWAIT)
}

pub fn stat_as(id: i32, cmd: i32) -> Sys<(i32, Ds)> {
    let mut ds = zeroed::<Ds>();
    let answer = sys!(SYS_msgctl, id, cmd, &mut ds)?;
    Ok((answer as i32, std::hint::black_box(ds)))
}

pub fn stat_of(id: i32) -> Sys<Ds> {
    stat_as(id, STAT).map(|(_, ds)| ds)
}

pub fn remove(id: i32) -> Sys {
    sys!(SYS_msgctl, id, RMID, 0)
}

fn msgget_makes_and_finds() -> Outcome {
    fails(msgget(key(), 0o600), libc::ENOENT)?;
    let made = Owned::msg(msgget(key(), CREAT | 0o600)?);
    equal(msgget(key(), 0o600)?, made.id)?;
    fails(msgget(key(), CREAT | EXCL), libc::EEXIST)?;
    let other = private()?;
    check(other.id != made.id, "a private queue is found")?;
    remove(made.id)?;
    fails(msgget(key(), 0), libc::ENOENT)
}

fn msg_comes_in_order_and_by_type() -> Outcome {
    let queue = private()?;
    for (mtype, text) in [(3, b"a"), (1, b"b"), (3, b"c"), (2, b"d")] {
        send(queue.id, mtype, text)?;
    }
    equal(receive(queue.id, 1)?, (1, b"b".to_vec()))?;
    equal(receive(queue.id, 3)?, (3, b"a".to_vec()))?;
    equal(receive(queue.id, 0)?, (3, b"c".to_vec()))?;
    fails(receive(queue.id, 5), libc::ENOMSG)?;
    equal(receive(queue.id, 0)?, (2, b"d".to_vec()))?;
    fails(receive(queue.id, 0), libc::ENOMSG)
}

fn msg_lowest_type_first() -> Outcome {
    let queue = private()?;
    for (mtype, text) in [(5, b"a"), (3, b"b"), (3, b"c"), (i64::MAX, b"d")] {
        send(queue.id, mtype, text)?;
    }
    fails(receive(queue.id, -2), libc::ENOMSG)?;
    equal(receive(queue.id, -4)?, (3, b"b".to_vec()))?;
    equal(receive(queue.id, i64::MIN)?, (3, b"c".to_vec()))?;
    equal(receive(queue.id, -9)?, (5, b"a".to_vec()))?;
    equal(receive(queue.id, i64::MIN)?, (i64::MAX, b"d".to_vec()))
}

fn msg_except_a_type() -> Outcome {
    let queue = private()?;
    send(queue.id, 4, b"a")?;
    send(queue.id, 6, b"b")?;
    let except = |mtype| receive_flags(queue.id, 9, mtype, NOWAIT | EXCEPT);
    equal(except(4)?, (6, b"b".to_vec()))?;
    fails(except(4), libc::ENOMSG)?;
    // The flag means nothing with other types.
    equal(except(0)?, (4, b"a".to_vec()))
}

fn msg_too_long_is_e2big_or_cut() -> Outcome {
    let queue = private()?;
    send(queue.id, 1, b"abcdef")?;
    fails(receive_flags(queue.id, 5, 0, NOWAIT), libc::E2BIG)?;
    equal(stat_of(queue.id)?.qnum, 1)?;
    equal(
        receive_flags(queue.id, 2, 0, NOWAIT | NOERROR)?,
        (1, b"ab".to_vec()),
    )?;
    // The rest is lost.
    equal((stat_of(queue.id)?.qnum, stat_of(queue.id)?.cbytes), (0, 0))?;
    send(queue.id, 1, b"")?;
    equal(receive_flags(queue.id, 0, 0, NOWAIT)?, (1, vec![]))
}

fn msg_copy_leaves_it() -> Outcome {
    let queue = private()?;
    send(queue.id, 7, b"one")?;
    send(queue.id, 8, b"three")?;
    let copy = |place, max| receive_flags(queue.id, max, place, NOWAIT | COPY);
    if copy(0, 9).is_err_and(|errno| errno.0 == libc::ENOSYS) {
        return skip("the kernel is built without checkpoint and restore");
    }
    equal(copy(1, 9)?, (8, b"three".to_vec()))?;
    equal(copy(0, 9)?, (7, b"one".to_vec()))?;
    fails(copy(2, 9), libc::ENOMSG)?;
    fails(copy(-1, 9), libc::ENOMSG)?;
    fails(copy(1, 4), libc::E2BIG)?;
    // It is copied as a whole or not at all.
    fails(
        receive_flags(queue.id, 4, 1, NOWAIT | COPY | NOERROR),
        libc::EINVAL,
    )?;
    fails(receive_flags(queue.id, 9, 0, COPY), libc::EINVAL)?;
    fails(
        receive_flags(queue.id, 9, 0, NOWAIT | COPY | EXCEPT),
        libc::EINVAL,
    )?;
    let ds = stat_of(queue.id)?;
    equal((ds.qnum, ds.cbytes, ds.rtime, ds.lrpid), (2, 8, 0, 0))
}

fn msg_of_bad_arguments() -> Outcome {
    let queue = private()?;
    fails(send(queue.id, 0, b"x"), libc::EINVAL)?;
    fails(send(queue.id, -1, b"x"), libc::EINVAL)?;
    fails(send(queue.id, 1, &[0; 8193]), libc::EINVAL)?;
    send(queue.id, 1, &[0; 8192])?;
    fails(send(-1, 1, b"x"), libc::EINVAL)?;
    fails(send(queue.id + 0x8000, 1, b"x"), libc::EINVAL)?;
    fails(sys!(SYS_msgsnd, queue.id, 8, 1, 0), libc::EFAULT)?;
    let end = map(2 * PAGE)? + PAGE;
    sys!(SYS_munmap, end, PAGE)?;
    poke(end - 8, 1);
    fails(sys!(SYS_msgsnd, queue.id, end - 8, 1, 0), libc::EFAULT)?;
    sys!(SYS_msgsnd, queue.id, end - 8, 0, 0)?;
    fails(receive(-1, 0), libc::EINVAL)?;
    fails(receive_flags(queue.id, usize::MAX, 0, NOWAIT), libc::EINVAL)?;
    fails(receive(queue.id + 0x8000, 0), libc::EINVAL)?;
    fails(sys!(SYS_msgctl, queue.id, 99, 0), libc::EINVAL)?;
    fails(sys!(SYS_msgctl, -1, STAT, 0), libc::EINVAL)
}

fn msg_queue_is_full_by_bytes() -> Outcome {
    let queue = private()?;
    send(queue.id, 1, &[1; 8192])?;
    send(queue.id, 2, &[2; 8000])?;
    fails(send(queue.id, 3, &[3; 193]), libc::EAGAIN)?;
    send(queue.id, 3, &[3; 192])?;
    fails(send(queue.id, 4, b"x"), libc::EAGAIN)?;
    // Nothing at all fits always, as long as there are not too many.
    send(queue.id, 4, b"")?;
    let ds = stat_of(queue.id)?;
    equal((ds.cbytes, ds.qnum, ds.qbytes), (16384, 4, 16384))?;
    receive(queue.id, 3)?;
    send(queue.id, 5, b"x")?;
    Ok(())
}

fn msg_queue_is_full_by_number() -> Outcome {
    let queue = private()?;
    let mut ds = stat_of(queue.id)?;
    ds.qbytes = 3;
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    for _ in 0..3 {
        send(queue.id, 1, b"")?;
    }
    fails(send(queue.id, 1, b""), libc::EAGAIN)?;
    receive(queue.id, 0)?;
    send(queue.id, 1, b"abc")?;
    fails(send(queue.id, 1, b""), libc::EAGAIN)
}

fn msg_to_a_bad_address_is_lost() -> Outcome {
    let queue = private()?;
    send(queue.id, 1, b"abc")?;
    fails(sys!(SYS_msgrcv, queue.id, 8, 9, 0, NOWAIT), libc::EFAULT)?;
    fails(receive(queue.id, 0), libc::ENOMSG)
}

fn msg_permissions() -> Outcome {
    let secret = Owned::msg(msgget(key(), CREAT | 0o600)?);
    let shown = Owned::msg(msgget(IPC_PRIVATE, 0o644)?);
    let (secret, shown) = (secret.id, shown.id);
    send(shown, 1, b"x")?;
    within(|| {
        let key = key_of_parent();
        become_user()?;
        fails(msgget(key, 0o200), libc::EACCES)?;
        equal(msgget(key, 0)?, secret)?;
        fails(send(secret, 1, b"x"), libc::EACCES)?;
        fails(receive(secret, 0), libc::EACCES)?;
        fails(remove(secret), libc::EPERM)?;
        let index = secret & 0x7fff;
        fails(stat_as(index, MSG_STAT), libc::EACCES)?;
        equal(stat_as(index, STAT_ANY)?.0, secret)?;
        fails(send(shown, 1, b"x"), libc::EACCES)?;
        // To read is to take.
        equal(receive(shown, 0)?, (1, b"x".to_vec()))?;
        let ds = stat_of(shown)?;
        fails(sys!(SYS_msgctl, shown, SET, &ds), libc::EPERM)
    })
}

fn msg_owner_and_size_can_be_changed() -> Outcome {
    let queue = private()?;
    let mut ds = stat_of(queue.id)?;
    (ds.perm.uid, ds.perm.mode, ds.qbytes) = (1000, 0o640, 20000);
    sys!(SYS_msgctl, queue.id, SET, &ds)?;
    let now = stat_of(queue.id)?;
    equal(
        (now.perm.uid, now.perm.mode, now.qbytes),
        (1000, 0o640, 20000),
    )?;
    fails(sys!(SYS_msgctl, queue.id, SET, 8), libc::EFAULT)?;
    let id = queue.id;
    within(|| {
        become_user()?;
        // Who keeps what is beyond the default raises it.
        fails(sys!(SYS_msgctl, id, SET, &now), libc::EPERM)?;
        let mut ds = now;
        ds.qbytes = 16384;
        sys!(SYS_msgctl, id, SET, &ds)?;
        send(id, 1, b"x")?;
        remove(id)?;
        Ok(())
    })
}

fn msg_stat_tells_everything() -> Outcome {
    let queue = Owned::msg(msgget(key(), CREAT | 0o604)?);
    let ds = stat_of(queue.id)?;
    equal((ds.perm.key, ds.perm.mode), (key(), 0o604))?;
    equal((ds.stime, ds.rtime, ds.lspid, ds.lrpid), (0, 0, 0, 0))?;
    check(ds.ctime > 0, "no time of change")?;
    let child = fork(|| i32::from(send(queue.id, 1, b"abc").is_err()))?;
    equal(wait(child)?, 0)?;
    let sent = stat_of(queue.id)?;
    equal((sent.qnum, sent.cbytes, sent.lspid), (1, 3, child))?;
    check(
        sent.stime >= ds.ctime && sent.rtime == 0,
        "the time of sending",
    )?;
    receive(queue.id, 0)?;
    let received = stat_of(queue.id)?;
    equal((received.qnum, received.lrpid), (0, getpid()))?;
    check(received.rtime >= sent.stime, "the time of receiving")?;
    fails(sys!(SYS_msgctl, queue.id, STAT, 8), libc::EFAULT)
}

fn msg_info_and_stat_by_index() -> Outcome {
    let queue = private()?;
    send(queue.id, 1, b"abcd")?;
    let mut info = [0_i32; 8];
    let highest = sys!(SYS_msgctl, 0, INFO, &mut info)? as i32;
    equal(
        std::hint::black_box(info),
        [512_000, 16384, 8192, 16384, 32000, 16, 16384, 0xffff],
    )?;
    check(highest >= queue.id & 0x7fff, "the highest index")?;
    sys!(SYS_msgctl, 0, MSG_INFO, &mut info)?;
    let usage = std::hint::black_box(info);
    check(
        usage[0] >= 1 && usage[1] >= 1 && usage[6] >= 4,
        "queues, messages and bytes",
    )?;
    let (id, ds) = stat_as(queue.id & 0x7fff, MSG_STAT)?;
    equal((id, ds.qnum), (queue.id, 1))?;
    fails(stat_as(0x7ffe, MSG_STAT), libc::EINVAL)
}

fn msg_table_in_proc() -> Outcome {
    let queue = Owned::msg(msgget(key(), CREAT | 0o620)?);
    send(queue.id, 1, b"abc")?;
    send(queue.id, 1, b"defg")?;
    receive(queue.id, 0)?;
    let text = text_of("/proc/sysvipc/msg")?;
    let head = concat!(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid",
        "      stime      rtime      ctime",
    );
    equal(text.lines().next(), Some(head))?;
    let ds = stat_of(queue.id)?;
    let row = format!(
        "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} {:5} {:5} {:5} {:5} {:10} {:10} {:10}",
        key(),
        queue.id,
        0o620,
        4,
        1,
        getpid(),
        getpid(),
        0,
        0,
        0,
        0,
        ds.stime,
        ds.rtime,
        ds.ctime,
    );
    check(
        text.lines().any(|line| line == row),
        &format!("no row {row:?}"),
    )?;
    equal(row_of("msg", queue.id)?.len(), 14)
}
