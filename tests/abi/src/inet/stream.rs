//! Streams: bytes, readiness, files to and from.

use libc::{
    EAGAIN, EINVAL, FIONREAD, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, POLLIN, POLLOUT,
    SHUT_WR, SO_RCVLOWAT, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, TIOCOUTQ,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    many_bytes_arrive_in_order,
    bytes_are_joined_and_split,
    peeking_takes_nothing,
    truncating_throws_away,
    waitall_waits_for_all,
    low_water_holds_back,
    stream_timeouts,
    a_full_stream_blocks_writers,
    bytes_are_counted,
    vectors_are_written_and_read,
    sendfile_to_a_stream,
    splice_to_and_from_a_stream,
    epoll_tells_edges,
    a_signal_tells_of_input,
    bad_buffers_are_efault,
    many_connections_at_once,
    a_process_passes_a_connection_on,
];

/// A byte that tells its place.
fn pattern(index: usize) -> u8 {
    (index * 7 + index / 251) as u8
}

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(pattern).collect()
}

/// Reads until the end of the stream.
fn read_all(fd: Socket) -> Sys<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let some = recv(fd, 50_000, 0)?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

/// Writes everything from another process, then ends its side.
fn write_from_child(fd: Socket, bytes: &[u8]) -> Sys<i32> {
    fork(|| {
        let mut rest = bytes;
        while !rest.is_empty() {
            match write(fd, rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(_) => return 1,
            }
        }
        i32::from(shutdown(fd, SHUT_WR).is_err())
    })
}

fn many_bytes_arrive_in_order() -> Outcome {
    let (a, b) = tcp_pair()?;
    let bytes = patterned(3_000_000);
    let child = write_from_child(a, &bytes)?;
    let all = read_all(b)?;
    check(all == bytes, "other bytes arrive than were sent")?;
    equal(wait(child)?, 0)
}

fn bytes_are_joined_and_split() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"one")?;
    write(a, b"two")?;
    equal(recv(b, 6, MSG_WAITALL)?, b"onetwo")?;
    write(a, b"three")?;
    await_events(b, POLLIN)?;
    equal(recv(b, 2, 0)?, b"th")?;
    equal(recv(b, 9, 0)?, b"ree")?;
    fails(recv(b, 9, MSG_DONTWAIT), EAGAIN)
}

fn peeking_takes_nothing() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"abcdef")?;
    equal(recv(b, 6, MSG_PEEK | MSG_WAITALL)?, b"abcdef")?;
    equal(recv(b, 3, MSG_PEEK)?, b"abc")?;
    equal(recv(b, 9, 0)?, b"abcdef")?;
    fails(recv(b, 9, MSG_PEEK | MSG_DONTWAIT), EAGAIN)?;
    shutdown(a, SHUT_WR)?;
    equal(recv(b, 9, MSG_PEEK)?, b"")
}

fn truncating_throws_away() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"abcdef")?;
    await_events(b, POLLIN)?;
    let mut bytes = [b'-'; 4];
    let args = (bytes.as_mut_ptr(), 4);
    let count = sys!(SYS_recvfrom, b, args.0, args.1, MSG_TRUNC, 0, 0)?;
    equal(count, 4)?;
    equal(bytes, [b'-'; 4])?;
    equal(recv(b, 9, 0)?, b"ef")
}

fn waitall_waits_for_all() -> Outcome {
    let (a, b) = tcp_pair()?;
    let child = fork(|| {
        let _ = write(a, b"first");
        nap();
        let _ = write(a, b"second");
        0
    })?;
    equal(recv(b, 11, MSG_WAITALL)?, b"firstsecond")?;
    wait(child)?;
    write(a, b"end")?;
    shutdown(a, SHUT_WR)?;
    equal(recv(b, 11, MSG_WAITALL)?, b"end")
}

