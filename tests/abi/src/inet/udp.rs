//! Datagrams.

use libc::{
    AF_INET, AF_INET6, AF_UNSPEC, EACCES, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN,
    ECONNREFUSED, EDESTADDRREQ, EINVAL, EMSGSIZE, ENETUNREACH, ENOTCONN, EOPNOTSUPP,
    EPROTONOSUPPORT, IP_PKTINFO, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY,
    MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, POLLERR, POLLIN, POLLOUT, SO_DOMAIN, SO_PROTOCOL, SO_RCVBUF,
    SO_RCVTIMEO, SO_REUSEADDR, SO_REUSEPORT, SO_TYPE, SOCK_DGRAM, SOL_SOCKET,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    udp_sockets_tell_what_they_are,
    datagrams_go_and_come_back,
    datagrams_are_cut_and_peeked_at,
    a_partner_keeps_others_out,
    nobody_there_is_refused,
    unconnected_sockets_hear_of_no_refusal,
    binding_is_checked,
    ports_below_1024_need_privilege,
    reuse_lets_two_share_a_port,
    ephemeral_ports_are_of_the_range,
    sending_is_checked,
    full_queues_lose_datagrams,
    receive_timeouts,
    disconnecting_gives_the_address_back,
    control_messages_tell_of_the_packet,
    a_message_may_leave_its_traffic_class_open,
    v6_sockets_take_both,
    v6only_keeps_v4_out,
    shutting_a_datagram_socket_down,
];

fn udp() -> Sys<Socket> {
    socket(AF_INET, SOCK_DGRAM, 0)
}

fn udp_sockets_tell_what_they_are() -> Outcome {
    let fd = udp()?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_DOMAIN)?, AF_INET)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_TYPE)?, SOCK_DGRAM)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_PROTOCOL)?, 17)?;
    equal(own_name(fd)?, v4([0; 4], 0))?;
    fails(peer_name(fd), ENOTCONN)?;
    equal(events(fd)?, POLLOUT | 0x100 | 0x200)?;
    equal(option::<i32>(fd, IPPROTO_IP, IP_TTL)?, 64)?;
    fails(set_option(fd, IPPROTO_IP, IP_TTL, 256_i32), EINVAL)?;
    fails(set_option(fd, IPPROTO_IP, IP_TTL, 0_i32), EINVAL)?;
    fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT)?;
    fails(socket(AF_INET, SOCK_DGRAM, 4711), EINVAL)?;
    fails(listen(fd, 1), EOPNOTSUPP)?;
    fails(accept(fd), EOPNOTSUPP)
}

fn datagrams_go_and_come_back() -> Outcome {
    up()?;
    let (server, port) = udp_bound()?;
    let client = udp()?;
    equal(send_to(client, b"there", &local(port))?, 5)?;
    let (bytes, from) = recv_from(server, 0)?;
    equal(bytes, b"there")?;
    equal(from.clone(), local(own_port(client)?))?;
    equal(own_name(client)?, v4([0; 4], own_port(client)?))?;
    send_to(server, b"and back", &from)?;
    let (bytes, from) = recv_from(client, 0)?;
    equal(bytes, b"and back")?;
    equal(from, local(port))?;
    // Empty ones count too.
    send_to(client, b"", &local(port))?;
    check(
        await_events(server, POLLIN)? & POLLIN != 0,
        "an empty datagram is not seen",
    )?;
    equal(recv(server, 8, 0)?, b"")?;
    fails(recv(server, 8, MSG_DONTWAIT), EAGAIN)
}

fn datagrams_are_cut_and_peeked_at() -> Outcome {
    up()?;
    let (server, port) = udp_bound()?;
    let client = udp()?;
    send_to(client, b"abcdef", &local(port))?;
    send_to(client, b"ghi", &local(port))?;
    let mut count = 0_i32;
    sys!(SYS_ioctl, server, libc::FIONREAD, &mut count)?;
    equal(count, 6)?;
    equal(recv(server, 2, MSG_PEEK)?, b"ab")?;
    let mut small = [0_u8; 2];
    let whole = sys!(SYS_recvfrom, server, small.as_mut_ptr(), 2, MSG_TRUNC, 0, 0)?;
    equal(whole, 6)?;
    equal(recv(server, 9, 0)?, b"ghi")
}

