//! Interfaces by `ioctl`.

use libc::{
    AF_INET, EADDRNOTAVAIL, EAGAIN, EALREADY, EINPROGRESS, EINVAL, ENODEV, EPERM, IFF_LOOPBACK,
    IFF_RUNNING, IFF_UP, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    the_loopback_interface_tells_of_itself,
    going_up_gives_an_address,
    only_the_privileged_change_interfaces,
    no_host_has_a_group_address,
    small_packets_carry_streams,
    an_interface_that_is_down_leads_nowhere,
];

const SIOCGIFNAME: i32 = 0x8910;
const SIOCGIFCONF: i32 = 0x8912;
const SIOCGIFFLAGS: i32 = 0x8913;
const SIOCSIFFLAGS: i32 = 0x8914;
const SIOCGIFADDR: i32 = 0x8915;
const SIOCSIFADDR: i32 = 0x8916;
const SIOCGIFNETMASK: i32 = 0x891b;
const SIOCGIFMTU: i32 = 0x8921;
const SIOCSIFMTU: i32 = 0x8922;
const SIOCGIFHWADDR: i32 = 0x8927;
const SIOCGIFINDEX: i32 = 0x8933;

/// `struct ifreq`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    name: [u8; 16],
    value: [u8; 24],
}

impl Request {
    fn new(name: &str) -> Request {
        let mut request = Request {
            name: [0; 16],
            value: [0; 24],
        };
        for (slot, byte) in request.name.iter_mut().zip(name.bytes()) {
            *slot = byte;
        }
        request
    }
    fn with_number(mut self, number: i32) -> Request {
        self.value[..4].copy_from_slice(&number.to_ne_bytes());
        self
    }
    fn number(&self) -> i32 {
        i32::from_ne_bytes([self.value[0], self.value[1], self.value[2], self.value[3]])
    }
    fn flags(&self) -> i32 {
        self.number() & 0xffff
    }
}

fn ask(fd: Socket, command: i32, mut request: Request) -> Sys<Request> {
    sys!(SYS_ioctl, fd, command, &mut request)?;
    Ok(request)
}

/// Brings the loopback interface up, or takes it down.
pub fn set_up(is_up: bool) -> Outcome {
    let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
    let lo = Request::new("lo");
    let flags = ask(fd, SIOCGIFFLAGS, lo)?.flags();
    let wanted = if is_up {
        flags | IFF_UP
    } else {
        flags & !IFF_UP
    };
    if wanted != flags {
        ask(fd, SIOCSIFFLAGS, lo.with_number(wanted))?;
    }
    close(fd)?;
    Ok(())
}

fn the_loopback_interface_tells_of_itself() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_STREAM, 0)?;
    let lo = Request::new("lo");
    equal(ask(fd, SIOCGIFINDEX, lo)?.number(), 1)?;
    equal(ask(fd, SIOCGIFMTU, lo)?.number(), 65536)?;
    equal(ask(fd, SIOCGIFHWADDR, lo)?.flags(), 772)?;
    let flags = ask(fd, SIOCGIFFLAGS, lo)?.flags();
    equal(flags, IFF_UP | IFF_LOOPBACK | IFF_RUNNING)?;
    let named = ask(fd, SIOCGIFNAME, Request::new("").with_number(1))?;
    equal(named.name.get(..3), Some(&b"lo\0"[..]))?;
    fails(
        ask(fd, SIOCGIFFLAGS, Request::new("none0")).map(drop),
        ENODEV,
    )?;
    let nothing = ask(fd, SIOCGIFNAME, Request::new("").with_number(4711));
    fails(nothing.map(drop), ENODEV)?;
    Ok(())
}

fn going_up_gives_an_address() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
    let lo = Request::new("lo");
    let address = ask(fd, SIOCGIFADDR, lo)?;
    equal(address.value.get(..16), Some(&v4(LOCAL, 0)[..]))?;
    let mask = ask(fd, SIOCGIFNETMASK, lo)?;
    equal(mask.value.get(4..8), Some(&[255, 0, 0, 0][..]))?;
    let mut list = [Request::new(""); 64];
    let mut conf = [size_of_val(&list), list.as_mut_ptr() as usize];
    sys!(SYS_ioctl, fd, SIOCGIFCONF, &mut conf)?;
    let count = conf[0] / size_of::<Request>();
    let mut given = list.iter().take(count);
    let found = given.any(|entry| entry.name.starts_with(b"lo\0") && entry.value[4..8] == LOCAL);
    check(found, "the list has no lo")?;
    let mut sizes = [0_usize; 2];
    sys!(SYS_ioctl, fd, SIOCGIFCONF, &mut sizes)?;
    equal(sizes[0], count * size_of::<Request>())
}

fn only_the_privileged_change_interfaces() -> Outcome {
    up()?;
    within(|| {
        become_user()?;
        let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
        let lo = Request::new("lo").with_number(IFF_UP | IFF_LOOPBACK);
        fails(ask(fd, SIOCSIFFLAGS, lo).map(drop), EPERM)
    })
}

fn no_host_has_a_group_address() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
    let mut request = Request::new("lo");
    request.value[..16].copy_from_slice(&v4([224, 0, 0, 1], 0));
    fails(ask(fd, SIOCSIFADDR, request).map(drop), EINVAL)?;
    request.value[0] = 99;
    fails(ask(fd, SIOCSIFADDR, request).map(drop), EINVAL)
}

fn small_packets_carry_streams() -> Outcome {
    up()?;
    let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
    let lo = Request::new("lo");
    ask(fd, SIOCSIFMTU, lo.with_number(100))?;
    let result = tcp_pair().and_then(|(a, b)| {
        write(a, &[7; 5000])?;
        equal(recv(b, 5000, libc::MSG_WAITALL)?, vec![7; 5000])
    });
    ask(fd, SIOCSIFMTU, lo.with_number(65536))?;
    // A small one takes the addresses of IPv6 away on Linux, which going up gives.
    set_up(false)?;
    up()?;
    result
}

fn an_interface_that_is_down_leads_nowhere() -> Outcome {
    set_up(false)?;
    let result = without_interface();
    set_up(true)?;
    result
}

fn without_interface() -> Outcome {
    // It keeps its address; what is sent is lost.
    let fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)?;
    fails(connect(fd, &local(9)), EINPROGRESS)?;
    equal(events(fd)?, 0)?;
    let (server, port) = udp_bound()?;
    let udp = socket(AF_INET, SOCK_DGRAM, 0)?;
    equal(send_to(udp, b"x", &local(port))?, 1)?;
    fails(recv(server, 1, libc::MSG_DONTWAIT), EAGAIN)?;
    fails(connect(fd, &v4([192, 0, 2, 1], 9)), EALREADY)?;
    // That of IPv6 it loses.
    let v6 = socket(libc::AF_INET6, SOCK_DGRAM, 0)?;
    fails(send_to(v6, b"x", &local6(9)), EADDRNOTAVAIL)?;
    fails(connect(v6, &local6(9)), EADDRNOTAVAIL)?;
    Ok(())
}
