//! The oracle's kernel: Debian's cloud kernel, fetched with apt into the cache and unpacked there.
//! Nothing is installed, and no root rights are needed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::paths::Paths;
use crate::ui::Ui;

/// Debian's name for "the newest kernel for virtual machines".
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// The cached kernel's bzImage, or a freshly fetched one's. A cached one is kept until the cache is cleared,
/// so that results of different days compare.
pub fn provide(paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    let home = paths.cache_dir("linux")?;
    if let Some(image) = installed(&home)? {
        return Ok(image);
    }
    let _step = ui.spinner("Fetching Debian's Linux, to compare with");
    let package = newest_package(ui)?;
    let work = home.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&work)?;
    let fetched = fetch(&package, &work, &home, ui);
    // The work folder is of no use, whatever happened; a left-over one only costs space.
    let _ = fs::remove_dir_all(&work);
    fetched?;
    installed(&home)?.with_context(|| format!("package {package} holds no boot/vmlinuz-*"))
}

fn fetch(package: &str, work: &Path, home: &Path, ui: &Ui) -> Result<()> {
    let mut download = cmd::command("apt-get");
    // As root, apt drops its rights for downloads and then warns that it cannot write here.
    download
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(work);
    cmd::run(&mut download, ui)
        .with_context(|| format!("cannot fetch {package} (does `apt-get update` work?)"))?;
    let archive = fs::read_dir(work)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("apt-get left no package file for {package}"))?;
    let unpacked = work.join("root");
    cmd::run(
        cmd::command("dpkg-deb")
            .arg("-x")
            .args([&archive, &unpacked]),
        ui,
    )?;
    fs::rename(&unpacked, home.join("root")).context("cannot put Linux into the cache")
}

/// The package that the meta package depends on, e.g. `linux-image-6.1.0-56-cloud-amd64`.
fn newest_package(ui: &Ui) -> Result<String> {
    let list = cmd::text(
        cmd::command("apt-cache").args(["depends", META_PACKAGE]),
        ui,
    )?;
    let package = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"));
    match package {
        Some(name) => Ok(name.to_owned()),
        None => bail!("apt knows no package {META_PACKAGE}: run `apt-get update` as root"),
    }
}

fn installed(home: &Path) -> Result<Option<PathBuf>> {
    let Ok(listing) = fs::read_dir(home.join("root/boot")) else {
        return Ok(None);
    };
    for entry in listing {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
