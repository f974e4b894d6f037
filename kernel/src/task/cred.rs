//! User and group ids, and capabilities. A `Cred` is never changed: setting an id makes a new one.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// A user id.
pub type Uid = u32;
/// A group id.
pub type Gid = u32;

/// The capabilities of `capabilities(7)` that anything here asks for; the values are bit numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[expect(
    non_camel_case_types,
    clippy::upper_case_acronyms,
    reason = "Linux's names, less their prefix"
)]
#[allow(missing_docs, reason = "the names are those of capabilities(7)")]
pub enum Cap {
    CHOWN = 0,
    DAC_OVERRIDE = 1,
    DAC_READ_SEARCH = 2,
    FOWNER = 3,
    FSETID = 4,
    KILL = 5,
    SETGID = 6,
    SETUID = 7,
    SETPCAP = 8,
    LINUX_IMMUTABLE = 9,
    NET_BIND_SERVICE = 10,
    NET_BROADCAST = 11,
    NET_ADMIN = 12,
    NET_RAW = 13,
    IPC_LOCK = 14,
    IPC_OWNER = 15,
    SYS_RAWIO = 17,
    SYS_CHROOT = 18,
    SYS_PTRACE = 19,
    SYS_ADMIN = 21,
    SYS_BOOT = 22,
    SYS_NICE = 23,
    SYS_RESOURCE = 24,
    SYS_TIME = 25,
    SYS_TTY_CONFIG = 26,
    MKNOD = 27,
    LEASE = 28,
    SETFCAP = 31,
    MAC_OVERRIDE = 32,
    SYSLOG = 34,
    WAKE_ALARM = 35,
    CHECKPOINT_RESTORE = 40,
}

/// The number of the last capability that Linux has: CHECKPOINT_RESTORE.
pub const CAP_LAST: u8 = 40;

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CapSet(pub u64);

impl CapSet {
    /// None.
    pub const EMPTY: CapSet = CapSet(0);
    /// All there are.
    pub const FULL: CapSet = CapSet((1 << (CAP_LAST + 1)) - 1);
    /// Those that override file permissions, which follow the file system uid.
    pub const FS: CapSet = CapSet(
        1 << Cap::CHOWN as u8
            | 1 << Cap::DAC_OVERRIDE as u8
            | 1 << Cap::DAC_READ_SEARCH as u8
            | 1 << Cap::FOWNER as u8
            | 1 << Cap::FSETID as u8
            | 1 << Cap::MKNOD as u8
            | 1 << Cap::LINUX_IMMUTABLE as u8
            | 1 << Cap::MAC_OVERRIDE as u8,
    );

    /// Whether the capability is in the set.
    #[inline]
    pub fn has(self, cap: Cap) -> bool {
        self.0 & 1 << cap as u8 != 0
    }

    /// Whether every member is in `other` too.
    pub fn is_subset_of(self, other: CapSet) -> bool {
        self.0 & !other.0 == 0
    }
}

/// The securebits of `capabilities(7)`.
pub mod securebits {
    /// Uid 0 gives no capabilities.
    pub const NOROOT: u32 = 1 << 0;
    /// Changing uids does not change capabilities.
    pub const NO_SETUID_FIXUP: u32 = 1 << 2;
    /// Permitted capabilities survive leaving uid 0.
    pub const KEEP_CAPS: u32 = 1 << 4;
    /// Ambient capabilities may not be raised.
    pub const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
}

/// An identity: who acts, and what it may.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(
    missing_docs,
    reason = "the fields are credentials(7)'s and capabilities(7)'s"
)]
pub struct Cred {
    pub uid: Uid,
    pub gid: Gid,
    pub euid: Uid,
    pub egid: Gid,
    pub suid: Uid,
    pub sgid: Gid,
    pub fsuid: Uid,
    pub fsgid: Gid,
    /// Supplementary groups, sorted.
    pub groups: Arc<Vec<Gid>>,
    pub effective: CapSet,
    pub permitted: CapSet,
    pub inheritable: CapSet,
    pub bounding: CapSet,
    pub ambient: CapSet,
    pub securebits: u32,
}

impl Cred {
    /// The super-user with everything.
    pub fn root() -> Cred {
        Cred {
            uid: 0,
            gid: 0,
            euid: 0,
            egid: 0,
            suid: 0,
            sgid: 0,
            fsuid: 0,
            fsgid: 0,
            groups: Arc::new(Vec::new()),
            effective: CapSet::FULL,
            permitted: CapSet::FULL,
            inheritable: CapSet::EMPTY,
            bounding: CapSet::FULL,
            ambient: CapSet::EMPTY,
            securebits: 0,
        }
    }

    /// Whether the capability is effective.
    #[inline]
    pub fn capable(&self, cap: Cap) -> bool {
        self.effective.has(cap)
    }

    /// What a change of user ids does to capabilities; `old` is the identity before it.
    pub fn fix_caps_after_setuid(&mut self, old: &Cred) {
        if self.securebits & securebits::NO_SETUID_FIXUP != 0 {
            return;
        }
        let was_root = [old.uid, old.euid, old.suid].contains(&0);
        let is_root = [self.uid, self.euid, self.suid].contains(&0);
        if was_root && !is_root {
            if self.securebits & securebits::KEEP_CAPS == 0 {
                self.permitted = CapSet::EMPTY;
                self.effective = CapSet::EMPTY;
            }
            self.ambient = CapSet::EMPTY;
        }
        if old.euid == 0 && self.euid != 0 {
            self.effective = CapSet::EMPTY;
        }
        if old.euid != 0 && self.euid == 0 {
            self.effective = self.permitted;
        }
    }

    /// What a change of the file system uid alone does to capabilities.
    pub fn fix_caps_after_setfsuid(&mut self, old: &Cred) {
        if self.securebits & securebits::NO_SETUID_FIXUP != 0 {
            return;
        }
        if old.fsuid == 0 && self.fsuid != 0 {
            self.effective.0 &= !CapSet::FS.0;
        }
        if old.fsuid != 0 && self.fsuid == 0 {
            self.effective.0 |= self.permitted.0 & CapSet::FS.0;
        }
    }
}
