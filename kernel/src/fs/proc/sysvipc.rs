//! `/proc/sysvipc`: the System V objects, whoever may use them; and the limits of IPC: in `/proc/sys/kernel`, and of POSIX
//! queues in `/proc/sys/fs/mqueue`.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};

use super::node::Node;
use super::text::{Text, number};
use crate::ipc::ids::{Ids, Object};
use crate::ipc::limits::{self, Limit};
use crate::ipc::{mqueue, msg, sem, shm};
use crate::mm::PAGE_SIZE;
use crate::task::{Cap, current};

pub static NODES: &[Node] = &[
    Node::File("msg", 0o444, queues),
    Node::File("sem", 0o444, sets),
    Node::File("shm", 0o444, segments),
];

/// Shows each object by `row`; those that are removed meanwhile are left out.
fn rows<T: Object>(
    ids: &Ids<T>,
    out: &mut Text,
    mut row: impl FnMut(&T, &mut Text) -> Result<()>,
) -> Result<()> {
    let mut result = Ok(());
    ids.for_each(|object| match result {
        Err(Errno::EIDRM) | Ok(()) => result = row(object, out),
        Err(_) => {}
    });
    match result {
        Err(Errno::EIDRM) => Ok(()),
        other => other,
    }
}

fn segments(out: &mut Text) -> Result<()> {
    out.bytes(
        b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  \
          cgid      atime      dtime      ctime                   rss                  swap\n",
    )?;
    rows(shm::segments(), out, |segment, out| {
        let stat = segment.stat(false)?;
        let (ds, perm) = (&stat.ds, &stat.ds.perm);
        write!(
            out,
            "{:10} {:10}  {:4o} {:21} ",
            perm.key, stat.id, perm.mode, ds.segsz
        )?;
        write!(out, "{:5} {:5}  {:5} ", ds.cpid, ds.lpid, ds.nattch)?;
        write!(
            out,
            "{:5} {:5} {:5} {:5} ",
            perm.uid, perm.gid, perm.cuid, perm.cgid
        )?;
        write!(out, "{:10} {:10} {:10} ", ds.atime, ds.dtime, ds.ctime)?;
        // There is no swap.
        writeln!(out, "{:21} {:21}", stat.resident * PAGE_SIZE as u64, 0)
    })
}

fn sets(out: &mut Text) -> Result<()> {
    out.bytes(
        b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
    )?;
    rows(sem::sets(), out, |set, out| {
        let stat = set.stat(false)?;
        let (ds, perm) = (&stat.ds, &stat.ds.perm);
        write!(
            out,
            "{:10} {:10}  {:4o} {:10} ",
            perm.key, stat.id, perm.mode, ds.nsems
        )?;
        write!(
            out,
            "{:5} {:5} {:5} {:5} ",
            perm.uid, perm.gid, perm.cuid, perm.cgid
        )?;
        writeln!(out, "{:10} {:10}", ds.otime, ds.ctime)
    })
}

fn queues(out: &mut Text) -> Result<()> {
    out.bytes(
        b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
          stime      rtime      ctime\n",
    )?;
    rows(msg::queues(), out, |queue, out| {
        let stat = queue.stat(false)?;
        let (ds, perm) = (&stat.ds, &stat.ds.perm);
        write!(out, "{:10} {:10}  {:4o}  ", perm.key, stat.id, perm.mode)?;
        write!(
            out,
            "{:10} {:10} {:5} {:5} ",
            ds.cbytes, ds.qnum, ds.lspid, ds.lrpid
        )?;
        write!(
            out,
            "{:5} {:5} {:5} {:5} ",
            perm.uid, perm.gid, perm.cuid, perm.cgid
        )?;
        writeln!(out, "{:10} {:10} {:10}", ds.stime, ds.rtime, ds.ctime)
    })
}

fn show(limit: &Limit, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", limit.get())
}

fn show_u64(limit: &AtomicU64, out: &mut Text) -> Result<()> {
    writeln!(out, "{}", limit.load(Ordering::Relaxed))
}

