//! [`Tty`]: one terminal, whatever its hardware; and [`Driver`], what its hardware does.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use abi::poll::PollEvents;
use abi::signal::Signo;
use abi::termios::{TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_START, TIOCPKT_STOP};
use abi::termios::{Termios, Termios1, Winsize};
use abi::{Errno, Result};
use arrayvec::{ArrayString, ArrayVec};
use ldisc::{KeySignal, Ldisc, Port};

use super::turn::Turn;
use crate::fs::File;
use crate::fs::fasync::{Band, FasyncList};
use crate::sync::{SpinLock, WaitQueue};
use crate::task::Pid;
use crate::task::tree::{ProcessGroup, Session};

/// Echo kept while output is stopped or the driver is full; what comes beyond is dropped.
const ECHO_LIMIT: usize = 4096;

/// Most bytes handed to a driver at once.
const OUTPUT_BATCH: usize = 1024;

/// The hardware below a terminal. Calls marked with (locked) come with the terminal's state locked: they may only
/// hand bytes on or record.
pub trait Driver: Send + Sync {
    /// Takes output, at most `room()` bytes; returns how many. (locked)
    fn write(&self, bytes: &[u8]) -> usize;
    /// How many bytes `write` would take now. (locked)
    fn room(&self) -> usize;
    /// Bytes taken and not sent.
    fn pending(&self) -> usize {
        0
    }
    /// Drops bytes taken and not sent. (locked)
    fn flush(&self) {}
    /// Output stops or starts by flow control. (locked)
    fn set_stopped(&self, _stopped: bool) {}
    /// Asks the sender to pause or to go on: the input buffer is nearly full or was emptied.
    fn throttle(&self, _on: bool, _termios: &Termios) {}
    /// There is room for input again: deliver what was held back.
    fn input_room(&self) {}
    /// New attributes; the driver may correct what it cannot do.
    fn set_termios(&self, _old: &Termios, _new: &mut Termios) {}
    /// After some calls of `write`: whoever reads the other end is to be told.
    fn written(&self) {}
    /// Whether the terminal may be opened.
    fn check_open(&self) -> Result<()> {
        Ok(())
    }
    /// The terminal is opened and was not open.
    fn first_open(&self) -> Result<()> {
        Ok(())
    }
    /// The last open file went.
    fn last_close(&self) {}
    /// The state of packet mode changed; `bits` are of `TIOCPKT_*`. (locked)
    fn packet(&self, _bits: u8) {}
    /// The window changed by `TIOCSWINSZ`.
    fn resized(&self, _size: Winsize) {}
    /// Starts (`on`) or ends a break; false where the hardware has none, which as on Linux is no error.
    fn set_break(&self, _on: bool) -> bool {
        false
    }
    /// Modem lines (`TIOCM_*`).
    fn modem(&self) -> Result<u32> {
        Err(Errno::ENOTTY)
    }
    /// Sets and clears modem lines.
    fn set_modem(&self, _set: u32, _clear: u32) -> Result<()> {
        Err(Errno::ENOTTY)
    }
    /// Ioctls of this kind of terminal; `None`: not one of them.
    fn ioctl(
        &self,
        _tty: &Arc<Tty>,
        _file: &File,
        _cmd: u32,
        _arg: usize,
    ) -> Option<Result<usize>> {
        None
    }
    /// Whether the other end is closed, so that nothing will come from there again.
    fn other_end_closed(&self) -> bool {
        false
    }
    /// Whether this is a pseudo-terminal's slave: a dying session leader does not hang it up.
    fn is_pty(&self) -> bool {
        false
    }
}

/// What a session has of its terminal.
#[derive(Default)]
pub struct Control {
    /// The session whose controlling terminal this is.
    pub session: Weak<Session>,
    /// The foreground group, and its number: that survives the group.
    pub foreground: Option<(Pid, Weak<ProcessGroup>)>,
}

/// What a terminal's lock guards.
pub struct State {
    pub ldisc: Ldisc,
    pub winsize: Winsize,
    pub control: Control,
    /// Echo that the driver had no room for.
    pub echo: VecDeque<u8>,
    /// Output is stopped: by ^S (or `TCOOFF`, then only `TCOON` starts it).
    pub stopped: bool,
    pub stopped_by_ioctl: bool,
    /// `TIOCEXCL`.
    pub exclusive: bool,
    /// What programs cannot change (`TIOCSLCKTRMIOS`): flags by their bits, characters by any value but 0.
    pub locked: Termios1,
    /// Open files, hung up or not.
    pub opens: usize,
}

