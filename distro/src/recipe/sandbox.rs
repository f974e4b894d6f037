//! The place where a phase runs: namespaces of its own, and a root that holds the host's toolchain and
//! the dependencies read-only.
//!
//! | path | what |
//! |---|---|
//! | `/build` | the unpacked sources, and the working folder |
//! | `/dest` | what the package installs; `$DESTDIR` |
//! | `/sysroot` | the outputs of `deps.build`, read-only |
//! | `/recipe` | the package's folder, read-only |
//! | `/rust`, `/vendor` | for the system `cargo`: the toolchain and the crates, read-only |
//! | `/usr`, `/bin`, `/lib`, ... | the host's, read-only |
//!
//! There is no network, no home, no other process and no variable of the caller's. util-linux's
//! unshare(1) makes the namespaces: it is on every Debian, and needs no unsafe code here.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::cpio::EPOCH;
use crate::cmd;

/// Folders of the host's root that its toolchain needs; those that are links stay links.
const HOST_DIRS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What of the host's `/etc` programs need to start at all (Debian links `awk` and `cc` through it).
const HOST_ETC: [&str; 3] = ["alternatives", "ld.so.cache", "ld.so.conf"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const PATH: &str = "/sysroot/cross/bin:/rust/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The folders of one build, below `work`.
pub struct Sandbox {
    work: PathBuf,
    recipe: PathBuf,
    env: Vec<(String, String)>,
    shown: Vec<(PathBuf, &'static str)>,
}

impl Sandbox {
    /// Makes the folders. `env` is what a recipe adds to the variables that each phase has; `shown` are
    /// folders of the host's that appear below the root, read-only.
    pub fn new(
        work: &Path,
        recipe: &Path,
        env: Vec<(String, String)>,
        shown: Vec<(PathBuf, &'static str)>,
    ) -> Result<Self> {
        for dir in ["root", "build", "dest", "sysroot"] {
            fs::create_dir_all(work.join(dir)).with_context(|| format!("cannot make {work:?}"))?;
        }
        let recipe = fs::canonicalize(recipe)?;
        Ok(Self {
            work: fs::canonicalize(work)?,
            recipe,
            env,
            shown,
        })
    }

    pub fn build_dir(&self) -> PathBuf {
        self.work.join("build")
    }

    pub fn dest_dir(&self) -> PathBuf {
        self.work.join("dest")
    }

    pub fn sysroot_dir(&self) -> PathBuf {
        self.work.join("sysroot")
    }

    /// Runs a shell script in `/build`, its output appended to `log`. Answers whether it succeeded.
    pub fn run(&self, script: &str, log: &Path) -> Result<bool> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut command = self.unshare();
        command.args(["sh", "-ec", &self.setup()?, "sandbox", script]);
        command.env_clear().env("PATH", PATH).current_dir("/");
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let status = command
            .status()
            .context("cannot run `unshare` (package util-linux)")?;
        Ok(status.success())
    }

    /// Whether this machine lets us make namespaces; an error says what to do if not.
    pub fn probe() -> Result<()> {
        let mut command = cmd::command("unshare");
        let output = command.args(NAMESPACES).args(["sh", "-c", "true"]).output();
        let output = output.context("cannot run `unshare` (package util-linux)")?;
        if output.status.success() {
            return Ok(());
        }
        bail!(
            "packages are built in namespaces, and this machine refuses to make them ({}); as root, \
             `sysctl kernel.unprivileged_userns_clone=1` permits it",
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }

    fn unshare(&self) -> Command {
        let mut command = cmd::command("unshare");
        command.args(NAMESPACES);
        command
    }

    /// The script that composes the root and enters it. Its first argument is the phase's script.
    fn setup(&self) -> Result<String> {
        let root = quoted(&self.work.join("root"))?;
        let mut text = format!("mount -t tmpfs -o mode=755 root {root}\ncd {root}\n");
        text.push_str("mkdir proc dev tmp build dest sysroot recipe etc\n");
        for dir in HOST_DIRS {
            let host = Path::new("/").join(dir);
            if let Ok(target) = fs::read_link(&host) {
                writeln!(text, "ln -s {} {dir}", quoted(&target)?)?;
            } else if host.is_dir() {
                writeln!(text, "mkdir {dir}")?;
                bind_read_only(&mut text, &host, dir)?;
            }
        }
        for item in HOST_ETC {
            let host = Path::new("/etc").join(item);
            if host.exists() {
                writeln!(text, "cp -R {} etc/", quoted(&host)?)?;
            }
        }
        text.push_str(
            "echo root:x:0:0:root:/build:/bin/sh > etc/passwd\necho root:x:0: > etc/group\n",
        );
        for device in DEVICES {
            writeln!(
                text,
                ": > dev/{device}\nmount --bind /dev/{device} dev/{device}"
            )?;
        }
        text.push_str("ln -s /proc/self/fd dev/fd\n");
        // Inside some containers a fresh proc is refused; the outer one, which shows more, must do then.
        text.push_str("mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc\n");
        text.push_str("chmod 1777 tmp\n");
        bind_read_only(&mut text, &self.recipe, "recipe")?;
        bind_read_only(&mut text, &self.sysroot_dir(), "sysroot")?;
        for (from, to) in &self.shown {
            writeln!(text, "mkdir {to}")?;
            bind_read_only(&mut text, from, to)?;
        }
        for dir in ["build", "dest"] {
            writeln!(text, "mount --bind {} {dir}", quoted(&self.work.join(dir))?)?;
        }
        text.push_str("echo sandbox > /proc/sys/kernel/hostname 2>/dev/null || true\n");
        writeln!(
            text,
            "exec chroot . env -i {} sh -ec 'cd /build; eval \"$1\"' phase \"$1\"",
            self.variables()?
        )?;
        Ok(text)
    }

    fn variables(&self) -> Result<String> {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        let cc = if self.sysroot_dir().join("cross/bin/musl-gcc").exists() {
            "musl-gcc"
        } else {
            "gcc"
        };
        let fixed = [
            ("PATH", PATH.to_owned()),
            ("HOME", "/tmp".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("SOURCE_DATE_EPOCH", EPOCH.to_string()),
            ("DESTDIR", "/dest".to_owned()),
            ("SYSROOT", "/sysroot".to_owned()),
            ("MAKEFLAGS", format!("-j{jobs}")),
            ("JOBS", jobs.to_string()),
            ("CC", cc.to_owned()),
            ("HOSTCC", "gcc".to_owned()),
            ("PKG_CONFIG_SYSROOT_DIR", "/sysroot".to_owned()),
            ("PKG_CONFIG_LIBDIR", "/sysroot/usr/lib/pkgconfig".to_owned()),
        ];
        let all = fixed.iter().map(|(name, value)| (*name, value.as_str()));
        let all = all.chain(
            self.env
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let words = all.map(|(name, value)| quoted(Path::new(&format!("{name}={value}"))));
        Ok(words.collect::<Result<Vec<_>>>()?.join(" "))
    }
}

const NAMESPACES: [&str; 10] = [
    "--user",
    "--map-root-user",
    "--mount",
    "--net",
    "--pid",
    "--uts",
    "--ipc",
    "--fork",
    "--kill-child",
    "--",
];

fn bind_read_only(text: &mut String, from: &Path, to: &str) -> Result<()> {
    // Mounts below come along: a plain bind of a folder that has some is refused in a user namespace.
    writeln!(
        text,
        "mount --rbind {} {to}\nmount -o remount,bind,ro {to}",
        quoted(from)?
    )?;
    Ok(())
}

/// A path as one word of a shell's.
fn quoted(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{path:?} is no UTF-8 path"))?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}
