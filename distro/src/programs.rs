//! Our own programs for the guest, built as static binaries: the bench suite and the tests.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cmd;
use crate::cpio::Archive;
use crate::paths::Paths;
use crate::setup;
use crate::ui::Ui;

pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds a program of the workspace, if anything changed, and answers where it lies.
pub fn build(package: &str, paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    setup::rust_target(TARGET, ui)?;
    let _step = ui.spinner(&format!("Building {package}"));
    let mut cargo = cmd::cargo();
    cargo.args([
        "build",
        "--release",
        "--package",
        package,
        "--target",
        TARGET,
    ]);
    // Nobody debugs in the guest, and the names make most of a program's size.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "true");
    cmd::run(cargo.current_dir(&paths.root), ui)?;
    Ok(paths.target.join(TARGET).join("release").join(package))
}

/// Appends the programs that every image has to an archive of packages: `bench`. The answer lies
/// beside it, named after what it holds, and is made only once.
pub fn add_to_userland(root: &Path, paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    let program = build("bench", paths, ui)?;
    let program = fs::read(&program).with_context(|| format!("cannot read {program:?}"))?;
    let sum: String = Sha256::digest(&program)[..6]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let name = root.file_stem().unwrap_or_default().to_string_lossy();
    let whole = root.with_file_name(format!("{name}-{sum}.cpio"));
    if whole.is_file() {
        return Ok(whole);
    }
    let part = whole.with_extension(format!("{}.tmp", std::process::id()));
    fs::copy(root, &part).with_context(|| format!("cannot copy {}", root.display()))?;
    let mut archive = Archive::new(File::options().append(true).open(&part)?);
    archive.dir("usr", 0o755)?;
    archive.dir("usr/bin", 0o755)?;
    archive.file("usr/bin/bench", 0o755, &program)?;
    archive.finish()?.flush()?;
    fs::rename(&part, &whole).with_context(|| format!("cannot make {}", whole.display()))?;
    Ok(whole)
}