/// A terminal.
///
/// # Invariants
/// - `state` is taken only by tasks, never by interrupt handlers; under it only drivers' own locks are taken.
/// - An open file whose `epoch` is not the terminal's was hung up.
pub struct Tty {
    pub name: ArrayString<16>,
    /// Major and minor number.
    pub dev: (u32, u32),
    pub driver: Box<dyn Driver>,
    pub state: SpinLock<State>,
    /// Woken when there is input, and at the end of it.
    pub read_wait: WaitQueue,
    /// Woken when there is room for output.
    pub write_wait: WaitQueue,
    /// The open files that are signalled (`O_ASYNC`).
    pub fasync: FasyncList,
    /// A write found too little room since the files were last told that there is some.
    pub wants_room: AtomicBool,
    /// One reader, one writer at a time.
    pub readers: Turn,
    pub writers: Turn,
    /// Counts hang-ups.
    pub epoch: AtomicU32,
    /// The attributes it starts with, and has again after its last close if the driver says so.
    pub initial: Termios,
}

/// Signals and wake-ups that were noted under the lock, to be done after it.
#[derive(Default)]
pub struct Todo {
    pub signals: ArrayVec<Signo, 8>,
    pub wake_writers: bool,
    pub echoed: bool,
}

/// The terminal's surroundings as the line discipline sees them, while the state is locked.
pub struct Surroundings<'a> {
    driver: &'a dyn Driver,
    echo: &'a mut VecDeque<u8>,
    stopped: &'a mut bool,
    stopped_by_ioctl: bool,
    todo: &'a mut Todo,
}

impl Port for Surroundings<'_> {
    fn echo(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        if self.echo.is_empty() && !*self.stopped && self.driver.room() >= bytes.len() {
            sent = self.driver.write(bytes);
            self.todo.echoed = true;
        }
        let rest = &bytes[sent..];
        if self.echo.len() + rest.len() <= ECHO_LIMIT {
            self.echo.extend(rest);
        }
    }

    fn signal(&mut self, signal: KeySignal) {
        let signo = match signal {
            KeySignal::Interrupt => Signo::INT,
            KeySignal::Quit => Signo::QUIT,
            KeySignal::Suspend => Signo::TSTP,
        };
        // More than a few in one piece of input are the same few again.
        let _ = self.todo.signals.try_push(signo);
    }

    fn flush_output(&mut self) {
        self.echo.clear();
        self.driver.flush();
        self.driver.packet(TIOCPKT_FLUSHWRITE as u8);
        self.todo.wake_writers = true;
    }

    fn flushed_input(&mut self) {
        self.driver.packet(TIOCPKT_FLUSHREAD as u8);
    }

    fn stop(&mut self) {
        if !*self.stopped {
            *self.stopped = true;
            self.driver.set_stopped(true);
            self.driver.packet(TIOCPKT_STOP as u8);
        }
    }

    fn start(&mut self) {
        if *self.stopped && !self.stopped_by_ioctl {
            *self.stopped = false;
            self.driver.set_stopped(false);
            self.driver.packet(TIOCPKT_START as u8);
            self.todo.wake_writers = true;
            send_echo(self.driver, self.echo);
            self.todo.echoed = true;
        }
    }

    fn stopped(&self) -> bool {
        *self.stopped
    }
}

/// Hands kept echo to the driver as far as there is room.
fn send_echo(driver: &dyn Driver, echo: &mut VecDeque<u8>) {
    while !echo.is_empty() && driver.room() > 0 {
        let (first, _) = echo.as_slices();
        let piece = first.len().min(driver.room());
        let sent = driver.write(&first[..piece]);
        if sent == 0 {
            return;
        }
        echo.drain(..sent);
    }
}

