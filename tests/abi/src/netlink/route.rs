//! `NETLINK_ROUTE`: the loopback interface, its addresses and routes.

use std::ffi::CStr;

use libc::{
    AF_INET, AF_INET6, EEXIST, EINVAL, ENETUNREACH, ENODEV, EOPNOTSUPP, EPERM, IFF_LOOPBACK,
    IFF_RUNNING, IFF_UP, NETLINK_ROUTE,
};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    interfaces_are_dumped,
    one_interface_is_found,
    requests_about_interfaces_are_checked,
    an_interface_comes_up_and_goes_down,
    changes_of_interfaces_are_told,
    addresses_are_dumped,
    routes_are_dumped,
    the_way_to_an_address_is_told,
    asking_needs_no_rights_and_changing_does,
    c_libraries_find_interfaces,
];

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
const GETNEIGH: u16 = 30;
const IFNAME: u16 = 3;
const LOWER_UP: u32 = 0x10000;

fn route() -> Outcome<i32> {
    Ok(bound(NETLINK_ROUTE, 0)?.0)
}

/// `struct ifinfomsg`.
fn info(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&index.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&change.to_ne_bytes());
    bytes
}

fn flags_of(link: &Message) -> u32 {
    number_at(&link.payload, 8)
}

fn loopback(fd: i32) -> Outcome<Message> {
    ask_one(fd, GETLINK, &info(1, 0, 0))
}

/// Brings the loopback interface up or down.
fn set_up(fd: i32, up: bool) -> Outcome {
    let up = if up { IFF_UP as u32 } else { 0 };
    let change = info(1, up, IFF_UP as u32);
    refused(fd, NEWLINK, ACK, &change, 0)
}

fn check_loopback(link: &Message) -> Outcome {
    equal(link.kind, NEWLINK)?;
    // Family, type, index.
    equal(&link.payload[..8], [0, 0, 4, 3, 1, 0, 0, 0])?;
    equal(flags_of(link) & IFF_LOOPBACK as u32, IFF_LOOPBACK as u32)?;
    equal(number_at(&link.payload, 12), 0)?;
    let attributes = &link.payload[16..];
    equal(text(&find(attributes, IFNAME)?), "lo")?;
    equal(number_at(&find(attributes, 4)?, 0), 65536)?;
    equal(number_at(&find(attributes, 13)?, 0), 1000)?;
    // Addresses of the hardware.
    equal(find(attributes, 1)?, [0; 6])?;
    equal(find(attributes, 2)?, [0; 6])?;
    equal(find(attributes, 17)?, [0])?;
    equal(number_at(&find(attributes, 27)?, 0), 0)?;
    equal(find(attributes, 14)?.len(), 32)
}

fn interfaces_are_dumped() -> Outcome {
    let fd = route()?;
    // The family alone is enough, and either half of the flag.
    for (flags, payload) in [
        (DUMP, info(0, 0, 0)),
        (DUMP, vec![0]),
        (0x100, vec![0, 0, 0, 0]),
    ] {
        let links = ask(fd, GETLINK, flags, &payload)?;
        let lo = some(links.first(), "an interface")?;
        equal(lo.flags, MULTI)?;
        check_loopback(lo)?;
        let counters = find(&lo.payload[16..], 23)?;
        check(counters.len() >= 192, "counters")?;
    }
    Ok(())
}

fn one_interface_is_found() -> Outcome {
    let fd = route()?;
    check_loopback(&loopback(fd)?)?;
    let mut by_name = info(0, 0, 0);
    by_name.extend(attribute(IFNAME, b"lo\0"));
    let lo = ask_one(fd, GETLINK, &by_name)?;
    equal(lo.flags, 0)?;
    check_loopback(&lo)?;
    Ok(())
}

fn requests_about_interfaces_are_checked() -> Outcome {
    let fd = route()?;
    refused(fd, GETLINK, 0, &info(999, 0, 0), ENODEV)?;
    refused(fd, GETLINK, 0, &info(0, 0, 0), EINVAL)?;
    refused(fd, GETLINK, 0, &[0], EINVAL)?;
    let mut by_name = info(0, 0, 0);
    by_name.extend(attribute(IFNAME, b"nothere\0"));
    refused(fd, GETLINK, 0, &by_name, ENODEV)?;
    refused(fd, NEWLINK, 0, &by_name, ENODEV)?;
    refused(fd, SETLINK, 0, &info(999, 0, 0), ENODEV)?;
    refused(fd, NEWLINK, 0x200, &info(1, 0, 0), EEXIST)?;
    refused(fd, NEWLINK, 0x100, &info(1, 0, 0), EOPNOTSUPP)?;
    refused(fd, DELLINK, 0, &info(1, 0, 0), EOPNOTSUPP)?;
    refused(fd, 2000, 0, &info(1, 0, 0), EOPNOTSUPP)?;
    // Without even a family it is nothing, and acknowledged as such.
    refused(fd, GETLINK, ACK, &[], 0)
}

