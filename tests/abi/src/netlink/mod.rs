//! Netlink: sockets, and what the kernel says through each protocol.
//!
//! | module | what |
//! |---|---|
//! | this | addresses, messages and attributes |
//! | [`connector`] | the events of processes |
//! | [`cookie`] | what `mq_notify` sends |
//! | [`generic`] | families found by name, the figures of tasks |
//! | [`route`] | interfaces, addresses, routes |
//! | [`socket`] | the family: ports, groups, options, limits |
//! | [`uevent`] | the events of devices |

pub mod connector;
pub mod cookie;
pub mod generic;
pub mod route;
pub mod socket;
pub mod uevent;

use libc::AF_NETLINK;

use crate::check::*;
use crate::sys::*;

/// An address: a port and a mask of groups.
type Address = (u32, u32);

fn netlink(protocol: i32) -> Sys<i32> {
    sys!(SYS_socket, AF_NETLINK, libc::SOCK_RAW, protocol).map(|fd| fd as i32)
}

fn sockaddr((port, groups): Address) -> libc::sockaddr_nl {
    let mut address: libc::sockaddr_nl = zeroed();
    address.nl_family = AF_NETLINK as u16;
    address.nl_pid = port;
    address.nl_groups = groups;
    address
}

fn bind(fd: i32, port: u32, groups: u32) -> Sys {
    sys!(SYS_bind, fd, &sockaddr((port, groups)), 12)
}

fn name(fd: i32) -> Outcome<Address> {
    let mut address: libc::sockaddr_nl = zeroed();
    let mut len = 12_i32;
    sys!(SYS_getsockname, fd, &mut address, &mut len)?;
    equal((address.nl_family, len), (AF_NETLINK as u16, 12))?;
    Ok((address.nl_pid, address.nl_groups))
}

/// A socket that is bound, and its port.
fn bound(protocol: i32, groups: u32) -> Outcome<(i32, u32)> {
    let fd = netlink(protocol)?;
    bind(fd, 0, groups)?;
    Ok((fd, name(fd)?.0))
}

fn send_to(fd: i32, bytes: &[u8], to: Address) -> Sys {
    let to = sockaddr(to);
    sys!(
        SYS_sendto,
        fd,
        bytes.as_ptr(),
        bytes.len(),
        libc::MSG_DONTWAIT,
        &to,
        12
    )
}

fn send(fd: i32, bytes: &[u8]) -> Sys {
    sys!(
        SYS_sendto,
        fd,
        bytes.as_ptr(),
        bytes.len(),
        libc::MSG_DONTWAIT,
        0,
        0
    )
}

/// What one `recvmsg` gives.
#[derive(Debug)]
struct Received {
    bytes: Vec<u8>,
    /// What the call answered.
    count: usize,
    flags: i32,
    from: Address,
    control: Vec<(i32, i32, Vec<u8>)>,
}

/// `struct msghdr`, whose types are not the same in all C libraries.
#[repr(C)]
struct Header {
    name: usize,
    namelen: u32,
    iov: usize,
    iovlen: usize,
    control: usize,
    controllen: usize,
    flags: i32,
}

fn receive_with(fd: i32, room: usize, flags: i32) -> Sys<Received> {
    let mut bytes = vec![0_u8; room];
    let mut control = [0_u64; 32];
    let mut address: libc::sockaddr_nl = zeroed();
    let mut iov = [bytes.as_mut_ptr() as usize, room];
    let mut header = Header {
        name: std::ptr::from_mut(&mut address) as usize,
        namelen: 12,
        iov: std::ptr::from_mut(&mut iov) as usize,
        iovlen: 1,
        control: control.as_mut_ptr() as usize,
        controllen: size_of_val(&control),
        flags: 0,
    };
    let count = sys!(SYS_recvmsg, fd, &mut header, flags)?;
    bytes.truncate(count.min(room));
    let used = header.controllen;
    let control: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(Received {
        bytes,
        count,
        flags: header.flags,
        from: (address.nl_pid, address.nl_groups),
        control: control_messages(control.get(..used).unwrap_or_default()),
    })
}

