//! Hanging up: the ends of session leaders and masters, and who asks for it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::session::*;
use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_leaders_end_hangs_up_on_the_foreground,
    a_leaders_end_frees_the_terminal,
    a_stopped_orphan_is_hung_up_and_continued,
    the_masters_end_hangs_up_on_the_leader,
    the_masters_end_and_the_leaders_reach_the_foreground,
    vhangup_takes_the_terminal_away,
    vhangup_needs_a_capability,
    tiocvhangup_ends_reads,
    a_hung_up_terminal_can_be_opened_again,
    a_hang_up_leaves_what_is_not_attributes,
];

fn a_leaders_end_hangs_up_on_the_foreground() -> Outcome {
    let pty = Pty::open()?;
    let stage = shared()?;
    let (answer, send) = pipe2(libc::O_CLOEXEC)?;
    let slave = pty.slave;
    let front = |started: &AtomicU32| {
        block(&[libc::SIGHUP, libc::SIGCONT])?;
        started.store(1, Ordering::SeqCst);
        equal(take(&[libc::SIGHUP])?.si_code, libc::SI_KERNEL)?;
        // It goes on without a terminal, and the slave is as good as before.
        while open_current().is_ok() {
            nap();
        }
        equal(pending()? & set_of(&[libc::SIGCONT]), 0)?;
        fails(ask(slave, libc::TIOCGPGRP), libc::ENOTTY)?;
        equal(write(slave, b"still here")?, 10)?;
        equal(read_some(slave)?, b"input\n".to_vec())
    };
    let leader = session(&pty, stage, front, send)?;
    await_word(stage, 1);
    stage.store(2, Ordering::SeqCst);
    equal(wait(leader)?, 0)?;
    pty.shows(b"still here")?;
    pty.type_in(b"input\n")?;
    crate::harness::received(&read_some(answer)?)
}

fn a_leaders_end_frees_the_terminal() -> Outcome {
    let pty = Pty::open()?;
    as_leader(|| {
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        Ok(())
    })?;
    equal(ask(pty.master, libc::TIOCGPGRP)?, 0)?;
    as_leader(|| {
        open(&pty.path()?, libc::O_RDWR)?;
        has_foreground(pty.slave, getpid())
    })
}

fn a_stopped_orphan_is_hung_up_and_continued() -> Outcome {
    let pty = Pty::open()?;
    let stage = shared()?;
    let (answer, send) = pipe2(libc::O_CLOEXEC)?;
    let front = |started: &AtomicU32| {
        catch(libc::SIGHUP, 0)?;
        catch(libc::SIGCONT, 0)?;
        started.store(1, Ordering::SeqCst);
        raise(libc::SIGSTOP)?;
        while hits(libc::SIGHUP) == 0 || hits(libc::SIGCONT) == 0 {
            nap();
        }
        Ok(())
    };
    let leader = session(&pty, stage, front, send)?;
    await_word(stage, 1);
    await_state(ask(pty.master, libc::TIOCGPGRP)?, "T")?;
    stage.store(2, Ordering::SeqCst);
    equal(wait(leader)?, 0)?;
    crate::harness::received(&read_some(answer)?)
}

fn the_masters_end_hangs_up_on_the_leader() -> Outcome {
    with_terminal(|pty| {
        let signals = [libc::SIGHUP, libc::SIGCONT];
        block(&signals)?;
        let started = shared()?;
        let front = job(|| {
            close(pty.master)?;
            block(&signals)?;
            started.store(1, Ordering::SeqCst);
            await_word(started, 2);
            // The foreground is told by the leader's end, not by this one.
            equal(pending()? & set_of(&signals), 0)?;
            fails(open_current(), libc::ENXIO)?;
            fails(write(pty.slave, b"x"), libc::EIO)
        })?;
        await_word(started, 1);
        put_in_foreground(pty, front)?;
        close(pty.master)?;
        for signal in signals {
            take(&[signal])?;
        }
        fails(open_current(), libc::ENXIO)?;
        equal(read_some(pty.slave)?, Vec::new())?;
        started.store(2, Ordering::SeqCst);
        equal(wait(front)?, 0)
    })
}

