//! Temporary folders below `target/`, deleted when the work is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::paths::Paths;

/// A folder of one guest; it and all in it go when this is dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new(paths: &Paths) -> Result<Self> {
        // Only uniqueness matters, so no ordering with anything else is needed.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = paths
            .target_dir("guests")?
            .join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that cannot be deleted costs space below target/ and nothing else.
        let _ = fs::remove_dir_all(&self.path);
    }
}
