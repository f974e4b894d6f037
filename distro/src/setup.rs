//! Makes sure that the host has the programs that a command needs, by Debian's packages.

use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cmd;
use crate::recipe::{HostTool, apt};
use crate::ui::Ui;

/// A group of things that one kind of work needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Booting a guest.
    Emulator,
    /// Booting a guest by UEFI.
    Uefi,
    /// Making an image.
    Image,
    /// Making an image where Limine cannot be had.
    Grub,
    /// Compiling the userland.
    Build,
    /// Making a root of Debian's programs.
    Debian,
}

pub const ALL: [Need; 5] = [
    Need::Emulator,
    Need::Uefi,
    Need::Image,
    Need::Grub,
    Need::Build,
];

impl Need {
    /// What shows that it is there (a program's name, or a path), and the package that brings it.
    fn probes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Emulator => &[("qemu-system-x86_64", "qemu-system-x86")],
            Self::Uefi => &[("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")],
            Self::Image => &[("xorriso", "xorriso")],
            Self::Grub => &[
                ("grub-mkrescue", "grub-common"),
                ("/usr/lib/grub/i386-pc/cdboot.img", "grub-pc-bin"),
                (
                    "/usr/lib/grub/x86_64-efi/multiboot2.mod",
                    "grub-efi-amd64-bin",
                ),
                ("mformat", "mtools"),
            ],
            Self::Build => &[
                ("gcc", "gcc"),
                ("/usr/include/stdio.h", "libc6-dev"),
                ("make", "make"),
                ("xz", "xz-utils"),
                ("bzip2", "bzip2"),
                ("bison", "bison"),
                ("patch", "patch"),
            ],
            Self::Debian => &[
                ("mmdebstrap", "mmdebstrap"),
                ("cpio", "cpio"),
                (apt::KEYRING, "debian-archive-keyring"),
            ],
        }
    }
}

/// Installs what is missing of `needs`, or says in one line what to install.
pub fn ensure(needs: &[Need], ui: &Ui) -> Result<()> {
    let probes = needs.iter().flat_map(|need| need.probes());
    install(&missing(probes.copied()), ui)
}

/// The same for the programs that one package's build runs.
pub fn programs(tools: &[HostTool], ui: &Ui) -> Result<()> {
    let probes = tools
        .iter()
        .map(|tool| (tool.program.as_str(), tool.package.as_str()));
    install(&missing(probes), ui)
}

fn install(missing: &[&str], ui: &Ui) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let Some(prefix) = privilege() else {
        bail!("this needs Debian packages: run `apt-get install {list}` as root, then again");
    };
    if !cmd::exists("apt-get") {
        bail!("this needs the programs of Debian's packages {list}: please install them");
    }
    let step = ui.spinner(&format!("Installing {list}"));
    if apt_get(prefix, &["install"], missing, ui).is_err() {
        // Fresh machines and containers have no package lists, or outdated ones.
        apt_get(prefix, &["update"], &[], ui)?;
        if let Err(error) = apt_get(prefix, &["install"], missing, ui) {
            ui.detail(&format!("{error:#}"));
            bail!("apt-get could not install the packages: please install {list}");
        }
    }
    drop(step);
    Ok(())
}

/// Makes sure that the pinned compiler can build for `target`. `rustup` does so by itself from
/// `rust-toolchain.toml`, unless a person has told it not to.
pub fn rust_target(target: &str, ui: &Ui) -> Result<()> {
    let mut rustc = cmd::command("rustc");
    let folder = cmd::text(
        rustc.args(["--print", "target-libdir", "--target", target]),
        ui,
    )?;
    if Path::new(&folder).is_dir() {
        return Ok(());
    }
    rustup(&["target", "add", target], ui)
}

/// Makes sure that the pinned toolchain has `cargo <program>`, which rustup's component of the same
/// name brings.
pub fn rust_component(program: &str, component: &str, ui: &Ui) -> Result<()> {
    let works = cmd::cargo()
        .args([program, "--version"])
        .output()
        .is_ok_and(|out| out.status.success());
    if works {
        return Ok(());
    }
    rustup(&["component", "add", component], ui)
}

fn rustup(action: &[&str], ui: &Ui) -> Result<()> {
    let line = action.join(" ");
    if !cmd::exists("rustup") {
        bail!("the Rust toolchain is not complete: `rustup {line}` would mend it");
    }
    let _step = ui.spinner(&format!("Running rustup {line}"));
    if let Err(error) = cmd::run(cmd::command("rustup").args(action), ui) {
        ui.detail(&format!("{error:#}"));
        bail!("the Rust toolchain is not complete: please run `rustup {line}`");
    }
    Ok(())
}

/// The packages that are missing, without doubles.
fn missing<'a>(probes: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<&'a str> {
    let mut packages = Vec::new();
    for (probe, package) in probes {
        let there = if probe.starts_with('/') {
            Path::new(probe).exists()
        } else {
            cmd::exists(probe)
        };
        if !there && !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// What to write before a command so that it runs as root; `None` if there is no way to.
fn privilege() -> Option<&'static [&'static str]> {
    let quiet = |program: &str, arguments: &[&str]| {
        cmd::command(program)
            .args(arguments)
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let uid = cmd::command("id").arg("-u").output().ok()?;
    if uid.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    if !cmd::exists("sudo") {
        return None;
    }
    if quiet("sudo", &["-n", "true"]) {
        return Some(&["sudo", "-n"]);
    }
    // sudo may ask for a password, if there is a person to answer.
    std::io::stdin().is_terminal().then_some(&["sudo"])
}

fn apt_get(prefix: &[&str], action: &[&str], packages: &[&str], ui: &Ui) -> Result<()> {
    let mut words = prefix.iter().chain(&["apt-get"]).copied();
    let mut command = Command::new(words.next().unwrap_or("apt-get"));
    command
        .args(words)
        .args(["-q", "-y", "-o", "Dpkg::Use-Pty=0"])
        .args(action);
    if !packages.is_empty() {
        command.arg("--no-install-recommends").args(packages);
    }
    command.env("DEBIAN_FRONTEND", "noninteractive");
    cmd::run(&mut command, ui)
}
