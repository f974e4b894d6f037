//! Packets as an interface has them (`AF_PACKET`), on the loopback interface: sockets, and what they see.
//!
//! [`filter`] has what a program lets through, [`send`] the frames that a socket makes.

pub mod filter;
pub mod send;

use libc::{
    AF_INET, AF_INET6, AF_PACKET, EAGAIN, EINVAL, EMSGSIZE, ENETDOWN, ENODEV, ENOENT, ENOPROTOOPT,
    ENXIO, EOPNOTSUPP, EPERM, ESOCKTNOSUPPORT, MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_TRUNC, POLLERR,
    POLLIN, SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_DOMAIN, SO_LOCK_FILTER, SO_PROTOCOL, SO_RCVBUF,
    SO_RCVTIMEO, SO_TYPE, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, SOL_SOCKET,
};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::inet::raw::sum;
use crate::inet::{
    self, Socket, accept, bind, connect, error_of, events, interface, listen, local, local6,
    option, own_name, peer_name, recv, recv_from, send, send_to, set_option, shutdown, tcp_pair,
    udp_bound, up, v4, v6,
};
use crate::sys::*;

pub const CASES: &[Case] = cases![
    packet_sockets_need_privilege,
    sockets_tell_of_themselves,
    sockets_are_bound_to_interfaces,
    nothing_is_connected,
    interfaces_answer_by_ioctl,
    a_datagram_leaves_and_comes_back,
    a_protocol_is_seen_as_it_comes_back,
    segments_are_seen,
    cooked_packets_begin_with_the_network,
    outgoing_packets_can_be_ignored,
    without_a_protocol_nothing_is_seen,
    packets_are_peeked_at_and_cut,
    receiving_waits,
    what_finds_no_room_is_counted,
    auxiliary_data_come_along,
    options_are_checked,
    memberships_are_counted,
    sockets_are_listed,
];

const SOL_PACKET: i32 = 263;
const ADD_MEMBERSHIP: i32 = 1;
const DROP_MEMBERSHIP: i32 = 2;
const STATISTICS: i32 = 6;
const AUXDATA: i32 = 8;
const ORIGDEV: i32 = 9;
const IGNORE_OUTGOING: i32 = 23;

const ALL: u16 = 3;
const IP: u16 = 0x800;
const IPV6: u16 = 0x86dd;
/// For experiments (IEEE 802).
const LOCAL_USE: u16 = 0x88b5;

const HOST: u8 = 0;
const OUTGOING: u8 = 4;

const HEADER: usize = 14;

fn packet(kind: i32, protocol: u16) -> Sys<Socket> {
    inet::socket(AF_PACKET, kind, i32::from(protocol.to_be()))
}

/// `struct sockaddr_ll`.
fn address(protocol: u16, ifindex: i32, to: [u8; 6]) -> Vec<u8> {
    let mut bytes = (AF_PACKET as u16).to_ne_bytes().to_vec();
    bytes.extend(protocol.to_be_bytes());
    bytes.extend(ifindex.to_ne_bytes());
    bytes.extend([0, 0, 0, 6]);
    bytes.extend(to);
    bytes.extend([0; 2]);
    bytes
}

/// The loopback interface, for a protocol.
fn lo(protocol: u16) -> Vec<u8> {
    address(protocol, 1, [0; 6])
}

/// A socket bound to the loopback interface.
fn on_lo(kind: i32, protocol: u16) -> Outcome<Socket> {
    up()?;
    let fd = packet(kind, 0)?;
    bind(fd, &lo(protocol))?;
    Ok(fd)
}

/// A packet that was received.
#[derive(Debug, PartialEq, Clone)]
struct Seen {
    bytes: Vec<u8>,
    protocol: u16,
    kind: u8,
    from: Vec<u8>,
}

