//! prctl(2).

use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use alloc::sync::Arc;
use zerocopy::IntoBytes;

use crate::arch;
use crate::mm::space::{MDWE_NO_INHERIT, MDWE_REFUSE_EXEC_GAIN};
use crate::mm::user::{UserPtr, copy_out};
use crate::net::netlink::connector;
use crate::sync::CurrentTask;
use crate::task::cred::{CAP_LAST, CapSet, securebits};
use crate::task::{Cap, Cred, TaskFlags, current, user_dispatch};

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_PDEATHSIG: u32 = 2;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_GET_KEEPCAPS: u32 = 7;
const PR_SET_KEEPCAPS: u32 = 8;
const PR_GET_TIMING: u32 = 13;
const PR_SET_TIMING: u32 = 14;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const PR_GET_SECCOMP: u32 = 21;
const PR_SET_SECCOMP: u32 = 22;
const PR_CAPBSET_READ: u32 = 23;
const PR_CAPBSET_DROP: u32 = 24;
const PR_GET_TSC: u32 = 25;
const PR_SET_TSC: u32 = 26;
const PR_GET_SECUREBITS: u32 = 27;
const PR_SET_SECUREBITS: u32 = 28;
const PR_SET_TIMERSLACK: u32 = 29;
const PR_GET_TIMERSLACK: u32 = 30;
const PR_MCE_KILL: u32 = 33;
const PR_MCE_KILL_GET: u32 = 34;
const PR_SET_MM: u32 = 35;
const PR_SET_CHILD_SUBREAPER: u32 = 36;
const PR_GET_CHILD_SUBREAPER: u32 = 37;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_GET_NO_NEW_PRIVS: u32 = 39;
const PR_GET_TID_ADDRESS: u32 = 40;
const PR_SET_THP_DISABLE: u32 = 41;
const PR_GET_THP_DISABLE: u32 = 42;
const PR_CAP_AMBIENT: u32 = 47;
const PR_GET_SPECULATION_CTRL: u32 = 52;
const PR_SET_SPECULATION_CTRL: u32 = 53;
const PR_SET_IO_FLUSHER: u32 = 57;
const PR_GET_IO_FLUSHER: u32 = 58;
const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;
const PR_SET_MDWE: u32 = 65;
const PR_GET_MDWE: u32 = 66;
const PR_GET_AUXV: u32 = 0x4155_5856;
const PR_SET_VMA: u32 = 0x5356_4d41;
const PR_SET_VMA_ANON_NAME: usize = 0;

/// A thread's name: longer ones are cut, not refused.
fn read_name(from: usize) -> Result<[u8; 16]> {
    let mut name = [0; 16];
    for (index, byte) in name[..15].iter_mut().enumerate() {
        *byte = UserPtr::<u8>::from(from.wrapping_add(index)).read()?;
        if *byte == 0 {
            break;
        }
    }
    Ok(name)
}

