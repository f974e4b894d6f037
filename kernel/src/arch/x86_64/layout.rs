//! Where things are in the kernel's half of the address space.

/// All RAM, from physical address 0.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// First address that user space may not use. One page below the canonical limit, so that the address after a
/// `syscall` instruction is always canonical.
pub const USER_END: u64 = 0x7fff_ffff_f000;

unsafe extern "C" {
    static __kernel_start: u8;
    static __kernel_end: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __ksyms_start: u8;
    static __ksyms_end: u8;
}

macro_rules! symbol {
    ($name:ident) => {
        (&raw const $name) as u64
    };
}

/// A part of the kernel image that has rights of its own: virtual addresses, page-aligned.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub start: u64,
    pub end: u64,
    pub writable: bool,
    pub executable: bool,
}

/// First address of the image.
pub fn image_start() -> u64 {
    symbol!(__kernel_start)
}

/// Bytes of the image, in whole pages.
pub fn image_len() -> u64 {
    symbol!(__kernel_end) - image_start()
}

/// Whether `address` is in the kernel's code.
pub fn is_text(address: u64) -> bool {
    (symbol!(__text_start)..symbol!(__text_end)).contains(&address)
}

/// The symbol table's section.
pub fn ksyms() -> &'static [u8] {
    let (start, end) = (symbol!(__ksyms_start), symbol!(__ksyms_end));
    // SAFETY: a section of the image, read-only. Its contents come from the loaded file, not from the compiler, which
    // therefore must not know more of it than its address.
    unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) }
}

/// The image's segments, for mapping each with just its rights.
pub fn segments() -> [Segment; 4] {
    let segment = |start, end: u64, writable, executable| Segment {
        start,
        end: end.next_multiple_of(4096),
        writable,
        executable,
    };
    [
        segment(symbol!(__text_start), symbol!(__text_end), false, true),
        segment(symbol!(__rodata_start), symbol!(__rodata_end), false, false),
        segment(symbol!(__data_start), symbol!(__data_end), true, false),
        segment(symbol!(__ksyms_start), symbol!(__ksyms_end), false, false),
    ]
}
