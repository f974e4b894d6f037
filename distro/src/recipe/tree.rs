//! Folders on disk to archive entries and back, and the hash of a folder.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::cpio::{self, Entry};

/// All that lies below `root`, sorted by path.
pub fn scan(root: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        let full = root.join(&dir);
        let listing = fs::read_dir(&full).with_context(|| format!("cannot read {full:?}"))?;
        for item in listing {
            let path = dir.join(item?.file_name());
            let entry = entry_of(root, &path)?;
            if entry.is_dir() {
                todo.push(path);
            }
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn entry_of(root: &Path, path: &Path) -> Result<Entry> {
    let full = root.join(path);
    let name = path
        .to_str()
        .with_context(|| format!("{path:?} is no UTF-8 name"))?;
    let meta = full
        .symlink_metadata()
        .with_context(|| format!("cannot examine {full:?}"))?;
    let kind = meta.file_type();
    let permissions = meta.mode() & 0o7777;
    if kind.is_dir() {
        Ok(Entry::dir(name, permissions))
    } else if kind.is_symlink() {
        let target = fs::read_link(&full)?;
        Ok(Entry {
            data: target.as_os_str().as_bytes().to_vec(),
            ..Entry::symlink(name, "")
        })
    } else if kind.is_file() {
        let data = fs::read(&full).with_context(|| format!("cannot read {full:?}"))?;
        Ok(Entry::file(name, permissions, data))
    } else {
        bail!("/{name} is neither file, folder nor symlink");
    }
}

/// Puts entries below `root`. Folders that exist already are kept; nothing else may be there.
pub fn extract(entries: &[Entry], root: &Path) -> Result<()> {
    for entry in entries {
        let full = root.join(&entry.path);
        let put = match entry.kind() {
            cpio::S_IFDIR => fs::create_dir_all(&full),
            cpio::S_IFLNK => symlink(std::ffi::OsStr::from_bytes(&entry.data), &full),
            cpio::S_IFREG => fs::File::create_new(&full).and_then(|mut file| {
                std::io::Write::write_all(&mut file, &entry.data)?;
                file.set_permissions(fs::Permissions::from_mode(entry.mode & 0o7777))
            }),
            _ => bail!("/{}: a node of this kind cannot be put here", entry.path),
        };
        put.with_context(|| format!("cannot make /{}", entry.path))?;
    }
    Ok(())
}

/// Adds all names, modes and contents below `root` to a hash.
pub fn hash_into(hash: &mut Sha256, root: &Path) -> Result<()> {
    for entry in scan(root)? {
        hash.update(format!(
            "{}\0{:o}\0{}\0",
            entry.path,
            entry.mode,
            entry.data.len()
        ));
        hash.update(&entry.data);
    }
    Ok(())
}

/// Removes a folder that may hold read-only folders, or be missing.
pub fn remove(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    if fs::remove_dir_all(root).is_ok() {
        return Ok(());
    }
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        for item in fs::read_dir(&dir)? {
            let item = item?;
            if item.file_type()?.is_dir() {
                todo.push(item.path());
            }
        }
    }
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))
}

pub fn hex(hash: impl AsRef<[u8]>) -> String {
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes))
}

/// The sha256 of a file, read in pieces.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("cannot open {path:?}"))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).with_context(|| format!("cannot read {path:?}"))?;
    Ok(hex(hash.finalize()))
}
