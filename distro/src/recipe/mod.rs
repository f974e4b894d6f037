//! The recipe system: packages built from pinned sources, the same bytes each time.
//!
//! | module | phase or part |
//! |---|---|
//! | [`model`], [`guest_test`] | the format of `packages/<name>/recipe.toml` |
//! | [`graph`] | resolve: who provides what, and the order |
//! | [`source`], [`apt`] | fetch and verify; the only part that uses the network |
//! | [`key`] | what a build depends on, as one hash |
//! | [`sandbox`], [`systems`], [`rust`] | where and how a phase's script runs |
//! | [`build`], [`unpack`] | one package through its phases |
//! | [`split`], [`lint`] | outputs, and what they may not contain |
//! | [`cpio`], [`tree`] | pack: deterministic archives of folders |
//! | [`store`] | index: built packages in the user's cache |
//! | [`image`] | the root file system of a list of packages |
//!
//! # Invariants
//! - A store entry is complete and never changes; a failed phase leaves the cache as it was.
//! - Equal keys mean equal bytes; [`Recipes::check`] builds again to see that they are.

pub mod apt;
mod build;
pub mod cpio;
mod graph;
mod guest_test;
mod image;
mod key;
mod lint;
mod model;
mod phase;
mod rust;
mod sandbox;
mod source;
mod split;
mod store;
mod systems;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use self::cpio::Entry;
use self::graph::Graph;
pub use self::guest_test::{GuestTest, Need};
pub use self::model::HostTool;
use self::model::{Recipe, System};
use self::phase::Phase;
use self::rust::Rust;
use self::sandbox::Sandbox;
use self::source::Sources;
use self::store::{Built, Store};
pub use self::tree::sha256 as hash;
use crate::paths::Paths;
use crate::setup;
use crate::ui::Ui;

/// The recipes of a checkout and what was built of them.
pub struct Recipes {
    paths: Paths,
    ui: Ui,
    graph: Graph,
    sources: Sources,
    store: Store,
    toolchain: OnceLock<String>,
    rust: OnceLock<Rust>,
}

/// A package's guest test, as the runner needs it.
#[derive(Clone, Debug)]
pub struct PackageTest {
    /// The package that must be in the image.
    pub package: String,
    pub test: GuestTest,
}

impl PackageTest {
    /// All that must be in the image.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        let more = self
            .test
            .with
            .iter()
            .map(|output| output.get_ref().as_str());
        std::iter::once(self.package.as_str()).chain(more)
    }
}

impl Recipes {
    pub fn open(paths: &Paths, ui: &Ui) -> Result<Self> {
        Ok(Self {
            graph: Graph::read(&paths.root.join("packages"))?,
            sources: Sources::new(&paths.cache, ui),
            store: Store::open(&paths.cache)?,
            toolchain: OnceLock::new(),
            rust: OnceLock::new(),
            paths: paths.clone(),
            ui: ui.clone(),
        })
    }

    /// Builds the recipes of `outputs` (of all, if none is named) and what they need to build, as far as
    /// the store does not have them.
    pub fn build(&self, outputs: &[String]) -> Result<Vec<Built>> {
        let mut built = BTreeMap::new();
        self.build_into(&mut built, self.wanted(outputs)?)?;
        Ok(built.into_values().collect())
    }

    /// Builds the recipes of `outputs` once more and compares: the same inputs must give the same bytes.
    pub fn check(&self, outputs: &[String]) -> Result<()> {
        let mut built = BTreeMap::new();
        let wanted = self.wanted(outputs)?;
        self.build_into(&mut built, wanted.clone())?;
        for recipe in wanted {
            self.check_one(recipe, &built)?;
            self.ui
                .note(&format!("{}: the same bytes twice", recipe.full_name()));
        }
        Ok(())
    }

