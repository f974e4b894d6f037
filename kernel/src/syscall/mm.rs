//! Memory: `mmap` and its family, and what memory management asks of tasks.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::fs::{MountFlags, OpenFlags};
use abi::mman::{LockAllFlags, MLOCK_ONFAULT, MapFlags, Prot, RemapFlags, SyncFlags};
use abi::signal::{SigInfo, Signo};
use abi::{Errno, Result};

use crate::arch;
use crate::fs::{File, InodeFlags, memfd, userfaultfd};
use crate::mm::addr::page_up;
use crate::mm::hooks::{self, Limit, TaskHooks};
use crate::mm::oom;
use crate::mm::tunables;
use crate::mm::user::copy_out;
use crate::mm::{Backing, MapRequest, PAGE_SIZE, USER_END};
use crate::sched;
use crate::signal;
use crate::sync::{self, SpinLock};
use crate::task::cred::Cap;
use crate::task::process::Process;
use crate::task::rlimit::Resource;
use crate::task::{self, TaskFlags, current};
use crate::time;

/// The personality bit that makes readable memory executable.
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

/// `PROT_*` of `mmap`, which ignores bits it does not know.
fn mmap_prot(prot: u32) -> Prot {
    let prot = Prot::from_bits_truncate(prot & 7);
    let persona = current().process.personality.load(Ordering::Relaxed);
    match persona & READ_IMPLIES_EXEC != 0 && prot.contains(Prot::READ) {
        true => prot | Prot::EXEC,
        false => prot,
    }
}

pub fn sys_mmap(
    addr: usize,
    len: usize,
    prot: u32,
    flags: u32,
    fd: i32,
    offset: u64,
) -> Result<usize> {
    if !offset.is_multiple_of(PAGE_SIZE as u64) {
        return Err(Errno::EINVAL);
    }
    let flags = MapFlags::from_bits_retain(flags);
    let anonymous = flags.contains(MapFlags::ANONYMOUS);
    let file = match anonymous {
        true => None,
        false => Some(current().my_files().get(fd)?),
    };
    if flags.contains(MapFlags::HUGETLB) {
        return Err(no_huge_pages(flags, anonymous));
    }
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let shared = match flags.bits() & MapFlags::TYPE_MASK {
        1 => true,
        2 => false,
        3 if anonymous => return Err(Errno::EINVAL),
        3 if flags.bits() & !MapFlags::VALIDATED != 0 => return Err(Errno::EOPNOTSUPP),
        3 => true,
        _ => return Err(Errno::EINVAL),
    };
    if flags.contains(MapFlags::LOCKED) {
        let hooks = hooks::get();
        if !hooks.may_lock_memory() && hooks.rlimit(Limit::Memlock) == 0 {
            return Err(Errno::EPERM);
        }
    }
    let prot = mmap_prot(prot);
    let (backing, max_prot) = match file {
        None => (Backing::Anon, Prot::READ | Prot::WRITE | Prot::EXEC),
        Some(file) => file_backing(&file, prot, shared, offset)?,
    };
    current().my_mm().map(MapRequest {
        addr,
        len,
        prot,
        max_prot,
        flags,
        pkey: 0,
        backing,
    })
}

/// What `MAP_HUGETLB` earns where no huge pages were set aside: EINVAL for a file or a size that there is not.
fn no_huge_pages(flags: MapFlags, anonymous: bool) -> Errno {
    /// The size's logarithm lies in the upper six bits; none means the usual.
    const SIZE_SHIFT: u32 = 26;
    match flags.bits() >> SIZE_SHIFT {
        0 | 21 if anonymous => Errno::ENOMEM,
        30 if anonymous && arch::features::has(arch::features::Feature::GIB_PAGES) => Errno::ENOMEM,
        _ => Errno::EINVAL,
    }
}

/// What a mapping of a file shows, and which rights it may have. EACCES where the file was not opened for that, EPERM
/// on a mount without execution.
fn file_backing(
    file: &Arc<File>,
    prot: Prot,
    shared: bool,
    offset: u64,
) -> Result<(Backing, Prot)> {
    let mut max = Prot::READ | Prot::WRITE | Prot::EXEC;
    if shared && prot.contains(Prot::WRITE) && !file.writable() {
        return Err(Errno::EACCES);
    }
    // Stores could change what is there already.
    if shared && file.writable() && file.inode().flags().contains(InodeFlags::APPEND) {
        return Err(Errno::EACCES);
    }
    if shared && !file.writable() {
        max -= Prot::WRITE;
    }
    if !file.readable() {
        return Err(Errno::EACCES);
    }
    if file.path().mount.flags().contains(MountFlags::NOEXEC) {
        if prot.contains(Prot::EXEC) {
            return Err(Errno::EPERM);
        }
        max -= Prot::EXEC;
    }
    if shared && memfd::forbids_future_writes(file.inode()) {
        if prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM);
        }
        max -= Prot::WRITE;
    }
    let object = file.ops().mmap(file)?;
    let backing = Backing::File {
        object,
        offset,
        file: Some(file.clone()),
    };
    Ok((backing, max))
}

