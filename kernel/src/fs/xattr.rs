//! Extended attributes: the in-memory store that tmpfs uses, and the checks that come before any store.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use abi::capability::{FileCaps, XATTR_NAME_CAPS};
use abi::fs::{R_OK, S_ISVTX, W_OK, XATTR_CREATE, XATTR_NAME_MAX, XATTR_REPLACE};
use abi::{Errno, Result};
use ksync::SpinLock;

use crate::fs::inode::InodeFlags;
use crate::fs::mount::Path;
use crate::fs::notify::{self, Event};
use crate::fs::perm;
use crate::task::{Cap, Cred};

/// The most bytes of names and values that one inode keeps, so that users cannot fill the kernel's memory.
const MAX_TOTAL: usize = 128 * 1024;

#[derive(Default)]
struct Attributes {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    total: usize,
}

/// The attributes of one inode.
#[derive(Default)]
pub struct XattrStore {
    attributes: SpinLock<Attributes>,
}

impl XattrStore {
    pub fn get(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.attributes
            .lock()
            .values
            .get(name)
            .cloned()
            .ok_or(Errno::ENODATA)
    }

    pub fn set(&self, name: &[u8], value: Vec<u8>, flags: u32) -> Result<()> {
        let mut attributes = self.attributes.lock();
        let size = name.len() + value.len();
        let total = attributes.total;
        let (change, old) = match attributes.values.entry(name.to_vec()) {
            Entry::Occupied(_) if flags & XATTR_CREATE != 0 => return Err(Errno::EEXIST),
            Entry::Vacant(_) if flags & XATTR_REPLACE != 0 => return Err(Errno::ENODATA),
            Entry::Occupied(mut entry) => {
                let before = name.len() + entry.get().len();
                if total - before + size > MAX_TOTAL {
                    return Err(Errno::ENOSPC);
                }
                (before, Some(entry.insert(value)))
            }
            Entry::Vacant(entry) => {
                if total + size > MAX_TOTAL {
                    return Err(Errno::ENOSPC);
                }
                entry.insert(value);
                (0, None)
            }
        };
        attributes.total = total - change + size;
        drop(attributes);
        drop(old);
        Ok(())
    }

    pub fn remove(&self, name: &[u8]) -> Result<()> {
        let mut attributes = self.attributes.lock();
        let value = attributes.values.remove(name).ok_or(Errno::ENODATA)?;
        attributes.total -= name.len() + value.len();
        Ok(())
    }

    /// Every name, each with a NUL behind it; `trusted` ones only for those who may see them.
    pub fn list(&self, with_trusted: bool) -> Vec<u8> {
        let attributes = self.attributes.lock();
        let mut out = Vec::new();
        for name in attributes.values.keys() {
            if with_trusted || !name.starts_with(b"trusted.") {
                out.extend_from_slice(name);
                out.push(0);
            }
        }
        out
    }
}

/// What may be done with attributes of that name: the rules of the four namespaces.
fn check(place: &Path, name: &[u8], mask: u32, cred: &Cred) -> Result<()> {
    let inode = place.inode();
    if mask & W_OK != 0 {
        place.check_writable()?;
        inode.check_changeable()?;
    }
    if name.starts_with(b"security.") {
        if mask & W_OK != 0 {
            let cap = if name == XATTR_NAME_CAPS {
                Cap::SETFCAP
            } else {
                Cap::SYS_ADMIN
            };
            if !cred.capable(cap) {
                return Err(Errno::EPERM);
            }
        }
        return Ok(());
    }
    if name.starts_with(b"system.") {
        // POSIX ACLs would live here.
        return Err(Errno::EOPNOTSUPP);
    }
    if name.starts_with(b"trusted.") {
        if cred.capable(Cap::SYS_ADMIN) {
            return Ok(());
        }
        return Err(if mask & W_OK != 0 {
            Errno::EPERM
        } else {
            Errno::ENODATA
        });
    }
    if name.starts_with(b"user.") {
        if !inode.is_regular() && !inode.is_dir() {
            return Err(if mask & W_OK != 0 {
                Errno::EPERM
            } else {
                Errno::ENODATA
            });
        }
        let sticky = inode.is_dir() && inode.mode() & S_ISVTX != 0;
        if sticky && mask & W_OK != 0 && !perm::is_owner(inode, cred) {
            return Err(Errno::EPERM);
        }
        return perm::check(inode, mask, cred);
    }
    Err(Errno::EOPNOTSUPP)
}

/// Checks a name's form: ERANGE for none or one too long, EOPNOTSUPP without a namespace's rest.
pub fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX {
        return Err(Errno::ERANGE);
    }
    Ok(())
}

/// A prefix alone names nothing.
fn check_suffix(name: &[u8]) -> Result<()> {
    let bare = [&b"user."[..], b"trusted.", b"security.", b"system."];
    if bare.contains(&name) {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

fn store(place: &Path) -> Result<&XattrStore> {
    let inode = place.inode();
    inode.ops.xattrs(inode).ok_or(Errno::EOPNOTSUPP)
}

pub fn get(place: &Path, name: &[u8], cred: &Cred) -> Result<Vec<u8>> {
    check(place, name, R_OK, cred)?;
    check_suffix(name)?;
    let value = store(place)?.get(name)?;
    if name == XATTR_NAME_CAPS
        && let Some(shown) = FileCaps::as_read(&value)
    {
        return Ok(shown.to_vec());
    }
    Ok(value)
}

pub fn set(place: &Path, name: &[u8], value: Vec<u8>, flags: u32, cred: &Cred) -> Result<()> {
    if name == XATTR_NAME_CAPS && !value.is_empty() && !FileCaps::may_be_set(&value) {
        return Err(Errno::EINVAL);
    }
    check(place, name, W_OK, cred)?;
    check_suffix(name)?;
    let inode = place.inode();
    let _guard = inode.lock.lock();
    store(place)?.set(name, value, flags)?;
    inode.set_flag(InodeFlags::HAS_XATTR);
    inode.touch_changed();
    notify::dentry_event(&place.dentry, Event::ATTRIB);
    Ok(())
}

pub fn remove(place: &Path, name: &[u8], cred: &Cred) -> Result<()> {
    check(place, name, W_OK, cred)?;
    check_suffix(name)?;
    let inode = place.inode();
    let _guard = inode.lock.lock();
    store(place)?.remove(name)?;
    inode.touch_changed();
    notify::dentry_event(&place.dentry, Event::ATTRIB);
    Ok(())
}

pub fn list(place: &Path, cred: &Cred) -> Result<Vec<u8>> {
    let inode = place.inode();
    match inode.ops.xattrs(inode) {
        Some(store) => Ok(store.list(cred.capable(Cap::SYS_ADMIN))),
        None => Ok(Vec::new()),
    }
}
