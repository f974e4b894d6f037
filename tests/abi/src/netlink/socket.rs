//! The family: ports, groups, options, limits; between processes, without the kernel's answers.

use libc::{
    AF_NETLINK, EADDRINUSE, EAGAIN, ECONNREFUSED, EINVAL, EMSGSIZE, ENOBUFS, ENODATA, ENOPROTOOPT,
    ENOTTY, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT, MSG_OOB, MSG_PEEK, MSG_TRUNC,
    NETLINK_ADD_MEMBERSHIP, NETLINK_BROADCAST_ERROR, NETLINK_CAP_ACK, NETLINK_DROP_MEMBERSHIP,
    NETLINK_EXT_ACK, NETLINK_LIST_MEMBERSHIPS, NETLINK_NO_ENOBUFS, NETLINK_PKTINFO,
    NETLINK_USERSOCK, POLLERR, POLLIN, POLLOUT, SCM_CREDENTIALS, SO_DOMAIN, SO_ERROR, SO_PASSCRED,
    SO_PROTOCOL, SO_RCVBUF, SO_SNDBUF, SO_TYPE, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, SOL_NETLINK,
    SOL_SOCKET,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    protocols_and_types_are_checked,
    ports_are_bound_and_named,
    groups_are_joined_by_bind_and_by_option,
    options_are_checked,
    messages_go_from_port_to_port,
    messages_are_peeked_at_and_cut,
    a_connected_socket_hears_its_peer_alone,
    a_group_hears_what_is_sent_to_it,
    sending_and_joining_need_rights,
    credentials_come_with_messages,
    a_full_socket_refuses,
    a_sender_waits_for_room,
    lost_broadcasts_are_told,
    readiness_is_told,
    what_other_sockets_do_is_refused,
    closing_frees_the_port,
    the_table_shows_bound_sockets,
];

fn user() -> Sys<i32> {
    netlink(NETLINK_USERSOCK)
}

fn protocols_and_types_are_checked() -> Outcome {
    let socket = |kind: i32, protocol: i32| sys!(SYS_socket, AF_NETLINK, kind, protocol);
    fails(socket(SOCK_STREAM, 0), ESOCKTNOSUPPORT)?;
    fails(socket(SOCK_RAW, 1), EPROTONOSUPPORT)?;
    fails(socket(SOCK_RAW, 32), EPROTONOSUPPORT)?;
    fails(socket(SOCK_RAW, -1), EPROTONOSUPPORT)?;
    fails(socket(SOCK_STREAM, 32), ESOCKTNOSUPPORT)?;
    fails(socket(77, 32), EINVAL)?;
    let mut pair = [0_i32; 2];
    let made = sys!(
        SYS_socketpair,
        AF_NETLINK,
        SOCK_RAW,
        NETLINK_USERSOCK,
        &mut pair
    );
    fails(made, EOPNOTSUPP)?;
    for kind in [SOCK_RAW, SOCK_DGRAM] {
        let fd = socket(kind, NETLINK_USERSOCK)? as i32;
        equal(option(fd, SOL_SOCKET, SO_TYPE)?, kind)?;
        equal(option(fd, SOL_SOCKET, SO_DOMAIN)?, AF_NETLINK)?;
        equal(option(fd, SOL_SOCKET, SO_PROTOCOL)?, NETLINK_USERSOCK)?;
        equal(option(fd, SOL_SOCKET, SO_ERROR)?, 0)?;
    }
    Ok(())
}

fn ports_are_bound_and_named() -> Outcome {
    let pid = getpid() as u32;
    let first = user()?;
    equal(name(first)?, (0, 0))?;
    bind(first, 0, 0)?;
    equal(name(first)?, (pid, 0))?;
    // The number is taken: the next gets one that no process has.
    let second = user()?;
    bind(second, 0, 0)?;
    let other = name(second)?.0;
    check((other as i32) < -4096, "a port of the kernel's choice")?;
    let third = user()?;
    fails(bind(third, pid, 0), EADDRINUSE)?;
    let third = user()?;
    bind(third, 0x1234_5678, 0)?;
    equal(name(third)?, (0x1234_5678, 0))?;
    // Again is fine, elsewhere is not.
    bind(third, 0x1234_5678, 0)?;
    fails(bind(third, 5, 0), EINVAL)?;
    fails(bind(third, 0, 0), EINVAL)?;
    let fresh = user()?;
    fails(sys!(SYS_bind, fresh, &sockaddr((0, 0)), 11), EINVAL)?;
    let mut wrong = sockaddr((0, 0));
    wrong.nl_family = libc::AF_UNIX as u16;
    fails(sys!(SYS_bind, fresh, &wrong, 12), EINVAL)?;
    // Longer addresses are cut.
    let long = [sockaddr((0x2345_6789, 0)), sockaddr((0, 0))];
    sys!(SYS_bind, fresh, &long, 24)?;
    equal(name(fresh)?, (0x2345_6789, 0))?;
    // The same number in another protocol is another port.
    let route = netlink(libc::NETLINK_ROUTE)?;
    bind(route, pid, 0)?;
    Ok(())
}

