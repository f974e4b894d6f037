//! What a signal tells: where it came from, and which fault it is.

use std::sync::atomic::Ordering;

use super::{SEEN, queue, value_of};
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    siginfo_of_kill,
    siginfo_of_tgkill,
    siginfo_of_sigqueue,
    sigqueue_refuses_forged_codes_to_others,
    siginfo_of_a_child,
    siginfo_of_a_segfault,
    siginfo_of_access_errors,
    siginfo_of_a_breakpoint_and_division,
    siginfo_of_an_illegal_instruction,
    fault_in_a_blocked_signal_kills,
];

fn siginfo_of_kill() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    raise(libc::SIGUSR1)?;
    let info = last_info();
    equal(
        (info.si_signo, info.si_errno, info.si_code),
        (libc::SIGUSR1, 0, libc::SI_USER),
    )?;
    // SAFETY: the signal was sent by kill.
    equal(unsafe { (info.si_pid(), info.si_uid()) }, (getpid(), 0))
}

fn siginfo_of_tgkill() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    sys!(SYS_tgkill, getpid(), sys!(SYS_gettid)?, libc::SIGUSR1)?;
    equal(last_info().si_code, libc::SI_TKILL)?;
    // SAFETY: the signal was sent by a process.
    equal(unsafe { last_info().si_pid() }, getpid())
}

fn siginfo_of_sigqueue() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    queue(getpid(), libc::SIGUSR1, 0x1234)?;
    equal(
        (last_info().si_code, value_of(&last_info())),
        (libc::SI_QUEUE, 0x1234),
    )
}

fn sigqueue_refuses_forged_codes_to_others() -> Outcome {
    let other = fork(|| {
        loop {
            let _ = sys!(SYS_pause);
        }
    })?;
    let mut info = [0_i32; 32];
    for code in [libc::SI_USER, libc::SI_TKILL, 1] {
        info[2] = code;
        fails(
            sys!(SYS_rt_sigqueueinfo, other, libc::SIGURG, &info),
            libc::EPERM,
        )?;
    }
    sys!(SYS_kill, other, libc::SIGKILL)?;
    equal(wait(other)?, libc::SIGKILL)
}

fn siginfo_of_a_child() -> Outcome {
    block(&[libc::SIGCHLD])?;
    let pid = fork(|| 21)?;
    let info = take(&[libc::SIGCHLD])?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGCHLD, libc::CLD_EXITED),
    )?;
    // SAFETY: the signal tells of a child.
    equal(unsafe { (info.si_pid(), info.si_status()) }, (pid, 21))?;
    equal(wait(pid)?, 21 << 8)
}

/// The number, code and address of the signal that a body causes, sent back by its handler.
fn fault_of(signal: i32, body: impl FnOnce()) -> Outcome<(i32, i32, usize)> {
    extern "C" fn tell(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        let fd = SEEN.load(Ordering::SeqCst) as i32;
        // SAFETY: the signal tells of a fault.
        let (code, addr) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&signal.to_le_bytes());
        bytes[4..8].copy_from_slice(&code.to_le_bytes());
        bytes[8..].copy_from_slice(&addr.to_le_bytes());
        let _ = write(fd, &bytes);
        exit(0)
    }
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        SEEN.store(write_end as usize, Ordering::SeqCst);
        let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = tell;
        let _ = handle(signal, handler as usize, libc::SA_SIGINFO, &[]);
        body();
        1
    })?;
    close(write_end)?;
    equal(wait(pid)?, 0)?;
    let bytes = read_some(read_end)?;
    let number = |from: usize| {
        bytes.get(from..from + 4).map_or(0, |four| {
            i32::from_le_bytes(four.try_into().unwrap_or_default())
        })
    };
    let addr = bytes.get(8..16).map_or(0, |eight| {
        usize::from_le_bytes(eight.try_into().unwrap_or_default())
    });
    Ok((number(0), number(4), addr))
}

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;

fn siginfo_of_a_segfault() -> Outcome {
    let addr = map(PAGE)?;
    sys!(SYS_munmap, addr, PAGE)?;
    let read_fault = fault_of(libc::SIGSEGV, || touch(addr + 5))?;
    equal(read_fault, (libc::SIGSEGV, SEGV_MAPERR, addr + 5))?;
    let write_fault = fault_of(libc::SIGSEGV, || poke(addr + 7, 1))?;
    equal(write_fault, (libc::SIGSEGV, SEGV_MAPERR, addr + 7))
}

fn siginfo_of_access_errors() -> Outcome {
    let addr = map_with(
        PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    )?;
    peek(addr);
    equal(
        fault_of(libc::SIGSEGV, || poke(addr, 1))?,
        (libc::SIGSEGV, SEGV_ACCERR, addr),
    )?;
    let execute = || {
        // SAFETY: the jump faults, which is the point.
        unsafe { std::arch::asm!("call {}", in(reg) addr) }
    };
    equal(
        fault_of(libc::SIGSEGV, execute)?,
        (libc::SIGSEGV, SEGV_ACCERR, addr),
    )?;
    // A non-canonical address has no address to tell.
    let beyond = fault_of(libc::SIGSEGV, || touch(0x8000_0000_0000_0000))?;
    equal(beyond, (libc::SIGSEGV, 128, 0))
}

fn siginfo_of_a_breakpoint_and_division() -> Outcome {
    let (signal, code, _) = fault_of(libc::SIGTRAP, || {
        // SAFETY: raises a breakpoint, which is handled.
        unsafe { std::arch::asm!("int3") }
    })?;
    equal((signal, code), (libc::SIGTRAP, 128))?;
    let (signal, code, addr) = fault_of(libc::SIGFPE, || {
        // SAFETY: raises a divide error, which is handled.
        unsafe {
            std::arch::asm!("xor edx, edx", "mov eax, 1", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _)
        }
    })?;
    equal((signal, code), (libc::SIGFPE, 1))?;
    check(addr != 0, "no address of the instruction")
}

fn siginfo_of_an_illegal_instruction() -> Outcome {
    let (signal, code, addr) = fault_of(libc::SIGILL, || {
        // SAFETY: raises an invalid opcode, which is handled.
        unsafe { std::arch::asm!("ud2") }
    })?;
    equal((signal, code), (libc::SIGILL, 2))?;
    check(addr != 0, "no address of the instruction")
}

fn fault_in_a_blocked_signal_kills() -> Outcome {
    let death = death_of(|| {
        let _ = catch(libc::SIGSEGV, 0);
        let _ = block(&[libc::SIGSEGV]);
        poke(8, 1);
    })?;
    equal(death, libc::SIGSEGV)
}
