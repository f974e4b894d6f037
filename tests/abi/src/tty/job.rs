//! Job control: controlling terminals, foreground groups, signals from keys.

use std::sync::atomic::Ordering;

use super::session::*;
use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_leaders_first_terminal_becomes_its_own,
    some_opens_take_no_terminal,
    only_a_leader_takes_a_terminal,
    a_new_session_has_no_terminal,
    the_current_terminal_has_a_name,
    tiocsctty_takes_a_terminal,
    the_master_stands_for_its_slave,
    a_terminal_has_one_session,
    an_administrator_steals_a_terminal,
    a_terminal_is_its_leaders_until_given_to_children,
    notty_of_the_leader_tells_the_foreground,
    notty_of_another_is_its_own_affair,
    notty_is_for_the_own_terminal,
    foreground_group_errors,
    a_foreground_group_may_be_made_later,
    the_master_tells_the_foreground,
    the_master_cannot_set_the_foreground_for_others,
    a_dead_foreground_group_keeps_its_number,
    background_reads_stop,
    background_reads_without_a_stop_are_eio,
    background_reads_of_orphans_are_eio,
    background_writes_stop_with_tostop,
    background_writes_pass_where_sigttou_cannot_stop,
    background_changes_stop,
    background_changes_pass_where_sigttou_cannot_stop,
    background_changes_of_orphans_are_eio,
    signal_keys_reach_the_foreground_alone,
    signal_keys_drop_input,
    signal_keys_keep_input_with_noflsh,
    signal_keys_are_plain_without_isig,
    a_suspend_key_stops_a_job,
    a_signal_key_restarts_stopped_output,
    the_master_sends_signals,
    resizing_tells_the_foreground,
    stat_tells_terminal_and_foreground,
    a_shell_controls_jobs,
];

fn a_leaders_first_terminal_becomes_its_own() -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        let me = getpid();
        fails(ask(pty.slave, libc::TIOCGSID), libc::ENOTTY)?;
        fails(ask(pty.slave, libc::TIOCGPGRP), libc::ENOTTY)?;
        open(&pty.path()?, libc::O_RDWR)?;
        equal(ask(pty.slave, libc::TIOCGSID)?, me)?;
        equal(ask(pty.slave, libc::TIOCGPGRP)?, me)?;
        // A second one is only opened.
        let other = Pty::open()?;
        let fd = open(&other.path()?, libc::O_RDWR)?;
        fails(ask(fd, libc::TIOCGSID), libc::ENOTTY)
    })
}

fn some_opens_take_no_terminal() -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        let path = pty.path()?;
        let without = [libc::O_RDWR | libc::O_NOCTTY, libc::O_WRONLY, libc::O_PATH];
        for flags in without {
            open(&path, flags)?;
            fails(open_current(), libc::ENXIO)?;
        }
        open(c"/dev/ptmx", libc::O_RDWR)?;
        fails(open_current(), libc::ENXIO)?;
        sys!(
            SYS_ioctl,
            pty.master,
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY
        )?;
        fails(open_current(), libc::ENXIO)?;
        open(&path, libc::O_RDONLY)?;
        open_current()?;
        Ok(())
    })
}

fn only_a_leader_takes_a_terminal() -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        within(|| {
            open(&pty.path()?, libc::O_RDWR)?;
            fails(open_current(), libc::ENXIO)?;
            fails(sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 1), libc::EPERM)?;
            fails(ask(pty.slave, libc::TIOCGSID), libc::ENOTTY)
        })
    })
}

fn a_new_session_has_no_terminal() -> Outcome {
    with_terminal(|pty| {
        within(|| {
            open_current()?;
            sys!(SYS_setsid)?;
            fails(open_current(), libc::ENXIO)?;
            fails(ask(pty.slave, libc::TIOCGPGRP), libc::ENOTTY)?;
            // It is taken, so opening does not make it this one's.
            open(&pty.path()?, libc::O_RDWR)?;
            fails(open_current(), libc::ENXIO)
        })?;
        has_foreground(pty.slave, getpid())
    })
}

