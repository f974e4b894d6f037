//! The ioctls that every terminal has.
//!
//! `tty` is the terminal whose attributes and job control are meant: for the master of a pseudo-terminal that is the
//! slave. `own` says whether the file is that terminal's own.

use alloc::sync::Arc;

use abi::signal::Signo;
use abi::termios as t;
use abi::termios::{Termio, Termios, Termios1, Winsize};
use abi::{Errno, Result};

use super::core::Tty;
use super::{consoles, job};
use crate::fs::File;
use crate::mm::user::UserPtr;
use crate::sync::WaitQueue;
use crate::task::{self, Cap};
use crate::time;

/// How long `TCSBRK` with 0 holds a break.
const BREAK_NS: u64 = 250_000_000;

/// What a `TCSETS*` does first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Drain,
    DrainAndFlush,
}

/// Handles `cmd`, or answers `None` if no terminal knows it.
pub fn common(
    tty: &Arc<Tty>,
    file: &File,
    own: bool,
    cmd: u32,
    arg: usize,
) -> Option<Result<usize>> {
    let result = match cmd {
        t::TCGETS => put(arg, &tty.termios().without_speeds()),
        t::TCGETS2 => put(arg, &tty.termios()),
        t::TCGETA => put(arg, &tty.termios().to_termio()),
        t::TCSETS => set1(tty, arg, Before::Nothing),
        t::TCSETSW => set1(tty, arg, Before::Drain),
        t::TCSETSF => set1(tty, arg, Before::DrainAndFlush),
        t::TCSETS2 => set2(tty, arg, Before::Nothing),
        t::TCSETSW2 => set2(tty, arg, Before::Drain),
        t::TCSETSF2 => set2(tty, arg, Before::DrainAndFlush),
        t::TCSETA => set_termio(tty, arg, Before::Nothing),
        t::TCSETAW => set_termio(tty, arg, Before::Drain),
        t::TCSETAF => set_termio(tty, arg, Before::DrainAndFlush),
        t::TIOCGLCKTRMIOS => put_of(arg, || tty.state.lock().locked),
        t::TIOCSLCKTRMIOS => set_locked(tty, arg),
        t::TIOCGWINSZ => put_of(arg, || tty.state.lock().winsize),
        t::TIOCSWINSZ => UserPtr::<Winsize>::from(arg)
            .read()
            .map(|size| resize(tty, size)),
        t::TIOCGPGRP => get_foreground(tty, own, arg),
        t::TIOCSPGRP => set_foreground(tty, arg),
        t::TIOCGSID => get_session(tty, own, arg),
        t::TIOCSCTTY => tty.set_controlling(arg == 1, file.readable()).map(|()| 0),
        t::TIOCNOTTY => job::give_up(tty).map(|()| 0),
        t::TIOCSTI => insert(tty, arg),
        t::TIOCEXCL => Ok(set_exclusive(tty, true)),
        t::TIOCNXCL => Ok(set_exclusive(tty, false)),
        t::TIOCGEXCL => put_of(arg, || i32::from(tty.state.lock().exclusive)),
        t::TIOCGETD => put(arg, &i32::from(t::N_TTY)),
        t::TIOCSETD => set_discipline(tty, arg),
        t::TIOCGDEV => put(arg, &encode_dev(tty.dev)),
        // The masters of pseudo-terminals know it.
        t::TIOCGPTPEER => Err(Errno::EIO),
        t::TIOCVHANGUP if !is_admin() => Err(Errno::EPERM),
        t::TIOCVHANGUP => {
            tty.hang_up(false);
            Ok(0)
        }
        t::TIOCCONS => consoles::redirect(own.then_some(tty)),
        t::TIOCGSOFTCAR => put(arg, &i32::from(tty.termios().c_cflag & t::CLOCAL != 0)),
        t::TIOCSSOFTCAR => set_soft_carrier(tty, arg),
        t::TIOCMGET => tty.driver.modem().and_then(|lines| put(arg, &lines)),
        t::TIOCMSET | t::TIOCMBIS | t::TIOCMBIC => set_modem(tty, cmd, arg),
        t::TIOCSBRK => before_break(tty).map(|()| set_break(tty, true)),
        t::TIOCCBRK => tty
            .check_foreground(Signo::TTOU)
            .map(|()| set_break(tty, false)),
        t::TCSBRK => send_break(tty, arg == 0, BREAK_NS),
        t::TCSBRKP => {
            let tenths = (arg as u64).min(600);
            send_break(
                tty,
                true,
                if tenths == 0 {
                    BREAK_NS
                } else {
                    tenths * 100_000_000
                },
            )
        }
        _ => return None,
    };
    Some(result)
}

