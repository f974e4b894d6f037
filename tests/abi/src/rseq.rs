//! Restartable sequences, and barriers on other CPUs.

use std::sync::atomic::Ordering;

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::probe;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    rseq_refuses_bad_arguments,
    rseq_is_registered_once,
    rseq_tells_the_cpu,
    rseq_tells_the_concurrency_id,
    rseq_aborts_when_preempted,
    rseq_aborts_before_a_handler,
    rseq_outside_of_the_sequence_is_left_alone,
    rseq_with_a_wrong_signature_is_sigsegv,
    rseq_with_a_corrupt_description_is_sigsegv,
    rseq_in_memory_that_went_is_sigsegv,
    rseq_is_kept_by_fork,
    rseq_is_not_shared_with_threads,
    rseq_is_gone_after_exec,
    rseq_is_announced_to_programs,
    membarrier_names_its_commands,
    membarrier_private_commands_need_their_registrations,
    membarrier_refuses_bad_arguments,
    membarrier_registrations_are_copied_by_fork,
    membarrier_registrations_are_gone_after_exec,
    membarrier_tells_its_registrations,
    membarrier_aborts_sequences,
];

const SIGNATURE: u32 = 0x5305_3053;
const UNREGISTER: i32 = 1;

fn rseq(addr: usize, len: u32, flags: i32, signature: u32) -> Sys {
    sys!(SYS_rseq, addr, len, flags, signature)
}

fn register(addr: usize) -> Sys {
    rseq(addr, 32, 0, SIGNATURE)
}

/// A field of the structure, as the kernel wrote it.
fn field(addr: usize, offset: usize) -> u32 {
    word(addr + offset).load(Ordering::SeqCst)
}

const CPU_ID_START: usize = 0;
const CPU_ID: usize = 4;
const RSEQ_CS: usize = 8;
const FLAGS: usize = 16;
const MM_CID: usize = 24;

fn put(at: usize, value: u64) {
    word(at).store(value as u32, Ordering::SeqCst);
    word(at + 4).store((value >> 32) as u32, Ordering::SeqCst);
}

fn get(at: usize) -> u64 {
    u64::from(field(at, 0)) | u64::from(field(at, 4)) << 32
}

/// Where a sequence's description is, behind the structure.
const DESCRIPTION: usize = 64;
/// Where a running sequence counts its rounds; a word behind that, if it is not zero, ends it.
const ROUNDS: usize = 128;

std::arch::global_asm!(
    // sequence(rdi: structure) -> eax: 1 when aborted
    ".globl abi_sequence, abi_sequence_start, abi_sequence_end, abi_sequence_abort",
    "abi_sequence:",
    "lea rax, [rdi + 64]",
    "mov [rdi + 8], rax",
    "abi_sequence_start:",
    "2: inc qword ptr [rdi + 128]",
    "cmp dword ptr [rdi + 136], 0",
    "je 2b",
    "abi_sequence_end:",
    "xor eax, eax",
    "ret",
    ".long 0x53053053",
    "abi_sequence_abort:",
    "mov eax, 1",
    "ret",
);

unsafe extern "C" {
    fn abi_sequence(structure: usize) -> u32;
    static abi_sequence_start: u8;
    static abi_sequence_end: u8;
    static abi_sequence_abort: u8;
}

fn abort_address() -> u64 {
    &raw const abi_sequence_abort as u64
}

/// Runs in a sequence of the structure at `addr` until it is aborted (true), or until the word behind ROUNDS is not 0.
/// `spoil` changes the description before.
fn run_sequence(addr: usize, spoil: impl FnOnce(usize)) -> bool {
    let description = addr + DESCRIPTION;
    let start = &raw const abi_sequence_start as u64;
    let end = &raw const abi_sequence_end as u64;
    put(description, 0);
    put(description + 8, start);
    put(description + 16, end - start);
    put(description + 24, abort_address());
    spoil(description);
    // SAFETY: reads and writes memory of the case only.
    unsafe { abi_sequence(addr) != 0 }
}

