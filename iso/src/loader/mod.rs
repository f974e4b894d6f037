//! What makes an image boot.
//!
//! | module | loader |
//! |---|---|
//! | [`limine`] | Limine, the one that ships |
//! | [`grub`] | GRUB from Debian's packages, where Limine cannot be had |

pub mod grub;
pub mod limine;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use self::limine::Limine;

/// The loader that an image carries.
pub enum Loader {
    Limine(Limine),
    Grub,
}

impl Loader {
    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Limine(_) => "Limine",
            Self::Grub => "GRUB",
        }
    }
}

/// Runs a program whose output is of interest only if it fails. Dates that it writes by itself
/// are `date`.
fn run(command: &mut Command, date: u64) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("SOURCE_DATE_EPOCH", date.to_string())
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(())
}
