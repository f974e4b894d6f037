//! The threads of a process that is dumped: each notes what it was doing, and waits until the dump is done.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::signal::SigInfo;
use corefile::notes::{Ids, PrStatus};

use crate::arch::{self, UserRegs};
use crate::signal;
use crate::sync::{CurrentTask, SpinLock, WaitQueue};
use crate::task::Task;

/// What a thread was doing when it entered the kernel for the last time.
pub(super) struct Snapshot {
    /// Without the signal, which is the dump's.
    pub(super) status: PrStatus,
    /// The floating-point and vector state; `None` without memory for it.
    pub(super) fpu: Option<Box<[u8]>>,
}

struct Parked {
    snapshot: Snapshot,
    next: Option<Box<Parked>>,
}

#[derive(Default)]
struct List {
    first: Option<Box<Parked>>,
    arrived: usize,
}

/// A dump in progress.
///
/// # Invariants
/// Those who arrive are the threads that had not begun to exit when the dump began, less the one that dumps.
#[derive(Default)]
pub struct Gathering {
    parked: SpinLock<List>,
    arrival: WaitQueue,
    is_over: AtomicBool,
    end: WaitQueue,
}

impl Gathering {
    /// Begins the end of the running thread's process by the signal, and waits until all other threads wait. `None` when
    /// it ends already.
    pub(super) fn begin(me: &CurrentTask, info: &SigInfo) -> Option<Arc<Gathering>> {
        let gathering = Arc::new(Gathering::default());
        let others = signal::begin_dump(me, info, &gathering)?;
        // They are being killed: nothing keeps them for long.
        gathering
            .arrival
            .wait_uninterruptible(|| (gathering.parked.lock().arrived == others).then_some(()));
        Some(gathering)
    }

    /// The running thread is on its way out: waits for the dump's end.
    pub fn park(&self, me: &CurrentTask) {
        let mut node = Box::new(Parked {
            snapshot: snapshot(me),
            next: None,
        });
        let mut list = self.parked.lock();
        node.next = list.first.take();
        list.first = Some(node);
        list.arrived += 1;
        drop(list);
        self.arrival.wake_all();
        // Pairs with the store in `release`.
        self.end
            .wait_uninterruptible(|| self.is_over.load(Ordering::SeqCst).then_some(()));
    }

    /// What the other threads were doing.
    pub(super) fn take(&self) -> Vec<Snapshot> {
        let mut first = self.parked.lock().first.take();
        let mut all = Vec::new();
        while let Some(node) = first {
            // A thread that there is no memory for is not in the dump.
            if all.try_reserve(1).is_ok() {
                all.push(node.snapshot);
            }
            first = node.next;
        }
        all
    }

    /// The dump is over.
    pub(super) fn release(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.end.wake_all();
    }
}

/// Notes what the running thread was doing.
pub(super) fn snapshot(me: &CurrentTask) -> Snapshot {
    let process = &me.process;
    let own = match me.is_leader() {
        // As on Linux the leader stands for the whole process.
        true => process.rusage(),
        false => me.rusage(),
    };
    let children = *process.usage.children.lock();
    Snapshot {
        status: PrStatus {
            signal: [0; 3],
            pending: me.signal.pending().bits(),
            blocked: me.signal.blocked().bits(),
            ids: ids_of(me),
            times_ns: [
                own.user_ns,
                own.system_ns,
                children.user_ns,
                children.system_ns,
            ],
            registers: registers(me, arch::current_regs()),
        },
        fpu: arch::fpu::copy_current(),
    }
}

/// The numbers of a thread, its process's parent, group and session.
pub(super) fn ids_of(task: &Task) -> Ids {
    let process = &task.process;
    Ids {
        pid: task.tid().0,
        ppid: process.ppid().0,
        pgrp: process.pgid().0,
        sid: process.sid().0,
    }
}

/// `struct user_regs_struct`.
fn registers(task: &Task, regs: &UserRegs) -> [u64; 27] {
    let r = regs;
    [
        r.r15,
        r.r14,
        r.r13,
        r.r12,
        r.rbp,
        r.rbx,
        r.r11,
        r.r10,
        r.r9,
        r.r8,
        r.rax,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        r.orig_rax,
        r.rip,
        r.cs,
        r.rflags,
        r.rsp,
        r.ss,
        task.arch.fs_base(),
        task.arch.gs_base(),
        // DS, ES, FS and GS: selectors mean nothing to 64-bit programs here.
        0,
        0,
        0,
        0,
    ]
}
