//! The recipe format: what `packages/<name>/recipe.toml` may say, and the checks on it.
//!
//! Unknown keys are errors, and each error names the file and the line. Nothing here touches sources
//! or the cache; see [`super::graph`] for what needs more than one recipe.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use toml::Spanned;

use super::guest_test::GuestTest;
use super::phase::Phase;

/// A recipe as read, with what is needed to point at a place in it.
#[derive(Debug)]
pub struct Recipe {
    /// The package's folder.
    pub dir: PathBuf,
    pub text: String,
    pub spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    pub package: Package,
    #[serde(default, rename = "source")]
    pub sources: Vec<Spanned<Source>>,
    #[serde(default, rename = "patch")]
    pub patches: Vec<Spanned<Patch>>,
    #[serde(default)]
    pub deps: Deps,
    pub build: Spanned<Build>,
    #[serde(default)]
    pub install: Install,
    #[serde(default, rename = "output")]
    pub outputs: Vec<Spanned<Output>>,
    #[serde(default, rename = "guest-test")]
    pub guest_tests: Vec<Spanned<GuestTest>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: Spanned<String>,
    pub version: String,
    pub release: u32,
    pub summary: String,
    /// An SPDX expression.
    pub license: Spanned<String>,
    pub homepage: String,
}

/// One file to fetch. `debian` or `crate` names the package that has it; `url` is the second way, or
/// the only one. `{version}` in `file` and `url` stands for the package's version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub debian: Option<String>,
    #[serde(rename = "crate")]
    pub krate: Option<String>,
    pub url: Option<String>,
    pub file: String,
    pub sha256: Spanned<String>,
}

/// A change to upstream's source: `patches/<file>`, and why it cannot be done without.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    pub file: String,
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deps {
    /// Outputs that lie in the sysroot while this package builds.
    #[serde(default)]
    pub build: Vec<Spanned<String>>,
    /// Outputs that come along when the main output is installed.
    #[serde(default)]
    pub run: Vec<Spanned<String>>,
    /// Programs of the host that only this build needs.
    #[serde(default)]
    pub host: Vec<HostTool>,
    /// Outputs whose files this package's take the place of where both have them.
    #[serde(default)]
    pub replaces: Vec<Spanned<String>>,
}

/// A program that a build runs, and the Debian package that brings it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTool {
    pub program: String,
    pub package: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum System {
    Autotools,
    Make,
    Cmake,
    Meson,
    Cargo,
    Custom,
}

/// How to build: a system's usual steps with `args` for its configure step (for `make`: for each
/// run of make), any of which a script of one's own replaces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    pub system: System,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub configure: Option<Spanned<String>>,
    pub compile: Option<Spanned<String>>,
    pub check: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Files of the source that state the licence; they go to `/usr/share/licenses/<name>/`.
    #[serde(default)]
    pub licenses: Vec<Spanned<String>>,
    pub script: Option<Spanned<String>>,
}

/// A further package split off by `files`; the main output, which bears the recipe's name, keeps the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    pub files: Vec<Spanned<String>>,
    /// Outputs that come along with this one.
    #[serde(default)]
    pub run: Vec<Spanned<String>>,
}

impl Recipe {
    /// Reads and checks `dir/recipe.toml`.
    pub fn read(dir: &Path) -> Result<Self> {
        let file = dir.join("recipe.toml");
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(dir, text)
    }

