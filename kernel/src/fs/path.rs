//! The path walk: from text to a place.
//!
//! A walk goes in strides: over directories that the cache knows, and what is mounted on them, which the caller may
//! search, without a lock or a count. Whatever needs a second look ends a stride and takes a step: a symlink, a mount on
//! a mount, `..`, a name that the cache does not know, a refusal. After it the next stride begins.

use alloc::sync::Arc;

use abi::fs::{AT_FDCWD, MountFlags, NAME_MAX, PATH_MAX, ResolveFlags};
use abi::{Errno, Result};
use bitflags::bitflags;
use ksync::Section;
use vfs::Name;

use crate::fs::context::FsContext;
use crate::fs::dentry::{Cached, Dentry};
use crate::fs::file::File;
use crate::fs::inode::{ChildPolicy, Inode, InodeFlags, LinkTarget};
use crate::fs::mount::Path;
use crate::fs::perm;
use crate::fs::text::{Component, Text};
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

/// How far a walk goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The place that the path names.
    Place,
    /// The directory of its last component.
    Parent,
}

/// What a walk begins with.
pub struct Start<'a> {
    pub dirfd: i32,
    pub path: &'a [u8],
    pub resolve: ResolveFlags,
    pub may_be_empty: bool,
    /// See [`LookupFlags::UNSEEN`].
    pub unseen: bool,
    pub goal: Goal,
}

/// What ended a stride.
struct Stop {
    component: Component,
    /// What the cache knows by its name.
    child: Option<Arc<Dentry>>,
}

/// What the first stride of a walk came to.
struct First<'a> {
    text: Text<'a>,
    at: Path,
    stop: Option<Stop>,
    /// What the walk may not leave.
    scope: Option<Path>,
}

/// A walk in progress.
pub struct Walk<'a> {
    cred: &'a Cred,
    context: &'a FsContext,
    text: Text<'a>,
    goal: Goal,
    /// Where `/` and the uppermost `..` lead; found when first needed.
    root: Option<Path>,
    at: Path,
    /// What the first stride ended at.
    stop: Option<Stop>,
    links: u32,
    resolve: ResolveFlags,
    /// See [`LookupFlags::UNSEEN`].
    unseen: bool,
}

impl<'a> Walk<'a> {
    /// A walk of the running task, from the directory that `dirfd` names: the first stride of it.
    pub fn start(cred: &'a Cred, context: &'a FsContext, start: &Start<'a>) -> Result<Self> {
        let first = first_stride(cred, context, start)?;
        Ok(Self::after(first, cred, context, start))
    }

    fn after(first: First<'a>, cred: &'a Cred, context: &'a FsContext, start: &Start<'a>) -> Self {
        Self {
            cred,
            context,
            text: first.text,
            goal: start.goal,
            root: first.scope,
            at: first.at,
            stop: first.stop,
            links: 0,
            resolve: start.resolve,
            unseen: start.unseen,
        }
    }

    /// Goes on as far as a stride leads; what ended it, `None` if the text is at its end.
    #[inline]
    fn next(&mut self) -> Option<Stop> {
        if let Some(stop) = self.stop.take() {
            return Some(stop);
        }
        if self.text.is_at_end() {
            return None;
        }
        let rules = Rules {
            goal: self.goal,
            crosses: !self.unseen && !self.resolve.contains(ResolveFlags::NO_XDEV),
        };
        let (at, stop) = stride(&self.at, &mut self.text, rules, self.cred);
        self.at = at;
        stop
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

    /// The child of the present directory that a stride ended at, mounts on it included. ENOENT if there is none.
    #[inline]
    fn step(&mut self, stop: Stop) -> Result<Path> {
        let dentry = match stop.child {
            Some(child) => child,
            None => {
                let name = self.text.name(&stop.component);
                find_child(&self.at.dentry, name, stop.component.hash)?
            }
        };
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
    fn follow(&mut self, link: Path) -> Result<()> {
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
                self.text.splice(&target)?;
            }
        }
        Ok(())
    }

