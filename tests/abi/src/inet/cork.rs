//! Streams: bytes that wait for more (`TCP_CORK`, `MSG_MORE`).
//!
//! They wait for 200 ms at most, so that a look which came later says nothing: it is taken anew with other sockets.

use std::time::{Duration, Instant};

use libc::{
    EAGAIN, IPPROTO_TCP, MSG_DONTWAIT, MSG_MORE, POLLIN, SHUT_WR, TCP_CORK, TCP_NODELAY, TIOCOUTQ,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    corking_is_a_switch,
    corked_bytes_wait_until_it_is_taken_back,
    corked_bytes_go_when_delay_is_forbidden,
    corked_bytes_go_with_the_end,
    corked_bytes_go_after_a_while,
    corked_bytes_wait_while_others_come,
    corked_bytes_that_fill_segments_go,
    more_waits_for_the_rest,
];

fn cork(fd: Socket, on: i32) -> Sys {
    set_option(fd, IPPROTO_TCP, TCP_CORK, on)
}

/// What is seen where a send should show nothing, and once something else was done; how long it took.
struct Seen {
    first: Sys<Vec<u8>>,
    then: Vec<u8>,
    took: Duration,
}

fn look(
    send: impl Fn(Socket, Socket) -> Outcome,
    then: impl Fn(Socket) -> Outcome,
) -> Outcome<Seen> {
    let (a, b) = tcp_pair()?;
    let start = Instant::now();
    send(a, b)?;
    let first = recv(b, 100, MSG_DONTWAIT);
    then(a)?;
    let then = recv(b, 100, 0)?;
    let took = start.elapsed();
    close(a)?;
    close(b)?;
    Ok(Seen { first, then, took })
}

/// Holds that nothing comes of `send`, and all of it at once after `then`.
fn waits(
    send: impl Fn(Socket, Socket) -> Outcome,
    then: impl Fn(Socket) -> Outcome,
    whole: &[u8],
) -> Outcome {
    loop {
        let seen = look(&send, &then)?;
        if seen.took < Duration::from_millis(150) {
            fails(seen.first, EAGAIN)?;
            return equal(seen.then, whole);
        }
    }
}

fn send_corked(fd: Socket) -> Outcome {
    cork(fd, 1)?;
    equal(send(fd, b"head", 0)?, 4)
}

fn corking_is_a_switch() -> Outcome {
    up()?;
    let (server, port) = listener(1)?;
    equal(option::<i32>(server, IPPROTO_TCP, TCP_CORK)?, 0)?;
    cork(server, 5)?;
    equal(option::<i32>(server, IPPROTO_TCP, TCP_CORK)?, 1)?;
    equal(option::<i32>(server, IPPROTO_TCP, TCP_NODELAY)?, 0)?;
    let client = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    equal(option::<i32>(accepted, IPPROTO_TCP, TCP_CORK)?, 1)?;
    equal(option::<i32>(client, IPPROTO_TCP, TCP_CORK)?, 0)?;
    cork(accepted, 0)?;
    equal(option::<i32>(accepted, IPPROTO_TCP, TCP_CORK)?, 0)
}

fn corked_bytes_wait_until_it_is_taken_back() -> Outcome {
    let send = |a, _| {
        send_corked(a)?;
        equal(send(a, b"body", 0)?, 4)?;
        // They are sent as far as the sender can tell.
        let mut left = 0_i32;
        sys!(SYS_ioctl, a, TIOCOUTQ, &mut left)?;
        equal(left, 8)
    };
    let uncork = |a| cork(a, 0).map(drop).map_err(Into::into);
    waits(send, uncork, b"headbody")
}

fn corked_bytes_go_when_delay_is_forbidden() -> Outcome {
    let push = |a| {
        set_option(a, IPPROTO_TCP, TCP_NODELAY, 1_i32)?;
        // What comes now waits again.
        equal(option::<i32>(a, IPPROTO_TCP, TCP_CORK)?, 1)?;
        equal(send(a, b"body", 0)?, 4)
    };
    waits(|a, _| send_corked(a), push, b"head")
}

fn corked_bytes_go_with_the_end() -> Outcome {
    let end = |a| shutdown(a, SHUT_WR).map(drop).map_err(Into::into);
    waits(|a, _| send_corked(a), end, b"head")?;
    let (a, b) = tcp_pair()?;
    send_corked(a)?;
    close(a)?;
    equal(recv(b, 100, 0)?, b"head")?;
    equal(recv(b, 100, 0)?, b"")
}

fn corked_bytes_go_after_a_while() -> Outcome {
    let (a, b) = tcp_pair()?;
    send_corked(a)?;
    equal(await_events(b, POLLIN)? & POLLIN, POLLIN)?;
    equal(recv(b, 100, 0)?, b"head")?;
    // And again.
    equal(send(a, b"body", 0)?, 4)?;
    equal(recv(b, 100, 0)?, b"body")
}

fn corked_bytes_wait_while_others_come() -> Outcome {
    let exchange = |a, b| {
        send_corked(a)?;
        equal(send(b, b"question", 0)?, 8)?;
        equal(recv(a, 100, 0)?, b"question")
    };
    let uncork = |a| cork(a, 0).map(drop).map_err(Into::into);
    waits(exchange, uncork, b"head")
}

fn corked_bytes_that_fill_segments_go() -> Outcome {
    let bytes = vec![b'x'; 100_000];
    loop {
        let (a, b) = tcp_pair()?;
        cork(a, 1)?;
        let start = Instant::now();
        equal(send(a, &bytes, 0)?, bytes.len())?;
        let came = recv(b, bytes.len(), 0)?.len();
        let took = start.elapsed();
        let mut rest = came;
        while rest < bytes.len() {
            rest += recv(b, bytes.len(), 0)?.len();
        }
        if took < Duration::from_millis(150) {
            return check(came > 1000, "few bytes came at first");
        }
    }
}

fn more_waits_for_the_rest() -> Outcome {
    let send_head = |a, _| equal(send(a, b"head", MSG_MORE)?, 4);
    let send_body = |a| equal(send(a, b"body", 0)?, 4);
    waits(send_head, send_body, b"headbody")
}
