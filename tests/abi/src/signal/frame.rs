//! The stack a handler runs on, and the frame there.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::SEEN;
use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    altstack_is_used_and_told,
    altstack_refuses_small_and_busy,
    altstack_autodisarm,
    no_stack_left_kills,
    frame_holds_the_registers,
    frame_change_moves_the_instruction_pointer,
    return_restores_the_mask,
    return_restores_vector_registers,
    red_zone_is_left_alone,
];

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
