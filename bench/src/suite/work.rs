//! Work: what people wait for, done by the programs of the image.
//!
//! An iteration runs programs over data that is the same everywhere, and holds their answer against the one
//! that is known beforehand. What a program leaves behind is removed within the iteration. A test whose
//! program is not in the image has no figure. Servers are in [`super::serve`].

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Case, Test};
use crate::fixture::Folder;
use crate::problem::{Outcome, Problem, ensure};
use crate::workload as data;

pub static TESTS: &[Test] = &[
    Test::new(
        "pipe_grep",
        3,
        "cat 1 MiB of text | grep -c: two programs and a pipe",
        pipe_grep,
    ),
    Test::new(
        "sed_pipeline",
        2,
        "sed | tr | cut | wc over 1 MiB of text",
        sed_pipeline,
    ),
    Test::new(
        "sort_uniq",
        2,
        "sort | uniq -c | sort -rn over 20,000 words",
        sort_uniq,
    ),
    Test::new(
        "tar_extract",
        5,
        "tar x of 200 files in 20 folders, 800 KiB; rm -r of them",
        tar_extract,
    ),
    Test::new(
        "file_tree",
        10,
        "makes 400 files in 20 folders, lists and reads them, removes all",
        file_tree,
    ),
    Test::new(
        "gzip_10m",
        1,
        "gzip -1 of 10 MiB of text into a file",
        gzip_10m,
    ),
    Test::new("sha256_10m", 1, "sha256sum of a file of 10 MiB", sha256_10m),
    Test::new(
        "sqlite_insert",
        2,
        "sqlite3: a new database, 1,000 rows in one transaction, 50 in one each; rm of it",
        sqlite_insert,
    ),
    Test::new(
        "sqlite_select",
        2,
        "sqlite3: counts, sums, sorts and joins over 10,000 rows",
        sqlite_select,
    ),
    Test::new(
        "tcc_compile",
        3,
        "tcc: compiles and links a program of 300 functions; its run; rm of it",
        tcc_compile,
    ),
    Test::new(
        "make_build",
        2,
        "make -j2 of a program of 12 files with tcc; its run; make clean",
        make_build,
    ),
    Test::new(
        "python_start",
        2,
        "python3 -c 'import json; print(...)'",
        python_start,
    ),
    Test::new(
        "git_status",
        5,
        "git status --porcelain in 400 files of 20 folders, one changed and one new",
        git_status,
    ),
    Test::new("find_root", 3, "find / -xdev | wc -l", find_root),
];

/// Makes `tree` a repository with its files committed, of which one changes then.
const REPOSITORY: &str = "\
find tree -type f -exec touch -d '2020-01-01 00:00:00' {} +
cd tree
git init -q -b main
git add .
git -c user.name=bench -c user.email=bench@localhost commit -q -m all
echo changed > 7/3
echo new > 9/new
";

const MIB: usize = 1 << 20;

/// A shell script in a folder of its own, and what it must print.
struct Script {
    folder: Folder,
    text: String,
    answer: String,
    /// Another script, not timed, that must succeed after a run.
    check: Option<&'static str>,
}

impl Script {
    /// `programs` must be in the image.
    fn new(programs: &[&str], folder: Folder, text: &str, answer: impl ToString) -> Outcome<Self> {
        for program in programs {
            let there = ["/bin", "/usr/bin"]
                .iter()
                .any(|dir| PathBuf::from(dir).join(program).exists());
            if !there {
                return Err(Problem::absent(format!("there is no {program} here")));
            }
        }
        Ok(Self {
            folder,
            text: text.to_owned(),
            answer: answer.to_string(),
            check: None,
        })
    }

    fn boxed(self) -> Outcome<Box<dyn Case>> {
        Ok(Box::new(self))
    }

