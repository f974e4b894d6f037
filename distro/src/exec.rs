//! Running one command in a guest, with its output alone: the channel behind `run --exec`.
//!
//! # How it works
//! A small cpio archive is appended to the userland's. It holds `/etc/ironbark/command`, the
//! command, and `/etc/ironbark/exec`, a shell script that runs it with `sh -c`, copies its output
//! to the second serial port (`/dev/ttyS1`), then writes a trailer with the exit status there and
//! powers off. A first line says where the output begins, as firmware talks on that port too. The
//! trailer carries a number that is drawn anew each time, so that nothing that
//! the command prints can pass for it. Kernel messages go to the first serial port and never mix.
//!
//! # Contract with the package `base`
//! The last thing that `/etc/init.d/rcS` does (run by init as `::sysinit:`, when /proc, /sys,
//! /dev, /dev/pts, /run and /tmp are mounted and the host name is set) is
//! ```sh
//! [ -x /etc/ironbark/exec ] && exec /etc/ironbark/exec
//! ```
//! so that no getty starts before it. The kernel's command line then also has
//! `ironbark.exec=/dev/ttyS1`, for those who want to know. The script needs from the userland:
//! `sh`, `cat`, `stty`, `mkfifo`, `sleep`, `kill`, `printf` and `poweroff`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result};

use crate::cpio::Archive;

/// The channel's device in the guest.
pub const DEVICE: &str = "/dev/ttyS1";
/// The word on the kernel's command line that announces the channel.
pub const CMDLINE: &str = "ironbark.exec=/dev/ttyS1";
/// The longest status a trailer can carry, in digits.
const STATUS_DIGITS: usize = 3;

/// A number that nobody in a guest can guess, in hexadecimal.
pub fn nonce() -> Result<String> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let mut nonce = String::new();
    for byte in random {
        let _ = write!(nonce, "{byte:02x}");
    }
    Ok(nonce)
}

/// A command that is to be run in a guest.
pub struct Job {
    command: String,
    nonce: String,
}

impl Job {
    pub fn new(command: &str) -> Result<Self> {
        Ok(Self {
            command: command.to_owned(),
            nonce: nonce()?,
        })
    }

    /// Adds the command and its runner to an archive.
    pub fn add_to<W: Write>(&self, archive: &mut Archive<W>) -> Result<()> {
        archive.dir("etc", 0o755)?;
        archive.dir("etc/ironbark", 0o755)?;
        archive.file("etc/ironbark/command", 0o644, self.command.as_bytes())?;
        archive.file("etc/ironbark/exec", 0o755, self.runner().as_bytes())
    }

    /// The reader of the channel that belongs to this job.
    pub fn scanner(&self) -> Scanner {
        Scanner {
            start: format!("\x1eironbark-start {}\n", self.nonce).into_bytes(),
            started: false,
            marker: format!("\x1eironbark-exec {} ", self.nonce).into_bytes(),
            held: Vec::new(),
        }
    }

    /// The script in the guest. The output passes a FIFO, so that the command sees a pipe and not
    /// a terminal. A daemon that the command leaves behind may keep the FIFO open: once the
    /// command has ended, its output gets a few seconds to arrive, and no more.
    fn runner(&self) -> String {
        RUNNER
            .replace("@DEVICE@", DEVICE)
            .replace("@NONCE@", &self.nonce)
    }
}

const RUNNER: &str = r#"#!/bin/sh
# Runs one command for the host, whose tool made this file, and powers off.
here=/etc/ironbark
export HOME=/root USER=root LOGNAME=root SHELL=/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /root 2>/dev/null || cd /
stty -F @DEVICE@ raw -echo
main() {
    printf '\036ironbark-start @NONCE@\n' >&3
    if mkfifo $here/out; then
        cat $here/out >&3 &
        reader=$!
        sh -c "$(cat $here/command)" </dev/null >$here/out 2>&1 3>&-
        status=$?
        (sleep 5; kill $reader) >/dev/null 2>&1 3>&- &
        wait $reader
    else
        sh -c "$(cat $here/command)" </dev/null >&3 2>&1 3>&-
        status=$?
    fi
    printf '\036ironbark-exec @NONCE@ %d\n' $status >&3
}
main 3>@DEVICE@
poweroff -f
"#;

/// Separates a command's output from the trailer that ends it.
pub struct Scanner {
    /// What stands before the output: UEFI and boot loaders use every serial port as a console.
    start: Vec<u8>,
    started: bool,
    marker: Vec<u8>,
    /// Bytes that may be the beginning of the trailer.
    held: Vec<u8>,
}

/// What a piece of the channel's bytes told.
#[derive(PartialEq, Eq, Debug)]
pub enum Scanned {
    /// The command goes on.
    More,
    /// It ended with this status.
    Ended(i32),
}

