//! Who may do what with an object.

use abi::sysv::IPC_MODE;

/// Owner, creator and mode of an object, and the key it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perm {
    /// `IPC_PRIVATE` for none.
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    /// The nine bits of permissions, and above them what the kind of object keeps there.
    pub mode: u32,
}

impl Perm {
    /// Of a new object made by this user.
    pub const fn new(key: i32, uid: u32, gid: u32, mode: u32) -> Self {
        Self {
            key,
            uid,
            gid,
            cuid: uid,
            cgid: gid,
            mode: mode & IPC_MODE,
        }
    }

    /// Whether the user is the owner or the creator.
    #[inline]
    pub const fn is_owner(&self, euid: u32) -> bool {
        euid == self.uid || euid == self.cuid
    }

    /// Whether the mode grants what `wanted` asks for: the bits of all three classes count, as callers of the `*get`
    /// calls name any of them.
    #[inline]
    pub fn grants(&self, wanted: u32, euid: u32, in_group: impl Fn(u32) -> bool) -> bool {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let granted = if self.is_owner(euid) {
            self.mode >> 6
        } else if in_group(self.cgid) || in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        wanted & !granted & 7 == 0
    }

    /// A new owner and mode (`IPC_SET`).
    pub const fn set(&mut self, uid: u32, gid: u32, mode: u32) {
        self.uid = uid;
        self.gid = gid;
        self.mode = (self.mode & !IPC_MODE) | (mode & IPC_MODE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: fn(u32) -> bool = |_| false;

    #[test]
    fn one_class_decides() {
        let mut perm = Perm::new(1, 10, 20, 0o047);
        // The owner has no right, though others have all.
        assert!(!perm.grants(0o400, 10, NOBODY));
        assert!(perm.grants(0o444, 11, |gid| gid == 20));
        assert!(!perm.grants(0o222, 11, |gid| gid == 20));
        assert!(perm.grants(0o666, 11, NOBODY));
        perm.set(11, 21, 0o1600);
        assert_eq!(perm.mode, 0o600);
        assert!(perm.grants(0o600, 11, NOBODY) && perm.grants(0o600, 10, NOBODY));
        assert!(!perm.grants(0o004, 12, |gid| gid == 20));
        assert!(perm.grants(0, 12, NOBODY));
    }
}
