//! Where things lie: the checkout, its `target/`, and the user's cache, which outlives a checkout.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folders of one run of the tool.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The top of the checkout.
    pub root: PathBuf,
    /// Cargo's output folder; ours are below it and may be deleted at any time.
    pub target: PathBuf,
    /// `$XDG_CACHE_HOME/ironbark`: downloads and built packages, shared by all checkouts.
    pub cache: PathBuf,
}

impl Paths {
    pub fn find() -> Result<Self> {
        let root = find_root()?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        let cache = cache_folder()?.join("ironbark");
        fs::create_dir_all(&target).with_context(|| format!("cannot create {target:?}"))?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot create {cache:?}"))?;
        Ok(Self {
            root,
            target,
            cache,
        })
    }

    /// A folder below the cache, made if it is missing.
    pub fn cache_dir(&self, name: &str) -> Result<PathBuf> {
        make(self.cache.join(name))
    }

    /// A folder below `target/`, made if it is missing.
    pub fn target_dir(&self, name: &str) -> Result<PathBuf> {
        make(self.target.join(name))
    }
}

fn make(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Cargo says where the tool's crate lies; a tool that is run by hand looks upward instead.
fn find_root() -> Result<PathBuf> {
    if let Some(crate_dir) = env::var_os("CARGO_MANIFEST_DIR") {
        let root = Path::new(&crate_dir).parent().unwrap_or(Path::new("."));
        if is_root(root) {
            return Ok(root.to_owned());
        }
    }
    let here = env::current_dir().context("the current folder cannot be read")?;
    match here.ancestors().find(|dir| is_root(dir)) {
        Some(root) => Ok(root.to_owned()),
        None => bail!("{} is not inside an Ironbark checkout", here.display()),
    }
}

fn is_root(dir: &Path) -> bool {
    dir.join("kernel/Cargo.toml").is_file() && dir.join("distro/Cargo.toml").is_file()
}

fn cache_folder() -> Result<PathBuf> {
    // The XDG specification: a relative path there is to be ignored.
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    if let Some(dir) = named.filter(|dir| dir.is_absolute()) {
        return Ok(dir);
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache"))
}