    fn run_text(&self, text: &str) -> Outcome<String> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-ec", text]).current_dir(self.folder.path());
        let output = shell
            .output()
            .map_err(|error| Problem::new(format!("/bin/sh: {error}")))?;
        ensure(output.status.success(), || {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{}: {}", output.status, said.trim())
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Case for Script {
    fn run(&mut self, iterations: u64) -> Outcome {
        for _ in 0..iterations {
            let said = self.run_text(&self.text)?;
            ensure(said == self.answer, || {
                format!("printed {said:?} instead of {:?}", self.answer)
            })?;
        }
        Ok(())
    }

    fn verify(&mut self, _iterations: u64) -> Outcome {
        self.check
            .map_or(Ok(()), |check| self.run_text(check).map(drop))
    }
}

/// A folder with a file `text`.
fn folder_with(text: &str) -> Outcome<Folder> {
    let folder = Folder::new()?;
    folder.file("text", text.as_bytes())?;
    Ok(folder)
}

fn pipe_grep() -> Outcome<Box<dyn Case>> {
    let text = data::text(MIB);
    let count = text.lines().filter(|line| line.contains("needle")).count();
    let script = "cat text | grep -c needle";
    Script::new(&["grep"], folder_with(&text)?, script, count)?.boxed()
}

fn sed_pipeline() -> Outcome<Box<dyn Case>> {
    let text = data::text(MIB);
    // The long word becomes shorter; then each line has 30 characters at most, and its end.
    let length = |line: &str| line.replace("needle", "pin").len().min(30) + 1;
    let total: usize = text.lines().map(length).sum();
    let script = "sed 's/needle/pin/g' text | tr a-z A-Z | cut -c 1-30 | wc -c";
    Script::new(&["sed"], folder_with(&text)?, script, total)?.boxed()
}

fn sort_uniq() -> Outcome<Box<dyn Case>> {
    let words = data::words(20_000);
    let mut all: Vec<&str> = words.lines().collect();
    all.sort_unstable();
    all.dedup();
    let script = "sort text | uniq -c | sort -rn | wc -l";
    Script::new(&["sort"], folder_with(&words)?, script, all.len())?.boxed()
}

fn tar_extract() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    for dir in 0..20 {
        folder.folders(&format!("tree/{dir}"))?;
        for file in 0..10 {
            folder.file(&format!("tree/{dir}/{file}"), &[b'x'; 4096])?;
        }
    }
    let script = "tar xf a.tar; find tree -type f -size 4k | wc -l; rm -r tree";
    let script = Script::new(&["tar"], folder, script, 200)?;
    script.run_text("tar cf a.tar tree; rm -r tree")?;
    script.boxed()
}

struct FileTree(Folder);

impl FileTree {
    fn round(&self) -> std::io::Result<usize> {
        let top = self.0.path().join("tree");
        for dir in 0..20 {
            let dir = top.join(dir.to_string());
            fs::create_dir_all(&dir)?;
            for file in 0..20 {
                fs::write(dir.join(file.to_string()), [b'x'; 100])?;
            }
        }
        let mut bytes = 0;
        for dir in fs::read_dir(&top)? {
            for file in fs::read_dir(dir?.path())? {
                bytes += fs::read(file?.path())?.len();
            }
        }
        fs::remove_dir_all(&top)?;
        Ok(bytes)
    }
}

impl Case for FileTree {
    fn run(&mut self, iterations: u64) -> Outcome {
        for _ in 0..iterations {
            let bytes = self
                .round()
                .map_err(|error| Problem::new(format!("a file: {error}")))?;
            ensure(bytes == 40_000, || format!("{bytes} bytes were read"))?;
        }
        Ok(())
    }
}

fn file_tree() -> Outcome<Box<dyn Case>> {
    Ok(Box::new(FileTree(Folder::new()?)))
}

fn gzip_10m() -> Outcome<Box<dyn Case>> {
    let folder = folder_with(&data::text(10 * MIB))?;
    let mut script = Script::new(&["gzip"], folder, "gzip -1 -c text > text.gz", "")?;
    script.check = Some("gunzip -c text.gz | cmp - text");
    script.boxed()
}

fn sha256_10m() -> Outcome<Box<dyn Case>> {
    let folder = folder_with(&data::text(10 * MIB))?;
    let script = "sha256sum < text";
    Script::new(&["sha256sum"], folder, script, data::SHA256_10M)?.boxed()
}

fn sqlite_insert() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    folder.file("insert.sql", data::inserts(1000, 50).as_bytes())?;
    let script = "sqlite3 db < insert.sql; rm db";
    Script::new(&["sqlite3"], folder, script, 1050)?.boxed()
}

fn sqlite_select() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    folder.file("insert.sql", data::inserts(10_000, 0).as_bytes())?;
    folder.file("select.sql", data::SELECTS.as_bytes())?;
    let script = "sqlite3 db < select.sql";
    let script = Script::new(&["sqlite3"], folder, script, data::selected(10_000))?;
    script.run_text("sqlite3 db < insert.sql")?;
    script.boxed()
}

fn tcc_compile() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    folder.file("all.c", data::program(300).as_bytes())?;
    let script = "tcc -o all all.c; ./all; rm all";
    Script::new(&["tcc"], folder, script, data::program_says(300))?.boxed()
}

fn make_build() -> Outcome<Box<dyn Case>> {
    const PARTS: u32 = 11;
    let folder = Folder::new()?;
    for part in 0..PARTS {
        folder.file(&format!("part{part}.c"), data::part(part).as_bytes())?;
    }
    folder.file("main.c", data::main_of(PARTS).as_bytes())?;
    folder.file("Makefile", data::MAKEFILE.as_bytes())?;
    let script = "make -s -j2; ./all; make -s clean";
    Script::new(&["make", "tcc"], folder, script, data::program_says(PARTS))?.boxed()
}

fn python_start() -> Outcome<Box<dyn Case>> {
    let script = "python3 -c 'import json; print(json.dumps([1, 2]))'";
    Script::new(&["python3"], Folder::new()?, script, "[1, 2]")?.boxed()
}

/// The files' times are older than the index, so that git need not read them but for the one that changed.
fn git_status() -> Outcome<Box<dyn Case>> {
    let folder = Folder::new()?;
    for dir in 0..20 {
        folder.folders(&format!("tree/{dir}"))?;
        for file in 0..20 {
            let text = format!("file {file} of folder {dir}\n").repeat(40);
            folder.file(&format!("tree/{dir}/{file}"), text.as_bytes())?;
        }
    }
    let script = "cd tree; git status --porcelain";
    let script = Script::new(&["git"], folder, script, "M 7/3\n?? 9/new")?;
    script.run_text(REPOSITORY)?;
    script.boxed()
}

fn find_root() -> Outcome<Box<dyn Case>> {
    let mut script = Script::new(&["find"], Folder::new()?, "find / -xdev | wc -l", "")?;
    script.answer = script.run_text(&script.text)?;
    let count: u64 = script.answer.parse().unwrap_or(0);
    ensure(count > 400, || format!("the root has {count} files"))?;
    script.boxed()
}
