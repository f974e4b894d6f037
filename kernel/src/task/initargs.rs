//! What init is called with: its arguments and environment, from the words of the command line that are not the kernel's.
//! The rules are in `bootinfo::cmdline`; the limits and the words of failure are Linux's (`init/main.c`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::boot::{self, InitWord};

/// How many arguments, and how many variables, there may be: one more than `CONFIG_INIT_ENV_ARG_LIMIT`, as Linux counts.
const MAX: usize = 33;

/// Init's arguments but for its own name, and its environment.
pub(super) struct InitArguments {
    arguments: Vec<String>,
    environment: Vec<String>,
}

impl InitArguments {
    /// Reads the command line, and logs what of it is passed on although it may have been meant for the kernel.
    ///
    /// # Errors
    /// What to say when there are too many.
    pub(super) fn read() -> Result<InitArguments, String> {
        let mut read = InitArguments {
            arguments: Vec::new(),
            environment: ["HOME=/", "TERM=linux"].map(String::from).into(),
        };
        for word in boot::info().cmdline.for_init() {
            read.take(word)?;
        }
        let passed: Vec<&str> = (read.arguments.iter().chain(read.environment.iter().skip(2)))
            .map(String::as_str)
            .collect();
        if !passed.is_empty() {
            log::info!("Command line words passed on to init: {}", passed.join(" "));
        }
        Ok(read)
    }

    fn take(&mut self, word: InitWord<'_>) -> Result<(), String> {
        match word {
            InitWord::Program => self.arguments.clear(),
            InitWord::Argument { name, value } => {
                let new = match value {
                    Some(value) => format!("{name}={value}"),
                    None => String::from(name),
                };
                // The program's own name is one of them.
                if self.arguments.len() + 1 == MAX {
                    return Err(format!("Too many boot init vars at `{new}'"));
                }
                self.arguments.push(new);
            }
            InitWord::Variable { name, value } => {
                let same = |old: &String| old.split('=').next() == Some(name);
                let new = format!("{name}={value}");
                if let Some(old) = self.environment.iter_mut().find(|old| same(old)) {
                    *old = new;
                } else if self.environment.len() == MAX {
                    return Err(format!("Too many boot env vars at `{new}'"));
                } else {
                    self.environment.push(new);
                }
            }
        }
        Ok(())
    }

    /// The lists for a program of this name.
    pub(super) fn for_program<'a>(&'a self, path: &'a str) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
        let arguments = self.arguments.iter().map(String::as_bytes);
        let argv = core::iter::once(path.as_bytes()).chain(arguments).collect();
        (
            argv,
            self.environment.iter().map(String::as_bytes).collect(),
        )
    }
}