fn next(fd: Socket, flags: i32) -> Outcome<Option<Seen>> {
    let (bytes, from) = match recv_from(fd, flags) {
        Err(Errno(EAGAIN)) => return Ok(None),
        other => other?,
    };
    equal(from.len(), 20)?;
    equal(&from[..2], &(AF_PACKET as u16).to_ne_bytes()[..])?;
    // The interface, its hardware, the length of its addresses.
    equal(&from[4..8], &1_i32.to_ne_bytes()[..])?;
    equal(&from[8..10], &772_u16.to_ne_bytes()[..])?;
    equal(from[11], 6)?;
    Ok(Some(Seen {
        protocol: u16::from_be_bytes([from[2], from[3]]),
        kind: from[10],
        from: from[12..18].to_vec(),
        bytes,
    }))
}

/// All that has come so far and ends with these bytes.
fn seen(fd: Socket, end: &[u8]) -> Outcome<Vec<Seen>> {
    let mut all = Vec::new();
    while let Some(seen) = next(fd, MSG_DONTWAIT)? {
        if seen.bytes.ends_with(end) {
            all.push(seen);
        }
    }
    Ok(all)
}

fn kinds(seen: &[Seen]) -> Vec<(u8, u16)> {
    seen.iter().map(|seen| (seen.kind, seen.protocol)).collect()
}

/// Sends a datagram over IPv4 that arrives, and answers the port it was for.
fn pass(data: &[u8]) -> Outcome<u16> {
    let (server, port) = udp_bound()?;
    let client = inet::socket(AF_INET, SOCK_DGRAM, 0)?;
    send_to(client, data, &local(port))?;
    equal(recv(server, 65536, 0)?, data)?;
    close(client)?;
    close(server)?;
    Ok(port)
}

/// The same over IPv6.
fn pass6(data: &[u8]) -> Outcome {
    let server = inet::socket(AF_INET6, SOCK_DGRAM, 0)?;
    bind(server, &local6(0))?;
    let client = inet::socket(AF_INET6, SOCK_DGRAM, 0)?;
    send_to(client, data, &own_name(server)?)?;
    equal(recv(server, 65536, 0)?, data)?;
    close(client)?;
    close(server)?;
    Ok(())
}

fn packet_sockets_need_privilege() -> Outcome {
    for kind in [SOCK_STREAM, libc::SOCK_SEQPACKET] {
        fails(packet(kind, ALL), ESOCKTNOSUPPORT)?;
    }
    within(|| {
        become_user()?;
        fails(packet(SOCK_STREAM, ALL), EPERM)?;
        fails(packet(SOCK_RAW, ALL), EPERM)?;
        fails(packet(SOCK_DGRAM, 0), EPERM)
    })
}

fn sockets_tell_of_themselves() -> Outcome {
    let fd = packet(SOCK_DGRAM, IP)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_TYPE)?, SOCK_DGRAM)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_DOMAIN)?, AF_PACKET)?;
    equal(option::<i32>(fd, SOL_SOCKET, SO_PROTOCOL)?, 0)?;
    equal(error_of(fd)?, 0)?;
    let pair = [0_i32; 2];
    fails(
        sys!(SYS_socketpair, AF_PACKET, SOCK_RAW, 0, &pair),
        EOPNOTSUPP,
    )
}

fn sockets_are_bound_to_interfaces() -> Outcome {
    up()?;
    let fd = packet(SOCK_RAW, IP)?;
    let mut name = address(IP, 0, [0; 6]);
    name[11] = 0;
    equal(own_name(fd)?, &name[..12])?;
    fails(bind(fd, &lo(IP)[..19]), EINVAL)?;
    fails(bind(fd, &address(IP, 4711, [0; 6])), ENODEV)?;
    fails(bind(fd, &address(IP, -1, [0; 6])), ENODEV)?;
    let mut other = lo(IP);
    other[0] = AF_INET as u8;
    fails(bind(fd, &other), EINVAL)?;
    bind(fd, &lo(LOCAL_USE))?;
    name = lo(LOCAL_USE);
    name[8..10].copy_from_slice(&772_u16.to_ne_bytes());
    equal(own_name(fd)?, &name[..18])?;
    // Without a protocol the old one stays, and a socket is bound as often as one likes.
    bind(fd, &lo(0))?;
    equal(own_name(fd)?, &name[..18])?;
    bind(fd, &address(ALL, 0, [0; 6]))?;
    equal(own_name(fd)?.len(), 12)
}

