//! The older and the newer forms of waiting for many: select's family, poll's corners, epoll's masks and time-outs.

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    poll_of_none_waits_its_time,
    poll_of_too_many_is_einval,
    poll_is_interrupted,
    poll_wakes_for_another_process,
    ppoll_leaves_the_rest_of_the_time,
    select_leaves_the_rest_of_the_time,
    select_of_hang_up_is_readable,
    select_of_exceptional_conditions,
    select_refuses_negative_counts_and_times,
    pselect_swaps_the_mask_and_back,
    pselect_refuses_a_mask_of_another_size,
    epoll_wait_of_no_room_is_einval,
    epoll_pwait_swaps_the_mask_and_back,
    epoll_pwait2_takes_nanoseconds,
    epoll_reports_each_of_many_in_turn,
    epoll_edge_comes_again_with_new_data,
    epoll_wakes_for_another_process,
    epoll_of_a_duplicate_outlives_the_original,
    epoll_create_of_no_size_is_einval,
    old_forms_make_plain_descriptors,
];

fn span(ns: i64) -> libc::timespec {
    libc::timespec {
        tv_sec: ns / 1_000_000_000,
        tv_nsec: ns % 1_000_000_000,
    }
}

/// A set for select with these descriptors.
fn set(fds: &[i32]) -> [u64; 16] {
    let mut set = [0; 16];
    for &fd in fds {
        if let Some(word) = set.get_mut(fd as usize / 64) {
            *word |= 1 << (fd % 64);
        }
    }
    set
}

fn poll_of_none_waits_its_time() -> Outcome {
    equal(sys!(SYS_poll, 0, 0, 3)?, 0)?;
    equal(sys!(SYS_ppoll, 0, 0, &span(3_000_000), 0, 8)?, 0)?;
    equal(sys!(SYS_select, 0, 0, 0, 0, &[0_i64, 3000])?, 0)
}

fn poll_of_too_many_is_einval() -> Outcome {
    let limit = libc::rlimit {
        rlim_cur: 16,
        rlim_max: 16,
    };
    sys!(SYS_setrlimit, libc::RLIMIT_NOFILE as i32, &limit)?;
    let mut fds = [libc::pollfd {
        fd: -1,
        events: 0,
        revents: 7,
    }; 17];
    fails(sys!(SYS_poll, fds.as_mut_ptr(), 17, 0), libc::EINVAL)?;
    equal(sys!(SYS_poll, fds.as_mut_ptr(), 16, 0)?, 0)?;
    equal(fds[0].revents, 0)?;
    fails(sys!(SYS_poll, 8, 1, 0), libc::EFAULT)
}

fn poll_is_interrupted() -> Outcome {
    catch(libc::SIGALRM, libc::SA_RESTART)?;
    let time = [0_i64, 0, 0, 10_000];
    sys!(SYS_setitimer, libc::ITIMER_REAL, &time, 0)?;
    // Never restarted, whatever the handler's flags say.
    fails(sys!(SYS_poll, 0, 0, -1), libc::EINTR)?;
    equal(hits(libc::SIGALRM), 1)
}

fn poll_wakes_for_another_process() -> Outcome {
    let (read_end, write_end) = pipe()?;
    let me = getpid();
    let child = fork(|| {
        let _ = await_state(me, "S");
        let _ = write(write_end, b"x");
        0
    })?;
    equal(poll_one(read_end, libc::POLLIN, -1)?, libc::POLLIN)?;
    equal(wait(child)?, 0)
}

fn ppoll_leaves_the_rest_of_the_time() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    let mut fd = libc::pollfd {
        fd: read_end,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut time = span(100_000_000_000);
    equal(sys!(SYS_ppoll, &mut fd, 1, &mut time, 0, 8)?, 1)?;
    check(
        (50..=100).contains(&time.tv_sec) && (time.tv_sec, time.tv_nsec) != (100, 0),
        "the rest is not written back",
    )?;
    time = span(0);
    time.tv_nsec = -1;
    fails(sys!(SYS_ppoll, &mut fd, 1, &mut time, 0, 8), libc::EINVAL)
}

fn select_leaves_the_rest_of_the_time() -> Outcome {
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    let mut time = [100_i64, 0];
    let mut read = set(&[read_end]);
    equal(
        sys!(SYS_select, read_end + 1, &mut read, 0, 0, &mut time)?,
        1,
    )?;
    check((50..100).contains(&time[0]), "the rest is not written back")?;
    equal(read, set(&[read_end]))
}

