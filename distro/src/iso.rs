//! `cargo distro iso`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::guest::System;
use crate::paths::Paths;
use crate::ui::Ui;

/// Makes an image that boots straight into one guest's work.
pub fn for_guest(
    _system: &System,
    _overlay: Option<&Path>,
    _cmdline: &str,
    _image: &Path,
    _paths: &Paths,
    _ui: &Ui,
) -> Result<()> {
    bail!("images are not there yet")
}