pub fn sys_munmap(addr: usize, len: usize) -> Result<usize> {
    current().my_mm().unmap(addr, len).map(|()| 0)
}

pub fn sys_mprotect(addr: usize, len: usize, prot: u32) -> Result<usize> {
    mprotect(addr, len, prot, None)
}

/// `mprotect`, and `pkey_mprotect` with a key.
pub(super) fn mprotect(addr: usize, len: usize, prot: u32, key: Option<u8>) -> Result<usize> {
    let both = Prot::GROWSDOWN | Prot::GROWSUP;
    let prot = Prot::from_bits_retain(prot);
    if prot.contains(both) || !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    if page_up(len).and_then(|len| addr.checked_add(len)).is_none() {
        return Err(Errno::ENOMEM);
    }
    if !Prot::all().contains(prot) {
        return Err(Errno::EINVAL);
    }
    // No stack of this architecture grows upwards; but a range that is none is told first.
    let rights = mmap_prot(prot.bits()) | (prot & both);
    current()
        .my_mm()
        .protect(addr, len, rights, key)
        .map(|()| 0)
}

pub fn sys_mremap(
    addr: usize,
    old_len: usize,
    new_len: usize,
    flags: u32,
    new_addr: usize,
) -> Result<usize> {
    let flags = RemapFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    current()
        .my_mm()
        .remap(addr, old_len, new_len, flags, new_addr)
}

/// `remap_file_pages`: Linux makes it a `mmap` of another part of the object in place.
pub fn sys_remap_file_pages(
    addr: usize,
    len: usize,
    prot: u32,
    page: usize,
    flags: u32,
) -> Result<usize> {
    if prot != 0 {
        return Err(Errno::EINVAL);
    }
    let flags = MapFlags::from_bits_retain(flags) & MapFlags::NONBLOCK;
    current()
        .my_mm()
        .remap_pages(addr, len, page, flags)
        .map(|()| 0)
}

pub fn sys_mseal(addr: usize, len: usize, flags: usize) -> Result<usize> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    current().my_mm().seal(addr, len).map(|()| 0)
}

pub fn sys_userfaultfd(flags: u32) -> Result<usize> {
    const USER_MODE_ONLY: u32 = 1;
    let known = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    let user_only = flags & USER_MODE_ONLY != 0;
    let capable = current().cred().capable(Cap::SYS_PTRACE);
    if !user_only && !userfaultfd::unprivileged() && !capable {
        return Err(Errno::EPERM);
    }
    let open = OpenFlags::from_bits(flags & !USER_MODE_ONLY).ok_or(Errno::EINVAL)?;
    if !known.contains(open) {
        return Err(Errno::EINVAL);
    }
    let file = userfaultfd::create(user_only, open & OpenFlags::NONBLOCK)?;
    current()
        .my_files()
        .install(file, open.contains(OpenFlags::CLOEXEC))
        .map(|fd| fd.to_ret())
}

pub fn sys_brk(new: usize) -> Result<usize> {
    Ok(current().my_mm().brk(new))
}

pub fn sys_madvise(addr: usize, len: usize, advice: u32) -> Result<usize> {
    current().my_mm().advise(addr, len, advice).map(|()| 0)
}

pub fn sys_msync(addr: usize, len: usize, flags: u32) -> Result<usize> {
    let flags = SyncFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    current().my_mm().sync(addr, len, flags).map(|()| 0)
}

pub fn sys_mincore(addr: usize, len: usize, out: usize) -> Result<usize> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let pages = len.div_ceil(PAGE_SIZE);
    if len > USER_END || addr > USER_END - len {
        return Err(Errno::ENOMEM);
    }
    let mut bytes = [0; 512];
    let mut done = 0;
    while done < pages {
        let now = (pages - done).min(bytes.len());
        let part = &mut bytes[..now];
        current().my_mm().resident(addr + done * PAGE_SIZE, part)?;
        copy_out(out.wrapping_add(done), part)?;
        done += now;
        sched::cond_resched();
    }
    Ok(0)
}

pub fn sys_mlock(addr: usize, len: usize) -> Result<usize> {
    current().my_mm().lock(addr, len, false).map(|()| 0)
}

pub fn sys_mlock2(addr: usize, len: usize, flags: u32) -> Result<usize> {
    if flags & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    current().my_mm().lock(addr, len, flags != 0).map(|()| 0)
}

