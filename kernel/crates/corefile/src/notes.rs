//! The notes of a core file: what a debugger reads about threads, the program and its files.

use alloc::vec::Vec;

use crate::{NoMemory, put};

/// A thread's state and general registers, owner "CORE".
pub const NT_PRSTATUS: u32 = 1;
/// The legacy area of its floating-point state.
pub const NT_PRFPREG: u32 = 2;
/// The program.
pub const NT_PRPSINFO: u32 = 3;
/// The auxiliary vector.
pub const NT_AUXV: u32 = 6;
/// The mapped files.
pub const NT_FILE: u32 = 0x4649_4c45;
/// The signal's information.
pub const NT_SIGINFO: u32 = 0x5349_4749;
/// The whole extended state, owner "LINUX".
pub const NT_X86_XSTATE: u32 = 0x202;

/// Bytes of the longest `NT_FILE` that is written (Linux's MAX_FILE_NOTE_SIZE).
const MAX_FILE_NOTE: usize = 4 << 20;

/// Notes one after the other.
#[derive(Default)]
pub struct Notes {
    bytes: Vec<u8>,
}

impl Notes {
    /// Appends one.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn add(&mut self, owner: &str, kind: u32, contents: &[u8]) -> Result<(), NoMemory> {
        let words = [owner.len() as u32 + 1, contents.len() as u32, kind];
        for word in words {
            put(&mut self.bytes, &word.to_le_bytes())?;
        }
        put(&mut self.bytes, owner.as_bytes())?;
        put(&mut self.bytes, &[0])?;
        self.pad()?;
        put(&mut self.bytes, contents)?;
        self.pad()
    }

    fn pad(&mut self) -> Result<(), NoMemory> {
        let missing = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        put(&mut self.bytes, [0; 4].get(..missing).unwrap_or_default())
    }

    /// All of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The numbers by which processes are known.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ids {
    pub pid: i32,
    pub ppid: i32,
    pub pgrp: i32,
    pub sid: i32,
}

impl Ids {
    fn words(&self) -> [i32; 4] {
        [self.pid, self.ppid, self.pgrp, self.sid]
    }
}

/// `struct elf_prstatus`.
#[derive(Clone, Copy, Default, Debug)]
pub struct PrStatus {
    /// The signal that killed, its code and its error number.
    pub signal: [i32; 3],
    pub pending: u64,
    pub blocked: u64,
    pub ids: Ids,
    /// Nanoseconds: in user space, in the kernel, and both of the children that were waited for.
    pub times_ns: [u64; 4],
    /// `struct user_regs_struct`.
    pub registers: [u64; 27],
}

impl PrStatus {
    /// Bytes of the structure.
    pub const SIZE: usize = 336;

    /// As it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = Fields([0; Self::SIZE]);
        let [signo, code, errno] = self.signal;
        out.i32s(0, &[signo, code, errno]);
        out.i32s(12, &[signo & 0xffff]);
        out.u64s(16, &[self.pending, self.blocked]);
        out.i32s(32, &self.ids.words());
        for (index, ns) in self.times_ns.into_iter().enumerate() {
            let time = [ns / 1_000_000_000, ns % 1_000_000_000 / 1000];
            out.u64s(48 + 16 * index, &time);
        }
        out.u64s(112, &self.registers);
        // Floating-point registers are there too.
        out.i32s(328, &[1]);
        out.0
    }
}

/// `struct elf_prpsinfo`.
#[derive(Clone, Copy, Debug)]
pub struct PrPsInfo {
    pub state: u8,
    pub letter: u8,
    pub nice: i8,
    pub flags: u64,
    pub uid: u32,
    pub gid: u32,
    pub ids: Ids,
    /// The program's name, padded with zeros.
    pub name: [u8; 16],
    /// The beginning of its arguments, with spaces between them.
    pub arguments: [u8; 80],
}

impl PrPsInfo {
    /// Bytes of the structure.
    pub const SIZE: usize = 136;

    /// As it lies in a file.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = Fields([0; Self::SIZE]);
        let is_zombie = u8::from(self.letter == b'Z');
        out.bytes(0, &[self.state, self.letter, is_zombie, self.nice as u8]);
        out.u64s(8, &[self.flags]);
        out.i32s(16, &[self.uid as i32, self.gid as i32]);
        out.i32s(24, &self.ids.words());
        out.bytes(40, &self.name);
        out.bytes(56, &self.arguments);
        out.0
    }
}

/// A structure in the making.
struct Fields<const N: usize>([u8; N]);

impl<const N: usize> Fields<N> {
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn i32s(&mut self, at: usize, words: &[i32]) {
        for (index, word) in words.iter().enumerate() {
            self.bytes(at + 4 * index, &word.to_le_bytes());
        }
    }

    fn u64s(&mut self, at: usize, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.bytes(at + 8 * index, &word.to_le_bytes());
        }
    }
}

/// A mapped file's place.
pub struct MappedPlace<'a> {
    pub start: u64,
    pub end: u64,
    /// Pages.
    pub offset: u64,
    pub path: &'a [u8],
}

/// The contents of `NT_FILE`; `None` if there are too many or too long names.
///
/// # Errors
/// When there is no memory for it.
pub fn files(places: &[MappedPlace<'_>]) -> Result<Option<Vec<u8>>, NoMemory> {
    let mut out = Vec::new();
    let mut words = |words: &[u64]| {
        words
            .iter()
            .try_for_each(|word| put(&mut out, &word.to_le_bytes()))
    };
    words(&[places.len() as u64, 4096])?;
    for place in places {
        words(&[place.start, place.end, place.offset])?;
    }
    for place in places {
        put(&mut out, place.path)?;
        put(&mut out, &[0])?;
        if out.len() > MAX_FILE_NOTE {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_padded() {
        let mut notes = Notes::default();
        notes.add("CORE", 7, b"abc").unwrap();
        notes.add("LINUX", 8, b"").unwrap();
        let want = [
            &[5, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0][..],
            b"CORE\0\0\0\0abc\0",
            &[6, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0],
            b"LINUX\0\0\0",
        ];
        assert_eq!(notes.as_bytes(), want.concat());
    }

    #[test]
    fn registers_lie_where_debuggers_look() {
        let status = PrStatus {
            signal: [11, 1, 0],
            ids: Ids {
                pid: 5,
                ..Ids::default()
            },
            times_ns: [1_500_000_000, 0, 0, 0],
            registers: std::array::from_fn(|index| index as u64),
            ..PrStatus::default()
        };
        let bytes = status.to_bytes();
        assert_eq!(bytes[0..4], [11, 0, 0, 0]);
        assert_eq!(bytes[12..14], [11, 0]);
        assert_eq!(bytes[32], 5);
        assert_eq!(bytes[48], 1);
        assert_eq!(bytes[56..60], 500_000u32.to_le_bytes());
        assert_eq!(bytes[112 + 8 * 26], 26);
    }

    #[test]
    fn files_are_listed_with_their_names_behind() {
        let place = MappedPlace {
            start: 0x1000,
            end: 0x3000,
            offset: 2,
            path: b"/lib/x",
        };
        let bytes = files(&[place]).unwrap().unwrap();
        assert_eq!(bytes.len(), 8 * 5 + 7);
        assert_eq!(bytes[0], 1);
        assert_eq!(&bytes[40..], b"/lib/x\0");
    }
}
