//! Opening files: flags, permissions, creation, truncation, and which operations serve the new file.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{
    AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, DevNum, MountFlags, OpenFlags, R_OK,
    ResolveFlags, S_IALLUGO, W_OK, X_OK,
};
use abi::{Errno, Result};

use crate::fs::context::FsContext;
use crate::fs::file::{File, FileMode, FileOpsRef};
use crate::fs::inode::{FileKind, Inode, InodeFlags, SetAttr};
use crate::fs::mount::Path;
use crate::fs::namei::{self, Make};
use crate::fs::notify::{self, Event};
use crate::fs::path::{self, Goal, Last, LookupFlags, Start, Walk};
use crate::fs::{attr, chrdev, fifo, lease, memfd, perm};
use crate::task::{self, Cred};

/// An open, its flags checked and completed.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    pub flags: OpenFlags,
    /// Permission bits of a file to be made, before the umask.
    pub mode: u32,
    pub resolve: ResolveFlags,
}

const KNOWN: OpenFlags = OpenFlags::all();
const WITH_PATH: OpenFlags = OpenFlags::DIRECTORY
    .union(OpenFlags::NOFOLLOW)
    .union(OpenFlags::PATH)
    .union(OpenFlags::CLOEXEC);
/// What only guides the open and is not kept.
const TRANSIENT: OpenFlags = OpenFlags::CREAT
    .union(OpenFlags::EXCL)
    .union(OpenFlags::NOCTTY)
    .union(OpenFlags::TRUNC)
    .union(OpenFlags::CLOEXEC);

impl OpenRequest {
    /// From `open` and `openat`, which ignore unknown flags.
    pub fn lenient(flags: u32, mode: u32) -> Result<Self> {
        let mut flags = OpenFlags::from_bits_retain(flags) & KNOWN;
        if flags.contains(OpenFlags::PATH) {
            flags &= WITH_PATH;
        } else {
            flags |= OpenFlags::LARGEFILE;
        }
        Self::check(Self {
            flags,
            mode: mode & S_IALLUGO,
            resolve: ResolveFlags::empty(),
        })
    }

    /// From `openat2`, which refuses what it does not know.
    pub fn strict(flags: u64, mode: u64, resolve: u64) -> Result<Self> {
        let bits = u32::try_from(flags).map_err(|_| Errno::EINVAL)?;
        let mut flags = OpenFlags::from_bits(bits).ok_or(Errno::EINVAL)?;
        let resolve = ResolveFlags::from_bits(resolve).ok_or(Errno::EINVAL)?;
        if resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            return Err(Errno::EINVAL);
        }
        let makes = flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE_BIT);
        if mode > u64::from(S_IALLUGO) || (!makes && mode != 0) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(OpenFlags::PATH) && !WITH_PATH.contains(flags) {
            return Err(Errno::EINVAL);
        }
        if resolve.contains(ResolveFlags::CACHED) {
            if flags.intersects(OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::TMPFILE_BIT) {
                return Err(Errno::EAGAIN);
            }
            return Err(Errno::EAGAIN);
        }
        if !flags.contains(OpenFlags::PATH) {
            flags |= OpenFlags::LARGEFILE;
        }
        Self::check(Self {
            flags,
            mode: mode as u32,
            resolve,
        })
    }

    fn check(mut self) -> Result<Self> {
        let flags = &mut self.flags;
        if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(OpenFlags::TMPFILE_BIT) {
            let writes = matches!(flags.access_mode(), 1 | 2);
            if !flags.contains(OpenFlags::DIRECTORY) || !writes || flags.contains(OpenFlags::CREAT)
            {
                return Err(Errno::EINVAL);
            }
        }
        if flags.contains(OpenFlags::SYNC_BIT) {
            *flags |= OpenFlags::DSYNC;
        }
        Ok(self)
    }

    /// The access to check: read and write as the mode says, write for truncation too.
    fn access(&self) -> u32 {
        let mut mask = match self.flags.access_mode() {
            0 => R_OK,
            1 => W_OK,
            _ => R_OK | W_OK,
        };
        if self.flags.contains(OpenFlags::TRUNC) {
            mask |= W_OK;
        }
        mask
    }
}

