//! The root file system of a list of packages, as one archive that the kernel unpacks.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::cpio::{self, Entry};
use super::{Recipes, tree};

impl Recipes {
    /// A newc archive of `packages` and all that they need to run, built as far as necessary. The
    /// answer lies in `target/`, named after its content, and is made only once.
    pub fn image_root(&self, packages: &[&str]) -> Result<PathBuf> {
        let outputs = self.graph.closure(packages.iter().copied())?;
        let owners = outputs.iter().map(|output| self.graph.owner(output));
        let mut built = BTreeMap::new();
        self.build_into(&mut built, owners.collect::<Result<_>>()?)?;
        let mut sums = String::new();
        for output in &outputs {
            let sum = &self.provider(output, &built)?.output(output)?.sha256;
            sums.push_str(&format!("{output} {sum}\n"));
        }
        let name = format!("root-{}.cpio", &tree::sha256(sums.as_bytes())[..16]);
        let file = self.paths.target_dir("images")?.join(name);
        if file.is_file() {
            return Ok(file);
        }
        let mut parts = Vec::new();
        for output in &outputs {
            parts.push((*output, self.provider(output, &built)?.entries(output)?));
        }
        let replaces = |new: &str, old: &str| {
            let owner = self.graph.owner(new);
            owner.is_ok_and(|recipe| recipe.replaces(old))
        };
        let archive = cpio::write(merge(parts, replaces)?)?;
        let scratch = file.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&scratch, archive)?;
        fs::rename(&scratch, &file).with_context(|| format!("cannot make {}", file.display()))?;
        Ok(file)
    }
}

/// All entries of all outputs. Folders may be shared, nothing else, unless one output `replaces` the other.
fn merge(
    parts: Vec<(&str, Vec<Entry>)>,
    replaces: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Entry>> {
    let mut root: BTreeMap<String, (&str, Entry)> = BTreeMap::new();
    // Init's first open of its console comes before /dev is mounted.
    let console = Entry::char_device("dev/console", 0o600, (5, 1));
    for entry in [Entry::dir("dev", 0o755), console] {
        root.insert(entry.path.clone(), ("", entry));
    }
    for (output, entries) in parts {
        for entry in entries {
            match root.get(&entry.path) {
                Some((_, other))
                    if other.is_dir() && entry.is_dir() && other.mode == entry.mode => {}
                Some((owner, _)) if replaces(owner, output) => {}
                Some((owner, _)) if !replaces(output, owner) => {
                    bail!("/{} is both in {owner} and in {output}", entry.path)
                }
                _ => {
                    root.insert(entry.path.clone(), (output, entry));
                }
            }
        }
    }
    Ok(root.into_values().map(|(_, entry)| entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_shared_and_files_are_not() {
        let part = |file: &str| {
            vec![
                Entry::dir("bin", 0o755),
                Entry::file(file, 0o755, Vec::new()),
            ]
        };
        let merged = |a, b| merge(vec![("a", part(a)), ("b", part(b))], |_, _| false);
        assert_eq!(merged("bin/a", "bin/b").unwrap().len(), 5);
        let error = merged("bin/x", "bin/x").unwrap_err();
        assert_eq!(error.to_string(), "/bin/x is both in a and in b");
    }

    #[test]
    fn what_replaces_another_wins_in_any_order() {
        let part = |content: &str| vec![Entry::file("x", 0o755, content.into())];
        for order in [["real", "link"], ["link", "real"]] {
            let parts = order.map(|name| (name, part(name))).to_vec();
            let merged = merge(parts, |new, old| (new, old) == ("real", "link")).unwrap();
            let found = merged.iter().find(|entry| entry.path == "x").unwrap();
            assert_eq!(found.data, b"real");
        }
    }
}
