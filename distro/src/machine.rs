//! The virtual machines: what the options of `run` mean as a command line of QEMU.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::cmd;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// A PCI Express machine of 2009
    Q35,
    /// i440fx, a PCI machine of 1996
    Pc,
    /// What VirtualBox gives a new machine: no serial port, IDE and AHCI, e1000
    VirtualBox,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Firmware {
    Bios,
    Uefi,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Accel {
    /// QEMU's own translation: works anywhere
    Tcg,
    /// The processor's virtualisation
    Kvm,
}

/// The memory of a machine for which nothing else was said, in MiB.
const DEFAULT_MEMORY: u32 = 512;

/// What the machine has; options that all commands that boot share.
#[derive(Args, Clone, Debug)]
pub struct Machine {
    /// The kind of machine
    #[arg(long, value_enum, default_value = "q35")]
    pub machine: Kind,
    /// The firmware, with --boot iso
    #[arg(long, value_enum, default_value = "bios")]
    pub firmware: Firmware,
    /// Number of CPUs
    #[arg(long, default_value_t = 1, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=255))]
    pub smp: u32,
    /// Memory in MiB, or with a suffix: 512M, 2G [default: 512; with --root debian 4G]
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    pub mem: Option<u32>,
    /// Emulation or virtualisation; KVM by itself only where the processor has it
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Let time follow the instructions executed: repeatable runs, one CPU
    #[arg(long)]
    pub icount: bool,
    /// Wait for a debugger on TCP port 1234
    #[arg(long)]
    pub gdb: bool,
    /// What the machine lacks: for tests
    #[arg(skip)]
    pub without: Vec<Lack>,
}

/// A part that some machines do not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Lack {
    Hpet,
    TscDeadline,
    Framebuffer,
    Serial,
    /// What processors have since 2010: XSAVE, SMEP, SMAP, FSGSBASE, RDRAND
    NewCpu,
}

/// How the machine gets its system.
pub enum Boot<'a> {
    /// The emulator loads the kernel.
    Direct {
        kernel: &'a Path,
        initramfs: Option<&'a Path>,
        /// Bytes: what a person types need not be UTF-8.
        cmdline: &'a OsStr,
    },
    /// From a CD.
    Iso(&'a Path),
}

/// Where a serial port leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// To the terminal, with the emulator's own commands behind Ctrl-A.
    Terminal,
    /// Into the pipe that is the emulator's file descriptor of that number.
    Pipe(u32),
}

/// The parts around a machine that depend on what is done with it.
pub struct Wiring {
    /// The first serial port, on machines that have one.
    pub console: Option<Port>,
    /// The second serial port, the channel of `run --exec`.
    pub channel: Option<Port>,
    /// The emulator's control socket, a file descriptor.
    pub control: Option<u32>,
    /// Whether there is a graphics adapter.
    pub graphics: bool,
    /// Whether its picture is shown in a window.
    pub window: bool,
}

impl Machine {
    /// Whether the machine has a serial port for its console.
    pub fn has_serial(&self) -> bool {
        self.machine != Kind::VirtualBox && !self.lacks(Lack::Serial)
    }

    /// Its memory in MiB.
    pub fn memory(&self) -> u32 {
        self.mem.unwrap_or(DEFAULT_MEMORY)
    }

    fn lacks(&self, part: Lack) -> bool {
        self.without.contains(&part)
    }

    fn accel(&self) -> Accel {
        self.accel
            .unwrap_or_else(|| if kvm_works() { Accel::Kvm } else { Accel::Tcg })
    }

    /// Checks what the command line's parser cannot.
    pub fn check(&self) -> Result<()> {
        if self.icount && self.smp != 1 {
            bail!("--icount counts one CPU's instructions: leave out --smp");
        }
        if self.icount && self.accel == Some(Accel::Kvm) {
            bail!("--icount needs --accel tcg");
        }
        Ok(())
    }

