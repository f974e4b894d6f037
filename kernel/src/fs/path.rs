//! The path walk: from text to a place. One loop over components, on the dentry cache where it knows the answer.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::fs::{AT_FDCWD, MountFlags, NAME_MAX, PATH_MAX, ResolveFlags};
use abi::{Errno, Result};
use bitflags::bitflags;
use vfs::{Name, hash_component};

use crate::fs::context::FsContext;
use crate::fs::dentry::{Cached, Dentry};
use crate::fs::inode::{ChildPolicy, Inode, InodeFlags, LinkTarget};
use crate::fs::mount::Path;
use crate::fs::perm;
use crate::task::{self, Cred};

bitflags! {
    /// How a path is walked.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LookupFlags: u32 {
        /// A symlink as last component is followed.
        const FOLLOW = 1;
        /// The result must be a directory.
        const DIRECTORY = 2;
        /// The empty path means the starting place itself.
        const EMPTY = 4;
        /// Coming to a mount does not count as its use.
        const UNSEEN = 8;
    }
}

/// The most symlinks that one walk follows.
const MAX_LINKS: u32 = 40;

/// The last component of a path, whose directory has been found.
#[derive(Debug)]
pub enum Last {
    /// A name that may or may not exist.
    Name(Name),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path was only slashes.
    Root,
}

/// The directory of a path's last component.
pub struct Parent {
    pub dir: Path,
    pub last: Last,
    /// The path ended in a slash.
    pub slash: bool,
}

impl Parent {
    /// The name to be made; `.` and `..` and `/` exist already.
    pub fn new_name(&self) -> Result<&[u8]> {
        match &self.last {
            Last::Name(name) => Ok(name),
            _ => Err(Errno::EEXIST),
        }
    }
}

/// The text still to be walked: the caller's, or what a symlink put in its place.
struct Text<'a> {
    given: &'a [u8],
    spliced: Option<Vec<u8>>,
    at: usize,
}

impl Text<'_> {
    #[inline]
    fn all(&self) -> &[u8] {
        self.spliced.as_deref().unwrap_or(self.given)
    }
    #[inline]
    fn rest(&self) -> &[u8] {
        self.all().get(self.at..).unwrap_or_default()
    }
    /// Replaces what was walked by the text of a symlink.
    fn splice(&mut self, link: &[u8]) -> Result<()> {
        let rest = self.rest();
        let mut text = Vec::new();
        text.try_reserve_exact(link.len() + 1 + rest.len())
            .map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(link);
        if !rest.is_empty() {
            text.push(b'/');
            text.extend_from_slice(rest);
        }
        self.spliced = Some(text);
        self.at = 0;
        Ok(())
    }
}

/// A component found in the text.
struct Component {
    range: Range<usize>,
    hash: u64,
    /// Nothing but slashes follows.
    is_last: bool,
    /// Slashes follow.
    slash: bool,
}

/// A walk in progress.
pub struct Walk<'a> {
    cred: &'a Cred,
    context: &'a FsContext,
    /// Where `/` and the uppermost `..` lead; found when first needed.
    root: Option<Path>,
    at: Path,
    links: u32,
    resolve: ResolveFlags,
    /// See [`LookupFlags::UNSEEN`].
    unseen: bool,
}

