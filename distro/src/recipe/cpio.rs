//! The newc cpio format: what packages are packed in and what the kernel unpacks as its first root.
//!
//! Written archives depend on names, modes and contents only: entries are sorted, owned by root, dated
//! [`EPOCH`], and numbered in order. References: Linux's Documentation/driver-api/early-userspace/buffer-format.rst.

use anyhow::{Context, Result, bail, ensure};

/// The date of every file: 2025-01-01 00:00 UTC. Builds see it as `SOURCE_DATE_EPOCH`.
pub const EPOCH: u32 = 1_735_689_600;

pub const S_IFMT: u32 = 0o170_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFLNK: u32 = 0o120_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFIFO: u32 = 0o010_000;

const MAGIC: &str = "070701";
const HEADER: usize = 110;
/// The name of the entry that ends an archive.
pub const TRAILER: &str = "TRAILER!!!";

/// What stands before an entry's name. The owner and the number of the device it lies on are always 0.
#[derive(Clone, Copy)]
pub struct Header {
    pub inode: u32,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    pub links: u32,
    pub mtime: u32,
    pub size: u32,
    /// A device node's number.
    pub rdev: (u32, u32),
}

impl Default for Header {
    fn default() -> Self {
        Self {
            inode: 0,
            mode: 0,
            links: 1,
            mtime: 0,
            size: 0,
            rdev: (0, 0),
        }
    }
}

impl Header {
    /// The header of an entry with a name of that length.
    pub fn text(&self, name_len: usize) -> Result<String> {
        let name_size = u32::try_from(name_len + 1).context("a path is too long")?;
        let (major, minor) = self.rdev;
        let fields = [
            self.inode, self.mode, 0, 0, self.links, self.mtime, self.size, 0, 0, major, minor,
            name_size, 0,
        ];
        let digits = fields.iter().map(|field| format!("{field:08x}"));
        Ok(MAGIC.to_owned() + &digits.collect::<String>())
    }
}

/// One file, folder, symlink or device node.
///
/// # Invariants
/// `path` is relative, without `.` and `..` parts. `data` is a regular file's content or a symlink's
/// target, and empty for the rest. `rdev` is (0, 0) unless the entry is a device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    pub data: Vec<u8>,
    pub rdev: (u32, u32),
}

impl Entry {
    pub fn dir(path: &str, permissions: u32) -> Self {
        Self::new(path, S_IFDIR | permissions, Vec::new())
    }

    pub fn file(path: &str, permissions: u32, data: Vec<u8>) -> Self {
        Self::new(path, S_IFREG | permissions, data)
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, S_IFLNK | 0o777, target.as_bytes().to_vec())
    }

    pub fn char_device(path: &str, permissions: u32, rdev: (u32, u32)) -> Self {
        Self {
            rdev,
            ..Self::new(path, S_IFCHR | permissions, Vec::new())
        }
    }

    fn new(path: &str, mode: u32, data: Vec<u8>) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            data,
            rdev: (0, 0),
        }
    }

    pub fn kind(&self) -> u32 {
        self.mode & S_IFMT
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == S_IFDIR
    }
}

/// The archive of `entries`, sorted by path so that a folder precedes what is in it.
pub fn write(mut entries: Vec<Entry>) -> Result<Vec<u8>> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        bail!("/{} is there twice", twice[0].path);
    }
    let total = entries
        .iter()
        .map(|e| HEADER + e.path.len() + e.data.len() + 8)
        .sum::<usize>();
    let mut out = Vec::with_capacity(total + HEADER + 512);
    for (number, entry) in (1u32..).zip(&entries) {
        let header = Header {
            inode: number,
            mode: entry.mode,
            links: if entry.is_dir() { 2 } else { 1 },
            mtime: EPOCH,
            size: u32::try_from(entry.data.len())
                .with_context(|| format!("/{} is larger than an archive can hold", entry.path))?,
            rdev: entry.rdev,
        };
        put(&mut out, &header, &entry.path, &entry.data)?;
    }
    put(&mut out, &Header::default(), TRAILER, &[])?;
    // Boot loaders and Linux's unpacker are content with any length; whole sectors are usual.
    out.resize(out.len().next_multiple_of(512), 0);
    Ok(out)
}

fn put(out: &mut Vec<u8>, header: &Header, path: &str, data: &[u8]) -> Result<()> {
    out.extend_from_slice(header.text(path.len())?.as_bytes());
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(data);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The entries of one archive, in its order.
pub fn read(archive: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let header = archive
            .get(at..at + HEADER)
            .context("the archive ends without a trailer")?;
        ensure!(
            header.starts_with(MAGIC.as_bytes()),
            "no newc header at offset {at}"
        );
        let field = |index: usize| -> Result<u32> {
            let digits = std::str::from_utf8(&header[6 + index * 8..14 + index * 8])?;
            u32::from_str_radix(digits, 16).with_context(|| format!("bad header at offset {at}"))
        };
        let name_at = at + HEADER;
        let name_end = name_at + usize::try_from(field(11)?)?;
        let name = archive
            .get(name_at..name_end)
            .context("the archive ends in a name")?;
        let path = std::str::from_utf8(name.strip_suffix(&[0]).context("a name without an end")?)?;
        let data_at = name_end.next_multiple_of(4);
        let data_end = data_at + usize::try_from(field(6)?)?;
        let data = archive
            .get(data_at..data_end)
            .context("the archive ends in a file")?;
        if path == TRAILER {
            return Ok(entries);
        }
        entries.push(Entry {
            path: path.to_owned(),
            mode: field(1)?,
            data: data.to_vec(),
            rdev: (field(9)?, field(10)?),
        });
        at = data_end.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Entry> {
        vec![
            Entry::file("usr/bin/tool", 0o755, b"content".to_vec()),
            Entry::dir("usr/bin", 0o755),
            Entry::dir("usr", 0o755),
            Entry::symlink("bin", "usr/bin"),
            Entry::char_device("console", 0o600, (5, 1)),
        ]
    }

    #[test]
    fn what_is_written_is_read_back_sorted() {
        let read = read(&write(sample()).unwrap()).unwrap();
        let mut expected = sample();
        expected.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(read, expected);
    }

    #[test]
    fn bytes_do_not_depend_on_the_order_of_entries() {
        let mut reversed = sample();
        reversed.reverse();
        assert_eq!(write(sample()).unwrap(), write(reversed).unwrap());
    }

    #[test]
    fn a_path_cannot_be_there_twice() {
        let twice = vec![Entry::dir("usr", 0o755), Entry::symlink("usr", "x")];
        assert!(write(twice).unwrap_err().to_string().contains("/usr"));
    }

    #[test]
    fn truncated_archives_are_refused_wherever_they_end() {
        let whole = write(sample()).unwrap();
        let end = whole
            .windows(TRAILER.len())
            .position(|w| w == TRAILER.as_bytes())
            .unwrap();
        for length in 0..end + TRAILER.len() {
            assert!(read(&whole[..length]).is_err(), "read with {length} bytes");
        }
    }
}