fn the_masters_end_and_the_leaders_reach_the_foreground() -> Outcome {
    let pty = Pty::open()?;
    let stage = shared()?;
    let (answer, send) = pipe2(libc::O_CLOEXEC)?;
    let front = |started: &AtomicU32| {
        block(&[libc::SIGHUP, libc::SIGCONT])?;
        started.store(1, Ordering::SeqCst);
        take(&[libc::SIGHUP])?;
        take(&[libc::SIGCONT])?;
        Ok(())
    };
    let leader = session(&pty, stage, front, send)?;
    await_word(stage, 1);
    close(pty.slave)?;
    close(pty.master)?;
    equal(libc::WTERMSIG(wait(leader)?), libc::SIGHUP)?;
    crate::harness::received(&read_some(answer)?)
}

fn vhangup_takes_the_terminal_away() -> Outcome {
    // Without one there is nothing to do.
    as_leader(|| equal(sys!(SYS_vhangup)?, 0))?;
    with_terminal(|pty| {
        let signals = [libc::SIGHUP, libc::SIGCONT];
        block(&signals)?;
        let current = open_current()?;
        equal(sys!(SYS_vhangup)?, 0)?;
        for signal in signals {
            take(&[signal])?;
        }
        fails(open_current(), libc::ENXIO)?;
        for fd in [pty.slave, current] {
            equal(read_some(fd)?, Vec::new())?;
            fails(write(fd, b"x"), libc::EIO)?;
            fails(attributes(fd), libc::EIO)?;
        }
        // The master hears of it when they are closed.
        equal(ready(pty.master, libc::POLLIN)?, 0)?;
        close(pty.slave)?;
        equal(ready(pty.master, libc::POLLIN)?, 0)?;
        close(current)?;
        await_ready(pty.master, libc::POLLIN)?;
        fails(read_some(pty.master), libc::EIO)
    })
}

fn vhangup_needs_a_capability() -> Outcome {
    with_terminal(|pty| {
        become_user()?;
        fails(sys!(SYS_vhangup), libc::EPERM)?;
        fails(
            sys!(SYS_ioctl, pty.slave, libc::TIOCVHANGUP, 0),
            libc::EPERM,
        )?;
        has_foreground(pty.slave, getpid())
    })
}

fn tiocvhangup_ends_reads() -> Outcome {
    let pty = Pty::open()?;
    let slave = pty.slave;
    let reader = fork(|| i32::from(read_some(slave) != Ok(Vec::new())))?;
    await_state(reader, "S")?;
    sys!(SYS_ioctl, slave, libc::TIOCVHANGUP, 0)?;
    equal(wait(reader)?, 0)
}

fn a_hung_up_terminal_can_be_opened_again() -> Outcome {
    let pty = Pty::with(Termios::make_raw)?;
    pty.type_in(b"lost")?;
    pty.await_input(4)?;
    sys!(SYS_ioctl, pty.slave, libc::TIOCVHANGUP, 0)?;
    let slave = open(&pty.path()?, libc::O_RDWR | libc::O_NOCTTY)?;
    let again = Pty {
        master: pty.master,
        slave,
    };
    // As new: lines, and nothing typed before.
    equal(attributes(slave)?.lflag & libc::ICANON, libc::ICANON)?;
    again.echoes(b"new\n", b"new\r\n")?;
    again.reads(b"new\n")?;
    fails(write(pty.slave, b"x"), libc::EIO)
}

fn a_hang_up_leaves_what_is_not_attributes() -> Outcome {
    let pty = Pty::open()?;
    let size = [24_u16, 80, 0, 0];
    sys!(SYS_ioctl, pty.slave, libc::TIOCSWINSZ, &size)?;
    sys!(SYS_ioctl, pty.slave, libc::TIOCEXCL, 0)?;
    sys!(SYS_ioctl, pty.slave, libc::TCXONC, libc::TCOOFF)?;
    sys!(SYS_ioctl, pty.slave, libc::TIOCVHANGUP, 0)?;
    let slave = open(&pty.path()?, libc::O_RDWR | libc::O_NOCTTY)?;
    equal(ask(slave, libc::TIOCGEXCL)?, 1)?;
    let mut got = [0_u16; 4];
    sys!(SYS_ioctl, slave, libc::TIOCGWINSZ, &mut got)?;
    equal(std::hint::black_box(got), size)?;
    equal(ready(slave, libc::POLLOUT)?, 0)?;
    sys!(SYS_ioctl, slave, libc::TCXONC, libc::TCOON)?;
    equal(ready(slave, libc::POLLOUT)?, libc::POLLOUT)
}
