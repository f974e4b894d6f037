//! `cargo distro`: builds the distribution, boots it, tests it and measures it.
//!
//! | module | what it does |
//! |---|---|
//! | [`ui`] | progress bars and messages, all on stderr |
//! | [`paths`] | where things lie: the checkout, `target/`, the user's cache |
//! | [`cmd`] | running other programs, with errors that say what failed |

#![forbid(unsafe_code)]
// Until the first sub-commands use them.
#![allow(dead_code)]

mod cmd;
mod paths;
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
enum Command {}

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
fn dispatch(command: &Command, _ui: &Ui) -> Result<i32> {
    match *command {}
}
