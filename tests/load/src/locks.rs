//! Mutexes and condition variables under contention.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::{Books, balanced, is_over};

const THREADS: u64 = 4;

/// A number that is only changed by steps that would lose one if two were at it.
struct Fragile(std::cell::UnsafeCell<u64>);

// SAFETY: whoever calls `bump` holds the lock under test.
unsafe impl Sync for Fragile {}

impl Fragile {
    fn new() -> Fragile {
        Fragile(std::cell::UnsafeCell::new(0))
    }

    /// Reads, lets others run now and then, and writes one more.
    fn bump(&self) {
        // SAFETY: the lock under test is held; volatile, so that the steps are taken one by one.
        let value = unsafe { self.0.get().read_volatile() };
        if value.is_multiple_of(97) {
            thread::yield_now();
        }
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(value + 1) };
    }

    fn get(&self) -> u64 {
        // SAFETY: nobody is left to change it.
        unsafe { self.0.get().read_volatile() }
    }
}

/// Runs `step` in several threads until the time is over; answers how often it was run.
fn repeat(step: impl Fn() + Send + Sync + 'static) -> Result<u64, String> {
    let step = Arc::new(step);
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let step = step.clone();
            thread::spawn(move || {
                let mut done = 0;
                while !is_over() {
                    step();
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        total += worker.join().map_err(|_| "a thread panics".to_owned())?;
    }
    Ok(total)
}

/// The language's mutex, which is a futex.
pub fn mutex() -> Books {
    let shared = Arc::new((Mutex::new(()), Fragile::new()));
    let books = shared.clone();
    let done = repeat(move || {
        let _held = shared.0.lock();
        shared.1.bump();
    })?;
    balanced("sections", books.1.get(), done)
}

fn futex(word: &AtomicU32, operation: i32) -> i64 {
    // SAFETY: a word that lives as long as the call.
    unsafe { libc::syscall(libc::SYS_futex, word, operation | 128, 0, 0, 0, 0) }
}

/// A lock whose owner inherits the priority of its waiters.
pub fn pi_mutex() -> Books {
    let shared = Arc::new((AtomicU32::new(0), Fragile::new(), AtomicU64::new(0)));
    let books = shared.clone();
    let done = repeat(move || {
        // SAFETY: takes no arguments.
        let me = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        let (word, value, refused) = &*shared;
        let free = word.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst);
        if free.is_err() && futex(word, libc::FUTEX_LOCK_PI) != 0 {
            refused.fetch_add(1, Ordering::SeqCst);
            return;
        }
        value.bump();
        let alone = word.compare_exchange(me, 0, Ordering::SeqCst, Ordering::SeqCst);
        if alone.is_err() && futex(word, libc::FUTEX_UNLOCK_PI) != 0 {
            refused.fetch_add(1, Ordering::SeqCst);
        }
    })?;
    balanced("refusals", books.2.load(Ordering::SeqCst), 0)?;
    balanced("sections", books.1.get(), done)
}

/// Takers wait for what givers put in, one by one.
pub fn condition() -> Books {
    let shared = Arc::new((Mutex::new(0_u64), Condvar::new()));
    let taken = Arc::new(AtomicU64::new(0));
    let takers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (shared, taken) = (shared.clone(), taken.clone());
            thread::spawn(move || {
                loop {
                    let Ok(stock) = shared.0.lock() else { return };
                    let Ok(mut stock) = shared.1.wait_while(stock, |stock| *stock == 0) else {
                        return;
                    };
                    if *stock == u64::MAX {
                        return;
                    }
                    *stock -= 1;
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut given = 0;
    while !is_over() {
        for _ in 0..8 {
            *shared.0.lock().map_err(|_| "poisoned")? += 1;
            shared.1.notify_one();
            given += 1;
        }
        // A taker that was not woken would leave this waiting for ever.
        while *shared.0.lock().map_err(|_| "poisoned")? > 0 {
            thread::yield_now();
        }
    }
    *shared.0.lock().map_err(|_| "poisoned")? = u64::MAX;
    shared.1.notify_all();
    for taker in takers {
        taker.join().map_err(|_| "a thread panics".to_owned())?;
    }
    balanced("things taken", taken.load(Ordering::SeqCst), given)
}

/// Two threads wake each other in turn by bare futexes: a lost wake-up ends the game.
pub fn ping_pong() -> Books {
    fn wait_for(word: &AtomicU32, value: u32) -> bool {
        loop {
            let now = word.load(Ordering::SeqCst);
            if now == value || now == u32::MAX {
                return now == value;
            }
            // SAFETY: a word that lives as long as the call.
            unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT | 128, now, 0, 0, 0) };
        }
    }
    fn pass(word: &AtomicU32, value: u32) {
        word.store(value, Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | 128, 1, 0, 0, 0) };
    }
    let word = Arc::new(AtomicU32::new(0));
    let other = {
        let word = word.clone();
        thread::spawn(move || {
            let mut rounds = 0;
            while wait_for(&word, 1) {
                rounds += 1;
                pass(&word, 0);
            }
            rounds
        })
    };
    let mut rounds = 0;
    while !is_over() {
        pass(&word, 1);
        if !wait_for(&word, 0) {
            return Err("the word is lost".to_owned());
        }
        rounds += 1;
    }
    pass(&word, u32::MAX);
    let answered = other.join().map_err(|_| "a thread panics".to_owned())?;
    balanced("rounds", answered, rounds)
}
