//! Byte streams, consoles, entropy sources, keyboards and mice.

use alloc::sync::Arc;

use crate::Result;

/// A stream of bytes without line discipline.
pub trait CharDevice: Send + Sync {
    /// Bytes read into `buffer`; 0 when there are none now.
    fn read(&self, buffer: &mut [u8]) -> Result<usize>;

    /// Bytes taken from `bytes`; 0 when there is no room now.
    fn write(&self, bytes: &[u8]) -> Result<usize>;
}

/// Text columns and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    pub columns: u16,
    pub rows: u16,
}

/// What was wrong with a received byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFlaw {
    /// The line was held low: no byte.
    Break,
    Parity,
    Framing,
}

/// What a console tells its user. Called from interrupt context too.
pub trait ConsoleEvents: Send + Sync {
    /// Bytes came in.
    fn input(&self, bytes: &[u8]);

    /// A byte came in damaged, or a break. Comes after the bytes before it. Only serial lines tell.
    fn flaw(&self, _byte: u8, _flaw: InputFlaw) {}

    /// There is room again after a `write` that took less than it was given.
    fn writable(&self);

    fn resized(&self, size: WindowSize);

    /// The other end opened (`true`) or closed its side.
    fn carrier(&self, up: bool);
}

/// What a tty stands on: a serial line, a virtio console port, the screen and keyboard.
pub trait ConsoleDevice: Send + Sync {
    /// The name of the device node: `ttyS0`, `hvc0`.
    fn name(&self) -> &str;

    /// Takes as many bytes as there is room for, without waiting, and returns how many; `ConsoleEvents::writable`
    /// tells when there is more room.
    fn write(&self, bytes: &[u8]) -> usize;

    /// Bytes taken by `write` that the device has not sent yet.
    fn pending(&self) -> usize;

    /// Whether the other end is there; true where that is not known.
    fn carrier(&self) -> bool {
        true
    }

    fn window_size(&self) -> Option<WindowSize> {
        None
    }

    /// From now on `events` is told what happens; bytes that came before are delivered first.
    fn set_events(&self, events: Arc<dyn ConsoleEvents>);
}

/// Hardware that makes random bytes.
pub trait EntropySource: Send + Sync {
    /// As in `/sys/class/misc/hw_random/rng_current`.
    fn name(&self) -> &str;

    /// Random bytes that are there now, maybe 0. Asks the device for more, so that a later call finds them.
    fn read(&self, buffer: &mut [u8]) -> usize;
}

/// One event of an input device, as in Linux's `struct input_event` without its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputEvent {
    pub kind: u16,
    pub code: u16,
    pub value: i32,
}

/// Who listens to a keyboard, mouse or button. Called from interrupt context.
pub trait InputSink: Send + Sync {
    fn event(&self, event: InputEvent);
}