/// Opens for the running task.
pub fn open(dirfd: i32, path: &[u8], request: &OpenRequest) -> Result<Arc<File>> {
    let task = task::current();
    let (cred, context) = (task.my_cred(), task.my_fs());
    let flags = request.flags;
    let creates = flags.contains(OpenFlags::CREAT);
    let start = Start {
        dirfd,
        path,
        resolve: request.resolve,
        may_be_empty: false,
        unseen: false,
        goal: if creates { Goal::Parent } else { Goal::Place },
    };
    if creates {
        let walk = Walk::start(&cred, &context, &start)?;
        return open_create(walk, request, &cred, &context);
    }
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, !flags.contains(OpenFlags::NOFOLLOW));
    lookup.set(LookupFlags::DIRECTORY, flags.contains(OpenFlags::DIRECTORY));
    let place = path::find_place(&cred, &context, &start, lookup)?;
    open_existing(place, request, &cred, &context)
}

/// Opens a place that a walk found; with `O_TMPFILE` it is the directory of a new file.
fn open_existing(
    place: Path,
    request: &OpenRequest,
    cred: &Arc<Cred>,
    context: &FsContext,
) -> Result<Arc<File>> {
    let flags = request.flags;
    if flags.contains(OpenFlags::TMPFILE_BIT) {
        let mode = request.mode & !context.umask();
        let linkable = !flags.contains(OpenFlags::EXCL);
        let made = namei::make_unnamed(&place, mode, linkable, cred)?;
        return finish(made, request, cred, true);
    }
    open_place(place, request, cred)
}

/// Opens a place that was found without a walk, for the running task.
pub fn open_found_place(place: Path, request: &OpenRequest) -> Result<Arc<File>> {
    let task = task::current();
    let (cred, context) = (task.my_cred(), task.my_fs());
    if request.flags.contains(OpenFlags::CREAT) {
        return open_found(place, request, &cred);
    }
    if request.flags.contains(OpenFlags::DIRECTORY) && !place.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    open_existing(place, request, &cred, &context)
}