pub fn sys_prctl(option: u32, a: usize, b: usize, c: usize, d: usize) -> Result<usize> {
    let me = current();
    let no_more = |rest: &[usize]| match rest.iter().all(|argument| *argument == 0) {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    };
    match option {
        PR_SET_PDEATHSIG if a > 64 => return Err(Errno::EINVAL),
        PR_SET_PDEATHSIG => me.parent_death_signal.store(a as u32, Ordering::Relaxed),
        PR_GET_PDEATHSIG => {
            let signal = me.parent_death_signal.load(Ordering::Relaxed) as i32;
            UserPtr::<i32>::from(a).write(&signal)?;
        }
        PR_GET_DUMPABLE => return Ok(me.process.dumpable.load(Ordering::Relaxed) as usize),
        PR_SET_DUMPABLE if a > 1 => return Err(Errno::EINVAL),
        PR_SET_DUMPABLE => me.process.dumpable.store(a as u32, Ordering::Relaxed),
        PR_SET_NAME => {
            let name = read_name(a)?;
            let len = name.iter().position(|byte| *byte == 0).unwrap_or(15);
            me.set_comm(&name[..len]);
            if connector::is_heard() {
                connector::comm(&me);
            }
        }
        PR_GET_NAME => copy_out(a, &me.comm())?,
        PR_GET_SECCOMP => return Ok(usize::from(me.seccomp.mode())),
        PR_SET_SECCOMP => return super::seccomp::set_mode(a, b),
        PR_SET_TIMERSLACK => {
            let slack = match a {
                0 => me.default_timer_slack_ns.load(Ordering::Relaxed),
                _ => a as u64,
            };
            me.timer_slack_ns.store(slack, Ordering::Relaxed);
        }
        PR_GET_TIMERSLACK => return Ok(me.timer_slack_ns.load(Ordering::Relaxed) as usize),
        PR_SET_CHILD_SUBREAPER => me.process.is_subreaper.store(a != 0, Ordering::Relaxed),
        PR_GET_CHILD_SUBREAPER => {
            let is_subreaper = i32::from(me.process.is_subreaper.load(Ordering::Relaxed));
            UserPtr::<i32>::from(a).write(&is_subreaper)?;
        }
        PR_SET_NO_NEW_PRIVS => {
            no_more(&[b, c, d])?;
            if a != 1 {
                return Err(Errno::EINVAL);
            }
            me.set_flags(TaskFlags::NO_NEW_PRIVS);
        }
        PR_GET_NO_NEW_PRIVS => {
            no_more(&[a, b, c, d])?;
            return Ok(usize::from(me.flags().contains(TaskFlags::NO_NEW_PRIVS)));
        }
        PR_GET_TID_ADDRESS => {
            let address = me.clear_child_tid.load(Ordering::Relaxed);
            UserPtr::<usize>::from(a).write(&address)?;
        }
        PR_SET_VMA if a == PR_SET_VMA_ANON_NAME => name_memory(b, c, d)?,
        PR_SET_VMA => return Err(Errno::EINVAL),
        PR_SET_MM => return super::prctl_mm::set(a, b, c, d),
        PR_SET_SYSCALL_USER_DISPATCH => user_dispatch::set(a, b, c, d)?,
        PR_CAP_AMBIENT | PR_GET_KEEPCAPS..=PR_SET_KEEPCAPS | PR_CAPBSET_READ..=PR_CAPBSET_DROP => {
            return capability_option(option, a, b, [c, d]);
        }
        PR_GET_SECUREBITS..=PR_SET_SECUREBITS => return capability_option(option, a, b, [c, d]),
        _ => return machine_option(&me, option, [a, b, c, d]),
    }
    Ok(0)
}

