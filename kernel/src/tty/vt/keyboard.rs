//! The keyboard: interrupts queue what keys did, the worker gives it to the shown console.

use alloc::sync::Arc;

use abi::signal::{SigInfo, Signo};
use abi::vt::{K_MEDIUMRAW, K_OFF, K_RAW, K_XLATE};
use arrayvec::ArrayVec;
use drivers::hal::Ports;
use drivers::i8042::{self, PORT_COUNT};
use keymap::{Action, Command, Decoder, Encoding, Leds, Modes, Press};
use spin::Once;

use super::super::worker::{self, Source};
use super::{ACTIVE, COUNT, LAST, Vt, shown, switch_to};
use crate::arch::irq;
use crate::boot;
use crate::signal;
use crate::sync::{IrqSpinLock, SpinLock};
use crate::task::{self, Pid};

/// First port of the controller, and its legacy interrupt line.
const PORT: u16 = 0x60;
const LINE: u8 = 1;

/// The keyboard.
struct Keys {
    keyboard: keymap::Keyboard,
    decoder: Decoder,
    /// Keys that are down: a further press is a repeat.
    down: [bool; 256],
    shown_leds: Option<Leds>,
}

struct KeySource;

/// Scan codes on their way.
static QUEUE: IrqSpinLock<ArrayVec<u8, 256>> = IrqSpinLock::new(ArrayVec::new_const());
static KEYS: Once<SpinLock<Keys>> = Once::new();
static CONTROLLER: Once<i8042::Keyboard<Ports>> = Once::new();

fn push(byte: u8) {
    // A queue that is full loses keys, as a keyboard does.
    let _ = QUEUE.lock().try_push(byte);
    worker::kick();
}

fn on_interrupt(_: usize) {
    if let Some(controller) = CONTROLLER.get() {
        controller.interrupt(push);
    }
}

/// Sets the key map of the command line, and starts the PS/2 keyboard if there is one.
pub fn init() {
    let wanted = boot::info().cmdline.value("keymap").unwrap_or("us");
    let map = keymap::layout(wanted).or_else(|| {
        ::log::warn!("keymap={wanted}: there are {:?}", keymap::LAYOUTS);
        keymap::layout("us")
    });
    let map = map.unwrap_or_else(keymap::KeyMap::empty);
    KEYS.call_once(|| {
        SpinLock::new(Keys {
            keyboard: keymap::Keyboard::new(map),
            decoder: Decoder::default(),
            down: [false; 256],
            shown_leds: None,
        })
    });
    worker::add(Arc::new(KeySource));
    let Some(controller) = i8042::Keyboard::probe(Ports::new(PORT, PORT_COUNT)) else {
        ::log::info!("i8042: no PS/2 keyboard");
        return;
    };
    CONTROLLER.call_once(|| controller);
    let Some(vector) = irq::register(on_interrupt, 0) else {
        ::log::warn!("i8042: no interrupt vector left");
        return;
    };
    let (gsi, trigger, polarity) = irq::isa_to_gsi(LINE);
    if !irq::route_gsi(gsi, vector, trigger, polarity) {
        ::log::warn!("i8042: interrupt line {LINE} leads nowhere");
    }
    // A byte that came before the line was led anywhere holds all others back.
    let _off = irq::IrqGuard::new();
    on_interrupt(0);
}

/// Runs `f` on the key map and locks.
pub fn with_keyboard<R>(f: impl FnOnce(&mut keymap::Keyboard) -> R) -> Option<R> {
    Some(f(&mut KEYS.get()?.lock().keyboard))
}

impl Source for KeySource {
    fn work(&self) {
        loop {
            let bytes = core::mem::take(&mut *QUEUE.lock());
            if bytes.is_empty() {
                break;
            }
            bytes.into_iter().for_each(handle);
        }
        show_leds();
    }
}

/// Brings the lights in line with the locks. Also after `KDSETLED`.
pub fn show_leds() {
    let Some(keys) = KEYS.get() else { return };
    let leds = {
        let mut keys = keys.lock();
        let leds = keys.keyboard.leds;
        if keys.shown_leds.replace(leds) == Some(leds) {
            return;
        }
        leds
    };
    if let Some(controller) = CONTROLLER.get() {
        controller.set_leds(led_bits(leds));
    }
}