/// The ioctls of the line discipline, which look at the file's own end.
pub fn discipline(tty: &Arc<Tty>, cmd: u32, arg: usize) -> Option<Result<usize>> {
    let result = match cmd {
        t::TIOCINQ => put_of(arg, || tty.state.lock().ldisc.input_len() as i32),
        t::TIOCOUTQ => {
            let kept = tty.state.lock().echo.len();
            put(arg, &((tty.driver.pending() + kept) as i32))
        }
        t::TCFLSH => tty
            .check_foreground(Signo::TTOU)
            .and_then(|()| flush(tty, arg)),
        t::TCXONC => tty
            .check_foreground(Signo::TTOU)
            .and_then(|()| flow(tty, arg)),
        _ => return None,
    };
    Some(result)
}

pub fn put<T: zerocopy::IntoBytes + zerocopy::Immutable>(arg: usize, value: &T) -> Result<usize> {
    UserPtr::<T>::from(arg).write(value).map(|()| 0)
}

/// The same for what is read under a spin lock: that is released before user memory is touched.
pub fn put_of<T>(arg: usize, look: impl FnOnce() -> T) -> Result<usize>
where
    T: zerocopy::IntoBytes + zerocopy::Immutable,
{
    let value = look();
    put(arg, &value)
}

fn get_i32(arg: usize) -> Result<i32> {
    UserPtr::<i32>::from(arg).read()
}

fn is_admin() -> bool {
    task::current().my_cred().capable(Cap::SYS_ADMIN)
}

