//! Raw access to user memory. Each instruction that may fault is listed with a fix-up in `.ex_table`; the page-fault
//! handler resolves the fault or goes there. `mm::user` is the safe face of this module.
//!
//! With interrupts off no fault is resolved: the access fails at once.
//!
//! References: Linux `arch/x86/lib/copy_user_64.S` for the rule that what can be copied is copied.

use core::arch::{asm, global_asm};

use abi::{Errno, Result};

use super::layout::USER_END;

/// One entry of the exception table.
#[repr(C)]
struct Fixup {
    instruction: u64,
    target: u64,
}

// stac and clac are no-ops until features.rs finds SMAP.
global_asm!(
    ".macro user_open",
    "774: .byte 0x0f, 0x1f, 0x00",
    ".pushsection .feature_patches, \"a\"",
    ".quad 774b, 0xcb010f",
    ".popsection",
    ".endm",
    ".macro user_close",
    "775: .byte 0x0f, 0x1f, 0x00",
    ".pushsection .feature_patches, \"a\"",
    ".quad 775b, 0xca010f",
    ".popsection",
    ".endm",
    ".macro fixup from, to",
    ".pushsection .ex_table, \"a\"",
    ".quad \\from, \\to",
    ".popsection",
    ".endm",
    // user_copy(rdi: to, rsi: from, rdx: len) -> bytes not copied
    ".section .entry.text, \"ax\"",
    ".balign 16",
    ".global user_copy",
    "user_copy:",
    "user_open",
    "mov rcx, rdx",
    "shr rcx, 3",
    "jz 3f",
    "cmp rcx, 8",
    "jb 2f",
    "11: rep movsq",
    "and edx, 7",
    "jz 5f",
    "jmp 3f",
    // up to 7 words, from the ends of both: one index counts up to 0
    "2:",
    "lea rsi, [rsi + rcx * 8]",
    "lea rdi, [rdi + rcx * 8]",
    "neg rcx",
    "10:",
    "12: mov rax, [rsi + rcx * 8]",
    "13: mov [rdi + rcx * 8], rax",
    "inc rcx",
    "jnz 10b",
    "and edx, 7",
    "jz 5f",
    // bytes
    "3: mov ecx, edx",
    "test ecx, ecx",
    "jz 5f",
    "4:",
    "14: mov al, [rsi]",
    "15: mov [rdi], al",
    "inc rsi",
    "inc rdi",
    "dec ecx",
    "jnz 4b",
    "5: xor eax, eax",
    "user_close",
    "ret",
    // A fault among the words: byte by byte, to the very end of what is there.
    "17: lea rsi, [rsi + rcx * 8]",
    "lea rdi, [rdi + rcx * 8]",
    "neg rcx",
    "6: and edx, 7",
    "lea rcx, [rdx + rcx * 8]",
    "7: test rcx, rcx",
    "jz 5b",
    "8:",
    "16: mov al, [rsi]",
    "18: mov [rdi], al",
    "inc rsi",
    "inc rdi",
    "dec rcx",
    "jnz 8b",
    "jmp 5b",
    "9: mov rax, rcx",
    "user_close",
    "ret",
    "fixup 11b, 6b",
    "fixup 12b, 17b",
    "fixup 13b, 17b",
    "fixup 14b, 9b",
    "fixup 15b, 9b",
    "fixup 16b, 9b",
    "fixup 18b, 9b",
    // user_clear(rdi: to, rsi: len) -> bytes not cleared
    ".balign 16",
    ".global user_clear",
    "user_clear:",
    "user_open",
    "xor eax, eax",
    "mov rdx, rsi",
    "mov rcx, rsi",
    "shr rcx, 3",
    "21: rep stosq",
    "mov ecx, edx",
    "and ecx, 7",
    "22: rep stosb",
    "xor eax, eax",
    "user_close",
    "ret",
    "3: and edx, 7",
    "lea rcx, [rdx + rcx * 8]",
    "xor eax, eax",
    "23: rep stosb",
    "4: mov rax, rcx",
    "user_close",
    "ret",
    "fixup 21b, 3b",
    "fixup 22b, 4b",
    "fixup 23b, 4b",
    ".purgem user_open",
    ".purgem user_close",
    ".purgem fixup",
);

unsafe extern "C" {
    fn user_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
    fn user_clear(to: *mut u8, len: usize) -> usize;
}

/// The table's place in the kernel's image, and how many entries it has.
fn table() -> (*const Fixup, usize) {
    unsafe extern "C" {
        static __ex_table_start: Fixup;
        static __ex_table_end: Fixup;
    }
    let start = &raw const __ex_table_start;
    let bytes = &raw const __ex_table_end as usize - start as usize;
    (start, bytes / size_of::<Fixup>())
}

