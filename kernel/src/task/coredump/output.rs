//! Bytes of a dump on their way out.

use alloc::sync::Arc;

use abi::{Errno, Result};

use crate::fs::{File, rw};
use crate::mm::PAGE_SIZE;
use crate::mm::user::IoSource;
use crate::signal;
use crate::task::current;

/// A file or a pipe that a dump is written to, from its beginning to its end.
pub(super) struct Output<'a> {
    file: &'a Arc<File>,
    /// How much may be written: holes do not count.
    left: u64,
    /// Where the file is.
    pos: u64,
    /// What the next bytes leave out before them.
    hole: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(file: &'a Arc<File>, limit: u64) -> Output<'a> {
        Output {
            file,
            left: limit,
            pos: 0,
            hole: 0,
        }
    }

    /// Where the next bytes go.
    pub(super) fn position(&self) -> u64 {
        self.pos.saturating_add(self.hole)
    }

    /// Leaves bytes out: a file has a hole there, a pipe zeros.
    ///
    /// # Errors
    /// `EINTR` by SIGKILL.
    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        self.hole = self.hole.saturating_add(len);
        check_killed()
    }

    /// Writes.
    ///
    /// # Errors
    /// `EFBIG` at the limit, `EINTR` by SIGKILL, and those of writing: the dump ends there.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.fill_hole()?;
        self.write(bytes)
    }

    /// The end: a hole there makes the file longer.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.hole == 0 {
            return Ok(());
        }
        self.hole -= 1;
        self.put(&[0])
    }

    fn fill_hole(&mut self) -> Result<()> {
        static ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        if self.file.seekable() {
            self.pos = self.pos.checked_add(self.hole).ok_or(Errno::EFBIG)?;
            self.hole = 0;
        }
        while self.hole > 0 {
            let len = self.hole.min(PAGE_SIZE as u64);
            self.write(ZEROS.get(..len as usize).unwrap_or_default())?;
            self.hole -= len;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let len = bytes.len() as u64;
        self.left = self.left.checked_sub(len).ok_or(Errno::EFBIG)?;
        let mut source = IoSource::kernel(bytes);
        while source.remaining() > 0 {
            check_killed()?;
            let pos = i64::try_from(self.pos).map_err(|_| Errno::EFBIG)?;
            let written = match self.file.seekable() {
                true => rw::pwrite(self.file, &mut source, pos)?,
                false => rw::write(self.file, &mut source)?,
            };
            if written == 0 {
                return Err(Errno::EIO);
            }
            self.pos = self.pos.saturating_add(written as u64);
        }
        Ok(())
    }
}

/// SIGKILL ends a dump.
fn check_killed() -> Result<()> {
    match signal::fatal_pending(&current()) {
        true => Err(Errno::EINTR),
        false => Ok(()),
    }
}
