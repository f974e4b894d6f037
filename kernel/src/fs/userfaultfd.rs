//! userfaultfd: a program is told of faults in ranges of its memory, and gives the pages itself.
//!
//! A fault stands on the list until somebody wakes its range; reading tells of it, and leaves it there. Events of fork,
//! mremap, munmap and madvise, and faults of pages that a cache has (minor faults), are not offered: `UFFDIO_API` says so
//! as a Linux without them does.
//!
//! References: `userfaultfd(2)`, `ioctl_userfaultfd(2)`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use abi::fs::OpenFlags;
use abi::poll::PollEvents;
use abi::{Errno, Result};
use vm::VmFlags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::file::{File, FileOps};
use crate::mm::space::{Answer, WatchedFault, Watcher, check_range};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::mm::{AddressSpace, PAGE_SIZE};
use crate::sched;
use crate::sync::{PollTable, SpinLock, WaitQueue};
use crate::task;

const UFFD_API: u64 = 0xaa;
const UFFDIO_API: u32 = 0xc018_aa3f;
const UFFDIO_REGISTER: u32 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u32 = 0x8010_aa01;
const UFFDIO_WAKE: u32 = 0x8010_aa02;
const UFFDIO_COPY: u32 = 0xc028_aa03;
const UFFDIO_ZEROPAGE: u32 = 0xc020_aa04;
const UFFDIO_WRITEPROTECT: u32 = 0xc018_aa06;

/// Calls that the descriptor answers, and those on a range, as bits by their numbers.
const API_IOCTLS: u64 = 1 << 0x3f | 1 << 1 | 1;
const RANGE_IOCTLS: u64 = 1 << 2 | 1 << 3 | 1 << 4;
const PROTECT_IOCTL: u64 = 1 << 6;

const FEATURE_PAGEFAULT_FLAG_WP: u64 = 1;
const FEATURE_MISSING_SHMEM: u64 = 1 << 5;
const FEATURE_SIGBUS: u64 = 1 << 7;
const FEATURE_THREAD_ID: u64 = 1 << 8;
const FEATURE_EXACT_ADDRESS: u64 = 1 << 11;
const FEATURES: u64 = FEATURE_PAGEFAULT_FLAG_WP
    | FEATURE_MISSING_SHMEM
    | FEATURE_SIGBUS
    | FEATURE_THREAD_ID
    | FEATURE_EXACT_ADDRESS;
/// Ours: UFFDIO_API was called.
const READY: u64 = 1 << 63;

const MODE_MISSING: u64 = 1;
const MODE_WP: u64 = 2;
const COPY_DONTWAKE: u64 = 1;
const COPY_WP: u64 = 2;
const PROTECT_WP: u64 = 1;
const PROTECT_DONTWAKE: u64 = 2;

const EVENT_PAGEFAULT: u64 = 0x12;
const FLAG_WRITE: u64 = 1;
const FLAG_WP: u64 = 2;
/// Bytes of `struct uffd_msg`.
const MESSAGE: usize = 32;

/// Whether users without CAP_SYS_PTRACE may watch the kernel's accesses too (`vm.unprivileged_userfaultfd`).
static UNPRIVILEGED: AtomicBool = AtomicBool::new(false);

/// `vm.unprivileged_userfaultfd`.
pub fn unprivileged() -> bool {
    UNPRIVILEGED.load(Ordering::Relaxed)
}

/// Sets `vm.unprivileged_userfaultfd`.
pub fn set_unprivileged(allowed: bool) {
    UNPRIVILEGED.store(allowed, Ordering::Relaxed);
}

/// `struct uffdio_range`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Range {
    start: u64,
    len: u64,
}

/// `struct uffdio_api`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`, `uffdio_zeropage`: a range, a mode, an answer.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    answer: u64,
}

/// `struct uffdio_copy`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CopyRange {
    dst: u64,
    src: u64,
    len: u64,
    mode: u64,
    copy: i64,
}

/// `struct uffdio_writeprotect`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Protect {
    range: Range,
    mode: u64,
}

/// A thread that waits for its page.
struct Waiter {
    fault: WatchedFault,
    tid: u32,
    woken: AtomicBool,
}

