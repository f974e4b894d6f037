//! Streams: urgent data (`MSG_OOB`).

use libc::{
    AF_INET, EAGAIN, EINVAL, ENOTCONN, ENOTTY, EOPNOTSUPP, EPIPE, FIONREAD, IPPROTO_TCP,
    MSG_DONTWAIT, MSG_MORE, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, POLLIN,
    POLLPRI, SHUT_WR, SIGIO, SIGURG, SO_OOBINLINE, TCP_CORK, TIOCOUTQ,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    urgent_is_the_last_byte,
    urgent_marks_end_a_read,
    urgent_marks_end_a_read_that_wants_all,
    urgent_bytes_are_there_once,
    urgent_bytes_may_be_in_the_stream,
    urgent_bytes_in_the_stream_are_inherited,
    urgent_marks_move_to_a_later_byte,
    urgent_marks_stay_when_peeked_over,
    urgent_lengths_and_flags,
    urgent_readiness,
    urgent_bytes_signal_the_owner,
    urgent_bytes_send_a_chosen_signal_too,
    urgent_signals_go_to_owners_by_ioctl,
    urgent_marks_and_blocked_signals,
    urgent_data_is_not_held_back,
    urgent_marks_come_before_their_bytes,
    urgent_data_and_the_end,
    urgent_data_and_a_reset,
    urgent_data_needs_a_connection,
    urgent_data_is_for_streams,
    urgent_pointers_are_in_the_packets,
];

const SIOCATMARK: i32 = 0x8905;
const SIOCSPGRP: i32 = 0x8902;
const SIOCGPGRP: i32 = 0x8904;
const F_SETSIG: i32 = 10;
const SI_KERNEL: i32 = 0x80;
const POLL_PRI: i32 = 5;
const RT: i32 = 40;

fn number_of(fd: Socket, command: i32) -> Sys<i32> {
    let mut number = -1_i32;
    sys!(SYS_ioctl, fd, command, &mut number)?;
    Ok(number)
}

fn at_mark(fd: Socket) -> Sys<bool> {
    Ok(number_of(fd, SIOCATMARK)? != 0)
}

fn unread(fd: Socket) -> Sys<i32> {
    number_of(fd, FIONREAD as i32)
}

fn await_urgent(fd: Socket) -> Outcome {
    equal(await_events(fd, POLLPRI)? & POLLPRI, POLLPRI)
}

/// A pair of which the second has received these bytes, the last of them urgent, then those.
fn pair_with(urgent: &[u8], rest: &[u8]) -> Outcome<(Socket, Socket)> {
    let (a, b) = tcp_pair()?;
    equal(send(a, urgent, MSG_OOB)?, urgent.len())?;
    await_urgent(b)?;
    send(a, rest, 0)?;
    let all = urgent.len() + rest.len();
    // What is acknowledged has come.
    while number_of(a, TIOCOUTQ as i32)? != 0 {
        nap();
    }
    check(all > 0, "nothing was sent")?;
    Ok((a, b))
}

fn urgent_is_the_last_byte() -> Outcome {
    let (_a, b) = pair_with(b"abc", b"")?;
    equal(unread(b)?, 2)?;
    check(!at_mark(b)?, "at the mark too early")?;
    equal(recv(b, 10, MSG_OOB)?, b"c")?;
    equal(recv(b, 10, 0)?, b"ab")?;
    check(at_mark(b)?, "not at the mark")?;
    equal(unread(b)?, 0)?;
    fails(recv(b, 10, MSG_DONTWAIT), EAGAIN)?;
    check(!at_mark(b)?, "still at the mark")
}

