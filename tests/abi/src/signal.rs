//! Signals: dispositions, masks, queues, delivery, restart, frames, stop and continue.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    handler_runs_and_returns,
    kill_and_stop_cannot_be_caught,
    sigaction_answers_the_old_action,
    sigaction_refuses_bad_numbers_and_sizes,
    default_actions_end_processes,
    default_ignored_signals_are_ignored,
    ignoring_discards_pending,
    blocked_signal_waits,
    kill_and_stop_cannot_be_blocked,
    procmask_refuses_unknown_how,
    procmask_reads_before_it_writes,
    standard_signals_merge,
    realtime_signals_queue_in_order,
    lowest_signal_first,
    handler_blocks_its_own_signal,
    nodefer_lets_it_nest,
    handler_mask_is_added,
    resethand_works_once,
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
    altstack_is_used_and_told,
    altstack_refuses_small_and_busy,
    altstack_autodisarm,
    no_stack_left_kills,
    frame_holds_the_registers,
    frame_change_moves_the_instruction_pointer,
    return_restores_the_mask,
    return_restores_vector_registers,
    red_zone_is_left_alone,
    sigsuspend_swaps_the_mask,
    sigtimedwait_takes_the_signal,
    sigtimedwait_times_out_with_eagain,
    sigtimedwait_takes_in_order,
    sigtimedwait_is_interrupted_by_others,
    restart_of_read,
    no_restart_without_the_flag,
    nanosleep_is_interrupted_and_tells_the_rest,
    poll_never_restarts,
    pause_ends_after_a_handler,
    stopped_process_takes_signals_after_continue,
    continue_discards_stops,
    stop_discards_continues,
    kill_permissions,
    kill_zero_probes,
    kill_refuses_bad_numbers,
    kill_of_a_group,
    tgkill_needs_the_right_group,
    sigpending_limit_is_eagain,
    exec_resets_handlers_keeps_ignored,
    sigchld_comes_once_for_many,
    abort_kills_with_core_flag_or_not,
];

fn handler_runs_and_returns() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    for count in 1..=100 {
        raise(libc::SIGUSR1)?;
        equal(hits(libc::SIGUSR1), count)?;
    }
    Ok(())
}

fn kill_and_stop_cannot_be_caught() -> Outcome {
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        fails(catch(signal, 0), libc::EINVAL)?;
        fails(handle(signal, libc::SIG_IGN, 0, &[]), libc::EINVAL)?;
    }
    Ok(())
}

/// The kernel's own structure.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

fn sigaction_answers_the_old_action() -> Outcome {
    let new = KernelAction {
        handler: 0x1234,
        flags: 0x1400_0004,
        restorer: 0x5678,
        mask: 0xffff,
    };
    let mut old = KernelAction {
        handler: 99,
        ..KernelAction::default()
    };
    sys!(SYS_rt_sigaction, libc::SIGUSR1, &new, &mut old, 8)?;
    equal(std::hint::black_box(old), KernelAction::default())?;
    sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, &mut old, 8)?;
    equal(
        std::hint::black_box(old),
        KernelAction {
            mask: 0xffff & !set_of(&[9]),
            ..new
        },
    )
}

fn sigaction_refuses_bad_numbers_and_sizes() -> Outcome {
    let mut action = KernelAction::default();
    for signal in [0, -1, 65] {
        fails(
            sys!(SYS_rt_sigaction, signal, 0, &mut action, 8),
            libc::EINVAL,
        )?;
    }
    fails(
        sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, &mut action, 16),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_rt_sigaction, libc::SIGUSR1, 8, 0, 8), libc::EFAULT)?;
    fails(sys!(SYS_rt_sigaction, libc::SIGUSR1, 0, 8, 8), libc::EFAULT)
}