    pub fn parse(dir: &Path, text: String) -> Result<Self> {
        let spec: Spec = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            anyhow!("{}:{line}: {}", shown_file(dir), error.message().trim_end())
        })?;
        let recipe = Self {
            dir: dir.to_owned(),
            text,
            spec,
        };
        recipe.validate()?;
        Ok(recipe)
    }

    pub fn name(&self) -> &str {
        self.spec.package.name.get_ref()
    }

    pub fn version(&self) -> &str {
        &self.spec.package.version
    }

    pub fn build(&self) -> &Build {
        self.spec.build.get_ref()
    }

    /// `name-version-release`, as files are called.
    pub fn full_name(&self) -> String {
        let package = &self.spec.package;
        format!("{}-{}-{}", self.name(), package.version, package.release)
    }

    /// The names of all outputs, the main one first.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        let others = self
            .spec
            .outputs
            .iter()
            .map(|output| output.get_ref().name.as_str());
        std::iter::once(self.name()).chain(others)
    }

    /// What comes along with an output.
    pub fn run_deps(&self, output: &str) -> &[Spanned<String>] {
        let other = self
            .spec
            .outputs
            .iter()
            .find(|o| o.get_ref().name == output);
        other.map_or(&self.spec.deps.run, |o| &o.get_ref().run)
    }

    /// Whether this package's files take the place of another output's.
    pub fn replaces(&self, output: &str) -> bool {
        let mut replaced = self.spec.deps.replaces.iter();
        replaced.any(|name| name.get_ref() == output)
    }

    /// `text` with `{version}` filled in.
    pub fn expand(&self, text: &str) -> String {
        text.replace("{version}", self.version())
    }

    /// `packages/less/recipe.toml:12`
    pub fn place(&self, span: &Range<usize>) -> Place {
        Place {
            file: shown_file(&self.dir),
            line: line_of(&self.text, span.start),
        }
    }

    /// The error of a phase that failed because of what the recipe says at `span`.
    pub fn fail(
        &self,
        phase: Phase,
        span: &Range<usize>,
        what: impl fmt::Display,
    ) -> anyhow::Error {
        anyhow!("{}: phase {phase} failed: {what}", self.place(span))
    }

    fn validate(&self) -> Result<()> {
        let package = &self.spec.package;
        let folder = self.dir.file_name().unwrap_or_default().to_string_lossy();
        if self.name() != folder {
            bail!(
                "{}: the folder's name is {folder:?}",
                self.place(&package.name.span())
            );
        }
        if package.license.get_ref().trim().is_empty() {
            bail!(
                "{}: the licence is missing",
                self.place(&package.license.span())
            );
        }
        for source in &self.spec.sources {
            self.validate_source(source)?;
        }
        for patch in &self.spec.patches {
            if patch.get_ref().reason.trim().is_empty() {
                bail!("{}: a patch needs a reason", self.place(&patch.span()));
            }
        }
        let mut seen = HashSet::from([self.name()]);
        for output in &self.spec.outputs {
            let name = output.get_ref().name.as_str();
            if !seen.insert(name) {
                bail!("{}: a second output {name:?}", self.place(&output.span()));
            }
            for glob in &output.get_ref().files {
                glob::Pattern::new(glob.get_ref())
                    .map_err(|error| anyhow!("{}: {error}", self.place(&glob.span())))?;
            }
        }
        if let Some(bad) = seen.iter().find(|name| !is_name(name)) {
            bail!(
                "{}: {bad:?} is no package name",
                self.place(&package.name.span())
            );
        }
        self.validate_tests()
    }

    fn validate_source(&self, source: &Spanned<Source>) -> Result<()> {
        let Source {
            debian,
            krate,
            url,
            file,
            sha256,
        } = source.get_ref();
        let place = self.place(&source.span());
        if debian.is_some() && krate.is_some() {
            bail!("{place}: a source is either `debian` or `crate`");
        }
        if debian.is_none() && krate.is_none() && url.is_none() {
            bail!("{place}: a source needs one of `debian`, `crate` and `url`");
        }
        if file.is_empty() || file.contains('/') || file.starts_with('.') {
            bail!("{place}: {file:?} is no file name");
        }
        let sum = sha256.get_ref();
        if sum.len() != 64 || !sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            bail!(
                "{}: a sha256 has 64 lower-case hex digits",
                self.place(&sha256.span())
            );
        }
        Ok(())
    }

    fn validate_tests(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for test in &self.spec.guest_tests {
            let place = self.place(&test.span());
            let test = test.get_ref();
            if !is_name(&test.name) || !seen.insert(&test.name) {
                bail!(
                    "{place}: {:?} is no name of its own for a guest test",
                    test.name
                );
            }
            if test.run.trim().is_empty() || test.timeout_s == 0 {
                bail!("{place}: a guest test needs a command and time to run it");
            }
        }
        Ok(())
    }
}

/// A line of a recipe.
#[derive(Clone, Debug)]
pub struct Place {
    file: String,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '+' | '.' | '_'))
}

fn shown_file(dir: &Path) -> String {
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("packages/{folder}/recipe.toml")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}
