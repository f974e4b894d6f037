//! A reader of `newc` cpio archives, as the initramfs has them: several may follow each other, padded by zeros, and gzip'd
//! ones may be among them.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

use core::fmt;

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

/// One entry; `name` and `data` point into the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub ino: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub mtime: u32,
    /// The device that the entry was on: hard links are equal in `(dev_major, dev_minor, ino)`.
    pub dev_major: u32,
    pub dev_minor: u32,
    pub rdev_major: u32,
    pub rdev_minor: u32,
    pub data: &'a [u8],
}

/// Why an archive cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    pub offset: usize,
    pub what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

/// The entries of an archive. After an error, or where a gzip file begins, there are no more.
pub struct Reader<'a> {
    archive: &'a [u8],
    at: usize,
    failed: bool,
}

impl<'a> Reader<'a> {
    pub const fn new(archive: &'a [u8]) -> Self {
        Self {
            archive,
            at: 0,
            failed: false,
        }
    }

    /// What follows the entries that were read: nothing, or what begins with a gzip file.
    pub fn rest(&self) -> &'a [u8] {
        self.archive.get(self.at..).unwrap_or_default()
    }

    fn error(&self, what: &'static str) -> Error {
        Error {
            offset: self.at,
            what,
        }
    }

    fn slice(&self, start: usize, len: usize) -> Option<&'a [u8]> {
        self.archive.get(start..start.checked_add(len)?)
    }

    fn read(&mut self) -> Result<Option<Entry<'a>>, Error> {
        loop {
            // Zeros pad archives to blocks and separate one from the next.
            while self.archive.get(self.at) == Some(&0) {
                self.at += 1;
            }
            if self.at >= self.archive.len() || is_gzip(self.rest()) {
                return Ok(None);
            }
            let header = self
                .slice(self.at, HEADER)
                .ok_or_else(|| self.error("truncated header"))?;
            let magic = header.get(..6).unwrap_or_default();
            if magic != b"070701" && magic != b"070702" {
                return Err(self.error("bad magic number"));
            }
            let mut fields = [0u32; 13];
            let digits = header.get(6..).unwrap_or_default();
            for (field, text) in fields.iter_mut().zip(digits.chunks_exact(8)) {
                *field = hex(text).ok_or_else(|| self.error("bad number in a header"))?;
            }
            let [
                ino,
                mode,
                uid,
                gid,
                nlink,
                mtime,
                size,
                dev_major,
                dev_minor,
                rdev_major,
                rdev_minor,
                name_len,
                _,
            ] = fields;
            let name_start = self.at + HEADER;
            let name = self
                .slice(name_start, name_len as usize)
                .ok_or_else(|| self.error("truncated name"))?;
            let Some((0, name)) = name.split_last() else {
                return Err(self.error("name without an end"));
            };
            // Aligned from the header on: what precedes the archive may have any length.
            let data_start = self.at.saturating_add(align4(HEADER + name_len as usize));
            let data = self
                .slice(data_start, size as usize)
                .ok_or_else(|| self.error("truncated file"))?;
            self.at = (data_start + align4(size as usize)).min(self.archive.len());
            if name == TRAILER {
                continue;
            }
            return Ok(Some(Entry {
                name,
                ino,
                mode,
                uid,
                gid,
                nlink,
                mtime,
                dev_major,
                dev_minor,
                rdev_major,
                rdev_minor,
                data,
            }));
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = self.read().transpose();
        self.failed = matches!(result, Some(Err(_)) | None);
        result
    }
}

const fn align4(n: usize) -> usize {
    n.saturating_add(3) & !3
}

fn hex(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |value, byte| {
        Some(value << 4 | (*byte as char).to_digit(16)?)
    })
}

/// Where the deflate stream begins in a gzip file.
pub fn gzip_header_len(file: &[u8]) -> Result<usize, Error> {
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    let short = Error {
        offset: file.len(),
        what: "truncated gzip header",
    };
    let bad = Error {
        offset: 0,
        what: "gzip file of an unknown kind",
    };
    let header = file.get(..10).ok_or(short)?;
    let &[0x1f, 0x8b, 8, flags, ..] = header else {
        return Err(bad);
    };
    let mut at = 10;
    if flags & FEXTRA != 0 {
        let Some(&[low, high]) = file.get(at..at + 2) else {
            return Err(short);
        };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let text = file.get(at..).ok_or(short)?;
            at += text.iter().position(|byte| *byte == 0).ok_or(short)? + 1;
        }
    }
    if flags & FHCRC != 0 {
        at += 2;
    }
    if at > file.len() { Err(short) } else { Ok(at) }
}

