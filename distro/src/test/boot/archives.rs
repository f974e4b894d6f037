//! What the tests of bad boot input put where the initramfs should be.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::cpio::Archive;
use crate::guest::System;
use crate::paths::Paths;
use crate::programs;
use crate::ui::Ui;

/// What all of them are made from.
pub struct Files {
    /// A whole and good archive.
    userland: Vec<u8>,
    /// A static program.
    program: Vec<u8>,
}

impl Files {
    pub fn read(system: &System, paths: &Paths, ui: &Ui) -> Result<Self> {
        let program = programs::build("bench", paths, ui)?;
        let read = |path| fs::read(path).with_context(|| format!("cannot read {path:?}"));
        Ok(Self {
            userland: read(&system.initramfs)?,
            program: read(&program)?,
        })
    }
}

/// Makes what is passed as the initramfs; `None` for none.
pub type Make = fn(&Files) -> Result<Option<Vec<u8>>>;

pub fn good(files: &Files) -> Result<Option<Vec<u8>>> {
    Ok(Some(files.userland.clone()))
}

pub fn missing(_: &Files) -> Result<Option<Vec<u8>>> {
    Ok(None)
}

pub fn empty(_: &Files) -> Result<Option<Vec<u8>>> {
    Ok(Some(Vec::new()))
}

pub fn zeros(_: &Files) -> Result<Option<Vec<u8>>> {
    Ok(Some(vec![0; 4096]))
}

pub fn garbage(_: &Files) -> Result<Option<Vec<u8>>> {
    Ok(Some(noise(64 << 10)))
}

/// Bytes without a pattern, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = cmd::command("gzip");
    let mut child = gzip
        .args(["-1", "-n"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start gzip")?;
    let mut input = child.stdin.take().context("gzip has no input")?;
    let output = std::thread::scope(|scope| {
        // Both ends at once: pipes hold little.
        let writer = scope.spawn(move || input.write_all(content));
        let output = child.wait_with_output();
        writer.join().map(|_| output)
    });
    match output {
        Ok(output) => Ok(output?.stdout),
        Err(_) => bail!("the writer to gzip panicked"),
    }
}

pub fn gzipped(files: &Files) -> Result<Option<Vec<u8>>> {
    gzip(&files.userland).map(Some)
}

pub fn gzip_with_noise(files: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = gzip(&files.userland)?;
    bytes.truncate(10);
    bytes.extend(noise(64 << 10));
    Ok(Some(bytes))
}

pub fn gzip_cut(files: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = gzip(&files.userland)?;
    bytes.truncate(bytes.len() / 2);
    Ok(Some(bytes))
}

/// The content is whole, the trailer is not right.
pub fn gzip_with_bad_sum(files: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = gzip(&files.userland)?;
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    Ok(Some(bytes))
}

pub fn gzip_then_plain(files: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = gzip(&files.userland)?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(one_file("word", 0o644, b"the second archive\n")?);
    Ok(Some(bytes))
}

pub fn cut_in_header(files: &Files) -> Result<Option<Vec<u8>>> {
    Ok(Some(files.userland[..60].to_vec()))
}

pub fn cut_in_name(_: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = one_file("a-file-with-a-name", 0o644, b"content")?;
    bytes.truncate(115);
    Ok(Some(bytes))
}

/// Behind a good archive comes one whose file breaks off.
pub fn cut_in_data(files: &Files) -> Result<Option<Vec<u8>>> {
    let mut bytes = files.userland.clone();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let more = one_file("large", 0o644, &noise(10_000))?;
    bytes.extend(&more[..5_000]);
    Ok(Some(bytes))
}

fn one_file(name: &str, mode: u32, content: &[u8]) -> Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new());
    archive.file(name, mode, content)?;
    archive.finish()
}

pub fn no_init(_: &Files) -> Result<Option<Vec<u8>>> {
    one_file("readme", 0o644, b"no program here\n").map(Some)
}

pub fn init_is_noise(_: &Files) -> Result<Option<Vec<u8>>> {
    let mut content = b"\x7fELF\x02\x01\x01".to_vec();
    content.extend(noise(4096));
    one_file("init", 0o755, &content).map(Some)
}

pub fn init_is_empty(_: &Files) -> Result<Option<Vec<u8>>> {
    one_file("init", 0o755, b"").map(Some)
}

/// The headers are good, what they speak of is not there.
pub fn init_is_cut(files: &Files) -> Result<Option<Vec<u8>>> {
    one_file("init", 0o755, &files.program[..4096]).map(Some)
}

pub fn init_is_a_folder(_: &Files) -> Result<Option<Vec<u8>>> {
    let mut archive = Archive::new(Vec::new());
    archive.dir("init", 0o755)?;
    archive.finish().map(Some)
}

pub fn init_may_not_run(files: &Files) -> Result<Option<Vec<u8>>> {
    one_file("init", 0o644, &files.program).map(Some)
}

pub fn large(files: &Files) -> Result<Option<Vec<u8>>> {
    with_ballast(files, 16 << 20)
}

pub fn too_large(files: &Files) -> Result<Option<Vec<u8>>> {
    with_ballast(files, 40 << 20)
}

fn with_ballast(files: &Files, len: usize) -> Result<Option<Vec<u8>>> {
    let mut bytes = files.userland.clone();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(one_file("ballast", 0o644, &noise(len))?);
    Ok(Some(bytes))
}
