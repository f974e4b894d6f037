//! Streams: connecting, accepting, ending.

use libc::{
    AF_INET, AF_INET6, EADDRINUSE, EAGAIN, EALREADY, ECONNREFUSED, ECONNRESET, EINPROGRESS, EINVAL,
    EISCONN, ENOTCONN, EPIPE, ETIMEDOUT, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, MSG_DONTWAIT,
    MSG_NOSIGNAL, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, SHUT_RD, SHUT_RDWR, SHUT_WR,
    SIGPIPE, SO_ACCEPTCONN, SO_LINGER, SO_PROTOCOL, SO_RCVTIMEO, SO_REUSEADDR, SO_REUSEPORT,
    SO_TYPE, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_INFO, TCP_NODELAY,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    tcp_sockets_tell_what_they_are,
    connecting_and_accepting,
    accept_gives_the_address,
    nobody_listens_is_refused,
    nonblocking_connect_is_told_later,
    nonblocking_refusal_is_told_later,
    connecting_twice,
    a_listener_is_ready_when_somebody_waits,
    accept_does_not_block_when_told,
    accept_times_out,
    backlog_holds_one_more_than_asked,
    closing_is_end_of_file,
    closing_with_unread_data_resets,
    lingering_for_no_time_resets,
    writing_to_a_closed_peer_is_epipe,
    shutting_down_one_side,
    shutting_a_listener_down,
    unaccepted_connections_are_reset,
    ports_in_use_are_refused,
    a_port_in_time_wait_needs_reuse,
    reuseport_lets_two_listen,
    listening_without_an_address,
    v6_listeners_take_v4,
    v6_streams,
    streams_ask_for_no_address,
    options_of_tcp,
    tcp_info_tells_the_state,
    disconnected_sockets_connect_again,
    a_refused_socket_connects_again,
    nobody_answers_times_out,
    idle_connections_outlive_the_user_timeout,
];

fn tcp() -> Sys<Socket> {
    socket(AF_INET, SOCK_STREAM, 0)
}

/// A port where nobody listens.
fn free_port() -> Outcome<u16> {
    let fd = tcp()?;
    bind(fd, &local(0))?;
    let port = own_port(fd)?;
    close(fd)?;
    Ok(port)
}

fn tcp_sockets_tell_what_they_are() -> Outcome {
    up()?;
    let fd = tcp()?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_TYPE)?, SOCK_STREAM)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_PROTOCOL)?, IPPROTO_TCP)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_ACCEPTCONN)?, 0)?;
    equal(own_name(fd)?, v4([0; 4], 0))?;
    fails(peer_name(fd), ENOTCONN)?;
    fails(accept(fd), EINVAL)?;
    fails(recv(fd, 1, 0), ENOTCONN)?;
    fails(send(fd, b"x", MSG_NOSIGNAL), EPIPE)?;
    equal(events(fd)?, POLLOUT | POLLHUP | 0x100)?;
    // It is shut down though it is told that it is not connected.
    fails(shutdown(fd, SHUT_RDWR), ENOTCONN)?;
    equal(recv(fd, 1, 0)?, b"")?;
    fails(socket(AF_INET, SOCK_STREAM, 17), libc::EPROTONOSUPPORT)?;
    fails(socket(AF_INET, 5, 0), libc::ESOCKTNOSUPPORT)?;
    let mut fds = [0_i32; 2];
    let pair = sys!(SYS_socketpair, AF_INET, SOCK_STREAM, 0, &mut fds);
    fails(pair, libc::EOPNOTSUPP)
}

fn connecting_and_accepting() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    equal(option::<i32>(server, SOL_SOCKET, SO_ACCEPTCONN)?, 1)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    equal(peer_name(client)?, local(port))?;
    equal(own_name(accepted)?, local(port))?;
    equal(peer_name(accepted)?, own_name(client)?)?;
    equal(write(client, b"ping")?, 4)?;
    equal(recv(accepted, 16, 0)?, b"ping")?;
    equal(write(accepted, b"pong")?, 4)?;
    equal(recv(client, 16, 0)?, b"pong")?;
    equal(events(client)?, POLLOUT | 0x100)?;
    fails(connect(client, &local(port)), EISCONN)?;
    fails(listen(client, 1), EINVAL)?;
    fails(recv(server, 1, 0), ENOTCONN)?;
    fails(connect(server, &local(port)), EISCONN)
}

