//! Writes cpio archives of the "newc" kind, the kind that an initramfs is made of.
//!
//! The bytes depend on what is put in alone: owners are root, inode numbers count up, and times
//! are those the caller gives. Reference: Linux, `Documentation/driver-api/early-userspace/
//! buffer-format.rst`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::recipe::cpio::{Header, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, TRAILER};

/// Writes one archive. [`Archive::finish`] must be called, or the archive has no end.
pub struct Archive<W: Write> {
    out: W,
    written: u64,
    next_inode: u32,
    /// Host files with several names, by device and inode: the archive's inode.
    links: HashMap<(u64, u64), u32>,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            next_inode: 1,
            links: HashMap::new(),
        }
    }

    /// Adds a folder; its parents must have been added. `mode` is permission bits.
    pub fn dir(&mut self, name: &str, mode: u32) -> Result<()> {
        let header = Header {
            mode: S_IFDIR | mode,
            links: 2,
            ..self.next(0)
        };
        self.entry(name.as_bytes(), &header)
    }

    /// Adds a file with the given content.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).context("a cpio member is below 4 GiB")?;
        let header = Header {
            mode: S_IFREG | mode,
            size,
            ..self.next(0)
        };
        self.entry(name.as_bytes(), &header)?;
        self.put(content)?;
        self.pad()
    }

    /// Adds a host folder's content below `prefix`, in the order of the names: modes, times,
    /// symbolic and hard links are kept, owners become root. Sockets and devices are left out.
    pub fn tree(&mut self, prefix: &str, dir: &Path) -> Result<()> {
        let listing =
            fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
        let mut entries = listing.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let mut name = prefix.as_bytes().to_vec();
            name.push(b'/');
            name.extend_from_slice(entry.file_name().as_bytes());
            self.host_entry(&name, &entry.path())?;
        }
        Ok(())
    }

    fn host_entry(&mut self, name: &[u8], path: &Path) -> Result<()> {
        let shown = || format!("cannot read {}", path.display());
        let meta = fs::symlink_metadata(path).with_context(shown)?;
        let kind = meta.file_type();
        let mtime = u32::try_from(meta.mtime()).unwrap_or(0);
        let mode = meta.mode() & 0o7777;
        if kind.is_dir() {
            let header = Header {
                mode: S_IFDIR | mode,
                links: 2,
                ..self.next(mtime)
            };
            self.entry(name, &header)?;
            let name = std::str::from_utf8(name).context("a folder's name is not UTF-8")?;
            return self.tree(name, path);
        }
        if kind.is_symlink() {
            let target = fs::read_link(path).with_context(shown)?;
            let target = target.as_os_str().as_bytes();
            let size = u32::try_from(target.len())?;
            let header = Header {
                mode: S_IFLNK | 0o777,
                size,
                ..self.next(mtime)
            };
            self.entry(name, &header)?;
            self.put(target)?;
            return self.pad();
        }
        if kind.is_fifo() {
            let header = Header {
                mode: S_IFIFO | mode,
                ..self.next(mtime)
            };
            return self.entry(name, &header);
        }
        if !kind.is_file() {
            return Ok(());
        }
        self.host_file(name, path, &meta, mtime)
    }

    /// A regular file. In newc the names of one inode share its number, and the content follows
    /// one of them; here the first, which readers that link later names to earlier ones accept.
    fn host_file(
        &mut self,
        name: &[u8],
        path: &Path,
        meta: &fs::Metadata,
        mtime: u32,
    ) -> Result<()> {
        let mut header = Header {
            mode: S_IFREG | (meta.mode() & 0o7777),
            ..self.next(mtime)
        };
        header.links = u32::try_from(meta.nlink()).unwrap_or(u32::MAX);
        if meta.nlink() > 1 {
            if let Some(&inode) = self.links.get(&(meta.dev(), meta.ino())) {
                header.inode = inode;
                return self.entry(name, &header);
            }
            self.links.insert((meta.dev(), meta.ino()), header.inode);
        }
        let Ok(size) = u32::try_from(meta.len()) else {
            bail!(
                "{} is larger than 4 GiB, which the archive cannot hold",
                path.display()
            );
        };
        header.size = size;
        self.entry(name, &header)?;
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let copied = io::copy(&mut file.take(meta.len()), &mut self.out)?;
        self.written += copied;
        if copied != meta.len() {
            bail!("{} became shorter while it was read", path.display());
        }
        self.pad()
    }

    /// Ends the archive and pads it, so that another may follow.
    pub fn finish(mut self) -> Result<W> {
        self.entry(TRAILER.as_bytes(), &Header::default())?;
        while !self.written.is_multiple_of(512) {
            self.put(&[0; 4])?;
        }
        Ok(self.out)
    }

    fn next(&mut self, mtime: u32) -> Header {
        let inode = self.next_inode;
        self.next_inode += 1;
        Header {
            inode,
            mtime,
            ..Header::default()
        }
    }

    fn entry(&mut self, name: &[u8], header: &Header) -> Result<()> {
        self.put(header.text(name.len())?.as_bytes())?;
        self.put(name)?;
        self.put(&[0])?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<()> {
        let missing = (4 - self.written % 4) % 4;
        self.put(&[0; 4][..missing as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};

    #[test]
    fn members_and_archive_are_aligned() {
        let mut archive = Archive::new(Vec::new());
        archive.dir("etc", 0o755).unwrap();
        archive.file("etc/motd", 0o644, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 512, 0);
        assert!(bytes.starts_with(b"070701"));
        assert_eq!(bytes, {
            let mut again = Archive::new(Vec::new());
            again.dir("etc", 0o755).unwrap();
            again.file("etc/motd", 0o644, b"hello").unwrap();
            again.finish().unwrap()
        });
    }

    #[test]
    fn a_tree_keeps_modes_and_links() {
        let base = std::env::temp_dir().join(format!("ironbark-cpio-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("sub/a"), b"content").unwrap();
        fs::set_permissions(from.join("sub/a"), fs::Permissions::from_mode(0o751)).unwrap();
        fs::hard_link(from.join("sub/a"), from.join("sub/b")).unwrap();
        symlink("sub/a", from.join("link")).unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.dir("host", 0o755).unwrap();
        archive.tree("host", &from).unwrap();
        let bytes = archive.finish().unwrap();
        // GNU cpio is the reference reader; a host without it has nothing to check against.
        let reader = Command::new("cpio")
            .args(["-idm", "--quiet"])
            .current_dir(&to)
            .stdin(Stdio::piped())
            .spawn();
        if let Ok(mut reader) = reader {
            reader.stdin.take().unwrap().write_all(&bytes).unwrap();
            assert!(reader.wait().unwrap().success());
            let a = fs::metadata(to.join("host/sub/a")).unwrap();
            let b = fs::metadata(to.join("host/sub/b")).unwrap();
            assert_eq!(a.mode() & 0o7777, 0o751);
            assert_eq!(a.ino(), b.ino());
            assert_eq!(fs::read(to.join("host/sub/b")).unwrap(), b"content");
            assert_eq!(
                fs::read_link(to.join("host/link")).unwrap(),
                Path::new("sub/a")
            );
        }
        fs::remove_dir_all(&base).unwrap();
    }
}