fn default_actions_end_processes() -> Outcome {
    let ending = [
        1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 64,
    ];
    for signal in ending {
        let death = death_of(|| {
            let limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE as i32, &limit, 0);
            // A shell starts background jobs with SIGINT and SIGQUIT ignored, and that is inherited.
            // SAFETY: the default action needs no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            let _ = raise(signal);
        })?;
        equal(death, signal)?;
    }
    Ok(())
}

fn default_ignored_signals_are_ignored() -> Outcome {
    for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        raise(signal)?;
    }
    Ok(())
}

fn ignoring_discards_pending() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    handle(libc::SIGUSR1, libc::SIG_IGN, 0, &[])?;
    equal(pending()?, 0)?;
    raise(libc::SIGUSR1)?;
    equal(
        pending()? & set_of(&[libc::SIGUSR1]),
        set_of(&[libc::SIGUSR1]),
    )?;
    unblock(&[libc::SIGUSR1])?;
    equal(pending()?, 0)
}

fn blocked_signal_waits() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    equal(
        (hits(libc::SIGUSR1), pending()?),
        (0, set_of(&[libc::SIGUSR1])),
    )?;
    unblock(&[libc::SIGUSR1])?;
    equal((hits(libc::SIGUSR1), pending()?), (1, 0))
}

fn kill_and_stop_cannot_be_blocked() -> Outcome {
    let all = u64::MAX;
    sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, 0, 8)?;
    equal(block(&[])?, all & !set_of(&[libc::SIGKILL, libc::SIGSTOP]))
}

fn procmask_refuses_unknown_how() -> Outcome {
    let mut set = 0_u64;
    fails(sys!(SYS_rt_sigprocmask, 3, &set, 0, 8), libc::EINVAL)?;
    sys!(SYS_rt_sigprocmask, 3, 0, &mut set, 8)?;
    fails(sys!(SYS_rt_sigprocmask, 0, &set, 0, 4), libc::EINVAL)?;
    fails(sys!(SYS_rt_sigprocmask, 0, 8, 0, 8), libc::EFAULT)
}

fn procmask_reads_before_it_writes() -> Outcome {
    // The new set holds although the old one cannot be told.
    let set = set_of(&[libc::SIGUSR1]);
    fails(
        sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &set, 8, 8),
        libc::EFAULT,
    )?;
    equal(block(&[])?, set)
}

fn standard_signals_merge() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    (0..5).try_for_each(|_| raise(libc::SIGUSR1).map(|_| ()))?;
    unblock(&[libc::SIGUSR1])?;
    equal(hits(libc::SIGUSR1), 1)
}

/// Queues a signal with a value to a process.
fn queue(pid: i32, signal: i32, value: i32) -> Sys {
    let mut info = [0_i32; 32];
    info[0] = signal;
    info[2] = libc::SI_QUEUE;
    info[4] = getpid();
    info[6] = value;
    sys!(SYS_rt_sigqueueinfo, pid, signal, &info)
}

fn value_of(info: &libc::siginfo_t) -> i32 {
    // SAFETY: the signal was queued with a value.
    unsafe { info.si_value().sival_ptr as usize as i32 }
}

fn realtime_signals_queue_in_order() -> Outcome {
    block(&[40])?;
    (1..=5).try_for_each(|value| queue(getpid(), 40, value).map(|_| ()))?;
    for value in 1..=5 {
        equal(value_of(&take(&[40])?), value)?;
    }
    equal(pending()?, 0)
}

fn lowest_signal_first() -> Outcome {
    let signals = [libc::SIGUSR2, 41, libc::SIGUSR1, 40, libc::SIGHUP];
    block(&signals)?;
    for signal in signals {
        raise(signal)?;
    }
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, 40, 41] {
        equal(take(&signals)?.si_signo, signal)?;
    }
    Ok(())
}

