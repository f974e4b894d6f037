//! Changes of names: create, remove, link, rename. Checks in Linux's order, then one call of the file system, then
//! the dentry tree.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::fs::{DevNum, RENAME_EXCHANGE, RENAME_NOREPLACE, S_ISGID, S_IXGRP, W_OK};
use abi::{Errno, Result};
use vfs::hash_component;

use crate::fs::dentry::Dentry;
use crate::fs::inode::{FileKind, Inode, InodeFlags, NewInode, Rename};
use crate::fs::mount::Path;
use crate::fs::notify::{self, Event};
use crate::fs::path::{self, Last, Parent};
use crate::fs::perm;
use crate::task::{Cap, Cred};

/// Who owns a new inode, and its mode after the rules of set-group-id directories. `mode` has the umask applied.
fn new_inode(dir: &Inode, kind: FileKind, mode: u32, rdev: DevNum, cred: &Cred) -> NewInode {
    let mut new = NewInode {
        kind,
        mode,
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev,
    };
    if dir.mode() & S_ISGID != 0 {
        new.gid = dir.gid();
        if kind == FileKind::Dir {
            new.mode |= S_ISGID;
        } else if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
            && !perm::in_group(cred, new.gid)
            && !cred.capable(Cap::FSETID)
        {
            new.mode &= !S_ISGID;
        }
    }
    new
}

/// What a new entry is to be.
pub enum Make<'a> {
    /// A file, directory, FIFO, socket or device.
    Node {
        kind: FileKind,
        mode: u32,
        rdev: DevNum,
    },
    Symlink {
        target: &'a [u8],
    },
}

/// Makes an entry that must not exist.
pub fn make(parent: &Parent, what: &Make<'_>, cred: &Cred) -> Result<Path> {
    let name = parent.new_name()?;
    let dir = &parent.dir;
    let inode = dir.inode();
    let _guard = inode.lock.lock();
    let (_, hash) = hash_component(name);
    match path::find_locked(&dir.dentry, name, hash) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let is_dir = matches!(
        what,
        Make::Node {
            kind: FileKind::Dir,
            ..
        }
    );
    if parent.slash && !is_dir {
        return Err(Errno::ENOENT);
    }
    dir.check_writable()?;
    make_locked(dir, name, what, cred)
}

/// Makes an entry whose absence is known, with the directory's lock held.
pub fn make_locked(dir: &Path, name: &[u8], what: &Make<'_>, cred: &Cred) -> Result<Path> {
    let inode = dir.inode();
    perm::check_create(inode, cred)?;
    let made = match what {
        Make::Node { kind, mode, rdev } => {
            let device = matches!(kind, FileKind::Char | FileKind::Block);
            if device && !cred.capable(Cap::MKNOD) {
                return Err(Errno::EPERM);
            }
            inode
                .ops
                .create(inode, name, &new_inode(inode, *kind, *mode, *rdev, cred))?
        }
        Make::Symlink { target } => {
            let new = new_inode(inode, FileKind::Symlink, 0o777, DevNum(0), cred);
            inode.ops.symlink(inode, name, target, &new)?
        }
    };
    let dir_bit = if made.is_dir() {
        Event::ISDIR
    } else {
        Event::empty()
    };
    let dentry = Dentry::new_child(&dir.dentry, name, made);
    dir.dentry.insert(&dentry, path::is_pinned(inode))?;
    notify::entry_event(inode, Event::CREATE | dir_bit, name, 0);
    Ok(Path {
        mount: dir.mount.clone(),
        dentry,
    })
}

/// Makes an unnamed file in the directory (`O_TMPFILE`).
pub fn make_unnamed(dir: &Path, mode: u32, linkable: bool, cred: &Cred) -> Result<Path> {
    let inode = dir.inode();
    dir.check_writable()?;
    perm::check_create(inode, cred)?;
    let new = new_inode(inode, FileKind::Regular, mode, DevNum(0), cred);
    let made = inode.ops.tmpfile(inode, &new)?;
    if linkable {
        made.set_flag(InodeFlags::LINKABLE);
    }
    let mut name = alloc::string::String::new();
    let _ = core::fmt::Write::write_fmt(&mut name, format_args!("#{}", made.ino));
    let dentry = Dentry::new_child(&dir.dentry, name.as_bytes(), made);
    dentry.mark_deleted();
    Ok(Path {
        mount: dir.mount.clone(),
        dentry,
    })
}

/// The existing entry that `parent` names, with the directory's lock held.
fn existing(parent: &Parent, name: &[u8]) -> Result<Path> {
    let (_, hash) = hash_component(name);
    let dentry = path::find_locked(&parent.dir.dentry, name, hash)?;
    Ok(Path {
        mount: parent.dir.mount.clone(),
        dentry,
    })
}