/// Those that wait, oldest first, and whether they were told of.
#[derive(Default)]
struct Queue {
    list: Vec<(Arc<Waiter>, bool)>,
    closed: bool,
}

/// What is behind a descriptor.
struct Userfault {
    this: Weak<Userfault>,
    space: Weak<AddressSpace>,
    features: AtomicU64,
    /// The kernel's own accesses are refused instead.
    user_only: bool,
    queue: SpinLock<Queue>,
    readers: WaitQueue,
    sleepers: WaitQueue,
}

impl Userfault {
    fn has(&self, feature: u64) -> bool {
        self.features.load(Ordering::Acquire) & feature != 0
    }

    fn watcher(&self) -> Result<Arc<dyn Watcher>> {
        Ok(self.this.upgrade().ok_or(Errno::EINVAL)?)
    }

    /// The space that is watched. ESRCH once it is gone.
    fn space(&self) -> Result<Arc<AddressSpace>> {
        self.space.upgrade().ok_or(Errno::ESRCH)
    }

    /// Puts a waiter on the list. False when the descriptor is closed, or without memory.
    fn push(&self, waiter: &Arc<Waiter>) -> bool {
        loop {
            let wanted = {
                let mut queue = self.queue.lock();
                if queue.closed {
                    return false;
                }
                if queue.list.len() < queue.list.capacity() {
                    queue.list.push((waiter.clone(), false));
                    return true;
                }
                queue.list.capacity() * 2 + 8
            };
            // Nothing is allocated under the lock.
            let mut bigger = Vec::new();
            if bigger.try_reserve_exact(wanted).is_err() {
                return false;
            }
            let old = {
                let mut queue = self.queue.lock();
                if bigger.capacity() > queue.list.len() {
                    bigger.append(&mut queue.list);
                    core::mem::replace(&mut queue.list, bigger)
                } else {
                    bigger
                }
            };
            drop(old);
        }
    }

    fn remove(&self, waiter: &Arc<Waiter>) {
        let mut queue = self.queue.lock();
        let place = queue.list.iter().position(|(w, _)| Arc::ptr_eq(w, waiter));
        let gone = place.map(|place| queue.list.remove(place));
        drop(queue);
        drop(gone);
    }

    /// Lets those whose faults lie in the range try again.
    fn wake(&self, start: usize, end: usize) {
        {
            let queue = self.queue.lock();
            for (waiter, _) in &queue.list {
                if (start..end).contains(&waiter.fault.address) {
                    waiter.woken.store(true, Ordering::Release);
                }
            }
        }
        self.sleepers.wake_all();
    }

    /// The oldest of which nobody was told.
    fn take_message(&self) -> Option<[u8; MESSAGE]> {
        let mut queue = self.queue.lock();
        let entry = queue
            .list
            .iter_mut()
            .find(|(waiter, told)| !told && !waiter.woken.load(Ordering::Acquire))?;
        entry.1 = true;
        let (fault, tid) = (entry.0.fault, entry.0.tid);
        drop(queue);
        let mut flags = if fault.write { FLAG_WRITE } else { 0 };
        if fault.protected {
            flags |= FLAG_WP;
        }
        let address = match self.has(FEATURE_EXACT_ADDRESS) {
            true => fault.address,
            false => fault.address & !(PAGE_SIZE - 1),
        };
        let tid = if self.has(FEATURE_THREAD_ID) { tid } else { 0 };
        let mut message = [0; MESSAGE];
        let words = [EVENT_PAGEFAULT, flags, address as u64, u64::from(tid)];
        for (bytes, word) in message.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Some(message)
    }

    fn has_message(&self) -> bool {
        let queue = self.queue.lock();
        let fresh =
            |(waiter, told): &(Arc<Waiter>, bool)| !told && !waiter.woken.load(Ordering::Acquire);
        queue.list.iter().any(fresh)
    }

    fn api(&self, arg: UserPtr<Api>) -> Result<usize> {
        let asked = arg.read()?;
        let refused = asked.api != UFFD_API || asked.features & !FEATURES != 0 || self.has(READY);
        if refused {
            let nothing = Api {
                api: 0,
                features: 0,
                ioctls: 0,
            };
            arg.write(&nothing)?;
            return Err(Errno::EINVAL);
        }
        arg.write(&Api {
            api: UFFD_API,
            features: FEATURES,
            ioctls: API_IOCTLS,
        })?;
        self.features
            .store(asked.features | READY, Ordering::Release);
        Ok(0)
    }