fn an_interface_comes_up_and_goes_down() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    let running = (IFF_UP | IFF_RUNNING) as u32 | LOWER_UP;
    for _ in 0..2 {
        set_up(fd, true)?;
        let lo = loopback(fd)?;
        equal(flags_of(&lo) & running, running)?;
        equal(find(&lo.payload[16..], 16)?, [0])?;
        equal(text(&find(&lo.payload[16..], 6)?), "noqueue")?;
        // Again changes nothing.
        set_up(fd, true)?;
        equal(flags_of(&loopback(fd)?) & running, running)?;
        refused(fd, SETLINK, ACK, &info(1, 0, IFF_UP as u32), 0)?;
        let lo = loopback(fd)?;
        equal(flags_of(&lo) & running, 0)?;
        equal(find(&lo.payload[16..], 16)?, [2])?;
    }
    set_up(fd, was_up)
}

/// What comes until the message of this kind and with this family.
fn await_told(fd: i32, kind: u16, family: i32) -> Outcome<Message> {
    loop {
        for told in messages_of(&receive(fd)?.bytes)? {
            if told.kind == kind && told.payload.first() == Some(&(family as u8)) {
                return Ok(told);
            }
        }
    }
}

fn changes_of_interfaces_are_told() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    set_up(fd, true)?;
    set_up(fd, false)?;
    // Interfaces and their addresses.
    let (listener, _) = bound(NETLINK_ROUTE, 1 | 1 << 4 | 1 << 8)?;
    set_up(fd, true)?;
    let mut kinds = Vec::new();
    let mut link = None;
    while let Ok(got) = receive(listener) {
        for told in messages_of(&got.bytes)? {
            equal((told.flags, told.seq, told.port), (0, 0, 0))?;
            kinds.push((told.kind, i32::from(told.payload[0]), got.from));
            if told.kind == NEWLINK {
                link = Some(told);
            }
        }
    }
    let link = some(link, "the interface is told of")?;
    let up = (IFF_UP | IFF_RUNNING) as u32 | LOWER_UP;
    equal(flags_of(&link) & up, up)?;
    check(number_at(&link.payload, 12) & 1 != 0, "it has changed")?;
    check(
        kinds.contains(&(NEWLINK, 0, (0, 1))),
        "to the group of interfaces",
    )?;
    check(
        kinds.contains(&(NEWADDR, AF_INET6, (0, 1 << 8))),
        "an address comes",
    )?;
    set_up(fd, false)?;
    await_told(listener, DELADDR, AF_INET6)?;
    while receive(listener).is_ok() {}
    // Nothing of what changes nothing.
    set_up(fd, false)?;
    fails(receive(listener), libc::EAGAIN)?;
    set_up(fd, was_up)
}

fn addresses_are_dumped() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    set_up(fd, true)?;
    let of_lo = |family: i32| -> Outcome<Vec<Message>> {
        let payload = [family as u8, 0, 0, 0, 0, 0, 0, 0];
        let mut all = ask(fd, GETADDR, DUMP, &payload)?;
        all.retain(|answer| number_at(&answer.payload, 4) == 1);
        Ok(all)
    };
    let v4 = of_lo(AF_INET)?;
    equal(v4.len(), 1)?;
    equal((v4[0].kind, v4[0].flags), (NEWADDR, MULTI))?;
    // Family, prefix, permanent, of this host.
    equal(&v4[0].payload[..4], [AF_INET as u8, 8, 0x80, 254])?;
    let attributes = &v4[0].payload[8..];
    equal(find(attributes, 1)?, [127, 0, 0, 1])?;
    equal(find(attributes, 2)?, [127, 0, 0, 1])?;
    equal(text(&find(attributes, 3)?), "lo")?;
    equal(number_at(&find(attributes, 8)?, 0), 0x80)?;
    equal(&find(attributes, 6)?[..8], [0xff; 8])?;
    let v6 = of_lo(AF_INET6)?;
    equal(v6.len(), 1)?;
    equal(&v6[0].payload[..4], [AF_INET6 as u8, 128, 0x80, 254])?;
    let attributes = &v6[0].payload[8..];
    let mut own = [0; 16];
    own[15] = 1;
    equal(find(attributes, 1)?, own)?;
    equal(&find(attributes, 6)?[..8], [0xff; 8])?;
    equal(of_lo(0)?.len(), 2)?;
    set_up(fd, false)?;
    // The one stays, the other goes.
    equal((of_lo(AF_INET)?.len(), of_lo(AF_INET6)?.len()), (1, 0))?;
    set_up(fd, was_up)
}