impl Tty {
    /// A terminal on `driver`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(
        name: &str,
        dev: (u32, u32),
        initial: Termios,
        driver: Box<dyn Driver>,
    ) -> Result<Arc<Tty>> {
        let mut echo = VecDeque::new();
        echo.try_reserve_exact(ECHO_LIMIT)
            .map_err(|_| Errno::ENOMEM)?;
        let name = ArrayString::from(name).map_err(|_| Errno::EINVAL)?;
        Ok(Arc::new(Tty {
            name,
            dev,
            driver,
            state: SpinLock::new(State {
                ldisc: Ldisc::try_new(initial).ok_or(Errno::ENOMEM)?,
                winsize: Winsize::default(),
                control: Control::default(),
                echo,
                stopped: false,
                stopped_by_ioctl: false,
                exclusive: false,
                locked: Termios1::default(),
                opens: 0,
            }),
            read_wait: WaitQueue::new(),
            write_wait: WaitQueue::new(),
            fasync: FasyncList::default(),
            wants_room: AtomicBool::new(false),
            readers: Turn::new(),
            writers: Turn::new(),
            epoch: AtomicU32::new(0),
            initial,
        }))
    }

    /// The number of hang-ups so far.
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Runs `f` on the line discipline with its surroundings, and then does what was noted.
    fn with_ldisc<R>(&self, f: impl FnOnce(&mut Ldisc, &mut Surroundings<'_>) -> R) -> R {
        let mut todo = Todo::default();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut surroundings = Surroundings {
            driver: &*self.driver,
            echo: &mut state.echo,
            stopped: &mut state.stopped,
            stopped_by_ioctl: state.stopped_by_ioctl,
            todo: &mut todo,
        };
        let result = f(&mut state.ldisc, &mut surroundings);
        drop(guard);
        self.finish(todo);
        result
    }

    fn finish(&self, todo: Todo) {
        for signo in todo.signals {
            self.signal_foreground(signo);
        }
        if todo.echoed {
            self.driver.written();
        }
        if todo.wake_writers {
            self.wake_writers();
        }
    }

    /// Takes bytes from the wire, and returns how many; the rest is to be offered again after
    /// [`Driver::input_room`].
    pub fn receive(&self, bytes: &[u8]) -> usize {
        let (used, readable, throttle) = self.with_ldisc(|ldisc, port| {
            let used = ldisc.receive(bytes, port);
            (
                used,
                ldisc.readable(),
                ldisc.check_throttle().then(|| *ldisc.termios()),
            )
        });
        if readable {
            self.read_wait.wake_events(PollEvents::READABLE);
            self.fasync.tell(Band::In);
        }
        if let Some(termios) = throttle {
            self.driver.throttle(true, &termios);
        }
        used
    }

    /// Takes a byte that came with an error, or a break.
    pub fn receive_flawed(&self, byte: u8, flaw: ldisc::Flaw) {
        self.with_ldisc(|ldisc, port| ldisc.receive_flawed(byte, flaw, port));
        self.read_wait.wake_events(PollEvents::READABLE);
        self.fasync.tell(Band::In);
    }

    fn wake_writers(&self) {
        self.write_wait.wake_events(PollEvents::WRITABLE);
        if self.fasync.is_used() && self.wants_room.swap(false, Ordering::Relaxed) {
            self.fasync.tell(Band::Out);
        }
    }

    /// The driver has room again.
    pub fn output_room(&self) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if !state.stopped {
            send_echo(&*self.driver, &mut state.echo);
        }
        drop(guard);
        self.wake_writers();
    }

    /// Processes `bytes` for output as far as there is room; returns how many were used.
    pub fn output(&self, bytes: &[u8]) -> usize {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.stopped {
            return 0;
        }
        send_echo(&*self.driver, &mut state.echo);
        if !state.echo.is_empty() {
            return 0;
        }
        // Lines make many short runs: the driver gets them together.
        let mut out = ArrayVec::<u8, OUTPUT_BATCH>::new();
        let room = self.driver.room().min(OUTPUT_BATCH);
        let used = state.ldisc.output(bytes, room, |piece| {
            let fitted = out.try_extend_from_slice(piece);
            debug_assert!(fitted.is_ok(), "no more than the room is put out");
        });
        self.driver.write(&out);
        drop(guard);
        if used > 0 {
            self.driver.written();
        }
        used
    }

    /// Stops output, or starts it again, by `TCXONC`.
    pub fn set_stopped(&self, stop: bool) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.stopped_by_ioctl = stop;
        let changed = state.stopped != stop;
        if changed {
            state.stopped = stop;
            self.driver.set_stopped(stop);
            self.driver.packet(if stop {
                TIOCPKT_STOP as u8
            } else {
                TIOCPKT_START as u8
            });
            if !stop {
                send_echo(&*self.driver, &mut state.echo);
            }
        }
        drop(guard);
        if changed && !stop {
            self.wake_writers();
        }
    }

    /// Drops input that was not read.
    pub fn flush_input(&self) {
        let mut state = self.state.lock();
        state.ldisc.flush_input();
        self.driver.packet(TIOCPKT_FLUSHREAD as u8);
        let unthrottle = state
            .ldisc
            .check_unthrottle()
            .then(|| *state.ldisc.termios());
        drop(state);
        self.unthrottled(unthrottle);
    }

    /// Drops output that was not sent.
    pub fn flush_output(&self) {
        let mut state = self.state.lock();
        state.echo.clear();
        self.driver.flush();
        self.driver.packet(TIOCPKT_FLUSHWRITE as u8);
        drop(state);
        self.wake_writers();
    }

    /// After input was taken out: lets the sender go on.
    pub fn unthrottled(&self, termios: Option<Termios>) {
        if let Some(termios) = termios {
            self.driver.throttle(false, &termios);
        }
        self.driver.input_room();
    }

    /// The attributes in force.
    pub fn termios(&self) -> Termios {
        *self.state.lock().ldisc.termios()
    }

    /// Puts new attributes in force.
    pub fn set_termios(&self, new: &Termios) {
        let old = self.termios();
        let mut new = *new;
        new.update_speeds();
        self.driver.set_termios(&old, &mut new);
        self.with_ldisc(|ldisc, port| ldisc.set_termios(new, port));
        self.read_wait.wake_all();
        self.write_wait.wake_all();
    }
}
