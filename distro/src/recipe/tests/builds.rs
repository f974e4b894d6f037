//! Builds that succeed: the sandbox, what a rebuild depends on, and the same bytes each time.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Scratch;
use crate::recipe::cpio::{self, Entry};

/// A package of one file, `usr/out`, that a shell command writes.
fn writes(command: &str) -> String {
    format!(
        "[build]\nsystem = \"custom\"\n[install]\nscript = '''\nmkdir -p $DESTDIR/usr\n\
         {{ {command}\n}} > $DESTDIR/usr/out\n'''\n"
    )
}

fn content(scratch: &Scratch, package: &str) -> String {
    let built = scratch
        .open()
        .unwrap()
        .build(&[package.to_owned()])
        .unwrap();
    let built = built
        .iter()
        .find(|built| built.index.name == package)
        .unwrap();
    let entries = built.entries(package).unwrap();
    let out = entries
        .into_iter()
        .find(|entry| entry.path == "usr/out")
        .unwrap();
    String::from_utf8(out.data).unwrap()
}

fn folder(scratch: &Scratch, package: &str) -> PathBuf {
    let built = scratch
        .open()
        .unwrap()
        .build(&[package.to_owned()])
        .unwrap();
    built
        .into_iter()
        .find(|built| built.index.name == package)
        .unwrap()
        .dir
}

#[test]
fn the_sandbox_shows_what_is_fixed_and_no_more() {
    let scratch = Scratch::new();
    scratch.package(
        "a",
        &writes(
            "pwd; id -u; echo $LC_ALL $TZ $SOURCE_DATE_EPOCH $NAME $VERSION; \
             echo $(sed -n 's/:.*//p' /proc/net/dev); ls /home /root 2>/dev/null || true; \
             touch /sysroot/x /recipe/x /usr/x 2>/dev/null || echo read-only; ls -d /proc/[0-9]* | wc -l",
        ),
    );
    let text = content(&scratch, "a");
    let lines: Vec<&str> = text.lines().collect();
    let fixed = ["/build", "0", "C UTC 1735689600 a 1", "lo", "read-only"];
    assert_eq!(lines[..5], fixed);
    // unshare's child, the phase's shell and the pipeline, and none of the machine's.
    assert!(lines[5].parse::<u32>().unwrap() < 8, "{text}");
}

#[test]
fn a_dependency_lies_in_the_sysroot_with_what_it_needs() {
    let scratch = Scratch::new();
    scratch.package("a", &writes("echo from a"));
    scratch.package(
        "b",
        &("[deps]\nrun = [\"a\"]\n".to_owned() + &writes("true").replace("usr/out", "usr/b")),
    );
    scratch.package(
        "c",
        &("[deps]\nbuild = [\"b\"]\n".to_owned()
            + &writes("ls /sysroot/usr; cat /sysroot/usr/out")),
    );
    assert_eq!(content(&scratch, "c"), "b\nout\nfrom a\n");
}

#[test]
fn a_package_is_built_again_only_if_what_it_depends_on_changed() {
    let scratch = Scratch::new();
    let needs_a = "[deps]\nbuild = [\"a\"]\n".to_owned() + &writes("cat /sysroot/usr/out");
    scratch
        .package("a", &writes("echo 1"))
        .package("b", &needs_a);
    let (a, b) = (folder(&scratch, "a"), folder(&scratch, "b"));
    assert_eq!(
        (folder(&scratch, "a"), folder(&scratch, "b")),
        (a.clone(), b.clone())
    );
    // Another recipe that gives the same bytes.
    scratch.package("a", &writes("echo 1 # again"));
    assert_ne!(folder(&scratch, "a"), a);
    assert_eq!(folder(&scratch, "b"), b);
    scratch.package("a", &writes("echo 2"));
    assert_ne!(folder(&scratch, "b"), b);
    assert_eq!(content(&scratch, "b"), "2\n");
    // A file of the package.
    let files = scratch.dir.join("packages/b/files");
    fs::create_dir(&files).unwrap();
    let before = folder(&scratch, "b");
    fs::write(files.join("x"), "x").unwrap();
    assert_ne!(folder(&scratch, "b"), before);
}

#[test]
fn sources_are_unpacked_and_patched() {
    let scratch = Scratch::new();
    let source = scratch.dir.join("top");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("text"), "upstream\n").unwrap();
    let tar = scratch.dir.join("top.tar");
    let made = Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&scratch.dir)
        .arg("top")
        .status();
    assert!(made.unwrap().success());
    let sum = crate::recipe::tree::sha256_file(&tar).unwrap();
    let rest = format!(
        "[[source]]\nurl = \"file://{}\"\nfile = \"top.tar\"\nsha256 = \"{sum}\"\n\
         [[patch]]\nfile = \"a.diff\"\nreason = \"x\"\n{}licenses = [\"text\"]\n",
        tar.display(),
        writes("cat text")
    );
    scratch.package("a", &rest);
    let patches = scratch.dir.join("packages/a/patches");
    fs::create_dir(&patches).unwrap();
    fs::write(
        patches.join("a.diff"),
        "--- a/text\n+++ b/text\n@@ -1 +1 @@\n-upstream\n+patched\n",
    )
    .unwrap();
    assert_eq!(content(&scratch, "a"), "patched\n");
}

