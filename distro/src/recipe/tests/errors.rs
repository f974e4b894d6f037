//! What is wrong with a recipe is told with file, line and phase, and leaves the cache as it was.

use std::fs;

use super::Scratch;

const CUSTOM: &str = "[build]\nsystem = \"custom\"\n";

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let scratch = Scratch::new();
    scratch.package("a", "[build]\nsystem = \"make\"\nflavour = \"x\"\n");
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:10:", "`flavour`"],
    );
}

#[test]
fn unknown_keys_are_found_in_every_table() {
    let tables = [
        "[[source]]\nurl = \"x\"\nfile = \"x\"\nsha256 = \"x\"\nbad = 1\n",
        "[[patch]]\nfile = \"x\"\nreason = \"x\"\nbad = 1\n",
        "[deps]\nbad = 1\n",
        "[install]\nbad = 1\n",
        "[[output]]\nname = \"x\"\nfiles = []\nbad = 1\n",
        "[[guest-test]]\nname = \"x\"\nrun = \"x\"\nbad = 1\n",
        "[[guest-test]]\nname = \"x\"\nrun = \"x\"\nexpect = { bad = 1 }\n",
        "[bad]\n",
    ];
    for table in tables {
        let scratch = Scratch::new();
        scratch.package("a", &format!("{CUSTOM}{table}"));
        assert_has(
            &scratch.error(),
            &["packages/a/recipe.toml:", "unknown field `bad`"],
        );
    }
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let scratch = Scratch::new();
    scratch.package("a", "[build]\nsystem = \"custom\nargs = []\n");
    assert_has(&scratch.error(), &["packages/a/recipe.toml:9:"]);
}

#[test]
fn values_are_checked() {
    let cases = [
        ("[build]\nsystem = \"ant\"\n", ":9:", "`ant`"),
        (
            "[build]\nsystem = \"custom\"\n[[source]]\nfile = \"f\"\nsha256 = \"0\"\n",
            ":10:",
            "needs one of",
        ),
        (
            "[build]\nsystem = \"custom\"\n[[source]]\nurl = \"u\"\nfile = \"../f\"\nsha256 = \"0\"\n",
            ":10:",
            "is no file name",
        ),
        (
            "[build]\nsystem = \"custom\"\n[[source]]\nurl = \"u\"\nfile = \"f\"\nsha256 = \"0\"\n",
            ":13:",
            "64",
        ),
        (
            "[build]\nsystem = \"custom\"\n[[patch]]\nfile = \"f\"\nreason = \" \"\n",
            ":10:",
            "a patch needs a reason",
        ),
        (
            "[build]\nsystem = \"custom\"\n[[output]]\nname = \"a\"\nfiles = []\n",
            ":10:",
            "a second output",
        ),
        (
            "[build]\nsystem = \"custom\"\n[[guest-test]]\nname = \"t\"\nrun = \"\"\n",
            ":10:",
            "needs a command",
        ),
    ];
    for (rest, line, what) in cases {
        let scratch = Scratch::new();
        scratch.package("a", rest);
        assert_has(&scratch.error(), &["packages/a/recipe.toml", line, what]);
    }
}

#[test]
fn the_folder_must_bear_the_name() {
    let scratch = Scratch::new();
    scratch.package("a", CUSTOM);
    let packages = scratch.dir.join("packages");
    fs::rename(packages.join("a"), packages.join("b")).unwrap();
    assert_has(&scratch.error(), &["packages/b/recipe.toml:2:", "\"b\""]);
}

#[test]
fn a_dependency_that_nobody_provides_fails_in_resolve() {
    let scratch = Scratch::new();
    scratch.package("a", &format!("[deps]\nbuild = [\n  \"none\",\n]\n{CUSTOM}"));
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:10:", "phase resolve", "\"none\""],
    );
}

#[test]
fn packages_that_need_each_other_are_named() {
    let scratch = Scratch::new();
    scratch.package("a", &format!("[deps]\nbuild = [\"b\"]\n{CUSTOM}"));
    scratch.package("b", &format!("[deps]\nbuild = [\"a\"]\n{CUSTOM}"));
    assert_has(&scratch.error(), &["a -> b -> a"]);
}

#[test]
fn a_wrong_checksum_fails_in_verify_and_keeps_nothing() {
    let scratch = Scratch::new();
    let file = scratch.dir.join("source.tar");
    fs::write(&file, "not what was pinned").unwrap();
    let source = format!(
        "[[source]]\nurl = \"file://{}\"\nfile = \"source.tar\"\nsha256 = \"{}\"\n",
        file.display(),
        "0".repeat(64)
    );
    scratch.package("a", &format!("{CUSTOM}{source}"));
    let before = scratch.cached();
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:13:", "phase verify", "has sha256"],
    );
    assert_eq!(scratch.cached(), before);
}