fn nothing_is_connected() -> Outcome {
    let fd = on_lo(SOCK_RAW, ALL)?;
    fails(connect(fd, &lo(ALL)), EOPNOTSUPP)?;
    fails(listen(fd, 1), EOPNOTSUPP)?;
    fails(accept(fd), EOPNOTSUPP)?;
    fails(shutdown(fd, 2), EOPNOTSUPP)?;
    fails(peer_name(fd), EOPNOTSUPP)
}

fn interfaces_answer_by_ioctl() -> Outcome {
    const SIOCGIFADDR: i32 = 0x8915;
    const SIOCGIFHWADDR: i32 = 0x8927;
    const SIOCGIFINDEX: i32 = 0x8933;
    up()?;
    let fd = packet(SOCK_RAW, ALL)?;
    let ask = |command: i32| -> Sys<[u8; 40]> {
        let mut request = [0_u8; 40];
        request[..2].copy_from_slice(b"lo");
        sys!(SYS_ioctl, fd, command, &mut request)?;
        Ok(request)
    };
    equal(&ask(SIOCGIFINDEX)?[16..20], &1_i32.to_ne_bytes()[..])?;
    equal(&ask(SIOCGIFHWADDR)?[16..24], &[4, 3, 0, 0, 0, 0, 0, 0][..])?;
    equal(&ask(SIOCGIFADDR)?[20..24], &inet::LOCAL[..])
}

fn a_datagram_leaves_and_comes_back() -> Outcome {
    up()?;
    let fd = packet(SOCK_RAW, ALL)?;
    let port = pass(b"there and back")?;
    let seen = seen(fd, b"there and back")?;
    equal(kinds(&seen), [(OUTGOING, IP), (HOST, IP)])?;
    for Seen { bytes, from, .. } in &seen {
        equal(&from[..], &[0; 6][..])?;
        equal(bytes.len(), HEADER + 28 + 14)?;
        equal(
            &bytes[..14],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0][..],
        )?;
        equal(bytes[14], 0x45)?;
        equal(sum(&bytes[14..34]), 0)?;
        equal(&bytes[26..34], &[127, 0, 0, 1, 127, 0, 0, 1][..])?;
        equal(&bytes[36..38], &port.to_be_bytes()[..])?;
    }
    equal(&seen[0].bytes, &seen[1].bytes)
}

fn a_protocol_is_seen_as_it_comes_back() -> Outcome {
    let v4 = on_lo(SOCK_RAW, IP)?;
    let v6 = on_lo(SOCK_RAW, IPV6)?;
    pass(b"over the fourth")?;
    pass6(b"over the sixth")?;
    equal(kinds(&seen(v4, b"over the fourth")?), [(HOST, IP)])?;
    let sixth = seen(v6, b"over the sixth")?;
    equal(kinds(&sixth), [(HOST, IPV6)])?;
    equal(sixth[0].bytes[HEADER] >> 4, 6)?;
    equal(&sixth[0].bytes[12..14], &[0x86, 0xdd][..])
}

fn segments_are_seen() -> Outcome {
    let fd = on_lo(SOCK_RAW, ALL)?;
    let (client, server) = tcp_pair()?;
    write(client, b"in a segment")?;
    equal(recv(server, 64, 0)?, b"in a segment")?;
    let own = inet::own_port(client)?.to_be_bytes();
    let mut kinds_of_syns = Vec::new();
    let mut kinds_of_data = Vec::new();
    while let Some(seen) = next(fd, MSG_DONTWAIT)? {
        let bytes = &seen.bytes;
        if bytes.get(23) != Some(&6) || bytes.get(34..36) != Some(&own[..]) {
            continue;
        }
        equal(sum(&bytes[14..34]), 0)?;
        if bytes.get(47) == Some(&2) {
            kinds_of_syns.push(seen.kind);
        }
        if bytes.ends_with(b"in a segment") {
            kinds_of_data.push(seen.kind);
        }
    }
    equal(kinds_of_syns, [OUTGOING, HOST])?;
    equal(kinds_of_data, [OUTGOING, HOST])
}

