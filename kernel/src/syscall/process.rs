//! Processes and threads.

use abi::wait::SigchldInfo;
use abi::{Errno, Result};

use crate::mm::user::{UserCStr, UserPtr, copy_in, zero_out};
use crate::net::netlink::connector;
use crate::syscall::limits::write_rusage;
use crate::task::clone::{self, CloneArgs, CloneFlags};
use crate::task::wait::{self, WaitOptions, Which};
use crate::task::{self, Cap, Pid, current, exec, exit, namespace, tree};
use crate::tty;
use core::sync::atomic::Ordering;

pub fn sys_getpid() -> Result<usize> {
    Ok(current().process.pid.0 as usize)
}

pub fn sys_gettid() -> Result<usize> {
    Ok(current().tid().0 as usize)
}

pub fn sys_getppid() -> Result<usize> {
    Ok(current().process.ppid().0 as usize)
}

pub fn sys_clone(
    flags: usize,
    stack: usize,
    parent_tid: usize,
    child_tid: usize,
    tls: usize,
) -> Result<usize> {
    // The low byte is the exit signal; unknown flags cannot be given in the 32 bits that count.
    let exit_signal = (flags & 0xff) as u32;
    let flags = CloneFlags::from_bits_retain((flags & 0xffff_ff00) as u64);
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags,
        pidfd: parent_tid,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        tls,
    };
    clone::clone(&args)
}

pub fn sys_fork() -> Result<usize> {
    clone::clone(&CloneArgs::FORK)
}

pub fn sys_vfork() -> Result<usize> {
    clone::clone(&CloneArgs {
        flags: CloneFlags::VFORK | CloneFlags::VM,
        ..CloneArgs::FORK
    })
}

/// The first version of `struct clone_args`, and the one with `set_tid` and `cgroup`.
const CLONE_ARGS_SIZE_VER0: usize = 64;
const CLONE_ARGS_SIZE: usize = 88;

pub fn sys_clone3(args: usize, size: usize) -> Result<usize> {
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let words = read_extensible::<{ CLONE_ARGS_SIZE / 8 }>(args, size)?;
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        stack_size,
        tls,
        set_tid,
        set_tid_size,
        _,
    ] = words;
    let flags = CloneFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.contains(CloneFlags::DETACHED) || exit_signal > 64 {
        return Err(Errno::EINVAL);
    }
    let thread_like = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    if thread_like && exit_signal != 0 || (stack == 0) != (stack_size == 0) {
        return Err(Errno::EINVAL);
    }
    // Choosing numbers takes a checkpoint-restore capable kernel.
    if set_tid != 0 || set_tid_size != 0 {
        return Err(Errno::EINVAL);
    }
    clone::clone(&CloneArgs {
        flags,
        pidfd: pidfd as usize,
        child_tid: child_tid as usize,
        parent_tid: parent_tid as usize,
        exit_signal: exit_signal as u32,
        stack: stack.wrapping_add(stack_size) as usize,
        tls: tls as usize,
    })
}

/// Reads a structure that grows by versions: a shorter one is filled with zeros, a longer one must end in zeros.
///
/// # Errors
/// `E2BIG` when bytes that this kernel does not know are set; `EFAULT`.
pub(super) fn read_extensible<const WORDS: usize>(
    from: usize,
    size: usize,
) -> Result<[u64; WORDS]> {
    let known = WORDS * 8;
    let mut bytes = [0; 128];
    let mut at = known;
    while at < size {
        let chunk = (size - at).min(bytes.len());
        copy_in(from.wrapping_add(at), &mut bytes[..chunk])?;
        if bytes[..chunk].iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
        at += chunk;
    }
    bytes.fill(0);
    let bytes = bytes.get_mut(..known).ok_or(Errno::E2BIG)?;
    copy_in(from, &mut bytes[..size.min(known)])?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Ok(words)
}

pub fn sys_execve(path: UserCStr, argv: usize, envp: usize) -> Result<usize> {
    exec::execve_at(abi::fs::AT_FDCWD, path, argv, envp, 0)
}

pub fn sys_execveat(
    dirfd: i32,
    path: UserCStr,
    argv: usize,
    envp: usize,
    flags: u32,
) -> Result<usize> {
    const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    const AT_EMPTY_PATH: u32 = 0x1000;
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    exec::execve_at(dirfd, path, argv, envp, flags)
}

pub fn sys_exit(code: i32) -> Result<usize> {
    exit::exit_thread((code as u32 & 0xff) << 8)
}

pub fn sys_exit_group(code: i32) -> Result<usize> {
    exit::exit_process((code as u32 & 0xff) << 8)
}

pub fn sys_wait4(pid: Pid, status: usize, options: u32, rusage: usize) -> Result<usize> {
    const WNOHANG: u32 = 1;
    const WUNTRACED: u32 = 2;
    const WCONTINUED: u32 = 8;
    const KNOWN: u32 = WNOHANG | WUNTRACED | WCONTINUED | 0xe000_0000;
    if options & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let options = WaitOptions::from_bits_truncate(options) | WaitOptions::EXITED;
    let which = match pid.0 {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Which::Any,
        0 => Which::Group(current().process.pgid()),
        pid if pid < -1 => Which::Group(Pid(-pid)),
        pid => Which::Pid(Pid(pid)),
    };
    let Some(waited) = wait::wait(&which, options)? else {
        return Ok(0);
    };
    if status != 0 {
        UserPtr::<i32>::from(status).write(&(waited.news.to_status() as i32))?;
    }
    if rusage != 0 {
        write_rusage(rusage, &waited.usage)?;
    }
    Ok(waited.pid.0 as usize)
}