static DEPTH: AtomicU32 = AtomicU32::new(0);
static DEEPEST: AtomicU32 = AtomicU32::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn raise_again(signal: i32) {
    let depth = DEPTH.fetch_add(1, Ordering::SeqCst) + 1;
    DEEPEST.fetch_max(depth, Ordering::SeqCst);
    if SEEN.fetch_add(1, Ordering::SeqCst) < 2 {
        let _ = raise(signal);
    }
    DEPTH.fetch_sub(1, Ordering::SeqCst);
}

fn again() -> usize {
    raise_again as extern "C" fn(i32) as usize
}

fn handler_blocks_its_own_signal() -> Outcome {
    handle(libc::SIGUSR1, again(), 0, &[])?;
    raise(libc::SIGUSR1)?;
    equal(
        (SEEN.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (3, 1),
    )
}

fn nodefer_lets_it_nest() -> Outcome {
    handle(libc::SIGUSR1, again(), libc::SA_NODEFER, &[])?;
    raise(libc::SIGUSR1)?;
    equal(
        (SEEN.load(Ordering::SeqCst), DEEPEST.load(Ordering::SeqCst)),
        (3, 3),
    )
}

extern "C" fn note_mask(_signal: i32) {
    SEEN.store(block(&[]).unwrap_or(0) as usize, Ordering::SeqCst);
}

fn handler_mask_is_added() -> Outcome {
    block(&[libc::SIGHUP])?;
    let handler = note_mask as extern "C" fn(i32) as usize;
    handle(libc::SIGUSR1, handler, 0, &[libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    let want = set_of(&[libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]) as usize;
    equal(SEEN.load(Ordering::SeqCst), want)?;
    equal(block(&[])?, set_of(&[libc::SIGHUP]))
}

fn resethand_works_once() -> Outcome {
    let death = death_of(|| {
        let _ = catch(libc::SIGUSR1, libc::SA_RESETHAND);
        let _ = raise(libc::SIGUSR1);
        if hits(libc::SIGUSR1) == 1 {
            let _ = raise(libc::SIGUSR1);
        }
    })?;
    equal(death, libc::SIGUSR1)
}

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

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq)]
struct Stack {
    sp: usize,
    flags: i32,
    size: usize,
}

fn set_altstack(stack: &Stack) -> Sys {
    sys!(SYS_sigaltstack, stack, 0)
}

fn altstack() -> Sys<Stack> {
    let mut stack = Stack::default();
    sys!(SYS_sigaltstack, 0, &mut stack)?;
    Ok(std::hint::black_box(stack))
}

static FLAGS: AtomicU32 = AtomicU32::new(99);

extern "C" fn note_stack(_signal: i32) {
    let local = 0_u8;
    SEEN.store(std::ptr::from_ref(&local) as usize, Ordering::SeqCst);
    FLAGS.store(
        altstack().map_or(77, |stack| stack.flags as u32),
        Ordering::SeqCst,
    );
}

fn altstack_is_used_and_told() -> Outcome {
    equal(altstack()?.flags, libc::SS_DISABLE)?;
    let sp = map(16 * PAGE)?;
    set_altstack(&Stack {
        sp,
        flags: 0,
        size: 16 * PAGE,
    })?;
    let handler = note_stack as extern "C" fn(i32) as usize;
    handle(libc::SIGUSR1, handler, libc::SA_ONSTACK, &[])?;
    handle(libc::SIGUSR2, handler, 0, &[])?;
    raise(libc::SIGUSR1)?;
    check(
        (sp..sp + 16 * PAGE).contains(&SEEN.load(Ordering::SeqCst)),
        "not on the stack",
    )?;
    equal(FLAGS.load(Ordering::SeqCst), libc::SS_ONSTACK as u32)?;
    raise(libc::SIGUSR2)?;
    check(
        !(sp..sp + 16 * PAGE).contains(&SEEN.load(Ordering::SeqCst)),
        "on the stack",
    )?;
    equal(FLAGS.load(Ordering::SeqCst), 0)
}

extern "C" fn change_stack(_signal: i32) {
    let stack = Stack {
        sp: 0,
        flags: libc::SS_DISABLE,
        size: 0,
    };
    let errno = set_altstack(&stack).err().map_or(0, |errno| errno.0);
    SEEN.store(errno as usize, Ordering::SeqCst);
}

fn altstack_refuses_small_and_busy() -> Outcome {
    let sp = map(16 * PAGE)?;
    fails(
        set_altstack(&Stack {
            sp,
            flags: 0,
            size: 2047,
        }),
        libc::ENOMEM,
    )?;
    fails(
        set_altstack(&Stack {
            sp,
            flags: 0x10,
            size: 16 * PAGE,
        }),
        libc::EINVAL,
    )?;
    set_altstack(&Stack {
        sp,
        flags: 0,
        size: 16 * PAGE,
    })?;
    handle(
        libc::SIGUSR1,
        change_stack as extern "C" fn(i32) as usize,
        libc::SA_ONSTACK,
        &[],
    )?;
    raise(libc::SIGUSR1)?;
    equal(SEEN.load(Ordering::SeqCst), libc::EPERM as usize)
}

fn altstack_autodisarm() -> Outcome {
    const AUTODISARM: i32 = 1 << 31;
    let sp = map(16 * PAGE)?;
    set_altstack(&Stack {
        sp,
        flags: AUTODISARM,
        size: 16 * PAGE,
    })?;
    let handler = note_stack as extern "C" fn(i32) as usize;
    handle(libc::SIGUSR1, handler, libc::SA_ONSTACK, &[])?;
    raise(libc::SIGUSR1)?;
    equal(FLAGS.load(Ordering::SeqCst) as i32, libc::SS_DISABLE)?;
    equal(
        altstack()?,
        Stack {
            sp,
            flags: AUTODISARM,
            size: 16 * PAGE,
        },
    )
}

fn no_stack_left_kills() -> Outcome {
    let death = death_of(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let pid = getpid();
        // SAFETY: the process ends at the delivery, for there is no stack to deliver to.
        unsafe {
            std::arch::asm!("mov rsp, 4096", "syscall", "ud2",
                in("rax") libc::SYS_kill, in("rdi") pid, in("rsi") libc::SIGUSR1, options(noreturn))
        }
    })?;
    equal(death, libc::SIGSEGV)
}

