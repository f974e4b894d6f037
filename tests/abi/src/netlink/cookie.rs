//! `mq_notify` with `SIGEV_THREAD`: the cookie that comes back through a netlink socket.

use libc::{EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, ENOTSOCK, NETLINK_USERSOCK, POLLIN};

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_message_brings_the_cookie,
    the_end_of_a_registration_brings_the_cookie,
    cookies_need_a_netlink_socket,
];

/// `struct sigevent`.
#[repr(C)]
struct Event {
    value: usize,
    signo: i32,
    notify: i32,
    rest: [u64; 6],
}

#[repr(C)]
struct Attr {
    numbers: [i64; 8],
}

fn event(cookie: &[u8; 32], socket: i32) -> Event {
    Event {
        value: cookie.as_ptr() as usize,
        signo: socket,
        notify: libc::SIGEV_THREAD,
        rest: [0; 6],
    }
}

/// A queue without a name.
fn queue() -> Outcome<i32> {
    let name = c_string(&format!("abi-netlink-{}", getpid()));
    let attr = Attr {
        numbers: [0, 4, 8, 0, 0, 0, 0, 0],
    };
    let flags = libc::O_CREAT | libc::O_RDWR;
    let fd = sys!(SYS_mq_open, name.as_c_str(), flags, 0o600, &attr)? as i32;
    sys!(SYS_mq_unlink, name.as_c_str())?;
    Ok(fd)
}

const COOKIE: [u8; 32] = *b"a cookie of thirty-two bytes....";

/// The cookie as it comes back.
fn returned(why: u8) -> Vec<u8> {
    let mut cookie = COOKIE.to_vec();
    cookie[31] = why;
    cookie
}

fn a_message_brings_the_cookie() -> Outcome {
    let queue = queue()?;
    // As the C library does: of the first protocol, and not bound.
    for protocol in [NETLINK_USERSOCK, libc::NETLINK_ROUTE] {
        let socket = netlink(protocol)?;
        sys!(SYS_mq_notify, queue, &event(&COOKIE, socket))?;
        let mut status = [0; 200];
        sys!(SYS_pread64, queue, &mut status, 200, 0)?;
        let text = String::from_utf8_lossy(&status);
        check(text.contains("NOTIFY:2     SIGNO:0 "), &text)?;
        fails(receive(socket), EAGAIN)?;
        sys!(SYS_mq_timedsend, queue, b"x", 1, 0, 0)?;
        equal(ready(socket, POLLIN)?, POLLIN)?;
        let got = receive(socket)?;
        equal((got.bytes, got.from), (returned(1), (0, 0)))?;
        // Once.
        sys!(SYS_mq_timedreceive, queue, &mut [0_u8; 8], 8, 0, 0)?;
        sys!(SYS_mq_timedsend, queue, b"x", 1, 0, 0)?;
        fails(receive(socket), EAGAIN)?;
        sys!(SYS_mq_timedreceive, queue, &mut [0_u8; 8], 8, 0, 0)?;
    }
    Ok(())
}

fn the_end_of_a_registration_brings_the_cookie() -> Outcome {
    let queue = queue()?;
    let socket = netlink(NETLINK_USERSOCK)?;
    sys!(SYS_mq_notify, queue, &event(&COOKIE, socket))?;
    fails(sys!(SYS_mq_notify, queue, &event(&COOKIE, socket)), EBUSY)?;
    sys!(SYS_mq_notify, queue, 0)?;
    equal(receive(socket)?.bytes, returned(2))?;
    fails(receive(socket), EAGAIN)?;
    sys!(SYS_mq_notify, queue, &event(&COOKIE, socket))?;
    close(queue)?;
    equal(receive(socket)?.bytes, returned(2))
}

fn cookies_need_a_netlink_socket() -> Outcome {
    let queue = queue()?;
    let notify = |event: Event| sys!(SYS_mq_notify, queue, &event);
    let socket = netlink(NETLINK_USERSOCK)?;
    let other = sys!(SYS_socket, libc::AF_UNIX, libc::SOCK_DGRAM, 0)? as i32;
    fails(notify(event(&COOKIE, 99)), EBADF)?;
    fails(notify(event(&COOKIE, queue)), ENOTSOCK)?;
    fails(notify(event(&COOKIE, other)), EINVAL)?;
    let bad = Event {
        value: 8,
        ..event(&COOKIE, socket)
    };
    fails(notify(bad), EFAULT)?;
    // It may be closed meanwhile.
    notify(event(&COOKIE, socket))?;
    close(socket)?;
    sys!(SYS_mq_timedsend, queue, b"x", 1, 0, 0)?;
    Ok(())
}
