//! A CPU that runs out of work takes some from the busiest other.

use alloc::sync::Arc;

use super::core::{Cpu, try_lock};
use crate::arch::{self, cpu::CpuId};
use crate::task::Task;

/// Takes a waiting task of another CPU that may run on `here`. The caller holds its own queue, so others are only
/// tried: two thieves never wait for each other.
pub(super) fn steal(own: &mut Cpu, here: CpuId) -> Option<Arc<Task>> {
    let online = arch::cpu::online() as u32;
    for step in 1..online {
        let victim = CpuId((here.0 + step) % online);
        let Some(mut other) = try_lock(victim) else {
            continue;
        };
        let taken = other
            .queue
            .remove(|task| task.sched.affinity() & here.bit() != 0);
        if let Some(task) = taken {
            task.sched.set_cpu(here);
            let mut entity = task.sched.entity.lock();
            own.queue.place(&mut entity, false);
            drop(entity);
            return Some(task);
        }
    }
    None
}
