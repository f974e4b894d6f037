//! What a built package depends on, as one hash: the recipe and its files (which pin the sources), the
//! dependencies' outputs, and the toolchain. The same key means the same bytes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::model::Recipe;
use super::tree;
use crate::cmd;
use crate::ui::Ui;

/// To be raised when this program comes to make other bytes of the same recipe.
const FORMAT: u32 = 2;

/// The hash of the programs that turn source into machine code. Their versions alone do not tell
/// distributions' builds of them apart.
pub fn toolchain(ui: &Ui) -> Result<String> {
    let mut hash = Sha256::new();
    for name in ["cc1", "collect2", "as", "ld"] {
        let asked = format!("-print-prog-name={name}");
        let path = cmd::text(cmd::command("gcc").arg(asked), ui)
            .context("packages are built with gcc (package build-essential)")?;
        let path = if path.contains('/') {
            PathBuf::from(path)
        } else {
            found(&path)?
        };
        hash.update(tree::sha256_file(&path)?);
    }
    hash.update(tree::sha256_file(&found("make")?)?);
    Ok(tree::hex(hash.finalize()))
}

fn found(program: &str) -> Result<PathBuf> {
    cmd::find(program).with_context(|| format!("no `{program}` here (package build-essential)"))
}

/// The key of a recipe. `deps` are the sums of the sysroot's outputs, in a fixed order. What the guest tests
/// say, and how the recipe is laid out, changes no byte of the package and is not in it.
pub fn key(recipe: &Recipe, deps: &[(String, String)], toolchain: &str) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("recipe format {FORMAT}\ntoolchain {toolchain}\n"));
    for (output, sum) in deps {
        hash.update(format!("dep {output} {sum}\n"));
    }
    let mut spec: toml::Table = recipe.text.parse()?;
    spec.remove("guest-test");
    hash.update(spec.to_string());
    for folder in ["files", "patches"] {
        let dir: &Path = &recipe.dir.join(folder);
        if dir.is_dir() {
            hash.update(format!("\n{folder}\n"));
            tree::hash_into(&mut hash, dir)?;
        }
    }
    Ok(tree::hex(hash.finalize()))
}