impl<'a> Walk<'a> {
    /// A walk of the running task, from the directory that `dirfd` names.
    fn start(
        cred: &'a Cred,
        context: &'a FsContext,
        dirfd: i32,
        path: &[u8],
        resolve: ResolveFlags,
        may_be_empty: bool,
    ) -> Result<Self> {
        if path.is_empty() && !may_be_empty {
            return Err(Errno::ENOENT);
        }
        if path.first() == Some(&b'/') && resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let scoped = resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT);
        let start = if path.first() == Some(&b'/') && !scoped {
            context.root()
        } else if dirfd == AT_FDCWD {
            context.cwd()
        } else {
            let file = task::current().my_files().get_any(dirfd)?;
            if !path.is_empty() && !file.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
            file.path().clone()
        };
        let root = scoped.then(|| start.clone());
        Ok(Self {
            cred,
            context,
            root,
            at: start,
            links: 0,
            resolve,
            unseen: false,
        })
    }

    fn root(&mut self) -> Path {
        self.root.get_or_insert_with(|| self.context.root()).clone()
    }

    /// Goes to `/`, as the start of the path or of a symlink asks.
    fn jump_to_root(&mut self) -> Result<()> {
        if self.resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = self.root();
        if self.resolve.contains(ResolveFlags::NO_XDEV) && !Arc::ptr_eq(&root.mount, &self.at.mount)
        {
            return Err(Errno::EXDEV);
        }
        self.at = root;
        Ok(())
    }

    fn go_up(&mut self) -> Result<()> {
        let root = self.root();
        if self.at == root && self.resolve.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        let parent = self.at.parent(&root);
        if self.resolve.contains(ResolveFlags::NO_XDEV)
            && !Arc::ptr_eq(&parent.mount, &self.at.mount)
        {
            return Err(Errno::EXDEV);
        }
        self.at = parent;
        Ok(())
    }

    /// Finds the next component; `None` when only slashes are left.
    #[inline]
    fn next_component(text: &mut Text<'_>) -> Option<Component> {
        let all = text.all();
        let skip_slashes = |mut at: usize| {
            while all.get(at) == Some(&b'/') {
                at += 1;
            }
            at
        };
        let start = skip_slashes(text.at);
        let rest = all.get(start..).filter(|rest| !rest.is_empty())?;
        let (len, hash) = hash_component(rest);
        let end = start + len;
        let after = skip_slashes(end);
        let is_last = after == all.len();
        let slash = after != end;
        // Slashes at the very end stay: put behind a symlink's text, they ask it to be a directory.
        text.at = if is_last { end } else { after };
        Some(Component {
            range: start..end,
            hash,
            is_last,
            slash,
        })
    }

    /// The child of the present directory, mounts on it included. ENOENT if there is none.
    #[inline]
    fn step(&mut self, name: &[u8], hash: u64) -> Result<Path> {
        let dentry = find_child(&self.at.dentry, name, hash)?;
        self.enter(dentry)
    }

    /// The place of a child of the present directory: itself, or what is mounted on it.
    fn enter(&mut self, dentry: Arc<Dentry>) -> Result<Path> {
        let next = Path {
            mount: self.at.mount.clone(),
            dentry,
        };
        if !next.dentry.is_mountpoint() {
            return Ok(next);
        }
        let below = if self.unseen {
            next.descend_unseen()
        } else {
            next.descend()
        };
        if self.resolve.contains(ResolveFlags::NO_XDEV)
            && !Arc::ptr_eq(&below.mount, &self.at.mount)
        {
            return Err(Errno::EXDEV);
        }
        Ok(below)
    }

    /// Follows the symlink at `link`: jumps, or puts its text before the rest.
    fn follow(&mut self, link: Path, text: &mut Text<'_>) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS || self.resolve.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        if link.mount.flags().contains(MountFlags::NOSYMFOLLOW) {
            return Err(Errno::ELOOP);
        }
        let inode = link.inode();
        if inode.flags().contains(InodeFlags::MAGIC_LINK)
            && self.resolve.contains(ResolveFlags::NO_MAGICLINKS)
        {
            return Err(Errno::ELOOP);
        }
        match inode.ops.follow_link(inode)? {
            LinkTarget::Place(place) => {
                let scoped = ResolveFlags::BENEATH | ResolveFlags::IN_ROOT;
                if self.resolve.intersects(scoped)
                    || (self.resolve.contains(ResolveFlags::NO_XDEV)
                        && !Arc::ptr_eq(&place.mount, &self.at.mount))
                {
                    return Err(Errno::EXDEV);
                }
                self.at = place;
            }
            LinkTarget::Text(target) => {
                if target.is_empty() {
                    return Err(Errno::ENOENT);
                }
                inode.touch_accessed();
                if target.first() == Some(&b'/') {
                    self.jump_to_root()?;
                }
                text.splice(&target)?;
            }
        }
        Ok(())
    }

    /// Walks all but the last component.
    fn walk_to_last(&mut self, text: &mut Text<'_>) -> Result<Option<Component>> {
        loop {
            let Some(component) = Self::next_component(text) else {
                return Ok(None);
            };
            let inode = self.at.dentry.inode();
            if !inode.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            perm::check_search(inode, self.cred)?;
            if component.is_last {
                return Ok(Some(component));
            }
            let name = text.all().get(component.range).unwrap_or_default();
            match name {
                b"." => continue,
                b".." => {
                    self.go_up()?;
                    continue;
                }
                _ => {}
            }
            let dentry = find_child(&self.at.dentry, name, component.hash)?;
            // Nearly always: a directory of the same mount, whose reference stays.
            if dentry.inode().is_dir() && !dentry.is_mountpoint() {
                self.at.dentry = dentry;
                continue;
            }
            let next = self.enter(dentry)?;
            if next.inode().is_symlink() {
                self.follow(next, text)?;
            } else if next.inode().is_dir() {
                self.at = next;
            } else {
                return Err(Errno::ENOTDIR);
            }
        }
    }

    /// Walks the whole path.
    pub fn full(mut self, path: &[u8], flags: LookupFlags) -> Result<Path> {
        self.unseen = flags.contains(LookupFlags::UNSEEN);
        let mut text = self.begin(path, flags.contains(LookupFlags::EMPTY))?;
        while let Some(component) = self.walk_to_last(&mut text)? {
            let name = text.all().get(component.range.clone()).unwrap_or_default();
            let follow = flags.contains(LookupFlags::FOLLOW) || component.slash;
            match name {
                b"." => break,
                b".." => {
                    self.go_up()?;
                    break;
                }
                _ => {}
            }
            let dentry = find_child(&self.at.dentry, name, component.hash)?;
            if dentry.inode().is_regular() && !component.slash && !dentry.is_mountpoint() {
                self.at.dentry = dentry;
                break;
            }
            let next = self.enter(dentry)?;
            if follow && next.inode().is_symlink() {
                self.follow(next, &mut text)?;
                continue;
            }
            if component.slash && !next.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
            self.at = next;
            break;
        }
        if flags.contains(LookupFlags::DIRECTORY) && !self.at.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.at)
    }

    /// Walks to the directory of the last component.
    pub fn parent(mut self, path: &[u8]) -> Result<Parent> {
        let mut text = self.begin(path, false)?;
        let Some(component) = self.walk_to_last(&mut text)? else {
            return Ok(Parent {
                dir: self.at,
                last: Last::Root,
                slash: true,
            });
        };
        Ok(Parent {
            dir: self.at,
            last: last_of(&text, &component),
            slash: component.slash,
        })
    }

    /// As [`Self::parent`], but where the last component is a symlink, goes on to the directory of its target: what
    /// an open that may create does. The place itself is returned too, if it exists.
    pub fn parent_following(mut self, path: &[u8], follow: bool) -> Result<(Parent, Option<Path>)> {
        let mut text = self.begin(path, false)?;
        loop {
            let Some(component) = self.walk_to_last(&mut text)? else {
                let at = self.at;
                let parent = Parent {
                    dir: at.clone(),
                    last: Last::Root,
                    slash: true,
                };
                return Ok((parent, Some(at)));
            };
            let last = last_of(&text, &component);
            let dir = self.at.clone();
            let slash = component.slash;
            match &last {
                // A name to be made cannot end in a slash, whatever is there: the caller says so.
                Last::Name(_) if slash => return Ok((Parent { dir, last, slash }, None)),
                Last::Name(name) => match self.step(name, component.hash) {
                    Ok(next) if follow && next.inode().is_symlink() => {
                        self.follow(next, &mut text)?;
                    }
                    Ok(next) => return Ok((Parent { dir, last, slash }, Some(next))),
                    Err(Errno::ENOENT) => return Ok((Parent { dir, last, slash }, None)),
                    Err(error) => return Err(error),
                },
                Last::DotDot => {
                    self.go_up()?;
                    return Ok((Parent { dir, last, slash }, Some(self.at)));
                }
                Last::Dot | Last::Root => {
                    return Ok((
                        Parent {
                            dir: dir.clone(),
                            last,
                            slash,
                        },
                        Some(dir),
                    ));
                }
            }
        }
    }

    fn begin<'t>(&mut self, path: &'t [u8], may_be_empty: bool) -> Result<Text<'t>> {
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        match path.first() {
            None if !may_be_empty => return Err(Errno::ENOENT),
            Some(b'/') if self.resolve.contains(ResolveFlags::BENEATH) => {
                return Err(Errno::EXDEV);
            }
            // For a slash, `start` began at the root already, or at the root that the walk is scoped to.
            _ => {}
        }
        Ok(Text {
            given: path,
            spliced: None,
            at: 0,
        })
    }
}

