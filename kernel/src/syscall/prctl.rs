//! prctl(2).

use core::sync::atomic::Ordering;

use abi::{Errno, Result};
use alloc::sync::Arc;

use crate::mm::user::{UserPtr, copy_out};
use crate::task::cred::{CAP_LAST, CapSet, securebits};
use crate::task::{Cap, Cred, TaskFlags, current};

const PR_SET_PDEATHSIG: u32 = 1;
const PR_GET_PDEATHSIG: u32 = 2;
const PR_GET_DUMPABLE: u32 = 3;
const PR_SET_DUMPABLE: u32 = 4;
const PR_GET_KEEPCAPS: u32 = 7;
const PR_SET_KEEPCAPS: u32 = 8;
const PR_SET_NAME: u32 = 15;
const PR_GET_NAME: u32 = 16;
const PR_CAPBSET_READ: u32 = 23;
const PR_CAPBSET_DROP: u32 = 24;
const PR_GET_SECUREBITS: u32 = 27;
const PR_SET_SECUREBITS: u32 = 28;
const PR_SET_TIMERSLACK: u32 = 29;
const PR_GET_TIMERSLACK: u32 = 30;
const PR_SET_CHILD_SUBREAPER: u32 = 36;
const PR_GET_CHILD_SUBREAPER: u32 = 37;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const PR_GET_NO_NEW_PRIVS: u32 = 39;
const PR_GET_TID_ADDRESS: u32 = 40;
const PR_CAP_AMBIENT: u32 = 47;
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
        }
        PR_GET_NAME => copy_out(a, &me.comm())?,
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
        _ => return capability_option(option, a, b, [c, d]),
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