fn open_create(
    walk: Walk<'_>,
    request: &OpenRequest,
    cred: &Arc<Cred>,
    context: &FsContext,
) -> Result<Arc<File>> {
    let flags = request.flags;
    let follow = !flags.intersects(OpenFlags::NOFOLLOW | OpenFlags::EXCL);
    let (parent, found) = walk.parent_following(follow)?;
    let Last::Name(name) = &parent.last else {
        // `.`, `..` and `/` exist.
        return open_found(found.unwrap_or(parent.dir), request, cred);
    };
    if parent.slash {
        return Err(Errno::EISDIR);
    }
    if let Some(place) = found {
        return open_found(place, request, cred);
    }
    let guard = parent.dir.inode().lock.lock();
    let (_, hash) = vfs::hash_component(name);
    match path::find_locked(&parent.dir.dentry, name, hash) {
        // Somebody was faster.
        Ok(dentry) => {
            drop(guard);
            let place = Path {
                mount: parent.dir.mount.clone(),
                dentry,
            }
            .descend();
            return open_found(place, request, cred);
        }
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    parent.dir.check_writable()?;
    let mode = request.mode & !context.umask();
    let node = Make::Node {
        kind: FileKind::Regular,
        mode,
        rdev: DevNum(0),
    };
    let made = namei::make_locked(&parent.dir, name, &node, cred)?;
    drop(guard);
    finish(made, request, cred, true)
}

/// Opens what an open with `O_CREAT` found to exist.
fn open_found(place: Path, request: &OpenRequest, cred: &Arc<Cred>) -> Result<Arc<File>> {
    if request.flags.contains(OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if place.inode().is_dir() {
        return Err(Errno::EISDIR);
    }
    open_place(place, request, cred)
}

/// Opens a file that the caller has just made, whatever its mode.
pub fn open_made(place: Path, request: &OpenRequest, cred: &Arc<Cred>) -> Result<Arc<File>> {
    finish(place, request, cred, true)
}

/// Opens a place that exists, with all checks.
pub fn open_place(place: Path, request: &OpenRequest, cred: &Arc<Cred>) -> Result<Arc<File>> {
    let flags = request.flags;
    if flags.contains(OpenFlags::PATH) {
        let ops = FileOpsRef::Static(&PathOnly);
        return Ok(File::new(
            place,
            ops,
            flags - OpenFlags::CLOEXEC,
            FileMode::PATH,
            cred.clone(),
        ));
    }
    check_open(&place, request, cred)?;
    finish(place, request, cred, false)
}

/// What `may_open` checks, in its order.
fn check_open(place: &Path, request: &OpenRequest, cred: &Cred) -> Result<()> {
    let inode = place.inode();
    let access = request.access();
    match inode.kind {
        FileKind::Symlink => return Err(Errno::ELOOP),
        FileKind::Dir if access & W_OK != 0 => return Err(Errno::EISDIR),
        FileKind::Char | FileKind::Block if place.mount.flags().contains(MountFlags::NODEV) => {
            return Err(Errno::EACCES);
        }
        FileKind::Regular | FileKind::Dir
            if access & W_OK != 0 && place.mount.sb.is_read_only() =>
        {
            return Err(Errno::EROFS);
        }
        _ => {}
    }
    perm::check(inode, access, cred)?;
    if inode.flags().contains(InodeFlags::APPEND) {
        let writes = request.flags.access_mode() != 0;
        if request.flags.contains(OpenFlags::TRUNC)
            || (writes && !request.flags.contains(OpenFlags::APPEND))
        {
            return Err(Errno::EPERM);
        }
    }
    if request.flags.contains(OpenFlags::NOATIME) && !perm::is_owner(inode, cred) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// The operations that serve an open of the inode.
fn operations(place: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    let inode = place.inode();
    match inode.kind {
        FileKind::Char => chrdev::open(place, flags),
        FileKind::Fifo => fifo::open(inode, flags),
        // No driver serves block devices; sockets are connected to.
        FileKind::Block | FileKind::Socket => Err(Errno::ENXIO),
        _ => inode.ops.open(inode, flags),
    }
}

/// Makes the file; permissions are checked. `created`: the caller has just made the inode.
fn finish(
    place: Path,
    request: &OpenRequest,
    cred: &Arc<Cred>,
    created: bool,
) -> Result<Arc<File>> {
    let flags = request.flags;
    let inode = place.inode();
    let mut mode = match flags.access_mode() {
        0 => FileMode::READ,
        1 => FileMode::WRITE,
        2 => FileMode::READ | FileMode::WRITE,
        _ => FileMode::empty(),
    };
    if created {
        mode |= FileMode::CREATED;
    }
    let truncate = flags.contains(OpenFlags::TRUNC) && inode.is_regular() && !created;
    let counted = Writer::count(&place, truncate || mode.contains(FileMode::WRITE))?;
    let reads = Reader::count(inode, mode);
    if inode.is_regular() && !mode.is_empty() {
        let writes = mode.contains(FileMode::WRITE);
        lease::break_for(inode, writes, flags.contains(OpenFlags::NONBLOCK))?;
    }
    let ops = operations(&place, flags)?;
    if truncate {
        truncate_open(inode, cred)?;
    }
    if counted.keep(mode.contains(FileMode::WRITE)) {
        mode |= FileMode::WRITER;
    }
    if reads.keep() {
        mode |= FileMode::READER;
    }
    let file = File::new(place, ops, flags - TRANSIENT, mode, cred.clone());
    notify::file_event(&file, Event::OPEN);
    if truncate {
        notify::file_event(&file, Event::MODIFY);
    }
    Ok(file)
}

/// The count of an open that only reads, taken back unless kept.
struct Reader<'a>(Option<&'a Inode>);

impl<'a> Reader<'a> {
    fn count(inode: &'a Inode, mode: FileMode) -> Self {
        let counts =
            inode.is_regular() && mode & (FileMode::READ | FileMode::WRITE) == FileMode::READ;
        if counts {
            inode.get_read();
        }
        Self(counts.then_some(inode))
    }

    /// Leaves the count to the file; true if there is one.
    fn keep(mut self) -> bool {
        self.0.take().is_some()
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(inode) = self.0 {
            inode.put_read();
        }
    }
}

/// The counts of a writer, taken back unless kept.
struct Writer<'a>(Option<&'a Path>);

impl<'a> Writer<'a> {
    /// Counts if the file is one whose writers count, and is opened to write.
    fn count(place: &'a Path, writes: bool) -> Result<Self> {
        let inode: &Arc<Inode> = place.inode();
        if !writes || !inode.is_regular() {
            return Ok(Self(None));
        }
        inode.get_write()?;
        if let Err(error) = place.mount.get_write() {
            inode.put_write();
            return Err(error);
        }
        Ok(Self(Some(place)))
    }

    /// Leaves the counts to the file, if it writes; true if there are any.
    fn keep(mut self, writes: bool) -> bool {
        if writes {
            self.0.take().is_some()
        } else {
            false
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.inode().put_write();
            place.mount.put_write();
        }
    }
}

fn truncate_open(inode: &Arc<Inode>, cred: &Cred) -> Result<()> {
    let _guard = inode.lock.lock();
    perm::drop_privileges_on_write(inode, cred);
    memfd::check_truncate(inode, 0)?;
    inode.ops.truncate(inode, 0)
}

/// Opens a program for `execve`: executable, regular, on a mount that allows it, and closed to writers meanwhile.
///
/// `at_flags` are those of `execveat`. Also gives the name by which scripts are told of the file.
pub fn open_exec_at(dirfd: i32, path: &[u8], at_flags: u32) -> Result<(Arc<File>, Vec<u8>)> {
    if at_flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut flags = LookupFlags::empty();
    flags.set(LookupFlags::FOLLOW, at_flags & AT_SYMLINK_NOFOLLOW == 0);
    flags.set(LookupFlags::EMPTY, at_flags & AT_EMPTY_PATH != 0);
    let place = path::lookup(dirfd, path, flags)?;
    let task = task::current();
    let cred = task.my_cred();
    let inode = place.inode();
    if inode.is_symlink() {
        return Err(Errno::ELOOP);
    }
    perm::check(inode, X_OK, &cred)?;
    if !inode.is_regular() || place.mount.flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES);
    }
    lease::break_for(inode, false, false)?;
    inode.deny_write()?;
    let ops = match inode.ops.open(inode, OpenFlags::empty()) {
        Ok(ops) => ops,
        Err(error) => {
            inode.allow_write();
            return Err(error);
        }
    };
    let mode = FileMode::READ | FileMode::EXEC;
    let file = File::new(place, ops, OpenFlags::LARGEFILE, mode, cred.clone());
    let name = if dirfd == AT_FDCWD || path.first() == Some(&b'/') {
        path.to_vec()
    } else if path.is_empty() {
        format!("/dev/fd/{dirfd}").into_bytes()
    } else {
        let mut name = format!("/dev/fd/{dirfd}/").into_bytes();
        name.extend_from_slice(path);
        name
    };
    Ok((file, name))
}