fn the_current_terminal_has_a_name() -> Outcome {
    with_terminal(|pty| {
        let current = open_current()?;
        pty.echoes(b"x\n", b"x\r\n")?;
        equal(read_some(current)?, b"x\n")?;
        write(current, b"y")?;
        pty.shows(b"y")?;
        has_foreground(current, getpid())?;
        // It holds the terminal as the slave itself does.
        close(pty.slave)?;
        equal(ready(pty.master, libc::POLLIN)?, 0)?;
        close(current)?;
        await_ready(pty.master, libc::POLLIN)?;
        fails(read_some(pty.master), libc::EIO)
    })
}

fn tiocsctty_takes_a_terminal() -> Outcome {
    as_leader(|| {
        let (pty, other) = (Pty::open()?, Pty::open()?);
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        has_foreground(pty.slave, getpid())?;
        for steal in [0, 1] {
            fails(
                sys!(SYS_ioctl, other.slave, libc::TIOCSCTTY, steal),
                libc::EPERM,
            )?;
        }
        Ok(())
    })
}

fn the_master_stands_for_its_slave() -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        sys!(SYS_ioctl, pty.master, libc::TIOCSCTTY, 0)?;
        has_foreground(pty.slave, getpid())?;
        close(open_current()?)?;
        Ok(())
    })
}

fn a_terminal_has_one_session() -> Outcome {
    with_terminal(|pty| {
        within(|| {
            sys!(SYS_setsid)?;
            // Without the argument 1 not even an administrator takes it.
            for argument in [0, 2] {
                fails(
                    sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, argument),
                    libc::EPERM,
                )?;
            }
            become_user()?;
            fails(sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 1), libc::EPERM)
        })?;
        equal(ask(pty.slave, libc::TIOCGSID)?, getpid())
    })
}

fn an_administrator_steals_a_terminal() -> Outcome {
    with_terminal(|pty| {
        let stage = shared()?;
        let slave = pty.slave;
        let member = job(|| {
            await_word(stage, 1);
            fails(open_current(), libc::ENXIO)
        })?;
        within(|| {
            sys!(SYS_setsid)?;
            sys!(SYS_ioctl, slave, libc::TIOCSCTTY, 1)?;
            has_foreground(slave, getpid())?;
            equal(ask(slave, libc::TIOCGSID)?, getpid())
        })?;
        fails(open_current(), libc::ENXIO)?;
        fails(ask(slave, libc::TIOCGSID), libc::ENOTTY)?;
        stage.store(1, Ordering::SeqCst);
        equal(wait(member)?, 0)
    })
}

fn a_terminal_is_its_leaders_until_given_to_children() -> Outcome {
    as_leader(|| {
        let pty = Pty::open()?;
        let stage = shared()?;
        // Started before there is a terminal, it never gets one.
        let elder = job(|| {
            await_word(stage, 1);
            fails(open_current(), libc::ENXIO)
        })?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        stage.store(1, Ordering::SeqCst);
        equal(wait(elder)?, 0)?;
        within(|| Ok(open_current().map(|_| ())?))
    })
}

fn notty_of_the_leader_tells_the_foreground() -> Outcome {
    with_terminal(|pty| {
        let started = shared()?;
        let front = awaits(started, &[libc::SIGHUP, libc::SIGCONT])?;
        await_word(started, 1);
        block(&[libc::SIGHUP, libc::SIGCONT])?;
        put_in_foreground(pty, front)?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCNOTTY, 0)?;
        equal(wait(front)?, 0)?;
        // The leader was not in the foreground.
        equal(pending()? & set_of(&[libc::SIGHUP, libc::SIGCONT]), 0)?;
        fails(open_current(), libc::ENXIO)?;
        fails(ask(pty.slave, libc::TIOCGPGRP), libc::ENOTTY)?;
        // Nobody has it now; it is not hung up.
        equal(ask(pty.master, libc::TIOCGPGRP)?, 0)?;
        equal(write(pty.slave, b"x")?, 1)?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        has_foreground(pty.slave, getpid())
    })
}