static REGISTERS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

extern "C" fn read_frame(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the third argument of such a handler is its context.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    for (slot, name) in
        REGISTERS
            .iter()
            .zip([libc::REG_RBX, libc::REG_R12, libc::REG_R15, libc::REG_RIP])
    {
        slot.store(registers[name as usize] as usize, Ordering::SeqCst);
    }
    registers[libc::REG_R12 as usize] = 0x7777;
}

fn frame_holds_the_registers() -> Outcome {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = read_frame;
    handle(libc::SIGUSR1, handler as usize, libc::SA_SIGINFO, &[])?;
    let (pid, mut twelve) = (getpid() as usize, 0x1212_usize);
    // SAFETY: a system call whose handler changes r12 alone.
    unsafe {
        std::arch::asm!("push rbx", "mov rbx, 0xbbbb", "syscall", "pop rbx",
            inout("rax") libc::SYS_kill as usize => _, in("rdi") pid, in("rsi") libc::SIGUSR1 as usize,
            inout("r12") twelve, in("r15") 0x1515_usize, out("rcx") _, out("r11") _);
    }
    equal(twelve, 0x7777)?;
    let seen: Vec<usize> = REGISTERS
        .iter()
        .take(3)
        .map(|slot| slot.load(Ordering::SeqCst))
        .collect();
    equal(seen, vec![0xbbbb, 0x1212, 0x1515])
}

extern "C" fn skip_two_bytes(
    _signal: i32,
    _info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the third argument of such a handler is its context; ud2 has two bytes.
    unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2 };
}