fn select_of_hang_up_is_readable() -> Outcome {
    let (read_end, write_end) = pipe()?;
    close(write_end)?;
    let (mut read, mut write, mut except) = (set(&[read_end]), set(&[read_end]), set(&[read_end]));
    let time = [0_i64, 0];
    equal(
        sys!(
            SYS_select,
            read_end + 1,
            &mut read,
            &mut write,
            &mut except,
            &time
        )?,
        1,
    )?;
    equal(
        (read, write, except),
        (set(&[read_end]), set(&[]), set(&[])),
    )
}

fn select_of_exceptional_conditions() -> Outcome {
    // Out-of-band data of a pseudo-terminal in packet mode is the one that needs no network: here
    // only that an ordinary state is none.
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    let mut except = set(&[read_end]);
    let time = [0_i64, 0];
    equal(sys!(SYS_select, read_end + 1, 0, 0, &mut except, &time)?, 0)?;
    equal(except, set(&[]))
}

fn select_refuses_negative_counts_and_times() -> Outcome {
    fails(sys!(SYS_select, -1, 0, 0, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_select, 0, 0, 0, 0, &[-1_i64, 0]), libc::EINVAL)?;
    // Microseconds beyond a second are added to the seconds.
    let (read_end, write_end) = pipe()?;
    write(write_end, b"x")?;
    let mut read = set(&[read_end]);
    let mut time = [0_i64, 5_000_000];
    equal(
        sys!(SYS_select, read_end + 1, &mut read, 0, 0, &mut time)?,
        1,
    )?;
    fails(sys!(SYS_select, 8, 8, 0, 0, 0), libc::EFAULT)
}

fn pselect_swaps_the_mask_and_back() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 0)?;
    let none = 0_u64;
    let mask = [std::ptr::from_ref(&none) as usize, 8];
    fails(
        sys!(SYS_pselect6, 0, 0, 0, 0, &span(100_000_000_000), &mask),
        libc::EINTR,
    )?;
    equal(hits(libc::SIGUSR1), 1)?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    equal(pending()?, set_of(&[libc::SIGUSR1]))
}

fn pselect_refuses_a_mask_of_another_size() -> Outcome {
    let none = 0_u64;
    let mask = [std::ptr::from_ref(&none) as usize, 4];
    fails(
        sys!(SYS_pselect6, 0, 0, 0, 0, &span(0), &mask),
        libc::EINVAL,
    )?;
    fails(sys!(SYS_ppoll, 0, 0, &span(0), &none, 4), libc::EINVAL)?;
    equal(sys!(SYS_pselect6, 0, 0, 0, 0, &span(0), 0)?, 0)
}

fn epoll() -> Sys<i32> {
    sys!(SYS_epoll_create1, libc::EPOLL_CLOEXEC).map(|fd| fd as i32)
}

fn add(epoll: i32, fd: i32, events: i32) -> Sys {
    let event = libc::epoll_event {
        events: events as u32,
        u64: fd as u64,
    };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &event)
}

/// Waits for up to `room` events and answers their data.
fn await_events(epoll: i32, room: usize, timeout_ms: i32) -> Sys<Vec<u64>> {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 16];
    let count = sys!(SYS_epoll_wait, epoll, events.as_mut_ptr(), room, timeout_ms)?;
    Ok(events.iter().take(count).map(|event| event.u64).collect())
}

fn epoll_wait_of_no_room_is_einval() -> Outcome {
    let epoll = epoll()?;
    fails(await_events(epoll, 0, 0), libc::EINVAL)?;
    fails(sys!(SYS_epoll_wait, epoll, 8, i32::MAX, 0), libc::EINVAL)?;
    let (read_end, _write_end) = pipe()?;
    fails(await_events(read_end, 1, 0), libc::EINVAL)?;
    fails(await_events(999, 1, 0), libc::EBADF)?;
    equal(await_events(epoll, 1, 2)?, Vec::new())
}

fn epoll_pwait_swaps_the_mask_and_back() -> Outcome {
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    let epoll = epoll()?;
    let none = 0_u64;
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    fails(
        sys!(SYS_epoll_pwait, epoll, &mut event, 1, -1, &none, 8),
        libc::EINTR,
    )?;
    equal(hits(libc::SIGUSR1), 1)?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 1)?;
    fails(
        sys!(SYS_epoll_pwait, epoll, &mut event, 1, 0, &none, 7),
        libc::EINVAL,
    )
}

