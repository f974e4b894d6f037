//! Control messages of local sockets: descriptors (`SCM_RIGHTS`) and credentials (`SCM_CREDENTIALS`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::OpenFlags;
use abi::socket::{CmsgHdr, MsgFlags, SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS, SOL_SOCKET, Ucred};
use abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use super::message::Control;
use super::unix::gc::InFlight;
use crate::fs::File;
use crate::mm::user::{UserPtr, copy_out};
use crate::task::{self, Cap, Pid, pid};

/// The most bytes of control messages that one send passes (`net.core.optmem_max`).
const MAX_CONTROL: usize = 131_072;
/// What a user or group is shown as that the receiver cannot know.
pub const OVERFLOW_ID: u32 = 65534;

/// What was sent along with bytes or a packet.
#[derive(Default)]
pub struct Scm {
    pub cred: Option<Ucred>,
    pub fds: Option<InFlight>,
}

impl Scm {
    /// Whether `next` needs no mark of its own behind `last`.
    pub fn joins(last: &Scm, next: &Scm) -> bool {
        last.fds.is_none() && next.fds.is_none() && last.cred == next.cred
    }
}

/// The running process, as receivers with `SO_PASSCRED` see it.
pub fn own_credentials() -> Ucred {
    let task = task::current();
    let cred = task.my_cred();
    Ucred {
        pid: task.process.pid.0,
        uid: cred.uid,
        gid: cred.gid,
    }
}

/// What a receiver is shown: of a message sent before anybody asked for credentials, nobody's.
pub fn shown(cred: Option<Ucred>) -> Ucred {
    cred.unwrap_or(Ucred {
        pid: 0,
        uid: OVERFLOW_ID,
        gid: OVERFLOW_ID,
    })
}

/// What the control messages of a send ask for.
#[derive(Default)]
pub struct Requests {
    pub files: Vec<Arc<File>>,
    pub cred: Option<Ucred>,
    /// Messages of other levels, which the socket's family looks at.
    pub other: Vec<Control>,
}

const HEADER: usize = size_of::<CmsgHdr>();