fn low_water_holds_back() -> Outcome {
    let (a, b) = tcp_pair()?;
    set_option(b, SOL_SOCKET, SO_RCVLOWAT, 4_i32)?;
    write(a, b"abc")?;
    nap();
    equal(events(b)? & POLLIN, 0)?;
    write(a, b"d")?;
    check(
        await_events(b, POLLIN)? & POLLIN != 0,
        "four bytes are not enough",
    )?;
    equal(recv(b, 9, 0)?, b"abcd")
}

fn stream_timeouts() -> Outcome {
    let (a, b) = tcp_pair()?;
    set_option(b, SOL_SOCKET, SO_RCVTIMEO, [0_i64, 20_000])?;
    fails(recv(b, 1, 0), EAGAIN)?;
    set_option(a, SOL_SOCKET, SO_SNDTIMEO, [0_i64, 20_000])?;
    let bytes = vec![0; 1 << 20];
    for _ in 0..64 {
        match write(a, &bytes) {
            Ok(_) => {}
            answer => return fails(answer, EAGAIN),
        }
    }
    fail("a stream that nobody reads takes 64 MiB")
}

fn a_full_stream_blocks_writers() -> Outcome {
    let (a, b) = tcp_pair()?;
    let bytes = vec![5; 100_000];
    let mut sent = 0;
    loop {
        match send(a, &bytes, MSG_DONTWAIT) {
            Ok(count) => sent += count,
            answer => {
                fails(answer, EAGAIN)?;
                break;
            }
        }
        check(sent < 64 << 20, "a stream that nobody reads has no end")?;
    }
    equal(events(a)? & POLLOUT, 0)?;
    let child = fork(|| {
        let mut left = sent;
        while left > 0 {
            match recv(b, 65536, 0) {
                Ok(some) if !some.is_empty() => left -= some.len(),
                _ => return 1,
            }
        }
        0
    })?;
    check(await_events(a, POLLOUT)? & POLLOUT != 0, "no room comes")?;
    equal(wait(child)?, 0)
}

fn bytes_are_counted() -> Outcome {
    let (a, b) = tcp_pair()?;
    let mut count = 0_i32;
    sys!(SYS_ioctl, b, FIONREAD, &mut count)?;
    equal(count, 0)?;
    write(a, b"twelve bytes")?;
    await_events(b, POLLIN)?;
    sys!(SYS_ioctl, b, FIONREAD, &mut count)?;
    equal(count, 12)?;
    loop {
        sys!(SYS_ioctl, a, TIOCOUTQ, &mut count)?;
        if count == 0 {
            break;
        }
        nap();
    }
    let (server, _) = listener(1)?;
    fails(sys!(SYS_ioctl, server, FIONREAD, &mut count), EINVAL)
}

fn vectors_are_written_and_read() -> Outcome {
    let (a, b) = tcp_pair()?;
    let parts = [&b"some "[..], b"", b"parts"];
    let iov: Vec<[usize; 2]> = parts
        .iter()
        .map(|part| [part.as_ptr() as usize, part.len()])
        .collect();
    equal(sys!(SYS_writev, a, iov.as_ptr(), iov.len())?, 10)?;
    await_events(b, POLLIN)?;
    let (mut one, mut two) = ([0_u8; 4], [0_u8; 20]);
    let iov = [
        [one.as_mut_ptr() as usize, one.len()],
        [two.as_mut_ptr() as usize, two.len()],
    ];
    equal(sys!(SYS_readv, b, iov.as_ptr(), 2)?, 10)?;
    equal(&one, b"some")?;
    equal(two.get(..6), Some(&b" parts"[..]))
}

fn sendfile_to_a_stream() -> Outcome {
    let (a, b) = tcp_pair()?;
    let bytes = patterned(300_000);
    let file = file_with(c"file", &bytes)?;
    let child = fork(|| {
        let mut sent = 0;
        while sent < 300_000 {
            match sys!(SYS_sendfile, a, file, 0, 300_000 - sent) {
                Ok(0) | Err(_) => return 1,
                Ok(count) => sent += count,
            }
        }
        i32::from(shutdown(a, SHUT_WR).is_err())
    })?;
    check(
        read_all(b)? == bytes,
        "other bytes arrive than the file has",
    )?;
    equal(wait(child)?, 0)
}

