//! File handles: names of files that outlive a walk, for `name_to_handle_at` and `open_by_handle_at`.
//!
//! As on Linux's tmpfs, a handle is a generation and an inode number, and good only while the inode lives and a handle
//! was asked for it. The generation is the file system's, since no number in it is used twice. What a file system
//! without handles gives (`AT_HANDLE_FID`) tells files apart, and opens nothing.
//!
//! # Invariants
//! - An inode that is known bears the number by which it is known.
//! - The table holds nothing alive. What has died goes when the table has doubled.
//!
//! Lock order: `HandleTable::known`, then a dentry's children.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::fs::{FILEID_INO64_GEN, FILEID_TMPFS, TMPFS_MAGIC};
use abi::{Errno, Result};

use super::dentry::Dentry;
use super::inode::Inode;
use super::superblock::SuperBlock;
use crate::device::random;
use crate::sync::Mutex;

/// Bytes of every handle that is given out.
pub const HANDLE_BYTES: usize = 12;
const FIRST_PURGE: usize = 64;

/// A handle's type and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub kind: i32,
    pub bytes: [u8; HANDLE_BYTES],
}

struct Entry {
    inode: Weak<Inode>,
    /// The name by which it was asked for.
    dentry: Weak<Dentry>,
}

struct Known {
    entries: BTreeMap<u64, Entry>,
    purge_at: usize,
}

/// The handles of one file system.
pub struct HandleTable {
    generation: u32,
    known: Mutex<Known>,
}

impl Default for HandleTable {
    /// An empty table, whose handles are not those of another file system.
    fn default() -> Self {
        let mut generation = [0; 4];
        random::fill(&mut generation);
        Self {
            generation: u32::from_ne_bytes(generation),
            known: Mutex::new(Known {
                entries: BTreeMap::new(),
                purge_at: FIRST_PURGE,
            }),
        }
    }
}

impl HandleTable {
    fn learn(&self, dentry: &Arc<Dentry>) {
        let inode = dentry.inode();
        let entry = Entry {
            inode: Arc::downgrade(inode),
            dentry: Arc::downgrade(dentry),
        };
        let mut known = self.known.lock();
        known.entries.insert(inode.ino, entry);
        if known.entries.len() >= known.purge_at {
            known
                .entries
                .retain(|_, entry| entry.inode.strong_count() > 0);
            known.purge_at = (known.entries.len() * 2).max(FIRST_PURGE);
        }
    }

    fn find(&self, ino: u64) -> Option<(Arc<Inode>, Option<Arc<Dentry>>)> {
        let known = self.known.lock();
        let entry = known.entries.get(&ino)?;
        Some((entry.inode.upgrade()?, entry.dentry.upgrade()))
    }
}

/// Whether files of this file system can be found by their numbers.
fn has_handles(sb: &SuperBlock) -> bool {
    sb.magic == TMPFS_MAGIC
}

/// The handle of a file; with `only_id` it need not be one to open.
///
/// # Errors
/// `EOPNOTSUPP` where the file system has none.
pub fn of(dentry: &Arc<Dentry>, only_id: bool) -> Result<Handle> {
    let inode = dentry.inode();
    let low = (inode.ino as u32).to_ne_bytes();
    let high = ((inode.ino >> 32) as u32).to_ne_bytes();
    if has_handles(&inode.sb) {
        let table = inode.sb.handles();
        table.learn(dentry);
        return Ok(Handle {
            kind: FILEID_TMPFS,
            bytes: join(table.generation.to_ne_bytes(), low, high),
        });
    }
    if only_id {
        return Ok(Handle {
            kind: FILEID_INO64_GEN,
            bytes: join(low, high, [0; 4]),
        });
    }
    Err(Errno::EOPNOTSUPP)
}

fn join(a: [u8; 4], b: [u8; 4], c: [u8; 4]) -> [u8; HANDLE_BYTES] {
    let mut bytes = [0; HANDLE_BYTES];
    for (to, from) in bytes.iter_mut().zip([a, b, c].as_flattened()) {
        *to = *from;
    }
    bytes
}

/// The file that a handle names in a file system.
///
/// # Errors
/// `ESTALE` if there is none, or none any more.
pub fn resolve(sb: &SuperBlock, bytes: &[u8]) -> Result<Arc<Dentry>> {
    let (words, _) = bytes.as_chunks::<4>();
    let [generation, low, high, ..] = words else {
        return Err(Errno::ESTALE);
    };
    let table = sb.handles();
    if !has_handles(sb) || u32::from_ne_bytes(*generation) != table.generation {
        return Err(Errno::ESTALE);
    }
    let ino = u64::from(u32::from_ne_bytes(*high)) << 32 | u64::from(u32::from_ne_bytes(*low));
    let (inode, dentry) = table.find(ino).ok_or(Errno::ESTALE)?;
    match dentry {
        Some(dentry) if !dentry.is_deleted() => Ok(dentry),
        // That name is gone; a file may have others, and an open one lives on without any.
        other => search(sb.root()?, &inode).or(other).ok_or(Errno::ESTALE),
    }
}

/// A name of the inode, searched for in the whole tree.
fn search(root: &Arc<Dentry>, wanted: &Arc<Inode>) -> Option<Arc<Dentry>> {
    if wanted.nlink() == 0 {
        return None;
    }
    let mut open: Vec<(Arc<Dentry>, u64)> = alloc::vec![(root.clone(), 0)];
    while let Some((dir, position)) = open.pop() {
        let Some((next, child)) = dir.child_from(position) else {
            continue;
        };
        open.push((dir, next));
        if Arc::ptr_eq(child.inode(), wanted) {
            return Some(child);
        }
        if child.inode().is_dir() {
            open.push((child, 0));
        }
    }
    None
}