fn a_partner_keeps_others_out() -> Outcome {
    up()?;
    let (a, a_port) = udp_bound()?;
    let (b, b_port) = udp_bound()?;
    let (c, _) = udp_bound()?;
    connect(a, &local(b_port))?;
    equal(peer_name(a)?, local(b_port))?;
    send_to(c, b"no", &local(a_port))?;
    send_to(b, b"yes", &local(a_port))?;
    equal(recv(a, 9, 0)?, b"yes")?;
    fails(recv(a, 9, MSG_DONTWAIT), EAGAIN)?;
    // It may still send elsewhere.
    let c_port = own_port(c)?;
    send_to(a, b"hello", &local(c_port))?;
    equal(recv_from(c, 0)?.0, b"hello")?;
    send(a, b"partner", 0)?;
    equal(recv(b, 9, 0)?, b"partner")
}

/// A port that nobody has.
fn free_port() -> Outcome<u16> {
    let (fd, port) = udp_bound()?;
    close(fd)?;
    Ok(port)
}

fn nobody_there_is_refused() -> Outcome {
    up()?;
    let fd = udp()?;
    connect(fd, &local(free_port()?))?;
    send(fd, b"x", 0)?;
    check(
        await_events(fd, POLLERR)? & POLLERR != 0,
        "the refusal is not seen",
    )?;
    fails(recv(fd, 1, 0), ECONNREFUSED)?;
    send(fd, b"x", 0)?;
    await_events(fd, POLLERR)?;
    fails(send(fd, b"x", 0), ECONNREFUSED)?;
    send(fd, b"x", 0)?;
    await_events(fd, POLLERR)?;
    equal(error_of(fd)?, ECONNREFUSED)?;
    equal(error_of(fd)?, 0)?;
    fails(recv(fd, 1, MSG_DONTWAIT), EAGAIN)
}

fn unconnected_sockets_hear_of_no_refusal() -> Outcome {
    up()?;
    let fd = udp()?;
    let port = free_port()?;
    send_to(fd, b"x", &local(port))?;
    send_to(fd, b"x", &local(port))?;
    equal(error_of(fd)?, 0)
}

fn binding_is_checked() -> Outcome {
    up()?;
    let (fd, port) = udp_bound()?;
    fails(bind(fd, &local(0)), EINVAL)?;
    let other = udp()?;
    fails(bind(other, &local(port)), EADDRINUSE)?;
    fails(bind(other, &v4([0; 4], port)), EADDRINUSE)?;
    fails(bind(other, &v4([10, 1, 2, 3], 0)), EADDRNOTAVAIL)?;
    let mut address = local(0);
    address[0] = 99;
    fails(bind(other, &address), EAFNOSUPPORT)?;
    fails(bind(other, &local(0)[..8]), EINVAL)?;
    // Another address of the loopback's network is another place.
    bind(other, &v4([127, 0, 0, 2], port))?;
    let any = udp()?;
    let mut unspecified = v4([0; 4], 0);
    unspecified[0] = AF_UNSPEC as u8;
    bind(any, &unspecified)?;
    check(own_port(any)? != 0, "there is no port")
}

fn ports_below_1024_need_privilege() -> Outcome {
    up()?;
    let root = udp()?;
    bind(root, &local(777))?;
    close(root)?;
    within(|| {
        become_user()?;
        let fd = udp()?;
        fails(bind(fd, &local(777)), EACCES)?;
        bind(fd, &local(1024))?;
        Ok(())
    })
}

fn reuse_lets_two_share_a_port() -> Outcome {
    up()?;
    for name in [SO_REUSEADDR, SO_REUSEPORT] {
        let first = udp()?;
        switch(first, name)?;
        bind(first, &local(0))?;
        let port = own_port(first)?;
        let second = udp()?;
        fails(bind(second, &local(port)), EADDRINUSE)?;
        switch(second, name)?;
        bind(second, &local(port))?;
        // Somebody gets it, and one alone.
        let client = udp()?;
        send_to(client, b"x", &local(port))?;
        let got = [first, second].map(|fd| recv(fd, 1, MSG_DONTWAIT).is_ok());
        check(got[0] != got[1], "not one of the two gets the datagram")?;
        for fd in [first, second, client] {
            close(fd)?;
        }
    }
    Ok(())
}