fn memberships(fd: i32, room: usize) -> Outcome<(u32, i32)> {
    let (mut mask, mut len) = ([0_u32; 4], room as i32);
    sys!(
        SYS_getsockopt,
        fd,
        SOL_NETLINK,
        NETLINK_LIST_MEMBERSHIPS,
        &mut mask,
        &mut len
    )?;
    Ok((mask[0], len))
}

fn groups_are_joined_by_bind_and_by_option() -> Outcome {
    let fd = user()?;
    equal(memberships(fd, 16)?, (0, 0))?;
    set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 3)?;
    equal(memberships(fd, 16)?, (4, 4))?;
    equal(name(fd)?, (0, 4))?;
    bind(fd, 0, 0x8000_0001)?;
    equal(name(fd)?.1, 0x8000_0001)?;
    set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 2)?;
    set_option(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, 1)?;
    set_option(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, 1)?;
    equal(name(fd)?.1, 0x8000_0002)?;
    equal(memberships(fd, 3)?, (0, 4))?;
    for group in [0, 33, -1, i32::MAX] {
        let joined = set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
        fails(joined, EINVAL)?;
    }
    let port = name(fd)?.0;
    bind(fd, port, 0)?;
    equal(name(fd)?, (port, 0))
}

fn options_are_checked() -> Outcome {
    let fd = user()?;
    for number in [
        NETLINK_PKTINFO,
        NETLINK_BROADCAST_ERROR,
        NETLINK_NO_ENOBUFS,
        NETLINK_CAP_ACK,
        NETLINK_EXT_ACK,
    ] {
        equal(option(fd, SOL_NETLINK, number)?, 0)?;
        set_option(fd, SOL_NETLINK, number, 7)?;
        equal(option(fd, SOL_NETLINK, number)?, 1)?;
        let value = 1_i32;
        // Without a number it is off.
        sys!(SYS_setsockopt, fd, SOL_NETLINK, number, &value, 3)?;
        equal(option(fd, SOL_NETLINK, number)?, 0)?;
        let (mut value, mut len) = (0_i32, 3_i32);
        let got = sys!(
            SYS_getsockopt,
            fd,
            SOL_NETLINK,
            number,
            &mut value,
            &mut len
        );
        fails(got, EINVAL)?;
    }
    fails(set_option(fd, SOL_NETLINK, 99, 1), ENOPROTOOPT)?;
    fails(option(fd, SOL_NETLINK, 99), ENOPROTOOPT)?;
    fails(option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP), ENOPROTOOPT)?;
    fails(set_option(fd, libc::IPPROTO_TCP, 1, 1), ENOPROTOOPT)?;
    fails(option(fd, libc::IPPROTO_TCP, 1), ENOPROTOOPT)
}

fn messages_go_from_port_to_port() -> Outcome {
    let (a, a_port) = bound(NETLINK_USERSOCK, 0)?;
    let (b, b_port) = bound(NETLINK_USERSOCK, 0)?;
    equal(send_to(a, b"hello", (b_port, 0))?, 5)?;
    equal(send_to(a, b"again", (b_port, 0))?, 5)?;
    let got = receive(b)?;
    equal(got.bytes, b"hello")?;
    equal((got.from, got.flags), ((a_port, 0), 0))?;
    equal(got.control, [])?;
    equal(receive(b)?.bytes, b"again")?;
    fails(receive(b), EAGAIN)?;
    // To itself.
    send_to(b, b"self", (b_port, 0))?;
    equal(receive(b)?.from, (b_port, 0))?;
    fails(send_to(a, b"x", (0x7654_3210, 0)), ECONNREFUSED)?;
    // The kernel does not listen here.
    fails(send_to(a, b"x", (0, 0)), ECONNREFUSED)?;
    fails(send(a, b"x"), ECONNREFUSED)?;
    fails(send_to(a, b"", (b_port, 0)), ENODATA)?;
    fails(sys!(SYS_sendto, a, b"x", 1, MSG_OOB, 0, 0), EOPNOTSUPP)?;
    fails(sys!(SYS_recvfrom, a, 0, 0, MSG_OOB, 0, 0), EOPNOTSUPP)?;
    let to = sockaddr((b_port, 0));
    fails(sys!(SYS_sendto, a, b"x", 1, 0, &to, 11), EINVAL)?;
    let mut wrong = to;
    wrong.nl_family = 1;
    fails(sys!(SYS_sendto, a, b"x", 1, 0, &wrong, 12), EINVAL)?;
    // A sender gets a port of its own.
    let c = user()?;
    send_to(c, b"anonymous", (b_port, 0))?;
    let from = receive(b)?.from;
    check(from.0 != 0 && from.0 == name(c)?.0, "a sender has a port")?;
    set_option(a, SOL_SOCKET, SO_SNDBUF, 5000)?;
    let most = option(a, SOL_SOCKET, SO_SNDBUF)? as usize - 32;
    let many = vec![1; most + 1];
    fails(send_to(a, &many, (b_port, 0)), EMSGSIZE)?;
    send_to(a, &many[1..], (b_port, 0))?;
    equal(receive(b)?.count, most)
}

