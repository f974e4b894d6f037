//! Descriptors, reading and writing.

use std::io::IoSlice;

use super::{Case, Test, each};
use crate::fixture::{Fd, Folder, device, open};
use crate::problem::{Outcome, ensure, expect, good};
use crate::sys;

/// The size of the files that are read and written: more than a processor's inner caches hold.
const SIZE: usize = 8 << 20;
const BLOCK: usize = 4096;
const MIB: usize = 1 << 20;
/// What is read or written at a time from a file's start to its end, and how often.
const CHUNK: usize = 64 * 1024;
const PASS: u64 = (SIZE / CHUNK) as u64;

pub static TESTS: &[Test] = &[
    Test::new(
        "read_null",
        20_000,
        "read() of one byte from /dev/null, which has none",
        read_null,
    )
    .quick(),
    Test::new(
        "write_null",
        20_000,
        "write() of one byte to /dev/null",
        write_null,
    )
    .quick(),
    Test::new(
        "read_zero",
        5_000,
        "read() of 4 KiB from /dev/zero",
        read_zero,
    ),
    Test::new("fstat", 20_000, "fstat() of a file", fstat),
    Test::new("lseek", 20_000, "lseek() to another place", lseek),
    Test::new("dup_close", 10_000, "dup() and close()", dup_close),
    Test::new("fcntl_getfl", 20_000, "fcntl(F_GETFL)", fcntl_getfl),
    Test::new(
        "fcntl_lock",
        5_000,
        "fcntl(F_SETLK): locks one byte for writing and unlocks it",
        fcntl_lock,
    ),
    Test::new(
        "flock",
        5_000,
        "flock(): locks a file for itself and unlocks it",
        flock,
    ),
    Test::new(
        "pread",
        10_000,
        "pread() of 64 bytes in the middle of a file",
        pread,
    ),
    Test::new(
        "writev",
        5_000,
        "lseek() to a file's start and writev() of four pieces of 1 KiB",
        writev,
    ),
    Test::new(
        "getdents64",
        200,
        "getdents64() of a folder of 100 files, to the end, and lseek() to its start",
        getdents64,
    ),
    Test::new(
        "read_4k",
        5_000,
        "pread() of 4 KiB, going through a file of 8 MiB in memory",
        read_4k,
    ),
    Test::new(
        "read_1m",
        50,
        "pread() of 1 MiB, going through a file of 8 MiB in memory",
        read_1m,
    ),
    Test::new(
        "write_4k",
        5_000,
        "pwrite() of 4 KiB, going through a file of 8 MiB in memory",
        write_4k,
    ),
    Test::new(
        "seq_read",
        256,
        "read() of 64 KiB, through a file of 8 MiB in memory from start to end; an lseek() back is timed with it",
        seq_read,
    )
    .granule(PASS),
    Test::new(
        "seq_write",
        256,
        "write() of 64 KiB to the end of a file in memory, from none to 8 MiB; emptying it is timed with it",
        seq_write,
    )
    .granule(PASS),
    Test::new(
        "sendfile",
        200,
        "sendfile() of 64 KiB from a file to another's start, and lseek() back",
        sendfile,
    ),
];

fn read_null() -> Outcome<Box<dyn Case>> {
    let null = device(c"/dev/null", libc::O_RDONLY)?;
    let mut byte = [0];
    each(move || expect("read", sys::read(null.number(), &mut byte), 0))
}

fn write_null() -> Outcome<Box<dyn Case>> {
    let null = device(c"/dev/null", libc::O_WRONLY)?;
    each(move || expect("write", sys::write(null.number(), b"x"), 1))
}

fn read_zero() -> Outcome<Box<dyn Case>> {
    let zero = device(c"/dev/zero", libc::O_RDONLY)?;
    let mut page = [1; BLOCK];
    each(move || {
        page[BLOCK - 1] = 1;
        let count = sys::read(zero.number(), &mut page);
        expect("read", count, BLOCK as isize)?;
        ensure(page[BLOCK - 1] == 0, || "/dev/zero left no zero".to_owned())
    })
}

