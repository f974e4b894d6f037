//! Ioctls and structures of virtual consoles.
//!
//! Reference: `linux/vt.h`, `linux/kd.h`, `linux/keyboard.h`, ioctl_console(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::ioctl::{
    KDGETLED, KDGETMODE, KDGKBDIACR, KDGKBENT, KDGKBLED, KDGKBMETA, KDGKBMODE, KDGKBSENT,
    KDGKBTYPE, KDMKTONE, KDSETLED, KDSETMODE, KDSIGACCEPT, KDSKBENT, KDSKBLED, KDSKBMETA,
    KDSKBMODE, KDSKBSENT, KIOCSOUND, VT_ACTIVATE, VT_DISALLOCATE, VT_GETMODE, VT_GETSTATE,
    VT_OPENQRY, VT_RELDISP, VT_RESIZE, VT_RESIZEX, VT_SETMODE, VT_WAITACTIVE,
};

/// `KDGKBTYPE`: a keyboard of 101 or 102 keys.
pub const KB_101: u8 = 2;
/// `KDSETMODE`: the kernel draws text.
pub const KD_TEXT: u32 = 0;
/// `KDSETMODE`: a program draws.
pub const KD_GRAPHICS: u32 = 1;

/// Keyboard mode: scan codes as they come.
pub const K_RAW: u32 = 0;
/// Keyboard mode: bytes by the key map.
pub const K_XLATE: u32 = 1;
/// Keyboard mode: key codes.
pub const K_MEDIUMRAW: u32 = 2;
/// Keyboard mode: UTF-8 by the key map.
pub const K_UNICODE: u32 = 3;
/// Keyboard mode: nothing is delivered.
pub const K_OFF: u32 = 4;

/// `KDGKBMETA`: Alt sends ESC first.
pub const K_ESCPREFIX: u32 = 4;
/// `KDGKBMETA`: Alt sets the highest bit.
pub const K_METABIT: u32 = 3;

/// `VT_SETMODE`: the kernel switches by itself.
pub const VT_AUTO: u8 = 0;
/// `VT_SETMODE`: a program is asked by signals.
pub const VT_PROCESS: u8 = 1;
/// `VT_RELDISP`: the program has taken the display over.
pub const VT_ACKACQ: usize = 2;

/// `struct vt_mode`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct VtMode {
    /// `VT_AUTO` or `VT_PROCESS`.
    pub mode: u8,
    /// If set, writes hang unless the console is active.
    pub waitv: u8,
    /// Signal that asks for release.
    pub relsig: i16,
    /// Signal that tells of acquisition.
    pub acqsig: i16,
    /// Unused, 0.
    pub frsig: i16,
}

/// `struct vt_stat`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct VtStat {
    /// Number of the active console.
    pub v_active: u16,
    /// Unused.
    pub v_signal: u16,
    /// Bit mask of the open consoles; bit 0 stands for the active one.
    pub v_state: u16,
}

/// `struct kbentry`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct KbEntry {
    /// Modifier table.
    pub kb_table: u8,
    /// Key code.
    pub kb_index: u8,
    /// Key symbol: type in the high byte, value in the low byte.
    pub kb_value: u16,
}

const _: () = assert!(size_of::<VtMode>() == 8);
const _: () = assert!(size_of::<VtStat>() == 6);
const _: () = assert!(size_of::<KbEntry>() == 4);
