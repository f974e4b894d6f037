//! The reader's side: when input is there, and what a read gets.

use abi::termios::{VEOF, VMIN, VTIME};

use crate::Ldisc;

/// How long a read waits, from `VMIN` and `VTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// A read returns once it has this many bytes (1 for lines).
    pub minimum: usize,
    /// Tenths of a second to wait for the first byte; `None` waits for ever.
    pub first: Option<u8>,
    /// Tenths of a second between bytes, once the first is there; `None` waits for ever.
    pub between: Option<u8>,
}

impl Ldisc {
    /// The waiting rules of the current mode.
    pub fn demand(&self) -> Demand {
        if self.icanon {
            return Demand {
                minimum: 0,
                first: None,
                between: None,
            };
        }
        let time = self.termios.cc(VTIME);
        match usize::from(self.termios.cc(VMIN)) {
            0 => Demand {
                minimum: 1,
                first: Some(time),
                between: None,
            },
            minimum => Demand {
                minimum,
                first: None,
                between: (time > 0).then_some(time),
            },
        }
    }

    /// Whether a read would get something.
    pub fn readable(&self) -> bool {
        self.readable_with(1)
    }

    /// Whether `poll` reports input: with VMIN and no VTIME it asks for VMIN bytes.
    pub fn poll_readable(&self) -> bool {
        let minimum = self.termios.cc(VMIN);
        let timed = self.termios.cc(VTIME) != 0;
        self.readable_with(if timed || minimum == 0 {
            1
        } else {
            usize::from(minimum)
        })
    }

    fn readable_with(&self, amount: usize) -> bool {
        if self.by_lines() {
            self.queue.canon_len() > 0
        } else {
            self.queue.len() >= amount
        }
    }

    /// Copies input to `out` and returns how many bytes, and whether a line ended there: in canonical mode at most
    /// to the end of one line, whose `VEOF` is consumed and not copied (so that 0 bytes with `true` is end of
    /// file), else as much as there is.
    pub fn read(&mut self, out: &mut [u8]) -> (usize, bool) {
        if self.by_lines() {
            return self.queue.take_line(out);
        }
        let count = self.queue.take(out);
        // EXTPROC leaves VEOF to the remote editor, which sends it through as the only byte.
        let eof = self.icanon
            && count == 1
            && self.queue.len() == 0
            && out.first() == Some(&self.termios.cc(VEOF));
        if eof { (0, true) } else { (count, false) }
    }

    /// A read that filled its buffer stopped right before a `VEOF`: that one is used up, or the next read would
    /// tell of an end of file.
    pub fn skip_eof(&mut self) {
        if self.by_lines() {
            self.queue.skip_eof();
        }
    }

    /// Unread bytes that count for throttling.
    pub(crate) fn waiting(&self) -> usize {
        if self.by_lines() {
            self.queue.canon_len()
        } else {
            self.queue.len()
        }
    }

    /// What `TIOCINQ` answers.
    pub fn input_len(&self) -> usize {
        if self.by_lines() {
            self.queue.canon_count()
        } else {
            self.queue.len()
        }
    }
}