/// A file of a test's own, open.
struct Opened {
    fd: Fd,
    _folder: Folder,
}

impl Opened {
    /// A file whose bytes are their offset's 4 KiB block, cut off.
    fn new(size: usize) -> Outcome<Self> {
        let folder = Folder::new()?;
        let content: Vec<u8> = (0..size).map(|at| (at / BLOCK) as u8).collect();
        let path = folder.file("file", &content)?;
        Ok(Self {
            fd: open(&path, libc::O_RDWR, 0)?,
            _folder: folder,
        })
    }

    #[inline(always)]
    fn number(&self) -> i32 {
        self.fd.number()
    }
}

fn fstat() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    each(move || {
        let mut out: libc::stat = sys::blank();
        expect("fstat", sys::fstat(file.number(), &mut out), 0)?;
        ensure(out.st_size == 7, || format!("fstat: size {}", out.st_size))
    })
}

fn lseek() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    let mut at = 0;
    each(move || {
        at ^= 1000;
        let answer = sys::lseek(file.number(), at, libc::SEEK_SET);
        expect("lseek", answer, at as isize)
    })
}

fn dup_close() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    each(move || {
        let fd = good("dup", sys::dup(file.number()))?;
        expect("close", sys::close(fd as i32), 0)
    })
}

fn fcntl_getfl() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    let flags = good("fcntl", sys::fcntl(file.number(), libc::F_GETFL))?;
    let writable = flags as i32 & libc::O_ACCMODE == libc::O_RDWR;
    ensure(writable, || format!("F_GETFL: {flags:#o}"))?;
    each(move || expect("fcntl", sys::fcntl(file.number(), libc::F_GETFL), flags))
}

fn fcntl_lock() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    let mut lock: libc::flock = sys::blank();
    lock.l_len = 1;
    each(move || {
        for kind in [libc::F_WRLCK, libc::F_UNLCK] {
            lock.l_type = kind as i16;
            let answer = sys::fcntl_lock(file.number(), libc::F_SETLK, &lock);
            expect("fcntl", answer, 0)?;
        }
        Ok(())
    })
}

fn flock() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(7)?;
    each(move || {
        expect("flock", sys::flock(file.number(), libc::LOCK_EX), 0)?;
        expect("flock", sys::flock(file.number(), libc::LOCK_UN), 0)
    })
}

fn pread() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(2 * BLOCK)?;
    let mut bytes = [0; 64];
    each(move || {
        bytes[0] = 0;
        let count = sys::pread64(file.number(), &mut bytes, BLOCK as i64 + 100);
        expect("pread", count, 64)?;
        ensure(bytes[0] == 1, || "pread: wrong content".to_owned())
    })
}

fn writev() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(BLOCK)?;
    let piece = [9; 1024];
    each(move || {
        let pieces = [IoSlice::new(&piece); 4];
        expect("lseek", sys::lseek(file.number(), 0, libc::SEEK_SET), 0)?;
        expect("writev", sys::writev(file.number(), &pieces), 4096)
    })
}