fn splice_to_and_from_a_stream() -> Outcome {
    let (a, b) = tcp_pair()?;
    let (read_end, write_end) = pipe()?;
    write(write_end, b"through the pipe")?;
    equal(sys!(SYS_splice, read_end, 0, a, 0, 100, 0)?, 16)?;
    await_events(b, POLLIN)?;
    equal(sys!(SYS_splice, b, 0, write_end, 0, 100, 0)?, 16)?;
    equal(read_some(read_end)?, b"through the pipe")
}

fn epoll_tells_edges() -> Outcome {
    let (a, b) = tcp_pair()?;
    let epoll = sys!(SYS_epoll_create1, 0)? as i32;
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32,
        u64: 7,
    };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, b, &mut event)?;
    let mut got = zeroed::<libc::epoll_event>();
    let mut wait_ms = |ms: i32| {
        let count = sys!(SYS_epoll_wait, epoll, &mut got, 1, ms)?;
        Ok::<_, Errno>((count, got.events))
    };
    equal(wait_ms(0)?.0, 0)?;
    write(a, b"x")?;
    equal(wait_ms(10_000)?, (1, libc::EPOLLIN as u32))?;
    equal(wait_ms(0)?.0, 0)?;
    write(a, b"y")?;
    equal(wait_ms(10_000)?, (1, libc::EPOLLIN as u32))?;
    close(a)?;
    let hung = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
    equal(wait_ms(10_000)?, (1, hung))
}

fn a_signal_tells_of_input() -> Outcome {
    let (a, b) = tcp_pair()?;
    block(&[libc::SIGIO])?;
    sys!(SYS_fcntl, b, libc::F_SETOWN, getpid())?;
    sys!(SYS_fcntl, b, libc::F_SETFL, libc::O_ASYNC)?;
    write(a, b"x")?;
    equal(take(&[libc::SIGIO])?.si_signo, libc::SIGIO)
}

fn bad_buffers_are_efault() -> Outcome {
    let (a, b) = tcp_pair()?;
    fails(sys!(SYS_sendto, a, 8, 4, 0, 0, 0), libc::EFAULT)?;
    write(a, b"kept")?;
    await_events(b, POLLIN)?;
    fails(sys!(SYS_recvfrom, b, 8, 4, 0, 0, 0), libc::EFAULT)?;
    equal(recv(b, 9, 0)?, b"kept")
}

fn many_connections_at_once() -> Outcome {
    up()?;
    let (server, port) = listener(200)?;
    let mut pairs = Vec::new();
    for _ in 0..200 {
        let client = socket(AF_INET, libc::SOCK_STREAM, 0)?;
        connect(client, &local(port))?;
        pairs.push((client, accept(server)?));
    }
    for (index, (client, _)) in pairs.iter().enumerate() {
        write(*client, &[index as u8; 9])?;
    }
    for (index, (_, accepted)) in pairs.iter().enumerate() {
        equal(recv(*accepted, 9, MSG_WAITALL)?, vec![index as u8; 9])?;
    }
    Ok(())
}

fn a_process_passes_a_connection_on() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let child = fork(|| {
        let Ok(fd) = accept(server) else { return 1 };
        let Ok(bytes) = recv(fd, 9, 0) else { return 2 };
        i32::from(write(fd, &bytes).is_err())
    })?;
    let client = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    connect(client, &local(port))?;
    write(client, b"echo")?;
    equal(recv(client, 9, 0)?, b"echo")?;
    equal(wait(child)?, 0)?;
    // The child's end was the last: its exit closed it.
    equal(recv(client, 9, 0)?, b"")
}
