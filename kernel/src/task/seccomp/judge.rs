//! What becomes of a call: the hook between the tracer's entry stop and the handler.

use core::hint::black_box;

use abi::Errno;
use abi::seccomp::{
    AUDIT_ARCH_X86_64, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT, SECCOMP_RET_ACTION_FULL,
    SECCOMP_RET_ALLOW, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
    SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP,
    SECCOMP_RET_USER_NOTIF, SeccompData,
};
use abi::signal::{SigInfo, Signo};

use super::filter::Verdict;
use super::notify::{Notifier, Reply};
use super::{MODE_DEAD, report};
use crate::arch::{self, UserRegs};
use crate::signal;
use crate::sync::CurrentTask;
use crate::task::ptrace::{self, Event};
use crate::task::{current, exit};

/// What strict mode leaves: read, write, rt_sigreturn and exit.
const STRICT_CALLS: [i32; 4] = [0, 1, 15, 60];
/// The highest error number that a filter may give (MAX_ERRNO).
const MAX_ERRNO: u32 = 4095;

/// Judges the call in `regs`. True when it is to be made; else `rax` holds the answer, or a signal is on its way, or
/// this does not return.
pub fn judge(regs: &mut UserRegs) -> bool {
    let me = current();
    match me.seccomp.mode() {
        SECCOMP_MODE_STRICT if STRICT_CALLS.contains(&number_of(regs)) => true,
        SECCOMP_MODE_STRICT => {
            me.seccomp.set_mode(MODE_DEAD);
            report::killed(regs, Signo::KILL, SECCOMP_RET_KILL_THREAD);
            exit::exit_thread(u32::from(Signo::KILL.get()))
        }
        SECCOMP_MODE_FILTER => filter(&me, regs, false),
        // It was to end, and something kept it from that.
        MODE_DEAD => exit::exit_thread(u32::from(Signo::KILL.get())),
        _ => true,
    }
}

fn number_of(regs: &UserRegs) -> i32 {
    regs.orig_rax as i32
}

/// What filters see of a call.
fn data_of(regs: &UserRegs) -> SeccompData {
    SeccompData {
        nr: number_of(regs),
        arch: AUDIT_ARCH_X86_64,
        instruction_pointer: regs.rip,
        args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
    }
}

/// `retraced`: a tracer has seen the call by SECCOMP_RET_TRACE, and may not send it to itself again.
fn filter(me: &CurrentTask, regs: &mut UserRegs, retraced: bool) -> bool {
    let data = data_of(regs);
    let verdict = {
        let filters = me.seccomp.filter.lock();
        match &*filters {
            Some(filter) => filter.judge(&data),
            // A mode without a filter there is not.
            None => Verdict {
                answer: SECCOMP_RET_KILL_PROCESS,
                log: true,
                notifier: None,
            },
        }
    };
    let action = verdict.answer & SECCOMP_RET_ACTION_FULL;
    let value = verdict.answer & SECCOMP_RET_DATA;
    match action {
        SECCOMP_RET_ALLOW => return true,
        SECCOMP_RET_LOG => {
            report::logged(regs, action, verdict.log);
            return true;
        }
        SECCOMP_RET_ERRNO => regs.rax = i64::from(value.min(MAX_ERRNO)).wrapping_neg() as u64,
        SECCOMP_RET_TRAP => {
            // The handler finds the registers as they were before the call.
            regs.rax = regs.orig_rax;
            signal::force_signal(info_of(regs, value));
        }
        SECCOMP_RET_TRACE if retraced => return true,
        SECCOMP_RET_TRACE if ptrace::event_stop(Event::Seccomp, value.into()) => {
            // The tracer may have changed the registers, and the filters judge what it made of them.
            let regs = black_box(regs);
            let goes_on = !signal::fatal_pending(me) && number_of(regs) >= 0;
            return goes_on && filter(me, regs, true);
        }
        // Nobody traces: the call is not there.
        SECCOMP_RET_TRACE => regs.rax = Errno::ENOSYS.as_return() as u64,
        SECCOMP_RET_USER_NOTIF if ask(me, regs, &data, verdict.notifier.as_deref()) => {
            return true;
        }
        SECCOMP_RET_USER_NOTIF => {}
        _ => kill(me, regs, action, value),
    }
    report::logged(regs, action, verdict.log);
    false
}

/// Asks whoever listens. True when the call is to be made after all.
fn ask(
    me: &CurrentTask,
    regs: &mut UserRegs,
    data: &SeccompData,
    notifier: Option<&Notifier>,
) -> bool {
    let reply = match notifier {
        Some(notifier) => notifier.ask(data),
        None => Err(Errno::ENOSYS),
    };
    match reply {
        Ok(Reply::Continue) => return true,
        Ok(Reply::Answer(value)) => regs.rax = value as u64,
        Err(errno) => {
            regs.rax = errno.as_return() as u64;
            if errno.is_restart() {
                me.arch.mark(arch::WORK_SIGNAL);
            }
        }
    }
    false
}

fn info_of(regs: &UserRegs, value: u32) -> SigInfo {
    SigInfo::sys(regs.rip, number_of(regs), AUDIT_ARCH_X86_64, value as i32)
}

/// SECCOMP_RET_KILL_THREAD and SECCOMP_RET_KILL_PROCESS, and what no filter should say.
fn kill(me: &CurrentTask, regs: &mut UserRegs, action: u32, value: u32) -> ! {
    me.seccomp.set_mode(MODE_DEAD);
    report::killed(regs, Signo::SYS, action);
    if action == SECCOMP_RET_KILL_THREAD && me.process.thread_count() > 1 {
        exit::exit_thread(u32::from(Signo::SYS.get()));
    }
    // What is dumped are the registers before the call.
    regs.rax = regs.orig_rax;
    signal::die(&info_of(regs, value))
}