fn accept_gives_the_address() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    let mut bytes = [0_u8; 64];
    let mut len = 64_u32;
    let flags = SOCK_NONBLOCK;
    let fd = sys!(SYS_accept4, server, bytes.as_mut_ptr(), &mut len, flags)? as i32;
    equal(bytes.get(..len as usize), Some(&own_name(client)?[..]))?;
    fails(recv(fd, 1, 0), EAGAIN)?;
    fails(sys!(SYS_accept4, server, 0, 0, 1), EINVAL)
}

fn nobody_listens_is_refused() -> Outcome {
    up()?;
    let port = free_port()?;
    fails(connect(tcp()?, &local(port)), ECONNREFUSED)?;
    // A port that is bound and not listened on is no different.
    let bound = tcp()?;
    bind(bound, &local(port))?;
    fails(connect(tcp()?, &local(port)), ECONNREFUSED)
}

fn nonblocking_connect_is_told_later() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    fails(connect(fd, &local(port)), EINPROGRESS)?;
    let seen = await_events(fd, POLLOUT)?;
    equal(seen, POLLOUT | 0x100)?;
    equal(error_of(fd)?, 0)?;
    connect(fd, &local(port))?;
    fails(connect(fd, &local(port)), EISCONN)?;
    let accepted = accept(server)?;
    write(accepted, b"x")?;
    equal(await_events(fd, POLLIN)? & POLLIN, POLLIN)
}

fn nonblocking_refusal_is_told_later() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    fails(connect(fd, &local(free_port()?)), EINPROGRESS)?;
    let seen = await_events(fd, POLLERR)?;
    let wanted = POLLERR | POLLHUP | POLLOUT | POLLIN | POLLRDHUP;
    equal(seen & wanted, wanted)?;
    equal(error_of(fd)?, ECONNREFUSED)?;
    equal(error_of(fd)?, 0)
}

fn connecting_twice() -> Outcome {
    up()?;
    // A listener that is full leaves the second connection unanswered.
    let (_server, port) = listener(0)?;
    let first = tcp()?;
    connect(first, &local(port))?;
    let fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    fails(connect(fd, &local(port)), EINPROGRESS)?;
    fails(connect(fd, &local(port)), EALREADY)?;
    equal(events(fd)?, 0)?;
    fails(recv(fd, 1, MSG_DONTWAIT), EAGAIN)?;
    fails(send(fd, b"x", MSG_DONTWAIT), EAGAIN)
}

fn a_listener_is_ready_when_somebody_waits() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    equal(events(server)?, 0)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    equal(await_events(server, POLLIN)?, POLLIN | 0x40)?;
    accept(server)?;
    equal(events(server)?, 0)
}

fn accept_does_not_block_when_told() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    bind(fd, &local(0))?;
    listen(fd, 1)?;
    fails(accept(fd), EAGAIN)
}

fn accept_times_out() -> Outcome {
    up()?;
    let (server, _) = listener(5)?;
    set_option(server, SOL_SOCKET, SO_RCVTIMEO, [0_i64, 20_000])?;
    fails(accept(server), EAGAIN)
}

fn backlog_holds_one_more_than_asked() -> Outcome {
    up()?;
    let (server, port) = listener(2)?;
    for _ in 0..3 {
        connect(tcp()?, &local(port))?;
    }
    let late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    fails(connect(late, &local(port)), EINPROGRESS)?;
    equal(events(late)?, 0)?;
    for _ in 0..3 {
        accept(server)?;
    }
    // It asks again.
    equal(await_events(late, POLLOUT)?, POLLOUT | 0x100)?;
    accept(server)?;
    Ok(())
}

fn closing_is_end_of_file() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"last")?;
    close(a)?;
    let seen = await_events(b, POLLRDHUP)?;
    equal(seen, POLLIN | 0x40 | POLLRDHUP | POLLOUT | 0x100)?;
    equal(recv(b, 16, 0)?, b"last")?;
    equal(recv(b, 16, 0)?, b"")?;
    equal(recv(b, 16, 0)?, b"")
}

