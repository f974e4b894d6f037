//! `cargo distro debian`: a root file system of Debian's unmodified programs, for either kernel.
//!
//! mmdebstrap makes it from the mirror that the host's apt uses. It is kept in the cache as one cpio
//! archive, under a key of all that says what is in it; a guest gets a small init of ours on top.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cmd;
use crate::overlay::ExtraFile;
use crate::paths::Paths;
use crate::recipe::{self, apt};
use crate::setup::{self, Need};
use crate::ui::Ui;

/// The memory of a guest with this root, in MiB: the archive and what is unpacked lie in it.
pub const MEMORY: u32 = 4096;

/// What is installed, with what it needs and nothing that is merely recommended.
const PACKAGES: [&str; 16] = [
    "bash",
    "coreutils",
    "util-linux",
    "procps",
    "gcc",
    "g++",
    "make",
    "python3",
    "libpython3.13-testsuite",
    "perl",
    "gdb",
    "strace",
    "git",
    "vim-tiny",
    "sqlite3",
    "stress-ng",
];

/// What of the packages is left out: nothing that runs here. The last are drivers for graphics cards, a
/// quarter of it all, which stress-ng's package brings along.
const LEFT_OUT: [&str; 7] = [
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/*/libgallium*",
    "/usr/lib/*/libz3*",
];

/// Packs the root in `$1` into `$2`, without the traces of the host and of the installation.
const PACK: &str = "set -e
cd \"$1\"
echo debian > etc/hostname
rm -rf etc/resolv.conf etc/apt/apt.conf.d/99mmdebstrap etc/apt/sources.list* \
    var/lib/apt/lists/* var/cache/apt/* var/log/* tmp/*
find . -xdev -mindepth 1 \\( -path './dev/*' -o -path './proc/*' -o -path './sys/*' \\) -prune \
    -o -printf '%P\\0' | LC_ALL=C sort -z | cpio --quiet --null -o -H newc -R 0:0 > \"$2\"";

/// The root's archive, made if it is not in the cache.
pub fn provide(paths: &Paths, ui: &Ui) -> Result<PathBuf> {
    let file = archive(paths)?;
    if file.is_file() {
        return Ok(file);
    }
    setup::ensure(&[Need::Debian], ui)?;
    let _step = ui.spinner("Installing Debian's programs into a root of their own");
    let part = file.with_extension(format!("{}.tmp", std::process::id()));
    let made = cmd::run(&mut bootstrap(&part)?, ui);
    if let Err(error) = made {
        // A part of an archive is of no use; where it cannot be removed it only costs space.
        let _ = fs::remove_file(&part);
        return Err(error.context("cannot make a root of Debian's programs"));
    }
    fs::rename(&part, &file).with_context(|| format!("cannot make {}", file.display()))?;
    Ok(file)
}

/// Where the archive of this list of packages lies.
fn archive(paths: &Paths) -> Result<PathBuf> {
    let mut content = format!("{} {PACK}", apt::SUITE);
    for word in PACKAGES.iter().chain(&LEFT_OUT) {
        let _ = write!(content, " {word}");
    }
    let name = format!("{}.cpio", &recipe::hash(content.as_bytes())[..16]);
    Ok(paths.cache_dir("debian")?.join(name))
}

fn bootstrap(archive: &Path) -> Result<std::process::Command> {
    let mut make = cmd::command("mmdebstrap");
    make.args([
        "--variant=minbase",
        "--format=null",
        "--architectures=amd64",
    ]);
    make.arg(format!("--include={}", PACKAGES.join(",")));
    make.arg(format!("--keyring={}", apt::KEYRING));
    for option in apt::network_settings().lines() {
        make.arg(format!("--aptopt={option}"));
    }
    make.arg("--aptopt=Acquire::Languages \"none\"");
    for pattern in LEFT_OUT {
        make.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    // A hook that is no program's path is run by a shell, with the root's folder as $1.
    let quoted = PACK.replace('\'', r"'\''");
    let archive = archive.display();
    make.arg(format!(
        "--customize-hook=sh -c '{quoted}' pack \"$1\" '{archive}'"
    ));
    make.args([apt::SUITE, "-", &apt::machine_mirror()?]);
    Ok(make)
}

/// What a guest with this root gets in addition, at each boot.
pub fn boot_files() -> Vec<ExtraFile> {
    let script = |name: &str, text: &str| ExtraFile {
        name: name.to_owned(),
        mode: 0o755,
        content: text.as_bytes().to_vec(),
    };
    vec![
        script("init", include_str!("debian/init.sh")),
        script(
            "usr/local/sbin/poweroff",
            include_str!("debian/poweroff.sh"),
        ),
    ]
}