    fn register(&self, arg: UserPtr<Register>) -> Result<usize> {
        let mut asked = arg.read()?;
        if asked.mode == 0 || asked.mode & !(MODE_MISSING | MODE_WP) != 0 {
            return Err(Errno::EINVAL);
        }
        let (start, end) = range_of(asked.range)?;
        let mut mode = VmFlags::empty();
        mode.set(VmFlags::UFFD_MISSING, asked.mode & MODE_MISSING != 0);
        mode.set(VmFlags::UFFD_WP, asked.mode & MODE_WP != 0);
        let space = self.space.upgrade().ok_or(Errno::ENOMEM)?;
        space.watch(&self.watcher()?, start, end, mode)?;
        asked.answer = RANGE_IOCTLS;
        if asked.mode & MODE_WP != 0 {
            asked.answer |= PROTECT_IOCTL;
        }
        arg.write(&asked)?;
        Ok(0)
    }

    fn unregister(&self, arg: UserPtr<Range>) -> Result<usize> {
        let (start, end) = range_of(arg.read()?)?;
        let space = self.space.upgrade().ok_or(Errno::ENOMEM)?;
        space.unwatch(&self.watcher()?, start, end)?;
        self.wake(start, end);
        Ok(0)
    }

    /// Gives pages one after another; what `answer` is told is how many bytes, or the error of the first.
    fn give(
        &self,
        start: usize,
        len: usize,
        mut source: Option<IoSource<'_>>,
        protected: bool,
        answer: impl FnOnce(i64) -> Result<()>,
    ) -> Result<(usize, Result<usize>)> {
        let space = self.space()?;
        let watcher = self.watcher()?;
        let mut done = 0;
        let mut result = Ok(0);
        while done < len {
            let given = space.give_page(&watcher, start + done, source.as_mut(), protected);
            if let Err(e) = given {
                result = Err(e);
                break;
            }
            done += PAGE_SIZE;
            sched::cond_resched();
        }
        let told = match result {
            Err(e) if done == 0 => -i64::from(e.get()),
            _ => done as i64,
        };
        answer(told)?;
        if done != 0 && done < len {
            result = Err(Errno::EAGAIN);
        }
        Ok((done, result))
    }

    fn copy(&self, arg: usize) -> Result<usize> {
        let arg = UserPtr::<CopyRange>::from(arg);
        let asked = arg.read()?;
        let (start, _) = range_of(Range {
            start: asked.dst,
            len: asked.len,
        })?;
        let source = asked.src as usize;
        if asked.src.checked_add(asked.len).is_none()
            || asked.mode & !(COPY_DONTWAKE | COPY_WP) != 0
        {
            return Err(Errno::EINVAL);
        }
        let len = asked.len as usize;
        let bytes = IoSource::user(source, len)?;
        let answer = |copy| arg.write(&CopyRange { copy, ..asked });
        let protected = asked.mode & COPY_WP != 0;
        let (done, result) = self.give(start, len, Some(bytes), protected, answer)?;
        if done != 0 && asked.mode & COPY_DONTWAKE == 0 {
            self.wake(start, start + done);
        }
        result
    }

    fn zero(&self, arg: usize) -> Result<usize> {
        let arg = UserPtr::<Register>::from(arg);
        let asked = arg.read()?;
        let (start, end) = range_of(asked.range)?;
        if asked.mode & !COPY_DONTWAKE != 0 {
            return Err(Errno::EINVAL);
        }
        let answer = |told: i64| {
            arg.write(&Register {
                answer: told as u64,
                ..asked
            })
        };
        let (done, result) = self.give(start, end - start, None, false, answer)?;
        if done != 0 && asked.mode & COPY_DONTWAKE == 0 {
            self.wake(start, start + done);
        }
        result
    }

