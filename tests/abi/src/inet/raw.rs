//! ICMP and raw packets.

use libc::{
    AF_INET, EACCES, EINVAL, EPERM, EPROTONOSUPPORT, IP_HDRINCL, IPPROTO_ICMP, IPPROTO_IP,
    IPPROTO_RAW, IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    raw_sockets_need_privilege,
    an_echo_request_is_answered,
    a_raw_socket_sees_datagrams,
    a_packet_with_its_own_header,
    packets_for_nobody_are_lost,
    a_raw_segment_is_reset,
    a_refusal_is_a_message,
    echo_sockets_are_for_groups,
];

const GROUPS: &str = "/proc/sys/net/ipv4/ping_group_range";

/// The sum that a message or a header carries.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn echo_request(number: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut message = vec![8, 0, 0, 0];
    message.extend(number.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend(data);
    let sum = sum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

fn raw_sockets_need_privilege() -> Outcome {
    fails(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT)?;
    within(|| {
        become_user()?;
        fails(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM)
    })
}

/// Receives packets until one passes.
fn await_packet(fd: Socket, wanted: impl Fn(&[u8]) -> bool) -> Sys<Vec<u8>> {
    loop {
        let packet = recv(fd, 65536, 0)?;
        if wanted(&packet) {
            return Ok(packet);
        }
    }
}

fn an_echo_request_is_answered() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)?;
    let request = echo_request(0x1234, 7, b"data of the request");
    send_to(fd, &request, &local(0))?;
    // The socket sees the request as well.
    let packet = await_packet(fd, |packet| packet.get(20) == Some(&0))?;
    equal(packet[0], 0x45)?;
    equal(packet[9], 1)?;
    equal(packet.get(12..20), Some(&[127, 0, 0, 1, 127, 0, 0, 1][..]))?;
    equal(sum(&packet[..20]), 0)?;
    let message = packet.get(20..).unwrap_or_default();
    equal(sum(message), 0)?;
    equal(message.get(4..), request.get(4..))
}

fn a_raw_socket_sees_datagrams() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, IPPROTO_UDP)?;
    let (_server, port) = udp_bound()?;
    let client = socket(AF_INET, SOCK_DGRAM, 0)?;
    send_to(client, b"seen", &local(port))?;
    let packet = await_packet(fd, |packet| packet.get(22..24) == Some(&port.to_be_bytes()))?;
    equal(packet.get(28..), Some(&b"seen"[..]))?;
    equal(packet.get(24..26), Some(&[0, 12][..]))
}

fn a_packet_with_its_own_header() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW)?;
    equal(option::<i32>(fd, IPPROTO_IP, IP_HDRINCL)?, 1)?;
    let (server, port) = udp_bound()?;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 33, 17, 0, 0];
    packet.extend([127, 0, 0, 1, 127, 0, 0, 1]);
    packet.extend(4242_u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 11, 0, 0]);
    packet.extend(b"raw");
    equal(send_to(fd, &packet, &local(0))?, packet.len())?;
    let (bytes, from) = recv_from(server, 0)?;
    equal(bytes, b"raw")?;
    equal(from, local(4242))?;
    fails(send_to(fd, &packet[..10], &local(0)), EINVAL)
}

/// A packet of IPv4 with a header of TCP: a SYN from port 9 to port 1.
fn syn(from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 33, 6, 0, 0];
    packet.extend(from);
    packet.extend(to);
    packet.extend([
        0, 9, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0,
    ]);
    packet
}

fn packets_for_nobody_are_lost() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW)?;
    for address in [[224, 0, 0, 1], [255; 4], [0; 4], [10, 9, 8, 7]] {
        for packet in [syn(LOCAL, address), syn(address, LOCAL)] {
            equal(send_to(fd, &packet, &local(0))?, packet.len())?;
        }
    }
    let bound = socket(AF_INET, libc::SOCK_STREAM, 0)?;
    set_option(bound, IPPROTO_IP, libc::IP_FREEBIND, 1_i32)?;
    bind(bound, &v4([10, 9, 8, 7], 0))?;
    fails(connect(bound, &local(9)), libc::ENETUNREACH)
}

fn a_raw_segment_is_reset() -> Outcome {
    const RST_ACK: u8 = 0x14;
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, 6)?;
    let packet = syn(LOCAL, LOCAL);
    let mut segment = packet.get(20..).unwrap_or_default().to_vec();
    // The sum covers the addresses, the protocol and the length too.
    let mut covered = vec![127, 0, 0, 1, 127, 0, 0, 1, 0, 6, 0, 20];
    covered.extend(&segment);
    segment[16..18].copy_from_slice(&sum(&covered).to_be_bytes());
    send_to(fd, &segment, &local(0))?;
    let answer = await_packet(fd, |packet| packet.get(20..24) == Some(&[0, 1, 0, 9]))?;
    equal(answer.get(33), Some(&RST_ACK))
}

fn a_refusal_is_a_message() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)?;
    let (unused, port) = udp_bound()?;
    close(unused)?;
    let client = socket(AF_INET, SOCK_DGRAM, 0)?;
    send_to(client, b"nobody", &local(port))?;
    let packet = await_packet(fd, |packet| packet.get(20..22) == Some(&[3, 3]))?;
    // The packet that could not be delivered is quoted.
    equal(
        packet.get(28 + 20 + 2..28 + 20 + 4),
        Some(&port.to_be_bytes()[..]),
    )?;
    equal(packet.get(28 + 28..28 + 34), Some(&b"nobody"[..]))
}

fn echo_sockets_are_for_groups() -> Outcome {
    up()?;
    let before = std::fs::read_to_string(GROUPS)?;
    std::fs::write(GROUPS, "1 0")?;
    fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), EACCES)?;
    std::fs::write(GROUPS, "0 2000")?;
    equal(std::fs::read_to_string(GROUPS)?, "0\t2000\n")?;
    let result = within(|| {
        become_user()?;
        let fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)?;
        fails(send_to(fd, &[0; 16], &local(0)), EINVAL)?;
        fails(send_to(fd, &[8, 0], &local(0)), EINVAL)?;
        // The number and the sum are the kernel's.
        let request = echo_request(1, 9, b"ping");
        send_to(fd, &request, &local(0))?;
        let (answer, from) = recv_from(fd, 0)?;
        equal(answer.get(..2), Some(&[0, 0][..]))?;
        equal(answer.get(4..6), Some(&own_port(fd)?.to_be_bytes()[..]))?;
        equal(answer.get(6..), request.get(6..))?;
        equal(sum(&answer), 0)?;
        equal(from, local(0))
    });
    std::fs::write(GROUPS, before)?;
    result
}
