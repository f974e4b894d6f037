//! Registers of tracees.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    registers_can_be_read_and_set,
    the_user_area_has_the_same_registers,
    the_user_area_is_words,
    selectors_must_be_the_users,
    bases_must_be_the_users,
    only_user_flags_can_be_set,
    floating_point_registers_can_be_set,
    bad_mxcsr_is_refused,
    the_register_set_is_cut_to_size,
    unknown_register_sets_are_einval,
    the_xstate_names_its_components,
    the_xstate_can_be_set,
    arch_prctl_answers_for_the_tracee,
    bad_addresses_are_efault,
    the_rseq_configuration_is_told,
];

fn registers_can_be_read_and_set() -> Outcome {
    let pid = traced(|| {
        let (mut rbx, mut r15): (u64, u64);
        // SAFETY: a breakpoint, at which the tracer changes the two registers.
        unsafe {
            std::arch::asm!("push rbx", "mov rbx, 0x1111", "int3", "mov {0}, rbx", "pop rbx",
                out(reg) rbx, inlateout("r15") 0x2222_u64 => r15);
        }
        i32::from((rbx, r15) != (0x3333, 0x4444))
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let mut regs = regs_of(pid)?;
    equal(
        (regs.rbx, regs.r15, regs.cs, regs.ss),
        (0x1111, 0x2222, 0x33, 0x2b),
    )?;
    equal(regs.orig_rax, u64::MAX)?;
    regs.rbx = 0x3333;
    regs.r15 = 0x4444;
    set_regs(pid, &regs)?;
    equal(regs_of(pid)?, regs)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn peek_user(pid: i32, offset: usize) -> Sys<u64> {
    let mut word = 0x5555_u64;
    sys!(SYS_ptrace, req::PEEKUSER, pid, offset, &mut word)?;
    Ok(std::hint::black_box(word))
}

fn the_user_area_has_the_same_registers() -> Outcome {
    let pid = traced(|| 0)?;
    let regs = regs_of(pid)?;
    equal(peek_user(pid, 8 * 16)?, regs.rip)?;
    equal(peek_user(pid, 8 * 19)?, regs.rsp)?;
    equal(peek_user(pid, 8 * 21)?, regs.fs_base)?;
    equal(peek_user(pid, 8 * 26)?, regs.gs)?;
    ptrace(req::POKEUSER, pid, 8 * 5, 0x77)?;
    equal(regs_of(pid)?.rbx, 0x77)?;
    kill_now(pid)
}

fn the_user_area_is_words() -> Outcome {
    let pid = traced(|| 0)?;
    for offset in [1, 4, 928, 4096, usize::MAX & !7] {
        fails(peek_user(pid, offset), libc::EIO)?;
        fails(ptrace(req::POKEUSER, pid, offset, 0), libc::EIO)?;
    }
    equal(peek_user(pid, 920)?, 0)?;
    equal(peek_user(pid, 240)?, 0)?;
    fails(ptrace(req::POKEUSER, pid, 240, 0), libc::EIO)?;
    kill_now(pid)
}

fn selectors_must_be_the_users() -> Outcome {
    let pid = traced(|| 0)?;
    for (offset, value) in [(8 * 17, 0), (8 * 17, 0x10), (8 * 20, 0), (8 * 20, 0x18)] {
        fails(ptrace(req::POKEUSER, pid, offset, value), libc::EIO)?;
    }
    fails(ptrace(req::POKEUSER, pid, 8 * 23, 0x10), libc::EIO)?;
    ptrace(req::POKEUSER, pid, 8 * 17, 0x33)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn bases_must_be_the_users() -> Outcome {
    let pid = traced(|| 0)?;
    for offset in [8 * 21, 8 * 22] {
        fails(ptrace(req::POKEUSER, pid, offset, 1 << 62), libc::EIO)?;
    }
    ptrace(req::POKEUSER, pid, 8 * 22, 0x1_2345_6000)?;
    equal(regs_of(pid)?.gs_base, 0x1_2345_6000)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn only_user_flags_can_be_set() -> Outcome {
    let pid = traced(|| 0)?;
    let before = regs_of(pid)?.eflags;
    // Interrupts, IOPL and the virtual 8086 mode are not the user's; carry and direction are.
    ptrace(req::POKEUSER, pid, 8 * 18, 0x2_3000 | 0x401)?;
    equal(regs_of(pid)?.eflags, (before & 0x200) | 2 | 0x401)?;
    ptrace(req::POKEUSER, pid, 8 * 18, before as usize)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

const XMM5: usize = 160 + 5 * 16;

/// A tracee that traps with 1.5 in xmm5, and ends well if 2.5 is there afterwards.
fn with_a_float() -> Outcome<i32> {
    let pid = traced(|| {
        let mut value = 1.5_f64;
        // SAFETY: a breakpoint.
        unsafe { std::arch::asm!("int3", inout("xmm5") value) };
        i32::from(value != 2.5)
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    Ok(pid)
}

fn double_at(bytes: &[u8], at: usize) -> f64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes.get(at..at + 8).unwrap_or(&[0; 8]));
    f64::from_le_bytes(eight)
}

fn floating_point_registers_can_be_set() -> Outcome {
    let pid = with_a_float()?;
    let mut area = [0xaa_u8; 512];
    sys!(SYS_ptrace, req::GETFPREGS, pid, 0, area.as_mut_ptr())?;
    equal(double_at(&area, XMM5), 1.5)?;
    equal(
        (area[0], area[1], area[24], area[25]),
        (0x7f, 3, 0x80, 0x1f),
    )?;
    area[XMM5..XMM5 + 8].copy_from_slice(&2.5_f64.to_le_bytes());
    sys!(SYS_ptrace, req::SETFPREGS, pid, 0, area.as_ptr())?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn bad_mxcsr_is_refused() -> Outcome {
    let pid = with_a_float()?;
    let mut area = [0_u8; 512];
    sys!(SYS_ptrace, req::GETFPREGS, pid, 0, area.as_mut_ptr())?;
    area[27] = 0xff;
    fails(
        sys!(SYS_ptrace, req::SETFPREGS, pid, 0, area.as_ptr()),
        libc::EINVAL,
    )?;
    kill_now(pid)
}

/// Calls with a register set; answers how many bytes were moved.
fn regset(request: i32, pid: i32, kind: usize, bytes: &mut [u8]) -> Sys {
    let mut area = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    sys!(SYS_ptrace, request, pid, kind, &mut area)?;
    Ok(std::hint::black_box(area).iov_len)
}

const PRSTATUS: usize = 1;
const PRFPREG: usize = 2;
const XSTATE: usize = 0x202;

fn the_register_set_is_cut_to_size() -> Outcome {
    let pid = traced(|| 0)?;
    let mut bytes = [0xaa; 300];
    equal(
        regset(req::GETREGSET, pid, PRSTATUS, &mut bytes[..296])?,
        216,
    )?;
    equal(bytes[216], 0xaa)?;
    let rip = regs_of(pid)?.rip;
    equal(bytes[128..136].to_vec(), rip.to_ne_bytes().to_vec())?;
    bytes.fill(0xaa);
    equal(regset(req::GETREGSET, pid, PRSTATUS, &mut bytes[..16])?, 16)?;
    equal(bytes[16], 0xaa)?;
    fails(
        regset(req::GETREGSET, pid, PRSTATUS, &mut bytes[..12]),
        libc::EINVAL,
    )?;
    // The first two: r15 and r14.
    bytes[..8].copy_from_slice(&0x99_u64.to_ne_bytes());
    equal(regset(req::SETREGSET, pid, PRSTATUS, &mut bytes[..8])?, 8)?;
    equal(regs_of(pid)?.r15, 0x99)?;
    kill_now(pid)
}

fn unknown_register_sets_are_einval() -> Outcome {
    let pid = traced(|| 0)?;
    let mut bytes = [0; 64];
    for kind in [0, 3, 0x9999] {
        fails(regset(req::GETREGSET, pid, kind, &mut bytes), libc::EINVAL)?;
    }
    fails(
        regset(req::SETREGSET, pid, PRFPREG, &mut bytes),
        libc::EINVAL,
    )?;
    kill_now(pid)
}

/// The XSAVE set of a stopped tracee; a skip where the machine has none.
fn xstate(pid: i32) -> Outcome<Vec<u8>> {
    let mut bytes = vec![0xaa; 16384];
    match regset(req::GETREGSET, pid, XSTATE, &mut bytes) {
        Err(Errno(libc::EINVAL | libc::ENODEV)) => skip("no XSAVE"),
        len => {
            bytes.truncate(len?);
            Ok(bytes)
        }
    }
}

fn the_xstate_names_its_components() -> Outcome {
    let pid = with_a_float()?;
    let bytes = xstate(pid)?;
    check(bytes.len() >= 576, "too short")?;
    equal(double_at(&bytes, XMM5), 1.5)?;
    equal((bytes[464] & 3, bytes[512] & 2), (3, 2))?;
    equal(bytes[520..576].to_vec(), vec![0; 56])?;
    kill_now(pid)
}

fn the_xstate_can_be_set() -> Outcome {
    let pid = with_a_float()?;
    let mut bytes = xstate(pid)?;
    let len = bytes.len();
    fails(
        regset(req::SETREGSET, pid, XSTATE, &mut bytes[..512]),
        libc::EFAULT,
    )?;
    bytes[XMM5..XMM5 + 8].copy_from_slice(&2.5_f64.to_le_bytes());
    bytes[519] = 0x40;
    fails(
        regset(req::SETREGSET, pid, XSTATE, &mut bytes),
        libc::EINVAL,
    )?;
    bytes[519] = 0;
    equal(regset(req::SETREGSET, pid, XSTATE, &mut bytes)?, len)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn arch_prctl_answers_for_the_tracee() -> Outcome {
    const GET_FS: usize = 0x1003;
    let pid = traced(|| 0)?;
    let mut base = 0_u64;
    sys!(SYS_ptrace, req::ARCH_PRCTL, pid, &mut base, GET_FS)?;
    equal(std::hint::black_box(base), regs_of(pid)?.fs_base)?;
    fails(
        sys!(SYS_ptrace, req::ARCH_PRCTL, pid, &mut base, 0x9999),
        libc::EINVAL,
    )?;
    kill_now(pid)
}

fn bad_addresses_are_efault() -> Outcome {
    let pid = traced(|| 0)?;
    for request in [
        req::GETREGS,
        req::SETREGS,
        req::GETFPREGS,
        req::GETEVENTMSG,
        req::GETSIGINFO,
    ] {
        fails(ptrace(request, pid, 0, 16), libc::EFAULT)?;
    }
    fails(ptrace(req::PEEKUSER, pid, 0, 16), libc::EFAULT)?;
    fails(ptrace(req::GETREGSET, pid, PRSTATUS, 16), libc::EFAULT)?;
    fails(ptrace(req::PEEKSIGINFO, pid, 16, 16), libc::EFAULT)?;
    kill_now(pid)
}

fn the_rseq_configuration_is_told() -> Outcome {
    #[repr(C, align(32))]
    struct Area([u8; 32]);
    let area = Box::leak(Box::new(Area([0; 32])));
    let addr = area.0.as_mut_ptr() as usize;
    let pid = traced(move || {
        // glibc has one registered already; then it is that one which is told.
        let _ = sys!(SYS_rseq, addr, 32, 0, 0x5305_3053);
        0
    })?;
    let mut words = [0u64; 3];
    let before = ptrace(
        req::GET_RSEQ_CONFIGURATION,
        pid,
        24,
        words.as_mut_ptr() as usize,
    )?;
    equal(before, 24)?;
    to_call(pid)?;
    to_call(pid)?;
    ptrace(
        req::GET_RSEQ_CONFIGURATION,
        pid,
        24,
        words.as_mut_ptr() as usize,
    )?;
    equal(words[0] != 0, true)?;
    equal(words[1] >> 32, 0x5305_3053)?;
    equal(words[1] as u32 >= 32, true)?;
    // As much as there is room for.
    let mut part = [u64::MAX; 3];
    ptrace(
        req::GET_RSEQ_CONFIGURATION,
        pid,
        8,
        part.as_mut_ptr() as usize,
    )?;
    equal(part, [words[0], u64::MAX, u64::MAX])?;
    kill_now(pid)
}
