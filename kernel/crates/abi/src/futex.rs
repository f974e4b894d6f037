//! Futexes: operations, flags, and the robust list.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub const FUTEX_WAIT: u32 = 0;
pub const FUTEX_WAKE: u32 = 1;
pub const FUTEX_FD: u32 = 2;
pub const FUTEX_REQUEUE: u32 = 3;
pub const FUTEX_CMP_REQUEUE: u32 = 4;
pub const FUTEX_WAKE_OP: u32 = 5;
pub const FUTEX_LOCK_PI: u32 = 6;
pub const FUTEX_UNLOCK_PI: u32 = 7;
pub const FUTEX_TRYLOCK_PI: u32 = 8;
pub const FUTEX_WAIT_BITSET: u32 = 9;
pub const FUTEX_WAKE_BITSET: u32 = 10;
pub const FUTEX_WAIT_REQUEUE_PI: u32 = 11;
pub const FUTEX_CMP_REQUEUE_PI: u32 = 12;
pub const FUTEX_LOCK_PI2: u32 = 13;

pub const FUTEX_PRIVATE_FLAG: u32 = 128;
pub const FUTEX_CLOCK_REALTIME: u32 = 256;

pub const FUTEX_BITSET_MATCH_ANY: u32 = u32::MAX;

/// Flags of futex_waitv and its kin: the word has 32 bits, and the bits that may be set at all.
pub const FUTEX2_SIZE_U32: u32 = 2;
pub const FUTEX2_SIZE_MASK: u32 = 3;
pub const FUTEX2_VALID_MASK: u32 = FUTEX2_SIZE_MASK | FUTEX_PRIVATE_FLAG;
/// Words that futex_waitv waits for at most.
pub const FUTEX_WAITV_MAX: u32 = 128;

/// `struct futex_waitv`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FutexWaitv {
    /// What the word must be.
    pub val: u64,
    /// Where it is.
    pub uaddr: u64,
    /// `FUTEX2_*` and FUTEX_PRIVATE_FLAG.
    pub flags: u32,
    pub reserved: u32,
}

/// Bits of a robust mutex's word.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;

/// Entries of a robust list that the kernel walks at most: the list may be circular.
pub const ROBUST_LIST_LIMIT: usize = 2048;

/// `struct robust_list_head`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RobustListHead {
    /// The first entry; the head itself when the list is empty. Bit 0 marks a priority-inheriting mutex.
    pub list: u64,
    /// From an entry to its futex word.
    pub futex_offset: i64,
    /// The entry that is being locked or unlocked, which may not be in the list.
    pub list_op_pending: u64,
}

/// The comparison of FUTEX_WAKE_OP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// What FUTEX_WAKE_OP does to the second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Set,
    Add,
    Or,
    AndNot,
    Xor,
}

/// The decoded third value of FUTEX_WAKE_OP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    operation: Operation,
    argument: u32,
    compare: Compare,
    against: i32,
}

impl WakeOp {
    /// `None` (ENOSYS) for an operation or a comparison that does not exist.
    pub const fn decode(encoded: u32) -> Option<Self> {
        let mut argument = sign_extend_12(encoded >> 12) as u32;
        if encoded >> 31 != 0 {
            // FUTEX_OP_ARG_SHIFT; out-of-range shifts wrap, as on Linux.
            argument = 1 << (argument & 31);
        }
        let operation = match encoded >> 28 & 7 {
            0 => Operation::Set,
            1 => Operation::Add,
            2 => Operation::Or,
            3 => Operation::AndNot,
            4 => Operation::Xor,
            _ => return None,
        };
        let compare = match encoded >> 24 & 15 {
            0 => Compare::Eq,
            1 => Compare::Ne,
            2 => Compare::Lt,
            3 => Compare::Le,
            4 => Compare::Gt,
            5 => Compare::Ge,
            _ => return None,
        };
        Some(Self {
            operation,
            argument,
            compare,
            against: sign_extend_12(encoded),
        })
    }

    /// The word after the operation.
    pub const fn apply(self, old: u32) -> u32 {
        match self.operation {
            Operation::Set => self.argument,
            Operation::Add => old.wrapping_add(self.argument),
            Operation::Or => old | self.argument,
            Operation::AndNot => old & !self.argument,
            Operation::Xor => old ^ self.argument,
        }
    }

    /// Whether the word's old value lets the second set of waiters be woken.
    pub const fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.compare {
            Compare::Eq => old == self.against,
            Compare::Ne => old != self.against,
            Compare::Lt => old < self.against,
            Compare::Le => old <= self.against,
            Compare::Gt => old > self.against,
            Compare::Ge => old >= self.against,
        }
    }
}

const fn sign_extend_12(value: u32) -> i32 {
    ((value << 20) as i32) >> 20
}

const _: () = assert!(core::mem::size_of::<RobustListHead>() == 24);
const _: () = assert!(core::mem::size_of::<FutexWaitv>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(op: u32, cmp: u32, oparg: u32, cmparg: u32) -> u32 {
        op << 28 | cmp << 24 | (oparg & 0xfff) << 12 | cmparg & 0xfff
    }

    #[test]
    fn wake_op_applies_and_compares_with_sign() {
        let op = WakeOp::decode(encode(1, 2, 5, 0xfff)).unwrap();
        assert_eq!(op.apply(10), 15);
        assert!(op.holds(-2i32 as u32) && !op.holds(0));
        let shifted = WakeOp::decode(encode(8 | 2, 0, 4, 0)).unwrap();
        assert_eq!(shifted.apply(1), 0x11);
        assert_eq!(WakeOp::decode(encode(5, 0, 0, 0)), None);
        assert_eq!(WakeOp::decode(encode(0, 6, 0, 0)), None);
    }
}
