//! Resolve: all recipes of the tree, who provides which output, and in what order to build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml::Spanned;

use super::model::Recipe;
use super::phase::Phase;

/// The recipes below one `packages/` folder.
///
/// # Invariants
/// Each output has one recipe, and each dependency names an output.
#[derive(Debug)]
pub struct Graph {
    recipes: BTreeMap<String, Recipe>,
    /// Output -> recipe.
    owners: BTreeMap<String, String>,
}

impl Graph {
    pub fn read(packages: &Path) -> Result<Self> {
        let mut recipes = Vec::new();
        let listing = fs::read_dir(packages)
            .with_context(|| format!("cannot read {}", packages.display()))?;
        for item in listing {
            let dir = item?.path();
            if dir.join("recipe.toml").is_file() {
                recipes.push(Recipe::read(&dir)?);
            }
        }
        Self::new(recipes)
    }

    pub fn new(recipes: Vec<Recipe>) -> Result<Self> {
        let recipes: BTreeMap<_, _> = recipes
            .into_iter()
            .map(|recipe| (recipe.name().to_owned(), recipe))
            .collect();
        let mut owners = BTreeMap::new();
        for recipe in recipes.values() {
            for output in recipe.output_names() {
                let other = owners.insert(output.to_owned(), recipe.name().to_owned());
                if let Some(other) = other {
                    let span = recipe.spec.package.name.span();
                    let what = format!("output {output:?} is also one of {other}");
                    return Err(recipe.fail(Phase::Resolve, &span, what));
                }
            }
        }
        let graph = Self { recipes, owners };
        graph.check_deps()?;
        Ok(graph)
    }

    pub fn recipes(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.values()
    }

    /// The recipe that makes an output.
    pub fn owner(&self, output: &str) -> Result<&Recipe> {
        let owner = self
            .owners
            .get(output)
            .and_then(|name| self.recipes.get(name));
        owner.ok_or_else(|| {
            let known: Vec<_> = self.recipes.keys().map(String::as_str).collect();
            anyhow!(
                "there is no package {output:?}; there are: {}",
                known.join(", ")
            )
        })
    }

    /// `outputs` and all that they need when they run, sorted.
    pub fn closure<'a>(
        &'a self,
        outputs: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeSet<&'a str>> {
        let mut all = BTreeSet::new();
        let mut todo: Vec<&str> = outputs.into_iter().collect();
        while let Some(output) = todo.pop() {
            let owner = self.owner(output)?;
            if all.insert(output) {
                todo.extend(
                    owner
                        .run_deps(output)
                        .iter()
                        .map(|dep| dep.get_ref().as_str()),
                );
            }
        }
        Ok(all)
    }

    /// What lies in the sysroot of a recipe's build.
    pub fn sysroot<'a>(&'a self, recipe: &'a Recipe) -> Result<BTreeSet<&'a str>> {
        self.closure(
            recipe
                .spec
                .deps
                .build
                .iter()
                .map(|dep| dep.get_ref().as_str()),
        )
    }

    /// The recipes to build for `wanted`, each after those it needs.
    pub fn order<'a>(
        &'a self,
        wanted: impl IntoIterator<Item = &'a Recipe>,
    ) -> Result<Vec<&'a Recipe>> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        for recipe in wanted {
            self.visit(recipe, &mut Vec::new(), &mut done, &mut order)?;
        }
        Ok(order)
    }

    fn visit<'a>(
        &'a self,
        recipe: &'a Recipe,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a Recipe>,
    ) -> Result<()> {
        if done.contains(recipe.name()) {
            return Ok(());
        }
        if path.contains(&recipe.name()) {
            path.push(recipe.name());
            bail!("packages need each other to build: {}", path.join(" -> "));
        }
        path.push(recipe.name());
        for output in self.sysroot(recipe)? {
            self.visit(self.owner(output)?, path, done, order)?;
        }
        path.pop();
        done.insert(recipe.name());
        order.push(recipe);
        Ok(())
    }

    fn check_deps(&self) -> Result<()> {
        for recipe in self.recipes.values() {
            let outputs = recipe
                .spec
                .outputs
                .iter()
                .flat_map(|output| &output.get_ref().run);
            let tests = recipe
                .spec
                .guest_tests
                .iter()
                .flat_map(|test| &test.get_ref().with);
            let deps = recipe
                .spec
                .deps
                .build
                .iter()
                .chain(&recipe.spec.deps.run)
                .chain(&recipe.spec.deps.replaces)
                .chain(tests)
                .chain(outputs);
            for dep in deps {
                self.check_dep(recipe, dep)?;
            }
        }
        Ok(())
    }

    fn check_dep(&self, recipe: &Recipe, dep: &Spanned<String>) -> Result<()> {
        if self.owners.contains_key(dep.get_ref()) {
            return Ok(());
        }
        let what = format!("no recipe has an output {:?}", dep.get_ref());
        Err(recipe.fail(Phase::Resolve, &dep.span(), what))
    }
}
