//! Split: which output gets which file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use glob::{MatchOptions, Pattern};
use toml::Spanned;

use super::cpio::Entry;
use super::model::Recipe;
use super::phase::Phase;

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A glob of the recipe and the output that it is for.
struct Rule<'a> {
    output: usize,
    glob: &'a Spanned<String>,
    pattern: Pattern,
}

/// The entries of each output, in the order of [`Recipe::output_names`]. A file goes to the first output
/// that names it and to the main one if none does; a folder goes wherever something is in it.
pub fn split(recipe: &Recipe, entries: Vec<Entry>) -> Result<Vec<Vec<Entry>>> {
    let rules = rules(recipe)?;
    let mut used = vec![false; rules.len()];
    let dirs: BTreeMap<String, Entry> = entries
        .iter()
        .filter(|e| e.is_dir())
        .map(|e| (e.path.clone(), e.clone()))
        .collect();
    let filled: BTreeSet<String> = entries
        .iter()
        .filter_map(|e| Some(e.path.rsplit_once('/')?.0.to_owned()))
        .collect();
    let mut outputs = vec![BTreeMap::new(); recipe.spec.outputs.len() + 1];
    for entry in entries {
        let rule = rules
            .iter()
            .position(|rule| rule.pattern.matches_with(&entry.path, OPTIONS));
        if let Some(rule) = rule {
            used[rule] = true;
        } else if entry.is_dir() && filled.contains(&entry.path) {
            continue;
        }
        let output: &mut BTreeMap<String, Entry> =
            &mut outputs[rule.map_or(0, |rule| rules[rule].output)];
        let parents = entry
            .path
            .match_indices('/')
            .filter_map(|(end, _)| dirs.get(&entry.path[..end]));
        output.extend(parents.map(|dir| (dir.path.clone(), dir.clone())));
        output.insert(entry.path.clone(), entry);
    }
    match used.iter().position(|used| !used) {
        None => Ok(outputs
            .into_iter()
            .map(|output| output.into_values().collect())
            .collect()),
        Some(unused) => {
            let glob = rules[unused].glob;
            let what = format!("{:?} matches nothing that was installed", glob.get_ref());
            Err(recipe.fail(Phase::Split, &glob.span(), what))
        }
    }
}

fn rules(recipe: &Recipe) -> Result<Vec<Rule<'_>>> {
    let mut rules = Vec::new();
    for (index, output) in recipe.spec.outputs.iter().enumerate() {
        for glob in &output.get_ref().files {
            let pattern = Pattern::new(glob.get_ref())
                .map_err(|error| recipe.fail(Phase::Split, &glob.span(), error))?;
            rules.push(Rule {
                output: index + 1,
                glob,
                pattern,
            });
        }
    }
    Ok(rules)
}
