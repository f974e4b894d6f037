//! Erasing in a line: VERASE takes a character, VWERASE a word, VKILL the line; the echo undoes what stands there.

use abi::termios::{ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHOPRT, VERASE, VKILL};

use crate::{Ldisc, Port, is_control};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Char,
    Word,
    Line,
}

impl Ldisc {
    pub(crate) fn erase(&mut self, key: u8, port: &mut impl Port) {
        if self.queue.edit_len() == 0 {
            return;
        }
        let t = self.termios;
        let kind = if key == t.cc(VERASE) {
            Kind::Char
        } else if key == t.cc(VKILL) {
            if !(t.local(ECHO) && t.local(ECHOK) && t.local(ECHOKE) && t.local(ECHOE)) {
                return self.kill_without_rubout(port);
            }
            Kind::Line
        } else {
            Kind::Word
        };
        let mut seen_word = false;
        while self.queue.edit_len() > 0 {
            let len = self.queue.edit_len();
            let Some(start) = self.last_char_start() else {
                break;
            };
            let first = self.queue.edit_byte(start);
            if kind == Kind::Word {
                if is_word(first) {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            if t.local(ECHO) {
                self.echo_erased(kind, start, len, port);
            }
            self.queue.edit_truncate(start);
            if kind == Kind::Char {
                break;
            }
        }
        if self.queue.edit_len() == 0 && t.local(ECHO) {
            self.finish_erasing(port);
        }
    }

    /// VKILL where the line cannot be rubbed out: forget it, and show the key.
    fn kill_without_rubout(&mut self, port: &mut impl Port) {
        self.queue.edit_truncate(0);
        if !self.termios.local(ECHO) {
            return;
        }
        self.finish_erasing(port);
        self.echo_char(self.termios.cc(VKILL), port);
        if self.termios.local(ECHOK) {
            self.echo_raw(b'\n', port);
        }
    }

    /// Where the last character starts; `None` if only continuation bytes are left, which are not taken apart.
    fn last_char_start(&self) -> Option<usize> {
        let start = (0..self.queue.edit_len())
            .rev()
            .find(|&i| i == 0 || !self.is_continuation(self.queue.edit_byte(i)))?;
        (!self.is_continuation(self.queue.edit_byte(start))).then_some(start)
    }

    /// Echoes the removal of the character in `start..end`, still in the buffer.
    fn echo_erased(&mut self, kind: Kind, start: usize, end: usize, port: &mut impl Port) {
        let t = self.termios;
        let first = self.queue.edit_byte(start);
        if t.local(ECHOPRT) {
            if !self.erasing {
                self.echo_raw(b'\\', port);
                self.erasing = true;
            }
            self.echo_char(first, port);
            for index in start + 1..end {
                let byte = self.queue.edit_byte(index);
                self.echo_raw(byte, port);
                self.column = self.column.saturating_sub(1);
            }
        } else if kind == Kind::Char && !t.local(ECHOE) {
            self.echo_char(t.cc(VERASE), port);
        } else if first == b'\t' {
            self.echo_erased_tab(start, port);
        } else {
            let cells = match (is_control(first), t.local(ECHOCTL)) {
                (true, true) => 2,
                (true, false) => 0,
                (false, _) => 1,
            };
            for _ in 0..cells {
                for byte in *b"\x08 \x08" {
                    self.echo_raw(byte, port);
                }
            }
        }
    }

    /// Goes back over a tab at `tab`: its width depends on what stands before it since the last tab, or since the
    /// column where the line began.
    fn echo_erased_tab(&mut self, tab: usize, port: &mut impl Port) {
        let mut columns = 0u32;
        let mut after_tab = false;
        for index in (0..tab).rev() {
            let byte = self.queue.edit_byte(index);
            if byte == b'\t' {
                after_tab = true;
                break;
            } else if is_control(byte) {
                if self.termios.local(ECHOCTL) {
                    columns += 2;
                }
            } else if !self.is_continuation(byte) {
                columns += 1;
            }
        }
        columns &= 7;
        if !after_tab {
            columns += self.canon_column;
        }
        for _ in 0..8 - (columns & 7) {
            port.echo(b"\x08");
            self.column = self.column.saturating_sub(1);
        }
    }

    pub(crate) fn finish_erasing(&mut self, port: &mut impl Port) {
        if self.erasing {
            self.echo_raw(b'/', port);
            self.erasing = false;
        }
    }
}

/// What VWERASE takes for a part of a word. Linux's `isalnum` is Latin-1's: letters above 0xbf count.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}
