//! Fetch and verify: a recipe's sources, in the cache by their sha256.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use toml::Spanned;

use super::apt::Apt;
use super::model::{Recipe, Source};
use super::phase::Phase;
use super::{tree, unpack};
use crate::cmd;
use crate::ui::Ui;

/// The fetched sources of all recipes: `<sha256>/<file>`, each of which has that sum.
pub struct Sources {
    dir: PathBuf,
    apt_dir: PathBuf,
    ui: Ui,
}

impl Sources {
    pub fn new(cache: &Path, ui: &Ui) -> Self {
        Self {
            dir: cache.join("sources"),
            apt_dir: cache.join("apt"),
            ui: ui.clone(),
        }
    }

    /// The file of a source, fetched if it is not in the cache.
    pub fn get(&self, recipe: &Recipe, source: &Spanned<Source>) -> Result<PathBuf> {
        let wanted = source.get_ref();
        let file = recipe.expand(&wanted.file);
        let kept = self.dir.join(wanted.sha256.get_ref()).join(&file);
        if kept.is_file() {
            return Ok(kept);
        }
        fs::create_dir_all(&self.dir)?;
        let scratch = self.dir.join(format!(".fetch-{}", std::process::id()));
        tree::remove(&scratch)?;
        fs::create_dir(&scratch)?;
        let fetched = self.fetch_and_verify(recipe, source, &scratch.join(&file));
        let put = fetched.and_then(|()| {
            fs::create_dir_all(kept.parent().unwrap_or(&self.dir))?;
            Ok(fs::rename(scratch.join(&file), &kept)?)
        });
        tree::remove(&scratch)?;
        put.map(|()| kept)
    }

    /// The crates that a source's `Cargo.lock` names, fetched if they are not in the cache. Cargo holds each
    /// against the sum that stands there, now and again when it builds.
    pub fn crates(&self, recipe: &Recipe, source: &Spanned<Source>) -> Result<PathBuf> {
        let file = self.get(recipe, source)?;
        let kept = file.with_file_name("crates");
        if kept.is_dir() {
            return Ok(kept);
        }
        let scratch = self.dir.join(format!(".crates-{}", std::process::id()));
        tree::remove(&scratch)?;
        fs::create_dir(&scratch)?;
        let _step = self
            .ui
            .spinner(&format!("Fetching the crates of {}", recipe.name()));
        let put = self.fetch_crates(&file, &scratch).and_then(|()| {
            fs::rename(scratch.join("crates"), &kept)?;
            Ok(kept)
        });
        tree::remove(&scratch)?;
        put.map_err(|error| recipe.fail(Phase::Fetch, &source.span(), format!("{error:#}")))
    }

    fn fetch_crates(&self, file: &Path, scratch: &Path) -> Result<()> {
        let source = unpack::unpack(file, &scratch.join("source"))?;
        // Without dependencies cargo makes no folder.
        let crates = scratch.join("crates");
        fs::create_dir(&crates)?;
        let mut cargo = cmd::cargo();
        cargo.args(["vendor", "--locked", "--versioned-dirs"]);
        cmd::run(cargo.arg(&crates).current_dir(source), &self.ui)
    }

    fn fetch_and_verify(
        &self,
        recipe: &Recipe,
        source: &Spanned<Source>,
        file: &Path,
    ) -> Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let _step = self.ui.spinner(&format!("Fetching {name}"));
        self.fetch(recipe, source.get_ref(), file)
            .map_err(|error| recipe.fail(Phase::Fetch, &source.span(), format!("{error:#}")))?;
        let wanted = &source.get_ref().sha256;
        let sum = tree::sha256_file(file)?;
        if sum != *wanted.get_ref() {
            let what = format!("{name} has sha256 {sum}");
            return Err(recipe.fail(Phase::Verify, &wanted.span(), what));
        }
        Ok(())
    }

    /// Tries the ways a source names, in order, and tells of all that failed.
    fn fetch(&self, recipe: &Recipe, source: &Source, file: &Path) -> Result<()> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let dir = file.parent().context("a source file lies in a folder")?;
        let mut errors = Vec::new();
        if let Some(package) = &source.debian {
            let apt = Apt::open(self.apt_dir.clone(), &self.ui);
            match apt.and_then(|apt| apt.fetch(package, &name, dir)) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        if let Some(krate) = &source.krate {
            match self.fetch_crate(krate, &name, file) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        if let Some(url) = &source.url {
            match self.fetch_url(&recipe.expand(url), file) {
                Ok(()) => return Ok(()),
                Err(error) => errors.push(format!("{error:#}")),
            }
        }
        bail!("{}", errors.join("; then: "))
    }

    /// Has cargo fetch a crate for a package that is made up for it, and takes the file that it keeps.
    fn fetch_crate(&self, krate: &str, name: &str, file: &Path) -> Result<()> {
        let version = name
            .strip_prefix(&format!("{krate}-"))
            .and_then(|v| v.strip_suffix(".crate"));
        let version = version.with_context(|| format!("{name} is not {krate}-VERSION.crate"))?;
        let dir = file.with_extension("cargo");
        fs::create_dir_all(dir.join("src"))?;
        fs::write(dir.join("src/lib.rs"), "")?;
        let manifest = format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\n{krate} = {{ version = \"={version}\", default-features = false }}\n"
        );
        fs::write(dir.join("Cargo.toml"), manifest)?;
        cmd::run(cmd::cargo().arg("fetch").current_dir(&dir), &self.ui)?;
        let registry = cargo_home()?.join("registry/cache");
        for item in fs::read_dir(&registry).with_context(|| format!("cannot read {registry:?}"))? {
            let kept = item?.path().join(name);
            if kept.is_file() {
                fs::copy(kept, file)?;
                return Ok(());
            }
        }
        bail!("cargo fetched {krate}, but keeps no {name}")
    }

    /// Downloads by the helper that every apt brings along.
    fn fetch_url(&self, url: &str, file: &Path) -> Result<()> {
        if let Some(path) = url.strip_prefix("file://") {
            fs::copy(path, file).with_context(|| format!("cannot copy {path}"))?;
            return Ok(());
        }
        let helper = "/usr/lib/apt/apt-helper";
        let (program, args): (&str, &[&str]) = if Path::new(helper).is_file() {
            (
                helper,
                &["-o", "APT::Sandbox::User=root", "download-file", url],
            )
        } else {
            ("curl", &["-fsSL", "--retry", "2", url, "-o"])
        };
        cmd::run(cmd::command(program).args(args).arg(file), &self.ui)
    }
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}
