//! Waiting for descriptors.

use super::{Case, Test, each};
use crate::fixture::{Fd, epoll, eventfd, raise_descriptor_limit};
use crate::problem::{Outcome, ensure, expect, good};
use crate::sys;

pub static TESTS: &[Test] = &[
    Test::new(
        "epoll_wait",
        10_000,
        "epoll_wait() on 8 descriptors, one of them ready",
        || epoll_of(8),
    ),
    Test::new(
        "epoll_1000",
        10_000,
        "epoll_wait() on 1000 descriptors, one of them ready",
        || epoll_of(1000),
    ),
    Test::new(
        "poll",
        10_000,
        "poll() of 8 descriptors, the last of them ready",
        || poll_of(8),
    ),
    Test::new(
        "poll_1000",
        200,
        "poll() of 1000 descriptors, the last of them ready",
        || poll_of(1000),
    ),
];

/// Descriptors of which the last is ready to be read.
fn descriptors(count: u32) -> Outcome<Vec<Fd>> {
    raise_descriptor_limit(u64::from(count) + 20)?;
    (1..=count)
        .map(|index| eventfd(u32::from(index == count)))
        .collect()
}

fn epoll_of(count: u32) -> Outcome<Box<dyn Case>> {
    let fds = descriptors(count)?;
    let epoll = epoll()?;
    for (index, fd) in fds.iter().enumerate() {
        let event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: index as u64,
        };
        let answer = sys::epoll_ctl(epoll.number(), libc::EPOLL_CTL_ADD, fd.number(), &event);
        expect("epoll_ctl", answer, 0)?;
    }
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
    each(move || {
        let _fds = &fds;
        events[0].u64 = 0;
        let answer = sys::epoll_wait(epoll.number(), &mut events, -1);
        expect("epoll_wait", answer, 1)?;
        let index = events[0].u64;
        ensure(index == u64::from(count - 1), || {
            format!("{index} is ready")
        })
    })
}

fn poll_of(count: u32) -> Outcome<Box<dyn Case>> {
    let fds = descriptors(count)?;
    let entry = |fd: &Fd| libc::pollfd {
        fd: fd.number(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    let last = polled.len() - 1;
    good("poll", sys::poll(&mut polled, 0))?;
    each(move || {
        let _fds = &fds;
        polled[last].revents = 0;
        expect("poll", sys::poll(&mut polled, -1), 1)?;
        let ready = polled[last].revents;
        ensure(ready == libc::POLLIN, || {
            format!("poll: revents {ready:#x}")
        })
    })
}
