//! A last-level page table with one page that two spaces share after a fork, as `mm::space::tables` has it: `unshare` and
//! the end of a space at the same time. The counts are the frames' own.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::explore;

macro_rules! model {
    ($sources:ident) => {
        use super::*;
        use crate::$sources::meta::{FrameMeta, Kind};

        /// A table and the page that its one entry maps.
        pub struct World {
            table: FrameMeta,
            page: FrameMeta,
            /// The table's lock: loom's own, as it cannot know that a spinning one makes progress.
            lock: Mutex<()>,
            /// What is in the page.
            content: UnsafeCell<u32>,
            tables_freed: AtomicU32,
            pages_freed: AtomicU32,
        }

        /// Where a space's directory leads.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Entry {
            /// To the shared table, without the right to write.
            Shared,
            /// To the shared table, which is this space's alone now.
            Own,
            /// To a copy.
            Copy,
        }

        impl World {
            /// After the fork: the table has two owners, the page one, the table.
            pub fn new() -> Arc<World> {
                let frame = |kind| {
                    let meta = FrameMeta::default();
                    meta.start(kind);
                    meta
                };
                let world = World {
                    table: frame(Kind::Table),
                    page: frame(Kind::Anon),
                    lock: Mutex::new(()),
                    content: UnsafeCell::new(0),
                    tables_freed: AtomicU32::new(0),
                    pages_freed: AtomicU32::new(0),
                };
                world.table.get();
                Arc::new(world)
            }

            /// `AddressSpace::unshare`.
            pub fn unshare(&self) -> Entry {
                if self.table.owners() == 1 {
                    return Entry::Own;
                }
                let locked = self.lock.lock().unwrap();
                let alone = self.table.owners() == 1;
                if !alone {
                    // `copy_table`: the copy is one more owner of the page.
                    self.page.get();
                }
                drop(locked);
                if alone {
                    return Entry::Own;
                }
                self.put_table();
                Entry::Copy
            }

            fn put_table(&self) {
                if self.table.put() {
                    self.tables_freed.fetch_add(1, Ordering::Relaxed);
                    self.put_page();
                }
            }

            fn put_page(&self) {
                if self.page.put() {
                    self.pages_freed.fetch_add(1, Ordering::Relaxed);
                }
            }

            /// A program reads the page through a table that is not writable.
            pub fn read(&self) {
                // SAFETY: loom fails the model if somebody writes meanwhile; nobody keeps the pointer.
                self.content.with(|content| unsafe { *content });
            }

            /// A write fault: into the page itself if nobody else has it, into a copy otherwise.
            pub fn write(&self) {
                if self.page.owners() == 1 {
                    // SAFETY: as for `read`.
                    self.content.with_mut(|content| unsafe { *content += 1 });
                }
            }

            /// The end of a space.
            pub fn exit(&self, entry: Entry) {
                match entry {
                    Entry::Shared | Entry::Own => self.put_table(),
                    Entry::Copy => self.put_page(),
                }
            }

            pub fn freed(&self) -> (u32, u32) {
                (
                    self.tables_freed.load(Ordering::Relaxed),
                    self.pages_freed.load(Ordering::Relaxed),
                )
            }
        }

        /// One space writes, the other reads and ends.
        pub fn write_against_exit() {
            explore(|| {
                let world = World::new();
                let reader = {
                    let world = world.clone();
                    thread::spawn(move || {
                        world.read();
                        world.exit(Entry::Shared);
                    })
                };
                let entry = world.unshare();
                world.write();
                reader.join().unwrap();
                world.exit(entry);
                assert_eq!(world.freed(), (1, 1), "each is freed once");
            });
        }

        /// Both write, and end.
        pub fn write_against_write() {
            explore(|| {
                let world = World::new();
                let work = |world: &World| {
                    let entry = world.unshare();
                    world.write();
                    world.exit(entry);
                };
                let other = {
                    let world = world.clone();
                    thread::spawn(move || work(&world))
                };
                work(&world);
                other.join().unwrap();
                assert_eq!(world.freed(), (1, 1), "each is freed once");
            });
        }
    };
}

mod right {
    model!(real);
}

mod weakened {
    model!(weak);
}

#[test]
fn who_writes_a_shared_table_disturbs_nobody_who_reads_it() {
    right::write_against_exit();
}

#[test]
fn two_who_write_get_a_table_each() {
    right::write_against_write();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_is_disturbed_if_the_counts_order_nothing() {
    weakened::write_against_exit();
}

#[test]
#[should_panic(expected = "Causality violation")]
fn so_are_two_writers() {
    weakened::write_against_write();
}