fn notty_of_another_is_its_own_affair() -> Outcome {
    with_terminal(|pty| {
        within(|| {
            sys!(SYS_ioctl, pty.slave, libc::TIOCNOTTY, 0)?;
            fails(open_current(), libc::ENXIO)?;
            fails(ask(pty.slave, libc::TIOCGPGRP), libc::ENOTTY)?;
            within(|| fails(open_current(), libc::ENXIO))
        })?;
        close(open_current()?)?;
        has_foreground(pty.slave, getpid())
    })
}

fn notty_is_for_the_own_terminal() -> Outcome {
    with_terminal(|pty| {
        let other = Pty::open()?;
        let drop = |fd: i32| sys!(SYS_ioctl, fd, libc::TIOCNOTTY, 0);
        fails(drop(other.slave), libc::ENOTTY)?;
        fails(drop(pty.master), libc::ENOTTY)?;
        block(&[libc::SIGHUP])?;
        drop(pty.slave)?;
        fails(drop(pty.slave), libc::ENOTTY)
    })
}

fn foreground_group_errors() -> Outcome {
    with_terminal(|pty| {
        let other = Pty::open()?;
        let set = |fd: i32, group: i32| tell(fd, libc::TIOCSPGRP, group);
        fails(set(other.slave, getpid()), libc::ENOTTY)?;
        fails(set(pty.slave, -1), libc::EINVAL)?;
        fails(set(pty.slave, 0x3f_ffff), libc::ESRCH)?;
        fails(set(pty.slave, 0), libc::ESRCH)?;
        fails(sys!(SYS_ioctl, pty.slave, libc::TIOCSPGRP, 8), libc::EFAULT)?;
        // A group of another session.
        let outer = sys!(SYS_getpgid, sys!(SYS_getppid)?)? as i32;
        fails(set(pty.slave, outer), libc::EPERM)?;
        has_foreground(pty.slave, getpid())
    })
}

fn a_foreground_group_may_be_made_later() -> Outcome {
    with_terminal(|pty| {
        let stage = shared()?;
        let member = fork(|| {
            let _ = block(&[libc::SIGWINCH]);
            await_word(stage, 1);
            let _ = sys!(SYS_setpgid, 0, 0);
            stage.store(2, Ordering::SeqCst);
            i32::from(take(&[libc::SIGWINCH]).is_err())
        })?;
        // The number of a process of the session will do.
        put_in_foreground(pty, member)?;
        has_foreground(pty.slave, member)?;
        stage.store(1, Ordering::SeqCst);
        await_word(stage, 2);
        sys!(SYS_ioctl, pty.master, libc::TIOCSWINSZ, &[1_u16, 1, 0, 0])?;
        equal(wait(member)?, 0)
    })
}

fn the_master_tells_the_foreground() -> Outcome {
    let pty = Pty::open()?;
    equal(ask(pty.master, libc::TIOCGPGRP)?, 0)?;
    fails(ask(pty.master, libc::TIOCGSID), libc::ENOTTY)?;
    as_leader(|| {
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        equal(ask(pty.master, libc::TIOCGPGRP)?, getpid())?;
        equal(ask(pty.master, libc::TIOCGSID)?, getpid())
    })?;
    equal(ask(pty.master, libc::TIOCGPGRP)?, 0)
}

