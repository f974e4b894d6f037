//! Frames that a packet socket sends, and where they arrive.

use super::*;

pub const CASES: &[Case] = cases![
    sending_is_checked,
    frames_of_any_protocol_pass,
    a_header_is_made,
    frames_of_ipv6_arrive,
    frames_of_ipv4_arrive_from_elsewhere,
    an_interface_that_is_down_carries_nothing,
];

fn sending_is_checked() -> Outcome {
    up()?;
    let raw = packet(SOCK_RAW, LOCAL_USE)?;
    let cooked = packet(SOCK_DGRAM, LOCAL_USE)?;
    let frame = [0; 64];
    for fd in [raw, cooked] {
        fails(send(fd, &frame, 0), ENXIO)?;
        fails(
            send_to(fd, &frame, &address(LOCAL_USE, 4711, [0; 6])),
            ENXIO,
        )?;
        fails(send_to(fd, &frame, &address(LOCAL_USE, 0, [0; 6])), ENXIO)?;
        fails(send_to(fd, &frame, &lo(LOCAL_USE)[..19]), EINVAL)?;
        let mut long = lo(LOCAL_USE);
        long[11] = 9;
        fails(send_to(fd, &frame, &long), EINVAL)?;
        equal(send_to(fd, &frame, &lo(LOCAL_USE))?, 64)?;
        bind(fd, &lo(0))?;
        equal(send(fd, &frame, 0)?, 64)?;
    }
    fails(send(raw, &frame[..13], 0), EINVAL)?;
    equal(send(raw, &frame[..14], 0)?, 14)?;
    let large = vec![0; 65536 + HEADER + 1];
    fails(send(raw, &large, 0), EMSGSIZE)?;
    equal(send(raw, &large[..65536 + HEADER], 0)?, 65536 + HEADER)?;
    fails(send(cooked, &large[..65537], 0), EMSGSIZE)?;
    equal(send(cooked, &large[..65536], 0)?, 65536)
}

fn frame(to: [u8; 6], from: [u8; 6], protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(from);
    frame.extend(protocol.to_be_bytes());
    frame.extend(payload);
    frame
}

fn frames_of_any_protocol_pass() -> Outcome {
    const FROM: [u8; 6] = [2, 0, 0, 0, 0, 9];
    up()?;
    let sender = packet(SOCK_RAW, ALL)?;
    let watcher = packet(SOCK_RAW, ALL)?;
    let taker = on_lo(SOCK_RAW, LOCAL_USE)?;
    for (to, kind) in [
        ([0; 6], HOST),
        ([0xff; 6], 2),
        ([1, 0, 0x5e, 0, 0, 1], 2),
        ([2, 0, 0, 0, 0, 1], 3),
    ] {
        let sent = frame(to, FROM, LOCAL_USE, b"of any kind");
        equal(send_to(sender, &sent, &lo(0))?, sent.len())?;
        await_input(taker)?;
        let taken = seen(taker, b"of any kind")?;
        equal(kinds(&taken), [(kind, LOCAL_USE)])?;
        equal(&taken[0].bytes, &sent)?;
        equal(&taken[0].from[..], &FROM[..])?;
        let watched = seen(watcher, b"of any kind")?;
        equal(kinds(&watched), [(OUTGOING, LOCAL_USE), (kind, LOCAL_USE)])?;
        // Who sends sees it come back alone.
        equal(kinds(&seen(sender, b"of any kind")?), [(kind, LOCAL_USE)])?;
    }
    // A length in place of a protocol, and what Novell has behind it.
    for (payload, protocol) in [
        (&b"\xaa\xaa with a length"[..], 4),
        (b"\xff\xff of Novell", 1),
    ] {
        let sent = frame([0; 6], FROM, payload.len() as u16, payload);
        send_to(sender, &sent, &lo(0))?;
        await_input(watcher)?;
        nap();
        let kinds = kinds(&seen(watcher, payload)?);
        equal(kinds, [(OUTGOING, payload.len() as u16), (HOST, protocol)])?;
    }
    Ok(())
}

fn a_header_is_made() -> Outcome {
    let to = [2, 4, 6, 8, 10, 12];
    let fd = on_lo(SOCK_RAW, LOCAL_USE)?;
    let sender = packet(SOCK_DGRAM, 0)?;
    send_to(sender, b"with an address", &address(LOCAL_USE, 1, to))?;
    let expected = frame(to, [0; 6], LOCAL_USE, b"with an address");
    equal(recv(fd, 64, 0)?, expected)?;
    bind(sender, &lo(LOCAL_USE))?;
    send(sender, b"without one", 0)?;
    let expected = frame([0; 6], [0; 6], LOCAL_USE, b"without one");
    equal(recv(fd, 64, 0)?, expected)
}

/// A datagram from port 9, its sum made over these addresses; with a whole header of it.
fn datagram(addresses: &[u8], port: u16, data: &[u8]) -> Vec<u8> {
    let len = (8 + data.len()) as u16;
    let mut bytes = 9_u16.to_be_bytes().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(data);
    let mut covered = addresses.to_vec();
    covered.extend([0, 17]);
    covered.extend(len.to_be_bytes());
    covered.extend(&bytes);
    bytes[6..8].copy_from_slice(&sum(&covered).to_be_bytes());
    bytes
}

/// Changes a packet before it is sent.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

