//! Core dumps: when there is one, where it goes, and what is in it.

pub mod content;
pub mod course;
pub mod place;

use crate::check::*;
use crate::sys::*;

/// A core file, read whole.
pub struct Core {
    bytes: Vec<u8>,
}

/// A piece of memory in a core file.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub flags: u32,
    pub offset: usize,
    pub addr: usize,
    pub file_len: usize,
    pub memory_len: usize,
}

pub const NT_PRSTATUS: u32 = 1;
pub const NT_PRFPREG: u32 = 2;
pub const NT_PRPSINFO: u32 = 3;
pub const NT_AUXV: u32 = 6;
pub const NT_FILE: u32 = 0x4649_4c45;
pub const NT_SIGINFO: u32 = 0x5349_4749;
pub const NT_X86_XSTATE: u32 = 0x202;

/// Where registers lie in NT_PRSTATUS.
pub const REGISTERS: usize = 112;
pub const R12: usize = 3;
pub const RIP: usize = 16;
pub const RSP: usize = 19;

impl Core {
    pub fn read(path: &str) -> Outcome<Core> {
        let core = Core {
            bytes: std::fs::read(path)?,
        };
        check(
            core.bytes.starts_with(b"\x7fELF\x02\x01\x01"),
            "no ELF file",
        )?;
        Ok(core)
    }

    /// The beginning of one that is too long to be read whole.
    pub fn read_head(path: &str, len: u64) -> Outcome<Core> {
        use std::io::Read;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(len)
            .read_to_end(&mut bytes)?;
        check(bytes.starts_with(b"\x7fELF\x02\x01\x01"), "no ELF file")?;
        Ok(Core { bytes })
    }

    pub fn half(&self, at: usize) -> u16 {
        self.word(at) as u16
    }

    pub fn int(&self, at: usize) -> u32 {
        self.word(at) as u32
    }

    pub fn word(&self, at: usize) -> usize {
        word_at(&self.bytes, at)
    }

    /// The program headers of one type.
    fn headers(&self, kind: u32) -> Vec<Load> {
        let (start, count) = (self.word(32), usize::from(self.half(56)));
        (0..count)
            .map(|index| start + 56 * index)
            .filter(|at| self.int(*at) == kind)
            .map(|at| Load {
                flags: self.int(at + 4),
                offset: self.word(at + 8),
                addr: self.word(at + 16),
                file_len: self.word(at + 32),
                memory_len: self.word(at + 40),
            })
            .collect()
    }

    pub fn loads(&self) -> Vec<Load> {
        self.headers(1)
    }

    /// The piece that an address lies in.
    pub fn load_of(&self, addr: usize) -> Outcome<Load> {
        let loads = self.loads();
        let found = loads
            .iter()
            .find(|load| (load.addr..load.addr + load.memory_len).contains(&addr));
        some(found.copied(), "the address is in no piece")
    }

    /// Bytes of memory, if they are in the file.
    pub fn memory(&self, addr: usize, len: usize) -> Outcome<&[u8]> {
        let load = self.load_of(addr)?;
        let start = load.offset + addr - load.addr;
        let inside = addr + len <= load.addr + load.file_len;
        some(
            self.bytes.get(start..start + len).filter(|_| inside),
            "the memory is not in the file",
        )
    }

    /// Every note: its type and its contents.
    pub fn notes(&self) -> Vec<(u32, &[u8])> {
        let mut all = Vec::new();
        for header in self.headers(4) {
            let mut at = header.offset;
            let end = at + header.file_len;
            while at + 12 <= end {
                let (name, len) = (self.int(at) as usize, self.int(at + 4) as usize);
                let start = at + 12 + name.next_multiple_of(4);
                let contents = self.bytes.get(start..start + len).unwrap_or_default();
                all.push((self.int(at + 8), contents));
                at = start + len.next_multiple_of(4);
            }
        }
        all
    }

    /// The first note of a type.
    pub fn note(&self, kind: u32) -> Outcome<&[u8]> {
        let notes = self.notes();
        let found = notes.iter().find(|(its, _)| *its == kind);
        some(
            found.map(|(_, contents)| *contents),
            "there is no such note",
        )
    }

    /// A register of the thread that died.
    pub fn register(&self, index: usize) -> Outcome<usize> {
        Ok(word_at(self.note(NT_PRSTATUS)?, REGISTERS + 8 * index))
    }
}

pub fn word_at(bytes: &[u8], at: usize) -> usize {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    usize::from_le_bytes(word.unwrap_or([0; 8]))
}

pub fn int_at(bytes: &[u8], at: usize) -> i32 {
    word_at(bytes, at) as i32
}

pub fn limit_core(bytes: u64) -> Sys {
    sys!(SYS_setrlimit, libc::RLIMIT_CORE, &[bytes, u64::MAX])
}

/// Lets the caller be dumped, also by the signal that a shell may have set to be ignored.
pub fn be_dumpable() -> Sys<()> {
    handle(libc::SIGQUIT, libc::SIG_DFL, 0, &[])?;
    limit_core(u64::MAX)?;
    Ok(())
}

/// The wait status of a process that may be dumped and runs this body.
pub fn status_of(body: impl FnOnce()) -> Sys<i32> {
    let pid = fork(|| {
        if be_dumpable().is_ok() {
            body();
        }
        0
    })?;
    wait(pid)
}

/// The dump of a process that runs this body, in the file `core`.
pub fn dump_of(body: impl FnOnce()) -> Outcome<Core> {
    let status = status_of(body)?;
    check(libc::WIFSIGNALED(status), "the process does not die")?;
    check(libc::WCOREDUMP(status), "no dump is told of")?;
    Core::read("core")
}

pub fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Dies of an instruction that does not exist, with this value in r12.
#[inline(never)]
pub fn die_with(r12: usize) -> ! {
    // SAFETY: ends the process.
    unsafe { std::arch::asm!("ud2", in("r12") r12, options(noreturn)) }
}

/// Sets files below `/proc/sys` for as long as `body` runs.
pub fn with_settings(settings: &[(&str, &str)], body: impl FnOnce() -> Outcome) -> Outcome {
    let path = |name: &str| format!("/proc/sys/{name}");
    let mut before = Vec::new();
    for (name, value) in settings {
        before.push((*name, text_of(&path(name))?));
        std::fs::write(path(name), value)?;
    }
    let outcome = within(body);
    for (name, value) in before {
        std::fs::write(path(name), value)?;
    }
    outcome
}

pub fn cwd() -> Outcome<String> {
    Ok(std::env::current_dir()?.to_string_lossy().into_owned())
}
