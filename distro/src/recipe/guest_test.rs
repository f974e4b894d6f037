//! Guest tests: what a recipe has to say about the package at work, next to [`super::model`]'s format of
//! how it is built. The runner is `cargo distro test packages`.

use serde::Deserialize;
use toml::Spanned;

/// A command to be run as root in the guest, on Linux first and then on Ironbark.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestTest {
    pub name: String,
    pub run: String,
    #[serde(default)]
    pub expect: Expect,
    /// Outputs that must be in the image beside the package itself.
    #[serde(default)]
    pub with: Vec<Spanned<String>>,
    #[serde(default)]
    pub needs: Vec<Need>,
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
}

/// What a guest test must answer. Standard output is compared only if it is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default)]
    pub exit: u8,
    pub stdout: Option<String>,
}

/// What of the machine a guest test needs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    Net,
    Disk,
    Smp,
    Tty,
}

fn default_timeout_s() -> u64 {
    60
}
