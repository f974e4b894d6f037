//! Output: the `OPOST` modes for what programs write, the echo of what is received, and the column both keep.

use abi::termios::{ECHOCTL, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TABDLY, XTABS};

use crate::{Ldisc, Port, is_control};

/// What one byte becomes on its way out: at most eight bytes (a tab).
struct Processed {
    bytes: [u8; 8],
    len: usize,
}

impl Processed {
    fn one(byte: u8) -> Processed {
        Processed {
            bytes: [byte, 0, 0, 0, 0, 0, 0, 0],
            len: 1,
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Ldisc {
    /// Processes what a program writes into at most `room` bytes handed to `put`; returns how much of `input` was
    /// used. `put` is called with runs that are as long as they can be.
    pub fn output(&mut self, input: &[u8], room: usize, mut put: impl FnMut(&[u8])) -> usize {
        if !self.termios.output(OPOST) {
            let count = input.len().min(room);
            if count > 0 {
                put(&input[..count]);
            }
            return count;
        }
        let mut used = 0;
        let mut left = room;
        while used < input.len() {
            let rest = &input[used..];
            let run = self.plain_run(&rest[..rest.len().min(left)]);
            if run > 0 {
                put(&rest[..run]);
                used += run;
                left -= run;
                continue;
            }
            let before = (self.column, self.canon_column);
            let out = self.process(rest[0]);
            if out.len > left {
                (self.column, self.canon_column) = before;
                break;
            }
            if out.len > 0 {
                put(out.as_slice());
            }
            left -= out.len;
            used += 1;
            if left == 0 {
                break;
            }
        }
        used
    }

    /// The length of the leading run that goes out unchanged, with its columns counted.
    fn plain_run(&mut self, bytes: &[u8]) -> usize {
        if self.termios.output(OLCUC) {
            return 0;
        }
        let len = bytes
            .iter()
            .position(|&b| is_control(b))
            .unwrap_or(bytes.len());
        let run = &bytes[..len];
        let columns = if self.termios.input(abi::termios::IUTF8) {
            run.iter().filter(|&&b| b & 0xc0 != 0x80).count()
        } else {
            len
        };
        // A column is only used modulo 8 and compared with 0; wrapping at 2^32 keeps the first.
        self.column = self.column.wrapping_add(columns as u32);
        len
    }

    fn process(&mut self, byte: u8) -> Processed {
        let t = self.termios;
        match byte {
            b'\n' => {
                if t.output(ONLRET) {
                    self.column = 0;
                }
                if t.output(ONLCR) {
                    self.column = 0;
                    self.canon_column = 0;
                    return Processed {
                        bytes: *b"\r\n\0\0\0\0\0\0",
                        len: 2,
                    };
                }
                self.canon_column = self.column;
            }
            b'\r' => {
                if t.output(ONOCR) && self.column == 0 {
                    return Processed {
                        bytes: [0; 8],
                        len: 0,
                    };
                }
                if t.output(OCRNL) {
                    if t.output(ONLRET) {
                        self.column = 0;
                        self.canon_column = 0;
                    }
                    return Processed::one(b'\n');
                }
                self.column = 0;
                self.canon_column = 0;
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column = self.column.wrapping_add(spaces);
                if t.c_oflag & TABDLY == XTABS {
                    return Processed {
                        bytes: [b' '; 8],
                        len: spaces as usize,
                    };
                }
            }
            b'\x08' => self.column = self.column.saturating_sub(1),
            _ if is_control(byte) => {}
            _ => {
                if !self.is_continuation(byte) {
                    self.column = self.column.wrapping_add(1);
                }
                if t.output(OLCUC) {
                    return Processed::one(upper(byte));
                }
            }
        }
        Processed::one(byte)
    }

    /// Echoes a byte as it is, through `OPOST`.
    pub(crate) fn echo_raw(&mut self, byte: u8, port: &mut impl Port) {
        if byte == 0xff {
            // Linux escapes its echo operations with 0377, and echoes a real one as it is.
            port.echo(&[byte]);
            self.column = self.column.wrapping_add(1);
        } else if self.termios.output(OPOST) {
            let out = self.process(byte);
            port.echo(out.as_slice());
        } else {
            port.echo(&[byte]);
        }
    }

    /// Echoes a byte, controls as `^X` under ECHOCTL.
    pub(crate) fn echo_char(&mut self, byte: u8, port: &mut impl Port) {
        if self.termios.local(ECHOCTL) && is_control(byte) && byte != b'\t' {
            port.echo(&[b'^', byte ^ 0o100]);
            self.column = self.column.wrapping_add(2);
        } else {
            self.echo_raw(byte, port);
        }
    }
}

/// C's `toupper` as the kernel has it: Latin-1 letters included.
fn upper(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - 0x20,
        0xdf..=0xff if byte != 0xf7 => byte - 0x20,
        other => other,
    }
}
