//! Pipes: the blocking around the crate's ring, `pipe2`, and the file operations of both ends.
//!
//! # Lock order
//! `Pipe::ring` is a sleeping lock, held across user memory. Its state that wait conditions look at is mirrored in
//! atomics, which change only under it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use abi::fs::{DevNum, F_GETPIPE_SZ, FIONREAD, MountFlags, OpenFlags, PIPEFS_MAGIC};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use pipe::{Buffer, Consumed, PAGE, Ring, buffers_for};
use spin::Once;

use crate::fs::dentry::Dentry;
use crate::fs::fasync::{Band, FasyncList};
use crate::fs::file::{File, FileMode, FileOps, FileOpsRef};
use crate::fs::inode::{FileKind, Inode, InodeFlags, InodeOps, NewInode};
use crate::fs::limits;
use crate::fs::mount::{Mount, Path};
use crate::fs::superblock::{NewSuperBlock, SuperBlock, SuperOps};
use crate::mm::frame::{self, FrameRef};
use crate::mm::user::{IoSink, IoSource, UserPtr};
use crate::sync::census::{self, Live};
use crate::sync::{Mutex, PollTable, WaitQueue};
use crate::task::{self, Cap};

/// Pages kept for the next write, so that a steady stream allocates nothing.
const SPARE_PAGES: usize = 2;
static MAX_SIZE: AtomicUsize = AtomicUsize::new(1 << 20);

/// `fs.pipe-max-size`: the largest capacity without CAP_SYS_RESOURCE.
pub fn max_size() -> usize {
    MAX_SIZE.load(Ordering::Relaxed)
}

/// Sets `fs.pipe-max-size`, to what a pipe of so many bytes has.
///
/// # Errors
/// `EINVAL` for more than any pipe may have.
pub fn set_max_size(bytes: u32) -> Result<()> {
    let buffers = buffers_for(bytes as usize).ok_or(Errno::EINVAL)?;
    MAX_SIZE.store(buffers * PAGE, Ordering::Relaxed);
    Ok(())
}

/// The ring and pages to be used again.
pub struct State {
    pub ring: Ring<FrameRef>,
    spare: Vec<FrameRef>,
}

/// A pipe.
///
/// # Invariants
/// - `used` and `full` change only under `state`, and then agree with it.
/// - `readers` and `writers` count the open ends; a change that others wait for is followed by a wake-up.
pub struct Pipe {
    _live: Live<{ census::PIPES }>,
    state: Mutex<State>,
    used: AtomicUsize,
    full: AtomicBool,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How often an end was opened: an opener of a FIFO waits for the other count to change.
    reader_opens: AtomicU32,
    writer_opens: AtomicU32,
    /// Somebody polls: every write wakes, not only those into an empty pipe.
    polled: AtomicBool,
    read_queue: WaitQueue,
    write_queue: WaitQueue,
    read_async: FasyncList,
    write_async: FasyncList,
}