fn frames_of_ipv6_arrive() -> Outcome {
    up()?;
    let server = inet::socket(AF_INET6, SOCK_DGRAM, 0)?;
    bind(server, &local6(0))?;
    let port = inet::own_port(server)?;
    let sender = packet(SOCK_RAW, 0)?;
    let from = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let mut to = [0; 16];
    to[15] = 1;
    let addresses = [from, to].concat();
    let deliver = |datagram: &[u8], change: Change<'_>| -> Sys {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((datagram.len() as u16).to_be_bytes());
        packet.extend([17, 64]);
        packet.extend(&addresses);
        packet.extend(datagram);
        change(&mut packet);
        send_to(sender, &frame([0; 6], [0; 6], IPV6, &packet), &lo(IPV6))
    };
    let lost = datagram(&addresses, port, b"lost");
    let spoil: [Change<'_>; 5] = [
        &|packet| packet[40 + 9] ^= 1,
        &|packet| packet[40 + 6..40 + 8].fill(0),
        &|packet| packet[0] = 0x50,
        &|packet| packet[4] = 1,
        &|packet| packet.truncate(30),
    ];
    for spoil in spoil {
        deliver(&lost, spoil)?;
    }
    // What follows the packet does not count.
    let good = datagram(&addresses, port, b"arrives");
    deliver(&good, &|packet| packet.extend(b"and more"))?;
    let (bytes, name) = recv_from(server, 0)?;
    equal(bytes, b"arrives")?;
    equal(name, v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 9))
}

fn set_own_address(address: [u8; 4]) -> Outcome {
    const SIOCSIFADDR: i32 = 0x8916;
    let fd = inet::socket(AF_INET, SOCK_DGRAM, 0)?;
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..32].copy_from_slice(&v4(address, 0));
    sys!(SYS_ioctl, fd, SIOCSIFADDR, &mut request)?;
    close(fd)?;
    Ok(())
}

fn frames_of_ipv4_arrive_from_elsewhere() -> Outcome {
    const OWN: [u8; 4] = [10, 1, 2, 3];
    const OTHER: [u8; 4] = [192, 0, 2, 7];
    up()?;
    let sender = packet(SOCK_DGRAM, 0)?;
    let deliver = |from: [u8; 4], to: [u8; 4], datagram: &[u8], change: Change<'_>| -> Sys {
        let mut packet = vec![0x45, 0];
        packet.extend((20 + datagram.len() as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(from);
        packet.extend(to);
        change(&mut packet);
        let sum = sum(&packet).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        packet.extend(datagram);
        send_to(sender, &packet, &lo(IP))
    };
    let as_it_is: Change<'_> = &|_| {};
    let (server, port) = udp_bound()?;
    // Addresses of the loopback network do not come from outside, on the loopback interface either.
    let made = |from: [u8; 4], to: [u8; 4], data: &[u8]| datagram(&[from, to].concat(), port, data);
    for from in [inet::LOCAL, OTHER] {
        deliver(
            from,
            inet::LOCAL,
            &made(from, inet::LOCAL, b"martian"),
            as_it_is,
        )?;
    }
    fails(recv(server, 64, MSG_DONTWAIT), EAGAIN)?;
    close(server)?;
    set_own_address(OWN)?;
    let outcome = (|| {
        let server = inet::socket(AF_INET, SOCK_DGRAM, 0)?;
        bind(server, &v4(OWN, port))?;
        let good = made(OTHER, OWN, b"arrives");
        let mut spoilt = made(OTHER, OWN, b"spoilt");
        spoilt[9] ^= 1;
        deliver(OTHER, OWN, &spoilt, as_it_is)?;
        deliver(OWN, OWN, &made(OWN, OWN, b"our own"), as_it_is)?;
        deliver(OTHER, OWN, &good, &|packet| packet[0] = 0x55)?;
        deliver(OTHER, OWN, &good, &|packet| packet[0] = 0x44)?;
        deliver(OTHER, OWN, &good, &|packet| packet[2] = 1)?;
        deliver(OTHER, [10, 9, 9, 9], &good, as_it_is)?;
        deliver(OTHER, OWN, &good, as_it_is)?;
        let (bytes, name) = recv_from(server, 0)?;
        equal(bytes, b"arrives")?;
        equal(name, v4(OTHER, 9))?;
        // A sum that was not made is none.
        let mut without = made(OTHER, OWN, b"without a sum");
        without[6..8].fill(0);
        deliver(OTHER, OWN, &without, as_it_is)?;
        equal(recv(server, 64, 0)?, b"without a sum")?;
        fails(recv(server, 64, MSG_DONTWAIT), EAGAIN)
    })();
    set_own_address(inet::LOCAL)?;
    outcome
}

fn an_interface_that_is_down_carries_nothing() -> Outcome {
    let watcher = on_lo(SOCK_RAW, ALL)?;
    let everywhere = packet(SOCK_RAW, ALL)?;
    interface::set_up(false)?;
    let outcome = (|| {
        equal(events(watcher)? & POLLERR, POLLERR)?;
        fails(recv(watcher, 64, MSG_DONTWAIT), ENETDOWN)?;
        equal(error_of(watcher)?, 0)?;
        equal(error_of(everywhere)?, 0)?;
        fails(send(watcher, &[0; 64], 0), ENETDOWN)?;
        let late = packet(SOCK_RAW, 0)?;
        bind(late, &lo(LOCAL_USE))?;
        equal(error_of(late)?, ENETDOWN)?;
        // Its interface is remembered.
        equal(own_name(late)?.len(), 18)
    })();
    interface::set_up(true)?;
    outcome?;
    pass(b"up again")?;
    equal(
        kinds(&seen(watcher, b"up again")?),
        [(OUTGOING, IP), (HOST, IP)],
    )
}
