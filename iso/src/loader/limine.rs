//! An image that boots by Limine: El Torito for CDs, an EFI partition, and, where Limine's own
//! installer is there, a boot sector for USB sticks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::run;
use crate::{Contents, stage};

/// The files of a binary release that an image needs.
pub const FILES: [&str; 4] = [
    "limine-bios.sys",
    "limine-bios-cd.bin",
    "limine-uefi-cd.bin",
    "BOOTX64.EFI",
];

/// Limine's binaries on this host.
#[derive(Clone, Debug)]
pub struct Limine {
    dir: PathBuf,
    /// The program that writes the boot sector.
    installer: Option<PathBuf>,
}

impl Limine {
    /// Limine in a folder, if all that is needed lies there.
    pub fn find(dir: &Path, installer: Option<PathBuf>) -> Option<Self> {
        let complete = FILES.iter().all(|name| dir.join(name).is_file());
        complete.then(|| Self {
            dir: dir.to_owned(),
            installer,
        })
    }
}

pub fn build(contents: &Contents, limine: &Limine, root: &Path, out: &Path) -> Result<()> {
    let own = root.join("boot/limine");
    let efi = root.join("EFI/BOOT");
    for folder in [&own, &efi] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    for name in &FILES[..3] {
        stage::copy(&limine.dir.join(name), &own.join(name))?;
    }
    stage::copy(&limine.dir.join("BOOTX64.EFI"), &efi.join("BOOTX64.EFI"))?;
    fs::write(own.join("limine.conf"), contents.menu.for_limine())
        .context("cannot write the menu")?;
    stage::set_dates(root, contents.date)?;
    let mut xorriso = Command::new("xorriso");
    xorriso.args([
        "-as",
        "mkisofs",
        "-quiet",
        "-R",
        "-r",
        "-J",
        "-V",
        contents.volume,
    ]);
    xorriso.args([
        "-b",
        "boot/limine/limine-bios-cd.bin",
        "-no-emul-boot",
        "-boot-load-size",
        "4",
    ]);
    xorriso.args(["-boot-info-table", "-hfsplus", "-apm-block-size", "2048"]);
    xorriso.args([
        "--efi-boot",
        "boot/limine/limine-uefi-cd.bin",
        "-efi-boot-part",
    ]);
    xorriso.args(["--efi-boot-image", "--protective-msdos-label"]);
    xorriso.arg(root).arg("-o").arg(out);
    run(&mut xorriso, contents.date)?;
    match &limine.installer {
        Some(installer) => run(
            Command::new(installer).arg("bios-install").arg(out),
            contents.date,
        ),
        None => Ok(()),
    }
}