/// A `[[source]]` that is an archive of some files, without a folder around them.
fn archive(scratch: &Scratch, files: &[(&str, &str)]) -> String {
    let source = scratch.dir.join("source");
    for (name, text) in files {
        let file = source.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let tar = scratch.dir.join("source.tar");
    let mut command = Command::new("tar");
    command.arg("-cf").arg(&tar).arg("-C").arg(&source).arg(".");
    assert!(command.status().unwrap().success());
    let sum = crate::recipe::tree::sha256_file(&tar).unwrap();
    let url = tar.display();
    format!("[[source]]\nurl = \"file://{url}\"\nfile = \"source.tar\"\nsha256 = \"{sum}\"\n")
}

#[test]
fn an_archive_without_a_folder_is_unpacked_whole() {
    let scratch = Scratch::new();
    let source = archive(&scratch, &[("text", "at the top\n"), ("folder/x", "x\n")]);
    let rest = source + &writes("cat text; ls folder") + "licenses = [\"text\"]\n";
    scratch.package("a", &rest);
    assert_eq!(content(&scratch, "a"), "at the top\nx\n");
}

#[test]
fn a_program_in_rust_is_built_for_the_target() {
    let scratch = Scratch::new();
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = \"hello\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
        ),
        (
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"hello\"\nversion = \"1.0.0\"\n",
        ),
        (
            "src/main.rs",
            "fn main() { assert!(std::env::args().count() > 1, \"hello\"); }\n",
        ),
    ];
    let source = archive(&scratch, &files);
    let rest = "[build]\nsystem = \"cargo\"\n[install]\nlicenses = [\"Cargo.toml\"]\n".to_owned();
    scratch.package("hello", &(source + &rest));
    let recipes = scratch.open().unwrap();
    let built = recipes.build(&["hello".to_owned()]).unwrap();
    let entries = built[0].entries("hello").unwrap();
    let program = entries.iter().find(|entry| entry.path == "usr/bin/hello");
    let program = program.expect("a program is installed");
    assert!(program.data.starts_with(b"\x7fELF"));
    assert_eq!(program.mode & 0o777, 0o755);
    recipes.check(&["hello".to_owned()]).unwrap();
}

#[test]
fn a_guest_test_is_no_reason_to_build_again() {
    let scratch = Scratch::new();
    scratch.package("a", &writes("echo 1"));
    let before = folder(&scratch, "a");
    let test = "[[guest-test]]\nname = \"t\"\nrun = \"true\"\n";
    scratch.package("a", &(writes("echo 1") + "# A remark.\n" + test));
    assert_eq!(folder(&scratch, "a"), before);
}

#[test]
fn check_tells_packages_that_differ_from_those_that_do_not() {
    let scratch = Scratch::new();
    scratch.package("same", &writes("echo $SOURCE_DATE_EPOCH"));
    scratch.package("random", &writes("head -c 16 /dev/urandom | od"));
    let recipes = scratch.open().unwrap();
    recipes.check(&["same".to_owned()]).unwrap();
    let error = recipes
        .check(&["random".to_owned()])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "random is not the same bytes twice: /usr/out");
}

#[test]
fn an_image_is_the_same_bytes_whoever_makes_it() {
    let make = || {
        let scratch = Scratch::new();
        scratch.package(
            "a",
            &("[deps]\nrun = [\"b\"]\n".to_owned() + &writes("echo a")),
        );
        scratch.package("b", &writes("echo b").replace("usr/out", "usr/b"));
        let recipes = scratch.open().unwrap();
        let file = recipes.image_root(&["a"]).unwrap();
        assert_eq!(recipes.image_root(&["a"]).unwrap(), file);
        fs::read(file).unwrap()
    };
    let image = make();
    assert_eq!(image, make());
    let paths: Vec<String> = cpio::read(&image)
        .unwrap()
        .into_iter()
        .map(|e| e.path)
        .collect();
    assert_eq!(paths, ["dev", "dev/console", "usr", "usr/b", "usr/out"]);
}

#[test]
fn outputs_get_the_files_they_name() {
    let scratch = Scratch::new();
    scratch.package(
        "a",
        "[build]\nsystem = \"custom\"\n[install]\nscript = '''\ncd $DESTDIR; mkdir -p usr/bin usr/share/man/man1 var\n\
         : > usr/bin/a; : > usr/share/man/man1/a.1\n'''\n[[output]]\nname = \"a-doc\"\nfiles = [\"usr/share/**\"]\n",
    );
    let built = scratch
        .open()
        .unwrap()
        .build(&["a-doc".to_owned()])
        .unwrap();
    let paths = |output: &str| -> Vec<String> {
        built[0]
            .entries(output)
            .unwrap()
            .into_iter()
            .map(|entry: Entry| entry.path)
            .collect()
    };
    assert_eq!(paths("a"), ["usr", "usr/bin", "usr/bin/a", "var"]);
    let doc = [
        "usr",
        "usr/share",
        "usr/share/man",
        "usr/share/man/man1",
        "usr/share/man/man1/a.1",
    ];
    assert_eq!(paths("a-doc"), doc);
}

#[test]
fn guest_tests_are_told_with_their_package() {
    let scratch = Scratch::new();
    let test =
        "[[guest-test]]\nname = \"t\"\nrun = \"true\"\nexpect = { exit = 3 }\nneeds = [\"smp\"]\n";
    scratch.package("a", &(writes("true") + test));
    let tests = scratch.open().unwrap().guest_tests();
    assert_eq!(
        (tests[0].package.as_str(), tests[0].test.name.as_str()),
        ("a", "t")
    );
    assert_eq!(
        (tests[0].test.expect.exit, tests[0].test.timeout_s),
        (3, 60)
    );
}
