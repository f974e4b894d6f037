//! Inodes of sysfs, and its files when they are open.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::tree::{self, Entry, Place};
use crate::device;
use crate::device::registry::{Attribute, Content, Device};
use crate::fs::dentry::emit_dots;
use crate::fs::file::{DirSink, File, FileOps, FileOpsRef};
use crate::fs::inode::{ChildPolicy, FileKind, Inode, InodeFlags, InodeOps, NewInode, SetAttr};
use crate::fs::proc::{Source, Text, TextFile};
use crate::fs::superblock::SuperBlock;
use crate::fs::tmpfs::TreeDir;
use crate::mm::user::{IoSink, IoSource};
use crate::net::netlink::uevent;

/// What Linux shows as the size of a text attribute: a page.
const TEXT_BYTES: u64 = 4096;
/// How much of a binary attribute is read at once.
const CHUNK: usize = 256;

/// A number for the path: 64-bit FNV-1a.
fn ino_of(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.into(),
        dir => format!("{dir}/{name}"),
    }
}

fn kind_of(entry: &Entry) -> FileKind {
    match entry {
        Entry::Dir(_) => FileKind::Dir,
        Entry::Link(_) => FileKind::Symlink,
        _ => FileKind::Regular,
    }
}

fn make(
    sb: &Arc<SuperBlock>,
    path: &str,
    kind: FileKind,
    mode: u32,
    ops: Arc<impl InodeOps>,
) -> Arc<Inode> {
    let new = NewInode {
        kind,
        mode,
        uid: 0,
        gid: 0,
        rdev: DevNum(0),
    };
    Inode::new(sb, ino_of(path), &new, ops, InodeFlags::empty())
}

/// The top of the tree.
pub fn root(sb: &Arc<SuperBlock>) -> Arc<Inode> {
    directory(sb, String::new(), Place::Root, 0o555)
}

fn directory(sb: &Arc<SuperBlock>, path: String, place: Place, mode: u32) -> Arc<Inode> {
    let entries = place.entries();
    let below = entries
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Dir(_)))
        .count();
    let key = path.clone();
    let inode = make(sb, &key, FileKind::Dir, mode, Arc::new(Dir { path, place }));
    inode.set_nlink(2 + below as u32);
    inode
}

struct Dir {
    path: String,
    place: Place,
}

impl Dir {
    /// A relative path from this directory to `target`, a path from the top.
    fn relative(&self, target: &str) -> String {
        let depth = match &*self.path {
            "" => 0,
            path => path.split('/').count(),
        };
        let mut text = "../".repeat(depth);
        text.push_str(target);
        text
    }
}

impl InodeOps for Dir {
    fn lookup(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<Arc<Inode>> {
        let found = self
            .place
            .entries()
            .into_iter()
            .find(|(n, _)| n.as_bytes() == name);
        let (name, entry) = found.ok_or(Errno::ENOENT)?;
        let path = join(&self.path, &name);
        let sb = &dir.sb;
        Ok(match entry {
            Entry::Dir(place) => directory(sb, path, place, 0o755),
            Entry::Link(target) => {
                let text = self.relative(&target);
                make(sb, &path, FileKind::Symlink, 0o777, Arc::new(Link(text)))
            }
            entry => {
                let (mode, size) = match &entry {
                    Entry::Attribute(device, index) => match device.attributes().get(*index) {
                        Some(attribute) => shape(attribute),
                        None => return Err(Errno::ENOENT),
                    },
                    Entry::Uevent(_) => (0o644, TEXT_BYTES),
                    _ => (0o444, TEXT_BYTES),
                };
                let inode = make(sb, &path, FileKind::Regular, mode, Arc::new(Leaf(entry)));
                inode.set_size(size);
                inode
            }
        })
    }

    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Uncached
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        let (path, place) = (self.path.clone(), self.place.clone());
        Ok(Arc::new(OpenDir(Dir { path, place })).into())
    }
}

fn shape(attribute: &Attribute) -> (u32, u64) {
    let size = match attribute.content {
        Content::Binary { bytes, .. } => bytes,
        _ => TEXT_BYTES,
    };
    (u32::from(attribute.mode), size)
}

struct OpenDir(Dir);