/// Removes a name that is not a directory's.
pub fn unlink(parent: &Parent, cred: &Cred) -> Result<()> {
    let Last::Name(name) = &parent.last else {
        return Err(Errno::EISDIR);
    };
    parent.dir.check_writable()?;
    let dir = parent.dir.inode();
    let guard = dir.lock.lock();
    let victim = existing(parent, name)?;
    let inode = victim.inode();
    if parent.slash {
        return Err(if inode.is_dir() {
            Errno::EISDIR
        } else {
            Errno::ENOTDIR
        });
    }
    perm::check_delete(dir, inode, cred)?;
    if inode.is_dir() {
        return Err(Errno::EISDIR);
    }
    if victim.dentry.is_mountpoint() {
        return Err(Errno::EBUSY);
    }
    dir.ops.unlink(dir, name, inode)?;
    parent.dir.dentry.remove(&victim.dentry);
    victim.dentry.mark_deleted();
    notify::event(inode, Event::ATTRIB);
    // Unless the file is in use, this ends it, which watchers hear before the name's end.
    drop(victim);
    notify::entry_event(dir, Event::DELETE, name, 0);
    drop(guard);
    Ok(())
}

/// Removes an empty directory.
pub fn rmdir(parent: &Parent, cred: &Cred) -> Result<()> {
    let name = match &parent.last {
        Last::Name(name) => name,
        Last::Dot => return Err(Errno::EINVAL),
        Last::DotDot => return Err(Errno::ENOTEMPTY),
        Last::Root => return Err(Errno::EBUSY),
    };
    parent.dir.check_writable()?;
    let dir = parent.dir.inode();
    let _guard = dir.lock.lock();
    let victim = existing(parent, name)?;
    let inode = victim.inode();
    perm::check_delete(dir, inode, cred)?;
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let victim_guard = inode.lock.lock();
    if victim.dentry.is_mountpoint() {
        return Err(Errno::EBUSY);
    }
    if path::is_pinned(inode) && !victim.dentry.is_empty_dir() {
        return Err(Errno::ENOTEMPTY);
    }
    dir.ops.rmdir(dir, name, inode)?;
    inode.set_flag(InodeFlags::DEAD);
    parent.dir.dentry.remove(&victim.dentry);
    victim.dentry.mark_deleted();
    drop(victim_guard);
    drop(victim);
    notify::entry_event(dir, Event::DELETE | Event::ISDIR, name, 0);
    Ok(())
}