    /// The names of all packages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.graph.recipes().map(Recipe::name)
    }

    /// The tests that packages bring along, by package and name.
    pub fn guest_tests(&self) -> Vec<PackageTest> {
        let tests = self.graph.recipes().flat_map(|recipe| {
            recipe.spec.guest_tests.iter().map(|test| PackageTest {
                package: recipe.name().to_owned(),
                test: test.get_ref().clone(),
            })
        });
        tests.collect()
    }

    /// The first source of a package, fetched if it is not in the cache.
    pub fn source(&self, package: &str) -> Result<PathBuf> {
        let recipe = self.graph.owner(package)?;
        let source = recipe.spec.sources.first();
        self.sources.get(
            recipe,
            source.with_context(|| format!("{package} has no source"))?,
        )
    }

    fn wanted(&self, outputs: &[String]) -> Result<Vec<&Recipe>> {
        if outputs.is_empty() {
            return Ok(self.graph.recipes().collect());
        }
        outputs
            .iter()
            .map(|output| self.graph.owner(output))
            .collect()
    }

    fn build_into<'a>(
        &'a self,
        built: &mut BTreeMap<String, Built>,
        wanted: Vec<&'a Recipe>,
    ) -> Result<()> {
        for recipe in self.graph.order(wanted)? {
            if !built.contains_key(recipe.name()) {
                let made = self.build_one(recipe, built)?;
                built.insert(recipe.name().to_owned(), made);
            }
        }
        Ok(())
    }

    /// Takes a package from the store, or builds it. All that it needs is in `built`.
    fn build_one(&self, recipe: &Recipe, built: &BTreeMap<String, Built>) -> Result<Built> {
        let key = self.key(recipe, built)?;
        if let Some(found) = self.store.find(recipe, &key)? {
            return Ok(found);
        }
        let _lock = self.store.lock(&self.ui)?;
        if let Some(found) = self.store.find(recipe, &key)? {
            return Ok(found);
        }
        let (index, archives) = self.run_phases(recipe, &key, built)?;
        self.store.put(recipe, index, &archives).map_err(|error| {
            recipe.fail(
                Phase::Index,
                &recipe.spec.package.name.span(),
                format!("{error:#}"),
            )
        })
    }

    fn run_phases(
        &self,
        recipe: &Recipe,
        key: &str,
        built: &BTreeMap<String, Built>,
    ) -> Result<(store::Index, Vec<Vec<u8>>)> {
        Sandbox::probe()?;
        setup::programs(&recipe.spec.deps.host, &self.ui)?;
        let sysroot: Vec<Vec<Entry>> = self
            .graph
            .sysroot(recipe)?
            .into_iter()
            .map(|output| self.provider(output, built)?.entries(output))
            .collect::<Result<_>>()?;
        let folder = self.paths.target_dir("recipes")?;
        let inputs = build::Inputs {
            recipe,
            sources: &self.sources,
            rust: self.rust(recipe)?,
            sysroot: &sysroot,
            key,
            work: &folder.join(recipe.full_name()),
            log: &folder.join(format!("{}.log", recipe.full_name())),
        };
        build::run(&inputs, &self.ui)
    }

    fn check_one(&self, recipe: &Recipe, built: &BTreeMap<String, Built>) -> Result<()> {
        let first = built.get(recipe.name()).context("it was built before")?;
        let _lock = self.store.lock(&self.ui)?;
        let (index, archives) = self.run_phases(recipe, &first.index.key, built)?;
        for (output, archive) in index.outputs.iter().zip(&archives) {
            if first.output(&output.name)?.sha256 != output.sha256 {
                let again = cpio::read(archive)?;
                let differing = differing(&first.entries(&output.name)?, &again);
                bail!("{} is not the same bytes twice: {differing}", output.name);
            }
        }
        Ok(())
    }

    fn key(&self, recipe: &Recipe, built: &BTreeMap<String, Built>) -> Result<String> {
        let sysroot = self.graph.sysroot(recipe)?;
        let deps = sysroot.into_iter().map(|output| {
            let sum = self.provider(output, built)?.output(output)?.sha256.clone();
            Ok((output.to_owned(), sum))
        });
        let deps: Vec<_> = deps.collect::<Result<_>>()?;
        let mut toolchain = self.toolchain()?.to_owned();
        if let Some(rust) = self.rust(recipe)? {
            toolchain.push_str(&rust.version);
        }
        key::key(recipe, &deps, &toolchain)
    }

    fn provider<'b>(&self, output: &str, built: &'b BTreeMap<String, Built>) -> Result<&'b Built> {
        let owner = self.graph.owner(output)?;
        built
            .get(owner.name())
            .with_context(|| format!("{output} is needed before it is built"))
    }

    fn toolchain(&self) -> Result<&str> {
        if let Some(known) = self.toolchain.get() {
            return Ok(known);
        }
        let found = key::toolchain(&self.ui)?;
        Ok(self.toolchain.get_or_init(|| found))
    }

    /// The Rust toolchain, if the recipe is built by it.
    fn rust(&self, recipe: &Recipe) -> Result<Option<&Rust>> {
        if recipe.build().system != System::Cargo {
            return Ok(None);
        }
        if let Some(known) = self.rust.get() {
            return Ok(Some(known));
        }
        let found = Rust::find(&self.paths, &self.ui)?;
        Ok(Some(self.rust.get_or_init(|| found)))
    }
}

/// The first path at which two archives differ.
fn differing(a: &[Entry], b: &[Entry]) -> String {
    let pairs = a.iter().zip(b).find(|(a, b)| a != b);
    let path = pairs.map(|(a, _)| a.path.as_str());
    path.map_or_else(
        || "one has more files".to_owned(),
        |path| format!("/{path}"),
    )
}
