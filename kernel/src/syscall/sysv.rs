//! System V IPC: shared memory, semaphores, message queues.

use abi::sysv::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, MSG_INFO,
    MSG_STAT, MSG_STAT_ANY, Msginfo, MsqidDs, SEM_INFO, SEM_STAT, SEM_STAT_ANY, SEMVMX, SETALL,
    SETVAL, SHM_INFO, SHM_LOCK, SHM_STAT, SHM_STAT_ANY, SHM_UNLOCK, Sembuf, SemidDs, Seminfo,
    ShmInfo, ShmidDs, Shminfo,
};
use abi::time::Timespec;
use abi::{Errno, Result};
use core::sync::atomic::Ordering;
use sysvipc::sem::Ops;

use crate::ipc::{limits, msg, sem, shm};
use crate::mm::user::{UserPtr, UserSlice, copy_in, copy_out};
use crate::task::try_zeroed;
use crate::time;

pub fn sys_shmget(key: i32, size: usize, flags: u32) -> Result<usize> {
    shm::get(key, size, flags).map(|id| id as usize)
}

pub fn sys_shmat(id: i32, addr: usize, flags: u32) -> Result<usize> {
    shm::attach(id, addr, flags)
}

pub fn sys_shmdt(addr: usize) -> Result<usize> {
    shm::detach(addr).map(|()| 0)
}

pub fn sys_shmctl(id: i32, cmd: i32, buf: usize) -> Result<usize> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    let ds = UserPtr::<ShmidDs>::from(buf);
    match cmd {
        IPC_INFO => shm_limits(UserPtr::from(buf)),
        SHM_INFO => shm_usage(UserPtr::from(buf)),
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let by_index = cmd != IPC_STAT;
            let stat = shm::stat(id, by_index, cmd != SHM_STAT_ANY)?;
            ds.write(&stat.ds)?;
            Ok(if by_index { stat.id as usize } else { 0 })
        }
        IPC_SET => shm::set(id, &ds.read()?).map(|()| 0),
        IPC_RMID => shm::remove(id).map(|()| 0),
        SHM_LOCK => shm::lock(id).map(|()| 0),
        SHM_UNLOCK => shm::unlock(id).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

fn shm_limits(out: UserPtr<Shminfo>) -> Result<usize> {
    let most = limits::SHMMNI.get() as u64;
    out.write(&Shminfo {
        shmmax: limits::SHMMAX.load(Ordering::Relaxed),
        shmmin: 1,
        shmmni: most,
        shmseg: most,
        shmall: limits::SHMALL.load(Ordering::Relaxed),
        ..Shminfo::default()
    })?;
    Ok(shm::segments().usage().1 as usize)
}

fn shm_usage(out: UserPtr<ShmInfo>) -> Result<usize> {
    let usage = shm::usage();
    out.write(&ShmInfo {
        used_ids: usage.segments as i32,
        shm_tot: usage.pages,
        shm_rss: usage.resident,
        ..ShmInfo::default()
    })?;
    Ok(usage.highest as usize)
}

pub fn sys_semget(key: i32, count: i32, flags: u32) -> Result<usize> {
    sem::get(key, count, flags).map(|id| id as usize)
}

pub fn sys_semop(id: i32, ops: usize, count: u32) -> Result<usize> {
    sem::operate(id, read_ops(ops, count)?, None)
}

pub fn sys_semtimedop(
    id: i32,
    ops: usize,
    count: u32,
    timeout: UserPtr<Timespec>,
) -> Result<usize> {
    let timeout = timeout.read_opt()?;
    let ops = read_ops(ops, count)?;
    let deadline = match timeout {
        None => None,
        Some(timeout) => {
            let ns = timeout.to_ns().ok_or(Errno::EINVAL)?;
            Some(time::monotonic_ns().saturating_add(ns))
        }
    };
    sem::operate(id, ops, deadline)
}