/// Makes another name for the file at `old`.
pub fn link(old: &Path, parent: &Parent, cred: &Cred) -> Result<()> {
    let name = parent.new_name()?;
    let dir = parent.dir.inode();
    let _guard = dir.lock.lock();
    let (_, hash) = hash_component(name);
    match path::find_locked(&parent.dir.dentry, name, hash) {
        Ok(_) => return Err(Errno::EEXIST),
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    if parent.slash {
        return Err(Errno::ENOENT);
    }
    parent.dir.check_writable()?;
    if !Arc::ptr_eq(&old.mount, &parent.dir.mount) {
        return Err(Errno::EXDEV);
    }
    let inode = old.inode();
    perm::check_create(dir, cred)?;
    inode.check_changeable()?;
    if inode.is_dir() {
        return Err(Errno::EPERM);
    }
    if inode.nlink() == 0 && !inode.flags().contains(InodeFlags::LINKABLE) {
        return Err(Errno::ENOENT);
    }
    dir.ops.link(dir, name, inode)?;
    let dentry = Dentry::new_child(&parent.dir.dentry, name, inode.clone());
    parent.dir.dentry.insert(&dentry, path::is_pinned(dir))?;
    notify::event(inode, Event::ATTRIB);
    notify::entry_event(dir, Event::CREATE, name, 0);
    Ok(())
}

static MOVE_COOKIE: AtomicU32 = AtomicU32::new(1);

/// Locks two directories, the upper one first where one lies below the other, and runs `f`.
fn with_both_locked<R>(a: &Path, b: &Path, f: impl FnOnce() -> R) -> R {
    if Arc::ptr_eq(a.inode(), b.inode()) {
        let _guard = a.inode().lock.lock();
        return f();
    }
    // Only renames change what lies below what, and this lock admits one at a time.
    let _rename = a.mount.sb.rename_lock.lock();
    let b_first = b.dentry.is_ancestor_of(&a.dentry)
        || (!a.dentry.is_ancestor_of(&b.dentry) && Arc::as_ptr(b.inode()) < Arc::as_ptr(a.inode()));
    let (first, second) = if b_first { (b, a) } else { (a, b) };
    let _first = first.inode().lock.lock();
    let _second = second.inode().lock.lock();
    f()
}

/// Renames, with the flags of `renameat2` (already checked to be known and consistent).
pub fn rename(old: &Parent, new: &Parent, flags: u32, cred: &Cred) -> Result<()> {
    if !Arc::ptr_eq(&old.dir.mount, &new.dir.mount) {
        return Err(Errno::EXDEV);
    }
    let Last::Name(old_name) = &old.last else {
        return Err(Errno::EBUSY);
    };
    let Last::Name(new_name) = &new.last else {
        let error = if flags & RENAME_NOREPLACE != 0 {
            Errno::EEXIST
        } else {
            Errno::EBUSY
        };
        return Err(error);
    };
    old.dir.check_writable()?;
    with_both_locked(&old.dir, &new.dir, || {
        let source = existing(old, old_name)?;
        let target = match existing(new, new_name) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        let exchange = flags & RENAME_EXCHANGE != 0;
        if flags & RENAME_NOREPLACE != 0 && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange {
            let Some(target) = &target else {
                return Err(Errno::ENOENT);
            };
            if new.slash && !target.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
        }
        if !source.inode().is_dir() && (old.slash || (!exchange && new.slash)) {
            return Err(Errno::ENOTDIR);
        }
        if source.dentry.is_ancestor_of(&new.dir.dentry) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = &target
            && target.dentry.is_ancestor_of(&old.dir.dentry)
        {
            return Err(if exchange {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        rename_locked(old, &source, new, new_name, target.as_ref(), exchange, cred)
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "the two ends of a rename, as rename() found them"
)]
fn rename_locked(
    old: &Parent,
    source: &Path,
    new: &Parent,
    new_name: &[u8],
    target: Option<&Path>,
    exchange: bool,
    cred: &Cred,
) -> Result<()> {
    let (old_dir, new_dir) = (old.dir.inode(), new.dir.inode());
    let inode = source.inode();
    if target.is_some_and(|target| Arc::ptr_eq(target.inode(), inode)) {
        return Ok(());
    }
    check_rename(old_dir, inode, new_dir, target, exchange, cred)?;
    if source.dentry.is_mountpoint() || target.is_some_and(|target| target.dentry.is_mountpoint()) {
        return Err(Errno::EBUSY);
    }
    let pinned = path::is_pinned(old_dir);
    let _target_guard = match target {
        Some(target) if target.inode().is_dir() && !exchange => {
            let guard = target.inode().lock.lock();
            if pinned && !target.dentry.is_empty_dir() {
                return Err(Errno::ENOTEMPTY);
            }
            Some(guard)
        }
        _ => None,
    };
    let old_name = source.dentry.name();
    old_dir.ops.rename(&Rename {
        old_dir,
        old_name: &old_name,
        inode,
        new_dir,
        new_name,
        target: target.map(Path::inode),
        exchange,
    })?;
    match target {
        Some(target) if exchange => {
            old.dir
                .dentry
                .exchange(&source.dentry, &new.dir.dentry, &target.dentry, pinned)?;
        }
        _ => {
            old.dir
                .dentry
                .move_child(&source.dentry, &new.dir.dentry, new_name, pinned)?;
            if let Some(target) = target {
                target.dentry.mark_deleted();
                if target.inode().is_dir() {
                    target.inode().set_flag(InodeFlags::DEAD);
                }
            }
        }
    }
    let dir_bit = if inode.is_dir() {
        Event::ISDIR
    } else {
        Event::empty()
    };
    let cookie = MOVE_COOKIE.fetch_add(1, Ordering::Relaxed);
    if core::ptr::eq(old_dir.as_ref(), new_dir.as_ref()) {
        notify::entry_event(old_dir, Event::RENAMED | dir_bit, &old_name, 0);
    }
    notify::entry_event(old_dir, Event::MOVED_FROM | dir_bit, &old_name, cookie);
    notify::entry_event(new_dir, Event::MOVED_TO | dir_bit, new_name, cookie);
    if let Some(target) = target.filter(|_| !exchange) {
        notify::event(target.inode(), Event::ATTRIB);
    }
    notify::event(inode, Event::MOVE_SELF);
    Ok(())
}

/// The permissions and kinds that a rename needs.
fn check_rename(
    old_dir: &Arc<Inode>,
    inode: &Arc<Inode>,
    new_dir: &Arc<Inode>,
    target: Option<&Path>,
    exchange: bool,
    cred: &Cred,
) -> Result<()> {
    perm::check_delete(old_dir, inode, cred)?;
    match target {
        None => perm::check_create(new_dir, cred)?,
        Some(target) => {
            perm::check_delete(new_dir, target.inode(), cred)?;
            if !exchange {
                match (inode.is_dir(), target.inode().is_dir()) {
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => {}
                }
            }
        }
    }
    if Arc::ptr_eq(old_dir, new_dir) {
        return Ok(());
    }
    // A directory that changes its parent has its `..` rewritten.
    if inode.is_dir() {
        perm::check(inode, W_OK, cred)?;
    }
    if let Some(target) = target
        && exchange
        && target.inode().is_dir()
    {
        perm::check(target.inode(), W_OK, cred)?;
    }
    Ok(())
}
