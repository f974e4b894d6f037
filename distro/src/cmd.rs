//! Running other programs: quiet when they succeed, and telling when they don't.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::ui::Ui;

/// How many of a failed program's last lines an error shows.
const SHOWN_LINES: usize = 30;

/// A command without standard input, so that nothing waits for a person.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// A `cargo` of the pinned toolchain, without what the outer cargo said about this crate: those
/// variables would make the inner one rebuild things that did not change.
pub fn cargo() -> Command {
    let mut command = command("cargo");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let about_crate = text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text.starts_with("CARGO_BIN_")
            || text == "CARGO";
        if about_crate {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command whose output is of interest only if it fails.
pub fn run(command: &mut Command, ui: &Ui) -> Result<()> {
    output(command, ui).map(drop)
}

/// Runs a command and answers its standard output, less the last line's end.
pub fn text(command: &mut Command, ui: &Ui) -> Result<String> {
    let output = output(command, ui)?;
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed no text", shown(command)))?;
    Ok(text.trim_end().to_owned())
}

fn output(command: &mut Command, ui: &Ui) -> Result<Output> {
    ui.detail(&format!("$ {}", shown(command)));
    let output = command.output().with_context(|| not_started(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({}){}",
            shown(command),
            output.status,
            tail(&output)
        );
    }
    Ok(output)
}

/// Whether a program of that name is on the PATH (or in the folders where root's programs lie,
/// which Debian leaves out of a user's PATH).
pub fn exists(program: &str) -> bool {
    find(program).is_some()
}

/// The full path of a program, looked for as [`exists`] does.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// The command line as a person would type it, near enough.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        line.push(' ');
        if argument.contains([' ', '\n', '"', '$']) {
            line.push_str(&format!("{argument:?}"));
        } else {
            line.push_str(&argument);
        }
    }
    line
}

/// Moves a file, also to another file system.
pub fn move_file(from: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::rename(from, to).is_err() {
        std::fs::copy(from, to)?;
        std::fs::remove_file(from)?;
    }
    Ok(())
}

fn not_started(command: &Command) -> String {
    format!("cannot run `{}`", command.get_program().to_string_lossy())
}

fn tail(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("\n  {line}"))
        .collect()
}