fn urgent_marks_end_a_read() -> Outcome {
    let (a, b) = pair_with(b"abc", b"de")?;
    equal(recv(b, 1, 0)?, b"a")?;
    equal(unread(b)?, 1)?;
    equal(read_some(b)?, b"b")?;
    check(at_mark(b)?, "not at the mark")?;
    equal(unread(b)?, 0)?;
    equal(events(b)? & (POLLIN | POLLPRI), POLLIN | POLLPRI)?;
    equal(recv(b, 1, 0)?, b"d")?;
    check(!at_mark(b)?, "still at the mark")?;
    equal(unread(b)?, 1)?;
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    equal(recv(b, 10, 0)?, b"e")?;
    // Marks do not stay for what comes later.
    equal(send(a, b"more", 0)?, 4)?;
    equal(recv(b, 10, 0)?, b"more")
}

fn urgent_marks_end_a_read_that_wants_all() -> Outcome {
    let (_a, b) = pair_with(b"abc", b"de")?;
    equal(recv(b, 10, MSG_WAITALL)?, b"ab")?;
    equal(recv(b, 2, MSG_WAITALL)?, b"de")?;
    let (_a, b) = pair_with(b"abc", b"de")?;
    equal(recv(b, 10, MSG_WAITALL | MSG_PEEK)?, b"ab")
}

fn urgent_bytes_are_there_once() -> Outcome {
    let (a, b) = tcp_pair()?;
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    check(!at_mark(b)?, "at a mark")?;
    equal(send(a, b"ordinary", 0)?, 8)?;
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    equal(recv(b, 10, 0)?, b"ordinary")?;
    equal(send(a, b"!", MSG_OOB)?, 1)?;
    await_urgent(b)?;
    check(at_mark(b)?, "not at the mark")?;
    equal(recv(b, 1, MSG_OOB | MSG_PEEK)?, b"!")?;
    equal(recv(b, 1, MSG_OOB)?, b"!")?;
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    check(at_mark(b)?, "not at the mark once it is read")?;
    fails(recv(b, 10, MSG_DONTWAIT), EAGAIN)?;
    // The other direction has marks of its own.
    equal(send(b, b"?", MSG_OOB)?, 1)?;
    await_urgent(a)?;
    equal(recv(a, 1, MSG_OOB)?, b"?")
}

fn urgent_bytes_may_be_in_the_stream() -> Outcome {
    let (a, b) = tcp_pair()?;
    switch(b, SO_OOBINLINE)?;
    equal(send(a, b"abc", MSG_OOB)?, 3)?;
    await_urgent(b)?;
    equal(send(a, b"de", 0)?, 2)?;
    while unread(b)? != 5 {
        nap();
    }
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    equal(recv(b, 10, 0)?, b"ab")?;
    check(at_mark(b)?, "not at the mark")?;
    equal(unread(b)?, 3)?;
    equal(recv(b, 10, 0)?, b"cde")?;
    check(!at_mark(b)?, "still at the mark")?;
    equal(events(b)? & POLLPRI, 0)?;
    // The option may come late.
    let (_a, b) = pair_with(b"abc", b"")?;
    switch(b, SO_OOBINLINE)?;
    equal(recv(b, 10, 0)?, b"ab")?;
    equal(recv(b, 10, 0)?, b"c")
}

fn urgent_bytes_in_the_stream_are_inherited() -> Outcome {
    up()?;
    let (server, port) = listener(1)?;
    switch(server, SO_OOBINLINE)?;
    let client = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    equal(option::<i32>(accepted, SOL_SOCKET, SO_OOBINLINE)?, 1)?;
    equal(send(client, b"abc", MSG_OOB)?, 3)?;
    await_urgent(accepted)?;
    equal(recv(accepted, 10, 0)?, b"ab")?;
    equal(recv(accepted, 10, 0)?, b"c")
}

