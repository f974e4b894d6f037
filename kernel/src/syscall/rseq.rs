//! Restartable sequences and barriers on other CPUs.

use abi::rseq::RSEQ_FLAG_UNREGISTER;
use abi::{Errno, Result};

use crate::arch::cpu::{self, CpuId};
use crate::task::membarrier::{self, Commands};
use crate::task::{self, rseq};

pub fn sys_rseq(addr: usize, len: u32, flags: u32, signature: u32) -> Result<usize> {
    let me = task::current();
    match flags {
        0 => rseq::register(&me, addr, len, signature)?,
        RSEQ_FLAG_UNREGISTER => rseq::unregister(&me, addr, len, signature)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const MEMBARRIER_CMD_QUERY: i32 = 0;
const MEMBARRIER_CMD_FLAG_CPU: u32 = 1;

pub fn sys_membarrier(command: i32, flags: u32, cpu: i32) -> Result<usize> {
    let wanted = Commands::from_bits(command as u32);
    let takes_cpu = wanted == Some(Commands::PRIVATE_EXPEDITED_RSEQ);
    if flags & !MEMBARRIER_CMD_FLAG_CPU != 0 || (flags != 0 && !takes_cpu) {
        return Err(Errno::EINVAL);
    }
    if command == MEMBARRIER_CMD_QUERY {
        return Ok(Commands::all().bits() as usize);
    }
    let only = (flags & MEMBARRIER_CMD_FLAG_CPU != 0).then_some(cpu);
    // On a CPU that there is not nobody runs, nor does who makes this call run a sequence; a negative number is for all.
    match only.map(u32::try_from) {
        Some(Ok(cpu)) if cpu as usize >= cpu::online() => {
            membarrier::run(wanted.ok_or(Errno::EINVAL)?, Some(cpu::current_id()))
        }
        Some(Ok(cpu)) => membarrier::run(wanted.ok_or(Errno::EINVAL)?, Some(CpuId(cpu))),
        _ => membarrier::run(wanted.ok_or(Errno::EINVAL)?, None),
    }
}
