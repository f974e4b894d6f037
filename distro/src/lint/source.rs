//! What is known of a source file: its lines, and which of them are code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders with sources, below the top.
const FOLDERS: [&str; 6] = ["kernel", "drivers", "distro", "iso", "bench", "tests"];

/// One file.
pub struct Source {
    /// Below the top of the tree, with slashes.
    pub path: String,
    pub lines: Vec<Line>,
}

/// One line of it.
pub struct Line {
    /// As written.
    pub text: String,
    /// Without comments, and without what stands in string literals.
    pub code: String,
    /// Whether it belongs to a `#[cfg(test)]` module.
    pub test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut lines = Vec::new();
        let mut state = State::Code;
        // The indentation of the test module that the line is in.
        let mut test_indent: Option<usize> = None;
        let mut test_next = false;
        for text in text.lines() {
            let code = strip(text, &mut state);
            let indent = text.len() - text.trim_start().len();
            if test_next && code.trim_start().contains("mod ") && code.trim_end().ends_with('{') {
                test_indent = Some(indent);
            }
            if !code.trim().is_empty() && !code.trim_start().starts_with("#[") {
                test_next = false;
            }
            test_next |= code.contains("#[cfg(test)]");
            lines.push(Line {
                text: text.to_owned(),
                test: test_indent.is_some(),
                code,
            });
            if test_indent == Some(indent) && text.trim() == "}" {
                test_indent = None;
            }
        }
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    /// A problem of this file; lines count from 0 here and from 1 for people.
    pub fn problem(&self, line: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// Whether the whole file is tests: `tests.rs`, or below a `tests` folder of a crate.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
            || self.path.contains("/testing")
    }
}

/// Reads all sources of the tree.
pub fn read_all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        let path = root.join(folder);
        if path.is_dir() {
            read_folder(&path, folder, &mut sources)?;
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn read_folder(folder: &Path, name: &str, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                read_folder(&path, &name, sources)?;
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            sources.push(Source::new(&name, &text));
        }
    }
    Ok(())
}

/// What a line begins in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    /// A string literal, which ends with a quote and so many hashes; `None` if it is not raw.
    Text(Option<usize>),
    /// A block comment, so many deep.
    Comment(usize),
}

/// The line without comments and the content of strings and characters.
fn strip(line: &str, state: &mut State) -> String {
    let chars: Vec<char> = line.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    let next = |at: usize| chars.get(at + 1).copied();
    while at < chars.len() {
        let c = chars[at];
        match *state {
            State::Comment(depth) => {
                if c == '*' && next(at) == Some('/') {
                    *state = if depth == 1 {
                        State::Code
                    } else {
                        State::Comment(depth - 1)
                    };
                    at += 1;
                } else if c == '/' && next(at) == Some('*') {
                    *state = State::Comment(depth + 1);
                    at += 1;
                }
            }
            State::Text(None) if c == '\\' => at += 1,
            State::Text(hashes) => {
                let count = hashes.unwrap_or(0);
                let ends = chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= count;
                if c == '"' && ends {
                    *state = State::Code;
                    at += count;
                    code.push('"');
                }
            }
            State::Code => match c {
                '/' if next(at) == Some('/') => break,
                '/' if next(at) == Some('*') => {
                    *state = State::Comment(1);
                    at += 1;
                }
                '"' => {
                    *state = State::Text(raw_hashes(&chars[..at]));
                    code.push('"');
                }
                // A character literal; a lifetime has no second quote so near.
                '\'' if next(at) == Some('\\') => {
                    let end = chars[at + 3..].iter().position(|&c| c == '\'');
                    at += 3 + end.unwrap_or(0);
                }
                '\'' if chars.get(at + 2) == Some(&'\'') => at += 2,
                _ => code.push(c),
            },
        }
        at += 1;
    }
    code
}

/// Whether what stands before a quote makes the literal raw, and with how many hashes.
fn raw_hashes(before: &[char]) -> Option<usize> {
    let hashes = before.iter().rev().take_while(|&&c| c == '#').count();
    let rest = &before[..before.len() - hashes];
    (rest.last() == Some(&'r')).then_some(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        Source::new("x.rs", text)
            .lines
            .into_iter()
            .map(|line| line.code)
            .collect()
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code("let a = \"unsafe {\"; // unsafe"), ["let a = \"\"; "]);
        assert_eq!(code("/* a /* b */ unsafe */ f('\"', '\\'');"), [" f(, );"]);
        assert_eq!(code("r#\"a \" unsafe\nunsafe\"# end"), ["r#\"", "\" end"]);
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), ["fn f<'a>(x: &'a str) {}"]);
    }

    #[test]
    fn test_modules_are_known() {
        let source = Source::new(
            "x.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n",
        );
        let test: Vec<bool> = source.lines.iter().map(|line| line.test).collect();
        assert_eq!(test, [false, false, true, true, true, false]);
    }
}