fn getdents64() -> Outcome<Box<dyn Case>> {
    const FILES: usize = 100;
    let folder = Folder::new()?;
    for index in 0..FILES {
        folder.file(&format!("file{index}"), b"")?;
    }
    let fd = open(&folder.name(""), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let mut buffer = vec![0; 32 * 1024];
    each(move || {
        let _folder = &folder;
        let mut entries = 0;
        loop {
            let len = sys::getdents64(fd.number(), &mut buffer);
            match good("getdents64", len)? as usize {
                0 => break,
                len => entries += count_entries(&buffer[..len]),
            }
        }
        ensure(entries == FILES + 2, || format!("{entries} entries"))?;
        expect("lseek", sys::lseek(fd.number(), 0, libc::SEEK_SET), 0)
    })
}

/// How many records `getdents64` has written.
fn count_entries(mut records: &[u8]) -> usize {
    let mut count = 0;
    while let [
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        low,
        high,
        ..,
    ] = *records
    {
        let len = usize::from(u16::from_le_bytes([low, high]));
        records = records.get(len.max(1)..).unwrap_or_default();
        count += 1;
    }
    count
}

/// The places of blocks of a size in the file, in turn, for ever.
fn places(step: usize) -> impl Iterator<Item = usize> {
    (0..SIZE).step_by(step).cycle()
}

fn read_blocks(step: usize) -> Outcome<Box<dyn Case>> {
    let file = Opened::new(SIZE)?;
    let mut places = places(step);
    let mut buffer = vec![0; step];
    each(move || {
        let at = places.next().unwrap_or_default();
        let count = sys::pread64(file.number(), &mut buffer, at as i64);
        expect("pread", count, step as isize)?;
        let right = ((at + step - 1) / BLOCK) as u8;
        ensure(buffer[step - 1] == right, || {
            "pread: wrong content".to_owned()
        })
    })
}

fn read_4k() -> Outcome<Box<dyn Case>> {
    read_blocks(BLOCK)
}

fn read_1m() -> Outcome<Box<dyn Case>> {
    read_blocks(MIB)
}

fn write_4k() -> Outcome<Box<dyn Case>> {
    let file = Opened::new(SIZE)?;
    let mut places = places(BLOCK);
    let buffer = [5; BLOCK];
    each(move || {
        let at = places.next().unwrap_or_default();
        let count = sys::pwrite64(file.number(), &buffer, at as i64);
        expect("pwrite", count, BLOCK as isize)
    })
}

/// Passes through a file, an iteration a chunk.
struct Pass {
    file: Opened,
    buffer: Vec<u8>,
    /// One chunk, at this place of the file.
    step: fn(i32, &mut [u8], usize) -> Outcome,
    /// Back to the start.
    again: fn(i32) -> Outcome,
}

impl Case for Pass {
    fn run(&mut self, iterations: u64) -> Outcome {
        let fd = self.file.number();
        for _ in 0..iterations / PASS {
            (self.again)(fd)?;
            for chunk in 0..PASS as usize {
                (self.step)(fd, &mut self.buffer, chunk * CHUNK)?;
            }
        }
        Ok(())
    }

    fn verify(&mut self, _iterations: u64) -> Outcome {
        let fd = self.file.number();
        let at = sys::lseek(fd, 0, libc::SEEK_CUR);
        expect("lseek", at, SIZE as isize)?;
        let mut about: libc::stat = sys::blank();
        expect("fstat", sys::fstat(fd, &mut about), 0)?;
        expect("the file's size", about.st_size as isize, SIZE as isize)
    }
}

fn rewind(fd: i32) -> Outcome {
    expect("lseek", sys::lseek(fd, 0, libc::SEEK_SET), 0)
}

fn seq_read() -> Outcome<Box<dyn Case>> {
    Ok(Box::new(Pass {
        file: Opened::new(SIZE)?,
        buffer: vec![0; CHUNK],
        step: |fd, buffer, at| {
            expect("read", sys::read(fd, buffer), CHUNK as isize)?;
            let right = ((at + CHUNK - 1) / BLOCK) as u8;
            ensure(buffer[CHUNK - 1] == right, || {
                "read: wrong content".to_owned()
            })
        },
        again: rewind,
    }))
}

fn seq_write() -> Outcome<Box<dyn Case>> {
    Ok(Box::new(Pass {
        file: Opened::new(0)?,
        buffer: vec![5; CHUNK],
        step: |fd, buffer, _at| expect("write", sys::write(fd, buffer), CHUNK as isize),
        again: |fd| {
            expect("ftruncate", sys::ftruncate(fd, 0), 0)?;
            rewind(fd)
        },
    }))
}

fn sendfile() -> Outcome<Box<dyn Case>> {
    let from = Opened::new(SIZE)?;
    let folder = &from._folder;
    let to = open(&folder.file("copy", b"")?, libc::O_RDWR, 0)?;
    let mut places = places(CHUNK);
    each(move || {
        let mut at = places.next().unwrap_or_default() as i64;
        let count = sys::sendfile(to.number(), from.number(), &mut at, CHUNK);
        expect("sendfile", count, CHUNK as isize)?;
        expect("lseek", sys::lseek(to.number(), 0, libc::SEEK_SET), 0)
    })
}
