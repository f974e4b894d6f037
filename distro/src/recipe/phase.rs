//! The phases of a build, in their order.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Resolve,
    Fetch,
    Verify,
    Unpack,
    Patch,
    Configure,
    Compile,
    Check,
    Install,
    Split,
    Lint,
    Pack,
    Index,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Resolve => "resolve",
            Self::Fetch => "fetch",
            Self::Verify => "verify",
            Self::Unpack => "unpack",
            Self::Patch => "patch",
            Self::Configure => "configure",
            Self::Compile => "compile",
            Self::Check => "check",
            Self::Install => "install",
            Self::Split => "split",
            Self::Lint => "lint",
            Self::Pack => "pack",
            Self::Index => "index",
        };
        f.pad(name)
    }
}