/// Puts the table in order of instructions, so that it can be searched by halves: there are hundreds, and each page that
/// the kernel is the first to touch asks for one. At boot, before any access to user memory.
///
/// # Safety
/// `offset` leads from the image to where it can be written, and nothing else looks at the table.
pub(super) unsafe fn sort_fixups(offset: u64) {
    let (start, len) = table();
    let writable = (start as u64).wrapping_add(offset) as *mut Fixup;
    // SAFETY: the linker script collects `Fixup`s there; the caller vouches for the way to them.
    let table = unsafe { core::slice::from_raw_parts_mut(writable, len) };
    table.sort_unstable_by_key(|entry| entry.instruction);
}

/// Where the kernel goes on after a fault at `rip`, if a fault is foreseen there.
pub(super) fn fixup_of(rip: u64) -> Option<u64> {
    let (start, len) = table();
    // SAFETY: the linker script collects `Fixup`s between the two symbols, in read-only memory.
    let table = unsafe { core::slice::from_raw_parts(start, len) };
    let at = table
        .binary_search_by_key(&rip, |entry| entry.instruction)
        .ok()?;
    table.get(at).map(|entry| entry.target)
}

/// Whether `[address, address + len)` lies in the user half.
#[inline(always)]
pub fn range_ok(address: usize, len: usize) -> bool {
    len <= USER_END as usize && address <= USER_END as usize - len
}

/// Copies from user memory; answers how many bytes, at the end, could not be copied.
///
/// # Safety
/// `to` is valid for writing `len` bytes.
#[inline]
pub unsafe fn copy_from_user(to: *mut u8, from: usize, len: usize) -> usize {
    if !range_ok(from, len) {
        return len;
    }
    // SAFETY: the source may fault, which is foreseen; the destination is the caller's duty.
    unsafe { user_copy(to, from as *const u8, len) }
}

/// Copies to user memory; answers how many bytes, at the end, could not be copied.
///
/// # Safety
/// `from` is valid for reading `len` bytes.
#[inline]
pub unsafe fn copy_to_user(to: usize, from: *const u8, len: usize) -> usize {
    if !range_ok(to, len) {
        return len;
    }
    // SAFETY: the destination may fault, which is foreseen; the source is the caller's duty.
    unsafe { user_copy(to as *mut u8, from, len) }
}

/// Zeroes user memory; answers how many bytes, at the end, could not be.
pub fn clear_user(to: usize, len: usize) -> usize {
    if !range_ok(to, len) {
        return len;
    }
    // SAFETY: a user range; faults are foreseen.
    unsafe { user_clear(to as *mut u8, len) }
}

