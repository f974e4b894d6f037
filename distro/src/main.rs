//! `cargo distro`: builds the distribution, boots it, tests it and measures it.
//!
//! | module | what it does |
//! |---|---|
//! | [`ui`] | progress bars and messages, all on stderr |
//! | [`paths`] | where things lie: the checkout, `target/`, the user's cache |
//! | [`cmd`] | running other programs, with errors that say what failed |
//! | [`setup`] | the host's packages that the work needs |
//! | [`kernel`], [`linux`] | our kernel, built; Debian's, fetched, to compare with |
//! | [`cpio`], [`iso`] | what is booted: archives and images |
//! | [`machine`], [`exec`], [`guest`] | the emulator's command line; the channel of `--exec`; a guest's life |
//! | [`run`] | `cargo distro run` |

#![forbid(unsafe_code)]
// Until the first sub-commands use them.
#![allow(dead_code)]

mod cmd;
mod cpio;
mod exec;
mod guest;
mod iso;
mod kernel;
mod linux;
mod machine;
mod paths;
mod run;
mod scratch;
mod setup;
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
    /// Boot the system with its console here, or run one command in it
    Run(run::RunArgs),
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
            linux::provide(&paths, ui)?;
            ui.note("Everything is there.");
            Ok(0)
        }
        Command::Run(args) => run::run(args, &paths, ui),
    }
}