/// A route's length; table, protocol, scope and type; to where.
type Route = (u8, Vec<u8>, Vec<u8>);

fn routes_are_dumped() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    set_up(fd, true)?;
    let mut question = vec![0; 12];
    question[0] = AF_INET as u8;
    let of_lo = || -> Outcome<Vec<Route>> {
        let mut routes = Vec::new();
        for route in ask(fd, GETROUTE, DUMP, &question)? {
            equal(route.kind, NEWROUTE)?;
            let (fixed, attributes) = (&route.payload, &route.payload[12..]);
            if number_at(&find(attributes, 4)?, 0) != 1 {
                continue;
            }
            equal(number_at(&find(attributes, 15)?, 0), u32::from(fixed[4]))?;
            equal(find(attributes, 7)?, [127, 0, 0, 1])?;
            routes.push((fixed[1], fixed[4..8].to_vec(), find(attributes, 1)?));
        }
        Ok(routes)
    };
    let mut routes = vec![
        (8, vec![255, 2, 254, 2], vec![127, 0, 0, 0]),
        (32, vec![255, 2, 254, 2], vec![127, 0, 0, 1]),
        (32, vec![255, 2, 253, 3], vec![127, 255, 255, 255]),
    ];
    equal(of_lo()?, routes.clone())?;
    ask(fd, GETNEIGH, DUMP, &question)?;
    set_up(fd, false)?;
    // What is local stays so.
    routes.pop();
    equal(of_lo()?, routes)?;
    set_up(fd, was_up)
}

fn the_way_to_an_address_is_told() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    set_up(fd, true)?;
    let question = |address: [u8; 4]| {
        let mut bytes = vec![0; 12];
        bytes[0] = AF_INET as u8;
        bytes[1] = 32;
        bytes.extend(attribute(1, &address));
        bytes
    };
    let way = ask_one(fd, GETROUTE, &question([127, 3, 4, 5]))?;
    equal((way.kind, way.flags), (NEWROUTE, 0))?;
    // To one address, a local one; the table is not told.
    equal(
        (way.payload[1], way.payload[4], way.payload[7]),
        (32, 254, 2),
    )?;
    let attributes = &way.payload[12..];
    equal(find(attributes, 1)?, [127, 3, 4, 5])?;
    equal(number_at(&find(attributes, 4)?, 0), 1)?;
    refused(fd, GETROUTE, 0, &question([198, 51, 100, 1]), ENETUNREACH)?;
    set_up(fd, was_up)
}

fn asking_needs_no_rights_and_changing_does() -> Outcome {
    within(|| {
        become_user()?;
        let fd = route()?;
        check_loopback(&loopback(fd)?)?;
        let up = info(1, IFF_UP as u32, IFF_UP as u32);
        refused(fd, NEWLINK, 0, &up, EPERM)?;
        refused(fd, SETLINK, 0, &up, EPERM)?;
        // Listening is for everybody.
        bind(fd, name(fd)?.0, 1)?;
        Ok(())
    })
}

fn c_libraries_find_interfaces() -> Outcome {
    let fd = route()?;
    let was_up = flags_of(&loopback(fd)?) & IFF_UP as u32 != 0;
    set_up(fd, true)?;
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the list is the library's, and lasts until it is given back.
    let families = unsafe {
        check(libc::getifaddrs(&mut list) == 0, "getifaddrs")?;
        let mut families = Vec::new();
        let mut at = list;
        while let Some(entry) = at.as_ref() {
            if CStr::from_ptr(entry.ifa_name) == c"lo" {
                let family = entry
                    .ifa_addr
                    .as_ref()
                    .map(|addr| i32::from(addr.sa_family));
                families.push(family);
            }
            at = entry.ifa_next;
        }
        libc::freeifaddrs(list);
        families
    };
    for family in [libc::AF_PACKET, AF_INET, AF_INET6] {
        check(
            families.contains(&Some(family)),
            "an address of each family",
        )?;
    }
    // SAFETY: as before; the list ends with an entry without index.
    unsafe {
        let names = libc::if_nameindex();
        let first = some(names.as_ref(), "if_nameindex")?;
        equal((first.if_index, CStr::from_ptr(first.if_name)), (1, c"lo"))?;
        libc::if_freenameindex(names);
    }
    set_up(fd, was_up)
}