fn ephemeral_ports_are_of_the_range() -> Outcome {
    up()?;
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut ends = text.split_whitespace().filter_map(|word| word.parse().ok());
    let (low, high): (u16, u16) = (
        some(ends.next(), "no low end")?,
        some(ends.next(), "no high end")?,
    );
    for _ in 0..8 {
        let (fd, port) = udp_bound()?;
        check((low..=high).contains(&port), "a port is out of range")?;
        close(fd)?;
    }
    Ok(())
}

fn sending_is_checked() -> Outcome {
    up()?;
    let fd = udp()?;
    fails(send(fd, b"x", 0), EDESTADDRREQ)?;
    fails(send_to(fd, b"x", &local(0)), EINVAL)?;
    fails(send_to(fd, b"x", &local(9)[..8]), EINVAL)?;
    fails(send_to(fd, &vec![0; 65508], &local(9)), EMSGSIZE)?;
    fails(send_to(fd, &vec![0; 70000], &local(9)), EMSGSIZE)?;
    fails(send(fd, b"x", libc::MSG_OOB), EOPNOTSUPP)?;
    let (server, port) = udp_bound()?;
    equal(send_to(fd, &vec![7; 65507], &local(port))?, 65507)?;
    equal(recv(server, 70000, 0)?, vec![7; 65507])?;
    fails(connect(fd, &v4([192, 0, 2, 1], 9)), ENETUNREACH).or_else(|trouble| {
        // A machine with a way out has one to there.
        if std::fs::read_to_string("/proc/net/dev").is_ok_and(|text| text.contains("eth")) {
            Ok(())
        } else {
            Err(trouble)
        }
    })
}

fn full_queues_lose_datagrams() -> Outcome {
    up()?;
    let (server, port) = udp_bound()?;
    set_option(server, SOL_SOCKET, SO_RCVBUF, 4096_i32)?;
    let client = udp()?;
    for _ in 0..64 {
        equal(send_to(client, &[1; 1000], &local(port))?, 1000)?;
    }
    let mut count = 0;
    while recv(server, 2000, MSG_DONTWAIT).is_ok() {
        count += 1;
    }
    check(
        (1..16).contains(&count),
        "the queue does not end where it should",
    )?;
    send_to(client, b"again", &local(port))?;
    equal(recv(server, 9, 0)?, b"again")
}

fn receive_timeouts() -> Outcome {
    up()?;
    let (fd, _) = udp_bound()?;
    set_option(fd, SOL_SOCKET, SO_RCVTIMEO, [0_i64, 20_000])?;
    fails(recv(fd, 1, 0), EAGAIN)
}

fn disconnecting_gives_the_address_back() -> Outcome {
    up()?;
    let (_, port) = udp_bound()?;
    let fd = udp()?;
    connect(fd, &local(port))?;
    equal(own_name(fd)?, local(own_port(fd)?))?;
    check(own_port(fd)? != 0, "connecting gives no port")?;
    let mut unspecified = v4([0; 4], 0);
    unspecified[0] = AF_UNSPEC as u8;
    connect(fd, &unspecified)?;
    fails(peer_name(fd), ENOTCONN)?;
    equal(own_name(fd)?, v4([0; 4], 0))?;
    fails(send(fd, b"x", 0), EDESTADDRREQ)
}

/// Receives with room for control messages; answers their bytes.
fn recv_control(fd: Socket) -> Sys<Vec<u8>> {
    let mut bytes = [0_u8; 64];
    let mut control = [0_usize; 32];
    let mut iov = [bytes.as_mut_ptr() as usize, bytes.len()];
    let mut header = [0_usize; 7];
    header[2] = iov.as_mut_ptr() as usize;
    header[3] = 1;
    header[4] = control.as_mut_ptr() as usize;
    header[5] = size_of_val(&control);
    sys!(SYS_recvmsg, fd, &mut header, 0)?;
    let all: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(all.get(..header[5]).unwrap_or_default().to_vec())
}

fn control_messages_tell_of_the_packet() -> Outcome {
    up()?;
    let (server, port) = udp_bound()?;
    set_option(server, IPPROTO_IP, IP_PKTINFO, 1_i32)?;
    set_option(server, IPPROTO_IP, libc::IP_RECVTTL, 1_i32)?;
    let client = udp()?;
    set_option(client, IPPROTO_IP, IP_TTL, 17_i32)?;
    send_to(client, b"x", &local(port))?;
    let control = recv_control(server)?;
    // Two messages: a header of 16 bytes and 12 of data, padded; a header and 4.
    equal(control.len(), 32 + 24)?;
    equal(control.get(8..16), Some(&[0, 0, 0, 0, 8, 0, 0, 0][..]))?;
    equal(
        control.get(16..28),
        Some(&[1, 0, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1][..]),
    )?;
    equal(
        control.get(32 + 12..32 + 20),
        Some(&[2, 0, 0, 0, 17, 0, 0, 0][..]),
    )
}

