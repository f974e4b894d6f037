//! One package through all its phases.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::cpio::{self, Entry};
use super::model::Recipe;
use super::phase::Phase;
use super::rust::{self, Rust};
use super::sandbox::Sandbox;
use super::source::Sources;
use super::store::{Index, OutputIndex};
use super::{lint, split, systems, tree, unpack};
use crate::ui::{Step, Ui};

/// How many of the log's last lines the error of a failed phase shows.
const SHOWN_LINES: usize = 25;

/// What a build needs from outside.
pub struct Inputs<'a> {
    pub recipe: &'a Recipe,
    pub sources: &'a Sources,
    /// For the system `cargo`.
    pub rust: Option<&'a Rust>,
    /// The sysroot's entries, output by output.
    pub sysroot: &'a [Vec<Entry>],
    pub key: &'a str,
    /// Where to work; the folder is made, and removed at the end.
    pub work: &'a Path,
    /// Stays after the build, for the curious.
    pub log: &'a Path,
}

/// Runs all phases up to `pack`. Answers what the store is to keep.
pub fn run(inputs: &Inputs<'_>, ui: &Ui) -> Result<(Index, Vec<Vec<u8>>)> {
    tree::remove(inputs.work)?;
    fs::create_dir_all(inputs.work)?;
    File::create(inputs.log).with_context(|| format!("cannot write {}", inputs.log.display()))?;
    let built = run_in(inputs, ui);
    tree::remove(inputs.work)?;
    built
}

fn run_in(inputs: &Inputs<'_>, ui: &Ui) -> Result<(Index, Vec<Vec<u8>>)> {
    let recipe = inputs.recipe;
    let step = ui.spinner(&format!("Building {}", recipe.full_name()));
    let build = Build::start(inputs, &step)?;
    build.unpack()?;
    build.patch()?;
    let own = recipe.build();
    build.script(Phase::Configure, own.configure.as_ref())?;
    build.script(Phase::Compile, own.compile.as_ref())?;
    build.script(Phase::Check, own.check.as_ref())?;
    build.script(Phase::Install, recipe.spec.install.script.as_ref())?;
    build.licenses()?;
    build.announce(Phase::Split);
    let entries = tree::scan(&build.sandbox.dest_dir())?;
    build.lint(&entries)?;
    let outputs = split::split(recipe, entries)?;
    build.announce(Phase::Pack);
    pack(inputs, outputs)
}

struct Build<'a> {
    inputs: &'a Inputs<'a>,
    sandbox: Sandbox,
    step: &'a Step,
}

impl<'a> Build<'a> {
    fn start(inputs: &'a Inputs<'a>, step: &'a Step) -> Result<Self> {
        let recipe = inputs.recipe;
        let mut env = vec![
            ("NAME".to_owned(), recipe.name().to_owned()),
            ("VERSION".to_owned(), recipe.version().to_owned()),
        ];
        env.extend(recipe.build().env.clone());
        let sandbox = Sandbox::new(inputs.work, &recipe.dir, env, shown(inputs)?)?;
        for output in inputs.sysroot {
            tree::extract(output, &sandbox.sysroot_dir())?;
        }
        Ok(Self {
            inputs,
            sandbox,
            step,
        })
    }

