//! `cargo distro`: builds the distribution, boots it, tests it and measures it.
//!
//! | module | what it does |
//! |---|---|
//! | [`ui`] | progress bars and messages, all on stderr |
//! | [`paths`] | where things lie: the checkout, `target/`, the user's cache |
//! | [`recipe`] | builds packages from source |
//! | [`cmd`] | running other programs, with errors that say what failed |
//! | [`setup`] | the host's packages that the work needs |
//! | [`debian`] | a root of Debian's unmodified programs |
//! | [`kernel`], [`linux`] | our kernel, built; Debian's, fetched, to compare with |
//! | [`cpio`], [`iso`] | what is booted: archives and images |
//! | [`machine`], [`emulator`] | the emulator's command line, and its process |
//! | [`overlay`], [`exec`], [`guest`] | what one guest gets; the channel of `--exec`; a guest's life |
//! | [`programs`] | our own programs for the guest |
//! | [`profile`] | what the kernel's sampling profiler found |
//! | [`run`], [`test`], [`bench`], [`lint`] | the sub-commands of these names |

#![forbid(unsafe_code)]

mod bench;
mod cmd;
mod cpio;
mod debian;
mod emulator;
mod exec;
mod guest;
mod iso;
mod kernel;
mod ksyms;
mod lint;
mod linux;
mod machine;
mod overlay;
mod paths;
mod profile;
mod programs;
mod recipe;
mod run;
mod scratch;
mod setup;
mod test;
mod ui;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::paths::Paths;
use crate::ui::Ui;

/// Builds, boots, tests and measures Ironbark.
#[derive(Parser)]
#[command(name = "cargo distro", bin_name = "cargo distro", version)]
struct Cli {
    /// Say more: each command that is run, and its output
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this host lacks
    Setup,
    /// Build packages from source: those named and what they need, or all
    Build(BuildArgs),
    /// Make a root of Debian's unmodified programs, for `run --root debian`
    Debian,
    /// Make the bootable image
    Iso(iso::IsoArgs),
    /// Check everything: crates, system calls, packages, machines
    Test(test::TestArgs),
    /// Measure: the bench suite on our kernel, and in turn on Linux
    Bench(bench::BenchArgs),
    /// Check the tree's rules: who imports whom, sizes, unsafe code, format
    Lint,
    /// Boot the system with its console here, or run one command in it
    Run(run::RunArgs),
}

#[derive(clap::Args)]
struct BuildArgs {
    /// Packages, or outputs of packages
    packages: Vec<String>,
    /// Build each named package once more and compare the bytes
    #[arg(long)]
    check: bool,
}

fn main() {
    let cli = Cli::parse();
    let ui = Ui::new(cli.verbose);
    match dispatch(&cli.command, &ui) {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            ui.error(&format!("{error:#}"));
            std::process::exit(1);
        }
    }
}

/// Runs one sub-command and answers the tool's exit status.
fn dispatch(command: &Command, ui: &Ui) -> Result<i32> {
    let paths = Paths::find()?;
    match command {
        Command::Setup => {
            setup::ensure(&setup::ALL, ui)?;
            for target in [kernel::TARGET, programs::TARGET] {
                setup::rust_target(target, ui)?;
            }
            linux::provide(&paths, ui)?;
            ui.note("Everything is there.");
            Ok(0)
        }
        Command::Build(args) => build(args, &paths, ui),
        Command::Debian => {
            println!("{}", debian::provide(&paths, ui)?.display());
            Ok(0)
        }
        Command::Iso(args) => iso::command(args, &paths, ui),
        Command::Test(args) => test::run(args, &paths, ui),
        Command::Bench(args) => bench::command(args, &paths, ui),
        Command::Lint => lint::command(&paths, ui),
        Command::Run(args) => run::run(args, &paths, ui),
    }
}

/// `cargo distro build`: prints where each package lies.
fn build(args: &BuildArgs, paths: &Paths, ui: &Ui) -> Result<i32> {
    setup::ensure(&[setup::Need::Build], ui)?;
    let recipes = recipe::Recipes::open(paths, ui)?;
    if args.check {
        recipes.check(&args.packages)?;
        return Ok(0);
    }
    for built in recipes.build(&args.packages)? {
        println!("{}", built.dir.display());
    }
    Ok(0)
}
