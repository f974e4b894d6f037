//! The folder that becomes the image.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::Contents;

/// Puts the kernel and its modules into `root/boot`.
pub fn boot_folder(contents: &Contents, root: &Path) -> Result<()> {
    let boot = root.join("boot");
    fs::create_dir_all(&boot).with_context(|| format!("cannot create {}", boot.display()))?;
    copy(contents.kernel, &boot.join("kernel"))?;
    for (name, path) in contents.modules {
        copy(path, &boot.join(name))?;
    }
    Ok(())
}

pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Gives everything below `dir`, and it, the same date.
pub fn set_dates(dir: &Path, date: u64) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            set_dates(&path, date)?;
        } else {
            set_date(&path, date)?;
        }
    }
    set_date(dir, date)
}

fn set_date(path: &Path, date: u64) -> Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(date);
    File::open(path)
        .and_then(|file| file.set_modified(time))
        .with_context(|| format!("cannot set the date of {}", path.display()))
}
