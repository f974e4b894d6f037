//! `VT_*` and `KD*`: switching consoles, the keyboard's mode and map.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::vt as v;
use abi::vt::{KbEntry, VtMode, VtStat};
use abi::{Errno, Result};
use keymap::{Leds, Symbol};

use super::super::core::Tty;
use super::super::ioctl::{put, put_of};
use super::keyboard::{self, with_keyboard};
use super::{ACTIVE, SWITCHED, Vt, all, complete_switch, switch_to};
use crate::fs::File;
use crate::mm::user::UserPtr;
use crate::task::{self, Cap};

/// `K(KT_SPEC, 126)` and `127`: no symbol, and no such table.
const NO_SUCH_MAP: u16 = 0x027f;
/// How many types of key symbols there are.
const NR_KINDS: u8 = 14;
/// `TIOCLINUX`: the shift state, and the number of the shown console.
const TIOCL_GETSHIFTSTATE: u8 = 6;
const TIOCL_GETFGCONSOLE: u8 = 12;
/// `KDFONTOP`: fonts, which this console does not load.
const KDFONTOP: u32 = 0x4b72;
/// Consoles that exist on Linux: a number up to this is valid.
const MAX_NUMBER: usize = 63;

/// Handles `cmd`, or answers `None` if it is none of a console's.
pub fn handle(
    vt: &Arc<Vt>,
    tty: &Arc<Tty>,
    _file: &File,
    cmd: u32,
    arg: usize,
) -> Option<Result<usize>> {
    let allowed = || {
        let ok = tty.is_current() || has(Cap::SYS_TTY_CONFIG);
        if ok { Ok(()) } else { Err(Errno::EPERM) }
    };
    Some(match cmd {
        v::VT_OPENQRY => put(arg, &first_unused()),
        v::VT_GETSTATE => get_state(arg),
        v::VT_ACTIVATE => allowed().and_then(|()| activate(arg)),
        v::VT_WAITACTIVE => allowed().and_then(|()| wait_active(arg)),
        v::VT_GETMODE => put_of(arg, || vt.settings.lock().mode),
        v::VT_SETMODE => allowed().and_then(|()| set_mode(vt, arg)),
        v::VT_RELDISP => allowed().and_then(|()| release(vt, arg)),
        v::VT_DISALLOCATE => disallocate(arg),
        v::KDGETMODE => put_of(arg, || vt.settings.lock().display),
        v::KDSETMODE => allowed().and_then(|()| set_display(vt, arg)),
        v::KDGKBTYPE => put(arg, &v::KB_101),
        v::KDGKBMODE => put_of(arg, || vt.settings.lock().keyboard),
        v::KDSKBMODE => allowed().and_then(|()| set_keyboard_mode(vt, tty, arg)),
        v::KDGKBMETA => {
            let meta = vt.settings.lock().meta_bit;
            put(arg, &if meta { v::K_METABIT } else { v::K_ESCPREFIX })
        }
        v::KDSKBMETA => allowed().and_then(|()| set_meta(vt, arg)),
        v::KDGETLED | v::KDGKBLED => {
            let bits = with_keyboard(|k| keyboard::led_bits(k.leds)).unwrap_or(0);
            put(arg, &bits)
        }
        v::KDSETLED | v::KDSKBLED => allowed().and_then(|()| set_leds(arg)),
        v::KDGKBENT => get_entry(arg),
        v::KDSKBENT => set_entry(vt, arg),
        // As a Linux without a speaker driver: nothing sounds.
        v::KIOCSOUND | v::KDMKTONE => allowed().map(|()| 0),
        KDFONTOP => Err(Errno::ENOSYS),
        abi::termios::TIOCLINUX => tioclinux(arg),
        _ => return None,
    })
}

fn has(cap: Cap) -> bool {
    task::current().my_cred().capable(cap)
}

/// The number of the first console that nobody has open, -1 if there is none.
fn first_unused() -> i32 {
    let unused = all()
        .iter()
        .find(|vt| vt.tty().is_some_and(|tty| tty.state.lock().opens == 0));
    unused.map_or(-1, |vt| vt.number as i32)
}

fn get_state(arg: usize) -> Result<usize> {
    let open = |vt: &&Arc<Vt>| vt.tty().is_some_and(|tty| tty.state.lock().opens > 0);
    let state = all()
        .iter()
        .filter(open)
        .fold(1u16, |bits, vt| bits | 1 << vt.number);
    let v_active = ACTIVE.load(Ordering::Acquire) as u16 + 1;
    put(
        arg,
        &VtStat {
            v_active,
            v_signal: 0,
            v_state: state,
        },
    )
}

fn index_of(number: usize) -> Result<usize> {
    if number == 0 || number > MAX_NUMBER {
        return Err(Errno::ENXIO);
    }
    Ok(number - 1)
}

fn activate(number: usize) -> Result<usize> {
    switch_to(index_of(number)?).map(|()| 0)
}

fn wait_active(number: usize) -> Result<usize> {
    let index = index_of(number)?;
    if index >= all().len() {
        return Err(Errno::ENXIO);
    }
    SWITCHED.wait_until(|| (ACTIVE.load(Ordering::Acquire) == index).then_some(0))
}

