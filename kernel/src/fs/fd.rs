//! Descriptor tables. A table may be shared by threads (`CLONE_FILES`).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, Result};
use ksync::SpinLock;
use vfs::FdMap;

use crate::fs::dnotify;
use crate::fs::file::{File, FileMode};
use crate::system::Setting;
use crate::task;
use crate::task::rlimit::Resource;

/// A descriptor: never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fd(pub i32);

impl Fd {
    /// As a system call returns it.
    pub fn to_ret(self) -> usize {
        self.0 as usize
    }
}

#[derive(Default)]
struct Inner {
    files: Vec<Option<Arc<File>>>,
    used: FdMap,
    cloexec: FdMap,
    /// No descriptor below it is free.
    hint: usize,
}

/// A table of open files.
///
/// # Invariants
/// - A number in `used` has a file, or is reserved by a [`Reserved`].
/// - `files`, `used` and `cloexec` have room for the same numbers.
pub struct FdTable {
    /// Names the table as owner of POSIX record locks.
    pub id: u64,
    inner: SpinLock<Inner>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// `fs.nr_open`: the highest number of descriptors, whatever the limit says.
pub static NR_OPEN: Setting = Setting::new(1 << 20, (64, i32::MAX as usize & !63));

/// The soft limit of the running process, as a bound for new numbers.
fn limit() -> usize {
    let soft = task::current().process.rlimits.soft(Resource::Nofile);
    let most = NR_OPEN.get();
    usize::try_from(soft).map_or(most, |soft| soft.min(most))
}

/// Why a change of a table under its lock did not come about.
enum Lack {
    /// There must be room for so many numbers first.
    Room(usize),
    Fails(Errno),
}

impl Inner {
    /// An empty table with room for `n` numbers.
    fn with_room(n: usize) -> Result<Self> {
        let size = n.next_power_of_two().max(64).min(NR_OPEN.get().max(n));
        let mut inner = Self::default();
        inner
            .files
            .try_reserve_exact(size)
            .map_err(|_| Errno::ENOMEM)?;
        if !inner.used.grow(size) || !inner.cloexec.grow(size) {
            return Err(Errno::ENOMEM);
        }
        inner.files.resize_with(size, || None);
        Ok(inner)
    }

    /// Moves what is in `self` to the larger `bigger`, which takes its place; what is left is to be dropped after unlock.
    fn move_to(&mut self, mut bigger: Self) -> Self {
        for (to, from) in bigger.files.iter_mut().zip(&mut self.files) {
            *to = from.take();
        }
        bigger.used.copy_from(&self.used);
        bigger.cloexec.copy_from(&self.cloexec);
        bigger.hint = self.hint;
        core::mem::replace(self, bigger)
    }

    #[inline]
    fn check_room(&self, n: usize) -> core::result::Result<(), Lack> {
        match n <= self.files.len() {
            true => Ok(()),
            false => Err(Lack::Room(n)),
        }
    }

    /// Takes the lowest free number from `from` on, below `limit`.
    #[inline]
    fn take_free(
        &mut self,
        from: usize,
        limit: usize,
        cloexec: bool,
    ) -> core::result::Result<usize, Lack> {
        let n = self.used.first_free(from.max(self.hint));
        if n >= limit {
            return Err(Lack::Fails(Errno::EMFILE));
        }
        self.check_room(n + 1)?;
        if from <= self.hint {
            self.hint = n + 1;
        }
        self.used.insert(n);
        if cloexec {
            self.cloexec.insert(n);
        } else {
            self.cloexec.remove(n);
        }
        Ok(n)
    }

    /// Copies the descriptors below `end` to `copy`, which is empty and has room.
    fn copy_to(&self, copy: &mut Self, end: usize) {
        let mut at = 0;
        while let Some(n) = self.used.next(at).filter(|n| *n < end) {
            at = n + 1;
            let (Some(Some(file)), Some(slot)) = (self.files.get(n), copy.files.get_mut(n)) else {
                continue;
            };
            *slot = Some(file.clone());
            copy.used.insert(n);
            if self.cloexec.contains(n) {
                copy.cloexec.insert(n);
            }
        }
    }