fn rseq_refuses_bad_arguments() -> Outcome {
    let addr = map(PAGE)?;
    fails(rseq(addr, 32, 2, SIGNATURE), libc::EINVAL)?;
    fails(rseq(addr, 16, 0, SIGNATURE), libc::EINVAL)?;
    fails(rseq(addr + 8, 32, 0, SIGNATURE), libc::EINVAL)?;
    fails(rseq(1 << 63, 32, 0, SIGNATURE), libc::EFAULT)?;
    fails(rseq(addr, 32, UNREGISTER, SIGNATURE), libc::EINVAL)?;
    fails(rseq(0, 32, UNREGISTER, SIGNATURE), libc::EINVAL)
}

fn rseq_is_registered_once() -> Outcome {
    let addr = map(PAGE)?;
    word(addr + CPU_ID).store(u32::MAX, Ordering::SeqCst);
    register(addr)?;
    check(field(addr, CPU_ID) != u32::MAX, "no CPU is told")?;
    fails(register(addr), libc::EBUSY)?;
    fails(rseq(addr, 32, 0, 1), libc::EPERM)?;
    fails(register(addr + 64), libc::EINVAL)?;
    fails(rseq(addr, 32, UNREGISTER, 1), libc::EPERM)?;
    fails(rseq(addr + 64, 32, UNREGISTER, SIGNATURE), libc::EINVAL)?;
    fails(rseq(addr, 32, UNREGISTER | 2, SIGNATURE), libc::EINVAL)?;
    rseq(addr, 32, UNREGISTER, SIGNATURE)?;
    equal(
        (field(addr, CPU_ID_START), field(addr, CPU_ID)),
        (0, u32::MAX),
    )?;
    register(addr)?;
    Ok(())
}

fn cpus() -> Sys<Vec<u32>> {
    let mut mask = [0_u64; 16];
    sys!(SYS_sched_getaffinity, 0, 128, mask.as_mut_ptr())?;
    Ok((0..64).filter(|cpu| mask[0] & 1 << cpu != 0).collect())
}

fn move_to(cpu: u32) -> Sys {
    sys!(SYS_sched_setaffinity, 0, 8, &(1_u64 << cpu))
}

fn rseq_tells_the_cpu() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    for _ in 0..5 {
        for cpu in cpus()? {
            move_to(cpu)?;
            equal(field(addr, CPU_ID), cpu)?;
            equal(field(addr, CPU_ID_START), cpu)?;
            sys!(SYS_sched_setaffinity, 0, 8, &u64::MAX)?;
        }
    }
    Ok(())
}

fn rseq_tells_the_concurrency_id() -> Outcome {
    let addr = map(PAGE)?;
    word(addr + MM_CID).store(77, Ordering::SeqCst);
    register(addr)?;
    match field(addr, MM_CID) {
        // As Linux before 6.3, which has no such field.
        77 => skip("the kernel tells no concurrency id"),
        // There is one thread, whichever CPU it is on.
        id => equal(id, 0),
    }
}

fn rseq_aborts_when_preempted() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    move_to(some(cpus()?.first().copied(), "no CPU")?)?;
    // Another process wants the same CPU.
    let rival = fork(|| {
        loop {
            std::hint::spin_loop();
        }
    })?;
    check(run_sequence(addr, |_| ()), "it ends without an abort")?;
    check(get(addr + ROUNDS) > 0, "it never ran")?;
    equal(get(addr + RSEQ_CS), 0)?;
    sys!(SYS_kill, rival, libc::SIGKILL)?;
    wait(rival)?;
    Ok(())
}

static INTERRUPTED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

extern "C" fn note_place(_signal: i32, _info: usize, context: *const libc::ucontext_t) {
    // SAFETY: the kernel hands in a context.
    let place = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    INTERRUPTED.store(place as u64, Ordering::SeqCst);
}