impl FileOps for OpenDir {
    fn read(&self, _file: &File, _sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn readdir(&self, file: &File, pos: &mut u64, sink: &mut dyn DirSink) -> Result<()> {
        if !emit_dots(&file.path().dentry, pos, sink) {
            return Ok(());
        }
        for (at, (name, entry)) in (2..).zip(self.0.place.entries()) {
            if at < *pos {
                continue;
            }
            let ino = ino_of(&join(&self.0.path, &name));
            if !sink.entry(name.as_bytes(), ino, kind_of(&entry), at + 1) {
                *pos = at;
                return Ok(());
            }
            *pos = at + 1;
        }
        Ok(())
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        TreeDir.llseek(file, offset, whence)
    }
}

struct Link(String);

impl InodeOps for Link {
    fn read_link(&self, _inode: &Arc<Inode>) -> Result<Arc<[u8]>> {
        Ok(self.0.as_bytes().into())
    }
}

/// A file.
struct Leaf(Entry);

impl InodeOps for Leaf {
    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<FileOpsRef> {
        // A file that nobody can write is refused to the super-user too, as on Linux.
        if flags.access_mode() != 0 && inode.mode() & 0o222 == 0 {
            return Err(Errno::EACCES);
        }
        Ok(match &self.0 {
            Entry::Attribute(device, index) => {
                let device = device.clone();
                let attribute = device.attributes().get(*index).ok_or(Errno::ENOENT)?;
                match attribute.content {
                    Content::Binary { .. } => {
                        let index = *index;
                        Arc::new(Binary { device, index }).into()
                    }
                    _ => {
                        let index = *index;
                        Arc::new(TextFile::new(AttributeText { device, index })).into()
                    }
                }
            }
            Entry::Uevent(device) => Arc::new(TextFile::new(Uevent(device.clone()))).into(),
            Entry::Dev(device) => Arc::new(TextFile::new(Number(device.clone()))).into(),
            Entry::UeventCount => Arc::new(TextFile::new(Count)).into(),
            Entry::Fixed(text) => Arc::new(TextFile::new(Fixed(text))).into(),
            Entry::Dir(_) | Entry::Link(_) => return Err(Errno::EINVAL),
        })
    }

    /// `O_TRUNC` changes nothing, and is no error.
    fn truncate(&self, _inode: &Arc<Inode>, _size: u64) -> Result<()> {
        Ok(())
    }

    fn setattr(&self, inode: &Arc<Inode>, set: &SetAttr) -> Result<()> {
        // Inodes are made anew at each look: a change would be lost without a word.
        if set.mode.is_some() || set.uid.is_some() || set.gid.is_some() {
            return Err(Errno::EPERM);
        }
        inode.apply(set);
        Ok(())
    }
}

struct AttributeText {
    device: Arc<Device>,
    index: usize,
}

impl AttributeText {
    fn attribute(&self) -> Result<&Attribute> {
        self.device
            .attributes()
            .get(self.index)
            .ok_or(Errno::ENODEV)
    }
}

impl Source for AttributeText {
    fn show(&self, out: &mut Text) -> Result<()> {
        let Content::Text(show) = &self.attribute()?.content else {
            return Err(Errno::EIO);
        };
        let mut text = String::new();
        show(&mut text)?;
        out.bytes(text.as_bytes())
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        match &self.attribute()?.store {
            Some(store) => store(bytes),
            None => Err(Errno::EIO),
        }
    }
}

struct Uevent(Arc<Device>);

impl Source for Uevent {
    fn show(&self, out: &mut Text) -> Result<()> {
        let mut text = String::new();
        tree::uevent(&self.0, &mut text)?;
        out.bytes(text.as_bytes())
    }

    fn store(&self, bytes: &[u8]) -> Result<()> {
        device::uevent::synthesise(&self.0, bytes)
    }
}

struct Number(Arc<Device>);

impl Source for Number {
    fn show(&self, out: &mut Text) -> Result<()> {
        let node = self.0.node().ok_or(Errno::ENODEV)?;
        writeln!(out, "{}:{}", node.major, node.minor)
    }
}

/// How many events of devices there have been.
struct Count;

impl Source for Count {
    fn show(&self, out: &mut Text) -> Result<()> {
        writeln!(out, "{}", uevent::seqnum())
    }
}

struct Fixed(&'static str);

impl Source for Fixed {
    fn show(&self, out: &mut Text) -> Result<()> {
        out.bytes(self.0.as_bytes())
    }
}

/// A binary attribute: read where it lies, as `config` of a PCI function.
struct Binary {
    device: Arc<Device>,
    index: usize,
}

impl FileOps for Binary {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let attribute = self
            .device
            .attributes()
            .get(self.index)
            .ok_or(Errno::ENODEV)?;
        let Content::Binary { bytes, read } = &attribute.content else {
            return Err(Errno::EIO);
        };
        let mut moved = 0;
        while *pos < *bytes && sink.remaining() > 0 {
            let mut chunk = [0; CHUNK];
            let left = usize::try_from(*bytes - *pos).unwrap_or(CHUNK);
            let want = CHUNK.min(left).min(sink.remaining());
            let Some(room) = chunk.get_mut(..want) else {
                break;
            };
            let got = read(*pos, room)?.min(want);
            let before = sink.done();
            let result = sink.put(room.get(..got).unwrap_or_default());
            let done = sink.done() - before;
            *pos += done as u64;
            moved += done;
            if moved == 0 {
                result?;
            }
            if done < want {
                break;
            }
        }
        Ok(moved)
    }

    fn write(&self, _file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        let attribute = self
            .device
            .attributes()
            .get(self.index)
            .ok_or(Errno::ENODEV)?;
        let store = attribute.store.as_ref().ok_or(Errno::EIO)?;
        let len = source.remaining();
        let mut bytes = [0; CHUNK];
        let bytes = bytes.get_mut(..len).ok_or(Errno::EINVAL)?;
        source.take(bytes)?;
        store(bytes)?;
        Ok(len)
    }

    fn seekable(&self) -> bool {
        true
    }
}
