//! Core files: what `core_pattern` makes of a process, and the headers and notes of the ELF file.
//!
//! | module | what |
//! |---|---|
//! | `pattern` | where a core goes: a file's name, or a program and its arguments |
//! | `elf` | the ELF header, the program headers, and where the contents lie |
//! | `notes` | what debuggers read about threads and files |
//!
//! References: core(5), elf(5); Linux `struct elf_prstatus` and `struct elf_prpsinfo`, as debuggers know them.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
extern crate alloc;

use alloc::vec::Vec;

pub mod elf;
pub mod notes;
pub mod pattern;

/// There is no memory for what is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// Appends bytes, or says that there is no memory for them.
fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), NoMemory> {
    out.try_reserve(bytes.len()).map_err(|_| NoMemory)?;
    out.extend_from_slice(bytes);
    Ok(())
}
