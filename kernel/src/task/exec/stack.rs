//! What a program finds on its stack (System V ABI for x86-64, section 3.4.1; the order of strings is Linux's).

use alloc::vec::Vec;

use abi::{Errno, Result};

use super::image::Image;
use super::program::Program;
use crate::arch;
use crate::device::random;
use crate::mm::user::copy_out;
use crate::sync::CurrentTask;
use crate::task::Cred;

const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_BASE: u64 = 7;
const AT_FLAGS: u64 = 8;
const AT_ENTRY: u64 = 9;
const AT_UID: u64 = 11;
const AT_EUID: u64 = 12;
const AT_GID: u64 = 13;
const AT_EGID: u64 = 14;
const AT_PLATFORM: u64 = 15;
const AT_HWCAP: u64 = 16;
const AT_CLKTCK: u64 = 17;
const AT_SECURE: u64 = 23;
const AT_RANDOM: u64 = 25;
const AT_HWCAP2: u64 = 26;
const AT_RSEQ_FEATURE_SIZE: u64 = 27;
const AT_RSEQ_ALIGN: u64 = 28;
const AT_EXECFN: u64 = 31;
const AT_SYSINFO_EHDR: u64 = 33;
const AT_MINSIGSTKSZ: u64 = 51;

const PLATFORM: &[u8] = b"x86_64\0";

/// Writes it all at once and returns the stack pointer. The address space must be the current one.
///
/// # Errors
/// `EFAULT` or `E2BIG` when it does not fit the stack.
pub(super) fn lay_out(
    me: &CurrentTask,
    program: &Program,
    image: &Image,
    is_secure: bool,
) -> Result<usize> {
    let mut cursor = Cursor {
        top: image.stack_top - size_of::<u64>(),
        bytes: Vec::new(),
    };
    let name = cursor.string(&program.name);
    let envp = cursor.block(program.envp.bytes());
    let argv = cursor.block(program.argv.bytes());
    let platform = cursor.block(PLATFORM);
    let mut seed = [0; 16];
    random::fill(&mut seed);
    let random = cursor.block(&seed);
    let cred = me.cred();
    let aux = auxiliary(image, program, (&cred, is_secure), [random, name, platform]);

    let words = 1 + program.argv.count() + 1 + program.envp.count() + 1 + aux.len();
    let strings_start = cursor.top & !15;
    let sp = (strings_start - words * size_of::<u64>()) & !15;
    let mut block: Vec<u8> = Vec::new();
    let total = image.stack_top - sp;
    block.try_reserve_exact(total).map_err(|_| Errno::ENOMEM)?;
    let mut push = |word: u64| block.extend_from_slice(&word.to_le_bytes());
    push(program.argv.count() as u64);
    program
        .argv
        .offsets()
        .for_each(|offset| push((argv + offset) as u64));
    push(0);
    program
        .envp
        .offsets()
        .for_each(|offset| push((envp + offset) as u64));
    push(0);
    aux.iter().for_each(|word| push(*word));
    block.resize(cursor.top - sp, 0);
    cursor.append_to(&mut block);
    block.resize(total, 0);
    copy_out(sp, &block)?;

    let mut info = image.space.exec_info();
    info.start_stack = sp;
    info.arg_start = argv;
    info.arg_end = argv + program.argv.bytes().len();
    info.env_start = envp;
    info.env_end = envp + program.envp.bytes().len();
    image.space.set_exec_info(info);
    image.space.set_auxv(&aux);
    Ok(sp)
}

/// Blocks laid down from the top of the stack, each below the one before.
struct Cursor {
    top: usize,
    /// The blocks in the order of their laying, each to be written at its place.
    bytes: Vec<(usize, Vec<u8>)>,
}

impl Cursor {
    fn block(&mut self, bytes: &[u8]) -> usize {
        self.top -= bytes.len();
        self.bytes.push((self.top, bytes.to_vec()));
        self.top
    }

    fn string(&mut self, bytes: &[u8]) -> usize {
        let mut with_nul = bytes.to_vec();
        with_nul.push(0);
        self.block(&with_nul)
    }

    fn append_to(&self, block: &mut Vec<u8>) {
        for (_, bytes) in self.bytes.iter().rev() {
            block.extend_from_slice(bytes);
        }
    }
}

fn auxiliary(
    image: &Image,
    program: &Program,
    (cred, is_secure): (&Cred, bool),
    [random, name, platform]: [usize; 3],
) -> Vec<u64> {
    let header = &program.plan.header;
    let pairs = [
        (AT_SYSINFO_EHDR, image.vdso as u64),
        (AT_MINSIGSTKSZ, arch::fpu::min_signal_stack() as u64),
        (AT_HWCAP, arch::features::hwcap()),
        (AT_PAGESZ, crate::mm::PAGE_SIZE as u64),
        (AT_CLKTCK, 100),
        (AT_PHDR, image.phdrs as u64),
        (AT_PHENT, elf::PHDR_SIZE as u64),
        (AT_PHNUM, u64::from(header.phdrs_count)),
        (AT_BASE, image.interpreter_base as u64),
        (AT_FLAGS, 0),
        (AT_ENTRY, image.entry as u64),
        (AT_UID, u64::from(cred.uid)),
        (AT_EUID, u64::from(cred.euid)),
        (AT_GID, u64::from(cred.gid)),
        (AT_EGID, u64::from(cred.egid)),
        (AT_SECURE, u64::from(is_secure)),
        (AT_RANDOM, random as u64),
        (AT_HWCAP2, arch::features::hwcap2()),
        (AT_EXECFN, name as u64),
        (AT_PLATFORM, platform as u64),
        (AT_RSEQ_FEATURE_SIZE, u64::from(abi::rseq::FEATURE_SIZE)),
        (AT_RSEQ_ALIGN, u64::from(abi::rseq::ALIGN)),
        (AT_NULL, 0),
    ];
    pairs
        .into_iter()
        .filter(|(kind, value)| *kind != AT_SYSINFO_EHDR || *value != 0)
        .flat_map(|(kind, value)| [kind, value])
        .collect()
}