    fn recipe(&self) -> &'a Recipe {
        self.inputs.recipe
    }

    fn announce(&self, phase: Phase) {
        self.step
            .message(&format!("Building {}: {phase}", self.recipe().full_name()));
    }

    /// The first source becomes the build folder itself, each other one a folder of its file's name in it.
    fn unpack(&self) -> Result<()> {
        self.announce(Phase::Unpack);
        for (number, source) in self.recipe().spec.sources.iter().enumerate() {
            let file = self.inputs.sources.get(self.recipe(), source)?;
            let name = self.recipe().expand(&source.get_ref().file);
            let into = match number {
                0 => self.sandbox.build_dir(),
                _ => self.sandbox.build_dir().join(stem(&name)),
            };
            let scratch = self.inputs.work.join("unpacked");
            let all = unpack::unpack(&file, &scratch).or_else(|error| {
                fs::write(self.inputs.log, format!("{error:#}\n"))?;
                Err(self.failed(Phase::Unpack, &source.span()))
            })?;
            // The build folder stands already, and is empty: a folder may be put in its place.
            fs::rename(all, &into)?;
            tree::remove(&scratch)?;
        }
        Ok(())
    }

    fn patch(&self) -> Result<()> {
        for patch in &self.recipe().spec.patches {
            self.announce(Phase::Patch);
            let file = word(Path::new(&patch.get_ref().file));
            let script = format!("patch -p1 --no-backup-if-mismatch < /recipe/patches/{file}");
            self.sandboxed(Phase::Patch, &script, &patch.span())?;
        }
        Ok(())
    }

    /// Runs a phase's script: the recipe's own, or the build system's.
    fn script(&self, phase: Phase, own: Option<&toml::Spanned<String>>) -> Result<()> {
        let (script, span) = match own {
            Some(own) => (own.get_ref().clone(), own.span()),
            None => match systems::script(self.recipe().build(), phase) {
                Some(script) => (script, self.recipe().spec.build.span()),
                None => return Ok(()),
            },
        };
        self.announce(phase);
        self.sandboxed(phase, &script, &span)
    }

    fn sandboxed(&self, phase: Phase, script: &str, span: &Range<usize>) -> Result<()> {
        let mut log = File::options().append(true).open(self.inputs.log)?;
        writeln!(log, "== {phase}")?;
        if self.sandbox.run(script, self.inputs.log)? {
            return Ok(());
        }
        Err(self.failed(phase, span))
    }

    fn licenses(&self) -> Result<()> {
        let recipe = self.recipe();
        let into = self
            .sandbox
            .dest_dir()
            .join("usr/share/licenses")
            .join(recipe.name());
        for license in &recipe.spec.install.licenses {
            let from = self.sandbox.build_dir().join(license.get_ref());
            let name = Path::new(license.get_ref()).file_name().unwrap_or_default();
            fs::create_dir_all(&into)?;
            let text = fs::read(&from).map_err(|error| {
                let what = format!("{}: {error}", license.get_ref());
                recipe.fail(Phase::Install, &license.span(), what)
            })?;
            fs::write(into.join(name), text)?;
        }
        Ok(())
    }

    fn lint(&self, entries: &[Entry]) -> Result<()> {
        self.announce(Phase::Lint);
        let problems = lint::problems(self.recipe(), entries);
        if problems.is_empty() {
            return Ok(());
        }
        let span = self.recipe().spec.package.name.span();
        Err(self
            .recipe()
            .fail(Phase::Lint, &span, problems.join("\n  ")))
    }

    fn failed(&self, phase: Phase, span: &Range<usize>) -> anyhow::Error {
        let log = self.inputs.log;
        let bytes = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n  ");
        let place = self.recipe().place(span);
        anyhow!(
            "{place}: phase {phase} failed; the end of {}:\n  {tail}",
            log.display()
        )
    }
}

/// The folders of the host's that the system `cargo` needs.
fn shown(inputs: &Inputs<'_>) -> Result<Vec<(PathBuf, &'static str)>> {
    let recipe = inputs.recipe;
    let Some(toolchain) = inputs.rust else {
        return Ok(Vec::new());
    };
    let source = recipe.spec.sources.first().ok_or_else(|| {
        let what = "cargo needs a source that has a Cargo.lock";
        recipe.fail(Phase::Fetch, &recipe.spec.build.span(), what)
    })?;
    let crates = inputs.sources.crates(recipe, source)?;
    Ok(vec![
        (toolchain.sysroot.clone(), rust::PLACE),
        (crates, rust::CRATES),
    ])
}

fn pack(inputs: &Inputs<'_>, outputs: Vec<Vec<Entry>>) -> Result<(Index, Vec<Vec<u8>>)> {
    let recipe = inputs.recipe;
    let package = &recipe.spec.package;
    let mut index = Index {
        key: inputs.key.to_owned(),
        name: recipe.name().to_owned(),
        version: package.version.clone(),
        release: package.release,
        summary: package.summary.clone(),
        license: package.license.get_ref().clone(),
        homepage: package.homepage.clone(),
        outputs: Vec::new(),
    };
    let mut archives = Vec::new();
    for (name, entries) in recipe.output_names().zip(outputs) {
        let installed_bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
        let files = entries.iter().filter(|entry| !entry.is_dir()).count();
        let archive = cpio::write(entries)?;
        let run = recipe
            .run_deps(name)
            .iter()
            .map(|dep| dep.get_ref().clone())
            .collect();
        let sha256 = tree::sha256(&archive);
        index.outputs.push(OutputIndex {
            name: name.to_owned(),
            sha256,
            installed_bytes,
            files,
            run,
        });
        archives.push(archive);
    }
    Ok((index, archives))
}

/// A file's name up to its version: `bash-docs_5.2.orig.tar.gz` -> `bash-docs`.
fn stem(file: &str) -> &str {
    let end = file.find(['_', '.']).unwrap_or(file.len());
    &file[..end]
}

fn word(path: &Path) -> String {
    format!(
        "'{}'",
        PathBuf::from(path)
            .display()
            .to_string()
            .replace('\'', "'\\''")
    )
}