fn frame_change_moves_the_instruction_pointer() -> Outcome {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = skip_two_bytes;
    handle(libc::SIGILL, handler as usize, libc::SA_SIGINFO, &[])?;
    let mut after = 0_usize;
    // SAFETY: the handler goes on behind the invalid instruction.
    unsafe { std::arch::asm!("ud2", "mov {}, 5", inout(reg) after) };
    equal(after, 5)
}

fn return_restores_the_mask() -> Outcome {
    extern "C" fn block_more(_signal: i32) {
        let _ = block(&[libc::SIGHUP]);
    }
    handle(
        libc::SIGUSR1,
        block_more as extern "C" fn(i32) as usize,
        0,
        &[],
    )?;
    raise(libc::SIGUSR1)?;
    equal(block(&[])?, 0)
}

fn return_restores_vector_registers() -> Outcome {
    extern "C" fn clobber(_signal: i32) {
        // SAFETY: the registers are free to a function.
        unsafe {
            std::arch::asm!("pcmpeqd xmm5, xmm5", "pcmpeqd xmm14, xmm14", out("xmm5") _, out("xmm14") _)
        };
    }
    handle(
        libc::SIGUSR1,
        clobber as extern "C" fn(i32) as usize,
        0,
        &[],
    )?;
    let (mut five, mut fourteen) = (1.5_f64, -2.5_f64);
    // SAFETY: a system call.
    unsafe {
        std::arch::asm!("syscall", inout("rax") libc::SYS_kill as usize => _, in("rdi") getpid() as usize,
            in("rsi") libc::SIGUSR1 as usize, inout("xmm5") five, inout("xmm14") fourteen, out("rcx") _, out("r11") _);
    }
    equal((five, fourteen), (1.5, -2.5))
}

fn red_zone_is_left_alone() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    let below: usize;
    // SAFETY: writes to the 128 bytes below the stack pointer, which no call of this function uses.
    unsafe {
        std::arch::asm!("mov qword ptr [rsp - 128], 0x5a5a", "syscall", "mov {}, [rsp - 128]", out(reg) below,
            inout("rax") libc::SYS_kill as usize => _, in("rdi") getpid() as usize,
            in("rsi") libc::SIGUSR1 as usize, out("rcx") _, out("r11") _);
    }
    equal((below, hits(libc::SIGUSR1)), (0x5a5a, 1))
}

fn sigsuspend_swaps_the_mask() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1, libc::SIGUSR2])?;
    raise(libc::SIGUSR1)?;
    let mask = set_of(&[libc::SIGUSR2]);
    fails(sys!(SYS_rt_sigsuspend, &mask, 8), libc::EINTR)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(block(&[])?, set_of(&[libc::SIGUSR1, libc::SIGUSR2]))
}

fn sigtimedwait_takes_the_signal() -> Outcome {
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let info = take(&[libc::SIGUSR1])?;
    equal(
        (info.si_signo, info.si_code),
        (libc::SIGUSR1, libc::SI_USER),
    )?;
    equal(pending()?, 0)
}

fn sigtimedwait_times_out_with_eagain() -> Outcome {
    let (set, time) = (
        set_of(&[libc::SIGUSR1]),
        libc::timespec {
            tv_sec: 0,
            tv_nsec: 1000,
        },
    );
    fails(sys!(SYS_rt_sigtimedwait, &set, 0, &time, 8), libc::EAGAIN)?;
    let wrong = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    fails(sys!(SYS_rt_sigtimedwait, &set, 0, &wrong, 8), libc::EINVAL)
}

fn sigtimedwait_takes_in_order() -> Outcome {
    block(&[50, 45, libc::SIGTERM])?;
    for (signal, value) in [(50, 1), (45, 2), (45, 3), (libc::SIGTERM, 4)] {
        queue(getpid(), signal, value)?;
    }
    let mut values = Vec::new();
    for _ in 0..4 {
        values.push(value_of(&take(&[45, 50, libc::SIGTERM])?));
    }
    equal(values, vec![4, 2, 3, 1])
}