pub fn sys_waitid(which: u32, id: Pid, info: usize, options: u32, rusage: usize) -> Result<usize> {
    const P_ALL: u32 = 0;
    const P_PID: u32 = 1;
    const P_PGID: u32 = 2;
    const P_PIDFD: u32 = 3;
    let options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(Errno::EINVAL);
    }
    let mut sleeps = true;
    let which = match (which, id.0) {
        (P_ALL, _) => Which::Any,
        (P_PID, 1..) => Which::Pid(id),
        (P_PGID, 0) => Which::Group(current().process.pgid()),
        (P_PGID, 1..) => Which::Group(id),
        (P_PIDFD, 0..) => {
            sleeps = !task::pidfd::is_nonblocking(id.0)?;
            Which::Process(task::pidfd::process_of(id.0)?)
        }
        _ => return Err(Errno::EINVAL),
    };
    let asked = options;
    let options = match sleeps {
        true => options,
        false => options | WaitOptions::NOHANG,
    };
    let waited = wait::wait(&which, options)?;
    if waited.is_none() && !asked.contains(WaitOptions::NOHANG) {
        return Err(Errno::EAGAIN);
    }
    if info != 0 {
        match &waited {
            Some(waited) => {
                let (code, status) = waited.news.to_siginfo();
                let filled = SigchldInfo::new(code, waited.pid.0, waited.uid, status);
                UserPtr::<SigchldInfo>::from(info).write(&filled)?;
            }
            // Only the fields that a wait fills are cleared, and si_signo tells that nothing came.
            None => zero_out(info, 28)?,
        }
    }
    if let Some(waited) = &waited
        && rusage != 0
    {
        write_rusage(rusage, &waited.usage)?;
    }
    Ok(0)
}

pub fn sys_setpgid(pid: Pid, pgid: Pid) -> Result<usize> {
    tree::set_group(&current().process, pid, pgid)?;
    Ok(0)
}

pub fn sys_getpgid(pid: Pid) -> Result<usize> {
    let process = process_or_self(pid)?;
    Ok(process.pgid().0 as usize)
}

pub fn sys_getpgrp() -> Result<usize> {
    Ok(current().process.pgid().0 as usize)
}

pub fn sys_setsid() -> Result<usize> {
    let me = current();
    let sid = tree::new_session(&me.process)?;
    if connector::is_heard() {
        connector::sid(&me);
    }
    Ok(sid.0 as usize)
}

pub fn sys_vhangup() -> Result<usize> {
    if !current().my_cred().capable(Cap::SYS_TTY_CONFIG) {
        return Err(Errno::EPERM);
    }
    tty::hang_up_current();
    Ok(0)
}

pub fn sys_getsid(pid: Pid) -> Result<usize> {
    let process = process_or_self(pid)?;
    Ok(process.sid().0 as usize)
}

fn process_or_self(pid: Pid) -> Result<alloc::sync::Arc<task::Process>> {
    if pid.0 == 0 {
        return Ok(current().process.clone());
    }
    task::find_task(pid)
        .map(|task| task.process.clone())
        .or_else(|| task::find_process(pid))
        .ok_or(Errno::ESRCH)
}

pub fn sys_set_tid_address(address: usize) -> Result<usize> {
    let me = current();
    me.clear_child_tid.store(address, Ordering::Relaxed);
    Ok(me.tid().0 as usize)
}

pub fn sys_personality(persona: u32) -> Result<usize> {
    let word = &current().process.personality;
    let old = match persona {
        u32::MAX => word.load(Ordering::Relaxed),
        new => word.swap(new, Ordering::Relaxed),
    };
    Ok(old as usize)
}

pub fn sys_unshare(flags: usize) -> Result<usize> {
    clone::unshare(CloneFlags::from_bits_retain(flags as u64))
}

pub fn sys_setns(fd: i32, nstype: u32) -> Result<usize> {
    namespace::enter(fd, u64::from(nstype)).map(|()| 0)
}

pub fn sys_ptrace(request: usize, pid: Pid, addr: usize, data: usize) -> Result<usize> {
    task::ptrace::ptrace(request, pid, addr, data)
}

pub fn sys_arch_prctl(code: u32, address: usize) -> Result<usize> {
    const ARCH_GET_CPUID: u32 = 0x1011;
    const ARCH_SET_CPUID: u32 = 0x1012;
    const ARCH_GET_XCOMP_SUPP: u32 = 0x1021;
    const ARCH_GET_XCOMP_PERM: u32 = 0x1022;
    const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
    const ARCH_GET_XCOMP_GUEST_PERM: u32 = 0x1024;
    const ARCH_REQ_XCOMP_GUEST_PERM: u32 = 0x1025;
    /// The last state that could be asked for: that of tiles.
    const XFEATURE_MAX: usize = 18;
    match code {
        // CPUID is always allowed, and no processor here can forbid it.
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(Errno::ENODEV),
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM | ARCH_GET_XCOMP_GUEST_PERM => {
            UserPtr::<u64>::from(address).write(&crate::arch::fpu::features())?;
        }
        // Of the states that need a permission there is none.
        ARCH_REQ_XCOMP_PERM | ARCH_REQ_XCOMP_GUEST_PERM if address <= XFEATURE_MAX => {
            return Err(Errno::EOPNOTSUPP);
        }
        _ => task::thread_prctl(&current(), code, address)?,
    }
    Ok(0)
}