pub fn sys_munlock(addr: usize, len: usize) -> Result<usize> {
    current().my_mm().unlock(addr, len).map(|()| 0)
}

pub fn sys_mlockall(flags: u32) -> Result<usize> {
    let flags = LockAllFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if !flags.intersects(LockAllFlags::CURRENT | LockAllFlags::FUTURE) {
        return Err(Errno::EINVAL);
    }
    current().my_mm().lock_all(flags).map(|()| 0)
}

pub fn sys_munlockall() -> Result<usize> {
    current().my_mm().unlock_all().map(|()| 0)
}

/// The process that was killed last for want of memory, and when.
static VICTIM: SpinLock<Option<(Arc<Process>, u64)>> = SpinLock::new(None);
/// How long the others wait for its memory before another is chosen: it may itself wait, for a lock whose holder waits
/// for memory.
const PATIENCE_NS: u64 = 100_000_000;
/// How long who waits for memory sleeps before it looks again.
const RELAX_NS: u64 = 1_000_000;

/// Whether the memory of the one killed last is still to come back.
fn victim_is_dying() -> bool {
    let last = VICTIM.lock().clone();
    last.is_some_and(|(victim, since)| {
        time::monotonic_ns() < since + PATIENCE_NS
            && victim.threads().iter().any(|thread| thread.mm().is_some())
    })
}

/// Whether a process gives its memory back by itself once it gets to run.
pub(super) fn dies(process: &Process) -> bool {
    process.signal.group_exit().is_some()
        || process.threads().iter().any(|thread| {
            signal::fatal_pending(thread) || thread.flags().contains(TaskFlags::EXITING)
        })
}

/// With `vm.oom_kill_allocating_task` the running process, unless it must not be killed.
fn allocating_victim(badness: fn(pages: u64, adj: i32) -> i64) -> Option<(i64, Arc<Process>)> {
    if !tunables::kills_allocating_task() {
        return None;
    }
    let process = current().process.clone();
    let adj = process.oom_score_adj.load(Ordering::Relaxed);
    let rate = badness(current().mm()?.badness_pages(), adj);
    (rate > 0 && !process.is_init()).then_some((rate, process))
}

/// What memory management asks of tasks.
struct Hooks;

impl TaskHooks for Hooks {
    fn rlimit(&self, limit: Limit) -> u64 {
        let resource = match limit {
            Limit::AddressSpace => Resource::As,
            Limit::Data => Resource::Data,
            Limit::Stack => Resource::Stack,
            Limit::Memlock => Resource::Memlock,
        };
        current().process.rlimits.soft(resource)
    }

    fn may_lock_memory(&self) -> bool {
        current().cred().capable(Cap::IPC_LOCK)
    }

    fn may_map_low(&self) -> bool {
        current().cred().capable(Cap::SYS_RAWIO)
    }

    fn may_use_admin_reserve(&self) -> bool {
        current().cred().capable(Cap::SYS_ADMIN)
    }

    fn fatal_signal_pending(&self) -> bool {
        signal::fatal_pending(&current())
    }

    fn oom_kill(&self, badness: fn(pages: u64, adj: i32) -> i64) {
        if victim_is_dying() {
            return;
        }
        if tunables::panic_on_oom() != 0 {
            panic!("Out of memory: system-wide panic_on_oom is enabled");
        }
        let mut worst = allocating_victim(badness);
        let chosen = worst.is_some();
        task::for_each_process(|process| {
            if chosen || process.is_init() || dies(process) {
                return;
            }
            let Some(mm) = process.threads().iter().find_map(|t| t.mm()) else {
                return;
            };
            let adj = process.oom_score_adj.load(Ordering::Relaxed);
            let rate = badness(mm.badness_pages(), adj);
            if rate > 0 && worst.as_ref().is_none_or(|(most, _)| rate > *most) {
                worst = Some((rate, process.clone()));
            }
        });
        let Some((rate, victim)) = worst else {
            return;
        };
        oom::count_kill();
        log::warn!(
            "Out of memory: killed process {} ({rate} pages)",
            victim.pid
        );
        let _ = signal::send_to_process(&victim, SigInfo::kernel(Signo::KILL));
        let last = VICTIM.lock().replace((victim, time::monotonic_ns()));
        drop(last);
    }

    fn relax(&self) {
        // A signal ends the sleep at once; others get to run all the same.
        if sched::sleep_until(time::monotonic_ns() + RELAX_NS).is_err() {
            sched::yield_now();
        }
    }

    fn took_from_reserve(&self) {
        if let Some(task) = sync::try_current() {
            task.arch.mark(arch::WORK_MEMORY);
        }
    }
}

/// Makes tasks known to memory management. Before the first process.
pub fn register_hooks() {
    hooks::register(&Hooks);
}