fn closing_with_unread_data_resets() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"unread")?;
    await_events(b, POLLIN)?;
    close(b)?;
    let seen = await_events(a, POLLERR)?;
    let wanted = POLLERR | POLLHUP | POLLIN | POLLRDHUP | POLLOUT;
    equal(seen & wanted, wanted)?;
    fails(recv(a, 1, 0), ECONNRESET)?;
    equal(recv(a, 1, 0)?, b"")?;
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE)
}

fn lingering_for_no_time_resets() -> Outcome {
    let (a, b) = tcp_pair()?;
    write(a, b"data")?;
    await_events(b, POLLIN)?;
    set_option(a, SOL_SOCKET, SO_LINGER, [1_i32, 0])?;
    equal(option::<[i32; 2]>(a, SOL_SOCKET, SO_LINGER)?, [1, 0])?;
    close(a)?;
    await_events(b, POLLERR)?;
    // What came before is still there.
    equal(recv(b, 16, 0)?, b"data")?;
    fails(recv(b, 1, 0), ECONNRESET)
}

fn writing_to_a_closed_peer_is_epipe() -> Outcome {
    let (a, b) = tcp_pair()?;
    close(b)?;
    await_events(a, POLLRDHUP)?;
    // The first is answered by a reset.
    equal(write(a, b"x")?, 1)?;
    await_events(a, POLLERR)?;
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE)?;
    let (a, b) = tcp_pair()?;
    shutdown(a, SHUT_WR)?;
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE)?;
    equal(
        death_of(|| {
            let _ = write(a, b"x");
        })?,
        SIGPIPE,
    )?;
    close(b)?;
    Ok(())
}

fn shutting_down_one_side() -> Outcome {
    let (a, b) = tcp_pair()?;
    fails(shutdown(a, 3), EINVAL)?;
    write(a, b"before")?;
    shutdown(a, SHUT_WR)?;
    equal(recv(b, 16, 0)?, b"before")?;
    await_events(b, POLLRDHUP)?;
    equal(recv(b, 16, 0)?, b"")?;
    // The other way is open.
    write(b, b"answer")?;
    equal(recv(a, 16, 0)?, b"answer")?;
    equal(events(a)?, POLLOUT | 0x100)?;
    shutdown(b, SHUT_WR)?;
    let seen = await_events(a, POLLHUP)?;
    equal(seen, POLLIN | 0x40 | POLLRDHUP | POLLHUP | POLLOUT | 0x100)?;
    equal(recv(a, 16, 0)?, b"")?;
    let (a, b) = tcp_pair()?;
    shutdown(a, SHUT_RD)?;
    equal(events(a)?, POLLIN | 0x40 | POLLRDHUP | POLLOUT | 0x100)?;
    equal(recv(a, 16, 0)?, b"")?;
    write(b, b"still")?;
    await_events(a, POLLIN)?;
    equal(recv(a, 16, 0)?, b"still")
}

fn shutting_a_listener_down() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    shutdown(server, SHUT_RDWR)?;
    fails(accept(server), EINVAL)?;
    fails(connect(tcp()?, &local(port)), ECONNREFUSED)?;
    listen(server, 5)?;
    connect(tcp()?, &local(own_port(server)?))?;
    Ok(())
}

fn unaccepted_connections_are_reset() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    close(server)?;
    await_events(client, POLLERR)?;
    fails(recv(client, 1, 0), ECONNRESET)
}

fn ports_in_use_are_refused() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    fails(bind(tcp()?, &local(port)), EADDRINUSE)?;
    fails(bind(tcp()?, &v4([0; 4], port)), EADDRINUSE)?;
    // Reuse does not help while somebody listens.
    let other = tcp()?;
    switch(other, SO_REUSEADDR)?;
    fails(bind(other, &local(port)), EADDRINUSE)?;
    bind(tcp()?, &v4([127, 0, 0, 9], port))?;
    // UDP has ports of its own.
    bind(socket(AF_INET, SOCK_DGRAM, 0)?, &local(port))?;
    // Two may be bound with reuse, but only one listens.
    close(server)?;
    let (a, b) = (tcp()?, tcp()?);
    switch(a, SO_REUSEADDR)?;
    switch(b, SO_REUSEADDR)?;
    bind(a, &local(0))?;
    bind(b, &local(own_port(a)?))?;
    listen(a, 1)?;
    fails(listen(b, 1), EADDRINUSE)
}