#[test]
fn a_source_that_cannot_be_had_fails_in_fetch() {
    let scratch = Scratch::new();
    let sum = "0".repeat(64);
    let source = format!("[[source]]\nurl = \"file:///none\"\nfile = \"f\"\nsha256 = \"{sum}\"\n");
    scratch.package("a", &format!("{CUSTOM}{source}"));
    let before = scratch.cached();
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:10:", "phase fetch", "/none"],
    );
    assert_eq!(scratch.cached(), before);
}

/// A `[[source]]` that is on this host, with the checksum that it has.
fn local_source(scratch: &Scratch, name: &str, content: &[u8]) -> String {
    let file = scratch.dir.join(name);
    fs::write(&file, content).unwrap();
    let sum = crate::recipe::tree::sha256_file(&file).unwrap();
    let url = file.display();
    format!("[[source]]\nurl = \"file://{url}\"\nfile = \"{name}\"\nsha256 = \"{sum}\"\n")
}

#[test]
fn a_corrupt_archive_fails_in_unpack() {
    let scratch = Scratch::new();
    let source = local_source(&scratch, "source.tar.gz", b"\x1f\x8b\x08 and no more");
    scratch.package("a", &format!("{CUSTOM}{source}"));
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:10:", "phase unpack", "tar: Error"],
    );
    // The source is what was pinned, and may stay; nothing was built from it.
    let built = |path: &std::path::PathBuf| path.starts_with(scratch.dir.join("cache/packages"));
    assert!(!scratch.cached().iter().any(built));
}

#[test]
fn a_patch_that_does_not_fit_fails_in_patch() {
    let scratch = Scratch::new();
    let patch = "[[patch]]\nfile = \"a.diff\"\nreason = \"x\"\n";
    scratch.package("a", &format!("{CUSTOM}{patch}"));
    let patches = scratch.dir.join("packages/a/patches");
    fs::create_dir(&patches).unwrap();
    fs::write(
        patches.join("a.diff"),
        "--- a/text\n+++ b/text\n@@ -1 +1 @@\n-old\n+new\n",
    )
    .unwrap();
    let before = scratch.cached();
    assert_has(
        &scratch.error(),
        &["packages/a/recipe.toml:10:", "phase patch", "a/text"],
    );
    assert_eq!(scratch.cached(), before);
}

#[test]
fn what_was_built_before_survives_a_failure() {
    let scratch = Scratch::new();
    let install = "[install]\nscript = \"mkdir $DESTDIR/usr; echo > $DESTDIR/usr/x\"\n";
    scratch.package("a", &format!("{CUSTOM}{install}"));
    scratch.open().unwrap().build(&[]).unwrap();
    let before = scratch.cached();
    assert!(!before.is_empty());
    for (line, says) in [
        ("compile = \"false\"", "phase compile"),
        ("flavour = 1", "`flavour`"),
    ] {
        scratch.package("a", &format!("{CUSTOM}{line}\n{install}"));
        assert_has(&scratch.error(), &["packages/a/recipe.toml:10:", says]);
        assert_eq!(scratch.cached(), before);
    }
}

#[test]
fn a_failing_script_shows_its_last_lines_and_leaves_the_cache_alone() {
    let scratch = Scratch::new();
    let rest = format!("{CUSTOM}compile = \"\"\"\necho out; echo on stderr >&2\nfalse\n\"\"\"\n");
    scratch.package("a", &rest);
    let before = scratch.cached();
    assert_has(
        &scratch.error(),
        &[
            "packages/a/recipe.toml:10:",
            "phase compile",
            "\n  out\n  on stderr",
        ],
    );
    assert_eq!(scratch.cached(), before);
    assert!(
        !scratch.dir.join("target/recipes/a-1-1").exists(),
        "the work folder is still there"
    );
}

#[test]
fn each_later_phase_fails_by_its_name_and_leaves_the_cache_alone() {
    let cases = [
        ("configure = \"exit 3\"\n", "phase configure", ":10:"),
        ("check = \"exit 3\"\n", "phase check", ":10:"),
        ("[install]\nscript = \"exit 3\"\n", "phase install", ":11:"),
        (
            "[install]\nlicenses = [\"NONE\"]\n",
            "phase install",
            ":11:",
        ),
        (
            "[install]\nscript = \"mkdir $DESTDIR/odd\"\n",
            "phase lint",
            ":2:",
        ),
        (
            "[install]\nscript = \"mkdir $DESTDIR/usr; : > $DESTDIR/usr/x; chmod 666 $DESTDIR/usr/x\"\n",
            "phase lint",
            ":2:",
        ),
        (
            "[install]\nscript = \"mkdir $DESTDIR/usr\"\n[[output]]\nname = \"b\"\nfiles = [\"bin/*\"]\n",
            "phase split",
            ":14:",
        ),
        (
            "[[patch]]\nfile = \"none.diff\"\nreason = \"x\"\n",
            "phase patch",
            ":10:",
        ),
    ];
    for (rest, phase, line) in cases {
        let scratch = Scratch::new();
        scratch.package("a", &format!("{CUSTOM}{rest}"));
        let before = scratch.cached();
        assert_has(&scratch.error(), &["packages/a/recipe.toml", line, phase]);
        assert_eq!(scratch.cached(), before);
    }
}