fn cooked_packets_begin_with_the_network() -> Outcome {
    let fd = on_lo(SOCK_DGRAM, ALL)?;
    pass(b"without a header")?;
    let seen = seen(fd, b"without a header")?;
    equal(kinds(&seen), [(OUTGOING, IP), (HOST, IP)])?;
    for Seen { bytes, .. } in &seen {
        equal(bytes.len(), 28 + 16)?;
        equal(bytes[0], 0x45)?;
    }
    Ok(())
}

fn outgoing_packets_can_be_ignored() -> Outcome {
    let fd = on_lo(SOCK_RAW, ALL)?;
    set_option(fd, SOL_PACKET, IGNORE_OUTGOING, 1_i32)?;
    equal(option::<i32>(fd, SOL_PACKET, IGNORE_OUTGOING)?, 1)?;
    pass(b"only back")?;
    equal(kinds(&seen(fd, b"only back")?), [(HOST, IP)])
}

fn without_a_protocol_nothing_is_seen() -> Outcome {
    up()?;
    let fd = packet(SOCK_RAW, 0)?;
    bind(fd, &lo(0))?;
    pass(b"unseen")?;
    fails(recv(fd, 64, MSG_DONTWAIT), EAGAIN)?;
    bind(fd, &lo(IP))?;
    pass(b"seen")?;
    equal(seen(fd, b"seen")?.len(), 1)
}

fn packets_are_peeked_at_and_cut() -> Outcome {
    const FIONREAD: i32 = 0x541b;
    const SIOCOUTQ: i32 = 0x5411;
    let fd = on_lo(SOCK_DGRAM, LOCAL_USE)?;
    let count = |command: i32| -> Sys<i32> {
        let mut count = -1_i32;
        sys!(SYS_ioctl, fd, command, &mut count)?;
        Ok(count)
    };
    equal(count(FIONREAD)?, 0)?;
    equal(count(SIOCOUTQ)?, 0)?;
    send(fd, b"first of them", 0)?;
    send(fd, b"second", 0)?;
    // What has no bytes is not taken.
    equal(send(fd, b"", 0)?, 0)?;
    send(fd, b"last", 0)?;
    await_input(fd)?;
    equal(count(FIONREAD)?, 13)?;
    equal(recv(fd, 64, MSG_PEEK)?, b"first of them")?;
    equal(recv(fd, 5, MSG_PEEK)?, b"first")?;
    let mut room = [0_u8; 5];
    let long = sys!(SYS_recvfrom, fd, room.as_mut_ptr(), 5, MSG_TRUNC, 0, 0)?;
    equal((long, &room), (13, b"first"))?;
    let told = receive_message(fd, 3)?;
    equal((told.count, told.flags & MSG_TRUNC), (3, MSG_TRUNC))?;
    equal(next(fd, 0)?.map(|seen| seen.bytes), Some(b"last".to_vec()))?;
    fails(recv(fd, 64, MSG_DONTWAIT | MSG_OOB), EINVAL)?;
    fails(recv(fd, 64, libc::MSG_WAITALL), EINVAL)?;
    fails(recv(fd, 64, libc::MSG_ERRQUEUE), EAGAIN)
}

fn receiving_waits() -> Outcome {
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    fails(recv(fd, 64, MSG_DONTWAIT), EAGAIN)?;
    equal(events(fd)? & POLLIN, 0)?;
    let soon = libc::timeval {
        tv_sec: 0,
        tv_usec: 20_000,
    };
    set_option(fd, SOL_SOCKET, SO_RCVTIMEO, soon)?;
    fails(recv(fd, 64, 0), EAGAIN)?;
    let never = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    set_option(fd, SOL_SOCKET, SO_RCVTIMEO, never)?;
    let child = fork(|| {
        nap();
        i32::from(
            packet(SOCK_DGRAM, 0).and_then(|fd| send_to(fd, b"at last", &lo(LOCAL_USE))) != Ok(7),
        )
    })?;
    let frame = recv(fd, 64, 0)?;
    equal(frame.get(HEADER..), Some(&b"at last"[..]))?;
    equal(wait(child)?, 0)
}

fn await_input(fd: Socket) -> Outcome {
    equal(poll_one(fd, POLLIN, 10_000)? & POLLIN, POLLIN)
}

