//! The host's Rust toolchain, for recipes of the system `cargo`: the pinned one that builds this project.
//!
//! It lies in the user's home, where the sandbox sees nothing: [`super::sandbox`] binds it to [`PLACE`],
//! and the crates that the recipe's `Cargo.lock` names to [`CRATES`].

use std::path::PathBuf;

use anyhow::Result;

use crate::cmd;
use crate::paths::Paths;
use crate::programs::TARGET;
use crate::setup;
use crate::ui::Ui;

/// Where a build finds the toolchain.
pub const PLACE: &str = "rust";
/// Where a build finds the crates it depends on.
pub const CRATES: &str = "vendor";

pub struct Rust {
    pub sysroot: PathBuf,
    /// What `rustc -vV` says: the commit and all, which names the bytes of an official toolchain.
    pub version: String,
}

impl Rust {
    pub fn find(paths: &Paths, ui: &Ui) -> Result<Self> {
        setup::rust_target(TARGET, ui)?;
        let rustc = |args: &[&str]| {
            let mut rustc = cmd::command("rustc");
            cmd::text(rustc.args(args).current_dir(&paths.root), ui)
        };
        Ok(Self {
            sysroot: rustc(&["--print", "sysroot"])?.into(),
            version: rustc(&["-vV"])?,
        })
    }
}
