//! The memory map and pipes: what is written is there, and nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::{Books, balanced, is_over};

const PAGE: usize = 4096;

fn map(len: usize) -> Result<usize, String> {
    let (prot, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new memory, anywhere.
    let addr = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
    match addr {
        libc::MAP_FAILED => Err(format!("mmap: {}", std::io::Error::last_os_error())),
        addr => Ok(addr as usize),
    }
}

fn unmap(addr: usize, len: usize) {
    // SAFETY: memory of the caller's that nobody uses any more.
    unsafe { libc::munmap(addr as *mut libc::c_void, len) };
}

fn word(addr: usize) -> &'static AtomicU64 {
    // SAFETY: an aligned address of a mapping that stays while this is used.
    unsafe { &*(addr as *const AtomicU64) }
}

/// Threads map, fill, protect, check and unmap.
pub fn maps() -> Books {
    const PAGES: usize = 16;
    let workers: Vec<_> = (1..=3_u64)
        .map(|number| {
            thread::spawn(move || -> Result<u64, String> {
                let mut rounds = 0;
                while !is_over() {
                    let addr = map(PAGES * PAGE)?;
                    for page in 0..PAGES {
                        let word = word(addr + page * PAGE);
                        if word.swap(number, Ordering::SeqCst) != 0 {
                            return Err("new memory is not zero".to_owned());
                        }
                    }
                    // SAFETY: memory of this round.
                    unsafe {
                        libc::mprotect(addr as *mut libc::c_void, 4 * PAGE, libc::PROT_READ);
                    }
                    unmap(addr + 8 * PAGE, PAGE);
                    for page in (0..PAGES).filter(|page| *page != 8) {
                        if word(addr + page * PAGE).load(Ordering::SeqCst) != number {
                            return Err("a page has another's contents".to_owned());
                        }
                    }
                    // The hole may be somebody else's by now.
                    unmap(addr, 8 * PAGE);
                    unmap(addr + 9 * PAGE, (PAGES - 9) * PAGE);
                    rounds += 1;
                }
                Ok(rounds)
            })
        })
        .collect();
    let mut total = 0;
    for worker in workers {
        total += worker.join().map_err(|_| "a thread panics".to_owned())??;
    }
    Ok(format!("{total} maps"))
}

/// A thread counts in a page while another forks: no count may go into a child's copy.
pub fn copies() -> Books {
    let addr = map(PAGE)?;
    let counter = thread::spawn(move || {
        let mut counted = 0;
        while !is_over() {
            word(addr).fetch_add(1, Ordering::SeqCst);
            counted += 1;
        }
        counted
    });
    while !is_over() {
        // SAFETY: the child makes system calls only.
        match unsafe { libc::fork() } {
            -1 => return Err("fork fails".to_owned()),
            0 => {
                let before = word(addr).load(Ordering::SeqCst);
                // SAFETY: takes no arguments.
                unsafe { libc::sched_yield() };
                let moved = word(addr).load(Ordering::SeqCst) != before;
                // SAFETY: ends the process without running anything of it.
                unsafe { libc::_exit(i32::from(moved)) }
            }
            pid => {
                let mut status = 0;
                // SAFETY: the status lives as long as the call.
                while unsafe { libc::waitpid(pid, &mut status, 0) } == -1 {}
                if status != 0 {
                    return Err("a child's copy moves".to_owned());
                }
            }
        }
    }
    let counted = counter.join().map_err(|_| "a thread panics".to_owned())?;
    balanced("counts", word(addr).load(Ordering::SeqCst), counted)
}

/// Writers and readers of one pipe.
pub fn pipes() -> Books {
    let mut fds = [0_i32; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err("no pipe".to_owned());
    }
    // SAFETY: just made, and nobody else owns them.
    let (reader, writer) = unsafe { (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1])) };
    let (reader, writer) = (Arc::new(reader), Arc::new(writer));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let writer = writer.clone();
            thread::spawn(move || -> (u64, u64) {
                let (mut bytes, mut sum) = (0, 0);
                let mut number = 1_u64;
                while !is_over() {
                    let record = [number as u8; 100];
                    let count = (&*writer).write(&record).unwrap_or(0) as u64;
                    bytes += count;
                    sum += count * (number & 0xff);
                    number += 1;
                }
                (bytes, sum)
            })
        })
        .collect();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let reader = reader.clone();
            thread::spawn(move || -> (u64, u64) {
                let (mut bytes, mut sum) = (0, 0);
                let mut buffer = [0_u8; 1500];
                loop {
                    match (&*reader).read(&mut buffer) {
                        Ok(0) => return (bytes, sum),
                        Ok(count) => {
                            let got = buffer.get(..count).unwrap_or_default();
                            bytes += count as u64;
                            sum += got.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                        }
                        Err(_) => {}
                    }
                }
            })
        })
        .collect();
    drop(writer);
    let total = |threads: Vec<thread::JoinHandle<(u64, u64)>>| -> Result<(u64, u64), String> {
        let mut sums = (0, 0);
        for thread in threads {
            let (bytes, sum) = thread.join().map_err(|_| "a thread panics".to_owned())?;
            sums = (sums.0 + bytes, sums.1 + sum);
        }
        Ok(sums)
    };
    let sent = total(writers)?;
    let got = total(readers)?;
    balanced("in the sum of bytes", got.1, sent.1)?;
    balanced("bytes", got.0, sent.0)
}