impl Pipe {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            _live: Live::new(),
            state: Mutex::new(State {
                ring: Ring::new(),
                spare: Vec::new(),
            }),
            used: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            polled: AtomicBool::new(false),
            read_queue: WaitQueue::new(),
            write_queue: WaitQueue::new(),
            read_async: FasyncList::default(),
            write_async: FasyncList::default(),
        })
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::SeqCst) != 0
    }
    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }
    /// How often a writer came, for [`FifoEnd`].
    pub fn writer_opens(&self) -> u32 {
        self.writer_opens.load(Ordering::SeqCst)
    }

    /// Publishes what wait conditions look at; the state's lock is held.
    fn publish(&self, state: &State) {
        self.used.store(state.ring.used(), Ordering::SeqCst);
        self.full.store(state.ring.is_full(), Ordering::SeqCst);
    }

    fn wake_readers(&self) {
        self.read_queue.wake_events(PollEvents::READABLE);
    }
    fn wake_writers(&self) {
        self.write_queue.wake_events(PollEvents::WRITABLE);
    }

    /// Sleeps until there is something to read, or nobody to write it.
    pub fn wait_readable(&self) -> Result<()> {
        self.read_queue.wait_until(|| {
            (self.used.load(Ordering::SeqCst) != 0 || !self.has_writers()).then_some(())
        })
    }

    /// Sleeps until there is room, or nobody to read.
    pub fn wait_writable(&self) -> Result<()> {
        self.write_queue
            .wait_until(|| (!self.full.load(Ordering::SeqCst) || !self.has_readers()).then_some(()))
    }

    /// Sleeps until nobody can read any more; only death ends it before.
    pub fn wait_readers_gone(&self) -> Result<()> {
        self.write_queue
            .wait_killable(|| (!self.has_readers()).then_some(()))
    }

    /// Runs `f` on the ring and wakes whoever its change concerns.
    pub fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let (was_empty, was_full) = (state.ring.is_empty(), state.ring.is_full());
        let before = state.ring.bytes();
        let result = f(&mut state);
        self.publish(&state);
        let filled = !state.ring.is_empty() && was_empty;
        let drained = was_full && !state.ring.is_full();
        let after = state.ring.bytes();
        drop(state);
        if filled || self.polled.load(Ordering::Relaxed) {
            self.wake_readers();
        }
        if drained {
            self.wake_writers();
        }
        if after > before {
            self.read_async.tell(Band::In);
        }
        if after < before {
            self.write_async.tell(Band::Out);
        }
        result
    }

    pub fn readers_gone(&self) -> bool {
        !self.has_readers()
    }
    pub fn writers_gone(&self) -> bool {
        !self.has_writers()
    }

    fn read(&self, nonblock: bool, sink: &mut IoSink<'_>) -> Result<usize> {
        if sink.remaining() == 0 {
            return Ok(0);
        }
        loop {
            let mut state = self.state.lock();
            let was_full = state.ring.is_full();
            let result = drain(&mut state, sink);
            let more = !state.ring.is_empty();
            self.publish(&state);
            let freed = was_full && !state.ring.is_full();
            drop(state);
            if freed {
                self.wake_writers();
            }
            let done = sink.done();
            if done != 0 || result.is_err() {
                self.write_async.tell(Band::Out);
                if more {
                    // Another reader may be asleep for what this one left.
                    self.read_queue.wake_events(PollEvents::READABLE);
                }
                return sink.outcome(result);
            }
            if !self.has_writers() && self.used.load(Ordering::SeqCst) == 0 {
                return Ok(0);
            }
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            self.wait_readable()?;
        }
    }

    fn write(&self, flags: OpenFlags, source: &mut IoSource<'_>) -> Result<usize> {
        if source.remaining() == 0 {
            return Ok(0);
        }
        let packet = flags.contains(OpenFlags::DIRECT);
        let mut first = true;
        loop {
            let mut state = self.state.lock();
            if !self.has_readers() {
                drop(state);
                if source.done() != 0 {
                    return Ok(source.done());
                }
                limits::send_sigpipe();
                return Err(Errno::EPIPE);
            }
            let was_empty = state.ring.is_empty();
            let before = source.done();
            let result = fill(&mut state, source, packet, first);
            first = false;
            self.publish(&state);
            let moved = source.done() != before;
            drop(state);
            if moved && (was_empty || self.polled.load(Ordering::Relaxed)) {
                self.wake_readers();
            }
            if moved {
                self.read_async.tell(Band::In);
            }
            if result.is_err() || source.remaining() == 0 {
                return source.outcome(result);
            }
            if flags.contains(OpenFlags::NONBLOCK) {
                return source.outcome(Err(Errno::EAGAIN));
            }
            let waited = self.wait_writable();
            if waited.is_err() {
                return source.outcome(waited);
            }
        }
    }

    fn poll(&self, file: &File, table: Option<&mut PollTable>, seen_writers: u32) -> PollEvents {
        if let Some(table) = table {
            self.polled.store(true, Ordering::Relaxed);
            if file.readable() {
                table.register(&self.read_queue);
            }
            if file.writable() {
                table.register(&self.write_queue);
            }
        }
        let mut events = PollEvents::empty();
        if file.readable() {
            if self.used.load(Ordering::SeqCst) != 0 {
                events |= PollEvents::READABLE;
            }
            if !self.has_writers() && self.writer_opens() != seen_writers {
                events |= PollEvents::HUP;
            }
        }
        if file.writable() {
            if !self.full.load(Ordering::SeqCst) {
                events |= PollEvents::WRITABLE;
            }
            if !self.has_readers() {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    /// Bytes ready to be read.
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }
    /// Capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.state.lock().ring.capacity() * PAGE
    }

    /// `F_SETPIPE_SZ`.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize> {
        let buffers = buffers_for(bytes).ok_or(Errno::EINVAL)?;
        let mut state = self.state.lock();
        let grows = buffers > state.ring.capacity();
        let privileged = task::current().my_cred().capable(Cap::SYS_RESOURCE);
        if grows && buffers * PAGE > max_size() && !privileged {
            return Err(Errno::EPERM);
        }
        let was_full = state.ring.is_full();
        if !state.ring.resize(buffers) {
            return Err(Errno::EBUSY);
        }
        self.publish(&state);
        let freed = was_full && !state.ring.is_full();
        drop(state);
        if freed {
            self.wake_writers();
        }
        Ok(buffers * PAGE)
    }

    /// Counts an end in.
    pub fn open_end(&self, reads: bool, writes: bool) {
        if reads {
            self.readers.fetch_add(1, Ordering::SeqCst);
            self.reader_opens.fetch_add(1, Ordering::SeqCst);
        }
        if writes {
            self.writers.fetch_add(1, Ordering::SeqCst);
            self.writer_opens.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts an end out; the last of its kind wakes the other side. True if no end is left.
    pub fn close_end(&self, reads: bool, writes: bool) -> bool {
        let mut last = false;
        if reads {
            last |= self.readers.fetch_sub(1, Ordering::SeqCst) == 1;
        }
        if writes {
            last |= self.writers.fetch_sub(1, Ordering::SeqCst) == 1;
        }
        if last {
            let events =
                PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP | PollEvents::ERR;
            self.read_queue.wake_events(events);
            self.write_queue.wake_events(events);
        }
        let (readers, writers) = (self.has_readers(), self.has_writers());
        if last && readers != writers {
            self.read_async.tell(Band::In);
            self.write_async.tell(Band::Out);
        }
        !readers && !writers
    }

    /// The lists of an end.
    fn fasync(&self, file: &File) -> [Option<&FasyncList>; 2] {
        [
            file.readable().then_some(&self.read_async),
            file.writable().then_some(&self.write_async),
        ]
    }

    /// Tells openers of a FIFO that the other side came.
    pub fn wake_openers(&self) {
        self.read_queue.wake_all();
        self.write_queue.wake_all();
    }

    /// Sleeps until a writer (`for_writer`) or a reader has come since the count was `seen`.
    pub fn wait_partner(&self, for_writer: bool, seen: u32) -> Result<()> {
        if for_writer {
            self.read_queue
                .wait_until(|| (self.writer_opens.load(Ordering::SeqCst) != seen).then_some(()))
        } else {
            self.write_queue
                .wait_until(|| (self.reader_opens.load(Ordering::SeqCst) != seen).then_some(()))
        }
    }
    /// The counts of opens of readers and writers, and whether any are there now.
    pub fn partners(&self) -> (u32, u32, bool, bool) {
        (
            self.reader_opens.load(Ordering::SeqCst),
            self.writer_opens.load(Ordering::SeqCst),
            self.has_readers(),
            self.has_writers(),
        )
    }

    fn ioctl(&self, cmd: u32, arg: usize) -> Result<usize> {
        match cmd {
            FIONREAD => {
                let bytes = i32::try_from(self.bytes()).unwrap_or(i32::MAX);
                UserPtr::from(arg).write(&bytes)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}

/// Moves bytes from the ring into `sink`, up to the end of a packet.
fn drain(state: &mut State, sink: &mut IoSink<'_>) -> Result<()> {
    while let Some(front) = state.ring.front() {
        let len = front.len.min(sink.remaining());
        front.page.put_to(sink, front.offset, len)?;
        match state.ring.consume(len) {
            Some(Consumed::Whole {
                page,
                reusable,
                packet,
            }) => {
                if reusable && state.spare.len() < SPARE_PAGES {
                    state.spare.push(page);
                }
                if packet {
                    break;
                }
            }
            _ => break,
        }
        if sink.remaining() == 0 {
            break;
        }
    }
    Ok(())
}

/// Moves bytes from `source` into the ring until either ends. What fits in one page is never split; with `merge` the
/// odd bytes at the start may go behind the last ones.
fn fill(state: &mut State, source: &mut IoSource<'_>, packet: bool, merge: bool) -> Result<()> {
    let odd = source.remaining() % PAGE;
    if merge
        && odd != 0
        && !packet
        && let Some((page, at)) = state.ring.merge_point(odd)
    {
        page.take_from(source, at, odd)?;
        state.ring.merged(odd);
    }
    while source.remaining() != 0 && !state.ring.is_full() {
        let page = match state.spare.pop() {
            Some(page) => page,
            None => frame::alloc()?,
        };
        let len = source.remaining().min(PAGE);
        if let Err(error) = page.take_from(source, 0, len) {
            state.spare.push(page);
            return Err(error);
        }
        let buffer = Buffer {
            page,
            offset: 0,
            len,
            mergeable: !packet,
            packet,
        };
        if state.ring.push(buffer).is_err() {
            return Err(Errno::ENOMEM);
        }
    }
    Ok(())
}

impl FileOps for Pipe {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        Pipe::read(self, file.nonblocking(), sink)
    }
    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        Pipe::write(self, file.flags(), source)
    }
    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> PollEvents {
        // Both ends of a pipe were opened at its making: a missing writer has always been there before.
        Pipe::poll(self, file, table, 0)
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> Result<usize> {
        Pipe::ioctl(self, cmd, arg)
    }
    fn release(&self, file: &File) {
        self.close_end(file.readable(), file.writable());
    }
    fn fasync(&self, file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some(Pipe::fasync(self, file))
    }
    fn pipe(&self) -> Option<&Pipe> {
        Some(self)
    }
}

/// One open of a FIFO.
pub struct FifoEnd {
    pub pipe: Arc<Pipe>,
    /// The count of writers' opens that this end has seen nothing of: no hang-up before one more came.
    pub seen_writers: u32,
}

impl FileOps for FifoEnd {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _pos: &mut u64) -> Result<usize> {
        self.pipe.read(file.nonblocking(), sink)
    }
    fn write(&self, file: &File, source: &mut IoSource<'_>, _pos: &mut u64) -> Result<usize> {
        self.pipe.write(file.flags(), source)
    }
    fn poll(&self, file: &File, table: Option<&mut PollTable>) -> PollEvents {
        self.pipe.poll(file, table, self.seen_writers)
    }
    fn ioctl(&self, _file: &File, cmd: u32, arg: usize) -> Result<usize> {
        self.pipe.ioctl(cmd, arg)
    }
    fn release(&self, file: &File) {
        if self.pipe.close_end(file.readable(), file.writable())
            && let Some(extra) = file.inode().extra()
        {
            let mut slot = extra.fifo.lock();
            // An opener that is counting itself in holds the same lock.
            let unused = self.pipe.readers_gone() && self.pipe.writers_gone();
            let gone = if unused { slot.take() } else { None };
            drop(slot);
            drop(gone);
        }
    }
    fn pipe(&self) -> Option<&Pipe> {
        Some(&self.pipe)
    }
    fn fasync(&self, file: &File) -> Option<[Option<&FasyncList>; 2]> {
        Some(self.pipe.fasync(file))
    }
}

/// The pipe behind a descriptor of it.
fn behind(file: &File) -> Option<Arc<Pipe>> {
    let ops = file.shared_ops()?;
    let any: Arc<dyn Any + Send + Sync> = ops.clone();
    match any.downcast::<Pipe>() {
        Ok(pipe) => Some(pipe),
        Err(_) => file.ops_as::<FifoEnd>().map(|end| end.pipe.clone()),
    }
}

/// Lets an unnamed pipe be opened by `/proc/<pid>/fd/<n>`: its inode tells the pipe from now on.
pub fn make_openable(file: &File) {
    let inode = file.inode();
    if inode.sb.magic == PIPEFS_MAGIC
        && let Some(pipe) = behind(file)
    {
        let slot = &inode.extra_or_new().fifo;
        let old = slot.lock().replace(pipe);
        drop(old);
    }
}

struct PipeFs;
impl SuperOps for PipeFs {}
struct PipeInode;
impl InodeOps for PipeInode {
    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags) -> Result<FileOpsRef> {
        Err(Errno::ENXIO)
    }
}

fn pipe_mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| {
        let sb = SuperBlock::new(
            NewSuperBlock {
                fs_name: "pipefs",
                magic: PIPEFS_MAGIC,
                block_size: 4096,
                max_bytes: i64::MAX as u64,
                flags: MountFlags::empty(),
                dev: None,
                permanent: true,
            },
            PipeFs,
        );
        crate::fs::anon::internal_mount(&sb)
    })
}

