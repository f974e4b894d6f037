//! Where things go in a space.

use super::AddressSpace;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use vm::VmFlags;

use crate::mm::addr::{USER_END, page_down, page_up};
use crate::mm::tunables::mmap_min_addr;

/// Room that Linux leaves for the stack at least, and at most.
const STACK_ROOM_MIN: usize = 128 << 20;
const STACK_ROOM_MAX: usize = USER_END / 6 * 5;
/// Room for the stack's own randomisation and its guard gap (Linux's `mmap_base`).
const STACK_SLACK: usize = (0x3f_ffff << 12) + vm::STACK_GUARD;

/// Ranges that exec lays down and `/proc/<pid>/{stat,cmdline,environ,auxv}` and `prctl(PR_SET_MM)` show.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExecInfo {
    pub start_code: usize,
    pub end_code: usize,
    pub start_data: usize,
    pub end_data: usize,
    pub start_brk: usize,
    pub start_stack: usize,
    pub arg_start: usize,
    pub arg_end: usize,
    pub env_start: usize,
    pub env_end: usize,
}

/// `PR_SET_MDWE`: memory that can be written is not executable, and does not become it.
pub const MDWE_REFUSE_EXEC_GAIN: u32 = 1;
/// Children and programs begin without.
pub const MDWE_NO_INHERIT: u32 = 2;

/// The places of a space.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Mappings without a place of their own go below this.
    pub mmap_base: usize,
    pub brk: usize,
    pub exec: ExecInfo,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            mmap_base: page_down(USER_END - STACK_ROOM_MIN - STACK_SLACK),
            brk: 0,
            exec: ExecInfo::default(),
        }
    }
}

impl AddressSpace {
    /// Chooses where mappings go: below a stack of at most `stack_limit` bytes, `random` bytes lower.
    pub fn set_layout(&self, stack_limit: u64, random: usize) {
        let room = usize::try_from(stack_limit).unwrap_or(usize::MAX);
        let room = room
            .saturating_add(STACK_SLACK)
            .clamp(STACK_ROOM_MIN, STACK_ROOM_MAX);
        let base = (USER_END - room).saturating_sub(random);
        self.map.write().layout.mmap_base = page_down(base).max(mmap_min_addr());
    }

    /// What exec laid down.
    pub fn exec_info(&self) -> ExecInfo {
        self.map.read().layout.exec
    }

    /// Exec's last word; `start_brk` becomes the break.
    pub fn set_exec_info(&self, info: ExecInfo) {
        let mut map = self.map.write();
        map.layout.exec = info;
        map.layout.brk = page_up(info.start_brk).unwrap_or(info.start_brk);
    }

    /// The break.
    pub fn current_brk(&self) -> usize {
        self.map.read().layout.brk
    }

    /// Whether anything is mapped at an address or above it.
    pub fn has_area_above(&self, addr: usize) -> bool {
        self.map.read().areas.find_from(addr).is_some()
    }

    /// The places and the break as `prctl(PR_SET_MM)` has them.
    pub fn replace_places(&self, info: ExecInfo, brk: usize) {
        let mut map = self.map.write();
        map.layout.exec = info;
        map.layout.brk = brk;
    }

    /// Whether `prctl(PR_SET_THP_DISABLE)` keeps huge pages out.
    pub fn refuses_huge(&self) -> bool {
        self.no_huge.load(Ordering::Relaxed)
    }

    /// See [`Self::refuses_huge`]; what is there stays.
    pub fn refuse_huge(&self, refuse: bool) {
        self.no_huge.store(refuse, Ordering::Relaxed);
    }

    /// What is refused about executable memory.
    pub fn mdwe(&self) -> u32 {
        self.mdwe.load(Ordering::Relaxed)
    }

    /// See [`Self::mdwe`].
    pub fn set_mdwe(&self, bits: u32) {
        self.mdwe.store(bits, Ordering::Relaxed);
    }

    /// Takes over from a space what its processes have said about all their memory.
    pub fn inherit_wishes(&self, from: &AddressSpace) {
        self.refuse_huge(from.refuses_huge());
        let mdwe = from.mdwe();
        self.set_mdwe(if mdwe & MDWE_NO_INHERIT != 0 { 0 } else { mdwe });
    }

    /// Whether memory with the rights `from` must not get the rights `to`; new memory comes from what it becomes.
    pub(super) fn denies_exec(&self, from: VmFlags, to: VmFlags) -> bool {
        self.mdwe() & MDWE_REFUSE_EXEC_GAIN != 0
            && to.contains(VmFlags::EXEC)
            && (to.contains(VmFlags::WRITE) || !from.contains(VmFlags::EXEC))
    }

    /// The auxiliary vector as the program got it: pairs of type and value.
    pub fn auxv(&self) -> Vec<u64> {
        self.map.read().auxv.clone()
    }

    /// Keeps the auxiliary vector for `/proc/<pid>/auxv`.
    pub fn set_auxv(&self, words: &[u64]) {
        let mut auxv = Vec::new();
        // Without memory the file is empty, and nothing else suffers.
        if auxv.try_reserve_exact(words.len()).is_ok() {
            auxv.extend_from_slice(words);
        }
        self.map.write().auxv = auxv;
    }
}
