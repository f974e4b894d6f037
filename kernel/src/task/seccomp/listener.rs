//! The descriptor by which a process answers the calls of others: ioctls and poll (seccomp_unotify(2)).

use alloc::sync::Arc;

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::seccomp::{
    IOC_SIZE_MASK, SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD, SECCOMP_IOCTL_NOTIF_ADDFD,
    SECCOMP_IOCTL_NOTIF_ID_VALID, SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR, SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND, SECCOMP_USER_NOTIF_FLAG_CONTINUE, SeccompNotif, SeccompNotifAddfd,
    SeccompNotifResp,
};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::notify::{AddFd, Notifier};
use crate::fs::{File, FileOps, anon_file};
use crate::mm::PAGE_SIZE;
use crate::mm::user::{UserPtr, copy_in};
use crate::sync::PollTable;
use crate::task::current;

/// What is behind the descriptor.
struct Listener(Arc<Notifier>);

/// A notifier and the file of its listener.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn create(killable_once_sent: bool) -> Result<(Arc<Notifier>, Arc<File>)> {
    let notifier = Arc::new(Notifier::new(killable_once_sent));
    let listener = Arc::new(Listener(notifier.clone()));
    let file = anon_file(
        "seccomp notify",
        listener as Arc<dyn FileOps>,
        OpenFlags::RDWR,
    )?;
    Ok((notifier, file))
}

impl FileOps for Listener {
    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            SECCOMP_IOCTL_NOTIF_RECV => self.receive(arg),
            SECCOMP_IOCTL_NOTIF_SEND => self.send(arg),
            SECCOMP_IOCTL_NOTIF_ID_VALID | SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR => {
                let id = UserPtr::<u64>::from(arg).read()?;
                self.0.check(id).map(|()| 0)
            }
            _ if cmd & !IOC_SIZE_MASK == SECCOMP_IOCTL_NOTIF_ADDFD => {
                let size = (cmd & IOC_SIZE_MASK) >> 16;
                self.add_fd(arg, size as usize)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn poll(&self, _file: &File, table: Option<&mut PollTable>) -> PollEvents {
        self.0.poll(|queue| {
            if let Some(table) = table {
                table.register(queue);
            }
        })
    }

    fn release(&self, _file: &File) {
        self.0.close();
    }
}

impl Listener {
    fn receive(&self, arg: usize) -> Result<usize> {
        let to = UserPtr::<SeccompNotif>::from(arg);
        // The structure may grow: what a caller sets in it today is refused.
        if to.read()? != SeccompNotif::default() {
            return Err(Errno::EINVAL);
        }
        let notif = self.0.receive()?;
        if let Err(errno) = to.write(&notif) {
            self.0.give_back(notif.id);
            return Err(errno);
        }
        Ok(0)
    }

    fn send(&self, arg: usize) -> Result<usize> {
        let resp = UserPtr::<SeccompNotifResp>::from(arg).read()?;
        if resp.flags & !SECCOMP_USER_NOTIF_FLAG_CONTINUE != 0 {
            return Err(Errno::EINVAL);
        }
        if resp.flags != 0 && (resp.error != 0 || resp.val != 0) {
            return Err(Errno::EINVAL);
        }
        self.0.reply(&resp).map(|()| 0)
    }

    fn add_fd(&self, arg: usize, size: usize) -> Result<usize> {
        let request = read_addfd(arg, size)?;
        if request.newfd_flags & !OpenFlags::CLOEXEC.bits() != 0
            || request.flags & !(SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND) != 0
        {
            return Err(Errno::EINVAL);
        }
        let is_placed = request.flags & SECCOMP_ADDFD_FLAG_SETFD != 0;
        if request.newfd != 0 && !is_placed {
            return Err(Errno::EINVAL);
        }
        let file = current().my_files().get(request.srcfd as i32)?;
        let given = AddFd::new(
            file,
            is_placed.then_some(request.newfd as i32),
            request.newfd_flags != 0,
            request.flags & SECCOMP_ADDFD_FLAG_SEND != 0,
        );
        let fd = self.0.give_file(request.id, Arc::new(given))?;
        Ok(fd as usize)
    }
}

/// Reads a structure that may be longer than ours, if what we do not know of it is zero.
///
/// # Errors
/// `EINVAL` for a size that no version has, `E2BIG`, `EFAULT`.
fn read_addfd(from: usize, size: usize) -> Result<SeccompNotifAddfd> {
    const KNOWN: usize = size_of::<SeccompNotifAddfd>();
    if !(KNOWN..PAGE_SIZE).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let mut at = KNOWN;
    while at < size {
        let mut rest = [0; 64];
        let len = rest.len().min(size - at);
        let rest = rest.get_mut(..len).unwrap_or_default();
        copy_in(from.wrapping_add(at), rest)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
        at += len;
    }
    let mut request = SeccompNotifAddfd::default();
    copy_in(from, request.as_mut_bytes())?;
    Ok(request)
}
