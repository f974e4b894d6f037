//! Ports in user space: `ioperm` and `iopl`. The port is 0x80, which is there for diagnostics and does nothing.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    ports_are_closed,
    an_open_port_is_used,
    neighbours_stay_closed,
    a_closed_port_faults_again,
    children_and_threads_take_it_over,
    a_thread_opens_for_itself,
    others_do_not_see_it,
    the_third_level_opens_all,
    a_level_is_kept_without_the_right,
    errors,
    users_may_only_close,
];

const PORT: u16 = 0x80;

fn output(port: u16) {
    // SAFETY: a fault is what the cases look for.
    unsafe { std::arch::asm!("out dx, al", in("dx") port, in("al") 0_u8) };
}

/// The signal that ends a process that writes to the port; 0 for none.
fn fate(port: u16) -> Sys<i32> {
    death_of(|| output(port))
}

fn ioperm(from: u64, count: u64, on: i32) -> Sys {
    sys!(SYS_ioperm, from, count, on)
}

fn ports_are_closed() -> Outcome {
    equal(fate(PORT)?, libc::SIGSEGV)?;
    equal(fate(0)?, libc::SIGSEGV)?;
    equal(fate(0xffff)?, libc::SIGSEGV)
}

fn an_open_port_is_used() -> Outcome {
    ioperm(PORT.into(), 1, 1)?;
    output(PORT);
    // It is still open after others have run.
    nap();
    output(PORT);
    equal(fate(PORT)?, 0)
}

fn neighbours_stay_closed() -> Outcome {
    ioperm(PORT.into(), 1, 1)?;
    equal(fate(PORT - 1)?, libc::SIGSEGV)?;
    equal(fate(PORT + 1)?, libc::SIGSEGV)?;
    // A word needs both of its ports.
    let wide = death_of(|| {
        // SAFETY: as above.
        unsafe { std::arch::asm!("out dx, ax", in("dx") PORT, in("ax") 0_u16) };
    })?;
    equal(wide, libc::SIGSEGV)?;
    ioperm(0xffff, 1, 1)?;
    equal(fate(0xfffe)?, libc::SIGSEGV)
}

fn a_closed_port_faults_again() -> Outcome {
    ioperm(PORT.into(), 2, 1)?;
    ioperm(PORT.into(), 1, 0)?;
    equal((fate(PORT)?, fate(PORT + 1)?), (libc::SIGSEGV, 0))?;
    ioperm(0, 65536, 0)?;
    equal(
        (fate(PORT)?, fate(PORT + 1)?),
        (libc::SIGSEGV, libc::SIGSEGV),
    )
}

fn children_and_threads_take_it_over() -> Outcome {
    ioperm(PORT.into(), 1, 1)?;
    within(|| {
        output(PORT);
        equal(fate(PORT)?, 0)?;
        // What a child closes stays open for its parent.
        ioperm(PORT.into(), 1, 0)?;
        equal(fate(PORT)?, libc::SIGSEGV)
    })?;
    output(PORT);
    extern "C" fn body(_: *mut libc::c_void) -> i32 {
        output(PORT);
        0
    }
    await_word(thread(body, 0)?, 0);
    Ok(())
}

fn a_thread_opens_for_itself() -> Outcome {
    extern "C" fn body(_: *mut libc::c_void) -> i32 {
        if ioperm(PORT.into(), 1, 1).is_ok() {
            output(PORT);
        }
        0
    }
    await_word(thread(body, 0)?, 0);
    equal(fate(PORT)?, libc::SIGSEGV)
}

fn others_do_not_see_it() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let other = fork(|| {
        // Runs between the turns of the one that has the port.
        for _ in 0..20 {
            nap();
        }
        let _ = read(read_end, &mut [0; 1]);
        output(PORT);
        0
    })?;
    ioperm(PORT.into(), 1, 1)?;
    for _ in 0..20 {
        output(PORT);
        nap();
    }
    write(write_end, b"x")?;
    let status = wait(other)?;
    check(libc::WIFSIGNALED(status), "another process has the port")?;
    output(PORT);
    Ok(())
}

fn the_third_level_opens_all() -> Outcome {
    for level in [1, 2] {
        sys!(SYS_iopl, level)?;
        equal(fate(PORT)?, libc::SIGSEGV)?;
    }
    sys!(SYS_iopl, 3)?;
    output(PORT);
    equal((fate(PORT)?, fate(0xed)?), (0, 0))?;
    // It is not the processor's own level: this does nothing.
    // SAFETY: as above.
    unsafe { std::arch::asm!("cli", "sti", "cli") };
    nap();
    // Ports of `ioperm` are apart from it.
    ioperm(PORT.into(), 1, 1)?;
    sys!(SYS_iopl, 0)?;
    equal((fate(PORT)?, fate(0xed)?), (0, libc::SIGSEGV))?;
    let death = death_of(|| {
        // SAFETY: as above.
        unsafe { std::arch::asm!("cli") };
    })?;
    equal(death, libc::SIGSEGV)
}

fn a_level_is_kept_without_the_right() -> Outcome {
    sys!(SYS_iopl, 3)?;
    within(|| {
        become_user()?;
        sys!(SYS_iopl, 3)?;
        output(PORT);
        sys!(SYS_iopl, 2)?;
        fails(sys!(SYS_iopl, 3), libc::EPERM)
    })
}

fn errors() -> Outcome {
    fails(ioperm(0, 0, 1), libc::EINVAL)?;
    fails(ioperm(65536, 1, 1), libc::EINVAL)?;
    fails(ioperm(65535, 2, 1), libc::EINVAL)?;
    fails(ioperm(u64::MAX, 2, 1), libc::EINVAL)?;
    fails(ioperm(2, u64::MAX, 0), libc::EINVAL)?;
    fails(sys!(SYS_iopl, 4), libc::EINVAL)?;
    fails(sys!(SYS_iopl, -1), libc::EINVAL)?;
    sys!(SYS_iopl, 0)?;
    Ok(())
}

fn users_may_only_close() -> Outcome {
    ioperm(PORT.into(), 1, 1)?;
    within(|| {
        become_user()?;
        output(PORT);
        fails(ioperm(PORT.into(), 1, 1), libc::EPERM)?;
        fails(ioperm(65536, 1, 1), libc::EINVAL)?;
        fails(sys!(SYS_iopl, 3), libc::EPERM)?;
        sys!(SYS_iopl, 0)?;
        ioperm(PORT.into(), 1, 0)?;
        equal(fate(PORT)?, libc::SIGSEGV)
    })
}
