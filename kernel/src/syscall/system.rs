//! The machine as a whole: names, load, the log, power.

use core::sync::atomic::Ordering;

use abi::system::{PER_LINUX32, PER_MASK, Sysinfo, UNAME26, Utsname};
use abi::{Errno, Result};

use crate::device::power;
use crate::mm;
use crate::mm::user::{UserPtr, copy_in};
use crate::sched;
use crate::system;
use crate::task::namespace::{NAME_LEN, Name};
use crate::task::{self, Cap, current};
use crate::time;

pub fn sys_uname(buffer: usize) -> Result<usize> {
    let mut names = Utsname::default();
    let persona = current().process.personality.load(Ordering::Relaxed);
    let old_release = (persona & UNAME26 != 0).then(system::release_as_26);
    let release = old_release.as_deref().unwrap_or(system::RELEASE);
    let machine: &[u8] = match persona & PER_MASK {
        PER_LINUX32 => b"i686",
        _ => b"x86_64",
    };
    let fields = [
        (&mut names.sysname, system::SYSNAME.as_bytes()),
        (&mut names.release, release.as_bytes()),
        (&mut names.version, system::VERSION.as_bytes()),
        (&mut names.machine, machine),
    ];
    for (field, value) in fields {
        let len = value.len().min(field.len() - 1);
        field[..len].copy_from_slice(&value[..len]);
    }
    let own = current().my_uts().names();
    (names.nodename, names.domainname) = (own.hostname, own.domainname);
    UserPtr::<Utsname>::from(buffer).write(&names)?;
    Ok(0)
}

fn read_name(name: usize, len: i32) -> Result<Name> {
    if !current().my_cred().capable(Cap::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let mut bytes = [0; NAME_LEN];
    // One byte stays for the NUL.
    let room = bytes.len() - 1;
    let target = bytes
        .get_mut(..len)
        .filter(|_| len <= room)
        .ok_or(Errno::EINVAL)?;
    copy_in(name, target)?;
    Ok(bytes)
}

pub fn sys_sethostname(name: usize, len: i32) -> Result<usize> {
    let name = read_name(name, len)?;
    current().my_uts().set_hostname(name);
    Ok(0)
}

pub fn sys_setdomainname(name: usize, len: i32) -> Result<usize> {
    let name = read_name(name, len)?;
    current().my_uts().set_domainname(name);
    Ok(0)
}

pub fn sys_sysinfo(buffer: usize) -> Result<usize> {
    let memory = mm::stats();
    let mut processes = 0;
    task::for_each_task(|_| processes += 1);
    let loads = sched::load_averages();
    let info = Sysinfo {
        uptime: (time::boottime_ns() / 1_000_000_000) as i64,
        // Fixed point with 16 bits behind the point.
        loads: loads.map(|hundredths| (hundredths << 16) / 100),
        total_ram: memory.total * mm::PAGE_SIZE as u64,
        free_ram: memory.free * mm::PAGE_SIZE as u64,
        shared_ram: memory.shmem * mm::PAGE_SIZE as u64,
        processes,
        mem_unit: 1,
        ..Sysinfo::default()
    };
    UserPtr::<Sysinfo>::from(buffer).write(&info)?;
    Ok(0)
}

const MAGIC1: u32 = 0xfee1_dead;
const MAGIC2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
const CMD_RESTART: u32 = 0x0123_4567;
const CMD_RESTART2: u32 = 0xa1b2_c3d4;
const CMD_HALT: u32 = 0xcdef_0123;
const CMD_POWER_OFF: u32 = 0x4321_fedc;
const CMD_CAD_ON: u32 = 0x89ab_cdef;
const CMD_CAD_OFF: u32 = 0;

pub fn sys_reboot(magic1: u32, magic2: u32, command: u32, _argument: usize) -> Result<usize> {
    if !current().my_cred().capable(Cap::SYS_BOOT) {
        return Err(Errno::EPERM);
    }
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL);
    }
    match command {
        CMD_CAD_ON => system::set_ctrl_alt_del_reboots(true),
        CMD_CAD_OFF => system::set_ctrl_alt_del_reboots(false),
        CMD_RESTART | CMD_RESTART2 => {
            log::info!("reboot: restarting system");
            power::restart()
        }
        CMD_POWER_OFF => {
            log::info!("reboot: power down");
            power::poweroff()
        }
        CMD_HALT => {
            log::info!("reboot: system halted");
            power::halt()
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

pub fn sys_syslog(action: i32, buffer: usize, len: i32) -> Result<usize> {
    crate::log::syslog(action, buffer, len)
}
