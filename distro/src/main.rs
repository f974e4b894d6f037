//! `cargo distro`: builds the distribution, boots it, tests it and measures it.
//!
//! | module | what it does |
//! |---|---|
//! | [`ui`] | progress bars and messages, all on stderr |
//! | [`paths`] | where things lie: the checkout, `target/`, the user's cache |
//! | [`recipe`] | builds packages from source |
//! | [`cmd`] | running other programs, with errors that say what failed |

#![forbid(unsafe_code)]
// Until the first sub-commands use them.
#![allow(dead_code)]

mod cmd;
mod paths;
mod recipe;
mod ui;

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    /// Build packages from source: those named and what they need, or all
    Build(BuildArgs),
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
    match command {
        Command::Build(args) => build(args, ui),
    }
}

/// `cargo distro build`: prints where each package lies.
fn build(args: &BuildArgs, ui: &Ui) -> Result<i32> {
    let recipes = recipe::Recipes::open(&paths::Paths::find()?, ui)?;
    if args.check {
        recipes.check(&args.packages)?;
        return Ok(0);
    }
    for built in recipes.build(&args.packages)? {
        println!("{}", built.dir.display());
    }
    Ok(0)
}
