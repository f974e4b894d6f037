//! What keys mean: scan codes to key codes, key codes by a loadable map to characters and commands.
//!
//! | module | content |
//! |---|---|
//! | `scancode` | set 1 scan codes to Linux's key codes |
//! | `symbol` | what stands in a map: characters, functions, modifiers |
//! | `map` | the tables, as `KDGKBENT` and `KDSKBENT` see them |
//! | `layouts` | us, gb, de, fr, es, ru |
//! | `accent` | dead keys and compose sequences |
//! | `keyboard` | the state of a keyboard: modifiers, locks, what a key press gives |
//!
//! References: keymaps(5), `linux/keyboard.h`, `linux/input-event-codes.h`.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod accent;
mod keyboard;
mod layouts;
mod map;
mod scancode;
mod symbol;

pub use keyboard::{Action, Command, Encoding, Keyboard, Leds, Modes, Press, Text};
pub use layouts::{LAYOUTS, layout};
pub use map::{KeyMap, NR_KEYS, NR_TABLES};
pub use scancode::{Decoder, KeyEvent};
pub use symbol::Symbol;