#[inline]
fn read_ops(addr: usize, count: u32) -> Result<Ops> {
    let count = count as usize;
    if count == 1 {
        let mut ops = Ops::new();
        ops.push(UserPtr::<Sembuf>::from(addr).read()?);
        return Ok(ops);
    }
    if count > limits::SEMOPM.count() {
        return Err(Errno::E2BIG);
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let mut ops = Ops::new();
    ops.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    ops.resize(count, Sembuf::default());
    UserSlice::<Sembuf>::new(addr, count)?.read_into(&mut ops)?;
    Ok(ops)
}

pub fn sys_semctl(id: i32, number: i32, cmd: i32, arg: usize) -> Result<usize> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let ds = UserPtr::<SemidDs>::from(arg);
    match cmd {
        IPC_INFO | SEM_INFO => sem_info(cmd, UserPtr::from(arg)),
        IPC_STAT | SEM_STAT | SEM_STAT_ANY => {
            let by_index = cmd != IPC_STAT;
            let stat = sem::stat(id, by_index, cmd != SEM_STAT_ANY)?;
            ds.write(&stat.ds)?;
            Ok(if by_index { stat.id as usize } else { 0 })
        }
        IPC_SET => sem::set(id, &ds.read()?).map(|()| 0),
        IPC_RMID => sem::remove(id).map(|()| 0),
        GETVAL => sem::get_value(id, number).map(|value| value as usize),
        GETPID => sem::get_pid(id, number).map(|pid| pid as usize),
        GETNCNT | GETZCNT => sem::waiting_for(id, number, cmd == GETZCNT),
        SETVAL => sem::set_value(id, number, arg as i32).map(|()| 0),
        GETALL => {
            let values = sem::get_all(id)?;
            UserSlice::<u16>::new(arg, values.len())?.write_from(&values)?;
            Ok(0)
        }
        SETALL => {
            let read = |count| UserSlice::<u16>::new(arg, count)?.to_vec();
            sem::set_all(id, read).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Sizes that Linux has and that limit nothing.
const SEMMNU: i32 = 1_024_000_000;
const SEMUME: i32 = 500;
const SEMUSZ: i32 = 20;

fn sem_info(cmd: i32, out: UserPtr<Seminfo>) -> Result<usize> {
    let (sets, highest, semaphores) = sem::usage();
    let (semusz, semaem) = match cmd {
        SEM_INFO => (sets as i32, semaphores as i32),
        _ => (SEMUSZ, SEMVMX),
    };
    out.write(&Seminfo {
        semmap: SEMMNU,
        semmni: limits::SEMMNI.get(),
        semmns: limits::SEMMNS.get(),
        semmnu: SEMMNU,
        semmsl: limits::SEMMSL.get(),
        semopm: limits::SEMOPM.get(),
        semume: SEMUME,
        semusz,
        semvmx: SEMVMX,
        semaem,
    })?;
    Ok(highest as usize)
}

pub fn sys_msgget(key: i32, flags: u32) -> Result<usize> {
    msg::get(key, flags).map(|id| id as usize)
}

/// A message in user memory: its type, and behind it the text.
const TYPE_SIZE: usize = size_of::<i64>();

pub fn sys_msgsnd(id: i32, message: usize, size: usize, flags: u32) -> Result<usize> {
    let mtype = UserPtr::<i64>::from(message).read()?;
    if size > limits::MSGMAX.count() || id < 0 || mtype < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = try_zeroed(size)?;
    copy_in(message.wrapping_add(TYPE_SIZE), &mut text)?;
    msg::send(id, mtype, text.into_vec(), flags).map(|()| 0)
}

pub fn sys_msgrcv(id: i32, message: usize, size: usize, mtype: i64, flags: u32) -> Result<usize> {
    let received = msg::receive(id, size, mtype, flags)?;
    UserPtr::<i64>::from(message).write(&received.mtype)?;
    copy_out(message.wrapping_add(TYPE_SIZE), &received.text)?;
    Ok(received.text.len())
}

pub fn sys_msgctl(id: i32, cmd: i32, buf: usize) -> Result<usize> {
    if id < 0 || cmd < 0 {
        return Err(Errno::EINVAL);
    }
    let ds = UserPtr::<MsqidDs>::from(buf);
    match cmd {
        IPC_INFO | MSG_INFO => msg_info(cmd, UserPtr::from(buf)),
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let by_index = cmd != IPC_STAT;
            let stat = msg::stat(id, by_index, cmd != MSG_STAT_ANY)?;
            ds.write(&stat.ds)?;
            Ok(if by_index { stat.id as usize } else { 0 })
        }
        IPC_SET => msg::set(id, &ds.read()?).map(|()| 0),
        IPC_RMID => msg::remove(id).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// Sizes that Linux has and that limit nothing.
const MSGPOOL: i32 = 512_000;
const MSGMAP: i32 = 16384;
const MSGTQL: i32 = 16384;
const MSGSSZ: i32 = 16;
const MSGSEG: u16 = 0xffff;

fn msg_info(cmd: i32, out: UserPtr<Msginfo>) -> Result<usize> {
    let usage = msg::usage();
    let clamp = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let (msgpool, msgmap, msgtql) = match cmd {
        MSG_INFO => (
            usage.queues as i32,
            clamp(usage.messages),
            clamp(usage.bytes),
        ),
        _ => (MSGPOOL, MSGMAP, MSGTQL),
    };
    out.write(&Msginfo {
        msgpool,
        msgmap,
        msgmax: limits::MSGMAX.get(),
        msgmnb: limits::MSGMNB.get(),
        msgmni: limits::MSGMNI.get(),
        msgssz: MSGSSZ,
        msgtql,
        msgseg: MSGSEG,
        ..Msginfo::default()
    })?;
    Ok(usage.highest as usize)
}
