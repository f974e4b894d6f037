//! Our own programs for the guest, built as static binaries: the bench suite and the tests.

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::paths::Paths;
use crate::ui::Ui;

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds a program of the workspace, if anything changed, and answers where it lies.
pub fn build(package: &str, paths: &Paths, ui: &Ui) -> Result<PathBuf> {
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
    cmd::run(cargo.current_dir(&paths.root), ui)?;
    Ok(paths.target.join(TARGET).join("release").join(package))
}
