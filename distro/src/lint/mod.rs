//! `cargo distro lint`: the tree's rules, checked on the source text, then rustfmt and clippy.
//!
//! | module | rule |
//! |---|---|
//! | [`source`] | what is known of a source file |
//! | [`size`] | files below 800 lines, functions below 100 |
//! | [`text`] | each file has its `//!` header; `// SAFETY:` at each unsafe block |
//! | [`places`] | unsafe code only where it is allowed |
//! | [`imports`] | who may import whom |
//!
//! The rules read text, not syntax: they are made to be fast, and to have no false alarms on code
//! that rustfmt wrote.

mod imports;
mod places;
mod size;
mod source;
mod text;

use anyhow::Result;

use self::source::Source;
use crate::cmd;
use crate::paths::Paths;
use crate::setup;
use crate::ui::Ui;

/// What one rule found.
pub struct Rule {
    pub name: &'static str,
    /// One line each, `file:line: what is wrong`.
    pub problems: Vec<String>,
}

pub fn command(paths: &Paths, ui: &Ui) -> Result<i32> {
    let rules = all(paths, ui)?;
    for problem in rules.iter().flat_map(|rule| &rule.problems) {
        println!("{problem}");
    }
    let count: usize = rules.iter().map(|rule| rule.problems.len()).sum();
    println!("{} rules, {count} problems", rules.len());
    Ok(i32::from(count != 0))
}

/// Checks everything.
pub fn all(paths: &Paths, ui: &Ui) -> Result<Vec<Rule>> {
    let mut rules = textual(paths)?;
    rules.push(rustfmt(paths, ui));
    rules.push(clippy(paths, ui));
    Ok(rules)
}

fn textual(paths: &Paths) -> Result<Vec<Rule>> {
    let sources = source::read_all(&paths.root)?;
    type Check = fn(&Source) -> Vec<String>;
    let checks: [(&'static str, Check); 5] = [
        ("sizes", size::check),
        ("headers", text::headers),
        ("safety-notes", text::safety_notes),
        ("unsafe-places", places::check),
        ("imports", imports::check),
    ];
    let rule = |(name, check): (&'static str, Check)| Rule {
        name,
        problems: sources.iter().flat_map(check).collect(),
    };
    let mut rules: Vec<Rule> = checks.into_iter().map(rule).collect();
    rules.push(Rule {
        name: "crate-dependencies",
        problems: imports::dependencies(&paths.root)?,
    });
    Ok(rules)
}

fn rustfmt(paths: &Paths, ui: &Ui) -> Rule {
    if let Err(error) = setup::rust_component("fmt", "rustfmt", ui) {
        return Rule {
            name: "rustfmt",
            problems: vec![error.to_string()],
        };
    }
    let _step = ui.spinner("Checking the format");
    let mut cargo = cmd::cargo();
    cargo
        .args(["fmt", "--all", "--", "--check", "-l"])
        .current_dir(&paths.root);
    let problems = match cargo.output() {
        Ok(output) if output.status.success() => Vec::new(),
        Ok(output) => {
            let list = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = |file: &str| format!("{}: not as rustfmt writes it", relative(file, paths));
            let files: Vec<String> = list.lines().map(line).collect();
            if files.is_empty() {
                vec![String::from_utf8_lossy(&output.stderr).into_owned()]
            } else {
                files
            }
        }
        Err(error) => vec![format!("cargo fmt cannot be run: {error}")],
    };
    Rule {
        name: "rustfmt",
        problems,
    }
}

/// Clippy on the kernel, for its own target, and on all that runs on the host. A warning of it, or of the compiler, is
/// a problem too: the tree has none.
fn clippy(paths: &Paths, ui: &Ui) -> Rule {
    if let Err(error) = setup::rust_component("clippy", "clippy", ui) {
        return Rule {
            name: "clippy",
            problems: vec![error.to_string()],
        };
    }
    let _step = ui.spinner("Running clippy");
    let kernel = ["--package", "kernel", "--target", "x86_64-unknown-none"];
    let host = ["--workspace", "--exclude", "kernel", "--all-targets"];
    let mut problems = clippy_on(&kernel, paths, ui);
    problems.extend(clippy_on(&host, paths, ui));
    problems.sort();
    problems.dedup();
    Rule {
        name: "clippy",
        problems,
    }
}

fn clippy_on(what: &[&str], paths: &Paths, ui: &Ui) -> Vec<String> {
    let mut cargo = cmd::cargo();
    cargo
        .args(["clippy", "--quiet", "--message-format", "short"])
        .args(what);
    cargo.current_dir(&paths.root);
    ui.detail(&format!("$ {}", cmd::shown(&cargo)));
    let output = match cargo.output() {
        Ok(output) => output,
        Err(error) => return vec![format!("clippy cannot be run: {error}")],
    };
    let text = String::from_utf8_lossy(&output.stderr);
    // A `--deny warnings` would keep the crates that need the first bad one from being looked at.
    let finding = |line: &&str| line.contains(": error") || line.contains(": warning");
    let problems: Vec<String> = text.lines().filter(finding).map(str::to_owned).collect();
    if problems.is_empty() && !output.status.success() {
        return vec![format!("clippy failed:\n{}", text.trim())];
    }
    problems
}

fn relative(file: &str, paths: &Paths) -> String {
    let root = format!("{}/", paths.root.display());
    file.strip_prefix(&root).unwrap_or(file).to_owned()
}
