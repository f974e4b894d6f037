//! `cargo distro run --profile --exec CMD`: where the guest's processors were while the command ran.
//!
//! | module | what it does |
//! |---|---|
//! | [`stacks`] | the kernel's table read, with the names of its functions |
//! | [`report`] | the table for people |
//! | [`flame`] | the flame graph |
//!
//! The kernel samples itself (`profile=HZ` on its command line, `kernel/src/time/profile.rs`). A shell around the command
//! clears what was counted since boot, and sends the table down the channel after the command's output, behind a line
//! with a number that is drawn anew each time.

mod flame;
mod report;
mod stacks;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::stacks::Stacks;
use crate::exec;
use crate::ksyms;
use crate::paths::Paths;
use crate::ui::Ui;

/// Samples a second of each CPU. A clock that counts instructions is slow: a second has a thousand million of them.
const HZ: u32 = 1_000;
const HZ_OF_INSTRUCTIONS: u32 = 10_000;
const TABLE: &str = "/proc/ironbark/profile";

/// One profiled command.
pub struct Profiler {
    mark: String,
    file: PathBuf,
}

impl Profiler {
    /// `file` is where the flame graph goes: beside the other results, if it is not named.
    pub fn new(file: Option<&Path>, paths: &Paths) -> Result<Self> {
        let beside = || paths.target.join("profile.svg");
        let file = file.map_or_else(beside, Path::to_owned);
        let mark = format!("\x1eironbark-profile {}\n", exec::nonce()?);
        Ok(Self { mark, file })
    }

    /// What the kernel's command line must have.
    pub fn cmdline(icount: bool) -> String {
        format!(" profile={}", if icount { HZ_OF_INSTRUCTIONS } else { HZ })
    }

    /// The command with the shell around it.
    pub fn around(&self, command: &str) -> String {
        let quoted = command.replace('\'', r"'\''");
        let mark = self.mark.trim().replace('\x1e', r"\036");
        format!(
            "echo >{TABLE}; sh -c '{quoted}'; status=$?; printf '{mark}\\n'; cat {TABLE}; exit $status"
        )
    }

    /// Passes on what comes before the mark, and keeps what comes after it.
    pub fn splitter<'a, W: Write>(&self, out: &'a mut W) -> Splitter<'a, W> {
        Splitter {
            out,
            mark: self.mark.clone().into_bytes(),
            held: Vec::new(),
            found: false,
        }
    }

    /// Prints the table on stderr, as the command's output is alone on stdout, and writes the flame graph.
    pub fn finish(&self, table: &[u8], kernel: &Path, ui: &Ui) -> Result<()> {
        let names = ksyms::names(kernel)?;
        let stacks = Stacks::parse(&String::from_utf8_lossy(table), &names)?;
        if stacks.samples() == 0 {
            bail!("the kernel took no samples");
        }
        ui.note(&report::table(&stacks));
        fs::write(&self.file, flame::svg(&stacks))
            .with_context(|| format!("cannot write {}", self.file.display()))?;
        ui.note(&format!("The flame graph is {}", self.file.display()));
        Ok(())
    }
}

/// A writer in front of another that ends at a mark.
pub struct Splitter<'a, W> {
    out: &'a mut W,
    mark: Vec<u8>,
    /// Before the mark: what may be its beginning. After it: all that came.
    held: Vec<u8>,
    found: bool,
}

impl<W: Write> Splitter<'_, W> {
    /// What came after the mark; `None` if it never came.
    pub fn rest(mut self) -> io::Result<Option<Vec<u8>>> {
        if self.found {
            return Ok(Some(self.held));
        }
        let held = std::mem::take(&mut self.held);
        self.out.write_all(&held)?;
        Ok(None)
    }
}

impl<W: Write> Write for Splitter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.found {
            return Ok(bytes.len());
        }
        let at = self
            .held
            .windows(self.mark.len())
            .position(|seen| seen == self.mark);
        if let Some(at) = at {
            self.out.write_all(&self.held[..at])?;
            self.held.drain(..at + self.mark.len());
            self.found = true;
            return Ok(bytes.len());
        }
        let longest = self.held.len().min(self.mark.len() - 1);
        let keep = (0..=longest)
            .rev()
            .find(|&len| self.held.ends_with(&self.mark[..len]))
            .unwrap_or(0);
        let pass = self.held.len() - keep;
        self.out.write_all(&self.held[..pass])?;
        self.held.drain(..pass);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profiler {
        Profiler {
            mark: "\x1eironbark-profile 77\n".to_owned(),
            file: PathBuf::new(),
        }
    }

    #[test]
    fn the_table_is_no_output_however_it_is_cut() {
        let stream = b"one\x1eironbark-pro\x1eironbark-profile 77\nperiod_ns 5\n";
        for size in [1, 2, 7, 100] {
            let mut out = Vec::new();
            let profile = profile();
            let mut splitter = profile.splitter(&mut out);
            for piece in stream.chunks(size) {
                splitter.write_all(piece).unwrap();
            }
            let rest = splitter.rest().unwrap();
            assert_eq!(out, b"one\x1eironbark-pro");
            assert_eq!(rest.as_deref(), Some(&b"period_ns 5\n"[..]));
        }
    }

    #[test]
    fn without_a_mark_all_is_output_and_at_once() {
        let mut out = Vec::new();
        let profile = profile();
        let mut splitter = profile.splitter(&mut out);
        splitter.write_all(b"prompt> \x1e").unwrap();
        assert_eq!(splitter.out.as_slice(), b"prompt> ");
        assert_eq!(splitter.rest().unwrap(), None);
        assert_eq!(out, b"prompt> \x1e");
    }

    #[test]
    fn the_command_stays_one_word() {
        let around = profile().around("echo 'a b'");
        assert!(
            around.contains(r"sh -c 'echo '\''a b'\'''; status=$?"),
            "{around}"
        );
        assert!(
            around.contains(r"printf '\036ironbark-profile 77\n'"),
            "{around}"
        );
    }
}
