//! Tests of the whole system, on packages made up in a scratch checkout with a cache of its own.

mod builds;
mod errors;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Recipes;
use crate::paths::Paths;
use crate::ui::Ui;

/// A checkout with nothing but `packages/`, and its cache; removed on drop.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("recipe-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        for folder in ["packages", "target", "cache"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        Self { dir }
    }

    /// Adds a package: the usual head, then `rest` from line 8 on.
    fn package(&self, name: &str, rest: &str) -> &Self {
        let head = format!(
            "[package]\nname = \"{name}\"\nversion = \"1\"\nrelease = 1\nsummary = \"x\"\n\
             license = \"MIT\"\nhomepage = \"\"\n"
        );
        let dir = self.dir.join("packages").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("recipe.toml"), head + rest).unwrap();
        self
    }

    fn paths(&self) -> Paths {
        let below = |name: &str| self.dir.join(name);
        Paths {
            root: self.dir.clone(),
            target: below("target"),
            cache: below("cache"),
        }
    }

    fn open(&self) -> anyhow::Result<Recipes> {
        Recipes::open(&self.paths(), &Ui::new(false))
    }

    /// The text of the error that opening or building gives.
    fn error(&self) -> String {
        let built = self.open().and_then(|recipes| recipes.build(&[]));
        format!("{:#}", built.map(drop).unwrap_err())
    }

    /// All names in the cache, less the lock's.
    fn cached(&self) -> Vec<PathBuf> {
        let mut names = Vec::new();
        list(&self.dir.join("cache"), &mut names);
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failing test leaves nothing of interest that its message does not tell.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn list(dir: &Path, names: &mut Vec<PathBuf>) {
    for item in fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            list(&path, names);
        } else {
            names.push(path);
        }
    }
}