fn urgent_marks_move_to_a_later_byte() -> Outcome {
    // One that is not the next to be read stays in the stream.
    let (a, b) = pair_with(b"ab", b"")?;
    equal(send(a, b"cd", MSG_OOB)?, 2)?;
    while unread(b)? != 3 {
        nap();
    }
    await_urgent(b)?;
    equal(recv(b, 1, MSG_OOB)?, b"d")?;
    equal(recv(b, 10, 0)?, b"abc")?;
    check(at_mark(b)?, "not at the mark")?;
    // One that is goes away.
    let (a, b) = pair_with(b"a", b"")?;
    equal(recv(b, 1, MSG_OOB)?, b"a")?;
    equal(send(a, b"bc", MSG_OOB)?, 2)?;
    await_urgent(b)?;
    equal(recv(b, 10, 0)?, b"b")?;
    equal(recv(b, 1, MSG_OOB)?, b"c")
}

fn urgent_marks_stay_when_peeked_over() -> Outcome {
    let (_a, b) = pair_with(b"abc", b"de")?;
    equal(recv(b, 10, MSG_PEEK)?, b"ab")?;
    equal(recv(b, 2, 0)?, b"ab")?;
    equal(recv(b, 10, MSG_PEEK)?, b"de")?;
    equal(recv(b, 1, MSG_PEEK)?, b"d")?;
    check(at_mark(b)?, "peeking passed the mark")?;
    equal(recv(b, 1, MSG_OOB)?, b"c")?;
    equal(recv(b, 10, 0)?, b"de")?;
    let (_a, b) = pair_with(b"c", b"")?;
    fails(recv(b, 10, MSG_PEEK | MSG_DONTWAIT), EAGAIN)?;
    equal(recv(b, 1, MSG_OOB)?, b"c")
}

/// Receives with `recvmsg`: how many bytes, which flags.
fn recv_message(fd: Socket, len: usize, flags: i32) -> Sys<(usize, i32)> {
    let mut bytes = vec![0_u8; len];
    let iov = [bytes.as_mut_ptr() as usize, len];
    let mut header = [0_usize; 7];
    header[2] = iov.as_ptr() as usize;
    header[3] = 1;
    let count = sys!(SYS_recvmsg, fd, &mut header, flags)?;
    Ok((count, header[6] as i32))
}

fn urgent_lengths_and_flags() -> Outcome {
    let (a, b) = pair_with(b"abc", b"")?;
    equal(
        recv_message(b, 0, MSG_OOB | MSG_PEEK)?,
        (0, MSG_OOB | MSG_TRUNC),
    )?;
    equal(recv_message(b, 10, MSG_OOB | MSG_PEEK)?, (1, MSG_OOB))?;
    let mut bytes = [b'-'; 4];
    let flags = MSG_OOB | MSG_PEEK | MSG_TRUNC;
    equal(
        sys!(SYS_recvfrom, b, bytes.as_mut_ptr(), 4, flags, 0, 0)?,
        1,
    )?;
    equal(&bytes, b"----")?;
    equal(recv_message(b, 10, 0)?, (2, 0))?;
    // With no room at all the byte is read and lost.
    equal(recv_message(b, 0, MSG_OOB)?, (0, MSG_OOB | MSG_TRUNC))?;
    fails(recv(b, 10, MSG_OOB), EINVAL)?;
    // Of many messages it is the only one.
    equal(send(a, b"d", MSG_OOB)?, 1)?;
    await_urgent(b)?;
    let mut bytes = [0_u8; 4];
    let iov = [bytes.as_mut_ptr() as usize, 4];
    let mut headers = [0_usize; 16];
    for header in headers.chunks_mut(8) {
        header[2] = iov.as_ptr() as usize;
        header[3] = 1;
    }
    let flags = MSG_OOB | MSG_PEEK;
    equal(sys!(SYS_recvmmsg, b, &mut headers, 2, flags, 0)?, 1)?;
    equal(recv(b, 1, MSG_OOB)?, b"d")?;
    // Nothing sent marks nothing.
    let (c, d) = tcp_pair()?;
    equal(send(c, b"ab", 0)?, 2)?;
    equal(send(c, b"", MSG_OOB)?, 0)?;
    equal(recv(d, 10, 0)?, b"ab")?;
    equal(events(d)? & POLLPRI, 0)?;
    // A large send marks its last byte.
    let large = vec![b'x'; 30_000];
    equal(send(a, &large, MSG_OOB)?, large.len())?;
    await_urgent(b)?;
    let mut total = 0;
    while !at_mark(b)? {
        total += recv(b, large.len(), 0)?.len();
    }
    equal(total, large.len() - 1)
}