fn the_master_cannot_set_the_foreground_for_others() -> Outcome {
    let pty = Pty::open()?;
    let me = getpid();
    fails(tell(pty.master, libc::TIOCSPGRP, me), libc::ENOTTY)?;
    as_leader(|| {
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        fails(tell(pty.master, libc::TIOCSPGRP, me), libc::EPERM)?;
        let stage = shared()?;
        let child = job(|| {
            await_word(stage, 1);
            Ok(())
        })?;
        tell(pty.master, libc::TIOCSPGRP, child)?;
        equal(ask(pty.master, libc::TIOCGPGRP)?, child)?;
        stage.store(1, Ordering::SeqCst);
        equal(wait(child)?, 0)
    })
}

fn a_dead_foreground_group_keeps_its_number() -> Outcome {
    with_terminal(|pty| {
        let child = job(|| Ok(()))?;
        // A process that is not yet waited for is still of its group.
        put_in_foreground(pty, child)?;
        equal(wait(child)?, 0)?;
        has_foreground(pty.slave, child)?;
        // The leader is in the background now.
        block(&[libc::SIGTTIN])?;
        fails(read_some(pty.slave), libc::EIO)?;
        put_in_foreground(pty, getpid())?;
        pty.type_in(b"x\n")?;
        pty.reads(b"x\n")
    })
}

fn background_reads_stop() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let reader = job(|| equal(read_some(slave)?, b"mine\n".to_vec()))?;
        equal(stop_of(reader)?, libc::SIGTTIN)?;
        // Continued in the background it stops again: the call is made anew.
        sys!(SYS_kill, reader, libc::SIGCONT)?;
        equal(stop_of(reader)?, libc::SIGTTIN)?;
        put_in_foreground(pty, reader)?;
        pty.type_in(b"mine\n")?;
        ends_well(reader)
    })
}

fn background_reads_without_a_stop_are_eio() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let reader = job(|| {
            block(&[libc::SIGTTIN])?;
            fails(read_some(slave), libc::EIO)?;
            unblock(&[libc::SIGTTIN])?;
            handle(libc::SIGTTIN, libc::SIG_IGN, 0, &[])?;
            fails(read_some(slave), libc::EIO)?;
            // A handler's end interrupts the read.
            catch(libc::SIGTTIN, 0)?;
            fails(read_some(slave), libc::EINTR)?;
            equal(hits(libc::SIGTTIN), 1)
        })?;
        equal(wait(reader)?, 0)
    })
}

fn background_reads_of_orphans_are_eio() -> Outcome {
    with_terminal(|pty| as_orphan(|| fails(read_some(pty.slave), libc::EIO)))
}

fn background_writes_stop_with_tostop() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let writer = job(|| equal(write(slave, b"one")?, 3))?;
        equal(wait(writer)?, 0)?;
        pty.shows(b"one")?;
        pty.change(|t| t.lflag |= libc::TOSTOP)?;
        let writer = job(|| equal(write(slave, b"two")?, 3))?;
        equal(stop_of(writer)?, libc::SIGTTOU)?;
        pty.shows_no_more()?;
        put_in_foreground(pty, writer)?;
        ends_well(writer)?;
        pty.shows(b"two")
    })
}

fn background_writes_pass_where_sigttou_cannot_stop() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        pty.change(|t| t.lflag |= libc::TOSTOP)?;
        let writer = job(|| {
            block(&[libc::SIGTTOU])?;
            equal(write(slave, b"a")?, 1)?;
            unblock(&[libc::SIGTTOU])?;
            handle(libc::SIGTTOU, libc::SIG_IGN, 0, &[])?;
            equal(write(slave, b"b")?, 1)?;
            catch(libc::SIGTTOU, 0)?;
            fails(write(slave, b"c"), libc::EINTR)
        })?;
        equal(wait(writer)?, 0)?;
        pty.shows(b"ab")?;
        as_orphan(|| fails(write(slave, b"d"), libc::EIO))
    })
}