/// Lights as ioctls and the keyboard have them: Scroll Lock 1, Num Lock 2, Caps Lock 4.
pub fn led_bits(leds: Leds) -> u8 {
    u8::from(leds.scroll) | u8::from(leds.num) << 1 | u8::from(leds.caps) << 2
}

fn handle(byte: u8) {
    let (Some(vt), Some(keys)) = (shown(), KEYS.get()) else {
        return;
    };
    let (kind, meta_bit) = {
        let settings = vt.settings.lock();
        (settings.keyboard, settings.meta_bit)
    };
    if kind == K_RAW {
        feed(vt, &[byte]);
    }
    let mut keys = keys.lock();
    let Some((code, press)) = keys.decode(byte) else {
        return;
    };
    if kind == K_MEDIUMRAW && code < 128 {
        drop(keys);
        feed(vt, &[code | if press == Press::Up { 0x80 } else { 0 }]);
        return;
    }
    let modes = vt.terminal.lock().screen().key_modes();
    let modes = Modes {
        application_cursor: modes.application_cursor,
        application_keypad: modes.application_keypad,
        newline: modes.newline,
        meta_bit,
    };
    let encoding = if kind == K_XLATE {
        Encoding::Latin1
    } else {
        Encoding::Utf8
    };
    let action = keys.keyboard.key(code, press, modes, encoding);
    drop(keys);
    match action {
        // Raw and switched-off keyboards keep their modifiers up to date and do nothing else.
        _ if matches!(kind, K_RAW | K_OFF | K_MEDIUMRAW) => {}
        Action::None => {}
        Action::Text(text) => {
            if feed(vt, &text) {
                vt.terminal.lock().screen_mut().reset_view();
                super::screen::request();
            }
        }
        Action::Command(command) => run(vt, command),
    }
}

impl Keys {
    /// The key and what it did.
    fn decode(&mut self, byte: u8) -> Option<(u8, Press)> {
        let key = self.decoder.feed(byte)?;
        let down = self.down.get_mut(usize::from(key.code))?;
        let press = match (key.down, *down) {
            (false, _) => Press::Up,
            (true, true) => Press::Repeat,
            (true, false) => Press::Down,
        };
        *down = key.down;
        Some((key.code, press))
    }
}

/// Types bytes on a console; false if nobody has it.
fn feed(vt: &Vt, bytes: &[u8]) -> bool {
    match vt.tty() {
        // What does not fit is lost, as when nobody reads.
        Some(tty) => tty.receive(bytes) > 0,
        None => false,
    }
}

fn run(vt: &Vt, command: Command) {
    let active = ACTIVE.load(core::sync::atomic::Ordering::Acquire);
    let target = match command {
        Command::Switch(number) => usize::from(number).wrapping_sub(1),
        Command::NextConsole => (active + 1) % COUNT,
        Command::PreviousConsole => (active + COUNT - 1) % COUNT,
        Command::LastConsole => LAST.load(core::sync::atomic::Ordering::Acquire),
        Command::ScrollBack | Command::ScrollForward => {
            let mut terminal = vt.terminal.lock();
            let half = (terminal.screen().size().1 / 2).max(1) as isize;
            let back = command == Command::ScrollBack;
            terminal
                .screen_mut()
                .scroll_view(if back { half } else { -half });
            drop(terminal);
            return super::screen::request();
        }
        Command::Hold => return hold(vt),
        Command::Boot => return reboot(),
    };
    // A number without a console is a key without a meaning.
    let _ = switch_to(target);
}

/// Scroll Lock: stops the output, or starts it.
fn hold(vt: &Vt) {
    let Some(tty) = vt.tty() else { return };
    let stop = !tty.state.lock().stopped;
    tty.set_stopped(stop);
    with_keyboard(|keyboard| keyboard.leds.scroll = stop);
}

/// Ctrl-Alt-Del: init decides.
fn reboot() {
    if let Some(init) = task::find_process(Pid::INIT) {
        let _ = signal::send_to_process(&init, SigInfo::kernel(Signo::INT));
    }
}