/// Whether `select` finds something extraordinary.
fn is_exceptional(fd: Socket) -> Sys<bool> {
    let mut set = [0_u64; 16];
    set[fd as usize / 64] |= 1 << (fd % 64);
    let time = [0_i64; 2];
    let found = sys!(SYS_select, fd + 1, 0, 0, &mut set, &time)?;
    Ok(found != 0)
}

fn urgent_readiness() -> Outcome {
    let (a, b) = tcp_pair()?;
    let set = sys!(SYS_epoll_create1, 0)? as i32;
    let mut event = libc::epoll_event {
        events: libc::EPOLLPRI as u32,
        u64: 7,
    };
    sys!(SYS_epoll_ctl, set, libc::EPOLL_CTL_ADD, b, &mut event)?;
    let waits = |timeout| {
        sys!(
            SYS_epoll_wait,
            set,
            &zeroed::<libc::epoll_event>(),
            1,
            timeout
        )
    };
    equal(send(a, b"a", 0)?, 1)?;
    equal(await_events(b, POLLIN)? & POLLPRI, 0)?;
    equal(waits(0)?, 0)?;
    check(!is_exceptional(b)?, "select found something")?;
    equal(recv(b, 10, 0)?, b"a")?;
    // A waiter is woken.
    let child = fork(|| {
        nap();
        i32::from(send(a, b"!", MSG_OOB).is_err())
    })?;
    equal(waits(10_000)?, 1)?;
    equal(wait(child)?, 0)?;
    check(is_exceptional(b)?, "select found nothing")?;
    // The urgent byte alone is none to be read.
    equal(events(b)? & (POLLIN | POLLPRI), POLLPRI)?;
    switch(b, SO_OOBINLINE)?;
    equal(events(b)? & (POLLIN | POLLPRI), POLLIN | POLLPRI)?;
    set_option(b, SOL_SOCKET, SO_OOBINLINE, 0_i32)?;
    equal(recv(b, 1, MSG_OOB)?, b"!")?;
    equal(waits(0)?, 0)?;
    check(!is_exceptional(b)?, "select found a byte that was read")?;
    equal(events(b)? & (POLLIN | POLLPRI), 0)
}

fn is_pending(signal: i32) -> Sys<bool> {
    Ok(pending()? & set_of(&[signal]) != 0)
}

fn urgent_bytes_signal_the_owner() -> Outcome {
    block(&[SIGURG, SIGIO])?;
    let (a, b) = pair_with(b"a", b"")?;
    check(!is_pending(SIGURG)?, "a signal without an owner")?;
    sys!(SYS_fcntl, b, libc::F_SETOWN, getpid())?;
    equal(recv(b, 1, MSG_OOB)?, b"a")?;
    check(!is_pending(SIGURG)?, "a signal without a byte")?;
    equal(send(a, b"b", MSG_OOB)?, 1)?;
    await_urgent(b)?;
    equal(take(&[SIGURG])?.si_code, SI_KERNEL)?;
    check(!is_pending(SIGIO)?, "SIGIO without O_ASYNC")?;
    equal(send(a, b"ordinary", 0)?, 8)?;
    equal(send(b, b"b", MSG_OOB)?, 1)?;
    await_urgent(a)?;
    check(!is_pending(SIGURG)?, "a signal to who is none's owner")?;
    sys!(SYS_fcntl, b, libc::F_SETOWN, 0)?;
    equal(send(a, b"c", MSG_OOB)?, 1)?;
    await_urgent(b)?;
    check(!is_pending(SIGURG)?, "a signal to who is owner no more")
}

