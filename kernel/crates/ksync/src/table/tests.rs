//! Tables on the host, where threads stand in for processors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::check::{LockClass, Sort};
use crate::slot::{SectionSlot, before_waiting};

/// Every thread is a processor.
struct Threads;

static SLOTS: Mutex<Vec<&'static SectionSlot>> = Mutex::new(Vec::new());

std::thread_local! {
    static SLOT: &'static SectionSlot = {
        let slot: &'static SectionSlot = Box::leak(Box::new(SectionSlot::new()));
        SLOTS.lock().unwrap().push(slot);
        slot
    };
}

// SAFETY: a slot of its own for each thread, and all are waited for.
unsafe impl Domain for Threads {
    fn slot() -> &'static SectionSlot {
        SLOT.with(|slot| *slot)
    }
    fn wait() {
        before_waiting();
        let slots = SLOTS.lock().unwrap().clone();
        slots.iter().for_each(|slot| slot.wait());
    }
    fn class() -> &'static LockClass {
        static CLASS: LockClass = LockClass::here(Sort::Spin);
        &CLASS
    }
}

type Table<T> = ReadTable<T, (), Threads>;

fn put(table: &Table<(u64, u64)>, key: u64, value: u64) -> Option<u64> {
    // Few hashes, so that chains are long.
    let entry = NewEntry::new(key % 32, (key, value));
    let mut guard = table.lock_for_one().unwrap();
    let old = guard.replace(entry, |old, new| old.0 == new.0);
    match old {
        Ok(old) => {
            drop(guard);
            Some(old.iter().next().unwrap().1)
        }
        Err(entry) => {
            guard.insert(entry);
            None
        }
    }
}

fn get(table: &Table<(u64, u64)>, key: u64) -> Option<u64> {
    let section = Section::enter();
    let found = table.find(&section, key % 32, |other| other.0 == key);
    found.map(|found| found.1)
}

fn take(table: &Table<(u64, u64)>, key: u64) -> Option<u64> {
    let old = table.lock().remove(key % 32, |other| other.0 == key);
    old.map(|old| old.iter().next().unwrap().1)
}

#[test]
fn values_come_are_replaced_and_go() {
    let table = Table::new(());
    assert_eq!(get(&table, 1), None);
    assert_eq!(take(&table, 1), None);
    for key in 0..1000 {
        assert_eq!(put(&table, key, key * 2), None);
    }
    for key in 0..1000 {
        assert_eq!(put(&table, key, key * 3), Some(key * 2));
    }
    for key in 0..1000 {
        assert_eq!(get(&table, key), Some(key * 3));
        assert_eq!(
            table.lock().find(key % 32, |o| o.0 == key),
            Some(&(key, key * 3))
        );
    }
    for key in (0..1000).step_by(2) {
        assert_eq!(take(&table, key), Some(key * 3));
    }
    for key in 0..1000 {
        let want = (key % 2 == 1).then_some(key * 3);
        assert_eq!(get(&table, key), want);
    }
}

#[test]
fn retain_takes_out_the_rest() {
    let table = Table::new(());
    assert!(table.lock().retain(|_| false).is_none());
    (0..100).for_each(|key| assert_eq!(put(&table, key, 0), None));
    let removed = table.lock().retain(|value| value.0 % 3 == 0).unwrap();
    assert_eq!(removed.iter().count(), 66);
    drop(removed);
    assert_eq!(get(&table, 3), Some(0));
    assert_eq!(get(&table, 4), None);
    let mut keys: Vec<u64> = table.lock().iter().map(|value| value.0).collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..100).step_by(3).collect::<Vec<_>>());
    assert_eq!(table.lock().len(), 34);
    assert_eq!(table.lock().take_all().unwrap().iter().count(), 34);
    assert!(table.lock().take_all().is_none() && table.lock().is_empty());
}

#[test]
fn values_are_dropped_once() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let table: Table<Counted> = ReadTable::new(());
    for hash in 0..50 {
        let entry = NewEntry::new(hash, Counted(drops.clone()));
        table.lock_for_one().unwrap().insert(entry);
    }
    drop(table.lock().remove(7, |_| true));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(table);
    assert_eq!(drops.load(Ordering::Relaxed), 50);
}

/// Readers see each key whole or not at all, and nothing that was freed, while values come and go and the table grows.
#[test]
fn readers_beside_writers() {
    struct Value {
        key: u64,
        alive: AtomicBool,
        twice: u64,
    }
    impl Drop for Value {
        fn drop(&mut self) {
            self.alive.store(false, Ordering::Relaxed);
        }
    }
    let table: Arc<Table<Value>> = Arc::new(ReadTable::new(()));
    let stop = Arc::new(AtomicBool::new(false));
    let found = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let (table, stop, found) = (table.clone(), stop.clone(), found.clone());
            std::thread::spawn(move || {
                let mut key = seed;
                while !stop.load(Ordering::Relaxed) {
                    key = (key * 7 + 3) % 211;
                    let section = Section::enter();
                    if let Some(value) = table.find(&section, key, |other| other.key == key) {
                        assert_eq!(value.twice, key * 2);
                        assert!(value.alive.load(Ordering::Relaxed));
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 0_u64.. {
        if round > 20_000 && found.load(Ordering::Relaxed) > 100 {
            break;
        }
        let key = round * 13 % 211;
        let entry = NewEntry::new(
            key,
            Value {
                key,
                alive: AtomicBool::new(true),
                twice: key * 2,
            },
        );
        let mut guard = table.lock_for_one().unwrap();
        let old = guard
            .replace(entry, |old, new| old.key == new.key)
            .map_err(|entry| guard.insert(entry));
        drop(guard);
        drop(old);
        let gone = round * 5 % 211;
        let old = table.lock().remove(gone, |other| other.key == gone);
        drop(old);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().unwrap();
    }
}
