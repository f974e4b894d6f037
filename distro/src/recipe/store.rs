//! Index: built packages in the user's cache, by the hash of all that went into them.
//!
//! An entry is a folder `<name>-<version>-<release>-<key>` with a `<output>.cpio` for each output and an
//! `index.json`. It appears by one rename when all of it is written, and is never changed after.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cpio::{self, Entry};
use super::model::Recipe;
use super::tree;
use crate::ui::Ui;

/// How much of a key's 64 digits a folder's name shows.
const SHOWN_KEY: usize = 16;

pub struct Store {
    dir: PathBuf,
}

/// What `index.json` says of a built package.
#[derive(Debug, Deserialize, Serialize)]
pub struct Index {
    pub key: String,
    pub name: String,
    pub version: String,
    pub release: u32,
    pub summary: String,
    pub license: String,
    pub homepage: String,
    pub outputs: Vec<OutputIndex>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct OutputIndex {
    pub name: String,
    /// Of the archive.
    pub sha256: String,
    pub installed_bytes: u64,
    pub files: usize,
    pub run: Vec<String>,
}

/// A package in the store.
#[derive(Debug)]
pub struct Built {
    pub dir: PathBuf,
    pub index: Index,
}

impl Built {
    pub fn output(&self, name: &str) -> Result<&OutputIndex> {
        let found = self.index.outputs.iter().find(|output| output.name == name);
        found.with_context(|| format!("{} has no output {name}", self.dir.display()))
    }

    /// The archive of an output.
    pub fn archive(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.cpio"))
    }

    pub fn entries(&self, name: &str) -> Result<Vec<Entry>> {
        let file = self.archive(name);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        cpio::read(&bytes).with_context(|| format!("{} is damaged", file.display()))
    }
}

impl Store {
    pub fn open(cache: &Path) -> Result<Self> {
        let dir = cache.join("packages");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// One builder at a time: the answer is the lock, released on drop.
    pub fn lock(&self, ui: &Ui) -> Result<File> {
        let path = self.dir.join(".lock");
        let file = File::options().create(true).append(true).open(&path)?;
        if file.try_lock().is_err() {
            let _step = ui.spinner("Waiting for another build to finish");
            file.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }

    pub fn find(&self, recipe: &Recipe, key: &str) -> Result<Option<Built>> {
        let dir = self.entry(recipe, key);
        let file = dir.join("index.json");
        if !file.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file)?;
        let index = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: remove the folder", file.display()))?;
        Ok(Some(Built { dir, index }))
    }

    /// Adds a package. `archives` are in the order of `index.outputs`. An entry of that key is replaced.
    pub fn put(&self, recipe: &Recipe, index: Index, archives: &[Vec<u8>]) -> Result<Built> {
        let dir = self.entry(recipe, &index.key);
        let scratch = self.dir.join(".new");
        tree::remove(&scratch)?;
        let written = write_entry(&scratch, &index, archives).and_then(|()| {
            tree::remove(&dir)?;
            Ok(fs::rename(&scratch, &dir)?)
        });
        tree::remove(&scratch)?;
        written.with_context(|| format!("cannot store {}", dir.display()))?;
        Ok(Built { dir, index })
    }

    fn entry(&self, recipe: &Recipe, key: &str) -> PathBuf {
        let shown = key.get(..SHOWN_KEY).unwrap_or(key);
        self.dir.join(format!("{}-{shown}", recipe.full_name()))
    }
}

fn write_entry(dir: &Path, index: &Index, archives: &[Vec<u8>]) -> Result<()> {
    fs::create_dir(dir)?;
    for (output, archive) in index.outputs.iter().zip(archives) {
        fs::write(dir.join(format!("{}.cpio", output.name)), archive)?;
    }
    fs::write(
        dir.join("index.json"),
        serde_json::to_string_pretty(index)? + "\n",
    )?;
    Ok(())
}