fn rseq_aborts_before_a_handler() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    let handler = note_place as extern "C" fn(i32, usize, *const libc::ucontext_t) as usize;
    handle(libc::SIGALRM, handler, libc::SA_SIGINFO, &[])?;
    let soon = libc::itimerval {
        it_interval: zeroed(),
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: 20_000,
        },
    };
    // It may be preempted before the signal comes: then it runs again.
    loop {
        sys!(SYS_setitimer, libc::ITIMER_REAL, &soon, 0)?;
        INTERRUPTED.store(0, Ordering::SeqCst);
        check(run_sequence(addr, |_| ()), "it ends without an abort")?;
        if INTERRUPTED.load(Ordering::SeqCst) == abort_address() {
            return Ok(());
        }
    }
}

fn rseq_outside_of_the_sequence_is_left_alone() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    // Named but not run: forgotten at the next occasion, and nothing else happens.
    let aside = addr + DESCRIPTION;
    put(aside + 8, &raw const abi_sequence_start as u64);
    put(aside + 16, 4);
    put(aside + 24, abort_address());
    put(addr + RSEQ_CS, aside as u64);
    while get(addr + RSEQ_CS) != 0 {
        nap();
    }
    Ok(())
}

/// The signal that a process dies of which runs a sequence with such a description until something happens.
fn death_with(spoil: impl FnOnce(usize, usize)) -> Sys<i32> {
    let addr = map(PAGE)?;
    death_of(|| {
        let _ = register(addr);
        let soon = libc::itimerval {
            it_interval: zeroed(),
            it_value: libc::timeval {
                tv_sec: 0,
                tv_usec: 10_000,
            },
        };
        let _ = catch(libc::SIGALRM, 0);
        let _ = sys!(SYS_setitimer, libc::ITIMER_REAL, &soon, 0);
        run_sequence(addr, |description| spoil(addr, description));
    })
}

fn rseq_with_a_wrong_signature_is_sigsegv() -> Outcome {
    // Before this address there is code, and not the signature.
    let other = &raw const abi_sequence_end as u64 + 1;
    equal(
        death_with(|_, description| put(description + 24, other))?,
        libc::SIGSEGV,
    )
}

/// What is wrong with a description, and what makes it so, given the description and an address in the sequence.
type Spoil = (&'static str, fn(usize, u64));

fn rseq_with_a_corrupt_description_is_sigsegv() -> Outcome {
    let inside = &raw const abi_sequence_start as u64 + 1;
    let spoils: [Spoil; 6] = [
        ("a version", |at, _| put(at, 1)),
        ("flags", |at, _| put(at, 1 << 32)),
        ("an endless sequence", |at, _| put(at + 16, u64::MAX)),
        ("a start in the kernel", |at, _| put(at + 8, 1 << 63)),
        ("an abort in the kernel", |at, _| put(at + 24, 1 << 63)),
        ("an abort inside", put_abort),
    ];
    for (what, spoil) in spoils {
        let death = death_with(|_, description| spoil(description, inside))?;
        check(death == libc::SIGSEGV, what)?;
    }
    let flagged = death_with(|addr, _| word(addr + FLAGS).store(1, Ordering::SeqCst))?;
    equal(flagged, libc::SIGSEGV)
}

fn put_abort(at: usize, inside: u64) {
    put(at + 24, inside);
}

fn rseq_in_memory_that_went_is_sigsegv() -> Outcome {
    let addr = map(PAGE)?;
    let death = death_of(|| {
        let _ = register(addr);
        let _ = sys!(SYS_munmap, addr, PAGE);
        // It shows at the first switch; a nap may be over before it comes to one.
        for _ in 0..100 {
            nap();
        }
    })?;
    equal(death, libc::SIGSEGV)
}

fn rseq_is_kept_by_fork() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    within(|| {
        fails(register(addr), libc::EBUSY)?;
        for cpu in cpus()? {
            move_to(cpu)?;
            equal(field(addr, CPU_ID), cpu)?;
        }
        Ok(())
    })
}

fn rseq_is_not_shared_with_threads() -> Outcome {
    let addr = map(PAGE)?;
    register(addr)?;
    let other = std::thread::spawn(move || {
        let own = register(addr + 512);
        (own, field(addr + 512, CPU_ID))
    });
    let (own, cpu) = other.join().map_err(|_| failure("the thread panics"))?;
    own?;
    check(cpus()?.contains(&cpu), "no CPU is told to the thread")
}

