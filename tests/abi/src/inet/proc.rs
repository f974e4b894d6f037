//! `/proc/net` and `/proc/sys/net`.

use libc::{AF_INET, EINVAL, SOCK_STREAM};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    listeners_and_connections_are_listed,
    datagram_sockets_are_listed,
    interfaces_are_listed,
    the_range_of_ports_can_be_set,
];

/// The fields of the line whose own address is this.
fn line(path: &str, own: &str) -> Outcome<Vec<String>> {
    let text = text_of(path)?;
    let line = text
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .find(|fields: &Vec<String>| fields.get(1).is_some_and(|field| field == own));
    some(line, &format!("{path} does not list {own}"))
}

fn shown(port: u16) -> String {
    format!("0100007F:{port:04X}")
}

fn listeners_and_connections_are_listed() -> Outcome {
    up()?;
    let (server, port) = listener(5)?;
    let fields = line("/proc/net/tcp", &shown(port))?;
    equal(&fields[2][..], "00000000:0000")?;
    equal(&fields[3][..], "0A")?;
    let client = socket(AF_INET, SOCK_STREAM, 0)?;
    connect(client, &local(port))?;
    let accepted = accept(server)?;
    write(accepted, b"five!")?;
    await_events(client, libc::POLLIN)?;
    let fields = line("/proc/net/tcp", &shown(own_port(client)?))?;
    equal(&fields[2][..], &shown(port)[..])?;
    equal(&fields[3][..], "01")?;
    equal(&fields[4][..], "00000000:00000005")?;
    equal(fields[9].parse().ok(), Some(fstat(client)?.st_ino))
}

fn datagram_sockets_are_listed() -> Outcome {
    up()?;
    let (fd, port) = udp_bound()?;
    let fields = line("/proc/net/udp", &shown(port))?;
    equal(&fields[2][..], "00000000:0000")?;
    equal(&fields[3][..], "07")?;
    equal(fields[9].parse().ok(), Some(fstat(fd)?.st_ino))?;
    within(|| {
        become_user()?;
        let (_fd, port) = udp_bound()?;
        equal(&line("/proc/net/udp", &shown(port))?[7][..], "1000")
    })
}

fn interfaces_are_listed() -> Outcome {
    up()?;
    let text = text_of("/proc/net/dev")?;
    check(text.lines().count() >= 3, "there are no interfaces")?;
    check(text.contains("\n    lo:"), "lo is not among them")?;
    let text = text_of("/proc/net/if_inet6")?;
    let own = "00000000000000000000000000000001 01 80 10 80       lo";
    check(text.lines().any(|line| line == own), "::1 is not there")?;
    equal(text_of("/sys/class/net/lo/mtu")?, "65536\n")?;
    equal(text_of("/sys/class/net/lo/type")?, "772\n")
}

fn the_range_of_ports_can_be_set() -> Outcome {
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    up()?;
    let before = text_of(RANGE)?;
    std::fs::write(RANGE, "40000 40009")?;
    let result = equal(text_of(RANGE)?, "40000\t40009\n").and_then(|()| {
        let (_fd, port) = udp_bound()?;
        check((40000..=40009).contains(&port), "a port is out of range")
    });
    let refused = std::fs::write(RANGE, "9 8").map_err(|error| error.raw_os_error());
    std::fs::write(RANGE, before)?;
    result?;
    equal(refused, Err(Some(EINVAL)))
}
