//! Received bytes: which are special, and what each does.

use abi::termios::{
    BRKINT, DISABLED_CHAR, ECHO, ECHOCTL, ECHONL, EXTPROC, ICRNL, IEXTEN, IGNBRK, IGNCR, IGNPAR,
    INLCR, INPCK, ISIG, ISTRIP, IUCLC, IXANY, IXON, NOFLSH, PARMRK, VEOF, VEOL, VEOL2, VERASE,
    VINTR, VKILL, VLNEXT, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VWERASE,
};

use crate::{BUFFER_SIZE, Flaw, KeySignal, Ldisc, Port, THROTTLE_BELOW};

impl Ldisc {
    /// Takes bytes from the wire and returns how many; the rest has no room until someone reads. While a line is
    /// edited and none is finished, bytes beyond the buffer are taken and dropped, so that the line can be ended.
    pub fn receive(&mut self, bytes: &[u8], port: &mut impl Port) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let (room, overflow) = self.room();
            let count = room.min(bytes.len() - done);
            if count == 0 {
                break;
            }
            if overflow && self.queue.len() == BUFFER_SIZE {
                self.queue.drop_last();
            }
            self.receive_run(&bytes[done..done + count], port);
            done += count;
        }
        done
    }

    /// Takes a byte that came with an error. Dropped when there is no room.
    pub fn receive_flawed(&mut self, byte: u8, flaw: Flaw, port: &mut impl Port) {
        let (room, overflow) = self.room();
        if room == 0 || overflow {
            return;
        }
        self.lnext = false;
        match flaw {
            Flaw::Break => self.receive_break(port),
            Flaw::Parity => self.receive_parity_error(byte),
        }
    }

    /// Bytes that [`Ldisc::receive`] would take now, and whether only because a line without end is being edited.
    fn room(&self) -> (usize, bool) {
        let mut room = BUFFER_SIZE - self.queue.len();
        if self.termios.input(PARMRK) {
            room = room.div_ceil(3);
        }
        if room > 1 {
            return (room - 1, false);
        }
        let overflow = self.icanon && self.queue.canon_len() == 0;
        (usize::from(overflow), overflow)
    }

    /// Whether the wire may go on sending.
    pub fn has_room(&self) -> bool {
        self.room().0 > 0
    }

    /// Whether the sender is to be throttled now (IXOFF, RTS): true on the change only.
    pub fn check_throttle(&mut self) -> bool {
        if self.throttled || (self.icanon && self.queue.canon_len() == 0) {
            return false;
        }
        self.throttled = self.room().0 < THROTTLE_BELOW;
        self.throttled
    }

    /// Whether a throttled sender may go on: true on the change only.
    pub fn check_unthrottle(&mut self) -> bool {
        let enough = self.throttled && self.waiting() <= crate::UNTHROTTLE_AT;
        if enough {
            self.throttled = false;
        }
        enough
    }

    pub(crate) fn build_map(&mut self) {
        let t = self.termios;
        self.map = [0; 4];
        let active = t.input(ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK)
            || t.local(abi::termios::ICANON | ISIG | ECHO);
        self.raw = !active;
        if self.raw {
            return;
        }
        if t.input(IGNCR | ICRNL) {
            self.set_special(b'\r');
        }
        if t.input(INLCR) {
            self.set_special(b'\n');
        }
        if self.icanon {
            self.set_special(b'\n');
            for index in [VERASE, VKILL, VEOF, VEOL] {
                self.set_special(t.cc(index));
            }
            if t.local(IEXTEN) {
                for index in [VWERASE, VLNEXT, VEOL2] {
                    self.set_special(t.cc(index));
                }
                if t.local(ECHO) {
                    self.set_special(t.cc(VREPRINT));
                }
            }
        }
        if t.input(IXON) {
            self.set_special(t.cc(VSTART));
            self.set_special(t.cc(VSTOP));
        }
        if t.local(ISIG) {
            for index in [VINTR, VQUIT, VSUSP] {
                self.set_special(t.cc(index));
            }
        }
        self.map[0] &= !(1 << DISABLED_CHAR);
    }

    fn set_special(&mut self, byte: u8) {
        self.map[usize::from(byte) / 64] |= 1 << (byte % 64);
    }

    fn is_special(&self, byte: u8) -> bool {
        self.map[usize::from(byte) / 64] & (1 << (byte % 64)) != 0
    }

    fn receive_run(&mut self, bytes: &[u8], port: &mut impl Port) {
        let strip = self.termios.input(ISTRIP);
        let lower = self.termios.input(IUCLC) && self.termios.local(IEXTEN);
        let plain = !strip && !lower;
        if plain && (self.raw || self.termios.local(EXTPROC)) {
            self.queue.put_slice(bytes, 0);
            return;
        }
        for &byte in bytes {
            let mut byte = if strip { byte & 0x7f } else { byte };
            if lower {
                byte = lowercase(byte);
            }
            if self.termios.local(EXTPROC) {
                self.queue.put(byte);
            } else if self.lnext {
                self.lnext = false;
                self.receive_plain(byte, port);
            } else if self.is_special(byte) {
                self.receive_special(byte, port);
            } else {
                self.receive_plain(byte, port);
            }
        }
    }

    fn restart_on_any(&self, port: &mut impl Port) {
        if self.termios.input(IXON) && self.termios.input(IXANY) && port.stopped() {
            port.start();
        }
    }

    fn receive_plain(&mut self, byte: u8, port: &mut impl Port) {
        self.restart_on_any(port);
        if self.termios.local(ECHO) {
            self.finish_erasing(port);
            self.mark_line_start();
            self.echo_char(byte, port);
        }
        self.put_with_parmrk(byte);
    }

    /// Queues a byte; under PARMRK a 0377 is doubled, to tell it from a mark.
    fn put_with_parmrk(&mut self, byte: u8) {
        if byte == 0xff && self.termios.input(PARMRK) {
            self.queue.put(byte);
        }
        self.queue.put(byte);
    }

    /// Remembers the column where the line being edited starts.
    fn mark_line_start(&mut self) {
        if self.queue.edit_len() == 0 {
            self.canon_column = self.column;
        }
    }

    fn receive_special(&mut self, byte: u8, port: &mut impl Port) {
        let t = self.termios;
        if t.input(IXON) {
            if byte == t.cc(VSTART) {
                return port.start();
            }
            if byte == t.cc(VSTOP) {
                return port.stop();
            }
        }
        if t.local(ISIG) {
            let keys = [
                (VINTR, KeySignal::Interrupt),
                (VQUIT, KeySignal::Quit),
                (VSUSP, KeySignal::Suspend),
            ];
            for (index, signal) in keys {
                if byte == t.cc(index) {
                    return self.receive_signal_key(byte, signal, port);
                }
            }
        }
        self.restart_on_any(port);
        let byte = match byte {
            b'\r' if t.input(IGNCR) => return,
            b'\r' if t.input(ICRNL) => b'\n',
            b'\n' if t.input(INLCR) => b'\r',
            other => other,
        };
        if self.icanon && self.receive_canonical(byte, port) {
            return;
        }
        if t.local(ECHO) {
            self.finish_erasing(port);
            if byte == b'\n' {
                self.echo_raw(b'\n', port);
            } else {
                self.mark_line_start();
                self.echo_char(byte, port);
            }
        }
        self.put_with_parmrk(byte);
    }

    fn receive_signal_key(&mut self, byte: u8, signal: KeySignal, port: &mut impl Port) {
        self.signal_and_flush(signal, port);
        if self.termios.input(IXON) {
            port.start();
        }
        if self.termios.local(ECHO) {
            self.echo_char(byte, port);
        }
    }

    fn signal_and_flush(&mut self, signal: KeySignal, port: &mut impl Port) {
        port.signal(signal);
        if !self.termios.local(NOFLSH) {
            port.flush_output();
            self.flush_input();
            port.flushed_input();
        }
    }

    /// Handles the editing and line-ending characters; false if `byte` is none of them.
    fn receive_canonical(&mut self, byte: u8, port: &mut impl Port) -> bool {
        let t = self.termios;
        let extended = t.local(IEXTEN);
        let echo = t.local(ECHO);
        if byte == t.cc(VERASE) || byte == t.cc(VKILL) || (extended && byte == t.cc(VWERASE)) {
            self.erase(byte, port);
        } else if extended && byte == t.cc(VLNEXT) {
            self.lnext = true;
            if echo {
                self.finish_erasing(port);
                if t.local(ECHOCTL) {
                    self.echo_raw(b'^', port);
                    self.echo_raw(b'\x08', port);
                }
            }
        } else if extended && echo && byte == t.cc(VREPRINT) {
            self.reprint(byte, port);
        } else if byte == b'\n' {
            if t.local(ECHO | ECHONL) {
                self.echo_raw(b'\n', port);
            }
            self.queue.put_line_end(byte);
        } else if byte == t.cc(VEOF) {
            self.queue.put_line_end(DISABLED_CHAR);
        } else if byte == t.cc(VEOL) || (extended && byte == t.cc(VEOL2)) {
            if echo {
                self.mark_line_start();
                self.echo_char(byte, port);
            }
            if byte == 0xff && t.input(PARMRK) {
                self.queue.put(byte);
            }
            self.queue.put_line_end(byte);
        } else {
            return false;
        }
        true
    }

    fn reprint(&mut self, byte: u8, port: &mut impl Port) {
        self.finish_erasing(port);
        self.echo_char(byte, port);
        self.echo_raw(b'\n', port);
        for index in 0..self.queue.edit_len() {
            let byte = self.queue.edit_byte(index);
            self.echo_char(byte, port);
        }
    }

    fn receive_break(&mut self, port: &mut impl Port) {
        let t = self.termios;
        if t.input(IGNBRK) {
            return;
        }
        if t.input(BRKINT) {
            return self.signal_and_flush(KeySignal::Interrupt, port);
        }
        if t.input(PARMRK) {
            self.queue.put(0xff);
            self.queue.put(0);
        }
        self.queue.put(0);
    }

    fn receive_parity_error(&mut self, byte: u8) {
        let t = self.termios;
        if !t.input(INPCK) {
            self.queue.put(byte);
        } else if !t.input(IGNPAR) {
            if t.input(PARMRK) {
                self.queue.put(0xff);
                self.queue.put(0);
                self.queue.put(byte);
            } else {
                self.queue.put(0);
            }
        }
    }
}

/// C's `tolower` as the kernel has it: Latin-1 letters included.
fn lowercase(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte + 0x20,
        0xc0..=0xde if byte != 0xd7 => byte + 0x20,
        other => other,
    }
}
