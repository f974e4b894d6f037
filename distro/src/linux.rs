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

/// An unpacked Linux.
pub struct Linux {
    /// The bzImage.
    pub image: PathBuf,
    /// `uname -r` of it.
    pub release: String,
    /// The folder of its modules, `lib/modules/<release>`.
    pub modules: PathBuf,
}

/// The cached kernel, or a freshly fetched one. A cached one is kept until the cache is cleared,
/// so that results of different days compare.
pub fn provide(paths: &Paths, ui: &Ui) -> Result<Linux> {
    let home = paths.cache_dir("linux")?;
    if let Some(linux) = installed(&home)? {
        return Ok(linux);
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

fn installed(home: &Path) -> Result<Option<Linux>> {
    let root = home.join("root");
    let Ok(listing) = fs::read_dir(root.join("boot")) else {
        return Ok(None);
    };
    for entry in listing {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(release) = name.strip_prefix("vmlinuz-") {
            let lib = if root.join("lib/modules").is_dir() {
                "lib"
            } else {
                "usr/lib"
            };
            return Ok(Some(Linux {
                image: entry.path(),
                release: release.to_owned(),
                modules: root.join(lib).join("modules").join(release),
            }));
        }
    }
    Ok(None)
}