    #[inline]
    fn take_out(&mut self, n: usize) -> Option<Arc<File>> {
        let file = self.files.get_mut(n)?.take()?;
        self.used.remove(n);
        self.hint = self.hint.min(n);
        Some(file)
    }
}

impl FdTable {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::with(Inner::default()))
    }

    fn with(inner: Inner) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            inner: SpinLock::new(inner),
        }
    }

    /// Runs `change` under the lock. The room that it lacks is made outside of it, and it runs again.
    #[inline]
    fn change<R>(
        &self,
        mut change: impl FnMut(&mut Inner) -> core::result::Result<R, Lack>,
    ) -> Result<R> {
        loop {
            let done = change(&mut self.inner.lock());
            match done {
                Ok(value) => return Ok(value),
                Err(Lack::Fails(errno)) => return Err(errno),
                Err(Lack::Room(n)) => self.make_room(n)?,
            }
        }
    }

    #[cold]
    fn make_room(&self, n: usize) -> Result<()> {
        let bigger = Inner::with_room(n)?;
        let mut inner = self.inner.lock();
        let unused = match bigger.files.len() > inner.files.len() {
            true => inner.move_to(bigger),
            false => bigger,
        };
        drop(inner);
        drop(unused);
        Ok(())
    }

    /// The file behind a descriptor; EBADF for none, and for one opened with `O_PATH`.
    #[inline]
    pub fn get(&self, fd: i32) -> Result<Arc<File>> {
        let file = self.get_any(fd)?;
        if file.mode().contains(FileMode::PATH) {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    /// The file behind a descriptor, `O_PATH` ones too; EBADF for none.
    #[inline]
    pub fn get_any(&self, fd: i32) -> Result<Arc<File>> {
        match self.inner.lock().files.get(fd as u32 as usize) {
            Some(Some(file)) => Ok(file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Gives the file the lowest free number; EMFILE at the limit.
    #[inline]
    pub fn install(&self, file: Arc<File>, cloexec: bool) -> Result<Fd> {
        self.install_from(file, cloexec, 0)
    }

    /// Gives the file the lowest free number from `from` on; EINVAL if that is beyond the limit, EMFILE at it.
    pub fn install_from(&self, file: Arc<File>, cloexec: bool, from: i32) -> Result<Fd> {
        let limit = limit();
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        if from >= limit && from != 0 {
            return Err(Errno::EINVAL);
        }
        let mut file = Some(file);
        let n = self.change(|inner| {
            let n = inner.take_free(from, limit, cloexec)?;
            if let Some(slot) = inner.files.get_mut(n) {
                *slot = file.take();
            }
            Ok(n)
        })?;
        Ok(Fd(n as i32))
    }

    /// Reserves a number for a file that is yet to be opened.
    #[inline]
    pub fn reserve(self: &Arc<Self>, cloexec: bool) -> Result<Reserved> {
        let limit = limit();
        let n = self.change(|inner| inner.take_free(0, limit, cloexec))?;
        Ok(Reserved {
            table: self.clone(),
            n,
            filled: false,
        })
    }

    /// Takes the file out of the table; what closing means beyond that is [`close_file`]'s.
    #[inline]
    pub fn take(&self, fd: i32) -> Result<Arc<File>> {
        self.inner
            .lock()
            .take_out(fd as u32 as usize)
            .ok_or(Errno::EBADF)
    }

    /// Closes a descriptor.
    #[inline]
    pub fn close(&self, fd: i32) -> Result<()> {
        let file = self.take(fd)?;
        close_file(&file, self.id)
    }

    /// Makes `new` another name of `file` (`dup2`), closing what it named.
    pub fn replace(&self, file: Arc<File>, new: i32, cloexec: bool) -> Result<Fd> {
        let n = usize::try_from(new).map_err(|_| Errno::EBADF)?;
        if n >= limit() {
            return Err(Errno::EBADF);
        }
        let mut file = Some(file);
        let old = self.change(|inner| {
            inner.check_room(n + 1)?;
            let slot = inner.files.get_mut(n);
            if inner.used.contains(n) && slot.as_ref().is_some_and(|slot| slot.is_none()) {
                return Err(Lack::Fails(Errno::EBUSY));
            }
            let old = slot.and_then(|slot| core::mem::replace(slot, file.take()));
            inner.used.insert(n);
            if cloexec {
                inner.cloexec.insert(n);
            } else {
                inner.cloexec.remove(n);
            }
            Ok(old)
        })?;
        if let Some(old) = old {
            // An error of the implicit close is lost, as on Linux.
            let _ = close_file(&old, self.id);
        }
        Ok(Fd(new))
    }

    pub fn cloexec(&self, fd: i32) -> Result<bool> {
        let n = fd as u32 as usize;
        let inner = self.inner.lock();
        match inner.files.get(n) {
            Some(Some(_)) => Ok(inner.cloexec.contains(n)),
            _ => Err(Errno::EBADF),
        }
    }

    pub fn set_cloexec(&self, fd: i32, on: bool) -> Result<()> {
        let n = fd as u32 as usize;
        let mut inner = self.inner.lock();
        if !matches!(inner.files.get(n), Some(Some(_))) {
            return Err(Errno::EBADF);
        }
        if on {
            inner.cloexec.insert(n);
        } else {
            inner.cloexec.remove(n);
        }
        Ok(())
    }

    /// Marks every descriptor of `first..=last` close-on-exec.
    pub fn set_cloexec_range(&self, first: u32, last: u32) {
        let mut inner = self.inner.lock();
        let mut at = first as usize;
        while let Some(n) = inner.used.next(at).filter(|n| *n <= last as usize) {
            inner.cloexec.insert(n);
            at = n + 1;
        }
    }

    /// Closes every descriptor of `first..=last`.
    pub fn close_range(&self, first: u32, last: u32) {
        let mut at = first as usize;
        loop {
            let mut inner = self.inner.lock();
            let Some(n) = inner.used.next(at).filter(|n| *n <= last as usize) else {
                return;
            };
            let file = inner.take_out(n);
            drop(inner);
            if let Some(file) = file {
                let _ = close_file(&file, self.id);
            }
            at = n + 1;
        }
    }

    /// Closes what is marked close-on-exec.
    pub fn close_on_exec(&self) {
        let mut at = 0;
        loop {
            let mut inner = self.inner.lock();
            let Some(n) = inner.cloexec.next(at) else {
                return;
            };
            inner.cloexec.remove(n);
            let file = inner.take_out(n);
            drop(inner);
            if let Some(file) = file {
                let _ = close_file(&file, self.id);
            }
            at = n + 1;
        }
    }

    /// A copy of its own, for a fork without `CLONE_FILES`.
    pub fn fork(&self) -> Result<Arc<Self>> {
        self.copy_below(usize::MAX)
    }

    /// A copy of the descriptors below `end`.
    pub fn copy_below(&self, end: usize) -> Result<Arc<Self>> {
        let mut copy = Inner::default();
        loop {
            let inner = self.inner.lock();
            // The copy is made for what is open, however large the table once was.
            let room = inner.used.last_below(end).map_or(0, |last| last + 1);
            if room <= copy.files.len() {
                inner.copy_to(&mut copy, end);
                drop(inner);
                return Ok(Arc::new(Self::with(copy)));
            }
            drop(inner);
            copy = Inner::with_room(room)?;
        }
    }

    /// The open descriptors from `from` on: the lowest of them and its file (for `/proc/<pid>/fd`).
    pub fn next(&self, from: i32) -> Option<(Fd, Arc<File>)> {
        let inner = self.inner.lock();
        let mut at = usize::try_from(from).ok()?;
        loop {
            let n = inner.used.next(at)?;
            if let Some(Some(file)) = inner.files.get(n) {
                return Some((Fd(n as i32), file.clone()));
            }
            at = n + 1;
        }
    }

    /// How many numbers the table has room for (`FDSize`).
    pub fn size(&self) -> usize {
        self.inner.lock().files.len().max(64)
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        let files = core::mem::take(&mut self.inner.get_mut().files);
        for file in files.into_iter().flatten() {
            let _ = close_file(&file, self.id);
        }
    }
}

/// What every close of a descriptor does, besides dropping the reference: flush, and give up POSIX locks.
#[inline]
fn close_file(file: &Arc<File>, owner: u64) -> Result<()> {
    if file.is_path_only() {
        return Ok(());
    }
    let result = file.ops().flush(file);
    if let Some(extra) = file.inode().extra() {
        extra.locks.release_owner(owner);
        dnotify::forget(file, Some(owner));
    }
    result
}

/// A number taken for a file to come; given back if none comes.
pub struct Reserved {
    table: Arc<FdTable>,
    n: usize,
    filled: bool,
}

impl Reserved {
    pub fn fd(&self) -> Fd {
        Fd(self.n as i32)
    }

    /// Puts the file in place.
    #[inline]
    pub fn fill(mut self, file: Arc<File>) -> Fd {
        self.filled = true;
        let old = match self.table.inner.lock().files.get_mut(self.n) {
            Some(slot) => slot.replace(file),
            None => None,
        };
        drop(old);
        self.fd()
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.filled {
            return;
        }
        let mut inner = self.table.inner.lock();
        inner.used.remove(self.n);
        inner.cloexec.remove(self.n);
        inner.hint = inner.hint.min(self.n);
    }
}
