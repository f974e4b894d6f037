//! Who may import whom: the tiers of the kernel, and the crates' dependencies.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// The kernel's tiers, lowest first. A module may use its own tier and those below.
///
/// The middle one is wide because waiting is: a wait queue puts tasks to sleep, the scheduler switches their address
/// spaces, a signal ends a sleep, a task owns its files. What can be kept apart from all that is in a crate, where
/// cargo itself forbids the way up.
const TIERS: [&[&str]; 3] = [
    &[
        "log", "panic", "boot", "ksyms", "arch", "sync", "mm", "time", "sched", "task", "signal",
        "fs", "block", "net", "tty", "ipc", "device", "random", "system",
    ],
    &["syscall"],
    &["main"],
];

/// Modules of the wide tier that keep to some of it, and to which. Memory stands on the machine and on locks alone;
/// signals and what is built on tasks know nothing of devices, and only sockets and queues with names know of files.
const NARROW: [(&str, &str); 5] = [
    ("mm", "arch sync boot"),
    ("sched", "arch sync mm time task signal"),
    ("signal", "arch sync mm time sched task"),
    ("ipc", "arch sync mm time sched task signal fs"),
    ("net", "arch sync mm time sched task signal fs"),
];

/// Calls upward that the structure needs: the file, and the module that it calls.
const ENTRIES: [(&str, &str); 3] = [
    // The processor enters here and asks for the dispatcher.
    ("arch/x86_64/entry.rs", "syscall"),
    // What the table and its counters are shown by.
    ("fs/proc/ironbark.rs", "syscall"),
    ("fs/proc/sysctl.rs", "syscall"),
];

pub fn check(source: &Source) -> Vec<String> {
    let Some(path) = source.path.strip_prefix("kernel/src/") else {
        return Vec::new();
    };
    let own = path
        .split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs");
    let Some(own_tier) = tier(own) else {
        return Vec::new();
    };
    let narrow = NARROW.iter().find(|(module, _)| *module == own);
    let mut problems = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        for module in imported(&line.code) {
            let Some(their_tier) = tier(module) else {
                continue;
            };
            let entry = ENTRIES
                .iter()
                .any(|&(file, used)| file == path && used == module);
            if their_tier > own_tier && !entry {
                let what = format!("`{own}` may not use `{module}`, which is a tier above it");
                problems.push(source.problem(number, &what));
            } else if module != own
                && narrow.is_some_and(|(_, few)| few.split(' ').all(|one| one != module))
            {
                let what = format!("`{own}` keeps to few modules, and `{module}` is none of them");
                problems.push(source.problem(number, &what));
            }
        }
    }
    problems
}

fn tier(module: &str) -> Option<usize> {
    TIERS.iter().position(|tier| tier.contains(&module))
}

/// The kernel's modules that a line names: `crate::mm::...`, `use crate::{mm, sched}`.
fn imported(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split('}').next().unwrap_or_default();
                found.extend(list.split(',').map(|item| first_name(item.trim())));
            }
            None => found.push(first_name(rest)),
        }
    }
    found
}

fn first_name(path: &str) -> &str {
    path.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default()
}

/// Crates at the bottom: what they may use of ours.
const BASES: [(&str, &[&str]); 3] = [("abi", &[]), ("ksync", &["abi"]), ("devapi", &["abi"])];
/// What a logic crate may use of the bases.
const FOR_LOGIC: [&str; 4] = ["abi", "ksync", "devapi", "timer"];
const FOR_DRIVERS: [&str; 3] = ["abi", "ksync", "devapi"];

/// Checks the crates' manifests.
pub fn dependencies(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("kernel/crates");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort();
    let ours: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .chain(["drivers", "kernel", "iso", "distro"])
        .collect();
    let mut problems = Vec::new();
    for name in &names {
        let base = BASES.iter().find(|(base, _)| base == name);
        // A logic crate may build on other logic crates; only the bases may not look up.
        let allowed = base.map(|(_, allowed)| allowed.to_vec());
        let file = format!("kernel/crates/{name}/Cargo.toml");
        problems.extend(manifest(root, &file, &ours, |used| match &allowed {
            Some(allowed) => allowed.contains(&used),
            None => FOR_LOGIC.contains(&used) || names.iter().any(|name| name == used),
        })?);
    }
    let drivers = |used: &str| FOR_DRIVERS.contains(&used);
    problems.extend(manifest(root, "drivers/Cargo.toml", &ours, drivers)?);
    Ok(problems)
}

fn manifest(
    root: &Path,
    file: &str,
    ours: &[&str],
    allowed: impl Fn(&str) -> bool,
) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
    let table: toml::Table = text.parse().with_context(|| format!("in {file}"))?;
    let Some(dependencies) = table.get("dependencies").and_then(toml::Value::as_table) else {
        return Ok(Vec::new());
    };
    let wrong = dependencies
        .keys()
        .filter(|name| ours.contains(&name.as_str()) && !allowed(name));
    Ok(wrong
        .map(|name| format!("{file}: may not depend on `{name}`"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upward_imports_are_found() {
        let problems = |path: &str, text: &str| check(&Source::new(path, text)).len();
        assert_eq!(
            problems("kernel/src/tty/a.rs", "use crate::sched::wake;"),
            0
        );
        assert_eq!(
            problems("kernel/src/tty/a.rs", "use crate::{arch, syscall};"),
            1
        );
        assert_eq!(
            problems("kernel/src/syscall/a.rs", "use crate::mm::frame;"),
            0
        );
        assert_eq!(
            problems(
                "kernel/src/fs/proc/ironbark.rs",
                "use crate::syscall::counters;"
            ),
            0
        );
        assert_eq!(
            problems("kernel/src/fs/a.rs", "crate::syscall::dispatch();"),
            1
        );
        assert_eq!(problems("drivers/src/a.rs", "use crate::syscall;"), 0);
    }

    #[test]
    fn some_modules_keep_to_few() {
        let problems = |path: &str, text: &str| check(&Source::new(path, text)).len();
        assert_eq!(problems("kernel/src/mm/a.rs", "use crate::arch::pte;"), 0);
        assert_eq!(problems("kernel/src/mm/a.rs", "use crate::mm::frame;"), 0);
        assert_eq!(problems("kernel/src/mm/a.rs", "use crate::sched::wake;"), 1);
        assert_eq!(problems("kernel/src/net/a.rs", "use crate::fs::File;"), 0);
        assert_eq!(problems("kernel/src/net/a.rs", "use crate::device;"), 1);
    }
}
