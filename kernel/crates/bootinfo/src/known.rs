//! The parameters that are the kernel's, so that init does not get them: those that mean something here, and those that
//! boot loaders and their configurations pass to any Linux as a matter of course.

use crate::cmdline::same_name;

/// What this kernel heeds.
const HEEDED: [&str; 20] = [
    "clearcpuid",
    "console",
    "debug",
    "init",
    "keymap",
    "lockcheck",
    "loglevel",
    "maxcpus",
    "nofsgsbase",
    "nopcid",
    "nosmap",
    "nosmep",
    "nosmp",
    "nox2apic",
    "noxsave",
    "nr_cpus",
    "panic",
    "profile",
    "quiet",
    "rdinit",
];

/// Linux's that have nothing to act upon here: where a root file system on a disk is and how it is mounted, what to do
/// about hardware and mitigations, crash dumps, modules of security.
const LINUX: [&str; 65] = [
    "acpi",
    "acpi_osi",
    "apparmor",
    "audit",
    "BOOT_IMAGE",
    "clocksource",
    "cma",
    "crashkernel",
    "debug_boot_weak_hash",
    "default_hugepagesz",
    "dis_ucode_ldr",
    "earlycon",
    "earlyprintk",
    "edd",
    "elevator",
    "fbcon",
    "hpet",
    "hugepages",
    "hugepagesz",
    "ignore_loglevel",
    "ima_policy",
    "initcall_debug",
    "initrd",
    "intel_iommu",
    "amd_iommu",
    "iommu",
    "isolcpus",
    "kaslr",
    "keepinitrd",
    "lapic",
    "log_buf_len",
    "lsm",
    "mce",
    "mem",
    "memmap",
    "mitigations",
    "no_console_suspend",
    "no_timer_check",
    "noacpi",
    "noapic",
    "noinitrd",
    "nohlt",
    "nokaslr",
    "nolapic",
    "nomodeset",
    "nopti",
    "noresume",
    "notsc",
    "nowatchdog",
    "oops",
    "pci",
    "pcie_aspm",
    "pti",
    "random",
    "reboot",
    "resume",
    "ro",
    "root",
    "rootdelay",
    "rootflags",
    "rootfstype",
    "rootwait",
    "rw",
    "selinux",
    "vga",
];

/// Heeded ones whose values are numbers.
pub(crate) const NUMBERS: [&str; 5] = ["loglevel", "maxcpus", "nr_cpus", "panic", "profile"];

/// Whether a name is a parameter of the kernel's.
pub(crate) fn is_known(name: &str) -> bool {
    HEEDED
        .iter()
        .chain(&LINUX)
        .any(|known| same_name(name, known))
}