fn epoll_pwait2_takes_nanoseconds() -> Outcome {
    let epoll = epoll()?;
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    equal(
        sys!(SYS_epoll_pwait2, epoll, &mut event, 1, &span(100_000), 0, 8)?,
        0,
    )?;
    let bad = libc::timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000_000,
    };
    fails(
        sys!(SYS_epoll_pwait2, epoll, &mut event, 1, &bad, 0, 8),
        libc::EINVAL,
    )?;
    let (read_end, write_end) = pipe()?;
    add(epoll, read_end, libc::EPOLLIN)?;
    write(write_end, b"x")?;
    equal(sys!(SYS_epoll_pwait2, epoll, &mut event, 1, 0, 0, 8)?, 1)?;
    let data = event.u64;
    equal(data, read_end as u64)
}

fn epoll_reports_each_of_many_in_turn() -> Outcome {
    let epoll = epoll()?;
    let mut ends = Vec::new();
    for _ in 0..4 {
        let (read_end, write_end) = pipe()?;
        add(epoll, read_end, libc::EPOLLIN)?;
        write(write_end, b"x")?;
        ends.push(read_end as u64);
    }
    // Each that was told goes to the end of the line.
    let mut told = Vec::new();
    for _ in 0..4 {
        told.extend(await_events(epoll, 1, -1)?);
    }
    told.sort_unstable();
    equal(told, ends)
}

fn epoll_edge_comes_again_with_new_data() -> Outcome {
    let epoll = epoll()?;
    let (read_end, write_end) = pipe()?;
    add(epoll, read_end, libc::EPOLLIN | libc::EPOLLET)?;
    write(write_end, b"x")?;
    equal(await_events(epoll, 4, -1)?.len(), 1)?;
    equal(await_events(epoll, 4, 0)?.len(), 0)?;
    write(write_end, b"y")?;
    equal(await_events(epoll, 4, -1)?.len(), 1)?;
    equal(await_events(epoll, 4, 0)?.len(), 0)
}

fn epoll_wakes_for_another_process() -> Outcome {
    let epoll = epoll()?;
    let (read_end, write_end) = pipe()?;
    add(epoll, read_end, libc::EPOLLIN)?;
    let me = getpid();
    let child = fork(|| {
        let _ = await_state(me, "S");
        let _ = write(write_end, b"x");
        0
    })?;
    equal(await_events(epoll, 1, -1)?, vec![read_end as u64])?;
    equal(wait(child)?, 0)
}

fn epoll_of_a_duplicate_outlives_the_original() -> Outcome {
    let epoll = epoll()?;
    let (read_end, write_end) = pipe()?;
    let second = sys!(SYS_dup, read_end)? as i32;
    add(epoll, read_end, libc::EPOLLIN)?;
    close(read_end)?;
    write(write_end, b"x")?;
    // What is watched is the open file, which the duplicate keeps.
    equal(await_events(epoll, 1, 0)?, vec![read_end as u64])?;
    close(second)?;
    equal(await_events(epoll, 1, 0)?, Vec::new())
}

fn epoll_create_of_no_size_is_einval() -> Outcome {
    fails(sys!(SYS_epoll_create, 0), libc::EINVAL)?;
    fails(sys!(SYS_epoll_create, -1), libc::EINVAL)?;
    fails(sys!(SYS_epoll_create1, 1), libc::EINVAL)?;
    close(sys!(SYS_epoll_create, 1)? as i32)?;
    Ok(())
}

fn old_forms_make_plain_descriptors() -> Outcome {
    let flags = |fd: i32| -> Sys<(usize, usize)> {
        Ok((
            sys!(SYS_fcntl, fd, libc::F_GETFD)?,
            sys!(SYS_fcntl, fd, libc::F_GETFL)? & libc::O_NONBLOCK as usize,
        ))
    };
    let set = set_of(&[libc::SIGUSR1]);
    for fd in [
        sys!(SYS_eventfd, 3)?,
        sys!(SYS_inotify_init)?,
        sys!(SYS_epoll_create, 9)?,
        sys!(SYS_signalfd, -1, &set, 8)?,
    ] {
        equal(flags(fd as i32)?, (0, 0))?;
    }
    Ok(())
}
