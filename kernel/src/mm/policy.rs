//! Memory policies, of a machine with one node: which are valid, and how they read back.
//!
//! Whatever a policy says, memory comes from node 0, so that none changes where pages go. What can be seen is which are
//! refused and what `get_mempolicy` and `numa_maps` tell. A policy is kept as 24 bits, in a task and in an area's flags:
//! mode (3), flags (3), and the nodes asked for (16 of them: static and relative masks read back as they were given).
//!
//! References: `set_mempolicy(2)`; Linux `mm/mempolicy.c`.

use abi::{Errno, Result};

/// The nodes that Linux with this configuration could have: a mask of more is refused.
pub const MAX_NODES: usize = 1024;
/// The nodes that there are.
pub const ONLINE: u64 = 1;
/// Nodes of a mask that a policy keeps.
const KEPT_NODES: u32 = 16;

const MODE_MASK: u32 = 7;
const FLAG_SHIFT: u32 = 3;
const NODE_SHIFT: u32 = 6;

/// `MPOL_F_NUMA_BALANCING`, `MPOL_F_RELATIVE_NODES`, `MPOL_F_STATIC_NODES` of a mode argument, lowest first.
const BALANCING: u32 = 1 << 13;
const RELATIVE: u32 = 1 << 14;
const STATIC: u32 = 1 << 15;
const MODE_FLAGS: u32 = BALANCING | RELATIVE | STATIC;

/// `MPOL_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Default = 0,
    Preferred = 1,
    Bind = 2,
    Interleave = 3,
    Local = 4,
    PreferredMany = 5,
}

impl Mode {
    fn from_raw(raw: u32) -> Option<Mode> {
        use Mode::*;
        [Default, Preferred, Bind, Interleave, Local, PreferredMany]
            .into_iter()
            .find(|mode| *mode as u32 == raw)
    }
}

/// A policy, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policy(u32);

impl Policy {
    /// The one with these bits: those of [`Policy::bits`].
    pub fn from_bits(bits: u32) -> Policy {
        Policy(bits & 0xff_ffff)
    }

    /// Its 24 bits; zero for none.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// What a mode with its flags and a mask of nodes ask for. EINVAL where they contradict each other.
    pub fn new(mode_and_flags: u32, nodes: u64) -> Result<Policy> {
        let flags = mode_and_flags & MODE_FLAGS;
        let mode = Mode::from_raw(mode_and_flags & !MODE_FLAGS).ok_or(Errno::EINVAL)?;
        if flags & (STATIC | RELATIVE) == STATIC | RELATIVE
            || (flags & BALANCING != 0 && mode != Mode::Bind)
        {
            return Err(Errno::EINVAL);
        }
        let fixed = flags & (STATIC | RELATIVE) != 0;
        let mode = match mode {
            Mode::Default if nodes != 0 => return Err(Errno::EINVAL),
            Mode::Default => return Ok(Policy::default()),
            Mode::Local if nodes != 0 || fixed => return Err(Errno::EINVAL),
            Mode::Preferred if nodes == 0 && fixed => return Err(Errno::EINVAL),
            Mode::Preferred if nodes == 0 => Mode::Local,
            Mode::Local => Mode::Local,
            _ if nodes == 0 => return Err(Errno::EINVAL),
            mode => mode,
        };
        // A relative mask counts from the allowed nodes on and round again: any node of it is node 0.
        let usable = flags & RELATIVE != 0 || nodes & ONLINE != 0;
        if mode != Mode::Local && !usable {
            return Err(Errno::EINVAL);
        }
        let kept = nodes as u32 & ((1 << KEPT_NODES) - 1);
        Ok(Policy(
            mode as u32 | (flags >> 13) << FLAG_SHIFT | kept << NODE_SHIFT,
        ))
    }

    /// The mode.
    pub fn mode(self) -> Mode {
        Mode::from_raw(self.0 & MODE_MASK).unwrap_or(Mode::Default)
    }

    fn flags(self) -> u32 {
        (self.0 >> FLAG_SHIFT & 7) << 13
    }

    /// Mode and flags as `get_mempolicy` gives them.
    pub fn shown_mode(self) -> u32 {
        self.mode() as u32 | self.flags()
    }

    /// The nodes as `get_mempolicy` gives them: what was asked for, or what came of it.
    pub fn shown_nodes(self) -> u64 {
        match self.mode() {
            Mode::Default | Mode::Local => 0,
            _ if self.flags() & (STATIC | RELATIVE) != 0 => u64::from(self.0 >> NODE_SHIFT),
            _ => ONLINE,
        }
    }

    /// The words of `numa_maps`.
    pub fn text(self) -> &'static str {
        let special = match self.flags() {
            STATIC => 1,
            RELATIVE => 2,
            _ => 0,
        };
        let words = match self.mode() {
            Mode::Default => return "default",
            Mode::Local => return "local",
            Mode::Preferred => ["prefer:0", "prefer=static:0", "prefer=relative:0"],
            Mode::Bind => ["bind:0", "bind=static:0", "bind=relative:0"],
            Mode::Interleave => [
                "interleave:0",
                "interleave=static:0",
                "interleave=relative:0",
            ],
            Mode::PreferredMany => [
                "prefer (many):0",
                "prefer (many)=static:0",
                "prefer (many)=relative:0",
            ],
        };
        words[special]
    }
}