fn control_messages(mut bytes: &[u8]) -> Vec<(i32, i32, Vec<u8>)> {
    let mut messages = Vec::new();
    while bytes.len() >= 16 {
        let len = number_at(bytes, 0) as usize;
        let (level, kind) = (number_at(bytes, 8) as i32, number_at(bytes, 12) as i32);
        let Some(data) = bytes.get(16..len) else {
            break;
        };
        messages.push((level, kind, data.to_vec()));
        bytes = bytes.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    messages
}

/// What is there now.
fn receive(fd: i32) -> Sys<Received> {
    receive_with(fd, 65536, libc::MSG_DONTWAIT)
}

/// The 32-bit number at an offset; 0 beyond the end.
fn number_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    if let Some(found) = bytes.get(at..at + 4) {
        number.copy_from_slice(found);
    }
    u32::from_ne_bytes(number)
}

fn half_at(bytes: &[u8], at: usize) -> u16 {
    let mut number = [0; 2];
    if let Some(found) = bytes.get(at..at + 2) {
        number.copy_from_slice(found);
    }
    u16::from_ne_bytes(number)
}

// Messages and attributes.

const REQUEST: u16 = 1;
const MULTI: u16 = 2;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message as it is sent.
fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&seq.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute as it is sent.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message as it is received.
#[derive(Clone, Debug)]
struct Message {
    kind: u16,
    flags: u16,
    seq: u32,
    port: u32,
    payload: Vec<u8>,
}

impl Message {
    /// The error's number that an acknowledgement bears.
    fn error(&self) -> i32 {
        -(number_at(&self.payload, 0) as i32)
    }
}

fn messages_of(mut bytes: &[u8]) -> Outcome<Vec<Message>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let len = number_at(bytes, 0) as usize;
        let payload = some(bytes.get(16..len), "a message has its length")?;
        messages.push(Message {
            kind: half_at(bytes, 4),
            flags: half_at(bytes, 6),
            seq: number_at(bytes, 8),
            port: number_at(bytes, 12),
            payload: payload.to_vec(),
        });
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

/// The attributes of a payload, or of another attribute.
fn attributes_of(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut attributes = Vec::new();
    while bytes.len() >= 4 {
        let len = usize::from(half_at(bytes, 0));
        let Some(value) = bytes.get(4..len) else {
            break;
        };
        attributes.push((half_at(bytes, 2) & 0x3fff, value.to_vec()));
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    attributes
}

/// The value of an attribute.
fn find(bytes: &[u8], kind: u16) -> Outcome<Vec<u8>> {
    let found = attributes_of(bytes).into_iter().find(|(k, _)| *k == kind);
    Ok(some(found, &format!("attribute {kind}"))?.1)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_end_matches('\0')
        .to_owned()
}

/// What the kernel answers to one request: of a dump all parts, without its end.
fn ask(fd: i32, kind: u16, flags: u16, payload: &[u8]) -> Outcome<Vec<Message>> {
    const SEQ: u32 = 0x1234;
    send_to(fd, &message(kind, flags | REQUEST, SEQ, payload), (0, 0))?;
    let mut answers = Vec::new();
    loop {
        let got = receive(fd)?;
        equal(got.from.0, 0)?;
        for message in messages_of(&got.bytes)? {
            equal((message.seq, message.port), (SEQ, name(fd)?.0))?;
            if message.kind == DONE {
                equal(message.flags & MULTI, MULTI)?;
                return Ok(answers);
            }
            let is_last = message.flags & MULTI == 0;
            answers.push(message);
            if is_last {
                return Ok(answers);
            }
        }
    }
}

/// The one answer to a request, which is not an error.
fn ask_one(fd: i32, kind: u16, payload: &[u8]) -> Outcome<Message> {
    let mut answers = ask(fd, kind, 0, payload)?;
    let answer = some(answers.pop(), "an answer")?;
    if answer.kind == ERROR {
        return fail(&format!("the kernel refuses: {:?}", Errno(answer.error())));
    }
    equal(answers.len(), 0)?;
    Ok(answer)
}

/// The request is refused.
#[track_caller]
fn refused(fd: i32, kind: u16, flags: u16, payload: &[u8], error: i32) -> Outcome {
    let answers = ask(fd, kind, flags, payload)?;
    let first = some(answers.first(), "an answer")?;
    equal((first.kind, Errno(first.error())), (ERROR, Errno(error)))
}

fn option(fd: i32, level: i32, option: i32) -> Sys<i32> {
    let (mut value, mut len) = (0_i32, 4_i32);
    sys!(SYS_getsockopt, fd, level, option, &mut value, &mut len)?;
    Ok(value)
}

fn set_option(fd: i32, level: i32, option: i32, value: i32) -> Sys {
    sys!(SYS_setsockopt, fd, level, option, &value, 4)
}
