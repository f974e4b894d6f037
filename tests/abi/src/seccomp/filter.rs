//! What filters see, how several judge together, and who may bring them.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    filters_see_number_and_architecture,
    filters_see_all_arguments,
    filters_see_where_the_call_is_made,
    negative_numbers_are_judged,
    numbers_without_a_call_are_judged,
    the_strictest_action_counts,
    of_equal_actions_the_newest_counts,
    a_filter_may_forbid_more_filters,
    filters_add_up_to_a_limit,
    users_need_no_new_privs,
    power_stands_in_for_no_new_privs,
    no_new_privs_is_shown_and_kept,
    prctl_installs_filters_too,
    flags_without_effect_here_are_taken,
    long_filters_reach_their_end,
    scratch_memory_carries_values,
    lengths_are_those_of_the_data,
];

fn answers(insns: &[Insn], want: i32) -> Outcome {
    within(|| {
        install(insns)?;
        match want {
            0 => equal(the_call()?, UNFILTERED),
            errno => fails(the_call(), errno),
        }
    })
}

const DENY: u32 = ERRNO | libc::EXDEV as u32;

fn filters_see_number_and_architecture() -> Outcome {
    answers(&if_word(0, CALL, DENY), libc::EXDEV)?;
    answers(&if_word(4, ARCH, DENY), libc::EXDEV)?;
    answers(&if_word(4, 0x4000_0003, DENY), 0)
}

fn filters_see_all_arguments() -> Outcome {
    let args: [usize; 6] = std::array::from_fn(|index| 0x1_0000_0002 * (index + 1));
    for (index, arg) in args.into_iter().enumerate() {
        let low = 16 + 8 * index as u32;
        for (offset, value) in [(low, arg as u32), (low + 4, (arg >> 32) as u32)] {
            within(|| {
                install(&if_word(offset, value, DENY))?;
                fails(crate::sys::call(CALL.into(), &args), libc::EXDEV)?;
                equal(the_call()?, UNFILTERED)
            })?;
        }
    }
    Ok(())
}

fn filters_see_where_the_call_is_made() -> Outcome {
    // The high half of the address: that of the program's text, which is not zero where programs are placed high.
    let here = filters_see_where_the_call_is_made as fn() -> Outcome as usize;
    answers(&if_word(12, (here >> 32) as u32, DENY), libc::EXDEV)?;
    answers(&if_word(12, 0xffff, DENY), 0)
}

fn negative_numbers_are_judged() -> Outcome {
    fails(crate::sys::call(-1, &[]), libc::ENOSYS)?;
    install(&only(u32::MAX, DENY))?;
    fails(crate::sys::call(-1, &[]), libc::EXDEV)?;
    fails(crate::sys::call(-2, &[]), libc::ENOSYS)
}

fn numbers_without_a_call_are_judged() -> Outcome {
    fails(crate::sys::call(9999, &[]), libc::ENOSYS)?;
    install(&only(9999, DENY))?;
    fails(crate::sys::call(9999, &[]), libc::EXDEV)?;
    fails(crate::sys::call(9998, &[]), libc::ENOSYS)
}

fn the_strictest_action_counts() -> Outcome {
    let strict_first = [TRAP, DENY, TRACE, RET_LOG, ALLOW];
    for (index, strict) in strict_first.into_iter().enumerate() {
        for lax in strict_first.into_iter().skip(index + 1) {
            for pair in [[strict, lax], [lax, strict]] {
                within(|| {
                    catch(libc::SIGSYS, 0)?;
                    for answer in pair {
                        install(&only(CALL, answer))?;
                    }
                    let got = the_call();
                    equal(hits(libc::SIGSYS), u32::from(strict == TRAP))?;
                    match strict {
                        DENY => fails(got, libc::EXDEV),
                        TRACE => fails(got, libc::ENOSYS),
                        RET_LOG => equal(got?, UNFILTERED),
                        _ => Ok(()),
                    }
                })?;
            }
        }
    }
    Ok(())
}

fn of_equal_actions_the_newest_counts() -> Outcome {
    for errno in [libc::EXDEV, libc::EPERM, libc::EIO] {
        install(&only(CALL, ERRNO | errno as u32))?;
        fails(the_call(), errno)?;
    }
    Ok(())
}

