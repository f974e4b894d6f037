//! Single steps, breakpoints and watchpoints.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    each_instruction_is_a_step,
    a_step_over_a_call_ends_after_it,
    a_step_leads_into_a_handler,
    a_step_from_a_handler_leads_back,
    steps_do_not_show_in_the_flags,
    steps_end_with_cont,
    a_blocked_signal_is_no_step,
    sysemu_steps,
    int3_is_a_breakpoint,
    a_program_may_step_itself,
    a_watchpoint_stops_a_write,
    a_watchpoint_may_stop_reads,
    a_watchpoint_may_stop_execution,
    a_watchpoint_must_be_aligned,
    debug_registers_read_as_written,
    children_have_no_watchpoints,
    exec_forgets_watchpoints,
    the_kernels_copies_make_no_signal,
    a_step_over_exec_ends_in_the_program,
];

const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;

fn step(pid: i32) -> Sys {
    ptrace(req::SINGLESTEP, pid, 0, 0)
}

/// Steps once; answers where.
#[track_caller]
fn stepped(pid: i32) -> Outcome<u64> {
    step(pid)?;
    expect_stop(pid, libc::SIGTRAP)?;
    Ok(regs_of(pid)?.rip)
}

/// A tracee that runs to its breakpoint.
fn at_breakpoint(body: impl FnOnce() -> i32) -> Outcome<i32> {
    let pid = traced(body)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    Ok(pid)
}

