//! Unsafe code only where it is allowed.

use super::source::Source;

/// Where `unsafe` may stand, as the beginnings of paths.
const ALLOWED: [&str; 23] = [
    "kernel/src/arch/",
    "kernel/src/boot/",
    "kernel/src/mm/frame",
    "kernel/src/mm/heap",
    "kernel/src/mm/page_table",
    "kernel/src/mm/user",
    "kernel/src/mm/kmap",
    // The kernel's own tables, made before anything can be called safe; the switch that opens the folder.
    "kernel/src/mm/init.rs",
    "kernel/src/mm/mod.rs",
    "kernel/src/sync/",
    "kernel/src/device/dma",
    "kernel/crates/ksync/",
    "kernel/crates/frames/",
    "drivers/src/hal",
    // Trait methods of the ACPI and PCI crates that are unsafe by their signature.
    "kernel/crates/aml/src/handler.rs",
    "drivers/src/pci/config.rs",
    // Cells whose races loom looks for.
    "kernel/crates/models/",
    // The section of the symbol table.
    "kernel/src/ksyms.rs",
    // Programs that exist to make system calls, and test them.
    "bench/",
    "tests/",
    "kernel/crates/ldisc/tests/",
    "kernel/build.rs",
    "kernel/src/main.rs",
];

pub fn check(source: &Source) -> Vec<String> {
    if ALLOWED.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let code = &line.code;
        let block = [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "unsafe(",
            "allow(unsafe_code",
            "expect(unsafe_code",
        ]
        .iter()
        .any(|form| code.contains(form));
        if block && !line.test && !source.is_test() {
            problems.push(source.problem(number, "unsafe code is not allowed here"));
        }
    }
    problems
}