fn rseq_is_gone_after_exec() -> Outcome {
    let area = map(PAGE)?;
    let values = probe::after_exec(&["rseq"], || {
        register(area)?;
        Ok(())
    })?;
    equal(values, vec!["ok".to_owned()])
}

fn rseq_is_announced_to_programs() -> Outcome {
    const AT_RSEQ_FEATURE_SIZE: u64 = 27;
    const AT_RSEQ_ALIGN: u64 = 28;
    let bytes = std::fs::read("/proc/self/auxv")?;
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|chunk| {
            chunk
                .iter()
                .rev()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        })
        .collect();
    let value = |wanted: u64| {
        words
            .chunks_exact(2)
            .find(|pair| pair[0] == wanted)
            .map(|pair| pair[1])
    };
    match value(AT_RSEQ_FEATURE_SIZE) {
        None => skip("the kernel is older than these words"),
        Some(size) => equal((size, value(AT_RSEQ_ALIGN)), (28, Some(32))),
    }
}

fn membarrier(command: i32, flags: i32, cpu: i32) -> Sys {
    sys!(SYS_membarrier, command, flags, cpu)
}

fn membarrier_names_its_commands() -> Outcome {
    let commands = membarrier(0, 0, 0)?;
    equal(commands & 0x1ff, 0x1ff)?;
    for command in [1, 2, 4] {
        membarrier(command, 0, 0)?;
    }
    Ok(())
}

fn membarrier_private_commands_need_their_registrations() -> Outcome {
    for (register, command) in [(16, 8), (64, 32), (256, 128)] {
        fails(membarrier(command, 0, 0), libc::EPERM)?;
        membarrier(register, 0, 0)?;
        membarrier(command, 0, 0)?;
    }
    Ok(())
}

fn membarrier_refuses_bad_arguments() -> Outcome {
    for command in [3, 1 << 20, -1, 24] {
        fails(membarrier(command, 0, 0), libc::EINVAL)?;
    }
    for command in [0, 1, 2, 4, 16, 64, 256] {
        fails(membarrier(command, 1, 0), libc::EINVAL)?;
    }
    membarrier(256, 0, 0)?;
    membarrier(128, 1, 0)?;
    membarrier(128, 1, -1)?;
    membarrier(128, 1, 4000)?;
    fails(membarrier(128, 2, 0), libc::EINVAL)
}

fn membarrier_registrations_are_copied_by_fork() -> Outcome {
    membarrier(16, 0, 0)?;
    within(|| {
        membarrier(8, 0, 0)?;
        fails(membarrier(32, 0, 0), libc::EPERM)
    })
}

fn membarrier_registrations_are_gone_after_exec() -> Outcome {
    let values = probe::after_exec(&["membarrier"], || {
        membarrier(16, 0, 0)?;
        Ok(())
    })?;
    equal(values, vec![format!("errno {}", libc::EPERM)])
}

fn membarrier_tells_its_registrations() -> Outcome {
    const GET_REGISTRATIONS: i32 = 512;
    if membarrier(0, 0, 0)? & GET_REGISTRATIONS as usize == 0 {
        return skip("the kernel is older than this command");
    }
    equal(membarrier(GET_REGISTRATIONS, 0, 0)?, 0)?;
    membarrier(4, 0, 0)?;
    membarrier(64, 0, 0)?;
    equal(membarrier(GET_REGISTRATIONS, 0, 0)?, 4 | 64)
}

fn membarrier_aborts_sequences() -> Outcome {
    let addr = map(PAGE)?;
    membarrier(256, 0, 0)?;
    let other = std::thread::spawn(move || register(addr).is_ok() && run_sequence(addr, |_| ()));
    while get(addr + ROUNDS) == 0 {
        nap();
    }
    membarrier(128, 0, 0)?;
    check(other.join().unwrap_or(false), "it ends without an abort")
}