fn urgent_bytes_send_a_chosen_signal_too() -> Outcome {
    block(&[SIGURG, SIGIO, RT])?;
    let (a, b) = tcp_pair()?;
    sys!(SYS_fcntl, b, libc::F_SETOWN, getpid())?;
    sys!(SYS_fcntl, b, F_SETSIG, RT)?;
    equal(send(a, b"a", MSG_OOB)?, 1)?;
    await_urgent(b)?;
    take(&[SIGURG])?;
    check(!is_pending(RT)?, "the chosen signal without O_ASYNC")?;
    sys!(SYS_fcntl, b, libc::F_SETFL, libc::O_ASYNC)?;
    equal(send(a, b"b", MSG_OOB)?, 1)?;
    let first = take(&[RT])?;
    equal(first.si_code, POLL_PRI)?;
    let base = std::ptr::from_ref(&first).cast::<u8>();
    // SAFETY: the structure has 128 bytes; the fields of SIGPOLL begin at 16.
    let (band, fd) = unsafe {
        (
            base.add(16).cast::<i64>().read(),
            base.add(24).cast::<i32>().read(),
        )
    };
    equal((band, fd), (0x82, b))?;
    equal(take(&[SIGURG])?.si_code, SI_KERNEL)
}

fn urgent_signals_go_to_owners_by_ioctl() -> Outcome {
    block(&[SIGURG])?;
    let (a, b) = tcp_pair()?;
    equal(number_of(b, SIOCGPGRP)?, 0)?;
    let group = -(sys!(SYS_getpgid, 0)? as i32);
    sys!(SYS_ioctl, b, SIOCSPGRP, &group)?;
    equal(number_of(b, SIOCGPGRP)?, group)?;
    let own = getpid();
    sys!(SYS_ioctl, b, SIOCSPGRP, &own)?;
    equal(number_of(b, SIOCGPGRP)?, own)?;
    equal(send(a, b"a", MSG_OOB)?, 1)?;
    equal(take(&[SIGURG])?.si_code, SI_KERNEL)
}

fn urgent_marks_and_blocked_signals() -> Outcome {
    let (_a, b) = pair_with(b"!", b"rest")?;
    catch(libc::SIGUSR1, 0)?;
    block(&[libc::SIGUSR1])?;
    raise(libc::SIGUSR1)?;
    equal(hits(libc::SIGUSR1), 0)?;
    // A blocked signal is no hindrance.
    equal(recv(b, 10, 0)?, b"rest")?;
    unblock(&[libc::SIGUSR1])?;
    equal(hits(libc::SIGUSR1), 1)
}

fn urgent_data_is_not_held_back() -> Outcome {
    let (a, b) = tcp_pair()?;
    set_option(a, IPPROTO_TCP, TCP_CORK, 1_i32)?;
    equal(send(a, b"head", MSG_MORE)?, 4)?;
    equal(send(a, b"ab", MSG_OOB | MSG_MORE)?, 2)?;
    await_urgent(b)?;
    equal(recv(b, 10, 0)?, b"heada")?;
    equal(recv(b, 1, MSG_OOB)?, b"b")
}

/// Sends without waiting until nothing more is taken in by the other side, and answers how much was sent.
fn fill(a: Socket) -> Outcome<usize> {
    let block = [b'x'; 4096];
    let mut sent = 0;
    loop {
        sent += send(a, &block, MSG_DONTWAIT)?;
        if number_of(a, TIOCOUTQ as i32)? != 0 {
            // An acknowledgement may be late by what Linux delays it at most.
            std::thread::sleep(std::time::Duration::from_millis(250));
            if number_of(a, TIOCOUTQ as i32)? != 0 {
                return Ok(sent);
            }
        }
    }
}