impl Scanner {
    /// Takes what arrived; passes on to `out` what is known to be output.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl Write) -> std::io::Result<Scanned> {
        if !self.started {
            self.held.extend_from_slice(bytes);
            let start = self
                .held
                .windows(self.start.len())
                .position(|seen| seen == self.start);
            let Some(at) = start else {
                let keep = self.held.len().min(self.start.len() - 1);
                self.held.drain(..self.held.len() - keep);
                return Ok(Scanned::More);
            };
            self.started = true;
            let rest = self.held.split_off(at + self.start.len());
            self.held.clear();
            return self.push(&rest, out);
        }
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            joined.as_slice()
        };
        let mut from = 0;
        while let Some(step) = bytes[from..]
            .iter()
            .position(|&byte| byte == self.marker[0])
        {
            let at = from + step;
            match self.trailer(&bytes[at..]) {
                Trailer::Whole(status) => {
                    out.write_all(&bytes[..at])?;
                    return Ok(Scanned::Ended(status));
                }
                Trailer::Partly => {
                    out.write_all(&bytes[..at])?;
                    self.held = bytes[at..].to_vec();
                    return Ok(Scanned::More);
                }
                Trailer::Not => from = at + 1,
            }
        }
        out.write_all(bytes)?;
        Ok(Scanned::More)
    }

    /// What was held back when the channel closed without a trailer.
    pub fn rest(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        if self.started { held } else { Vec::new() }
    }

    fn trailer(&self, bytes: &[u8]) -> Trailer {
        let common = bytes.len().min(self.marker.len());
        if bytes[..common] != self.marker[..common] {
            return Trailer::Not;
        }
        let rest = &bytes[common..];
        let line = rest.iter().position(|&byte| byte == b'\n');
        let digits = &rest[..line.unwrap_or(rest.len())];
        if digits.len() > STATUS_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return Trailer::Not;
        }
        match (
            line,
            std::str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok()),
        ) {
            (Some(_), Some(status)) => Trailer::Whole(status),
            (Some(_), None) => Trailer::Not,
            (None, _) => Trailer::Partly,
        }
    }
}

/// Whether some bytes begin with the trailer.
enum Trailer {
    Not,
    Partly,
    Whole(i32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(chunks: &[&[u8]]) -> (Vec<u8>, Scanned) {
        let job = Job {
            command: String::new(),
            nonce: "0123".to_owned(),
        };
        let (mut scanner, mut out, mut last) = (job.scanner(), Vec::new(), Scanned::More);
        scanner
            .push(b"\x1eironbark-start 0123\n", &mut out)
            .unwrap();
        for chunk in chunks {
            last = scanner.push(chunk, &mut out).unwrap();
        }
        (out, last)
    }

    #[test]
    fn the_trailer_gives_the_status_and_is_not_output() {
        let (out, last) = scan(&[b"hello\n\x1eironbark-exec 0123 7\n"]);
        assert_eq!((out.as_slice(), last), (&b"hello\n"[..], Scanned::Ended(7)));
    }

    #[test]
    fn what_firmware_says_is_not_output() {
        let job = Job {
            command: String::new(),
            nonce: "0123".to_owned(),
        };
        let (mut scanner, mut out) = (job.scanner(), Vec::new());
        let stream =
            b"BdsDxe: \x1eironbark-st\x1eironbark-start 0123\nhi\n\x1eironbark-exec 0123 4\n";
        let mut last = Scanned::More;
        for chunk in stream.chunks(3) {
            last = scanner.push(chunk, &mut out).unwrap();
            if last != Scanned::More {
                break;
            }
        }
        assert_eq!((out.as_slice(), last), (&b"hi\n"[..], Scanned::Ended(4)));
    }

    #[test]
    fn the_trailer_may_arrive_byte_by_byte() {
        let stream = b"a\x1eb\x1eironbark-exec 0123 255\n";
        let chunks: Vec<&[u8]> = stream.chunks(1).collect();
        let (out, last) = scan(&chunks);
        assert_eq!(
            (out.as_slice(), last),
            (&b"a\x1eb"[..], Scanned::Ended(255))
        );
    }

    #[test]
    fn lookalikes_are_output() {
        for text in [
            &b"\x1eironbark-exec 9999 7\n"[..],
            b"\x1eironbark-exec 0123 x\n",
            b"\x1e\x1e\x1e.",
            b"\xff\0\n",
        ] {
            let (out, last) = scan(&[text]);
            assert_eq!((out.as_slice(), last), (text, Scanned::More));
        }
    }

    #[test]
    fn a_marker_directly_before_the_trailer_is_output() {
        let (out, last) = scan(&[b"\x1e", b"\x1eironbark-exec 0123 0", b"\n"]);
        assert_eq!((out.as_slice(), last), (&b"\x1e"[..], Scanned::Ended(0)));
    }
}
