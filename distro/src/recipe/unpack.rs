//! Unpack: an archive's content, below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cmd;

/// Unpacks `file` below `into`, which is made. Answers the folder where its content lies: most archives hold
/// all in one folder, which is skipped. An error has the unpacker's words.
pub fn unpack(file: &Path, into: &Path) -> Result<PathBuf> {
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let is_deb = file.extension().is_some_and(|end| end == "deb");
    // The modes of what a user unpacks depend on the mask.
    let mut shell = cmd::command("sh");
    shell.args(["-c", "umask 022; exec \"$@\"", "sh"]);
    if is_deb {
        shell.args(["dpkg-deb", "-x"]).arg(file).arg(into);
    } else {
        shell.args(["tar", "--no-same-owner", "--no-same-permissions", "-xf"]);
        shell.arg(file).arg("-C").arg(into);
    }
    let done = shell.output().context("cannot unpack")?;
    if !done.status.success() {
        bail!("{}", String::from_utf8_lossy(&done.stderr));
    }
    if is_deb {
        return Ok(into.to_owned());
    }
    let mut items = fs::read_dir(into)?.collect::<std::io::Result<Vec<_>>>()?;
    match items.pop() {
        Some(only) if items.is_empty() && only.file_type()?.is_dir() => Ok(only.path()),
        _ => Ok(into.to_owned()),
    }
}