    /// Walks all but the last component; `None` if the strides came to the end.
    fn walk_to_last(&mut self) -> Result<Option<Stop>> {
        loop {
            let Some(stop) = self.next() else {
                return Ok(None);
            };
            let inode = self.at.dentry.inode();
            if !inode.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            perm::check_search(inode, self.cred)?;
            if stop.component.is_last {
                return Ok(Some(stop));
            }
            match self.text.name(&stop.component) {
                b"." => continue,
                b".." => {
                    self.go_up()?;
                    continue;
                }
                _ => {}
            }
            let next = self.step(stop)?;
            if next.inode().is_symlink() {
                self.follow(next)?;
            } else if next.inode().is_dir() {
                self.at = next;
            } else {
                return Err(Errno::ENOTDIR);
            }
        }
    }

    /// Walks the whole path.
    fn full(mut self, flags: LookupFlags) -> Result<Path> {
        while let Some(stop) = self.walk_to_last()? {
            let slash = stop.component.slash;
            match self.text.name(&stop.component) {
                b"." => break,
                b".." => {
                    self.go_up()?;
                    break;
                }
                _ => {}
            }
            let next = self.step(stop)?;
            if (slash || flags.contains(LookupFlags::FOLLOW)) && next.inode().is_symlink() {
                self.follow(next)?;
                continue;
            }
            if slash && !next.inode().is_dir() {
                return Err(Errno::ENOTDIR);
            }
            self.at = next;
            break;
        }
        as_asked(self.at, flags)
    }

    /// Walks to the directory of the last component.
    pub fn parent(mut self) -> Result<Parent> {
        let Some(stop) = self.walk_to_last()? else {
            return Ok(Parent {
                dir: self.at,
                last: Last::Root,
                slash: true,
            });
        };
        Ok(Parent {
            last: last_of(self.text.name(&stop.component)),
            dir: self.at,
            slash: stop.component.slash,
        })
    }

