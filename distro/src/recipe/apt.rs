//! Debian packages by name: apt with a configuration of its own, so that neither root nor a change to
//! the machine is needed.
//!
//! The mirror is the machine's own (its `/etc/apt`), asked for [`SUITE`] whatever the machine runs.
//! Indexes are fetched when a package is first asked for, and again only when a file is not in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::ui::Ui;

/// The Debian release whose packages the recipes name, and whose programs are run unmodified.
pub const SUITE: &str = "trixie";
/// The one before it, for sources that a mirror of the first does not serve: some do not know names with a `+`.
const FORMER_SUITE: &str = "bookworm";
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A private apt in a folder of the cache.
pub struct Apt {
    dir: PathBuf,
    ui: Ui,
}

/// Where apt finds a file: the version to be named, or nothing if its indexes do not have it.
struct Found {
    version: String,
}

impl Apt {
    pub fn open(dir: PathBuf, ui: &Ui) -> Result<Self> {
        for folder in [
            "etc/sources.list.d",
            "etc/preferences.d",
            "state/lists/partial",
            "cache",
        ] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("state/status"), "")?;
        fs::write(
            dir.join("etc/sources.list"),
            sources_list(&machine_mirror()?),
        )?;
        fs::write(
            dir.join("apt.conf"),
            configuration(&dir, &network_settings()),
        )?;
        Ok(Self {
            dir,
            ui: ui.clone(),
        })
    }

    /// Fetches `file` of the Debian package `package` into `into`: a binary package if it ends in
    /// `.deb`, else the upstream tarball of a source package.
    pub fn fetch(&self, package: &str, file: &str, into: &Path) -> Result<()> {
        let found = match self.find(package, file) {
            Ok(found) => found,
            Err(_) => {
                self.update()?;
                self.find(package, file)?
            }
        };
        let wanted = format!("{package}={}", found.version);
        let mut fetch = self.command("apt-get");
        fetch.arg("-q").current_dir(into);
        if file.ends_with(".deb") {
            fetch.args(["download", &wanted]);
        } else {
            fetch.args([
                "source",
                "--download-only",
                "--tar-only",
                "--only-source",
                &wanted,
            ]);
        }
        cmd::run(&mut fetch, &self.ui)?;
        // apt writes an epoch's colon as %3a in names of binary packages; recipes name what it wrote.
        if !into.join(file).is_file() {
            bail!("apt fetched {wanted}, but {file} is not in it");
        }
        Ok(())
    }

    fn find(&self, package: &str, file: &str) -> Result<Found> {
        let mut show = self.command("apt-cache");
        if file.ends_with(".deb") {
            show.args(["show", package]);
        } else {
            show.args(["showsrc", "--only-source", package]);
        }
        let stanzas = cmd::text(&mut show, &self.ui)?;
        let version = stanzas
            .split("\n\n")
            .find_map(|stanza| version_with(stanza, file));
        let version = version.with_context(|| {
            format!("Debian {SUITE} and {FORMER_SUITE} on this machine's mirror have no {file}")
        })?;
        Ok(Found { version })
    }

    fn update(&self) -> Result<()> {
        let _step = self.ui.spinner("Fetching Debian's package lists");
        cmd::run(self.command("apt-get").args(["-q", "update"]), &self.ui)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = cmd::command(program);
        command
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C");
        command
    }
}

/// The version of a stanza of `apt-cache show` or `showsrc` that holds `file`.
fn version_with(stanza: &str, file: &str) -> Option<String> {
    let holds = stanza
        .lines()
        .any(|line| match line.strip_prefix("Filename: ") {
            Some(path) => path.rsplit('/').next() == Some(file),
            None => line.starts_with(' ') && line.split(' ').next_back() == Some(file),
        });
    let version = stanza
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    holds.then(|| version.to_owned())
}

fn sources_list(mirror: &str) -> String {
    let line = |kind, suite| format!("{kind} [signed-by={KEYRING}] {mirror} {suite} main\n");
    let lines = [SUITE, FORMER_SUITE].map(|suite| line("deb", suite) + &line("deb-src", suite));
    lines.concat()
}

fn configuration(dir: &Path, network: &str) -> String {
    let dir = dir.display();
    // Its own Dir::Etc also keeps out the machine's hooks, which expect to run as root.
    format!(
        "Dir::Etc \"{dir}/etc\";\nDir::State \"{dir}/state\";\nDir::State::status \"{dir}/state/status\";\n\
         Dir::Cache \"{dir}/cache\";\nAPT::Sandbox::User \"root\";\nAPT::Architecture \"amd64\";\n\
         Acquire::Languages \"none\";\n{network}"
    )
}

/// The machine's own settings of how to reach the network (proxies above all).
pub fn network_settings() -> String {
    let dump = cmd::command("apt-config").arg("dump").output();
    let text = dump.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let kept = |line: &&str| line.starts_with("Acquire::") && !line.contains("::Languages");
    text.unwrap_or_default()
        .lines()
        .filter(kept)
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The mirror that the machine's apt takes Debian itself from.
pub fn machine_mirror() -> Result<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(listing) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = listing.flatten().map(|item| item.path()).collect();
        more.sort();
        files.extend(more);
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mirror = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => mirror_in_list(&text),
            Some("sources") => mirror_in_deb822(&text),
            _ => None,
        };
        if let Some(mirror) = mirror {
            return Ok(mirror);
        }
    }
    bail!("/etc/apt names no Debian mirror to fetch sources from")
}

fn mirror_in_list(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        debian_mirror(rest.split_whitespace().next()?)
    })
}

fn mirror_in_deb822(text: &str) -> Option<String> {
    let uris = text.lines().filter_map(|line| line.strip_prefix("URIs:"));
    uris.flat_map(str::split_whitespace).find_map(debian_mirror)
}

/// Mirrors of Debian proper end in `/debian`; security updates and others' packages do not.
fn debian_mirror(uri: &str) -> Option<String> {
    uri.trim_end_matches('/')
        .ends_with("/debian")
        .then(|| uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_kinds_of_lists() {
        let list = "# x\ndeb [arch=amd64] https://other.example/apt stable main\n\
                    deb http://mirror.example/debian bookworm main\n";
        assert_eq!(
            mirror_in_list(list).as_deref(),
            Some("http://mirror.example/debian")
        );
        let deb822 = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: x\n\n\
                      Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n";
        assert_eq!(
            mirror_in_deb822(deb822).as_deref(),
            Some("http://mirror.example/debian/")
        );
        assert_eq!(
            mirror_in_deb822("URIs: http://mirror.example/ubuntu\n"),
            None
        );
    }

    #[test]
    fn the_version_that_has_the_file_is_taken() {
        let source = "Package: a\nVersion: 1:2.0-3\nChecksums-Sha256:\n ab 12 a_2.0.orig.tar.gz\n";
        assert_eq!(
            version_with(source, "a_2.0.orig.tar.gz").as_deref(),
            Some("1:2.0-3")
        );
        assert_eq!(version_with(source, "a_2.1.orig.tar.gz"), None);
        let binary = "Package: b\nVersion: 4-1\nFilename: pool/main/b/b/b_4-1_all.deb\n";
        assert_eq!(
            version_with(binary, "b_4-1_all.deb").as_deref(),
            Some("4-1")
        );
    }
}