fn store_u64(limit: &AtomicU64, bytes: &[u8]) -> Result<()> {
    limit.store(number(bytes)?, Ordering::Relaxed);
    Ok(())
}

/// What is asked for as the next object's id.
fn store_next_id<T: Object>(ids: &Ids<T>, bytes: &[u8]) -> Result<()> {
    if !current().my_cred().capable(Cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let id: i32 = number(bytes)?;
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    ids.set_next_id(id);
    Ok(())
}

macro_rules! limit {
    ($node:ident, $name:literal, $limit:expr) => {
        pub const $node: Node = Node::Writable(
            $name,
            0o644,
            |out| show(&$limit, out),
            |bytes| $limit.set(number(bytes)?),
        );
    };
}

macro_rules! next_id {
    ($node:ident, $name:literal, $ids:expr) => {
        pub const $node: Node = Node::Writable(
            $name,
            0o644,
            |out| writeln!(out, "{}", $ids.next_id()),
            |bytes| store_next_id($ids, bytes),
        );
    };
}

limit!(MSGMAX, "msgmax", limits::MSGMAX);
limit!(MSGMNB, "msgmnb", limits::MSGMNB);
limit!(MSGMNI, "msgmni", limits::MSGMNI);
limit!(SHMMNI, "shmmni", limits::SHMMNI);
next_id!(MSG_NEXT_ID, "msg_next_id", msg::queues());
next_id!(SEM_NEXT_ID, "sem_next_id", sem::sets());
next_id!(SHM_NEXT_ID, "shm_next_id", shm::segments());

pub const SHMALL: Node = Node::Writable(
    "shmall",
    0o644,
    |out| show_u64(&limits::SHMALL, out),
    |bytes| store_u64(&limits::SHMALL, bytes),
);

pub const SHMMAX: Node = Node::Writable(
    "shmmax",
    0o644,
    |out| show_u64(&limits::SHMMAX, out),
    |bytes| store_u64(&limits::SHMMAX, bytes),
);

pub const SHM_RMID_FORCED: Node = Node::Writable(
    "shm_rmid_forced",
    0o644,
    |out| show(&limits::SHM_RMID_FORCED, out),
    |bytes| {
        limits::SHM_RMID_FORCED.set(number(bytes)?)?;
        if limits::SHM_RMID_FORCED.get() != 0 {
            shm::destroy_orphans();
        }
        Ok(())
    },
);

pub const SEM: Node = Node::Writable("sem", 0o644, show_sem, store_sem);

fn show_sem(out: &mut Text) -> Result<()> {
    let [msl, mns, opm, mni] = [
        &limits::SEMMSL,
        &limits::SEMMNS,
        &limits::SEMOPM,
        &limits::SEMMNI,
    ]
    .map(Limit::get);
    writeln!(out, "{msl}\t{mns}\t{opm}\t{mni}")
}

fn store_sem(bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let mut values = [0; 4];
    let mut count = 0;
    for (slot, word) in values.iter_mut().zip(text.split_ascii_whitespace()) {
        *slot = word.parse().map_err(|_| Errno::EINVAL)?;
        count += 1;
    }
    limits::set_sem(values.get(..count).unwrap_or_default())
}

limit!(QUEUES_MAX, "queues_max", mqueue::QUEUES_MAX);
limit!(MSG_MAX, "msg_max", mqueue::MSG_MAX);
limit!(MSGSIZE_MAX, "msgsize_max", mqueue::MSGSIZE_MAX);
limit!(MSG_DEFAULT, "msg_default", mqueue::MSG_DEFAULT);
limit!(MSGSIZE_DEFAULT, "msgsize_default", mqueue::MSGSIZE_DEFAULT);

pub static MQUEUE: &[Node] = &[
    MSG_DEFAULT,
    MSG_MAX,
    MSGSIZE_DEFAULT,
    MSGSIZE_MAX,
    QUEUES_MAX,
];