fn last_of(text: &Text<'_>, component: &Component) -> Last {
    match text.all().get(component.range.clone()).unwrap_or_default() {
        b"." => Last::Dot,
        b".." => Last::DotDot,
        name => Last::Name(Name::from_slice(name)),
    }
}

/// The child `name` of a directory: from the cache, else from the file system.
#[inline]
pub fn find_child(dir: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
    match dir.find(name, hash) {
        Cached::Present(dentry) => {
            let inode = dentry.inode();
            if inode.flags().contains(InodeFlags::REVALIDATE) && !inode.ops.revalidate(inode) {
                dir.remove(&dentry);
                return find_slow(dir, name, hash);
            }
            Ok(dentry)
        }
        Cached::Absent => Err(Errno::ENOENT),
        Cached::Unknown => find_slow(dir, name, hash),
    }
}

#[cold]
fn find_slow(dir: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
    check_length(name)?;
    let policy = dir.inode().ops.child_policy();
    match policy {
        ChildPolicy::Pinned => return Err(Errno::ENOENT),
        ChildPolicy::Uncached => {
            let inode = dir.inode().ops.lookup(dir.inode(), name)?;
            return Ok(Dentry::new_child(dir, name, inode));
        }
        ChildPolicy::Cached => {}
    }
    let _guard = dir.inode().lock.lock();
    find_locked(dir, name, hash)
}

