//! The events of processes (`NETLINK_CONNECTOR`, `CN_IDX_PROC`): forks, execs, changes of identity, ends.
//!
//! Whoever makes an event looks first whether anybody listens, which is one load. A listener is a socket that asked
//! for events and is not closed; the events go to all in the group.
//!
//! Reference: Linux `Documentation/driver-api/connector.rst`, `drivers/connector/cn_proc.c`.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use abi::netlink::connector::{
    CN_IDX_PROC, CN_VAL_PROC, CONNECTOR_MAX_MSG_SIZE, CnMsg, PROC_CN_MCAST_IGNORE,
    PROC_CN_MCAST_LISTEN, ProcEvent, event,
};
use abi::netlink::{NETLINK_CONNECTOR, NLMSG_DONE, NlmFlags};
use netlink::{Builder, Messages};
use zerocopy::FromBytes;

use super::packet::Packet;
use super::send::Sent;
use super::socket::{NetlinkSocket, Switches};
use super::{Protocol, table};
use crate::per_cpu;
use crate::sync::{Mutex, PerCpu};
use crate::task::ptrace::parent_thread;
use crate::task::{Cap, Cred, Task, find_process};
use crate::{arch, time};

pub(super) static PROTOCOL: Protocol = Protocol {
    number: NETLINK_CONNECTOR,
    groups: 26,
    open_receive: false,
    open_send: false,
    input: Some(input),
    close: Some(forget),
};

/// Sockets that asked for events.
static LISTENERS: AtomicU32 = AtomicU32::new(0);
/// Events sent from each CPU. They change under [`ORDER`], so that events arrive in order of their numbers.
static COUNTS: PerCpu<AtomicU32> = per_cpu!(AtomicU32::new(0));
static ORDER: Mutex<()> = Mutex::new(());

/// Whether events need be made at all.
#[inline]
pub fn is_heard() -> bool {
    LISTENERS.load(Ordering::Relaxed) != 0
}

fn listen(socket: &NetlinkSocket, on: bool) {
    if !socket.switch(Switches::PROC_EVENTS, on) {
        return;
    }
    match on {
        true => LISTENERS.fetch_add(1, Ordering::Relaxed),
        false => LISTENERS.fetch_sub(1, Ordering::Relaxed),
    };
}

fn forget(socket: &NetlinkSocket) {
    listen(socket, false);
}

/// A message from a process; what is malformed is not answered.
fn input(sent: &Sent<'_>) {
    let Some(message) = Messages::new(sent.data).next() else {
        return;
    };
    if message.payload.len() > CONNECTOR_MAX_MSG_SIZE {
        return;
    }
    let Ok((header, data)) = CnMsg::read_from_prefix(message.payload) else {
        return;
    };
    let is_for_processes = (header.idx, header.val) == (CN_IDX_PROC, CN_VAL_PROC);
    if !is_for_processes || usize::from(header.len) != size_of::<u32>() {
        return;
    }
    let Ok((wish, _)) = u32::read_from_prefix(data) else {
        return;
    };
    let error = if !sent.capable(Cap::NET_ADMIN) {
        Errno::EPERM.get()
    } else {
        match wish {
            PROC_CN_MCAST_LISTEN => listen(sent.socket, true),
            PROC_CN_MCAST_IGNORE => listen(sent.socket, false),
            _ => return acknowledge(&header, Errno::EINVAL.get()),
        }
        0
    };
    acknowledge(&header, error);
}

/// Tells all listeners what became of a request.
fn acknowledge(request: &CnMsg, error: i32) {
    if is_heard() {
        let ack = request.ack.wrapping_add(1);
        send(event::NONE, [error as u32, 0, 0, 0, 0, 0], ack);
    }
}

fn tell(what: u32, data: [u32; 6]) {
    send(what, data, 0);
}

fn send(what: u32, data: [u32; 6], ack: u32) {
    let timestamp_ns = time::monotonic_ns();
    let _order = ORDER.lock();
    let seq = COUNTS.here().fetch_add(1, Ordering::Relaxed);
    let mut builder = Builder::new();
    builder.begin(NLMSG_DONE, NlmFlags::empty(), seq, 0);
    builder.put(&CnMsg {
        idx: CN_IDX_PROC,
        val: CN_VAL_PROC,
        seq,
        ack,
        len: size_of::<ProcEvent>() as u16,
        flags: 0,
    });
    builder.put(&ProcEvent {
        what,
        cpu: arch::cpu::current_id().0,
        timestamp_ns,
        data,
    });
    builder.finish();
    let packet = Packet::from_kernel(builder.into_bytes(), CN_IDX_PROC);
    // Whether it reached anybody makes no difference.
    let _ = table::broadcast(&PROTOCOL, &Arc::new(packet), 0);
}

/// A thread's number and its process's.
fn ids_of(task: &Task) -> [u32; 2] {
    [task.tid().0 as u32, task.process.pid.0 as u32]
}

fn parent_of(task: &Task) -> [u32; 2] {
    parent_thread(&task.process).map_or([0; 2], |parent| ids_of(&parent))
}

/// Who: the first two numbers of most events.
fn about(task: &Task, third: u32, fourth: u32) -> [u32; 6] {
    let [tid, pid] = ids_of(task);
    [tid, pid, third, fourth, 0, 0]
}

/// A thread was made, in a process of its own or not.
pub fn fork(child: &Task) {
    let [parent, parent_process] = parent_of(child);
    let [tid, pid] = ids_of(child);
    tell(event::FORK, [parent, parent_process, tid, pid, 0, 0]);
}

pub fn exec(task: &Task) {
    tell(event::EXEC, about(task, 0, 0));
}

/// The thread has another identity than `old`.
pub fn ids(task: &Task, old: &Cred) {
    let new = task.cred();
    let uids = |cred: &Cred| (cred.uid, cred.euid, cred.suid, cred.fsuid);
    let gids = |cred: &Cred| (cred.gid, cred.egid, cred.sgid, cred.fsgid);
    if uids(&new) != uids(old) {
        tell(event::UID, about(task, new.uid, new.euid));
    }
    if gids(&new) != gids(old) {
        tell(event::GID, about(task, new.gid, new.egid));
    }
}

pub fn sid(task: &Task) {
    tell(event::SID, about(task, 0, 0));
}

/// The thread is traced by another, or by nobody any more.
pub fn ptrace(task: &Task, tracer: Option<&Task>) {
    let [tid, pid] = tracer.map_or([0; 2], ids_of);
    tell(event::PTRACE, about(task, tid, pid));
}

pub fn comm(task: &Task) {
    let comm = task.comm();
    let mut data = about(task, 0, 0);
    for (word, bytes) in data.iter_mut().skip(2).zip(comm.chunks_exact(4)) {
        *word = u32::read_from_bytes(bytes).unwrap_or(0);
    }
    tell(event::COMM, data);
}

pub fn coredump(task: &Task) {
    let [parent, parent_process] = parent_of(task);
    tell(event::COREDUMP, about(task, parent, parent_process));
}

/// The thread has ended. Its parent is told only while it can still be waited for.
pub fn exit(task: &Task, status: u32) {
    let is_leader = task.is_leader();
    let signal = match is_leader {
        true => task.process.exit_signal(),
        false => u32::MAX,
    };
    let is_there = is_leader && find_process(task.process.pid).is_some();
    let [parent, parent_process] = match is_there {
        true => parent_of(task),
        false => [0; 2],
    };
    let [tid, pid] = ids_of(task);
    tell(
        event::EXIT,
        [tid, pid, status, signal, parent, parent_process],
    );
}