/// Fills `to` from user memory.
///
/// # Errors
/// `EFAULT` when not all of it could be read.
#[inline]
pub fn read_bytes(to: &mut [u8], from: usize) -> Result<()> {
    // SAFETY: a mutable slice.
    match unsafe { copy_from_user(to.as_mut_ptr(), from, to.len()) } {
        0 => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Writes `from` to user memory.
///
/// # Errors
/// `EFAULT` when not all of it could be written.
#[inline]
pub fn write_bytes(to: usize, from: &[u8]) -> Result<()> {
    // SAFETY: a slice.
    match unsafe { copy_to_user(to, from.as_ptr(), from.len()) } {
        0 => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Copies a string up to and with its NUL. Answers its length without the NUL, or `None` when `to` is full before one.
///
/// # Errors
/// `EFAULT` when memory ends before the string does.
pub fn strncpy_from_user(to: &mut [u8], from: usize) -> Result<Option<usize>> {
    let mut done = 0;
    while done < to.len() {
        let address = from.checked_add(done).ok_or(Errno::EFAULT)?;
        // Never across a page that the string may not reach.
        let chunk = (to.len() - done).min(4096 - address % 4096).min(64);
        let part = &mut to[done..done + chunk];
        read_bytes(part, address)?;
        if let Some(end) = first_zero(part) {
            return Ok(Some(done + end));
        }
        done += chunk;
    }
    Ok(None)
}

/// Where the first zero byte is, found a word at a time.
#[inline]
fn first_zero(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        // The lowest high bit that is set marks the first zero; higher ones may be false.
        let zeros = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if zeros != 0 {
            return Some(bytes.len() - rest.len() + (zeros.trailing_zeros() / 8) as usize);
        }
        rest = tail;
    }
    let at = rest.iter().position(|&byte| byte == 0)?;
    Some(bytes.len() - rest.len() + at)
}

/// One instruction on user memory with its fix-up: `rax` is 0 before, and all ones after a fault.
macro_rules! user_instruction {
    ($instruction:literal, [$($operands:tt)*], $options:ident) => {{
        let failed: u64;
        asm!(
            "xor eax, eax",
            "771: .byte 0x0f, 0x1f, 0x00",
            concat!("772: ", $instruction),
            "773: .byte 0x0f, 0x1f, 0x00",
            ".pushsection .feature_patches, \"a\"",
            ".quad 771b, 0xcb010f",
            ".quad 773b, 0xca010f",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".quad 772b, 773b",
            ".popsection",
            $($operands)*,
            out("rax") failed,
            options($options)
        );
        failed == 0
    }};
}

macro_rules! word_access {
    ($load:ident, $store:ident, $ty:ty, $ld:literal, $st:literal) => {
        /// Loads a word of user memory, in one access.
        ///
        /// # Errors
        /// `EFAULT`.
        #[inline]
        pub fn $load(from: usize) -> Result<$ty> {
            if !range_ok(from, size_of::<$ty>()) {
                return Err(Errno::EFAULT);
            }
            let value: $ty;
            // SAFETY: a user address; a fault is foreseen, and then the value is not used.
            let ok = unsafe {
                user_instruction!($ld, [from = in(reg) from, value = out(reg) value], readonly)
            };
            if ok { Ok(value) } else { Err(Errno::EFAULT) }
        }

        /// Stores a word to user memory, in one access.
        ///
        /// # Errors
        /// `EFAULT`.
        #[inline]
        pub fn $store(to: usize, value: $ty) -> Result<()> {
            if !range_ok(to, size_of::<$ty>()) {
                return Err(Errno::EFAULT);
            }
            // SAFETY: a user address; a fault is foreseen.
            let ok = unsafe { user_instruction!($st, [to = in(reg) to, value = in(reg) value], nostack) };
            if ok { Ok(()) } else { Err(Errno::EFAULT) }
        }
    };
}

word_access!(
    load_u64,
    store_u64,
    u64,
    "mov {value}, [{from}]",
    "mov [{to}], {value}"
);
word_access!(
    load_u32,
    store_u32,
    u32,
    "mov {value:e}, [{from}]",
    "mov [{to}], {value:e}"
);
/// Copies words between user memory and the kernel's, each by a load and a store.
macro_rules! copy_words {
    ($to:ident, $from:ident, $option:ident, $($offset:literal)*) => {{
        let failed: u64;
        // SAFETY: one side may fault, which is foreseen; the other is the caller's duty.
        unsafe {
            asm!(
                "xor eax, eax",
                "771: .byte 0x0f, 0x1f, 0x00",
                $(
                    concat!("772: mov {word}, [{from} + ", $offset, "]"),
                    concat!("774: mov [{to} + ", $offset, "], {word}"),
                    ".pushsection .ex_table, \"a\"",
                    ".quad 772b, 773f, 774b, 773f",
                    ".popsection",
                )*
                "773: .byte 0x0f, 0x1f, 0x00",
                ".pushsection .feature_patches, \"a\"",
                ".quad 771b, 0xcb010f",
                ".quad 773b, 0xca010f",
                ".popsection",
                from = in(reg) $from,
                to = in(reg) $to,
                word = out(reg) _,
                out("rax") failed,
                options($option)
            );
        }
        failed == 0
    }};
}

macro_rules! words_access {
    ($load:ident, $store:ident, $words:literal, $($offset:literal)*) => {
        /// Copies that many words in: what a call to the copy routine would cost more than.
        ///
        /// # Errors
        /// `EFAULT`; some words may have been copied.
        ///
        /// # Safety
        /// `to` is valid for writing them, aligned or not.
        #[inline]
        unsafe fn $load(to: *mut u8, from: usize) -> Result<()> {
            let ok = range_ok(from, 8 * $words) && copy_words!(to, from, nostack, $($offset)*);
            if ok { Ok(()) } else { Err(Errno::EFAULT) }
        }

        /// Copies that many words out.
        ///
        /// # Errors
        /// `EFAULT`; some words may have been copied.
        ///
        /// # Safety
        /// `from` is valid for reading them, aligned or not.
        #[inline]
        unsafe fn $store(to: usize, from: *const u8) -> Result<()> {
            let ok = range_ok(to, 8 * $words) && copy_words!(to, from, nostack, $($offset)*);
            if ok { Ok(()) } else { Err(Errno::EFAULT) }
        }
    };
}

words_access!(load_words_1, store_words_1, 1, 0);
words_access!(load_words_2, store_words_2, 2, 0 8);
words_access!(load_words_3, store_words_3, 3, 0 8 16);
words_access!(load_words_4, store_words_4, 4, 0 8 16 24);

/// Copies a value of a size that the compiler knows in: of few words by the words, else by the copy routine.
///
/// # Errors
/// `EFAULT`; some of it may have been copied.
///
/// # Safety
/// `to` is valid for writing `size` bytes, aligned or not.
#[inline(always)]
pub unsafe fn load_value(to: *mut u8, from: usize, size: usize) -> Result<()> {
    // SAFETY: each writes `size` bytes at most, which the caller vouches for.
    unsafe {
        match size {
            8 => load_words_1(to, from),
            16 => load_words_2(to, from),
            24 => load_words_3(to, from),
            32 => load_words_4(to, from),
            _ => match copy_from_user(to, from, size) {
                0 => Ok(()),
                _ => Err(Errno::EFAULT),
            },
        }
    }
}

/// Copies a value of a size that the compiler knows out, likewise.
///
/// # Errors
/// `EFAULT`; some of it may have been copied.
///
/// # Safety
/// `from` is valid for reading `size` bytes, aligned or not.
#[inline(always)]
pub unsafe fn store_value(to: usize, from: *const u8, size: usize) -> Result<()> {
    // SAFETY: each reads `size` bytes at most, which the caller vouches for.
    unsafe {
        match size {
            8 => store_words_1(to, from),
            16 => store_words_2(to, from),
            24 => store_words_3(to, from),
            32 => store_words_4(to, from),
            _ => match copy_to_user(to, from, size) {
                0 => Ok(()),
                _ => Err(Errno::EFAULT),
            },
        }
    }
}

/// Compares a user word with `old` and, if equal, makes it `new`; answers what it was. One locked instruction.
///
/// # Errors
/// `EFAULT`.
pub fn cmpxchg_u32(at: usize, old: u32, new: u32) -> Result<u32> {
    if !range_ok(at, 4) {
        return Err(Errno::EFAULT);
    }
    let mut was = old;
    let failed: u64;
    // SAFETY: a user address; a fault is foreseen, and rdx tells of it, as rax is the instruction's.
    unsafe {
        asm!(
            "mov {fault:r}, 1",
            "771: .byte 0x0f, 0x1f, 0x00",
            "772: lock cmpxchg [{at}], {new:e}",
            "xor {fault:e}, {fault:e}",
            "773: .byte 0x0f, 0x1f, 0x00",
            ".pushsection .feature_patches, \"a\"",
            ".quad 771b, 0xcb010f",
            ".quad 773b, 0xca010f",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".quad 772b, 773b",
            ".popsection",
            fault = out(reg) failed,
            at = in(reg) at,
            new = in(reg) new,
            inout("eax") was,
            options(nostack),
        );
    }
    if failed == 0 {
        Ok(was)
    } else {
        Err(Errno::EFAULT)
    }
}

/// Saves the FPU registers to user memory, 64-byte aligned and with a clean header. Whether that went well.
pub(super) fn xsave(at: usize) -> bool {
    let failed: u64;
    // SAFETY: a checked user address; a fault is foreseen and sets rax, which the instruction only reads.
    unsafe {
        asm!(
            "mov eax, -1",
            "mov edx, -1",
            "771: .byte 0x0f, 0x1f, 0x00",
            "772: xsave64 [{at}]",
            "xor eax, eax",
            "773: .byte 0x0f, 0x1f, 0x00",
            ".pushsection .feature_patches, \"a\"",
            ".quad 771b, 0xcb010f",
            ".quad 773b, 0xca010f",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".quad 772b, 773b",
            ".popsection",
            at = in(reg) at,
            out("rax") failed,
            out("rdx") _,
            options(nostack),
        );
    }
    failed == 0
}

/// Loads the FPU registers from user memory. Whether the processor accepted it; if not, they may hold anything.
pub(super) fn xrstor(at: usize) -> bool {
    let failed: u64;
    // SAFETY: a checked user address; faults, also those of a malformed state, are foreseen. The kernel has no use for
    // what the registers held.
    unsafe {
        asm!(
            "mov eax, -1",
            "mov edx, -1",
            "771: .byte 0x0f, 0x1f, 0x00",
            "772: xrstor64 [{at}]",
            "xor eax, eax",
            "773: .byte 0x0f, 0x1f, 0x00",
            ".pushsection .feature_patches, \"a\"",
            ".quad 771b, 0xcb010f",
            ".quad 773b, 0xca010f",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".quad 772b, 773b",
            ".popsection",
            at = in(reg) at,
            out("rax") failed,
            out("rdx") _,
            options(nostack, readonly),
        );
    }
    failed == 0
}

/// Reads a word of kernel memory that may not be mapped. For backtraces and panics.
pub fn peek(at: u64) -> Option<u64> {
    if at < super::layout::DIRECT_MAP || !at.is_multiple_of(8) {
        return None;
    }
    let value: u64;
    // SAFETY: a read; a fault is foreseen.
    let ok = unsafe {
        user_instruction!("mov {value}, [{at}]", [at = in(reg) at, value = out(reg) value], readonly)
    };
    ok.then_some(value)
}