fn what_finds_no_room_is_counted() -> Outcome {
    const SENT: u32 = 64;
    let fd = on_lo(SOCK_DGRAM, LOCAL_USE)?;
    let statistics = || option::<[u32; 2]>(fd, SOL_PACKET, STATISTICS);
    equal(statistics()?, [0, 0])?;
    set_option(fd, SOL_SOCKET, SO_RCVBUF, 4096_i32)?;
    for _ in 0..SENT {
        send(fd, &[7; 1000], 0)?;
    }
    let mut received = 0;
    while recv(fd, 2000, MSG_DONTWAIT).is_ok() {
        received += 1;
    }
    let [packets, drops] = statistics()?;
    check(received > 0 && drops > 0, "some are lost, some are not")?;
    equal((packets, drops), (SENT, SENT - received))?;
    equal(statistics()?, [0, 0])?;
    send(fd, b"one more", 0)?;
    await_input(fd)?;
    // What there is room for is told.
    let mut room = [u32::MAX; 2];
    let mut len = 4_u32;
    sys!(
        SYS_getsockopt,
        fd,
        SOL_PACKET,
        STATISTICS,
        &mut room,
        &mut len
    )?;
    equal((len, room), (4, [1, u32::MAX]))
}

/// What `recvmsg` tells beside the bytes.
struct Told {
    count: usize,
    flags: i32,
    /// Level, kind, data.
    control: Option<(i32, i32, Vec<u8>)>,
}

/// `struct msghdr`, whose types are not the same in all C libraries.
#[repr(C)]
struct Message {
    name: usize,
    namelen: u32,
    iov: usize,
    iovlen: usize,
    control: usize,
    controllen: usize,
    flags: i32,
}

fn receive_message(fd: Socket, room: usize) -> Outcome<Told> {
    let mut bytes = vec![0_u8; room];
    let mut control = [0_u64; 16];
    let mut iov = [bytes.as_mut_ptr() as usize, room];
    let mut message = Message {
        name: 0,
        namelen: 0,
        iov: std::ptr::from_mut(&mut iov) as usize,
        iovlen: 1,
        control: std::ptr::from_mut(&mut control) as usize,
        controllen: size_of_val(&control),
        flags: 0,
    };
    let count = sys!(SYS_recvmsg, fd, &mut message, 0)?;
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let word =
        |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let len = word(0) as usize;
    let control = match message.controllen {
        0 => None,
        _ => Some((
            word(8),
            word(12),
            bytes.get(16..len).unwrap_or_default().to_vec(),
        )),
    };
    Ok(Told {
        count,
        flags: message.flags,
        control,
    })
}

fn auxiliary_data_come_along() -> Outcome {
    for (kind, before) in [(SOCK_RAW, HEADER), (SOCK_DGRAM, 0)] {
        let fd = on_lo(kind, LOCAL_USE)?;
        equal(option::<i32>(fd, SOL_PACKET, AUXDATA)?, 0)?;
        let sender = packet(SOCK_DGRAM, 0)?;
        let sent = || send_to(sender, b"with more", &lo(LOCAL_USE));
        sent()?;
        check(receive_message(fd, 64)?.control.is_none(), "not asked for")?;
        set_option(fd, SOL_PACKET, AUXDATA, 1_i32)?;
        equal(option::<i32>(fd, SOL_PACKET, AUXDATA)?, 1)?;
        sent()?;
        let (level, kind, data) = some(receive_message(fd, 4)?.control, "asked for")?;
        equal((level, kind, data.len()), (SOL_PACKET, AUXDATA, 20))?;
        let len = (before + 9) as u32;
        // That it is ours; its length, what is left of it; no offset, the network's header; no tag.
        equal(data[0] & 1, 1)?;
        equal(&data[4..8], &len.to_ne_bytes()[..])?;
        equal(&data[8..12], &len.to_ne_bytes()[..])?;
        equal(&data[12..16], &[0, 0, before as u8, 0][..])?;
        equal(&data[16..20], &[0; 4][..])?;
    }
    Ok(())
}