/// Sends the signal to the caller once it sleeps.
fn signal_when_asleep(signal: i32) -> Sys<i32> {
    let me = getpid();
    fork(|| {
        let asleep = await_state(me, "S");
        i32::from(asleep.is_err() || sys!(SYS_kill, me, signal).is_err())
    })
}

fn sigtimedwait_is_interrupted_by_others() -> Outcome {
    catch(libc::SIGUSR2, libc::SA_RESTART)?;
    block(&[libc::SIGUSR1])?;
    let pid = signal_when_asleep(libc::SIGUSR2)?;
    fails(take(&[libc::SIGUSR1]).map(|_| ()), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn restart_of_read() -> Outcome {
    let (read_end, write_end) = pipe()?;
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let me = getpid();
    let pid = fork(|| {
        let _ = await_state(me, "S");
        let _ = sys!(SYS_kill, me, libc::SIGUSR1);
        nap();
        let _ = await_state(me, "S");
        i32::from(write(write_end, b"late").is_err())
    })?;
    equal(read_some(read_end)?, b"late".to_vec())?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(wait(pid)?, 0)
}

fn no_restart_without_the_flag() -> Outcome {
    let (read_end, _write_end) = pipe()?;
    catch(libc::SIGUSR1, 0)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(read_some(read_end), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn nanosleep_is_interrupted_and_tells_the_rest() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    let time = libc::timespec {
        tv_sec: 1000,
        tv_nsec: 0,
    };
    let mut rest = zeroed::<libc::timespec>();
    fails(sys!(SYS_nanosleep, &time, &mut rest), libc::EINTR)?;
    let rest = std::hint::black_box(rest);
    check(rest.tv_sec > 900 && rest.tv_sec < 1000, "the rest is wrong")?;
    equal(wait(pid)?, 0)
}

fn poll_never_restarts() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(sys!(SYS_poll, 0, 0, -1), libc::EINTR)?;
    equal(wait(pid)?, 0)
}

fn pause_ends_after_a_handler() -> Outcome {
    catch(libc::SIGUSR1, libc::SA_RESTART)?;
    let pid = signal_when_asleep(libc::SIGUSR1)?;
    fails(sys!(SYS_pause), libc::EINTR)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(wait(pid)?, 0)
}

fn stopped_process_takes_signals_after_continue() -> Outcome {
    let pid = fork(|| {
        let _ = catch(libc::SIGUSR1, 0);
        let _ = raise(libc::SIGSTOP);
        hits(libc::SIGUSR1) as i32
    })?;
    wait_with(pid, libc::WUNTRACED)?;
    sys!(SYS_kill, pid, libc::SIGUSR1)?;
    equal(state_of(pid)?, 'T')?;
    sys!(SYS_kill, pid, libc::SIGCONT)?;
    equal(wait(pid)?, 1 << 8)
}

fn continue_discards_stops() -> Outcome {
    block(&[libc::SIGTSTP])?;
    raise(libc::SIGTSTP)?;
    equal(pending()?, set_of(&[libc::SIGTSTP]))?;
    raise(libc::SIGCONT)?;
    equal(pending()?, 0)
}

fn stop_discards_continues() -> Outcome {
    block(&[libc::SIGTSTP, libc::SIGCONT])?;
    raise(libc::SIGCONT)?;
    equal(pending()?, set_of(&[libc::SIGCONT]))?;
    raise(libc::SIGTSTP)?;
    equal(pending()?, set_of(&[libc::SIGTSTP]))
}

fn kill_permissions() -> Outcome {
    let root = getpid();
    within(|| {
        become_user()?;
        fails(sys!(SYS_kill, root, libc::SIGURG), libc::EPERM)?;
        fails(sys!(SYS_kill, root, 0), libc::EPERM)?;
        sys!(SYS_kill, getpid(), libc::SIGURG)?;
        // In one's own session, one may always be told to go on.
        sys!(SYS_kill, root, libc::SIGCONT)?;
        Ok(())
    })
}

fn kill_zero_probes() -> Outcome {
    sys!(SYS_kill, getpid(), 0)?;
    sys!(SYS_kill, 0, 0)?;
    fails(sys!(SYS_kill, 0x3fff_ffff, 0), libc::ESRCH)?;
    fails(sys!(SYS_kill, -0x3fff_ffff, 0), libc::ESRCH)?;
    fails(sys!(SYS_kill, i32::MIN, 0), libc::ESRCH)
}

fn kill_refuses_bad_numbers() -> Outcome {
    fails(sys!(SYS_kill, getpid(), 65), libc::EINVAL)?;
    fails(sys!(SYS_kill, getpid(), -1), libc::EINVAL)
}

fn kill_of_a_group() -> Outcome {
    let mut pids = Vec::new();
    for _ in 0..3 {
        pids.push(fork(|| {
            loop {
                let _ = sys!(SYS_pause);
            }
        })?);
    }
    let leader = pids.first().copied().unwrap_or(0);
    for &pid in &pids {
        sys!(SYS_setpgid, pid, leader)?;
    }
    sys!(SYS_kill, -leader, libc::SIGINT)?;
    for pid in pids {
        equal(wait(pid)?, libc::SIGINT)?;
    }
    Ok(())
}

fn tgkill_needs_the_right_group() -> Outcome {
    let tid = sys!(SYS_gettid)?;
    sys!(SYS_tgkill, getpid(), tid, 0)?;
    fails(sys!(SYS_tgkill, 1, tid, 0), libc::ESRCH)?;
    fails(sys!(SYS_tgkill, -1, tid, 0), libc::EINVAL)?;
    fails(sys!(SYS_tgkill, getpid(), 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_tkill, 0x3fff_ffff, 0), libc::ESRCH)
}

fn sigpending_limit_is_eagain() -> Outcome {
    block(&[40])?;
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_SIGPENDING as i32, &limit, 0)?;
    fails(queue(getpid(), 40, 1), libc::EAGAIN)?;
    // One that is merely sent always comes.
    raise(40)?;
    equal(pending()?, set_of(&[40]))
}

fn exec_resets_handlers_keeps_ignored() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    handle(libc::SIGUSR2, libc::SIG_IGN, 0, &[])?;
    block(&[libc::SIGHUP])?;
    let (read_end, write_end) = pipe()?;
    let pid = fork(|| {
        let _ = sys!(SYS_dup2, write_end, 1);
        let arguments = [
            c"cat".as_ptr(),
            c"/proc/self/status".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/cat", &arguments, 0);
        127
    })?;
    close(write_end)?;
    let text = String::from_utf8_lossy(&read_some(read_end)?).into_owned();
    equal(wait(pid)?, 0)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap_or("none").trim(), 16).unwrap_or(u64::MAX)
    };
    equal(field("SigCgt:"), 0)?;
    equal(
        field("SigIgn:") & set_of(&[libc::SIGUSR2]),
        set_of(&[libc::SIGUSR2]),
    )?;
    equal(field("SigBlk:"), set_of(&[libc::SIGHUP]))
}

fn sigchld_comes_once_for_many() -> Outcome {
    block(&[libc::SIGCHLD])?;
    catch(libc::SIGCHLD, 0)?;
    let pids = [fork(|| 0)?, fork(|| 0)?, fork(|| 0)?];
    for pid in pids {
        equal(wait(pid)?, 0)?;
    }
    unblock(&[libc::SIGCHLD])?;
    equal(hits(libc::SIGCHLD), 1)
}

fn abort_kills_with_core_flag_or_not() -> Outcome {
    let pid = fork(|| {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let _ = sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE as i32, &limit, 0);
        let _ = raise(libc::SIGABRT);
        0
    })?;
    equal(libc::WTERMSIG(wait(pid)?), libc::SIGABRT)
}
