//! Which boot loader an image carries: Limine from `LIMINE_DIR`, else from a system install, else
//! a binary release that is fetched once, else GRUB from Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, bail};
use iso::Loader;
use iso::loader::limine::Limine;
use sha2::{Digest, Sha256};

use super::Wanted;
use crate::cmd;
use crate::paths::Paths;
use crate::setup::{self, Need};
use crate::ui::Ui;

const SYSTEM: &str = "/usr/share/limine";
const RELEASE: &str = "8.2.0";
const UPSTREAM: &str = "https://raw.githubusercontent.com/limine-bootloader/limine/v8.2.0-binary";

/// The release's files and their checksums. The last two make the program that writes the boot
/// sector for USB sticks.
const PINNED: [(&str, &str); 6] = [
    (
        "limine-bios.sys",
        "8382e36ff9d51e52e9160842f834a346028edf9e0319b1c728d290e3044a44a7",
    ),
    (
        "limine-bios-cd.bin",
        "3b889bf946b1f248c93efa90fd1718aad79f867e8184f9167a0b9875a0c41191",
    ),
    (
        "limine-uefi-cd.bin",
        "1801a9034420fb1b17bdcdedee11f29c946169abac103b161e7bfd01d98caf29",
    ),
    (
        "BOOTX64.EFI",
        "7bf99f9ffdbce1443bd7f148f01bee47d4a587f58fb170e42dab29790e6d831a",
    ),
    (
        "limine.c",
        "201ac3e7f47b34305f2208066ebb204118a7debf90d6fd7d28f4799905ca7f70",
    ),
    (
        "limine-bios-hdd.h",
        "95929ac04f603483f72781508f35f07854e1933188bc7558d89c0e7710c5749b",
    ),
];

pub fn choose(wanted: Option<Wanted>, paths: &Paths, ui: &Ui) -> Result<Loader> {
    if wanted != Some(Wanted::Grub) {
        if let Some(limine) = limine(paths, ui)? {
            return Ok(Loader::Limine(limine));
        }
        if wanted == Some(Wanted::Limine) {
            bail!("Limine cannot be had: set LIMINE_DIR to the folder of a binary release");
        }
    }
    setup::ensure(&[Need::Grub], ui)?;
    Ok(Loader::Grub)
}

fn limine(paths: &Paths, ui: &Ui) -> Result<Option<Limine>> {
    if let Some(dir) = std::env::var_os("LIMINE_DIR").map(PathBuf::from) {
        let installer = installer(&dir, paths, ui);
        let limine = Limine::find(&dir, installer);
        let missing = || {
            format!(
                "LIMINE_DIR={}: not all of a binary release is there",
                dir.display()
            )
        };
        return limine.with_context(missing).map(Some);
    }
    let system = Path::new(SYSTEM);
    if let Some(limine) = Limine::find(system, cmd::find("limine")) {
        return Ok(Some(limine));
    }
    let cached = paths.cache_dir("limine")?.join(RELEASE);
    if !cached.is_dir() && !fetch(&cached, ui)? {
        return Ok(None);
    }
    let installer = installer(&cached, paths, ui);
    Ok(Limine::find(&cached, installer))
}

/// Fetches the release; whether that worked. It is tried once a run.
fn fetch(to: &Path, ui: &Ui) -> Result<bool> {
    static TRIED: Once = Once::new();
    let mut first = false;
    TRIED.call_once(|| first = true);
    if !first {
        return Ok(false);
    }
    let step = ui.spinner("Fetching the boot loader Limine");
    let part = to.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(&part)?;
    let fetched = PINNED
        .iter()
        .try_for_each(|(name, sum)| fetch_file(name, sum, &part, ui));
    drop(step);
    let placed = fetched.and_then(|()| Ok(fs::rename(&part, to)?));
    if let Err(error) = &placed {
        // What was fetched so far is of no use alone.
        let _ = fs::remove_dir_all(&part);
        ui.note("Limine could not be fetched (LIMINE_DIR names a copy): the image carries GRUB.");
        ui.detail(&format!("{error:#}"));
    }
    Ok(placed.is_ok())
}

fn fetch_file(name: &str, sum: &str, folder: &Path, ui: &Ui) -> Result<()> {
    let (url, file) = (format!("{UPSTREAM}/{name}"), folder.join(name));
    let mut fetch = if cmd::exists("curl") {
        let mut curl = cmd::command("curl");
        curl.args(["-fsSL", "--connect-timeout", "5", "--max-time", "60", "-o"])
            .arg(&file)
            .arg(url);
        curl
    } else {
        let mut wget = cmd::command("wget");
        wget.args(["-q", "--tries=1", "--timeout=10", "-O"])
            .arg(&file)
            .arg(url);
        wget
    };
    cmd::run(&mut fetch, ui)?;
    let bytes = fs::read(&file)?;
    if hex(&Sha256::digest(&bytes)) != *sum {
        bail!("{name} has not the checksum that is pinned for it");
    }
    Ok(())
}

/// The program that writes the boot sector: the folder's own, or its source compiled. Without it
/// the image boots from CDs alone, in BIOS mode.
fn installer(dir: &Path, paths: &Paths, ui: &Ui) -> Option<PathBuf> {
    let own = dir.join("limine");
    if own.is_file() {
        return Some(own);
    }
    let source = dir.join("limine.c");
    let text = fs::read(&source).ok()?;
    let name = format!("installer-{}", &hex(&Sha256::digest(text))[..16]);
    let program = paths.cache_dir("limine").ok()?.join(name);
    if !program.is_file() {
        let mut cc = cmd::command("cc");
        cc.args(["-O2", "-std=c99", "-o"])
            .arg(&program)
            .arg(&source);
        if let Err(error) = cmd::run(&mut cc, ui) {
            ui.detail(&format!("{error:#}"));
            return None;
        }
    }
    Some(program)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
