//! Terminals, by pseudo-terminals: a case types at the master and sees what comes of it.
//!
//! | module | what |
//! |---|---|
//! | [`line`] | the line discipline: editing, echo, raw input, output modes |
//! | [`pair`] | both ends: opening, closing, attributes, packet mode, queues |
//! | [`job`] | controlling terminals, foreground groups, signals from keys |
//! | [`hangup`] | the ends of leaders and masters, and hanging up |
//! | [`session`] | leaders and jobs for both of these |
//!
//! On Linux input passes through a worker before it is echoed and can be read, so a case waits for
//! the echo, for readiness, or by a read that blocks; what must not come is looked for only after
//! something that comes later is there.

pub mod hangup;
pub mod job;
pub mod line;
pub mod pair;
pub mod session;

use crate::check::*;
use crate::sys::*;

// What the C library has no name for.
pub const TIOCGLCKTRMIOS: u32 = 0x5456;
pub const TIOCSLCKTRMIOS: u32 = 0x5457;
pub const TIOCSIG: u32 = 0x4004_5436;
pub const TIOCGDEV: u32 = 0x8004_5432;

/// `struct termios` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Termios {
    pub iflag: u32,
    pub oflag: u32,
    pub cflag: u32,
    pub lflag: u32,
    pub line: u8,
    pub cc: [u8; 19],
}

impl Termios {
    /// Neither lines nor signals nor echo, input and output as they are.
    pub fn make_raw(&mut self) {
        self.iflag = 0;
        self.oflag = 0;
        self.lflag = 0;
        self.need(1, 0);
    }

    /// VMIN and VTIME.
    pub fn need(&mut self, min: u8, time: u8) {
        self.cc[libc::VMIN] = min;
        self.cc[libc::VTIME] = time;
    }
}

pub fn attributes(fd: i32) -> Sys<Termios> {
    let mut termios = Termios::default();
    sys!(SYS_ioctl, fd, libc::TCGETS, &mut termios)?;
    Ok(std::hint::black_box(termios))
}

pub fn set_attributes(fd: i32, termios: &Termios) -> Sys {
    sys!(SYS_ioctl, fd, libc::TCSETS, termios)
}

/// An ioctl that answers a number.
pub fn ask(fd: i32, request: impl Arg) -> Sys<i32> {
    let mut answer = -1;
    sys!(SYS_ioctl, fd, request, &mut answer)?;
    Ok(std::hint::black_box(answer))
}

/// An ioctl that is given a number by address.
pub fn tell(fd: i32, request: impl Arg, value: i32) -> Sys {
    sys!(SYS_ioctl, fd, request, &value)
}

/// Makes reads and writes through this descriptor fail rather than wait, or wait again.
pub fn set_nonblocking(fd: i32, on: bool) -> Sys {
    let flags = if on { libc::O_NONBLOCK } else { 0 };
    sys!(SYS_fcntl, fd, libc::F_SETFL, libc::O_RDWR | flags)
}

/// Waits until one of the events is there.
pub fn await_ready(fd: i32, events: i16) -> Outcome<i16> {
    Ok(poll_one(fd, events, -1)?)
}

/// Both ends of a pseudo-terminal.
pub struct Pty {
    pub master: i32,
    pub slave: i32,
}

/// A new master, and its slave's path.
pub fn open_master() -> Outcome<(i32, String)> {
    let master = open(
        c"/dev/ptmx",
        libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
    )?;
    tell(master, libc::TIOCSPTLCK, 0)?;
    let number = ask(master, libc::TIOCGPTN)?;
    Ok((master, format!("/dev/pts/{number}")))
}

impl Pty {
    /// A new pseudo-terminal that controls nobody.
    pub fn open() -> Outcome<Pty> {
        let (master, path) = open_master()?;
        let slave = open(&c_string(&path), libc::O_RDWR | libc::O_NOCTTY)?;
        Ok(Pty { master, slave })
    }

    /// The same with these attributes.
    pub fn with(change: impl FnOnce(&mut Termios)) -> Outcome<Pty> {
        let pty = Pty::open()?;
        pty.change(change)?;
        Ok(pty)
    }

    /// The same in raw mode.
    pub fn raw() -> Outcome<Pty> {
        Pty::with(Termios::make_raw)
    }

    /// The slave's path.
    pub fn path(&self) -> Outcome<std::ffi::CString> {
        let number = ask(self.master, libc::TIOCGPTN)?;
        Ok(c_string(&format!("/dev/pts/{number}")))
    }

    /// Changes the attributes.
    pub fn change(&self, change: impl FnOnce(&mut Termios)) -> Outcome {
        let mut termios = attributes(self.slave)?;
        change(&mut termios);
        set_attributes(self.slave, &termios)?;
        Ok(())
    }

    /// Types at the keyboard.
    #[track_caller]
    pub fn type_in(&self, bytes: &[u8]) -> Outcome {
        equal(write(self.master, bytes)?, bytes.len())
    }

    /// The screen must show this next.
    #[track_caller]
    pub fn shows(&self, want: &[u8]) -> Outcome {
        let mut got = Vec::new();
        while got.len() < want.len() {
            let mut bytes = vec![0; want.len() - got.len()];
            let count = read(self.master, &mut bytes)?;
            got.extend_from_slice(&bytes[..count]);
            if !want.starts_with(&got) {
                break;
            }
        }
        equal(shown(&got), shown(want))
    }

    /// One read by a program must answer this.
    #[track_caller]
    pub fn reads(&self, want: &[u8]) -> Outcome {
        equal(shown(&read_some(self.slave)?), shown(want))
    }

    /// Types, and what the screen then shows must be this. The settings must echo something.
    #[track_caller]
    pub fn echoes(&self, bytes: &[u8], want: &[u8]) -> Outcome {
        self.type_in(bytes)?;
        self.shows(want)
    }

    /// A program must have nothing to read.
    #[track_caller]
    pub fn has_no_input(&self) -> Outcome {
        equal(ready(self.slave, libc::POLLIN)?, 0)?;
        set_nonblocking(self.slave, true)?;
        let got = read_some(self.slave);
        set_nonblocking(self.slave, false)?;
        fails(got, libc::EAGAIN)
    }

    /// Nothing must be left to see. The cursor is in the first column afterwards.
    #[track_caller]
    pub fn shows_no_more(&self) -> Outcome {
        write(self.slave, b"#\r")?;
        self.shows(b"#\r")
    }

    /// Waits until this much can be read by a program.
    pub fn await_input(&self, count: i32) -> Outcome {
        while ask(self.slave, libc::FIONREAD)? < count {
            nap();
        }
        equal(ask(self.slave, libc::FIONREAD)?, count)
    }

    /// Closes both ends.
    pub fn close(self) -> Outcome {
        close(self.slave)?;
        close(self.master)?;
        Ok(())
    }
}

/// Bytes as text for a message.
pub fn shown(bytes: &[u8]) -> String {
    if bytes.len() > 200 {
        return format!("{} bytes: {}…", bytes.len(), shown(&bytes[..100]));
    }
    bytes.escape_ascii().to_string()
}