/// A name that is too long is refused where it is looked for: no cache holds one.
fn check_length(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}

/// As [`find_child`], with the directory's lock held.
pub fn find_locked(dir: &Arc<Dentry>, name: &[u8], hash: u64) -> Result<Arc<Dentry>> {
    match dir.find(name, hash) {
        Cached::Present(dentry) => return Ok(dentry),
        Cached::Absent => return Err(Errno::ENOENT),
        Cached::Unknown => {}
    }
    check_length(name)?;
    let policy = dir.inode().ops.child_policy();
    if policy == ChildPolicy::Pinned {
        return Err(Errno::ENOENT);
    }
    match dir.inode().ops.lookup(dir.inode(), name) {
        Ok(inode) => {
            let dentry = Dentry::new_child(dir, name, inode);
            if policy == ChildPolicy::Cached {
                dir.insert(&dentry, false)?;
            }
            Ok(dentry)
        }
        Err(Errno::ENOENT) => {
            if policy == ChildPolicy::Cached {
                dir.insert_absent(name, hash);
            }
            Err(Errno::ENOENT)
        }
        Err(error) => Err(error),
    }
}

/// Whether changes under this directory must keep the `readdir` order of the tree.
pub fn is_pinned(dir: &Inode) -> bool {
    dir.ops.child_policy() == ChildPolicy::Pinned
}

/// The place that a path of the running task names.
pub fn lookup(dirfd: i32, path: &[u8], flags: LookupFlags) -> Result<Path> {
    let task = task::current();
    let (cred, context) = (task.my_cred(), task.my_fs());
    Walk::start(
        &cred,
        &context,
        dirfd,
        path,
        ResolveFlags::empty(),
        flags.contains(LookupFlags::EMPTY),
    )?
    .full(path, flags)
}

/// As [`lookup`], with other credentials (those of `access`).
pub fn lookup_as(dirfd: i32, path: &[u8], flags: LookupFlags, cred: &Cred) -> Result<Path> {
    let task = task::current();
    let context = task.my_fs();
    Walk::start(
        cred,
        &context,
        dirfd,
        path,
        ResolveFlags::empty(),
        flags.contains(LookupFlags::EMPTY),
    )?
    .full(path, flags)
}

/// The directory of the last component of a path of the running task.
pub fn lookup_parent(dirfd: i32, path: &[u8]) -> Result<Parent> {
    let task = task::current();
    let (cred, context) = (task.my_cred(), task.my_fs());
    Walk::start(&cred, &context, dirfd, path, ResolveFlags::empty(), false)?.parent(path)
}

/// A walk of the running task for an open.
pub fn open_walk<'a>(
    cred: &'a Cred,
    context: &'a FsContext,
    dirfd: i32,
    path: &[u8],
    resolve: ResolveFlags,
) -> Result<Walk<'a>> {
    Walk::start(cred, context, dirfd, path, resolve, false)
}
