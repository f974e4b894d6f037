//! Lint: what a package may not contain, looked for before it is packed.

use goblin::elf::Elf;

use super::cpio::{Entry, S_IFREG};
use super::model::Recipe;

/// Top-level folders of the root; `cross` holds tools that only builds use.
const TOP: [&str; 18] = [
    "bin", "boot", "cross", "dev", "etc", "home", "init", "lib", "mnt", "opt", "proc", "root",
    "run", "sbin", "srv", "sys", "tmp", "usr",
];
const INTERPRETER: &str = "/lib/ld-musl-x86_64.so.1";
/// What the loader is as a library.
const LIBC: &str = "libc.so";

/// All that is wrong with what a recipe installs.
pub fn problems(recipe: &Recipe, entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    if !recipe.spec.sources.is_empty() && recipe.spec.install.licenses.is_empty() {
        found.push("`licenses` names no file of the source".to_owned());
    }
    if entries.is_empty() {
        found.push("nothing was installed".to_owned());
    }
    for entry in entries {
        let path = &entry.path;
        let top = path.split('/').next().unwrap_or_default();
        if !TOP.contains(&top) && top != "var" {
            found.push(format!("/{path} is outside of the usual folders"));
        }
        found.extend(bad_mode(entry).map(|what| format!("/{path} {what}")));
        if entry.kind() == S_IFREG && entry.data.starts_with(b"\x7fELF") {
            found.extend(bad_elf(&entry.data).map(|what| format!("/{path} {what}")));
        }
    }
    found
}

fn bad_mode(entry: &Entry) -> Option<&'static str> {
    let sticky = entry.is_dir() && entry.mode & 0o1000 != 0;
    match entry.mode & 0o6002 {
        0o2 if entry.kind() == S_IFREG || (entry.is_dir() && !sticky) => Some("is writable by all"),
        bits if bits & 0o6000 != 0 => Some("would run with another's rights"),
        _ => None,
    }
}

fn bad_elf(bytes: &[u8]) -> Option<String> {
    if bytes.windows(7).any(|window| window == b"/build/") {
        return Some("holds the path of its build".to_owned());
    }
    match Elf::parse(bytes) {
        Err(error) => Some(format!("is no proper ELF file: {error}")),
        Ok(elf) => match elf.interpreter {
            Some(other) if other != INTERPRETER => Some(format!("wants the loader {other}")),
            // It has one of its own then, of which the libraries it loads know nothing.
            Some(_) if !elf.libraries.contains(&LIBC) => Some(format!("does not name {LIBC}")),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_give_rights_away_are_found() {
        assert!(bad_mode(&Entry::file("a", 0o666, Vec::new())).is_some());
        assert!(bad_mode(&Entry::file("a", 0o4755, Vec::new())).is_some());
        assert!(bad_mode(&Entry::dir("a", 0o777)).is_some());
        assert!(bad_mode(&Entry::dir("tmp", 0o1777)).is_none());
        assert!(bad_mode(&Entry::symlink("a", "b")).is_none());
        assert!(bad_mode(&Entry::file("a", 0o755, Vec::new())).is_none());
    }

    #[test]
    fn what_claims_to_be_elf_must_be() {
        assert!(bad_elf(b"\x7fELF and no more").is_some());
    }
}
