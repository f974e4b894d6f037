//! Filters that are wrong: every one is refused, and nothing changes.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    lengths_out_of_bounds_are_einval,
    bad_addresses_are_efault,
    the_lack_of_power_comes_before_the_program,
    unknown_flags_are_einval,
    flags_that_do_not_go_together_are_einval,
    programs_that_do_not_return_are_einval,
    jumps_beyond_the_end_are_einval,
    instructions_of_packets_are_einval,
    instructions_that_do_not_exist_are_einval,
    constants_that_cannot_be_are_einval,
    memory_that_was_not_written_is_einval,
    random_programs_are_refused_or_do_no_harm,
];

/// Each is refused, and the thread has no filter after it.
fn all_refused(programs: &[&[Insn]]) -> Outcome {
    for program in programs {
        if install(program).is_ok() {
            return fail(&format!("{program:?} is taken"));
        }
        fails(install(program), libc::EINVAL)?;
    }
    equal(status_line("self", "Seccomp")?.as_str(), "0")
}

const END: Insn = Insn {
    code: RET_K,
    jt: 0,
    jf: 0,
    k: ALLOW,
};

fn lengths_out_of_bounds_are_einval() -> Outcome {
    all_refused(&[&[], &vec![END; 4097], &vec![END; 65535]])
}

