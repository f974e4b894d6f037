//! `msgctl`.

use abi::sysv::{IPC_READ, MsqidDs};
use abi::{Errno, Result};

use super::super::{access, limits, now_seconds};
use super::{MsgQueue, QUEUES};
use crate::sync::current;
use crate::task::Cap;

/// A queue as `IPC_STAT` and `/proc/sysvipc/msg` tell it.
pub struct MsgStat {
    pub id: i32,
    pub ds: MsqidDs,
}

/// What all queues hold.
pub struct Usage {
    pub queues: u32,
    /// The highest index in use.
    pub highest: u32,
    pub messages: u64,
    pub bytes: u64,
}

/// `MSG_INFO`.
pub fn usage() -> Usage {
    let (queues, highest) = QUEUES.usage();
    let mut usage = Usage {
        queues,
        highest,
        messages: 0,
        bytes: 0,
    };
    QUEUES.for_each(|queue| {
        let state = queue.state.lock();
        usage.messages += state.queue.len() as u64;
        usage.bytes += state.queue.bytes() as u64;
    });
    usage
}

impl MsgQueue {
    /// What it is now.
    ///
    /// # Errors
    /// `EACCES` if `checked` and it may not be read, `EIDRM`.
    pub fn stat(&self, checked: bool) -> Result<MsgStat> {
        let state = self.state.lock();
        if checked {
            access::check(&state.perm, IPC_READ)?;
        }
        if state.removed {
            return Err(Errno::EIDRM);
        }
        let ds = MsqidDs {
            perm: access::to_user(&state.perm, self.id),
            stime: state.stime,
            rtime: state.rtime,
            ctime: state.ctime,
            cbytes: state.queue.bytes() as u64,
            qnum: state.queue.len() as u64,
            qbytes: state.queue.max_bytes as u64,
            lspid: state.lspid,
            lrpid: state.lrpid,
            ..MsqidDs::default()
        };
        Ok(MsgStat { id: self.id, ds })
    }
}

/// `IPC_STAT`, and by index `MSG_STAT` and, without `checked`, `MSG_STAT_ANY`.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EIDRM`.
pub fn stat(id: i32, by_index: bool, checked: bool) -> Result<MsgStat> {
    let queue = match by_index {
        true => QUEUES.at(id)?,
        false => QUEUES.get(id)?,
    };
    queue.stat(checked)
}

/// `IPC_SET`. Receivers look again, as they may have lost their right; senders too, as there may be more room.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn set(id: i32, new: &MsqidDs) -> Result<()> {
    let admin = QUEUES.admin();
    let queue = QUEUES.get(id)?;
    let receivers = {
        let mut state = queue.state.lock();
        access::check_owner(&state.perm)?;
        if new.qbytes > limits::MSGMNB.count() as u64
            && !current().my_cred().capable(Cap::SYS_RESOURCE)
        {
            return Err(Errno::EPERM);
        }
        access::set(&mut state.perm, &new.perm)?;
        state.queue.max_bytes = usize::try_from(new.qbytes).unwrap_or(usize::MAX);
        state.ctime = now_seconds();
        state.queue.drain_receivers()
    };
    drop(admin);
    receivers.for_each(|receiver| receiver.who.finish(Err(Errno::EAGAIN)));
    queue.senders.wake_all();
    Ok(())
}

/// `IPC_RMID`: messages go, and whoever sleeps leaves with `EIDRM`.
///
/// # Errors
/// `EINVAL`, `EPERM`.
pub fn remove(id: i32) -> Result<()> {
    let mut admin = QUEUES.admin();
    let queue = QUEUES.get(id)?;
    let (key, receivers, messages) = {
        let mut state = queue.state.lock();
        access::check_owner(&state.perm)?;
        state.removed = true;
        let receivers = state.queue.drain_receivers();
        (state.perm.key, receivers, state.queue.drain_messages())
    };
    QUEUES.remove(&mut admin, &queue, key);
    drop(admin);
    drop(messages);
    receivers.for_each(|receiver| receiver.who.finish(Err(Errno::EIDRM)));
    queue.senders.wake_all();
    Ok(())
}