fn a_port_in_time_wait_needs_reuse() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    // Who closes first waits.
    close(accepted)?;
    close(server)?;
    await_events(client, POLLRDHUP)?;
    fails(bind(tcp()?, &local(port)), EADDRINUSE)?;
    close(client)?;
    fails(bind(tcp()?, &local(port)), EADDRINUSE)?;
    // Both must have asked for reuse: the one that waits did not.
    let again = tcp()?;
    switch(again, SO_REUSEADDR)?;
    fails(bind(again, &local(port)), EADDRINUSE)?;
    let server = tcp()?;
    switch(server, SO_REUSEADDR)?;
    bind(server, &local(0))?;
    let port = own_port(server)?;
    listen(server, 1)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    close(accept(server)?)?;
    close(server)?;
    await_events(client, POLLRDHUP)?;
    close(client)?;
    fails(bind(tcp()?, &local(port)), EADDRINUSE)?;
    let again = tcp()?;
    switch(again, SO_REUSEADDR)?;
    bind(again, &local(port))?;
    listen(again, 1)?;
    Ok(())
}

fn reuseport_lets_two_listen() -> Outcome {
    up()?;
    let (a, b) = (tcp()?, tcp()?);
    switch(a, SO_REUSEPORT)?;
    switch(b, SO_REUSEPORT)?;
    bind(a, &local(0))?;
    let port = own_port(a)?;
    bind(b, &local(port))?;
    listen(a, 64)?;
    listen(b, 64)?;
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let fd = tcp()?;
            connect(fd, &local(port)).map(|_| fd)
        })
        .collect::<Sys<_>>()?;
    check(
        events(a)? | events(b)? == POLLIN | 0x40,
        "nobody got a connection",
    )?;
    equal(clients.len(), 16)
}

fn listening_without_an_address() -> Outcome {
    up()?;
    let fd = tcp()?;
    listen(fd, 1)?;
    let name = own_name(fd)?;
    equal(name.get(4..8), Some(&[0; 4][..]))?;
    connect(tcp()?, &local(port_in(&name)))?;
    Ok(())
}

fn v6_listeners_take_v4() -> Outcome {
    up()?;
    let server = socket(AF_INET6, SOCK_STREAM, 0)?;
    bind(server, &v6([0; 8], 0))?;
    let port = own_port(server)?;
    listen(server, 5)?;
    let client = tcp()?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    let mapped = v6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], own_port(client)?);
    equal(peer_name(accepted)?, mapped)?;
    write(accepted, b"hi")?;
    equal(recv(client, 9, 0)?, b"hi")?;
    fails(bind(tcp()?, &v4([0; 4], port)), EADDRINUSE)?;
    let only = socket(AF_INET6, SOCK_STREAM, 0)?;
    set_option(only, IPPROTO_IPV6, IPV6_V6ONLY, 1_i32)?;
    bind(only, &v6([0; 8], 0))?;
    listen(only, 5)?;
    let port = own_port(only)?;
    fails(connect(tcp()?, &local(port)), ECONNREFUSED)?;
    bind(tcp()?, &v4([0; 4], port))?;
    Ok(())
}

fn v6_streams() -> Outcome {
    up()?;
    let server = socket(AF_INET6, SOCK_STREAM, 0)?;
    bind(server, &local6(0))?;
    listen(server, 5)?;
    let port = own_port(server)?;
    let client = socket(AF_INET6, SOCK_STREAM, 0)?;
    connect(client, &local6(port))?;
    let accepted = accept(server)?;
    equal(peer_name(client)?, local6(port))?;
    equal(own_name(accepted)?, local6(port))?;
    write(client, b"six")?;
    equal(recv(accepted, 9, 0)?, b"six")?;
    close(client)?;
    equal(recv(accepted, 9, 0)?, b"")
}

fn streams_ask_for_no_address() -> Outcome {
    let (a, b) = tcp_pair()?;
    // The address of a send is not looked at.
    equal(send_to(a, b"x", &local(1))?, 1)?;
    let (bytes, from) = recv_from(b, 0)?;
    equal(bytes, b"x")?;
    equal(from, b"")
}