/// The CRC-32 and the size (modulo 2^32) of what a gzip file unpacks to, from the eight bytes behind its stream.
pub fn gzip_trailer(bytes: &[u8]) -> Option<(u32, u32)> {
    let &[c0, c1, c2, c3, s0, s1, s2, s3] = bytes.first_chunk::<8>()?;
    let sum = u32::from_le_bytes([c0, c1, c2, c3]);
    Some((sum, u32::from_le_bytes([s0, s1, s2, s3])))
}

/// Whether a file begins as gzip files do.
pub fn is_gzip(file: &[u8]) -> bool {
    file.starts_with(&[0x1f, 0x8b])
}

/// The CRC-32 of gzip, a byte at a time.
pub fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 != 0 {
                    value >> 1 ^ 0xedb8_8320
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc: u32, byte| {
        TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let mut out = format!("070701{:08x}{mode:08x}", 7).into_bytes();
        for field in [
            0,
            0,
            1,
            99,
            data.len() as u32,
            0,
            0,
            4,
            5,
            name.len() as u32 + 1,
            0,
        ] {
            out.extend(format!("{field:08x}").bytes());
        }
        out.extend(name.bytes());
        out.push(0);
        out.resize(align4(out.len()), 0);
        out.extend(data);
        out.resize(align4(out.len()), 0);
        out
    }

    #[test]
    fn reads_entries_over_several_archives() {
        let mut archive = entry("a", 0o100644, b"hello");
        archive.extend(entry("TRAILER!!!", 0, b""));
        archive.resize(archive.len().next_multiple_of(512), 0);
        archive.extend(entry("dir/long-name.txt", 0o40755, b""));
        let entries: Vec<_> = Reader::new(&archive).map(Result::unwrap).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].name, entries[0].data),
            (&b"a"[..], &b"hello"[..])
        );
        assert_eq!(
            (entries[0].mode, entries[0].mtime, entries[0].rdev_minor),
            (0o100644, 99, 5)
        );
        assert_eq!(entries[1].name, b"dir/long-name.txt");
    }

    #[test]
    fn an_archive_may_begin_at_any_offset() {
        for padding in 1..8 {
            let mut archive = vec![0; padding];
            archive.extend(entry("name", 0o100644, b"hello"));
            archive.extend(entry("other", 0o100644, b"world!"));
            let data: Vec<_> = Reader::new(&archive).map(|e| e.unwrap().data).collect();
            assert_eq!(data, [&b"hello"[..], b"world!"], "behind {padding} bytes");
        }
    }

    #[test]
    fn a_gzip_file_behind_an_archive_is_left_to_the_caller() {
        let mut archive = entry("a", 0o100644, b"hello");
        archive.extend([0; 40]);
        archive.extend([0x1f, 0x8b, 8]);
        let mut reader = Reader::new(&archive);
        assert!(reader.next().unwrap().is_ok());
        assert!(reader.next().is_none());
        assert_eq!(reader.rest(), [0x1f, 0x8b, 8]);
    }

    #[test]
    fn every_truncation_is_an_error_or_a_clean_end() {
        let mut archive = entry("a", 0o100644, b"hello world");
        let first = archive.len();
        archive.extend(entry("b", 0o100644, b"x"));
        for cut in 0..archive.len() {
            let results: Vec<_> = Reader::new(&archive[..cut]).collect();
            let failed = results.last().is_some_and(|r| r.is_err());
            // Padding after the last file's data may be missing.
            let clean = cut == 0 || (first - 1..=first).contains(&cut) || cut >= archive.len() - 3;
            assert_eq!(failed, !clean, "cut at {cut}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        assert!(Reader::new(b"garbage").next().unwrap().is_err());
        let mut archive = entry("a", 0o100644, b"");
        archive[20] = b'z';
        let mut reader = Reader::new(&archive);
        assert_eq!(
            reader.next().unwrap().unwrap_err().what,
            "bad number in a header"
        );
        assert!(reader.next().is_none());
    }

    #[test]
    fn sizes_near_the_limit_do_not_overflow() {
        let mut archive = entry("a", 0o100644, b"");
        archive[54..62].copy_from_slice(b"ffffffff");
        assert!(Reader::new(&archive).next().unwrap().is_err());
    }

    #[test]
    fn gzip_header_fields_are_skipped() {
        let mut file = vec![0x1f, 0x8b, 8, 4 | 8 | 16 | 2, 0, 0, 0, 0, 0, 3];
        file.extend([2, 0, 9, 9]);
        file.extend(b"name\0comment\0");
        file.extend([1, 2]);
        file.extend(b"BODY");
        file.extend([1, 0, 0, 0, 4, 0, 0, 0]);
        let start = gzip_header_len(&file).unwrap();
        assert_eq!(&file[start..start + 4], b"BODY");
        assert_eq!(gzip_trailer(&file[start + 4..]), Some((1, 4)));
        assert_eq!(gzip_trailer(&file[start + 5..]), None);
        for cut in 0..start {
            assert!(gzip_header_len(&file[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn crc_matches_the_known_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
