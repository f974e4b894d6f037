//! sysfs: the devices that [`registry`](crate::device::registry) knows, as directories, attributes and links.
//!
//! | module | what |
//! |---|---|
//! | `tree` | [`tree::Place`]: what each directory holds, derived anew at each look |
//! | `node` | inodes and open files of it |
//!
//! Nothing is kept here: a directory is a question to the registry, so that devices come and go without sysfs.
//!
//! # Invariants
//! - An inode's number follows from its path, so that it is the same at each look.
//! - Links are relative, and their targets lie in the same tree.
//!
//! References: sysfs(5); Linux `Documentation/filesystems/sysfs.rst`, `Documentation/admin-guide/sysfs-rules.rst`.

mod node;
mod tree;

use alloc::sync::Arc;

use abi::Result;
use abi::fs::MountFlags;
use spin::Once;

use crate::fs::dentry::Dentry;
use crate::fs::superblock::{self, FileSystem, NewSuperBlock, SuperBlock, SuperOps};

pub use tree::uevent;

const SYSFS_MAGIC: i64 = 0x6265_6572;

/// The type for `mount -t`. Every mount shows the same tree.
pub struct Sysfs;

struct Super;
impl SuperOps for Super {}

static INSTANCE: Once<Arc<SuperBlock>> = Once::new();

impl FileSystem for Sysfs {
    fn name(&self) -> &'static str {
        "sysfs"
    }
    fn mount(&self, _source: &[u8], _flags: MountFlags, _data: &[u8]) -> Result<Arc<SuperBlock>> {
        Ok(INSTANCE.call_once(build).clone())
    }
}

fn build() -> Arc<SuperBlock> {
    let new = NewSuperBlock {
        fs_name: "sysfs",
        magic: SYSFS_MAGIC,
        block_size: 4096,
        max_bytes: i64::MAX as u64,
        flags: MountFlags::empty(),
        dev: None,
        permanent: true,
    };
    let sb = SuperBlock::new(new, Super);
    sb.set_root(Dentry::new_root(node::root(&sb), b"/"));
    sb
}

/// Makes the type known.
pub fn init() {
    superblock::register(&Sysfs);
}
