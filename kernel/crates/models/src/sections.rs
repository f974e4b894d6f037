//! Something that is taken out of where readers find it without a lock, and freed after their sections, as
//! `ksync::ReadTable` does with an entry.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::explore;

macro_rules! model {
    ($sources:ident) => {
        use super::*;
        use crate::$sources::slot::{SectionSlot, before_waiting};

        struct World {
            slot: SectionSlot,
            /// Whether the entry hangs in its chain.
            linked: AtomicBool,
            /// The entry: false once it is freed. Loom sees to it that nobody reads it meanwhile.
            entry: UnsafeCell<bool>,
        }

        impl World {
            fn read(&self) {
                self.slot.enter();
                if self.linked.load(Ordering::Acquire) {
                    // SAFETY: what the model is about.
                    self.entry.with(|entry| assert!(unsafe { *entry }));
                }
                self.slot.leave();
            }

            fn remove(&self, waits: bool) {
                self.linked.store(false, Ordering::Release);
                before_waiting();
                if waits {
                    self.slot.wait();
                }
                // SAFETY: as above.
                self.entry.with_mut(|entry| unsafe { *entry = false });
            }
        }

        pub fn run(waits: bool) {
            explore(move || {
                let world = Arc::new(World {
                    slot: SectionSlot::default(),
                    linked: AtomicBool::new(true),
                    entry: UnsafeCell::new(true),
                });
                let reader = thread::spawn({
                    let world = world.clone();
                    move || (0..2).for_each(|_| world.read())
                });
                world.remove(waits);
                reader.join().unwrap();
            });
        }
    };
}

mod real {
    model!(real);
}
mod weak {
    model!(weak);
}

#[test]
fn an_entry_outlives_the_sections_that_found_it() {
    real::run(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_waiting_it_does_not() {
    real::run(false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_the_orders_it_does_not() {
    weak::run(true);
}