fn options_of_tcp() -> Outcome {
    up()?;
    let fd = tcp()?;
    equal(option::<i32>(fd, IPPROTO_TCP, TCP_NODELAY)?, 0)?;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 5_i32)?;
    equal(option::<i32>(fd, IPPROTO_TCP, TCP_NODELAY)?, 1)?;
    equal(option::<i32>(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE)?, 7200)?;
    set_option(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE, 30_i32)?;
    equal(option::<i32>(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE)?, 30)?;
    fails(
        set_option(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE, 0_i32),
        EINVAL,
    )?;
    fails(
        set_option(fd, IPPROTO_TCP, libc::TCP_KEEPCNT, 128_i32),
        EINVAL,
    )?;
    switch(fd, libc::SO_KEEPALIVE)?;
    fails(set_option(fd, IPPROTO_TCP, 4711, 0_i32), libc::ENOPROTOOPT)?;
    fails(option::<i32>(fd, IPPROTO_TCP, 4711), libc::ENOPROTOOPT)?;
    // Accepted sockets have what the listener has.
    let server = tcp()?;
    set_option(server, IPPROTO_TCP, TCP_NODELAY, 1_i32)?;
    switch(server, libc::SO_KEEPALIVE)?;
    bind(server, &local(0))?;
    listen(server, 1)?;
    connect(fd, &local(own_port(server)?))?;
    let accepted = accept(server)?;
    equal(option::<i32>(accepted, IPPROTO_TCP, TCP_NODELAY)?, 1)?;
    equal(option::<i32>(accepted, SOL_SOCKET, libc::SO_KEEPALIVE)?, 1)
}

/// The state in `TCP_INFO`.
fn state_of_socket(fd: Socket) -> Sys<u8> {
    Ok(option::<[u8; 104]>(fd, IPPROTO_TCP, TCP_INFO)?[0])
}

fn tcp_info_tells_the_state() -> Outcome {
    const ESTABLISHED: u8 = 1;
    const FIN_WAIT1: u8 = 4;
    const FIN_WAIT2: u8 = 5;
    const CLOSE: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    const LISTEN: u8 = 10;
    up()?;
    equal(state_of_socket(tcp()?)?, CLOSE)?;
    let (server, _) = listener(1)?;
    equal(state_of_socket(server)?, LISTEN)?;
    let (a, b) = tcp_pair()?;
    equal(state_of_socket(a)?, ESTABLISHED)?;
    equal(state_of_socket(b)?, ESTABLISHED)?;
    shutdown(a, SHUT_WR)?;
    await_events(b, POLLRDHUP)?;
    while state_of_socket(a)? == FIN_WAIT1 {
        nap();
    }
    equal(state_of_socket(a)?, FIN_WAIT2)?;
    equal(state_of_socket(b)?, CLOSE_WAIT)
}

fn disconnected_sockets_connect_again() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let fd = tcp()?;
    connect(fd, &local(port))?;
    let first = accept(server)?;
    let mut unspecified = v4([0; 4], 0);
    unspecified[0] = 0;
    connect(fd, &unspecified)?;
    fails(peer_name(fd), ENOTCONN)?;
    await_events(first, POLLERR)?;
    fails(recv(first, 1, 0), ECONNRESET)?;
    connect(fd, &local(port))?;
    let second = accept(server)?;
    write(fd, b"again")?;
    equal(recv(second, 9, 0)?, b"again")
}

fn a_refused_socket_connects_again() -> Outcome {
    up()?;
    let fd = tcp()?;
    fails(connect(fd, &local(free_port()?)), ECONNREFUSED)?;
    let (_server, port) = listener(5)?;
    connect(fd, &local(port))?;
    Ok(())
}

fn nobody_answers_times_out() -> Outcome {
    up()?;
    // A listener that is full answers no more.
    let (_server, port) = listener(0)?;
    connect(tcp()?, &local(port))?;
    let fd = tcp()?;
    set_option(fd, IPPROTO_TCP, libc::TCP_SYNCNT, 1_i32)?;
    equal(option::<i32>(fd, IPPROTO_TCP, libc::TCP_SYNCNT)?, 1)?;
    fails(connect(fd, &local(port)), ETIMEDOUT)
}

fn idle_connections_outlive_the_user_timeout() -> Outcome {
    let (a, b) = tcp_pair()?;
    set_option(a, IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 5_i32)?;
    for _ in 0..20 {
        nap();
    }
    write(a, b"still")?;
    equal(recv(b, 9, 0)?, b"still")?;
    equal(error_of(a)?, 0)
}