/// The device number as user space has it in 32 bits.
fn encode_dev((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn set1(tty: &Arc<Tty>, arg: usize, before: Before) -> Result<usize> {
    let new = UserPtr::<Termios1>::from(arg).read()?;
    set(tty, &tty.termios().with_termios1(&new), before)
}

fn set2(tty: &Arc<Tty>, arg: usize, before: Before) -> Result<usize> {
    set(tty, &UserPtr::<Termios>::from(arg).read()?, before)
}

fn set_termio(tty: &Arc<Tty>, arg: usize, before: Before) -> Result<usize> {
    let new = UserPtr::<Termio>::from(arg).read()?;
    set(tty, &tty.termios().with_termio(&new), before)
}

fn set(tty: &Arc<Tty>, new: &Termios, before: Before) -> Result<usize> {
    tty.check_foreground(Signo::TTOU)?;
    if before == Before::DrainAndFlush {
        tty.flush_input();
    }
    if before != Before::Nothing {
        tty.drain()?;
    }
    let (old, locked) = (tty.termios(), tty.state.lock().locked);
    let new = &new.keeping(&old, &locked);
    // Its `c_line` is kept and told, as on Linux, but the discipline is changed by TIOCSETD alone.
    tty.set_termios(new);
    Ok(0)
}

fn set_locked(tty: &Arc<Tty>, arg: usize) -> Result<usize> {
    if !is_admin() {
        return Err(Errno::EPERM);
    }
    let locked = UserPtr::<Termios1>::from(arg).read()?;
    tty.state.lock().locked = locked;
    Ok(0)
}

/// Sets the window size, and tells the foreground if it changed.
pub fn resize(tty: &Arc<Tty>, size: Winsize) -> usize {
    let changed = {
        let mut state = tty.state.lock();
        core::mem::replace(&mut state.winsize, size) != size
    };
    if changed {
        tty.driver.resized(size);
        tty.signal_foreground(Signo::WINCH);
    }
    0
}

fn get_foreground(tty: &Arc<Tty>, own: bool, arg: usize) -> Result<usize> {
    if own && !tty.is_current() {
        return Err(Errno::ENOTTY);
    }
    let id = tty
        .state
        .lock()
        .control
        .foreground
        .as_ref()
        .map_or(0, |(id, _)| id.0);
    put(arg, &id)
}

fn set_foreground(tty: &Arc<Tty>, arg: usize) -> Result<usize> {
    match tty.check_foreground(Signo::TTOU) {
        Err(Errno::EIO) => return Err(Errno::ENOTTY),
        other => other?,
    }
    tty.set_foreground(get_i32(arg)?).map(|()| 0)
}

fn get_session(tty: &Arc<Tty>, own: bool, arg: usize) -> Result<usize> {
    if own && !tty.is_current() {
        return Err(Errno::ENOTTY);
    }
    let session = tty
        .state
        .lock()
        .control
        .session
        .upgrade()
        .ok_or(Errno::ENOTTY)?;
    put(arg, &session.id.0)
}

/// `TIOCSTI`: a byte as if typed. Since it let programs type into shells above them, it takes a capability.
fn insert(tty: &Arc<Tty>, arg: usize) -> Result<usize> {
    if !is_admin() {
        return Err(Errno::EIO);
    }
    let byte = UserPtr::<u8>::from(arg).read()?;
    tty.receive(&[byte]);
    Ok(0)
}

fn set_exclusive(tty: &Arc<Tty>, on: bool) -> usize {
    tty.state.lock().exclusive = on;
    0
}

fn set_discipline(tty: &Arc<Tty>, arg: usize) -> Result<usize> {
    let number = get_i32(arg)?;
    tty.check_foreground(Signo::TTOU)?;
    if number == i32::from(t::N_TTY) {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

fn set_soft_carrier(tty: &Arc<Tty>, arg: usize) -> Result<usize> {
    let on = get_i32(arg)? != 0;
    let mut new = tty.termios();
    new.c_cflag = if on {
        new.c_cflag | t::CLOCAL
    } else {
        new.c_cflag & !t::CLOCAL
    };
    tty.set_termios(&new);
    Ok(0)
}

fn set_modem(tty: &Arc<Tty>, cmd: u32, arg: usize) -> Result<usize> {
    tty.driver.modem()?;
    let lines = UserPtr::<u32>::from(arg).read()?;
    let (set, clear) = match cmd {
        t::TIOCMBIS => (lines, 0),
        t::TIOCMBIC => (0, lines),
        _ => (lines, !lines),
    };
    tty.driver.set_modem(set, clear).map(|()| 0)
}

fn before_break(tty: &Arc<Tty>) -> Result<()> {
    tty.check_foreground(Signo::TTOU)?;
    tty.drain().map_err(|_| Errno::EINTR)
}

fn set_break(tty: &Tty, on: bool) -> usize {
    tty.driver.set_break(on);
    0
}

fn send_break(tty: &Arc<Tty>, really: bool, ns: u64) -> Result<usize> {
    before_break(tty)?;
    if !really || !tty.driver.set_break(true) {
        return Ok(0);
    }
    let deadline = time::monotonic_ns() + ns;
    let slept = WaitQueue::new().wait_until_deadline(Some(deadline), || None::<()>);
    tty.driver.set_break(false);
    slept.map(|_| 0).map_err(|_| Errno::EINTR)
}

fn flush(tty: &Arc<Tty>, which: usize) -> Result<usize> {
    let which = u32::try_from(which).map_err(|_| Errno::EINVAL)?;
    if !matches!(which, t::TCIFLUSH | t::TCOFLUSH | t::TCIOFLUSH) {
        return Err(Errno::EINVAL);
    }
    if which != t::TCOFLUSH {
        tty.flush_input();
    }
    if which != t::TCIFLUSH {
        tty.flush_output();
    }
    Ok(0)
}

fn flow(tty: &Arc<Tty>, what: usize) -> Result<usize> {
    match u32::try_from(what).map_err(|_| Errno::EINVAL)? {
        t::TCOOFF => tty.set_stopped(true),
        t::TCOON => tty.set_stopped(false),
        t::TCIOFF => send_character(tty, t::VSTOP)?,
        t::TCION => send_character(tty, t::VSTART)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Sends a flow control character to the other side.
fn send_character(tty: &Arc<Tty>, which: u32) -> Result<()> {
    let state = tty.state.lock();
    let byte = state.ldisc.termios().cc(which);
    if byte != t::DISABLED_CHAR {
        tty.driver.write(&[byte]);
    }
    Ok(())
}