/// A new pipe: its reading and its writing end.
pub fn create(flags: OpenFlags) -> Result<(Arc<File>, Arc<File>)> {
    let mount = pipe_mount();
    let task = task::current();
    let cred = task.my_cred();
    let new = NewInode {
        kind: FileKind::Fifo,
        mode: 0o600,
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev: DevNum(0),
    };
    let pipe = Pipe::new();
    let ops: &'static dyn InodeOps = &PipeInode;
    let inode = Inode::new(
        &mount.sb,
        mount.sb.next_ino(),
        &new,
        ops,
        InodeFlags::empty(),
    );
    let path = Path {
        mount: mount.clone(),
        dentry: Dentry::new_root(inode, b""),
    };
    pipe.open_end(true, true);
    let kept = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let end = |path: Path, flags: OpenFlags, mode| {
        File::new(
            path,
            FileOpsRef::from(pipe.clone()),
            flags,
            mode,
            cred.clone(),
        )
    };
    let reader = end(path.clone(), kept & OpenFlags::NONBLOCK, FileMode::READ);
    let writer = end(path, kept | OpenFlags::WRONLY, FileMode::WRITE);
    Ok((reader, writer))
}

/// `F_SETPIPE_SZ` and `F_GETPIPE_SZ`; EBADF if the file is no pipe.
pub fn fcntl(file: &File, cmd: u32, arg: usize) -> Result<usize> {
    let pipe = file.ops().pipe().ok_or(Errno::EBADF)?;
    if cmd == F_GETPIPE_SZ {
        return Ok(pipe.capacity());
    }
    pipe.set_capacity(arg as u32 as usize)
}