fn bad_addresses_are_efault() -> Outcome {
    fails(sys!(SYS_seccomp, SET_MODE_FILTER, 0, 0), libc::EFAULT)?;
    fails(
        sys!(SYS_seccomp, SET_MODE_FILTER, 0, usize::MAX),
        libc::EFAULT,
    )?;
    let program = |filter: usize| [1usize, filter];
    let with = |filter: usize| sys!(SYS_seccomp, SET_MODE_FILTER, 0, &program(filter));
    fails(with(0), libc::EINVAL)?;
    fails(with(1 << 20), libc::EFAULT)?;
    fails(with(usize::MAX - 3), libc::EFAULT)?;
    // The last instruction lies beyond the end of the memory.
    let at = map(PAGE)? + PAGE - 8;
    let guard = map_with(
        2 * PAGE,
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    sys!(SYS_mprotect, guard + PAGE, PAGE, libc::PROT_NONE)?;
    check(at != 0, "no memory")?;
    let two = [2usize, guard + PAGE - 8];
    fails(sys!(SYS_seccomp, SET_MODE_FILTER, 0, &two), libc::EFAULT)
}

fn the_lack_of_power_comes_before_the_program() -> Outcome {
    become_user()?;
    let with = |len: usize, filter: usize| sys!(SYS_seccomp, SET_MODE_FILTER, 0, &[len, filter]);
    fails(with(1, 1 << 20), libc::EACCES)?;
    fails(with(1, 0), libc::EACCES)?;
    fails(with(0, 0), libc::EINVAL)?;
    fails(install(&[stmt(0xffff, 0)]), libc::EACCES)
}

fn unknown_flags_are_einval() -> Outcome {
    for flags in [64, 128, 1 << 31, u32::MAX] {
        fails(install_with(flags, &[END]), libc::EINVAL)?;
        fails(sys!(SYS_seccomp, SET_MODE_FILTER, flags, 0), libc::EINVAL)?;
    }
    Ok(())
}

fn flags_that_do_not_go_together_are_einval() -> Outcome {
    for flags in [
        TSYNC | NEW_LISTENER,
        WAIT_KILLABLE_RECV,
        WAIT_KILLABLE_RECV | TSYNC,
    ] {
        fails(install_with(flags, &[END]), libc::EINVAL)?;
    }
    Ok(())
}

fn programs_that_do_not_return_are_einval() -> Outcome {
    all_refused(&[
        &[stmt(LD_IMM, 0)],
        &[END, stmt(LD_IMM, 0)],
        &[END, stmt(0x05, 0)],
    ])
}

fn jumps_beyond_the_end_are_einval() -> Outcome {
    const JA: u16 = 0x05;
    let mut programs = Vec::new();
    for k in [1, 2, 100, 1 << 16, u32::MAX - 1, u32::MAX] {
        programs.push(vec![stmt(JA, k), END]);
    }
    for code in [0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d] {
        programs.push(vec![jump(code, 0, 1, 0), END]);
        programs.push(vec![jump(code, 0, 0, 1), END]);
        programs.push(vec![jump(code, 0, 255, 255), END]);
    }
    let programs: Vec<&[Insn]> = programs.iter().map(Vec::as_slice).collect();
    all_refused(&programs)
}

fn instructions_of_packets_are_einval() -> Outcome {
    // Bytes and half words, at constant and computed places, header lengths, the extensions.
    let wrong = [
        (0x28, 0),
        (0x30, 0),
        (0x40, 0),
        (0x48, 0),
        (0x50, 0),
        (0xb1, 0),
        (0x20, 0xffff_f000),
    ];
    for (code, k) in wrong {
        all_refused(&[&[stmt(code, k), END]])?;
    }
    Ok(())
}

fn instructions_that_do_not_exist_are_einval() -> Outcome {
    let known: [u16; 40] = [
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0c, 0x14, 0x15, 0x16, 0x1c, 0x1d, 0x20,
        0x24, 0x25, 0x2c, 0x2d, 0x34, 0x35, 0x3c, 0x3d, 0x44, 0x45, 0x4c, 0x4d, 0x54, 0x5c, 0x60,
        0x61, 0x64, 0x6c, 0x74, 0x7c, 0x80, 0x81, 0x84, 0x87, 0xa4,
    ];
    for code in 0..0x400u16 {
        let is_known = known.contains(&code) || code == 0xac;
        let program = [stmt(0x02, 0), stmt(code, 4), END];
        // A jump by four leads out; what is known is tried elsewhere.
        if !is_known {
            fails(install(&program), libc::EINVAL)?;
        }
    }
    for code in [0x1000, 0x8006, 0xff06, u16::MAX] {
        all_refused(&[&[stmt(code, 0), END]])?;
    }
    Ok(())
}

fn constants_that_cannot_be_are_einval() -> Outcome {
    let wrong = [
        (0x34, 0),  // division by zero
        (0x64, 32), // shifts
        (0x74, 32),
        (0x64, u32::MAX),
        (0x02, 16), // memory
        (0x03, 16),
        (0x60, 16),
        (0x61, u32::MAX),
        (0x20, 64), // data
        (0x20, 1),
        (0x20, 62),
        (0x20, u32::MAX),
    ];
    for (code, k) in wrong {
        all_refused(&[&[stmt(code, k), END]])?;
    }
    Ok(())
}

fn memory_that_was_not_written_is_einval() -> Outcome {
    const ST: u16 = 0x02;
    const LD_MEM: u16 = 0x60;
    const LDX_MEM: u16 = 0x61;
    all_refused(&[
        &[stmt(LD_MEM, 0), END],
        &[stmt(LDX_MEM, 15), END],
        &[stmt(ST, 1), stmt(LD_MEM, 0), END],
        // Only one of two ways writes.
        &[jump(JEQ_K, 0, 0, 1), stmt(ST, 0), stmt(LD_MEM, 0), END],
    ])?;
    install(&[stmt(ST, 3), stmt(LD_MEM, 3), END])?;
    Ok(())
}

fn random_programs_are_refused_or_do_no_harm() -> Outcome {
    // A small generator with a fixed seed: the same programs everywhere.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        let len = next() % 12 + 1;
        let mut insns: Vec<Insn> = (0..len)
            .map(|_| {
                let bits = next();
                Insn {
                    code: (bits & 0xff) as u16,
                    jt: (bits >> 16 & 3) as u8,
                    jf: (bits >> 20 & 3) as u8,
                    k: (bits >> 32) as u32 & 63,
                }
            })
            .collect();
        insns.push(END);
        let pid = fork(|| {
            let taken = install(&insns);
            let _ = sys!(SYS_getpid);
            i32::from(!matches!(taken, Ok(_) | Err(Errno(libc::EINVAL))))
        })?;
        let status = wait(pid)?;
        // It may have answered anything: the process goes on, or dies by the filter's will.
        let died = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS;
        check(died || libc::WIFEXITED(status), "dies of something else")?;
    }
    Ok(())
}