/// What concerns the processor, memory as a whole, and time.
fn machine_option(me: &CurrentTask, option: u32, args: [usize; 4]) -> Result<usize> {
    let [a, b, c, d] = args;
    let only_first = (b, c, d) == (0, 0, 0);
    match option {
        // The only way of taking times here.
        PR_GET_TIMING => Ok(0),
        PR_SET_TIMING if a == 0 => Ok(0),
        PR_GET_TSC => {
            let right = 1 + i32::from(me.arch.forbids_tsc());
            UserPtr::<i32>::from(a).write(&right).map(|()| 0)
        }
        PR_SET_TSC if a == 1 || a == 2 => {
            arch::forbid_tsc(a == 2);
            Ok(0)
        }
        PR_MCE_KILL if (c, d) == (0, 0) => set_machine_check(me, a, b),
        PR_MCE_KILL_GET if args == [0; 4] => Ok(machine_check(me)),
        PR_SET_THP_DISABLE if only_first => {
            me.my_mm().refuse_huge(a != 0);
            Ok(0)
        }
        PR_GET_THP_DISABLE if args == [0; 4] => Ok(usize::from(me.my_mm().refuses_huge())),
        PR_GET_SPECULATION_CTRL if (b, c, d) == (0, 0, 0) => speculation(a),
        PR_SET_SPECULATION_CTRL if (c, d) == (0, 0) => set_speculation(a, b),
        PR_SET_MDWE if only_first => set_mdwe(me, a),
        PR_GET_MDWE if args == [0; 4] => Ok(me.my_mm().mdwe() as usize),
        PR_SET_IO_FLUSHER | PR_GET_IO_FLUSHER => io_flusher(me, option, args),
        PR_GET_AUXV if (c, d) == (0, 0) => {
            let words = me.my_mm().auxv();
            let bytes = words.as_bytes();
            copy_out(a, bytes.get(..b).unwrap_or(bytes))?;
            Ok(bytes.len())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// What was refused once stays so.
fn set_mdwe(me: &CurrentTask, bits: usize) -> Result<usize> {
    let new = u32::try_from(bits).map_err(|_| Errno::EINVAL)?;
    let both = MDWE_REFUSE_EXEC_GAIN | MDWE_NO_INHERIT;
    // Not to hand on what is not there has no meaning.
    if new & !both != 0 || new == MDWE_NO_INHERIT {
        return Err(Errno::EINVAL);
    }
    let mm = me.my_mm();
    if mm.mdwe() != 0 && mm.mdwe() != new {
        return Err(Errno::EPERM);
    }
    mm.set_mdwe(new);
    Ok(0)
}

const PR_SPEC_STORE_BYPASS: usize = 0;
const PR_SPEC_INDIRECT_BRANCH: usize = 1;
const PR_SPEC_L1D_FLUSH: usize = 2;
const PR_SPEC_NOT_AFFECTED: usize = 0;
const PR_SPEC_ENABLE: usize = 2;
const PR_SPEC_DISABLE: usize = 4;
const PR_SPEC_FORCE_DISABLE: usize = 8;

/// What speculation does: nothing here keeps it from anything.
fn speculation(which: usize) -> Result<usize> {
    match which {
        PR_SPEC_STORE_BYPASS if arch::features::bypasses_stores() => Ok(PR_SPEC_ENABLE),
        PR_SPEC_STORE_BYPASS => Ok(PR_SPEC_NOT_AFFECTED),
        PR_SPEC_INDIRECT_BRANCH => Ok(PR_SPEC_ENABLE),
        // The cache is never flushed for a thread.
        PR_SPEC_L1D_FLUSH => Ok(PR_SPEC_FORCE_DISABLE),
        _ => Err(Errno::ENODEV),
    }
}

/// Refuses as Linux does where it has no means: only what is so already may be asked for.
fn set_speculation(which: usize, wish: usize) -> Result<usize> {
    match (which, wish) {
        (PR_SPEC_STORE_BYPASS, _) => Err(Errno::ENXIO),
        (PR_SPEC_INDIRECT_BRANCH, PR_SPEC_ENABLE) => Ok(0),
        (PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE) => Err(Errno::EPERM),
        (PR_SPEC_INDIRECT_BRANCH, _) => Err(Errno::ERANGE),
        (PR_SPEC_L1D_FLUSH, _) => Err(Errno::EPERM),
        _ => Err(Errno::ENODEV),
    }
}

const PR_MCE_KILL_CLEAR: usize = 0;
const PR_MCE_KILL_SET: usize = 1;
const PR_MCE_KILL_LATE: usize = 0;
const PR_MCE_KILL_EARLY: usize = 1;
const PR_MCE_KILL_DEFAULT: usize = 2;

fn set_machine_check(me: &CurrentTask, action: usize, when: usize) -> Result<usize> {
    let both = TaskFlags::MCE_PROCESS | TaskFlags::MCE_EARLY;
    let flags = match (action, when) {
        (PR_MCE_KILL_CLEAR, 0) | (PR_MCE_KILL_SET, PR_MCE_KILL_DEFAULT) => TaskFlags::empty(),
        (PR_MCE_KILL_SET, PR_MCE_KILL_EARLY) => both,
        (PR_MCE_KILL_SET, PR_MCE_KILL_LATE) => TaskFlags::MCE_PROCESS,
        _ => return Err(Errno::EINVAL),
    };
    me.clear_flags(both);
    me.set_flags(flags);
    Ok(0)
}

fn machine_check(me: &CurrentTask) -> usize {
    let flags = me.flags();
    if !flags.contains(TaskFlags::MCE_PROCESS) {
        return PR_MCE_KILL_DEFAULT;
    }
    match flags.contains(TaskFlags::MCE_EARLY) {
        true => PR_MCE_KILL_EARLY,
        false => PR_MCE_KILL_LATE,
    }
}

fn io_flusher(me: &CurrentTask, option: u32, [a, b, c, d]: [usize; 4]) -> Result<usize> {
    if !me.my_cred().capable(Cap::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    if (b, c, d) != (0, 0, 0) {
        return Err(Errno::EINVAL);
    }
    match (option, a) {
        (PR_SET_IO_FLUSHER, 0) => me.clear_flags(TaskFlags::IO_FLUSHER),
        (PR_SET_IO_FLUSHER, 1) => me.set_flags(TaskFlags::IO_FLUSHER),
        (PR_GET_IO_FLUSHER, 0) => {
            return Ok(usize::from(me.flags().contains(TaskFlags::IO_FLUSHER)));
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `PR_SET_VMA_ANON_NAME`: what `maps` calls anonymous memory; a null pointer takes the name.
fn name_memory(start: usize, len: usize, name: usize) -> Result<()> {
    /// The longest name, with its NUL.
    const MAX_NAME: usize = 80;
    let shown = |byte: &u8| (0x20..0x7f).contains(byte) && !b"\\`$[]".contains(byte);
    let mut text = [0; MAX_NAME];
    let mut used = 0;
    if name != 0 {
        for slot in &mut text {
            *slot = UserPtr::<u8>::from(name.wrapping_add(used)).read()?;
            if *slot == 0 {
                break;
            }
            used += 1;
        }
        if used == MAX_NAME || !text.iter().take(used).all(shown) {
            return Err(Errno::EINVAL);
        }
    }
    let name = text.get(..used).filter(|_| name != 0);
    current().my_mm().set_name(start, len, name)
}

/// A change of the identity's capabilities and securebits.
fn change(change: impl FnOnce(&mut Cred)) -> Result<usize> {
    let me = current();
    let mut new = Cred::clone(&me.cred());
    change(&mut new);
    me.set_cred(Arc::new(new));
    Ok(0)
}

fn capability_option(option: u32, a: usize, b: usize, rest: [usize; 2]) -> Result<usize> {
    let cred = current().cred();
    match option {
        PR_GET_KEEPCAPS => Ok(usize::from(cred.securebits & securebits::KEEP_CAPS != 0)),
        PR_SET_KEEPCAPS if a > 1 => Err(Errno::EINVAL),
        PR_SET_KEEPCAPS if cred.securebits & securebits::KEEP_CAPS << 1 != 0 => Err(Errno::EPERM),
        PR_SET_KEEPCAPS => change(|new| {
            new.securebits &= !securebits::KEEP_CAPS;
            if a == 1 {
                new.securebits |= securebits::KEEP_CAPS;
            }
        }),
        PR_CAPBSET_READ => Ok(usize::from(cred.bounding.0 & capability_bit(a)? != 0)),
        PR_CAPBSET_DROP => {
            if !cred.capable(Cap::SETPCAP) {
                return Err(Errno::EPERM);
            }
            let bit = capability_bit(a)?;
            change(|new| new.bounding.0 &= !bit)
        }
        PR_GET_SECUREBITS => Ok(cred.securebits as usize),
        PR_SET_SECUREBITS => set_securebits(&cred, a),
        PR_CAP_AMBIENT => ambient_option(&cred, a, b, rest),
        _ => Err(Errno::EINVAL),
    }
}

fn capability_bit(number: usize) -> Result<u64> {
    if number > usize::from(CAP_LAST) {
        return Err(Errno::EINVAL);
    }
    Ok(1 << number)
}

/// Each securebit has a lock one bit above it.
fn set_securebits(cred: &Cred, bits: usize) -> Result<usize> {
    const ALL: u32 = 0xff;
    const LOCKS: u32 = 0xaa;
    let new = u32::try_from(bits).map_err(|_| Errno::EPERM)?;
    let locked = (cred.securebits & LOCKS) >> 1;
    let forbidden = locked & (cred.securebits ^ new) != 0
        || cred.securebits & LOCKS & !new != 0
        || new & !ALL != 0
        || !cred.capable(Cap::SETPCAP);
    if forbidden {
        return Err(Errno::EPERM);
    }
    change(|cred| cred.securebits = new)
}

fn ambient_option(cred: &Cred, action: usize, number: usize, rest: [usize; 2]) -> Result<usize> {
    const IS_SET: usize = 1;
    const RAISE: usize = 2;
    const LOWER: usize = 3;
    const CLEAR_ALL: usize = 4;
    if rest != [0, 0] {
        return Err(Errno::EINVAL);
    }
    if action == CLEAR_ALL {
        return if number == 0 {
            change(|new| new.ambient = CapSet::EMPTY)
        } else {
            Err(Errno::EINVAL)
        };
    }
    let bit = capability_bit(number)?;
    match action {
        IS_SET => Ok(usize::from(cred.ambient.0 & bit != 0)),
        RAISE => {
            let may = cred.permitted.0 & cred.inheritable.0 & bit != 0
                && cred.securebits & securebits::NO_CAP_AMBIENT_RAISE == 0;
            if may {
                change(|new| new.ambient.0 |= bit)
            } else {
                Err(Errno::EPERM)
            }
        }
        LOWER => change(|new| new.ambient.0 &= !bit),
        _ => Err(Errno::EINVAL),
    }
}