fn v6_sockets_take_both() -> Outcome {
    up()?;
    let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
    bind(fd, &v6([0; 8], 0))?;
    let port = own_port(fd)?;
    let client = udp()?;
    send_to(client, b"four", &local(port))?;
    let (bytes, from) = recv_from(fd, 0)?;
    equal(bytes, b"four")?;
    let mapped = v6([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], own_port(client)?);
    equal(from.clone(), mapped)?;
    send_to(fd, b"back", &from)?;
    equal(recv(client, 9, 0)?, b"back")?;
    let six = socket(AF_INET6, SOCK_DGRAM, 0)?;
    send_to(six, b"six", &local6(port))?;
    let (bytes, from) = recv_from(fd, 0)?;
    equal(bytes, b"six")?;
    equal(from, local6(own_port(six)?))?;
    // The port is taken for both.
    fails(bind(udp()?, &v4([0; 4], port)), EADDRINUSE)
}

fn v6only_keeps_v4_out() -> Outcome {
    up()?;
    let fd = socket(AF_INET6, SOCK_DGRAM, 0)?;
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1_i32)?;
    bind(fd, &v6([0; 8], 0))?;
    fails(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0_i32), EINVAL)?;
    let four = udp()?;
    bind(four, &v4([0; 4], own_port(fd)?))?;
    let client = udp()?;
    send_to(client, b"x", &local(own_port(fd)?))?;
    equal(recv(four, 1, 0)?, b"x")?;
    fails(recv(fd, 1, MSG_DONTWAIT), EAGAIN)
}

fn shutting_a_datagram_socket_down() -> Outcome {
    up()?;
    let (fd, port) = udp_bound()?;
    let other = udp()?;
    fails(shutdown(other, 0), ENOTCONN)?;
    equal(recv(other, 1, 0)?, b"")?;
    connect(fd, &local(port))?;
    shutdown(fd, 1)?;
    fails(send(fd, b"x", 0), libc::EPIPE)?;
    shutdown(fd, 0)?;
    equal(recv(fd, 1, 0)?, b"")?;
    let seen = events(fd)?;
    let wanted = POLLIN | POLLOUT | libc::POLLHUP | libc::POLLRDHUP;
    equal(seen & wanted, wanted)
}

/// Sends a byte with a control message that asks for a traffic class.
fn send_in_class(fd: Socket, class: i32, address: &[u8]) -> Sys {
    let mut byte = [b'x'];
    let mut iov = [byte.as_mut_ptr() as usize, 1];
    let level_and_kind = IPPROTO_IPV6 as usize | (libc::IPV6_TCLASS as usize) << 32;
    let control = [20, level_and_kind, class as u32 as usize];
    let header = [
        address.as_ptr() as usize,
        address.len(),
        iov.as_mut_ptr() as usize,
        1,
        control.as_ptr() as usize,
        size_of_val(&control),
        0,
    ];
    sys!(SYS_sendmsg, fd, &header, 0)
}

fn a_message_may_leave_its_traffic_class_open() -> Outcome {
    up()?;
    let server = socket(AF_INET6, SOCK_DGRAM, 0)?;
    bind(server, &local6(0))?;
    set_option(server, IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1_i32)?;
    let there = local6(own_port(server)?);
    let client = socket(AF_INET6, SOCK_DGRAM, 0)?;
    set_option(client, IPPROTO_IPV6, libc::IPV6_TCLASS, 0x20_i32)?;
    for (asked, class) in [(0x40, 0x40), (-1, 0x20), (0, 0)] {
        equal(send_in_class(client, asked, &there)?, 1)?;
        let told = [67, 0, 0, 0, class, 0, 0, 0];
        equal(recv_control(server)?.get(12..20), Some(&told[..]))?;
    }
    fails(send_in_class(client, -2, &there), EINVAL)?;
    fails(send_in_class(client, 256, &there), EINVAL)
}