fn options_are_checked() -> Outcome {
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    for (name, wrong) in [(IGNORE_OUTGOING, 2), (IGNORE_OUTGOING, -1)] {
        fails(set_option(fd, SOL_PACKET, name, wrong), EINVAL)?;
    }
    fails(set_option(fd, SOL_PACKET, IGNORE_OUTGOING, 1_i64), EINVAL)?;
    fails(set_option(fd, SOL_PACKET, AUXDATA, 1_u16), EINVAL)?;
    // More than a number is taken there.
    set_option(fd, SOL_PACKET, ORIGDEV, 5_i64)?;
    equal(option::<i32>(fd, SOL_PACKET, ORIGDEV)?, 1)?;
    set_option(fd, SOL_PACKET, ORIGDEV, 0_i32)?;
    fails(set_option(fd, SOL_PACKET, 4711, 1_i32), ENOPROTOOPT)?;
    fails(option::<i32>(fd, SOL_PACKET, 4711).map(drop), ENOPROTOOPT)?;
    fails(
        option::<i32>(fd, SOL_PACKET, ADD_MEMBERSHIP).map(drop),
        ENOPROTOOPT,
    )?;
    fails(set_option(fd, SOL_PACKET, STATISTICS, 1_i32), ENOPROTOOPT)?;
    for level in [libc::IPPROTO_IP, libc::IPPROTO_UDP] {
        fails(set_option(fd, level, 1, 1_i32), ENOPROTOOPT)?;
        fails(option::<i32>(fd, level, 1).map(drop), ENOPROTOOPT)?;
    }
    Ok(())
}

/// `struct packet_mreq`.
fn request(ifindex: i32, kind: u16, alen: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&ifindex.to_ne_bytes());
    bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
    bytes[6..8].copy_from_slice(&alen.to_ne_bytes());
    bytes[8..14].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]);
    bytes
}

fn memberships_are_counted() -> Outcome {
    const MULTICAST: u16 = 0;
    const PROMISC: u16 = 1;
    const ALLMULTI: u16 = 2;
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    let join = |request: [u8; 16]| set_option(fd, SOL_PACKET, ADD_MEMBERSHIP, request);
    let leave = |request: [u8; 16]| set_option(fd, SOL_PACKET, DROP_MEMBERSHIP, request);
    for wanted in [
        request(1, PROMISC, 0),
        request(1, ALLMULTI, 0),
        request(1, MULTICAST, 6),
    ] {
        join(wanted)?;
        join(wanted)?;
        leave(wanted)?;
        leave(wanted)?;
        // What was not joined is left as well.
        leave(wanted)?;
    }
    fails(join(request(4711, PROMISC, 0)), ENODEV)?;
    fails(join(request(1, MULTICAST, 5)), EINVAL)?;
    fails(join(request(1, MULTICAST, 7)), EINVAL)?;
    fails(join(request(1, PROMISC, 9)), EINVAL)?;
    let short = [0_u8; 15];
    fails(set_option(fd, SOL_PACKET, ADD_MEMBERSHIP, short), EINVAL)?;
    // What is not left goes with the socket.
    join(request(1, PROMISC, 0))?;
    close(fd)?;
    Ok(())
}

fn sockets_are_listed() -> Outcome {
    let line = |fd: Socket| -> Outcome<Vec<String>> {
        let ino = fstat(fd)?.st_ino.to_string();
        let text = text_of("/proc/net/packet")?;
        let mut lines = text.lines();
        equal(
            lines.next(),
            Some("sk               RefCnt Type Proto  Iface R Rmem   User   Inode"),
        )?;
        let mut lines = lines.map(|line| line.split_whitespace().map(str::to_owned).collect());
        let found = lines.find(|fields: &Vec<String>| fields.last() == Some(&ino));
        some(found, "the socket is not listed")
    };
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    let fields = line(fd)?;
    equal(fields.len(), 9)?;
    equal(&fields[2..8].join(" ")[..], "3 88b5 1 1 0 0")?;
    let sender = packet(SOCK_DGRAM, 0)?;
    equal(&line(sender)?[2..8].join(" ")[..], "2 0000 0 0 0 0")?;
    send_to(sender, b"memory", &lo(LOCAL_USE))?;
    await_input(fd)?;
    check(line(fd)?[6] != "0", "what waits takes no memory")
}