fn aligned(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// Reads the control messages at `addr`.
///
/// # Errors
/// `ENOBUFS` for too many, `EFAULT`, `EINVAL` for a malformed or unknown one, `EBADF`, `EPERM` and `ESRCH` for
/// credentials that are not the caller's.
pub fn read_requests(addr: usize, len: usize) -> Result<Requests> {
    let mut requests = Requests::default();
    if len == 0 {
        return Ok(requests);
    }
    if len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut control = Vec::new();
    control.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    control.resize(len, 0);
    crate::mm::user::copy_in(addr, &mut control)?;
    let mut rest = control.as_slice();
    while let Ok((header, _)) = CmsgHdr::read_from_prefix(rest) {
        let data = rest.get(HEADER..header.len).ok_or(Errno::EINVAL)?;
        if header.level == SOL_SOCKET {
            match header.kind {
                SCM_RIGHTS => add_files(&mut requests.files, data)?,
                SCM_CREDENTIALS => requests.cred = Some(stated_credentials(data)?),
                _ => return Err(Errno::EINVAL),
            }
        } else {
            requests.other.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            requests.other.push(Control {
                level: header.level,
                kind: header.kind,
                data: data.into(),
            });
        }
        rest = rest.get(aligned(header.len)..).unwrap_or_default();
    }
    Ok(requests)
}

fn add_files(files: &mut Vec<Arc<File>>, data: &[u8]) -> Result<()> {
    let count = data.len() / size_of::<i32>();
    if files.len() + count > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    let task = task::current();
    for fd in data.chunks_exact(size_of::<i32>()) {
        let fd = i32::read_from_bytes(fd).map_err(|_| Errno::EINVAL)?;
        let file = task.my_files().get_any(fd)?;
        files.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        files.push(file);
    }
    Ok(())
}

/// Credentials that the sender states: its own in any combination, others' with the capability for each part.
fn stated_credentials(data: &[u8]) -> Result<Ucred> {
    let stated = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
    let task = task::current();
    let cred = task.my_cred();
    let is_own_pid = stated.pid == task.process.pid.0;
    let pid_ok = is_own_pid || cred.capable(Cap::SYS_ADMIN);
    let uids = [cred.uid, cred.euid, cred.suid];
    let gids = [cred.gid, cred.egid, cred.sgid];
    let uid_ok = uids.contains(&stated.uid) || cred.capable(Cap::SETUID);
    let gid_ok = gids.contains(&stated.gid) || cred.capable(Cap::SETGID);
    if !(pid_ok && uid_ok && gid_ok) {
        return Err(Errno::EPERM);
    }
    let is_known = |number| pid::find_task(Pid(number)).is_some();
    if !is_own_pid && stated.pid != 0 && !is_known(stated.pid) {
        return Err(Errno::ESRCH);
    }
    if stated.uid == u32::MAX || stated.gid == u32::MAX {
        return Err(Errno::EINVAL);
    }
    Ok(stated)
}

/// The receiver's buffer for control messages.
pub struct ControlBuffer {
    addr: usize,
    left: usize,
    /// Bytes used.
    pub used: usize,
    /// Something did not fit.
    pub truncated: bool,
}

impl ControlBuffer {
    pub fn new(addr: usize, len: usize) -> ControlBuffer {
        let left = if addr == 0 { 0 } else { len };
        ControlBuffer {
            addr,
            left,
            used: 0,
            truncated: false,
        }
    }

    fn advance(&mut self, len: usize) {
        let len = aligned(len).min(self.left);
        self.addr = self.addr.wrapping_add(len);
        self.left -= len;
        self.used += len;
    }

    /// Puts one message, cut to what fits.
    pub fn put(&mut self, level: i32, kind: i32, data: &[u8]) -> Result<()> {
        if self.left < HEADER {
            self.truncated = true;
            return Ok(());
        }
        let mut len = HEADER + data.len();
        if len > self.left {
            self.truncated = true;
            len = self.left;
        }
        let header = CmsgHdr { len, level, kind };
        copy_out(self.addr, header.as_bytes())?;
        copy_out(
            self.addr.wrapping_add(HEADER),
            data.get(..len - HEADER).unwrap_or_default(),
        )?;
        self.advance(len);
        Ok(())
    }

    pub fn put_credentials(&mut self, cred: &Ucred) -> Result<()> {
        self.put(SOL_SOCKET, SCM_CREDENTIALS, cred.as_bytes())
    }

    /// Opens as many of the files as there is room for descriptors; the others are dropped.
    pub fn put_files(&mut self, files: &[Arc<File>], flags: MsgFlags) -> Result<()> {
        let room = self.left.saturating_sub(HEADER) / size_of::<i32>();
        let count = files.len().min(room);
        let cloexec = flags.contains(MsgFlags::CMSG_CLOEXEC);
        let task = task::current();
        let mut opened = 0;
        for file in files.iter().take(count) {
            let Ok(slot) = task.my_files().reserve(cloexec) else {
                break;
            };
            let at = self.addr.wrapping_add(HEADER + opened * size_of::<i32>());
            if UserPtr::from(at).write(&slot.fd().0).is_err() {
                break;
            }
            slot.fill(file.clone());
            opened += 1;
        }
        if opened < files.len() {
            self.truncated = true;
        }
        if opened == 0 {
            return Ok(());
        }
        let len = HEADER + opened * size_of::<i32>();
        let header = CmsgHdr {
            len,
            level: SOL_SOCKET,
            kind: SCM_RIGHTS,
        };
        copy_out(self.addr, header.as_bytes())?;
        self.advance(len);
        Ok(())
    }
}

/// The status flags that a new socket's descriptor asks for.
pub fn file_flags(kind: u32) -> OpenFlags {
    OpenFlags::from_bits_retain(kind) & (OpenFlags::NONBLOCK | OpenFlags::CLOEXEC)
}
