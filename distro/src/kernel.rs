//! Builds our kernel.

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::ksyms;
use crate::paths::Paths;
use crate::setup;
use crate::ui::Ui;

/// What the kernel is compiled for.
pub const TARGET: &str = "x86_64-unknown-none";

/// How the kernel is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// What ships.
    Release,
    /// With debug assertions: lock ranks, overflow checks.
    Debug,
}

/// The version that the menu and the kernel's messages show: the workspace's own.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds the kernel, if anything changed, and answers where the bootable ELF lies.
pub fn build(profile: Profile, paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    setup::rust_target(TARGET, ui)?;
    let step = ui.spinner("Building the kernel");
    let mut cargo = cmd::cargo();
    cargo
        .args(["build", "--package", "kernel", "--target", TARGET])
        .current_dir(&paths.root)
        .env("IRONBARK_BUILD_ID", build_id(paths, ui));
    let folder = match profile {
        Profile::Release => {
            cargo.args(["--profile", "kernel"]);
            "kernel"
        }
        Profile::Debug => "debug",
    };
    cmd::run(&mut cargo, ui)?;
    drop(step);
    let kernel = paths.target.join(TARGET).join(folder).join("kernel");
    ksyms::embed(&kernel)?;
    Ok(kernel)
}

/// The commit, marked when the checkout differs from it; `unknown` outside of a repository.
pub fn build_id(paths: &Paths, ui: &Ui) -> String {
    let git = |arguments: &[&str]| {
        cmd::text(
            cmd::command("git").args(arguments).current_dir(&paths.root),
            ui,
        )
        .ok()
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_none_or(|list| list.is_empty()) {
        ""
    } else {
        "-dirty"
    };
    format!("{commit}{mark}")
}

/// When the commit was made, in seconds since 1970: the date of everything in an image, so that
/// the same commit gives the same bytes.
pub fn source_date(paths: &Paths, ui: &Ui) -> u64 {
    let mut git = cmd::command("git");
    git.args(["log", "-1", "--format=%ct"])
        .current_dir(&paths.root);
    cmd::text(&mut git, ui)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