fn messages_are_peeked_at_and_cut() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    for _ in 0..3 {
        send_to(fd, b"0123456789", (port, 0))?;
    }
    let got = receive_with(fd, 4, MSG_PEEK)?;
    equal((got.bytes.as_slice(), got.count), (&b"0123"[..], 4))?;
    equal(got.flags, MSG_TRUNC)?;
    let got = receive_with(fd, 0, MSG_PEEK | MSG_TRUNC)?;
    equal((got.count, got.flags), (10, MSG_TRUNC))?;
    let got = receive_with(fd, 4, MSG_TRUNC)?;
    equal((got.bytes.as_slice(), got.count), (&b"0123"[..], 10))?;
    equal(receive_with(fd, 4, 0)?.bytes, b"0123")?;
    // A read of nothing takes nothing.
    let mut byte = [0];
    equal(sys!(SYS_read, fd, &mut byte, 0)?, 0)?;
    let got = receive_with(fd, 10, 0)?;
    equal((got.count, got.flags), (10, 0))?;
    fails(receive(fd), EAGAIN)
}

fn a_connected_socket_hears_its_peer_alone() -> Outcome {
    let (a, a_port) = bound(NETLINK_USERSOCK, 0)?;
    let (b, b_port) = bound(NETLINK_USERSOCK, 0)?;
    let (c, _) = bound(NETLINK_USERSOCK, 0)?;
    let peer = |fd: i32| -> Outcome<Address> {
        let mut address: libc::sockaddr_nl = zeroed();
        let mut len = 12_i32;
        sys!(SYS_getpeername, fd, &mut address, &mut len)?;
        equal(len, 12)?;
        Ok((address.nl_pid, address.nl_groups))
    };
    equal(peer(a)?, (0, 0))?;
    let connect = |fd: i32, to: Address, len: usize| sys!(SYS_connect, fd, &sockaddr(to), len);
    fails(connect(a, (b_port, 0), 11), EINVAL)?;
    fails(connect(a, (b_port, 0), 1), EINVAL)?;
    connect(a, (b_port, 0x14), 12)?;
    // One group only: the lowest.
    equal(peer(a)?, (b_port, 4))?;
    connect(a, (b_port, 0), 12)?;
    send(a, b"to the peer")?;
    equal(receive(b)?.from, (a_port, 0))?;
    send_to(b, b"from the peer", (a_port, 0))?;
    equal(receive(a)?.bytes, b"from the peer")?;
    fails(send_to(c, b"from another", (a_port, 0)), ECONNREFUSED)?;
    let unspecified = [0_u8; 12];
    sys!(SYS_connect, a, &unspecified, 2)?;
    equal(peer(a)?, (0, 0))?;
    send_to(c, b"from another", (a_port, 0))?;
    equal(receive(a)?.bytes, b"from another")?;
    // Connecting binds.
    let fresh = user()?;
    connect(fresh, (b_port, 0), 12)?;
    check(name(fresh)?.0 != 0, "a connected socket has a port")
}