fn background_changes_stop() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let now = attributes(slave)?;
        let changes: [(&str, &dyn Fn() -> Sys); 6] = [
            ("TCSETS", &|| set_attributes(slave, &now)),
            ("TCFLSH", &|| sys!(SYS_ioctl, slave, libc::TCFLSH, 0)),
            ("TCSBRK", &|| sys!(SYS_ioctl, slave, libc::TCSBRK, 1)),
            ("TCXONC", &|| sys!(SYS_ioctl, slave, libc::TCXONC, 1)),
            ("TIOCSETD", &|| tell(slave, libc::TIOCSETD, 0)),
            ("TIOCSPGRP", &|| tell(slave, libc::TIOCSPGRP, getpid())),
        ];
        for (name, change) in changes {
            let child = job(|| Ok(change().map(|_| ())?))?;
            let signal = stop_of(child)?;
            if signal != libc::SIGTTOU {
                return fail(&format!("{name} stops by signal {signal}"));
            }
            put_in_foreground(pty, child)?;
            ends_well(child)?;
            put_in_foreground(pty, getpid())?;
        }
        // What changes nothing, and the window's size, can be had from the background.
        let child = job(|| {
            attributes(slave)?;
            sys!(SYS_ioctl, slave, libc::TIOCSWINSZ, &[1_u16, 2, 0, 0])?;
            ask(slave, libc::FIONREAD)?;
            ask(slave, libc::TIOCGPGRP)?;
            Ok(())
        })?;
        equal(wait(child)?, 0)
    })
}

fn background_changes_pass_where_sigttou_cannot_stop() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let child = job(|| {
            let now = attributes(slave)?;
            block(&[libc::SIGTTOU])?;
            set_attributes(slave, &now)?;
            unblock(&[libc::SIGTTOU])?;
            handle(libc::SIGTTOU, libc::SIG_IGN, 0, &[])?;
            set_attributes(slave, &now)?;
            tell(slave, libc::TIOCSPGRP, getpid())?;
            has_foreground(slave, getpid())
        })?;
        equal(wait(child)?, 0)
    })
}

fn background_changes_of_orphans_are_eio() -> Outcome {
    with_terminal(|pty| {
        as_orphan(|| {
            let now = attributes(pty.slave)?;
            fails(set_attributes(pty.slave, &now), libc::EIO)?;
            fails(sys!(SYS_ioctl, pty.slave, libc::TCFLSH, 0), libc::EIO)?;
            fails(tell(pty.slave, libc::TIOCSPGRP, getpid()), libc::ENOTTY)
        })
    })
}

fn signal_keys_reach_the_foreground_alone() -> Outcome {
    with_terminal(|pty| {
        for (key, signal) in [(b"\x03", libc::SIGINT), (b"\x1c", libc::SIGQUIT)] {
            let stage = shared()?;
            let sleep = || {
                sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &[0_u64; 2], 0)?;
                handle(signal, libc::SIG_DFL, 0, &[])?;
                stage.fetch_add(1, Ordering::SeqCst);
                await_word(stage, 9);
                Ok(())
            };
            let (front, back) = (job(sleep)?, job(sleep)?);
            await_word(stage, 2);
            put_in_foreground(pty, front)?;
            pty.type_in(key)?;
            equal(libc::WTERMSIG(wait(front)?), signal)?;
            put_in_foreground(pty, getpid())?;
            stage.store(9, Ordering::SeqCst);
            equal(wait(back)?, 0)?;
        }
        pty.shows(b"^C^\\")
    })
}

fn signal_keys_drop_input() -> Outcome {
    with_terminal(|pty| {
        block(&[libc::SIGINT, libc::SIGTSTP])?;
        pty.echoes(b"one\ntwo", b"one\r\ntwo")?;
        pty.type_in(b"\x03")?;
        let info = take(&[libc::SIGINT])?;
        equal(info.si_code, libc::SI_KERNEL)?;
        pty.shows(b"^C")?;
        pty.has_no_input()?;
        // What comes after it is kept.
        pty.type_in(b"\x1athree\n")?;
        take(&[libc::SIGTSTP])?;
        pty.reads(b"three\n")
    })
}