fn urgent_marks_come_before_their_bytes() -> Outcome {
    block(&[SIGURG])?;
    let (a, b) = tcp_pair()?;
    sys!(SYS_fcntl, b, libc::F_SETOWN, getpid())?;
    let sent = fill(a)?;
    equal(send(a, b"!", MSG_OOB)?, 1)?;
    // Told by a probe of the window.
    take(&[SIGURG])?;
    fails(recv(b, 1, MSG_OOB), EAGAIN)?;
    equal(events(b)? & POLLPRI, 0)?;
    let mut received = 0;
    while received < sent {
        received += recv(b, 65536, 0)?.len();
    }
    await_urgent(b)?;
    check(at_mark(b)?, "not at the mark")?;
    equal(recv(b, 1, MSG_OOB)?, b"!")
}

fn urgent_data_and_the_end() -> Outcome {
    let (a, b) = pair_with(b"ab", b"")?;
    shutdown(a, SHUT_WR)?;
    await_events(b, libc::POLLRDHUP)?;
    equal(events(b)? & POLLPRI, POLLPRI)?;
    equal(recv(b, 1, MSG_OOB)?, b"b")?;
    fails(recv(b, 1, MSG_OOB), EINVAL)?;
    equal(recv(b, 10, 0)?, b"a")?;
    equal(recv(b, 10, 0)?, b"")?;
    fails(send(a, b"!", MSG_OOB | MSG_NOSIGNAL), EPIPE)?;
    // After the end of both.
    let (a, b) = pair_with(b"ab", b"")?;
    close(a)?;
    shutdown(b, SHUT_WR)?;
    await_events(b, libc::POLLHUP)?;
    equal(recv(b, 1, MSG_OOB)?, b"b")?;
    equal(recv(b, 10, 0)?, b"a")
}

fn urgent_data_and_a_reset() -> Outcome {
    let (a, b) = pair_with(b"ab", b"")?;
    set_option(a, SOL_SOCKET, libc::SO_LINGER, [1_i32, 0])?;
    close(a)?;
    await_events(b, libc::POLLHUP)?;
    fails(recv(b, 1, MSG_OOB), ENOTCONN)
}

fn urgent_data_needs_a_connection() -> Outcome {
    up()?;
    let idle = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    fails(recv(idle, 1, MSG_OOB), EINVAL)?;
    fails(send(idle, b"!", MSG_OOB | MSG_NOSIGNAL), EPIPE)?;
    check(!at_mark(idle)?, "at a mark")?;
    let (server, _) = listener(1)?;
    fails(recv(server, 1, MSG_OOB), ENOTCONN)?;
    fails(send(server, b"!", MSG_OOB | MSG_NOSIGNAL), EPIPE)?;
    check(!at_mark(server)?, "at a mark")
}

fn urgent_data_is_for_streams() -> Outcome {
    up()?;
    let (fd, port) = udp_bound()?;
    connect(fd, &local(port))?;
    fails(send(fd, b"!", MSG_OOB), EOPNOTSUPP)?;
    fails(number_of(fd, SIOCATMARK), ENOTTY)?;
    let raw = socket(AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)?;
    fails(recv(raw, 10, MSG_OOB | MSG_DONTWAIT), EOPNOTSUPP)?;
    fails(number_of(raw, SIOCATMARK), ENOTTY)
}

fn urgent_pointers_are_in_the_packets() -> Outcome {
    let (a, b) = tcp_pair()?;
    let raw = socket(AF_INET, libc::SOCK_RAW, IPPROTO_TCP)?;
    let (from, to) = (own_port(a)?.to_be_bytes(), own_port(b)?.to_be_bytes());
    equal(send(a, b"abc", MSG_OOB)?, 3)?;
    loop {
        let packet = recv(raw, 65536, 0)?;
        let tcp = packet.get(20..).unwrap_or_default();
        let header = tcp.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        let is_it = tcp.get(..2) == Some(&from[..]) && tcp.get(2..4) == Some(&to[..]);
        if is_it && tcp.get(header..) == Some(&b"abc"[..]) {
            equal(tcp[13] & 0x20, 0x20)?;
            return equal(&tcp[18..20], &[0, 3][..]);
        }
    }
}