    /// The emulator's command line. `scratch` is a folder for what the machine may write to; it
    /// must outlive the emulator. The emulator dies with the thread that starts it.
    pub fn command(&self, boot: &Boot, wiring: &Wiring, scratch: &Path) -> Result<Command> {
        let mut qemu = cmd::command("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-reboot",
        ]);
        qemu.args(["-name", "ironbark", "-rtc", "base=utc"]);
        self.add_processor(&mut qemu);
        qemu.args(["-m", &self.memory().to_string()]);
        qemu.args(["-smp", &self.smp.to_string()]);
        let mut kind = match self.machine {
            Kind::Q35 => "q35".to_owned(),
            Kind::Pc => "pc".to_owned(),
            Kind::VirtualBox => "pc,vmport=off,hpet=off".to_owned(),
        };
        if self.lacks(Lack::Hpet) {
            kind.push_str(",hpet=off");
        }
        qemu.args(["-machine", &kind]);
        if self.machine == Kind::VirtualBox {
            add_virtualbox_devices(&mut qemu, scratch)?;
        } else {
            qemu.args(["-device", "virtio-rng-pci"]);
            let graphics = wiring.graphics && !self.lacks(Lack::Framebuffer);
            qemu.args(["-vga", if graphics { "std" } else { "none" }]);
        }
        if !wiring.window {
            qemu.args(["-display", "none"]);
        }
        self.add_ports(&mut qemu, wiring);
        self.add_boot(&mut qemu, boot, scratch)?;
        if self.gdb {
            qemu.args(["-s", "-S"]);
        }
        Ok(qemu)
    }

    fn add_processor(&self, qemu: &mut Command) {
        if self.icount {
            // `rep movsb` counts byte by byte there, and a kernel that is told it is fast uses
            // it; without these flags both kernels copy in words.
            qemu.args(["-icount", "shift=0,sleep=off", "-accel", "tcg"]);
            qemu.args(["-cpu", "max,erms=off,fsrm=off"]);
            return;
        }
        let (accel, newest) = match self.accel() {
            Accel::Kvm => ("kvm", "host"),
            Accel::Tcg => ("tcg,thread=multi", "max"),
        };
        let mut cpu = if self.lacks(Lack::NewCpu) {
            "qemu64".to_owned()
        } else {
            newest.to_owned()
        };
        if self.lacks(Lack::TscDeadline) {
            cpu.push_str(",tsc-deadline=off");
        }
        qemu.args(["-accel", accel, "-cpu", &cpu]);
    }

    fn add_ports(&self, qemu: &mut Command, wiring: &Wiring) {
        match wiring.console {
            Some(port) if self.has_serial() => add_port(qemu, "console", 0, port),
            _ => {}
        }
        if let Some(port) = wiring.channel {
            add_port(qemu, "channel", 1, port);
        }
        if let Some(fd) = wiring.control {
            qemu.arg("-chardev")
                .arg(format!("socket,id=control,fd={fd}"));
            qemu.args(["-mon", "chardev=control,mode=control"]);
        }
    }

    fn add_boot(&self, qemu: &mut Command, boot: &Boot, scratch: &Path) -> Result<()> {
        match *boot {
            Boot::Direct {
                kernel,
                initramfs,
                cmdline,
            } => {
                qemu.arg("-kernel").arg(kernel);
                if let Some(initramfs) = initramfs {
                    qemu.arg("-initrd").arg(initramfs);
                }
                qemu.arg("-append").arg(cmdline);
            }
            Boot::Iso(image) => {
                // The second channel's first device: where both kinds of machine have their CD.
                let drive = format!(
                    "if=none,id=cd,media=cdrom,readonly=on,file={}",
                    image.display()
                );
                qemu.arg("-drive").arg(drive);
                let bus = if self.machine == Kind::Q35 {
                    "ide.2"
                } else {
                    "ide.1"
                };
                qemu.arg("-device")
                    .arg(format!("ide-cd,drive=cd,bus={bus},bootindex=0"));
                if self.firmware == Firmware::Uefi {
                    add_uefi(qemu, scratch)?;
                }
            }
        }
        Ok(())
    }
}

