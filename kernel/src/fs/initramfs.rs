//! Unpacks the boot modules, plain or gzip'd cpio archives, into the root file system.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{DevNum, FileTime};
use abi::{Errno, Result};
use cpio::{Entry, Reader};
use miniz_oxide::inflate;
use vfs::hash_component;

use crate::fs::dentry::{Cached, Dentry};
use crate::fs::inode::{FileKind, Inode, NewInode};
use crate::fs::tmpfs;
use crate::mm::user::IoSource;

/// What an unpacked archive may take at most; a corrupt one must not eat the machine.
const MAX_UNPACKED: usize = 2 << 30;

/// Hard links met so far, by device and inode number of the archive.
type Links = BTreeMap<(u32, u32, u32), Arc<Inode>>;

/// Unpacks one module below `root`. The error is one line for the console.
pub fn unpack(module: &[u8], root: &Arc<Dentry>) -> core::result::Result<usize, String> {
    if cpio::is_gzip(module) {
        let (body, crc, size) =
            cpio::gzip_body(module).map_err(|error| format!("initramfs: {error}"))?;
        let archive = inflate::decompress_to_vec_with_limit(body, MAX_UNPACKED)
            .map_err(|error| format!("initramfs: corrupt gzip data: {error}"))?;
        if archive.len() as u32 != size || cpio::crc32(&archive) != crc {
            return Err(String::from("initramfs: corrupt gzip data: wrong checksum"));
        }
        return unpack_archive(&archive, root);
    }
    unpack_archive(module, root)
}

fn unpack_archive(archive: &[u8], root: &Arc<Dentry>) -> core::result::Result<usize, String> {
    let mut links = Links::new();
    let mut count = 0;
    for entry in Reader::new(archive) {
        let entry = entry.map_err(|error| format!("initramfs: {error}"))?;
        place(&entry, root, &mut links).map_err(|error| {
            format!(
                "initramfs: {}: {error:?}",
                String::from_utf8_lossy(entry.name)
            )
        })?;
        count += 1;
    }
    Ok(count)
}

fn find(dir: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
    match dir.find(name, hash_component(name).1) {
        Cached::Present(dentry) => Some(dentry),
        _ => None,
    }
}

/// The directory of an entry, made if the archive does not have it, and the entry's own name. `None` for the root.
fn parent_of<'n>(root: &Arc<Dentry>, path: &'n [u8]) -> Result<Option<(Arc<Dentry>, &'n [u8])>> {
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    let Some((last, dirs)) = parts.split_last() else {
        return Ok(None);
    };
    if parts.contains(&&b".."[..]) || parts.iter().any(|part| part.len() > abi::fs::NAME_MAX) {
        return Err(Errno::EINVAL);
    }
    let mut dir = root.clone();
    for part in dirs {
        dir = match find(&dir, part) {
            Some(found) if found.inode().is_dir() => found,
            Some(_) => return Err(Errno::ENOTDIR),
            None => {
                let new = NewInode {
                    kind: FileKind::Dir,
                    mode: 0o755,
                    uid: 0,
                    gid: 0,
                    rdev: DevNum(0),
                };
                let inode = dir.inode().ops.create(dir.inode(), part, &new)?;
                let made = Dentry::new_child(&dir, part, inode);
                dir.insert(&made, true)?;
                made
            }
        };
    }
    Ok(Some((dir, last)))
}

fn place(entry: &Entry<'_>, root: &Arc<Dentry>, links: &mut Links) -> Result<()> {
    let kind = FileKind::from_mode(entry.mode).ok_or(Errno::EINVAL)?;
    let rdev = DevNum::new(entry.rdev_major & 0xfff, entry.rdev_minor);
    let new = NewInode {
        kind,
        mode: entry.mode & 0o7777,
        uid: entry.uid,
        gid: entry.gid,
        rdev,
    };
    let Some((dir, name)) = parent_of(root, entry.name)? else {
        adopt(root.inode(), &new, entry);
        return Ok(());
    };
    let old = find(&dir, name);
    if let Some(old) = &old {
        if kind == FileKind::Dir && old.inode().is_dir() {
            adopt(old.inode(), &new, entry);
            return Ok(());
        }
        if old.inode().is_dir() {
            return Err(Errno::EISDIR);
        }
        // A later entry of the same name replaces the earlier one.
        dir.inode().ops.unlink(dir.inode(), name, old.inode())?;
        dir.remove(old);
    }
    let key = (entry.dev_major, entry.dev_minor, entry.ino);
    let linked = entry.nlink > 1 && kind == FileKind::Regular;
    let inode = match links.get(&key).filter(|_| linked) {
        Some(first) => {
            dir.inode().ops.link(dir.inode(), name, first)?;
            first.clone()
        }
        None if kind == FileKind::Symlink => {
            dir.inode()
                .ops
                .symlink(dir.inode(), name, entry.data, &new)?
        }
        None => dir.inode().ops.create(dir.inode(), name, &new)?,
    };
    if linked {
        links.insert(key, inode.clone());
    }
    // Of several links, the one that has the data brings it.
    if kind == FileKind::Regular && !entry.data.is_empty() {
        let cache = tmpfs::cache(&inode)?;
        let mut done = 0;
        while let Some(rest) = entry.data.get(done..).filter(|rest| !rest.is_empty()) {
            done += cache.write(&mut IoSource::kernel(rest), done as u64)?;
        }
        inode.set_size(entry.data.len() as u64);
    }
    dir.insert(&Dentry::new_child(&dir, name, inode.clone()), true)?;
    set_times(&inode, entry);
    Ok(())
}

/// Gives an existing directory the attributes of its entry.
fn adopt(inode: &Arc<Inode>, new: &NewInode, entry: &Entry<'_>) {
    inode.apply(&crate::fs::inode::SetAttr {
        mode: Some(new.mode),
        uid: Some(new.uid),
        gid: Some(new.gid),
        ..Default::default()
    });
    set_times(inode, entry);
}

fn set_times(inode: &Inode, entry: &Entry<'_>) {
    let time = FileTime {
        sec: i64::from(entry.mtime),
        nsec: 0,
    };
    inode.update_times(|times| {
        times.atime = time;
        times.mtime = time;
    });
}