fn a_group_hears_what_is_sent_to_it() -> Outcome {
    let (sender, port) = bound(NETLINK_USERSOCK, 0b100)?;
    let (member, member_port) = bound(NETLINK_USERSOCK, 0b100)?;
    let (both, _) = bound(NETLINK_USERSOCK, 0b110)?;
    let (other, _) = bound(NETLINK_USERSOCK, 0b010)?;
    set_option(member, SOL_NETLINK, NETLINK_PKTINFO, 1)?;
    // The members get it, and then the kernel, which does not listen.
    fails(send_to(sender, b"all", (0, 0b100)), ECONNREFUSED)?;
    let got = receive(member)?;
    equal(
        (got.bytes.as_slice(), got.from),
        (&b"all"[..], (port, 0b100)),
    )?;
    equal(
        got.control,
        [(SOL_NETLINK, NETLINK_PKTINFO, 3_u32.to_ne_bytes().to_vec())],
    )?;
    equal(receive(both)?.bytes, b"all")?;
    fails(receive(other), EAGAIN)?;
    fails(receive(sender), EAGAIN)?;
    // To a member and its group: once, as what is sent to it alone.
    send_to(sender, b"one", (member_port, 0b100))?;
    equal(receive(member)?.bytes, b"one")?;
    fails(receive(member), EAGAIN)?;
    equal(receive(both)?.bytes, b"one")?;
    // A mask names the lowest group.
    let _ = send_to(sender, b"low", (0, 0b110));
    fails(receive(member), EAGAIN)?;
    equal(receive(other)?.from, (port, 0b010))
}

fn sending_and_joining_need_rights() -> Outcome {
    let (root, root_port) = bound(NETLINK_USERSOCK, 0)?;
    within(|| {
        become_user()?;
        let fd = user()?;
        fails(bind(fd, 0, 1), EPERM)?;
        let joined = set_option(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 1);
        fails(joined, EPERM)?;
        // Anybody may send between processes.
        send_to(fd, b"hello", (root_port, 0))?;
        let route = netlink(libc::NETLINK_ROUTE)?;
        bind(route, 0, 1)?;
        fails(send_to(route, b"hello", (5, 0)), EPERM)?;
        fails(send_to(route, b"hello", (0, 1)), EPERM)?;
        fails(sys!(SYS_connect, route, &sockaddr((5, 0)), 12), EPERM)
    })?;
    equal(receive(root)?.bytes, b"hello")
}

fn credentials_come_with_messages() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    set_option(fd, SOL_SOCKET, SO_PASSCRED, 1)?;
    equal(option(fd, SOL_SOCKET, SO_PASSCRED)?, 1)?;
    let pid = fork(|| {
        let sent = become_user().and_then(|()| send_to(user()?, b"who", (port, 0)));
        i32::from(sent.is_err())
    })?;
    equal(wait(pid)?, 0)?;
    let got = receive(fd)?;
    let (level, kind, data) = some(got.control.first(), "credentials")?;
    equal((*level, *kind), (SOL_SOCKET, SCM_CREDENTIALS))?;
    let cred = [0, 4, 8].map(|at| number_at(data, at));
    equal(cred, [pid as u32, 1000, 1000])
}

/// A small message's worth of sends until one fails.
fn fill(from: i32, to: Address) -> (usize, Sys) {
    let mut count = 0;
    loop {
        match send_to(from, &[0; 2000], to) {
            Ok(_) => count += 1,
            error => return (count, error),
        }
    }
}

fn a_full_socket_refuses() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    let sender = user()?;
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 20000)?;
    let (count, error) = fill(sender, (port, 0));
    fails(error, EAGAIN)?;
    check(count > 2, "some fit")?;
    // Nothing is lost, and nothing is told.
    equal(option(fd, SOL_SOCKET, SO_ERROR)?, 0)?;
    receive(fd)?;
    send_to(sender, &[0; 2000], (port, 0))?;
    fails(send_to(sender, &[0; 2000], (port, 0)), EAGAIN)?;
    for _ in 0..count {
        receive(fd)?;
    }
    fails(receive(fd), EAGAIN)
}

fn a_sender_waits_for_room() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 20000)?;
    let (count, _) = fill(user()?, (port, 0));
    let pid = fork(|| {
        let sent = user().and_then(|from| {
            let to = sockaddr((port, 0));
            sys!(SYS_sendto, from, &[7_u8; 2000], 2000, 0, &to, 12)
        });
        i32::from(sent != Ok(2000))
    })?;
    await_state(pid, "S")?;
    for _ in 0..count {
        receive(fd)?;
    }
    equal(receive_with(fd, 1, 0)?.bytes, [7])?;
    equal(wait(pid)?, 0)
}