fn set_mode(vt: &Vt, arg: usize) -> Result<usize> {
    let mode = UserPtr::<VtMode>::from(arg).read()?;
    if mode.mode != v::VT_AUTO && mode.mode != v::VT_PROCESS {
        return Err(Errno::EINVAL);
    }
    let owner = task::current().process.pid;
    let mut settings = vt.settings.lock();
    settings.mode = VtMode { frsig: 0, ..mode };
    settings.owner = owner;
    settings.leaving_for = None;
    Ok(0)
}

/// `VT_RELDISP`: the owner lets the switch happen (1), refuses it (0), or has taken its console over (2).
fn release(vt: &Vt, arg: usize) -> Result<usize> {
    let target = {
        let mut settings = vt.settings.lock();
        if settings.mode.mode != v::VT_PROCESS {
            return Err(Errno::EINVAL);
        }
        match settings.leaving_for.take() {
            Some(target) => target,
            None if arg == v::VT_ACKACQ => return Ok(0),
            None => return Err(Errno::EINVAL),
        }
    };
    if arg != 0 {
        complete_switch(target);
    }
    Ok(0)
}

/// `VT_DISALLOCATE`: a console that nobody has open is as new; 0 means all of them.
fn disallocate(number: usize) -> Result<usize> {
    if number > MAX_NUMBER {
        return Err(Errno::ENXIO);
    }
    for vt in all().iter().filter(|vt| number == 0 || vt.number == number) {
        let busy = vt.is_shown() || vt.tty().is_some_and(|tty| tty.state.lock().opens > 0);
        match (busy, number) {
            (true, 0) => {}
            (true, _) => return Err(Errno::EBUSY),
            (false, _) => vt.show(b"\x1bc\x1b[3J"),
        }
    }
    Ok(0)
}

fn set_display(vt: &Vt, arg: usize) -> Result<usize> {
    let display = u32::try_from(arg).map_err(|_| Errno::EINVAL)?;
    if display != v::KD_TEXT && display != v::KD_GRAPHICS {
        return Err(Errno::EINVAL);
    }
    vt.settings.lock().display = display;
    vt.terminal.lock().screen_mut().touch_all();
    super::screen::request();
    Ok(0)
}

fn set_keyboard_mode(vt: &Vt, tty: &Tty, arg: usize) -> Result<usize> {
    let mode = u32::try_from(arg).map_err(|_| Errno::EINVAL)?;
    if mode > v::K_OFF {
        return Err(Errno::EINVAL);
    }
    vt.settings.lock().keyboard = mode;
    tty.flush_input();
    Ok(0)
}

fn set_meta(vt: &Vt, arg: usize) -> Result<usize> {
    let bit = match u32::try_from(arg) {
        Ok(v::K_METABIT) => true,
        Ok(v::K_ESCPREFIX) => false,
        _ => return Err(Errno::EINVAL),
    };
    vt.settings.lock().meta_bit = bit;
    Ok(0)
}

fn set_leds(arg: usize) -> Result<usize> {
    // Values above 7 make the lights follow the locks, as they do anyway.
    if arg <= 7 {
        let leds = Leds {
            scroll: arg & 1 != 0,
            num: arg & 2 != 0,
            caps: arg & 4 != 0,
        };
        with_keyboard(|k| k.leds = leds);
    }
    keyboard::show_leds();
    Ok(0)
}

fn get_entry(arg: usize) -> Result<usize> {
    let mut entry = UserPtr::<KbEntry>::from(arg).read()?;
    let symbol = with_keyboard(|k| k.map.get(entry.kb_table, entry.kb_index)).flatten();
    entry.kb_value = match symbol {
        Some(symbol) => symbol.0,
        None if entry.kb_index == 0 => NO_SUCH_MAP,
        None => Symbol::HOLE.0,
    };
    put(arg, &entry)
}

fn set_entry(vt: &Vt, arg: usize) -> Result<usize> {
    let entry = UserPtr::<KbEntry>::from(arg).read()?;
    if !has(Cap::SYS_TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    let symbol = Symbol(entry.kb_value);
    if entry.kb_index == 0 && entry.kb_value == NO_SUCH_MAP {
        with_keyboard(|k| k.map.remove(entry.kb_table));
        return Ok(0);
    }
    let unicode = symbol.unicode().is_some();
    if unicode && vt.settings.lock().keyboard != v::K_UNICODE {
        return Err(Errno::EINVAL);
    }
    if !unicode && symbol.kind() >= NR_KINDS {
        return Err(Errno::EINVAL);
    }
    match with_keyboard(|k| k.map.set(entry.kb_table, entry.kb_index, symbol)) {
        Some(true) => Ok(0),
        _ => Err(Errno::ENOMEM),
    }
}

fn tioclinux(arg: usize) -> Result<usize> {
    match UserPtr::<u8>::from(arg).read()? {
        TIOCL_GETSHIFTSTATE => put(arg, &with_keyboard(|k| k.modifiers()).unwrap_or(0)),
        TIOCL_GETFGCONSOLE => Ok(ACTIVE.load(Ordering::Acquire)),
        _ => Err(Errno::EINVAL),
    }
}