    fn protect(&self, arg: UserPtr<Protect>) -> Result<usize> {
        let asked = arg.read()?;
        let (start, end) = range_of(asked.range)?;
        let both = PROTECT_WP | PROTECT_DONTWAKE;
        if asked.mode & !both != 0 || asked.mode & both == both {
            return Err(Errno::EINVAL);
        }
        let protect = asked.mode & PROTECT_WP != 0;
        self.space()?
            .guard_pages(&self.watcher()?, start, end, protect)?;
        if !protect && asked.mode & PROTECT_DONTWAKE == 0 {
            self.wake(start, end);
        }
        Ok(0)
    }
}

/// Start and end of a range that is checked.
fn range_of(range: Range) -> Result<(usize, usize)> {
    let (start, len) = (range.start as usize, range.len as usize);
    check_range(start, len)?;
    Ok((start, start + len))
}

impl Watcher for Userfault {
    fn ask(&self, fault: &WatchedFault, still: &dyn Fn() -> bool) -> Answer {
        if self.has(FEATURE_SIGBUS) || (self.user_only && !fault.from_user) {
            return Answer::Refused;
        }
        let waiter = Arc::new(Waiter {
            fault: *fault,
            tid: task::current().tid().0 as u32,
            woken: AtomicBool::new(false),
        });
        if !self.push(&waiter) {
            return match self.queue.lock().closed {
                true => Answer::Again,
                false => Answer::Refused,
            };
        }
        let mut answer = Answer::Again;
        if still() {
            // As late as Linux tells of it: who answers at once shall find the thread asleep.
            self.readers.wake_events(PollEvents::READABLE);
            let ready = || {
                let done = waiter.woken.load(Ordering::Acquire) || self.queue.lock().closed;
                done.then_some(())
            };
            let waited = match fault.from_user {
                true => self.sleepers.wait_until(ready),
                false => self.sleepers.wait_killable(ready),
            };
            if waited.is_err() {
                answer = Answer::Interrupted;
            }
        }
        self.remove(&waiter);
        answer
    }
}

impl FileOps for Userfault {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        if !self.has(READY) || sink.remaining() < MESSAGE {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while sink.remaining() >= MESSAGE {
            let message = match self.take_message() {
                Some(message) => message,
                None if done != 0 => break,
                None if file.nonblocking() => return Err(Errno::EAGAIN),
                None => self.readers.wait_until(|| self.take_message())?,
            };
            sink.put(&message)?;
            done += MESSAGE;
        }
        Ok(done)
    }

    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.readers);
        }
        // A read might block after all, when somebody else wakes the thread first.
        if !self.has(READY) || !file.nonblocking() {
            return PollEvents::ERR;
        }
        match self.has_message() {
            true => PollEvents::IN,
            false => PollEvents::empty(),
        }
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> Result<usize> {
        if cmd != UFFDIO_API && !self.has(READY) {
            return Err(Errno::EINVAL);
        }
        match cmd {
            UFFDIO_API => self.api(arg.into()),
            UFFDIO_REGISTER => self.register(arg.into()),
            UFFDIO_UNREGISTER => self.unregister(arg.into()),
            UFFDIO_WAKE => {
                let (start, end) = range_of(UserPtr::<Range>::from(arg).read()?)?;
                self.wake(start, end);
                Ok(0)
            }
            UFFDIO_COPY => self.copy(arg),
            UFFDIO_ZEROPAGE => self.zero(arg),
            UFFDIO_WRITEPROTECT => self.protect(arg.into()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn seekable(&self) -> bool {
        false
    }

    fn release(&self, _file: &File) {
        if let (Ok(space), Ok(watcher)) = (self.space(), self.watcher()) {
            space.unwatch_all(&watcher);
        }
        self.queue.lock().closed = true;
        self.sleepers.wake_all();
    }
}

/// A descriptor's file that watches the running task's memory.
pub fn create(user_only: bool, flags: OpenFlags) -> Result<Arc<File>> {
    let space = task::current().mm().ok_or(Errno::ENOMEM)?;
    let userfault = Arc::new_cyclic(|this: &Weak<Userfault>| Userfault {
        this: this.clone(),
        space: Arc::downgrade(&space),
        features: AtomicU64::new(0),
        user_only,
        queue: SpinLock::new(Queue::default()),
        readers: WaitQueue::new(),
        sleepers: WaitQueue::new(),
    });
    super::anon_file(
        "[userfaultfd]",
        userfault as Arc<dyn FileOps>,
        OpenFlags::RDWR | flags,
    )
}