fn add_port(qemu: &mut Command, name: &str, index: u32, port: Port) {
    let backend = match port {
        // With the multiplexer, Ctrl-C is a key like any other.
        Port::Terminal => format!("stdio,id={name},mux=on,signal=off"),
        // Not a socket: its buffer is full after some hundred writes, however short.
        Port::Pipe(fd) => format!("file,id={name},path=/dev/fd/{fd}"),
    };
    qemu.arg("-chardev").arg(backend);
    qemu.arg("-device")
        .arg(format!("isa-serial,chardev={name},index={index}"));
    if port == Port::Terminal {
        qemu.arg("-mon")
            .arg(format!("chardev={name},mode=readline"));
    }
}

/// VirtualBox's default machine, as near as the emulator comes to it.
fn add_virtualbox_devices(qemu: &mut Command, scratch: &Path) -> Result<()> {
    let disk = scratch.join("disk.img");
    let file = fs::File::create(&disk).with_context(|| format!("cannot create {disk:?}"))?;
    file.set_len(1 << 30).context("cannot size the disk")?;
    qemu.args(["-vga", "none", "-device", "vmware-svga,addr=0x2"]);
    qemu.args([
        "-netdev",
        "user,id=net0",
        "-device",
        "e1000,netdev=net0,addr=0x3",
    ]);
    qemu.args([
        "-audiodev",
        "none,id=audio0",
        "-device",
        "AC97,audiodev=audio0,addr=0x5",
    ]);
    qemu.args([
        "-device",
        "pci-ohci,id=ohci,addr=0x6",
        "-device",
        "usb-tablet,bus=ohci.0",
    ]);
    qemu.args(["-device", "ich9-ahci,id=ahci,addr=0xd"]);
    qemu.arg("-drive")
        .arg(format!("if=none,id=hd0,format=raw,file={}", disk.display()));
    qemu.args(["-device", "ide-hd,drive=hd0,bus=ahci.0"]);
    Ok(())
}

/// Firmware and its variables, which the machine gets as a copy of its own.
fn add_uefi(qemu: &mut Command, scratch: &Path) -> Result<()> {
    let folder = Path::new("/usr/share/OVMF");
    let pick = |names: [&str; 2]| -> Option<PathBuf> {
        names
            .into_iter()
            .map(|name| folder.join(name))
            .find(|path| path.exists())
    };
    let code = pick(["OVMF_CODE_4M.fd", "OVMF_CODE.fd"]);
    let vars = pick(["OVMF_VARS_4M.fd", "OVMF_VARS.fd"]);
    let (Some(code), Some(vars)) = (code, vars) else {
        bail!(
            "there is no UEFI firmware in {}: install Debian's package ovmf",
            folder.display()
        );
    };
    let own_vars = scratch.join("uefi-vars.fd");
    fs::copy(&vars, &own_vars).context("cannot copy the firmware's variables")?;
    let flash = |unit: u32, mode: &str, path: &Path| {
        format!(
            "if=pflash,unit={unit},format=raw,{mode}file={}",
            path.display()
        )
    };
    qemu.arg("-drive").arg(flash(0, "readonly=on,", &code));
    qemu.arg("-drive").arg(flash(1, "", &own_vars));
    Ok(())
}

/// KVM is worth using where the processor has virtualisation: a /dev/kvm alone may be another
/// emulation, under which a guest crawls.
fn kvm_works() -> bool {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_flag = info
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| {
            line.split_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        });
    has_flag
        && fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_ok()
}

fn mebibytes(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let number: u32 = digits
        .parse()
        .map_err(|_| format!("{text} is no size like 512 or 2G"))?;
    match number.checked_mul(factor) {
        Some(size) if size >= 16 => Ok(size),
        _ => Err(format!("{text} is not between 16M and 4194303G")),
    }
}

#[cfg(test)]
mod tests {
    use super::mebibytes;

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(mebibytes("512"), Ok(512));
        assert_eq!(mebibytes("64M"), Ok(64));
        assert_eq!(mebibytes("2G"), Ok(2048));
        assert!(mebibytes("lots").is_err());
        assert!(mebibytes("1").is_err());
        assert!(mebibytes("4194304G").is_err());
    }
}