fn signal_keys_keep_input_with_noflsh() -> Outcome {
    with_terminal(|pty| {
        block(&[libc::SIGINT])?;
        pty.change(|t| t.lflag |= libc::NOFLSH)?;
        pty.echoes(b"one\ntwo\x03\n", b"one\r\ntwo^C\r\n")?;
        take(&[libc::SIGINT])?;
        pty.reads(b"one\n")?;
        pty.reads(b"two\n")
    })
}

fn signal_keys_are_plain_without_isig() -> Outcome {
    with_terminal(|pty| {
        block(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP])?;
        pty.change(|t| t.lflag &= !libc::ISIG)?;
        pty.echoes(b"\x03\x1c\x1a\n", b"^C^\\^Z\r\n")?;
        pty.reads(b"\x03\x1c\x1a\n")?;
        equal(pending()?, 0)?;
        // In raw mode keys still signal if it is on.
        pty.change(|t| {
            t.make_raw();
            t.lflag = libc::ISIG;
        })?;
        pty.type_in(b"a\x03b")?;
        take(&[libc::SIGINT])?;
        pty.reads(b"b")
    })
}

fn a_suspend_key_stops_a_job() -> Outcome {
    with_terminal(|pty| {
        let slave = pty.slave;
        let reader = job(|| {
            handle(libc::SIGTSTP, libc::SIG_DFL, 0, &[])?;
            equal(read_some(slave)?, b"text\n".to_vec())
        })?;
        put_in_foreground(pty, reader)?;
        let status = loop {
            // It may have begun to read in the background.
            let status = wait_with(reader, libc::WUNTRACED | libc::WNOHANG)?;
            if status == 0 && state_of(reader)? == 'S' {
                break 0;
            }
            if status != 0 {
                sys!(SYS_kill, reader, libc::SIGCONT)?;
            }
        };
        equal(status, 0)?;
        pty.type_in(b"\x1a")?;
        equal(stop_of(reader)?, libc::SIGTSTP)?;
        pty.shows(b"^Z")?;
        pty.type_in(b"text\n")?;
        ends_well(reader)
    })
}

fn a_signal_key_restarts_stopped_output() -> Outcome {
    with_terminal(|pty| {
        block(&[libc::SIGINT])?;
        pty.type_in(b"\x13")?;
        while ready(pty.slave, libc::POLLOUT)? != 0 {
            nap();
        }
        pty.type_in(b"\x03")?;
        take(&[libc::SIGINT])?;
        await_ready(pty.slave, libc::POLLOUT)?;
        pty.shows(b"^C")
    })
}

fn the_master_sends_signals() -> Outcome {
    with_terminal(|pty| {
        block(&[libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP])?;
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
            sys!(SYS_ioctl, pty.master, TIOCSIG, signal)?;
            take(&[signal])?;
        }
        for signal in [0, libc::SIGTERM, libc::SIGKILL, -1, 99] {
            fails(sys!(SYS_ioctl, pty.master, TIOCSIG, signal), libc::EINVAL)?;
        }
        Ok(())
    })
}

fn resizing_tells_the_foreground() -> Outcome {
    with_terminal(|pty| {
        let signal = set_of(&[libc::SIGWINCH]);
        block(&[libc::SIGWINCH])?;
        for fd in [pty.master, pty.slave] {
            let size = [20_u16, fd as u16, 0, 0];
            sys!(SYS_ioctl, fd, libc::TIOCSWINSZ, &size)?;
            take(&[libc::SIGWINCH])?;
            sys!(SYS_ioctl, fd, libc::TIOCSWINSZ, &size)?;
            equal(pending()? & signal, 0)?;
        }
        let started = shared()?;
        let front = awaits(started, &[libc::SIGWINCH])?;
        await_word(started, 1);
        put_in_foreground(pty, front)?;
        sys!(SYS_ioctl, pty.master, libc::TIOCSWINSZ, &[1_u16, 1, 0, 0])?;
        equal(wait(front)?, 0)?;
        equal(pending()? & signal, 0)
    })
}

