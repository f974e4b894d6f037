//! The call: which request does what.

use alloc::sync::Arc;

use abi::signal::{SigInfo, Signo, si};
use abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::control::{self, Frozen, Resume};
use super::state::Options;
use super::{attach, calls, memory, regs, siginfo};
use crate::mm::user::{UserPtr, copy_out};
use crate::signal;
use crate::sync::current;
use crate::task::{Cap, Pid, Task, find_process, find_task};

const TRACEME: usize = 0;
const PEEKTEXT: usize = 1;
const PEEKDATA: usize = 2;
const PEEKUSER: usize = 3;
const POKETEXT: usize = 4;
const POKEDATA: usize = 5;
const POKEUSER: usize = 6;
const CONT: usize = 7;
const KILL: usize = 8;
const SINGLESTEP: usize = 9;
const GETREGS: usize = 12;
const SETREGS: usize = 13;
const GETFPREGS: usize = 14;
const SETFPREGS: usize = 15;
const ATTACH: usize = 16;
const DETACH: usize = 17;
const OLDSETOPTIONS: usize = 21;
const SYSCALL: usize = 24;
const ARCH_PRCTL: usize = 30;
const SYSEMU: usize = 31;
const SYSEMU_SINGLESTEP: usize = 32;
const SINGLEBLOCK: usize = 33;
const SETOPTIONS: usize = 0x4200;
const GETEVENTMSG: usize = 0x4201;
const GETSIGINFO: usize = 0x4202;
const SETSIGINFO: usize = 0x4203;
const GETREGSET: usize = 0x4204;
const SETREGSET: usize = 0x4205;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const LISTEN: usize = 0x4208;
const PEEKSIGINFO: usize = 0x4209;
const GETSIGMASK: usize = 0x420a;
const SETSIGMASK: usize = 0x420b;
const GET_SYSCALL_INFO: usize = 0x420e;
const GET_RSEQ_CONFIGURATION: usize = 0x420f;

/// `ptrace(2)`.
///
/// # Errors
/// Those of `ptrace(2)`.
pub fn ptrace(request: usize, pid: Pid, addr: usize, data: usize) -> Result<usize> {
    if request == TRACEME {
        return attach::traceme().map(|()| 0);
    }
    let task = match find_task(pid) {
        Some(task) => task,
        // It has ended, but was not waited for.
        None if matches!(request, ATTACH | SEIZE) && find_process(pid).is_some() => {
            return Err(Errno::EPERM);
        }
        None => return Err(Errno::ESRCH),
    };
    match request {
        ATTACH => attach::attach(&task, None).map(|()| 0),
        SEIZE => seize(&task, addr, data),
        KILL => kill(&task),
        INTERRUPT => {
            control::check_mine(&task)?;
            control::interrupt(&task).map(|()| 0)
        }
        _ => serve(Frozen::new(&task)?, request, addr, data),
    }
}

fn seize(task: &Arc<Task>, addr: usize, data: usize) -> Result<usize> {
    // For the call that came first, unknown options are EINVAL; here they are EIO.
    let options = u32::try_from(data).ok().and_then(Options::from_bits);
    let options = options.filter(|_| addr == 0).ok_or(Errno::EIO)?;
    check_options(options)?;
    attach::attach(task, Some(options)).map(|()| 0)
}

fn kill(task: &Arc<Task>) -> Result<usize> {
    control::check_mine(task)?;
    let me = current();
    let info = SigInfo::user(Signo::KILL, si::USER, me.process.pid.0, me.my_cred().uid);
    signal::send_to_task(task, info)?;
    Ok(0)
}

/// PTRACE_O_SUSPEND_SECCOMP switches protection off: for the super-user, and not for who is under it.
fn check_options(options: Options) -> Result<()> {
    if !options.contains(Options::SUSPEND_SECCOMP) {
        return Ok(());
    }
    let me = current();
    let confined = me.arch.syscall_work() & crate::arch::SYSCALL_SECCOMP != 0
        || me.ptrace.options().contains(Options::SUSPEND_SECCOMP);
    match me.my_cred().capable(Cap::SYS_ADMIN) && !confined {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

fn set_options(frozen: &Frozen, data: usize) -> Result<()> {
    let options = u32::try_from(data).ok().and_then(Options::from_bits);
    let options = options.ok_or(Errno::EINVAL)?;
    check_options(options)?;
    frozen.task().ptrace.set_options(options);
    Ok(())
}

/// A request of a tracee that is in a stop.
fn serve(frozen: Frozen, request: usize, addr: usize, data: usize) -> Result<usize> {
    let done = match request {
        PEEKTEXT | PEEKDATA => memory::peek(&frozen, addr, data),
        POKETEXT | POKEDATA => memory::poke(&frozen, addr, data),
        PEEKUSER => regs::peek_user(&frozen, addr, data),
        POKEUSER => regs::poke_user(&frozen, addr, data),
        GETREGS => regs::get_regs(&frozen, data),
        SETREGS => regs::set_regs(&frozen, data),
        GETFPREGS => regs::get_fpregs(&frozen, data),
        SETFPREGS => regs::set_fpregs(&frozen, data),
        GETREGSET => regs::get_set(&frozen, addr, data),
        SETREGSET => regs::set_set(&frozen, addr, data),
        ARCH_PRCTL => regs::arch_prctl(&frozen, data, addr),
        SETOPTIONS | OLDSETOPTIONS => set_options(&frozen, data),
        GETEVENTMSG => {
            let message = frozen.task().ptrace.stop.lock().message;
            UserPtr::<u64>::from(data).write(&message)
        }
        GETSIGINFO => siginfo::get(&frozen, data),
        SETSIGINFO => siginfo::set(&frozen, data),
        GETSIGMASK => siginfo::get_mask(&frozen, addr, data),
        SETSIGMASK => siginfo::set_mask(&frozen, addr, data),
        PEEKSIGINFO => return siginfo::peek(&frozen, addr, data),
        GET_SYSCALL_INFO => return calls::info(&frozen, addr, data),
        GET_RSEQ_CONFIGURATION => return rseq_configuration(&frozen, addr, data),
        LISTEN => control::listen(&frozen),
        DETACH => frozen.detach(data),
        CONT => frozen.resume(Resume::Continue, data),
        SYSCALL => frozen.resume(Resume::Syscall, data),
        SINGLESTEP => frozen.resume(Resume::Step, data),
        SINGLEBLOCK => frozen.resume(Resume::StepToBranch, data),
        SYSEMU => frozen.resume(Resume::Emulate, data),
        SYSEMU_SINGLESTEP => frozen.resume(Resume::EmulateStep, data),
        _ => Err(Errno::EIO),
    };
    done.map(|()| 0)
}

/// `struct ptrace_rseq_configuration`: as much of it as `room` bytes at `out` take; answers its size.
fn rseq_configuration(frozen: &Frozen, room: usize, out: usize) -> Result<usize> {
    let (addr, len, signature) = frozen.task().rseq.registration();
    let words = [addr as u64, u64::from(signature) << 32 | u64::from(len), 0];
    let bytes = words.as_bytes();
    copy_out(out, bytes.get(..room).unwrap_or(bytes))?;
    Ok(bytes.len())
}