    /// As [`Self::parent`], but where the last component is a symlink, goes on to the directory of its target: what
    /// an open that may create does. The place itself is returned too, if it exists.
    pub fn parent_following(mut self, follow: bool) -> Result<(Parent, Option<Path>)> {
        loop {
            let Some(stop) = self.walk_to_last()? else {
                let at = self.at;
                let parent = Parent {
                    dir: at.clone(),
                    last: Last::Root,
                    slash: true,
                };
                return Ok((parent, Some(at)));
            };
            let last = last_of(self.text.name(&stop.component));
            let dir = self.at.clone();
            let slash = stop.component.slash;
            match &last {
                // A name to be made cannot end in a slash, whatever is there: the caller says so.
                Last::Name(_) if slash => return Ok((Parent { dir, last, slash }, None)),
                Last::Name(_) => match self.step(stop) {
                    Ok(next) if follow && next.inode().is_symlink() => {
                        self.follow(next)?;
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
}

/// The place, if it is what the flags ask for.
#[inline]
fn as_asked(place: Path, flags: LookupFlags) -> Result<Path> {
    if flags.contains(LookupFlags::DIRECTORY) && !place.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    Ok(place)
}

/// The directory that relative paths begin at.
fn directory(dirfd: i32, path: &[u8]) -> Result<Arc<File>> {
    let file = task::current().my_files().get_any(dirfd)?;
    if !path.is_empty() && !file.inode().is_dir() {
        return Err(Errno::ENOTDIR);
    }
    Ok(file)
}

/// The directory that a walk may not leave.
#[cold]
fn scope_of(context: &FsContext, dirfd: i32, path: &[u8]) -> Result<Path> {
    if dirfd == AT_FDCWD {
        return Ok(context.cwd());
    }
    Ok(directory(dirfd, path)?.path().clone())
}

#[inline]
fn first_stride<'a>(cred: &Cred, context: &FsContext, start: &Start<'a>) -> Result<First<'a>> {
    let Start { path, resolve, .. } = *start;
    let absolute = path.first() == Some(&b'/');
    if path.is_empty() && !start.may_be_empty {
        return Err(Errno::ENOENT);
    }
    if absolute && resolve.contains(ResolveFlags::BENEATH) {
        return Err(Errno::EXDEV);
    }
    if path.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut text = Text::new(path);
    let rules = Rules {
        goal: start.goal,
        crosses: !start.unseen && !resolve.contains(ResolveFlags::NO_XDEV),
    };
    let mut from = |place: &Path| stride(place, &mut text, rules, cred);
    let mut scope = None;
    let (at, stop) = if resolve.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
        let place = scope_of(context, start.dirfd, path)?;
        let first = from(&place);
        scope = Some(place);
        first
    } else if absolute {
        context.with_root(from)
    } else if start.dirfd == AT_FDCWD {
        context.with_cwd(from)
    } else {
        from(directory(start.dirfd, path)?.path())
    };
    Ok(First {
        text,
        at,
        stop,
        scope,
    })
}

/// What a stride may do.
#[derive(Clone, Copy)]
struct Rules {
    goal: Goal,
    /// Whether it goes over to what is mounted on its way.
    crosses: bool,
}

/// Goes from a place as far as nothing needs a second look. Where that is, and what did, `None` if nothing is left.
#[inline(always)]
fn stride(from: &Path, text: &mut Text<'_>, rules: Rules, cred: &Cred) -> (Path, Option<Stop>) {
    let (text, walked) = text.parts();
    let section = Section::enter();
    let (mut mount, mut at) = (&from.mount, &from.dentry);
    let stop = loop {
        let Some(component) = Component::next(text, walked) else {
            break None;
        };
        let mut child = None;
        if !(component.is_last && rules.goal == Goal::Parent) && is_open_to(at.inode(), cred) {
            child = at.glance(&section, component.name(text), component.hash);
        }
        let mut next = child.map(|child| (mount, child));
        if let Some(below) = child
            && below.is_mountpoint()
        {
            let on = rules.crosses.then(|| mount.glance(&section, below));
            let on = on.flatten().filter(|on| !on.is_marked_unused());
            next = on.map(|on| (on, &on.root));
        }
        match next {
            Some((next_mount, next)) if is_plain(next, &component) => {
                (mount, at) = (next_mount, next);
                if component.is_last {
                    break None;
                }
            }
            _ => {
                let known = |child: &&Arc<Dentry>| !is_revalidated(child);
                let child = child.filter(known).cloned();
                break Some(Stop { component, child });
            }
        }
    };
    let reached = Path {
        mount: mount.clone(),
        dentry: at.clone(),
    };
    (reached, stop)
}

/// Whether names may be looked up in it with nobody asked.
#[inline]
fn is_open_to(dir: &Arc<Inode>, cred: &Cred) -> bool {
    dir.is_dir()
        && !dir.flags().contains(InodeFlags::OWN_PERMISSION)
        && perm::check_search(dir, cred).is_ok()
}

/// Whether a walk goes on at it, or ends at it as last component, whatever it asks for.
#[inline]
fn is_plain(child: &Dentry, component: &Component) -> bool {
    let inode = child.inode();
    let fits = inode.is_dir() || component.is_last && !component.slash && !inode.is_symlink();
    fits && !child.is_mountpoint() && !is_revalidated(child)
}

/// Whether the file system is asked each time whether it still is what it was.
#[inline]
fn is_revalidated(child: &Dentry) -> bool {
    child.inode().flags().contains(InodeFlags::REVALIDATE)
}

fn last_of(name: &[u8]) -> Last {
    match name {
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
    lookup_as(dirfd, path, flags, &task::current().my_cred())
}

/// As [`lookup`], with other credentials (those of `access`).
pub fn lookup_as(dirfd: i32, path: &[u8], flags: LookupFlags, cred: &Cred) -> Result<Path> {
    let task = task::current();
    let context = task.my_fs();
    let start = Start {
        dirfd,
        path,
        resolve: ResolveFlags::empty(),
        may_be_empty: flags.contains(LookupFlags::EMPTY),
        unseen: flags.contains(LookupFlags::UNSEEN),
        goal: Goal::Place,
    };
    find_place(cred, &context, &start, flags)
}

/// The place that a path names.
pub fn find_place(
    cred: &Cred,
    context: &FsContext,
    start: &Start<'_>,
    flags: LookupFlags,
) -> Result<Path> {
    let first = first_stride(cred, context, start)?;
    // Most often one stride is all.
    if first.stop.is_none() {
        return as_asked(first.at, flags);
    }
    Walk::after(first, cred, context, start).full(flags)
}

/// The directory of the last component of a path of the running task.
pub fn lookup_parent(dirfd: i32, path: &[u8]) -> Result<Parent> {
    let task = task::current();
    let (cred, context) = (task.my_cred(), task.my_fs());
    let start = Start {
        dirfd,
        path,
        resolve: ResolveFlags::empty(),
        may_be_empty: false,
        unseen: false,
        goal: Goal::Parent,
    };
    Walk::start(&cred, &context, &start)?.parent()
}