fn a_filter_may_forbid_more_filters() -> Outcome {
    install(&only(libc::SYS_seccomp as u32, DENY))?;
    fails(install(&only(CALL, DENY)), libc::EXDEV)?;
    equal(the_call()?, UNFILTERED)
}

fn filters_add_up_to_a_limit() -> Outcome {
    let long = vec![stmt(RET_K, ALLOW); 4096];
    let mut taken = 0;
    let refused = loop {
        match install(&long) {
            Ok(_) => taken += 1,
            Err(errno) => break errno,
        }
    };
    equal(refused.0, libc::ENOMEM)?;
    // 32768 instructions are allowed, and each of these is at least one.
    check((1..=8).contains(&taken), "too few or too many are taken")?;
    equal(the_call()?, UNFILTERED)
}

fn users_need_no_new_privs() -> Outcome {
    become_user()?;
    fails(install(&only(CALL, DENY)), libc::EACCES)?;
    no_new_privs()?;
    install(&only(CALL, DENY))?;
    fails(the_call(), libc::EXDEV)
}

fn power_stands_in_for_no_new_privs() -> Outcome {
    install(&only(CALL, DENY))?;
    fails(the_call(), libc::EXDEV)?;
    equal(sys!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)?, 0)
}

fn no_new_privs_is_shown_and_kept() -> Outcome {
    no_new_privs()?;
    install(&only(CALL, DENY))?;
    within(|| equal(status_line("self", "NoNewPrivs")?.as_str(), "1"))
}

fn prctl_installs_filters_too() -> Outcome {
    let insns = only(CALL, DENY);
    #[repr(C)]
    struct Program(u16, *const Insn);
    let program = Program(insns.len() as u16, insns.as_ptr());
    sys!(SYS_prctl, libc::PR_SET_SECCOMP, 2, &program, 0, 0)?;
    fails(the_call(), libc::EXDEV)
}

fn flags_without_effect_here_are_taken() -> Outcome {
    install_with(LOG | SPEC_ALLOW, &only(CALL, DENY))?;
    fails(the_call(), libc::EXDEV)
}

fn long_filters_reach_their_end() -> Outcome {
    let mut insns = vec![stmt(LD_W_ABS, 0)];
    // One test after the other, none of which holds.
    while insns.len() < 4094 {
        insns.push(jump(JEQ_K, 100_000 + insns.len() as u32, 0, 0));
    }
    insns.push(jump(JEQ_K, CALL, 0, 1));
    insns.push(stmt(RET_K, DENY));
    fails(install(&insns), libc::EINVAL)?;
    insns.truncate(4093);
    insns.push(jump(JEQ_K, CALL, 0, 1));
    insns.push(stmt(RET_K, DENY));
    insns.push(stmt(RET_K, ALLOW));
    install(&insns)?;
    fails(the_call(), libc::EXDEV)
}

fn scratch_memory_carries_values() -> Outcome {
    const ST: u16 = 0x02;
    const LDX_MEM: u16 = 0x61;
    const LD_MEM: u16 = 0x60;
    const SUB_X: u16 = 0x1c;
    // (number + 7 - 7) by way of memory and the index register.
    const ADD_K: u16 = 0x04;
    let insns = [
        stmt(LD_IMM, 7),
        stmt(ST, 15),
        stmt(LD_W_ABS, 0),
        stmt(ADD_K, 7),
        stmt(ST, 0),
        stmt(LDX_MEM, 15),
        stmt(LD_MEM, 0),
        stmt(SUB_X, 0),
        jump(JEQ_K, CALL, 0, 1),
        stmt(RET_K, DENY),
        stmt(RET_K, ALLOW),
    ];
    answers(&insns, libc::EXDEV)
}

fn lengths_are_those_of_the_data() -> Outcome {
    const LD_W_LEN: u16 = 0x80;
    const LDX_W_LEN: u16 = 0x81;
    const TXA: u16 = 0x87;
    for load in [
        vec![stmt(LD_W_LEN, 0)],
        vec![stmt(LDX_W_LEN, 0), stmt(TXA, 0)],
    ] {
        let mut insns = load;
        insns.push(jump(JEQ_K, 64, 1, 0));
        insns.push(stmt(RET_K, ALLOW));
        insns.extend(only(CALL, DENY));
        answers(&insns, libc::EXDEV)?;
    }
    Ok(())
}
