//! What one guest gets in addition to the userland: files, a share, its command.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::exec::Job;

/// The largest folder that is passed into a guest.
const SHARE_LIMIT: u64 = 1 << 30;

/// What is put into the userland for one guest alone.
#[derive(Clone, Default, Debug)]
pub struct Extras {
    /// A host folder whose copy appears as /mnt/host.
    pub share: Option<PathBuf>,
    pub files: Vec<ExtraFile>,
}

/// A file for a guest.
#[derive(Clone, Debug)]
pub struct ExtraFile {
    /// The path in the guest, without the leading slash.
    pub name: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

impl ExtraFile {
    /// A copy of a program of the host.
    pub fn program(name: &str, host: &Path) -> Result<Self> {
        let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
        Ok(Self {
            name: name.to_owned(),
            mode: 0o755,
            content,
        })
    }
}

impl Extras {
    /// The share, if it is small enough to be passed.
    pub fn check(&self) -> Result<()> {
        let Some(dir) = &self.share else {
            return Ok(());
        };
        if !dir.is_dir() {
            bail!("--share {}: this is no folder", dir.display());
        }
        let size = tree_size(dir)?;
        if size > SHARE_LIMIT {
            bail!(
                "--share {}: {} MiB, and at most 1024 fit",
                dir.display(),
                size >> 20
            );
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.share.is_none() && self.files.is_empty()
    }

    fn add_to<W: Write>(&self, archive: &mut Archive<W>) -> Result<()> {
        let mut made: Vec<&str> = vec!["etc", "etc/ironbark"];
        for file in &self.files {
            for (at, _) in file.name.match_indices('/') {
                if !made.contains(&&file.name[..at]) {
                    archive.dir(&file.name[..at], 0o755)?;
                    made.push(&file.name[..at]);
                }
            }
            archive.file(&file.name, file.mode, &file.content)?;
        }
        if let Some(dir) = &self.share {
            if !made.contains(&"mnt") {
                archive.dir("mnt", 0o755)?;
            }
            archive.dir("mnt/host", 0o755)?;
            archive.tree("mnt/host", dir)?;
        }
        Ok(())
    }
}

fn tree_size(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() {
            tree_size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(total)
}

/// Writes the archive of a guest's extras and its job.
pub fn write_overlay(path: &Path, extras: &Extras, job: Option<&Job>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut archive = Archive::new(std::io::BufWriter::with_capacity(1 << 20, file));
    if let Some(job) = job {
        job.add_to(&mut archive)?;
    }
    extras.add_to(&mut archive)?;
    archive
        .finish()?
        .flush()
        .context("cannot write the guest's archive")
}
