//! Files whose content is text made by the kernel: [`Text`] takes it, [`TextFile`] shows it to readers.

use alloc::vec::Vec;
use core::fmt;

use abi::fs::{SEEK_CUR, SEEK_SET};
use abi::{Errno, Result};

use crate::fs::file::{File, FileOps};
use crate::mm::user::{IoSink, IoSource};
use crate::sync::Mutex;
use crate::task::try_zeroed;

/// The longest write that is taken.
const MAX_WRITE: usize = 4096;

/// Content in the making. Its size may be a user's choice, so that it grows fallibly.
#[derive(Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// What `write!` calls: ENOMEM is its only error.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> Result<()> {
        fmt::Write::write_fmt(self, arguments).map_err(|_| Errno::ENOMEM)
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.try_reserve(bytes.len()).map_err(|_| Errno::ENOMEM)?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends bytes, those in `special` as `\` and three octal digits.
    pub fn escaped(&mut self, bytes: &[u8], special: &[u8]) -> Result<()> {
        for byte in bytes {
            if special.contains(byte) {
                write!(self, "\\{byte:03o}")?;
            } else {
                self.bytes(&[*byte])?;
            }
        }
        Ok(())
    }

    /// Fills the line that began at `start` with spaces up to `width`.
    pub fn pad(&mut self, start: usize, width: usize) -> Result<()> {
        while self.0.len() < start + width {
            self.bytes(b" ")?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Room for `len` bytes more, zeroed, to be filled in place; `truncate` drops what was not.
    pub fn grow(&mut self, len: usize) -> Result<&mut [u8]> {
        self.0.try_reserve(len).map_err(|_| Errno::ENOMEM)?;
        let start = self.0.len();
        self.0.resize(start + len, 0);
        Ok(self.0.get_mut(start..).unwrap_or_default())
    }

    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Where the content of an open file comes from, and where what is written goes.
pub trait Source: Send + Sync + 'static {
    fn show(&self, out: &mut Text) -> Result<()>;
    /// Takes a whole write.
    fn store(&self, _bytes: &[u8]) -> Result<()> {
        Err(Errno::EIO)
    }
}

/// An open file of text.
pub struct TextFile<S> {
    source: S,
    /// What the last read from the start found.
    content: Mutex<Option<Text>>,
}

impl<S: Source> TextFile<S> {
    pub fn new(source: S) -> Self {
        Self {
            source,
            content: Mutex::new(None),
        }
    }
}

impl<S: Source> FileOps for TextFile<S> {
    fn read(&self, _file: &File, sink: &mut IoSink<'_>, pos: &mut u64) -> Result<usize> {
        let mut content = self.content.lock();
        if *pos == 0 || content.is_none() {
            // The old content goes first: it may be large.
            *content = None;
            let mut fresh = Text::default();
            self.source.show(&mut fresh)?;
            *content = Some(fresh);
        }
        let bytes = content.as_ref().map_or(&[][..], Text::as_bytes);
        let start = usize::try_from(*pos).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        let before = sink.done();
        let result = sink.put(rest);
        let moved = sink.done() - before;
        if moved == 0 {
            result?;
        }
        *pos += moved as u64;
        Ok(moved)
    }

    fn write(&self, _file: &File, source: &mut IoSource<'_>, pos: &mut u64) -> Result<usize> {
        let len = source.remaining();
        if len > MAX_WRITE {
            return Err(Errno::EINVAL);
        }
        let mut text = try_zeroed(len)?;
        source.take(&mut text)?;
        self.source.store(&text)?;
        *pos += len as u64;
        Ok(len)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn llseek(&self, file: &File, offset: i64, whence: u32) -> Result<u64> {
        match whence {
            SEEK_SET | SEEK_CUR => file.generic_llseek(offset, whence, 0, i64::MAX as u64),
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The number that a write holds, as Linux's integer files take it: spaces around it do not count.
pub fn number<T: core::str::FromStr>(bytes: &[u8]) -> Result<T> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    // A C string ends at its NUL.
    let text = text.split('\0').next().unwrap_or_default();
    text.trim().parse().map_err(|_| Errno::EINVAL)
}

/// As [`number`] for 32 bits without a sign, in C's notations: `0x33`, `063`, `51`.
pub fn c_number(bytes: &[u8]) -> Result<u32> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let text = text.split('\0').next().unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    u32::from_str_radix(digits, radix).map_err(|_| Errno::EINVAL)
}
