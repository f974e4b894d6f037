//! Reading without locks: sections, and who waits for them.

use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;

use crate::check::{Kind, LockClass};
use crate::slot::SectionSlot;

/// The readers of some structures: a slot for each CPU.
///
/// # Safety
/// `slot` is the slot of the CPU that the caller runs on, for as long as the caller does not block. `wait` returns after
/// every section that was under way when it was called has ended, and orders what came before it before that.
pub unsafe trait Domain {
    fn slot() -> &'static SectionSlot;
    fn wait();
    /// For the checks a section is a lock, and waiting for sections is taking it.
    fn class() -> &'static LockClass;
}

impl SectionSlot {
    /// Of a CPU that is in no section.
    pub const fn new() -> SectionSlot {
        SectionSlot(AtomicU32::new(0))
    }
}

#[inline(always)]
fn address(class: &'static LockClass) -> *const () {
    core::ptr::from_ref(class).cast()
}

/// Waits for every section of the domain that is under way.
pub(crate) fn wait_for_sections<D: Domain>() {
    let class = D::class();
    let attempt = class.before(address(class), Kind::Spinning);
    D::wait();
    class.acquired(address(class), Kind::Spinning, attempt, false);
    class.released(address(class), Kind::Spinning);
}

/// While it lives, nothing that its domain's structures lead to is freed. In it one may not block, take a lock under
/// which someone waits for sections, or enter another section of the domain.
#[derive(Debug)]
pub struct Section<D: Domain> {
    slot: &'static SectionSlot,
    /// Of this CPU: it may go nowhere else.
    _domain: PhantomData<*const D>,
}

impl<D: Domain> Section<D> {
    #[inline(always)]
    pub fn enter() -> Section<D> {
        let (slot, class) = (D::slot(), D::class());
        let attempt = class.before(address(class), Kind::Spinning);
        slot.enter();
        class.acquired(address(class), Kind::Spinning, attempt, false);
        Section {
            slot,
            _domain: PhantomData,
        }
    }
}

impl<D: Domain> Drop for Section<D> {
    #[inline(always)]
    fn drop(&mut self) {
        let class = D::class();
        class.released(address(class), Kind::Spinning);
        self.slot.leave();
    }
}
