//! Unpacks the boot modules, plain or gzip'd cpio archives, into the root file system.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use abi::fs::{DevNum, FileTime};
use abi::{Errno, Result};
use cpio::{Entry, Reader};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use vfs::hash_component;

use crate::fs::dentry::{Cached, Dentry};
use crate::fs::inode::{FileKind, Inode, NewInode};
use crate::fs::tmpfs;

/// What an unpacked archive may take at most; a corrupt one must not eat the machine.
const MAX_UNPACKED: usize = 2 << 30;
/// About how much of a module is unpacked before its memory is given back.
const STEP: usize = 4 << 20;
/// By how much the buffer for unpacked data grows.
const MIN_STEP: usize = 1 << 20;
const MAX_STEP: usize = 16 << 20;

/// Hard links met so far, by device and inode number of the archive.
type Links = BTreeMap<(u32, u32, u32), Arc<Inode>>;

/// Unpacks one module below `root`: archives, plain or gzip'd, one behind the other.
pub struct Unpacker {
    root: Arc<Dentry>,
    links: Links,
    /// Directories and the times that the archive gives them: set at the end, as what is made in them changes theirs.
    dirs: Vec<(Arc<Inode>, u32)>,
    /// Entries unpacked.
    count: usize,
    /// Bytes of the module that are behind us.
    done: usize,
}

impl Unpacker {
    pub fn new(root: Arc<Dentry>) -> Self {
        Self {
            root,
            links: Links::new(),
            dirs: Vec::new(),
            count: 0,
            done: 0,
        }
    }

    /// Unpacks some of what is left of the module and answers how many bytes that were, or at its end the number of
    /// entries. What comes before an error is unpacked; the error is one line for the console.
    pub fn step(&mut self, left: &[u8]) -> ControlFlow<core::result::Result<usize, String>, usize> {
        if left.is_empty() {
            self.finish();
            return ControlFlow::Break(match self.done {
                0 => Err(String::from("it is empty")),
                _ => Ok(self.count),
            });
        }
        let rest = if cpio::is_gzip(left) {
            let unpacked = gunzip(left);
            let placed = self.unpack(&unpacked.content, 0, usize::MAX);
            // What is wrong with the compressed data is why the archive in it breaks off.
            let complete = unpacked.complete.map_err(String::from);
            complete.and(placed).map(|_| unpacked.rest)
        } else {
            self.unpack(left, self.done, STEP)
        };
        match rest {
            Ok(rest) => {
                let consumed = left.len() - rest.len();
                self.done += consumed;
                ControlFlow::Continue(consumed)
            }
            Err(line) => {
                self.finish();
                ControlFlow::Break(Err(line))
            }
        }
    }

    /// Nothing more comes: gives the directories their times.
    fn finish(&mut self) {
        for (inode, mtime) in self.dirs.drain(..) {
            set_times(&inode, mtime);
        }
    }

    /// Unpacks about `limit` bytes of an archive, at most to its end or to where a gzip file begins; answers what is
    /// left. `before` is how much of the archive is behind us.
    fn unpack<'a>(
        &mut self,
        archive: &'a [u8],
        before: usize,
        limit: usize,
    ) -> core::result::Result<&'a [u8], String> {
        let mut reader = Reader::new(archive);
        while let Some(entry) = reader.next() {
            let entry = entry.map_err(|mut error| {
                error.offset += before;
                format!("{error}")
            })?;
            let inode = place(&entry, &self.root, &mut self.links)
                .map_err(|error| format!("{}: {error}", String::from_utf8_lossy(entry.name)))?;
            if inode.is_dir() {
                self.dirs.push((inode, entry.mtime));
            } else {
                set_times(&inode, entry.mtime);
            }
            self.count += 1;
            if archive.len() - reader.rest().len() >= limit {
                break;
            }
        }
        Ok(reader.rest())
    }
}

/// What came of a gzip file.
struct Gunzipped<'a> {
    /// All of it, or as much as could be had.
    content: Vec<u8>,
    complete: core::result::Result<(), &'static str>,
    /// What follows the file.
    rest: &'a [u8],
}

fn gunzip(file: &[u8]) -> Gunzipped<'_> {
    let failed = |why| Gunzipped {
        content: Vec::new(),
        complete: Err(why),
        rest: &[],
    };
    let start = match cpio::gzip_header_len(file) {
        Ok(start) => start,
        Err(error) => return failed(error.what),
    };
    let data = file.get(start..).unwrap_or_default();
    let (content, inflated) = inflate_all(data);
    let behind = |read: usize| data.get(read..).unwrap_or_default();
    let complete = inflated.and_then(|read| match cpio::gzip_trailer(behind(read)) {
        Some(sums) if sums == (cpio::crc32(&content), content.len() as u32) => Ok(()),
        Some(_) => Err("wrong checksum in the gzip'd data"),
        None => Err("unexpected end of gzip'd data"),
    });
    let rest = inflated.map_or(&[][..], |read| behind(read + 8));
    Gunzipped {
        content,
        complete,
        rest,
    }
}

/// Inflates a stream into memory that grows with it; also answers how long the stream is.
fn inflate_all(data: &[u8]) -> (Vec<u8>, core::result::Result<usize, &'static str>) {
    let mut state = Box::<DecompressorOxide>::default();
    let mut out: Vec<u8> = Vec::new();
    let (mut read, mut written) = (0, 0);
    let result = loop {
        // Doubling, but never more at a time than what is known to be needed soon.
        let more = out.len().clamp(MIN_STEP, MAX_STEP);
        if out.len() >= MAX_UNPACKED || out.try_reserve_exact(more).is_err() {
            break Err("no memory for the gzip'd data");
        }
        out.resize(out.len() + more, 0);
        let input = data.get(read..).unwrap_or_default();
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, taken, made) = decompress(&mut state, input, &mut out, written, flags);
        read += taken;
        written += made;
        match status {
            TINFLStatus::Done => break Ok(read),
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::FailedCannotMakeProgress => break Err("unexpected end of gzip'd data"),
            _ => break Err("corrupt gzip'd data"),
        }
    };
    out.truncate(written);
    (out, result)
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

/// Makes an entry, less its times.
fn place(entry: &Entry<'_>, root: &Arc<Dentry>, links: &mut Links) -> Result<Arc<Inode>> {
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
        adopt(root.inode(), &new);
        return Ok(root.inode().clone());
    };
    let old = find(&dir, name);
    if let Some(old) = &old {
        if kind == FileKind::Dir && old.inode().is_dir() {
            adopt(old.inode(), &new);
            return Ok(old.inode().clone());
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
        tmpfs::fill(&inode, entry.data)?;
    }
    dir.insert(&Dentry::new_child(&dir, name, inode.clone()), true)?;
    Ok(inode)
}

/// Gives an existing directory the attributes of its entry.
fn adopt(inode: &Arc<Inode>, new: &NewInode) {
    inode.apply(&crate::fs::inode::SetAttr {
        mode: Some(new.mode),
        uid: Some(new.uid),
        gid: Some(new.gid),
        ..Default::default()
    });
}

fn set_times(inode: &Inode, mtime: u32) {
    let time = FileTime {
        sec: i64::from(mtime),
        nsec: 0,
    };
    inode.update_times(|times| {
        times.atime = time;
        times.mtime = time;
    });
}
