//! An image that boots by GRUB, made by its own `grub-mkrescue`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::run;
use crate::{Contents, stage};

/// What the menu and the machines need; all of GRUB would be ten times as large.
const MODULES: &str = "multiboot2 normal iso9660 part_gpt part_msdos fat all_video gfxterm boot \
    echo search configfile test serial terminal";

pub fn build(contents: &Contents, root: &Path, out: &Path) -> Result<()> {
    let folder = root.join("boot/grub");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(folder.join("grub.cfg"), contents.menu.for_grub()?)
        .context("cannot write the menu")?;
    stage::set_dates(root, contents.date)?;
    let mut grub = Command::new("grub-mkrescue");
    grub.args(["--compress=xz", "--locales=", "--fonts=", "--themes="]);
    grub.arg(format!("--install-modules={MODULES}"))
        .arg("-o")
        .arg(out)
        .arg(root);
    grub.args(["--", "-volid", contents.volume]);
    run(&mut grub, contents.date)
}