fn lost_broadcasts_are_told() -> Outcome {
    let (fd, _) = bound(NETLINK_USERSOCK, 1)?;
    let (quiet, _) = bound(NETLINK_USERSOCK, 1)?;
    let (sender, port) = bound(NETLINK_USERSOCK, 0)?;
    for member in [fd, quiet] {
        set_option(member, SOL_SOCKET, SO_RCVBUF, 20000)?;
    }
    set_option(quiet, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)?;
    for _ in 0..100 {
        send_to(sender, &[0; 2000], (port, 1))?;
        receive(sender)?;
    }
    equal(ready(fd, POLLIN | POLLERR)?, POLLIN | POLLERR)?;
    fails(receive(fd), ENOBUFS)?;
    receive(fd)?;
    // It stays shut until all is read.
    send_to(sender, &[1; 2000], (port, 1))?;
    equal(option(fd, SOL_SOCKET, SO_ERROR)?, 0)?;
    let drain = |fd: i32| -> Outcome<Vec<u8>> {
        let mut last = Vec::new();
        while let Ok(got) = receive(fd) {
            last = got.bytes;
        }
        Ok(last)
    };
    equal(drain(fd)?, [0; 2000])?;
    equal(drain(quiet)?, [0; 2000])?;
    send_to(sender, b"heard", (port, 1))?;
    equal(receive(fd)?.bytes, b"heard")?;
    equal(receive(quiet)?.bytes, b"heard")
}

fn readiness_is_told() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    equal(ready(fd, POLLIN | POLLOUT)?, POLLOUT)?;
    let epoll = sys!(SYS_epoll_create1, 0)? as i32;
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 7,
    };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, &mut event)?;
    let mut events = [event; 2];
    equal(sys!(SYS_epoll_wait, epoll, &mut events, 2, 0)?, 0)?;
    let pid = fork(|| {
        nap();
        i32::from(
            user()
                .and_then(|from| send_to(from, b"x", (port, 0)))
                .is_err(),
        )
    })?;
    equal(sys!(SYS_epoll_wait, epoll, &mut events, 2, -1)?, 1)?;
    equal(ready(fd, POLLIN | POLLOUT)?, POLLIN | POLLOUT)?;
    equal(wait(pid)?, 0)?;
    receive(fd)?;
    equal(ready(fd, POLLIN)?, 0)
}

fn what_other_sockets_do_is_refused() -> Outcome {
    let fd = user()?;
    fails(sys!(SYS_listen, fd, 1), EOPNOTSUPP)?;
    fails(sys!(SYS_accept, fd, 0, 0), EOPNOTSUPP)?;
    fails(sys!(SYS_shutdown, fd, 2), EOPNOTSUPP)?;
    let mut count = 0_i32;
    fails(sys!(SYS_ioctl, fd, libc::FIONREAD, &mut count), ENOTTY)
}

fn closing_frees_the_port() -> Outcome {
    let (fd, port) = bound(NETLINK_USERSOCK, 0)?;
    let copy = sys!(SYS_dup, fd)? as i32;
    let (sender, _) = bound(NETLINK_USERSOCK, 0)?;
    close(fd)?;
    fails(bind(user()?, port, 0), EADDRINUSE)?;
    close(copy)?;
    fails(send_to(sender, b"x", (port, 0)), ECONNREFUSED)?;
    let third = user()?;
    bind(third, port, 0)?;
    Ok(())
}

fn the_table_shows_bound_sockets() -> Outcome {
    let unbound = user()?;
    let (fd, port) = bound(NETLINK_USERSOCK, 0x10)?;
    let mut stat: libc::stat = zeroed();
    sys!(SYS_fstat, fd, &mut stat)?;
    send_to(unbound, b"x", (port, 0))?;
    close(unbound)?;
    let text = text_of("/proc/net/netlink")?;
    let mut lines = text.lines();
    equal(
        lines.next(),
        Some(
            "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode",
        ),
    )?;
    let rows: Vec<Vec<&str>> = lines
        .map(|line| line.split_whitespace().collect())
        .collect();
    let row = rows
        .iter()
        .find(|row| row.get(1) == Some(&"2") && row.get(2) == Some(&port.to_string().as_str()));
    let row = some(row, "a row for the socket")?;
    equal(row.get(3..4), Some(&["00000010"][..]))?;
    let rmem: usize = row.get(4).and_then(|text| text.parse().ok()).unwrap_or(0);
    check((512..2048).contains(&rmem), "one message counts")?;
    equal(row.get(5..7), Some(&["0", "0"][..]))?;
    equal(row.get(8..9), Some(&["0"][..]))?;
    let ino = stat.st_ino.to_string();
    equal(row.get(9), Some(&ino.as_str()))?;
    // The kernel's own socket for routes.
    let own = rows
        .iter()
        .any(|row| row.get(1) == Some(&"0") && row.get(2) == Some(&"0"));
    check(own, "the kernel's own sockets are shown")
}