fn each_instruction_is_a_step() -> Outcome {
    let pid = at_breakpoint(|| {
        // SAFETY: instructions without effect.
        unsafe {
            std::arch::asm!(
                "int3",
                "nop",
                "xchg bx, bx",
                "nop dword ptr [rax + 8]",
                "nop"
            )
        };
        3
    })?;
    let start = regs_of(pid)?.rip;
    for end in [1, 4, 8, 9] {
        equal(stepped(pid)? - start, end)?;
        let info = siginfo(pid)?;
        // SAFETY: a trap at an address.
        let addr = unsafe { info.si_addr() } as u64;
        equal((info.si_code, addr), (TRAP_TRACE, start + end))?;
    }
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn a_step_over_a_call_ends_after_it() -> Outcome {
    let pid = at_breakpoint(|| {
        let answer: u64;
        // SAFETY: getppid.
        unsafe {
            std::arch::asm!("int3", "syscall", "nop", inlateout("rax") libc::SYS_getppid => answer,
                out("rcx") _, out("r11") _);
        }
        std::hint::black_box(answer);
        3
    })?;
    let start = regs_of(pid)?.rip;
    equal(stepped(pid)? - start, 2)?;
    equal(siginfo(pid)?.si_code, TRAP_BRKPT)?;
    let regs = regs_of(pid)?;
    equal(regs.rax, getpid() as u64)?;
    equal(stepped(pid)? - start, 3)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

extern "C" fn handler(_signal: i32) {}

fn a_step_leads_into_a_handler() -> Outcome {
    let address = handler as extern "C" fn(i32) as usize;
    let pid = traced(|| {
        let _ = handle(libc::SIGUSR1, address, 0, &[]);
        let _ = raise(libc::SIGUSR1);
        3
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    ptrace(req::SINGLESTEP, pid, 0, libc::SIGUSR1 as usize)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let regs = regs_of(pid)?;
    equal(
        (regs.rip as usize, regs.rdi),
        (address, libc::SIGUSR1 as u64),
    )?;
    equal(siginfo(pid)?.si_code, libc::SIGTRAP)?;
    equal(regs.eflags & 0x100, 0)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn a_step_from_a_handler_leads_back() -> Outcome {
    let address = handler as extern "C" fn(i32) as usize;
    let pid = traced(|| {
        let _ = handle(libc::SIGUSR1, address, 0, &[]);
        // SAFETY: a call and a trap; the handler changes nothing.
        unsafe {
            std::arch::asm!("syscall", "nop", "int3", inlateout("rax") libc::SYS_kill => _,
                in("rdi") getpid() as u64, in("rsi") libc::SIGUSR1 as u64, out("rcx") _, out("r11") _);
        }
        3
    })?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGUSR1)?;
    let back = regs_of(pid)?.rip;
    ptrace(req::SINGLESTEP, pid, 0, libc::SIGUSR1 as usize)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let mut steps = 0;
    while stepped(pid)? != back {
        steps += 1;
        check(steps < 200, "never comes back")?;
    }
    equal(stepped(pid)?, back + 1)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn steps_do_not_show_in_the_flags() -> Outcome {
    let pid = at_breakpoint(|| {
        // SAFETY: instructions without effect.
        unsafe { std::arch::asm!("int3", "nop", "nop") };
        3
    })?;
    stepped(pid)?;
    let mut regs = regs_of(pid)?;
    equal(regs.eflags & 0x100, 0)?;
    set_regs(pid, &regs)?;
    let at = regs.rip;
    equal(stepped(pid)?, at + 1)?;
    // A trap flag that the tracer writes is the program's.
    regs = regs_of(pid)?;
    regs.eflags |= 0x100;
    set_regs(pid, &regs)?;
    equal(regs_of(pid)?.eflags & 0x100, 0x100)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    kill_now(pid)
}

fn steps_end_with_cont() -> Outcome {
    let pid = at_breakpoint(|| {
        // SAFETY: instructions without effect.
        unsafe { std::arch::asm!("int3", "nop", "nop", "nop") };
        i32::from(sys!(SYS_getpid).is_err())
    })?;
    stepped(pid)?;
    stepped(pid)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn a_blocked_signal_is_no_step() -> Outcome {
    let pid = at_breakpoint(|| {
        let _ = block(&[libc::SIGUSR1]);
        let _ = raise(libc::SIGUSR1);
        // SAFETY: instructions without effect.
        unsafe { std::arch::asm!("int3", "nop", "nop") };
        3
    })?;
    let at = regs_of(pid)?.rip;
    equal(stepped(pid)?, at + 1)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn sysemu_steps() -> Outcome {
    const SYSEMU_SINGLESTEP: i32 = 32;
    let pid = at_breakpoint(|| {
        let answer: u64;
        // SAFETY: getppid.
        unsafe {
            std::arch::asm!("int3", "nop", "syscall", "nop", inlateout("rax") libc::SYS_getppid => answer,
                out("rcx") _, out("r11") _);
        }
        answer as i32
    })?;
    let start = regs_of(pid)?.rip;
    ptrace(SYSEMU_SINGLESTEP, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    equal(regs_of(pid)?.rip - start, 1)?;
    ptrace(SYSEMU_SINGLESTEP, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    let mut regs = regs_of(pid)?;
    equal(
        (regs.rip - start, regs.orig_rax),
        (3, libc::SYS_getppid as u64),
    )?;
    regs.rax = 12;
    set_regs(pid, &regs)?;
    ptrace(SYSEMU_SINGLESTEP, pid, 0, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    equal(regs_of(pid)?.rip - start, 4)?;
    resume(pid, 0)?;
    expect_exit(pid, 12)
}

fn int3_is_a_breakpoint() -> Outcome {
    let pid = at_breakpoint(|| {
        // SAFETY: a breakpoint.
        unsafe { std::arch::asm!("int3") };
        3
    })?;
    let info = siginfo(pid)?;
    equal((info.si_signo, info.si_code), (libc::SIGTRAP, 0x80))?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn a_program_may_step_itself() -> Outcome {
    catch(libc::SIGTRAP, 0)?;
    // SAFETY: sets the trap flag and clears it again; the handler only counts.
    unsafe {
        std::arch::asm!(
            "pushfq",
            "or qword ptr [rsp], 0x100",
            "popfq",
            "nop",
            "nop",
            "nop",
            "pushfq",
            "and qword ptr [rsp], -0x101",
            "popfq",
        );
    }
    let traps = hits(libc::SIGTRAP);
    equal(last_info().si_code, TRAP_TRACE)?;
    equal(traps, 6)
}

const DR: usize = 848;

fn debug_register(pid: i32, number: usize) -> Sys<u64> {
    let mut word = 0_u64;
    sys!(SYS_ptrace, req::PEEKUSER, pid, DR + 8 * number, &mut word)?;
    Ok(std::hint::black_box(word))
}

fn set_debug_register(pid: i32, number: usize, value: u64) -> Sys {
    ptrace(req::POKEUSER, pid, DR + 8 * number, value as usize)
}

/// Watches `addr` with slot 0: `kind` is 0 for execution, 1 for writes, 3 for reads too; `len` is coded.
fn watch(pid: i32, addr: usize, kind: u64, len: u64) -> Outcome {
    set_debug_register(pid, 0, addr as u64)?;
    set_debug_register(pid, 7, 1 | kind << 16 | len << 18)?;
    Ok(())
}

#[track_caller]
fn expect_watch(pid: i32) -> Outcome {
    expect_stop(pid, libc::SIGTRAP)?;
    equal(siginfo(pid)?.si_code, TRAP_HWBKPT)?;
    equal(debug_register(pid, 6)? & 0xf, 1)
}

fn a_watchpoint_stops_a_write() -> Outcome {
    let addr = map(PAGE)?;
    let pid = traced(|| {
        touch(addr);
        poke(addr + 4, 1);
        poke(addr + 3, 5);
        i32::from(peek(addr))
    })?;
    watch(pid, addr, 1, 3)?;
    resume(pid, 0)?;
    expect_watch(pid)?;
    let mut word = 0_u64;
    sys!(SYS_ptrace, req::PEEKDATA, pid, addr, &mut word)?;
    equal(std::hint::black_box(word), 0x1_0500_0000)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn a_watchpoint_may_stop_reads() -> Outcome {
    let addr = map(PAGE)?;
    let pid = traced(|| {
        touch(addr + 8);
        touch(addr);
        poke(addr, 2);
        i32::from(peek(addr))
    })?;
    watch(pid, addr, 3, 0)?;
    for _ in 0..3 {
        resume(pid, 0)?;
        expect_watch(pid)?;
    }
    resume(pid, 0)?;
    expect_exit(pid, 2)
}

#[inline(never)]
extern "C" fn called() -> i32 {
    std::hint::black_box(3)
}

fn a_watchpoint_may_stop_execution() -> Outcome {
    let pid = traced(|| called() + called())?;
    watch(pid, called as *const () as usize, 0, 0)?;
    for _ in 0..2 {
        resume(pid, 0)?;
        expect_watch(pid)?;
        equal(regs_of(pid)?.rip as usize, called as *const () as usize)?;
    }
    resume(pid, 0)?;
    expect_exit(pid, 6)
}

fn a_watchpoint_must_be_aligned() -> Outcome {
    let addr = map(PAGE)? as u64;
    let pid = traced(|| 0)?;
    set_debug_register(pid, 0, addr + 1)?;
    for (kind, len) in [(1, 1), (1, 3), (0, 1), (2, 0)] {
        fails(
            set_debug_register(pid, 7, 1 | kind << 16 | len << 18),
            libc::EINVAL,
        )?;
        equal(debug_register(pid, 7)?, 0)?;
    }
    set_debug_register(pid, 7, 1 | 1 << 16)?;
    fails(set_debug_register(pid, 4, 0), libc::EIO)?;
    fails(set_debug_register(pid, 5, 0), libc::EIO)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn debug_registers_read_as_written() -> Outcome {
    let addr = map(PAGE)? as u64;
    let pid = traced(|| 0)?;
    equal((debug_register(pid, 0)?, debug_register(pid, 7)?), (0, 0))?;
    set_debug_register(pid, 1, addr + 16)?;
    set_debug_register(pid, 7, 1 << 2 | 1 << 20 | 3 << 22)?;
    equal(
        (debug_register(pid, 1)?, debug_register(pid, 7)?),
        (addr + 16, 1 << 2 | 1 << 20 | 3 << 22),
    )?;
    equal(debug_register(pid, 6)?, 0xffff_0ff0)?;
    set_debug_register(pid, 7, 0)?;
    equal(debug_register(pid, 1)?, addr + 16)?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn children_have_no_watchpoints() -> Outcome {
    let addr = map(PAGE)?;
    let pid = traced(|| {
        let child = fork(|| {
            poke(addr, 1);
            4
        });
        wait(child.unwrap_or(-1)).map_or(99, |status| status >> 8)
    })?;
    watch(pid, addr, 1, 0)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGCHLD)?;
    resume(pid, 0)?;
    expect_exit(pid, 4)
}

fn exec_forgets_watchpoints() -> Outcome {
    let addr = map(PAGE)?;
    let pid = traced(|| {
        let argv = [c"true".as_ptr(), std::ptr::null()];
        let envp: [*const i8; 1] = [std::ptr::null()];
        let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), envp.as_ptr());
        77
    })?;
    watch(pid, addr, 1, 0)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    equal((debug_register(pid, 0)?, debug_register(pid, 7)?), (0, 0))?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}

fn the_kernels_copies_make_no_signal() -> Outcome {
    let addr = map(PAGE)?;
    let (read_end, write_end) = pipe()?;
    write(write_end, &[8])?;
    let pid = traced(|| {
        let _ = sys!(SYS_read, read_end, addr, 1);
        3
    })?;
    watch(pid, addr, 1, 0)?;
    resume(pid, 0)?;
    expect_exit(pid, 3)
}

fn a_step_over_exec_ends_in_the_program() -> Outcome {
    let pid = traced(|| {
        let argv = [c"true".as_ptr(), std::ptr::null()];
        let envp: [*const i8; 1] = [std::ptr::null()];
        // SAFETY: a breakpoint.
        unsafe { std::arch::asm!("int3") };
        let _ = sys!(SYS_execve, c"/bin/true", argv.as_ptr(), envp.as_ptr());
        77
    })?;
    ptrace(req::SETOPTIONS, pid, 0, opt::EXEC)?;
    resume(pid, 0)?;
    expect_stop(pid, libc::SIGTRAP)?;
    step(pid)?;
    loop {
        let status = next(pid)?;
        if status >> 16 == event::EXEC {
            break;
        }
        equal(status, libc::SIGTRAP << 8 | 0x7f)?;
        step(pid)?;
    }
    let start = regs_of(pid)?.rip;
    equal(stepped(pid)?, start)?;
    check(stepped(pid)? != start, "no step")?;
    resume(pid, 0)?;
    expect_exit(pid, 0)
}
