//! Scripts that run each other, programs that run themselves, corrupt ones.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::sys::{self, call};
use crate::{Outcome, Place, ensure, expect, shell_answers};

const ELOOP: i32 = libc::ELOOP;

fn executable(path: &str, content: &[u8]) -> Outcome {
    let made = std::fs::write(path, content)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)));
    made.map_err(|error| format!("{path}: {error}"))
}

/// The error of an exec in a child, or 100 plus the status of what was run.
fn exec(path: &str) -> i32 {
    let status = sys::in_child(|| {
        let error = sys::exec(path);
        std::process::exit(-error as i32 & 0x7f)
    });
    status >> 8
}

/// Scripts whose interpreter is a script, and so on: a few levels work, more are ELOOP, as is one that is its own.
pub fn scripts() -> Outcome {
    let place = Place::new("size=4m")?;
    executable(&place.path("s0"), b"#!/bin/sh\nexit 0\n")?;
    for level in 1..=8 {
        let line = format!("#!{}\n", place.path(&format!("s{}", level - 1)));
        executable(&place.path(&format!("s{level}")), line.as_bytes())?;
    }
    let own = place.path("own");
    executable(&own, format!("#!{own}\n").as_bytes())?;
    for level in 0..=3 {
        expect(
            "a few levels",
            exec(&place.path(&format!("s{level}"))) as isize,
            0,
        )?;
    }
    for name in ["s6", "s8", "own"] {
        expect(name, exec(&place.path(name)) as isize, ELOOP as isize)?;
    }
    // A line of nothing, one without end, an interpreter that is no program.
    executable(&place.path("empty"), b"#!\n")?;
    executable(
        &place.path("long"),
        &[b"#!/".to_vec(), vec![b'x'; 5000]].concat(),
    )?;
    executable(&place.path("folder"), b"#!/tmp\n")?;
    let errors = ["empty", "long", "folder"].map(|name| exec(&place.path(name)));
    let right = [libc::ENOEXEC, libc::ENOEXEC, libc::EACCES];
    ensure(errors == right, || format!("{errors:?}, and not {right:?}"))
}

const TURNS: usize = 300;

/// A program that replaces itself by itself, three hundred times, with arguments that grow.
pub fn itself() -> Outcome {
    let status = sys::in_child(|| again(&TURNS.to_string()));
    expect("its end", status as isize, 0)
}

/// One turn of that.
pub fn again(left: &str) -> ! {
    let left: usize = left.parse().unwrap_or(0);
    if left == 0 {
        sys::exit(0);
    }
    let word = |text: String| std::ffi::CString::new(text).unwrap_or_default();
    let words = [
        word("hostile".to_owned()),
        word(format!("again={}", left - 1)),
        word("x".repeat((TURNS - left.min(TURNS)) * 100)),
    ];
    let mut arguments: Vec<usize> = words.iter().map(|word| word.as_ptr() as usize).collect();
    arguments.push(0);
    let none = [0_usize];
    let path = c"/proc/self/exe".as_ptr() as usize;
    call(
        libc::SYS_execve,
        &[path, arguments.as_ptr() as usize, none.as_ptr() as usize],
    );
    sys::exit(1)
}

/// A whole program: one segment, whose code ends with status 0.
fn good() -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let code = [0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]; // xor edi, edi; mov eax, 231; syscall
    let start = 64 + 2 * 56;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = |elf: &mut Vec<u8>, words: &[u64]| {
        words.iter().for_each(|word| elf.extend(word.to_le_bytes()));
    };
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, x86-64
    words(&mut elf, &[BASE + start, 64, 0]);
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
    let size = start + code.len() as u64;
    elf.extend([1, 0, 0, 0, 7, 0, 0, 0]); // loaded, with all rights
    words(&mut elf, &[0, BASE, BASE, size, size + 0x2000, 0x1000]);
    elf.extend([0x51, 0xe5, 0x74, 0x64, 6, 0, 0, 0]); // the stack's rights
    words(&mut elf, &[0, 0, 0, 0, 0, 16]);
    elf.extend(code);
    elf
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn mutate(random: &mut Random, elf: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(elf.len());
        match random.below(6) {
            0 => elf[at] ^= 1 << random.below(8),
            1 => elf[at] = random.next() as u8,
            2 => {
                let word = [
                    0,
                    u64::MAX,
                    1 << 63,
                    0x7fff_ffff_f000,
                    0xffff_8000_0000_0000,
                    0xfff,
                ][random.below(6)];
                let at = at & !7;
                let room = elf.len().min(at + 8) - at;
                elf[at..at + room].copy_from_slice(&word.to_le_bytes()[..room]);
            }
            3 => elf.truncate(at.max(1)),
            4 => elf.extend([0xcc; 64]),
            _ => {
                // A kind of segment: interpreter, dynamic, thread-local, stack and others.
                let header = 64 + 56 * random.below(2);
                let kind = [0_u32, 2, 3, 4, 6, 7, 0x6474_e551, 0x6474_e553][random.below(8)];
                if elf.len() >= header + 4 {
                    elf[header..header + 4].copy_from_slice(&kind.to_le_bytes());
                }
            }
        }
    }
}

/// A thousand corruptions of a good program. Each is refused, dies, or runs; the kernel goes on.
pub fn corrupt() -> Outcome {
    const COUNT: u64 = 1000;
    let place = Place::new("size=4m")?;
    let path = place.path("program");
    executable(&path, &good())?;
    expect("the good one", exec(&path) as isize, 0)?;
    let mut ends = [0; 3];
    for seed in 0..COUNT {
        let mut random = Random(seed);
        let mut elf = good();
        mutate(&mut random, &mut elf);
        // Anew each time: the last one may still be running.
        let _ = std::fs::remove_file(&path);
        executable(&path, &elf)?;
        let pid = sys::child(|| {
            sys::limit(libc::RLIMIT_AS as i32, 64 << 20, 64 << 20);
            sys::limit(libc::RLIMIT_CORE as i32, 0, 0);
            -sys::exec(&path) as i32 & 0x7f
        });
        let status = end_of(pid)?;
        match status {
            0 => ends[0] += 1,
            status if status & 0x7f == 0 => ends[1] += 1,
            _ => ends[2] += 1,
        }
    }
    // Some of each: or nothing was tried.
    ensure(ends.iter().all(|&count| count > 0), || {
        format!("{ends:?} ran, were refused, died")
    })?;
    shell_answers()
}

/// Waits for a program that may never end by itself.
fn end_of(pid: isize) -> Result<i32, String> {
    let until = Instant::now() + Duration::from_millis(300);
    loop {
        let mut status = 0_i32;
        let place = &raw mut status as usize;
        let options = libc::WNOHANG as usize;
        let answer = call(libc::SYS_wait4, &[pid as usize, place, options, 0]);
        if answer == pid {
            return Ok(std::hint::black_box(status));
        }
        if answer < 0 {
            return Err(format!("wait4: {answer}"));
        }
        if Instant::now() > until {
            sys::kill(pid, libc::SIGKILL);
            return Ok(sys::wait(pid));
        }
        call(libc::SYS_sched_yield, &[]);
    }
}