/// Truncates by path or descriptor, all checks of the file's kind done.
pub fn truncate(inode: &Arc<Inode>, size: u64, cred: &Cred) -> Result<()> {
    attr::check_size_limit(inode, size)?;
    if inode.flags().contains(InodeFlags::APPEND) {
        return Err(Errno::EPERM);
    }
    let _guard = inode.lock.lock();
    memfd::check_truncate(inode, size)?;
    perm::drop_privileges_on_write(inode, cred);
    inode.ops.truncate(inode, size)
}

/// Changes attributes and tells the watchers.
pub fn set_attr(place: &Path, set: &SetAttr) -> Result<()> {
    let inode = place.inode();
    inode.ops.setattr(inode, set)?;
    let only_times = set.mode.is_none() && set.uid.is_none() && set.gid.is_none();
    let event = match (set.atime, set.mtime) {
        (Some(_), None) if only_times => Event::ACCESS,
        (None, Some(_)) if only_times => Event::MODIFY,
        _ => Event::ATTRIB,
    };
    notify::dentry_event(&place.dentry, event);
    Ok(())
}

/// A file opened with `O_PATH` does nothing.
struct PathOnly;
impl crate::fs::file::FileOps for PathOnly {
    fn poll(
        &self,
        _file: &File,
        _table: Option<&mut crate::sync::PollTable>,
    ) -> abi::poll::PollEvents {
        abi::poll::PollEvents::NVAL
    }
}