/// Terminal and foreground group in `/proc/self/stat`.
fn told() -> Outcome<(i32, i32)> {
    let text = text_of("/proc/self/stat")?;
    let after = text.rsplit(") ").next().unwrap_or_default();
    let fields: Vec<i32> = after
        .split(' ')
        .take(6)
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    Ok((fields[4], fields[5]))
}

fn stat_tells_terminal_and_foreground() -> Outcome {
    as_leader(|| {
        equal(told()?, (0, -1))?;
        let pty = Pty::open()?;
        let number = ask(pty.master, libc::TIOCGPTN)?;
        sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0)?;
        equal(told()?, ((136 << 8) | number, getpid()))?;
        let child = job(|| {
            block(&[libc::SIGTTOU])?;
            tell(pty.slave, libc::TIOCSPGRP, getpid())?;
            equal(told()?.1, getpid())
        })?;
        equal(wait(child)?, 0)
    })
}

/// Reads from the master until this was shown, after what was awaited before.
fn await_text(pty: &Pty, shown: &mut String, want: &str) -> Outcome {
    loop {
        if let Some(at) = shown.find(want) {
            shown.drain(..at + want.len());
            return Ok(());
        }
        match read_some(pty.master) {
            Ok(some) => shown.push_str(&String::from_utf8_lossy(&some)),
            Err(errno) => return fail(&format!("{errno:?} after {shown:?}")),
        }
        check(
            !shown.contains("can't access tty"),
            "the shell has job control",
        )?;
    }
}

fn a_shell_controls_jobs() -> Outcome {
    let pty = Pty::open()?;
    let shell = fork(|| {
        let _ = sys!(SYS_setsid);
        let _ = close(pty.master);
        let _ = sys!(SYS_ioctl, pty.slave, libc::TIOCSCTTY, 0);
        for fd in 0..3 {
            let _ = sys!(SYS_dup2, pty.slave, fd);
        }
        let arguments = [c"sh".as_ptr(), c"-i".as_ptr(), std::ptr::null()];
        let environment = [
            c"PS1=ready> ".as_ptr(),
            c"PATH=/usr/bin:/bin:/usr/sbin:/sbin".as_ptr(),
            c"TERM=dumb".as_ptr(),
            std::ptr::null(),
        ];
        let _ = sys!(SYS_execve, c"/bin/sh", &arguments, &environment);
        127
    })?;
    let mut all = String::new();
    let prompt = "ready> ";
    let mut step = |typed: &str, wanted: &[&str]| -> Outcome {
        pty.type_in(typed.as_bytes())?;
        for want in wanted {
            await_text(&pty, &mut all, want)?;
        }
        Ok(())
    };
    step("", &[prompt])?;
    step("sleep 100\n", &["sleep 100"])?;
    // The shell has made the job the foreground once its prompt's group is not.
    while [0, shell].contains(&ask(pty.master, libc::TIOCGPGRP)?) {
        nap();
    }
    await_state(ask(pty.master, libc::TIOCGPGRP)?, "S")?;
    step("\x1a", &[prompt])?;
    equal(ask(pty.master, libc::TIOCGPGRP)?, shell)?;
    step("jobs\n", &["Stopped", prompt])?;
    step("fg\n", &["sleep 100"])?;
    while ask(pty.master, libc::TIOCGPGRP)? == shell {
        nap();
    }
    await_state(ask(pty.master, libc::TIOCGPGRP)?, "S")?;
    step("\x03", &[prompt])?;
    step("echo status=$?\n", &["status=130", prompt])?;
    pty.type_in(b"exit\n")?;
    equal(wait(shell)?, 0)
}
