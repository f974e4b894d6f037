//! Sockets within the machine: streams, datagrams, sequenced packets, names, passed descriptors.

use libc::{
    AF_UNIX, EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EINVAL,
    EISCONN, EMSGSIZE, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPERM, EPIPE, EPROTONOSUPPORT, EPROTOTYPE,
    ESOCKTNOSUPPORT, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_TRUNC,
    MSG_WAITALL, SCM_RIGHTS, SO_PASSCRED, SO_PEERCRED, SO_RCVTIMEO, SO_TYPE, SOCK_DGRAM,
    SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET,
};

use crate::cases;
use crate::check::*;
use crate::harness::Case;
use crate::sys::*;

pub const CASES: &[Case] = cases![
    families_and_types_are_checked,
    fresh_sockets_tell_their_state,
    stream_pair_carries_bytes_both_ways,
    stream_reads_join_writes_and_packets_do_not,
    closing_the_peer_is_end_of_file_and_epipe,
    closing_with_unread_data_resets,
    datagrams_to_a_closed_peer_are_refused,
    shutdown_is_seen_by_both_sides,
    peeking_and_truncating,
    waitall_waits_for_all,
    receive_timeout_is_eagain,
    path_names_bind_listen_connect,
    backlog_holds_one_more_than_asked,
    unaccepted_connections_are_reset,
    abstract_names_are_by_type_and_end_with_the_socket,
    autobind_gives_an_abstract_name,
    connecting_is_checked,
    datagram_queue_is_eleven_deep,
    a_partner_keeps_others_out,
    descriptors_are_passed,
    passed_descriptors_bound_stream_reads,
    cut_control_messages_are_told,
    credentials_come_when_asked_for,
    forged_credentials_are_eperm,
    sockets_in_their_own_queue_are_collected,
    long_chains_of_queued_sockets_are_closed,
    not_a_socket_and_not_open,
];

type Socket = i32;

fn socket(kind: i32) -> Sys<Socket> {
    sys!(SYS_socket, AF_UNIX, kind, 0).map(|fd| fd as i32)
}

fn pair(kind: i32) -> Sys<(Socket, Socket)> {
    let mut fds = [0_i32; 2];
    sys!(SYS_socketpair, AF_UNIX, kind, 0, &mut fds)?;
    Ok((fds[0], fds[1]))
}

fn send(fd: Socket, bytes: &[u8], flags: i32) -> Sys {
    sys!(SYS_sendto, fd, bytes.as_ptr(), bytes.len(), flags, 0, 0)
}

fn recv(fd: Socket, len: usize, flags: i32) -> Sys<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = sys!(SYS_recvfrom, fd, bytes.as_mut_ptr(), len, flags, 0, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// An address: the family and the name's bytes.
fn address(name: &[u8]) -> Vec<u8> {
    let mut address = (AF_UNIX as u16).to_ne_bytes().to_vec();
    address.extend_from_slice(name);
    address
}

fn bind(fd: Socket, name: &[u8]) -> Sys {
    let address = address(name);
    sys!(SYS_bind, fd, address.as_ptr(), address.len())
}

fn connect(fd: Socket, name: &[u8]) -> Sys {
    let address = address(name);
    sys!(SYS_connect, fd, address.as_ptr(), address.len())
}

/// The name that `getsockname` or `getpeername` gives.
fn name_by(number: i64, fd: Socket) -> Sys<Vec<u8>> {
    let mut bytes = [0_u8; 128];
    let mut len = bytes.len() as u32;
    call(
        number,
        &[
            fd as usize,
            bytes.as_mut_ptr() as usize,
            &raw mut len as usize,
        ],
    )?;
    Ok(bytes.get(2..len as usize).unwrap_or_default().to_vec())
}

fn option<T: Copy>(fd: Socket, option: i32) -> Sys<T> {
    let mut value = zeroed::<T>();
    let mut len = size_of::<T>() as u32;
    sys!(SYS_getsockopt, fd, SOL_SOCKET, option, &mut value, &mut len)?;
    Ok(value)
}

fn set_option<T: Copy>(fd: Socket, option: i32, value: T) -> Sys {
    let mut value = value;
    sys!(
        SYS_setsockopt,
        fd,
        SOL_SOCKET,
        option,
        &mut value,
        size_of::<T>()
    )
}

/// The events that a poll for all of them finds.
fn events(fd: Socket) -> Sys<i16> {
    poll_one(fd, 0x3fff, 0)
}

/// Sends bytes with one control message.
fn send_control(fd: Socket, bytes: &[u8], kind: i32, data: &[u8]) -> Sys {
    let mut control = vec![0_usize; (16 + data.len()).div_ceil(8)];
    control[0] = 16 + data.len();
    control[1] = SOL_SOCKET as usize | (kind as usize) << 32;
    for (index, byte) in data.iter().enumerate() {
        control[2 + index / 8] |= usize::from(*byte) << (index % 8 * 8);
    }
    let mut iov = [bytes.as_ptr() as usize, bytes.len()];
    let mut header = [0_usize; 7];
    header[2] = iov.as_mut_ptr() as usize;
    header[3] = 1;
    header[4] = control.as_mut_ptr() as usize;
    header[5] = control.len() * 8;
    sys!(SYS_sendmsg, fd, &mut header, 0)
}

fn send_fds(fd: Socket, bytes: &[u8], fds: &[i32]) -> Sys {
    let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
    send_control(fd, bytes, SCM_RIGHTS, &data)
}

/// A received message.
struct Message {
    bytes: Vec<u8>,
    flags: i32,
    /// The control message's kind and data, if there is one.
    control: Option<(i32, Vec<i32>)>,
}

fn recv_message(fd: Socket, len: usize, room: usize, flags: i32) -> Sys<Message> {
    let mut bytes = vec![0_u8; len];
    let mut control = vec![0_usize; room.div_ceil(8).max(1)];
    let mut iov = [bytes.as_mut_ptr() as usize, len];
    let mut header = [0_usize; 7];
    header[2] = iov.as_mut_ptr() as usize;
    header[3] = 1;
    header[4] = control.as_mut_ptr() as usize;
    header[5] = room;
    let count = sys!(SYS_recvmsg, fd, &mut header, flags | MSG_DONTWAIT)?;
    bytes.truncate(count);
    let used = header[5];
    let words = |word: &usize| [*word as i32, (*word >> 32) as i32];
    let numbers: Vec<i32> = control.iter().flat_map(words).collect();
    let found = (used >= 16).then(|| {
        let end = (control[0] / 4).min(numbers.len());
        (numbers[3], numbers[4..end].to_vec())
    });
    Ok(Message {
        bytes,
        flags: header[6] as i32,
        control: found,
    })
}

fn families_and_types_are_checked() -> Outcome {
    fails(sys!(SYS_socket, 99, SOCK_STREAM, 0), EAFNOSUPPORT)?;
    fails(sys!(SYS_socket, AF_UNIX, 12, 0), EINVAL)?;
    fails(sys!(SYS_socket, AF_UNIX, 4, 0), ESOCKTNOSUPPORT)?;
    fails(sys!(SYS_socket, AF_UNIX, SOCK_STREAM, 2), EPROTONOSUPPORT)?;
    fails(sys!(SYS_socket, AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL)?;
    equal(
        option::<i32>(socket(SOCK_SEQPACKET)?, SO_TYPE)?,
        SOCK_SEQPACKET,
    )
}

fn fresh_sockets_tell_their_state() -> Outcome {
    let stream = socket(SOCK_STREAM)?;
    equal(events(stream)?, 0x314)?;
    equal(events(socket(SOCK_DGRAM)?)?, 0x304)?;
    fails(recv(stream, 1, 0), EINVAL)?;
    fails(send(stream, b"x", 0), ENOTCONN)?;
    fails(recv(socket(SOCK_SEQPACKET)?, 1, 0), ENOTCONN)?;
    fails(send(socket(SOCK_DGRAM)?, b"x", 0), ENOTCONN)?;
    fails(sys!(SYS_listen, stream, 1), EINVAL)?;
    fails(sys!(SYS_listen, socket(SOCK_DGRAM)?, 1), EOPNOTSUPP)?;
    fails(sys!(SYS_accept, stream, 0, 0), EINVAL)?;
    equal(fstat(stream)?.st_mode & libc::S_IFMT, libc::S_IFSOCK)
}

fn stream_pair_carries_bytes_both_ways() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    let pid = fork(|| {
        let mut sent = 0;
        while sent < 1_000_000 {
            let bytes: Vec<u8> = (sent..sent + 5000).map(|n| n as u8).collect();
            if write(a, &bytes) != Ok(5000) {
                return 1;
            }
            sent += 5000;
        }
        i32::from(read_some(a) != Ok(b"done".to_vec()))
    })?;
    let mut at = 0_usize;
    while at < 1_000_000 {
        for byte in read_some(b)? {
            equal(byte, at as u8)?;
            at += 1;
        }
    }
    equal(write(b, b"done")?, 4)?;
    equal(wait(pid)?, 0)
}

fn stream_reads_join_writes_and_packets_do_not() -> Outcome {
    for (kind, want) in [
        (SOCK_STREAM, &b"onetwo"[..]),
        (SOCK_DGRAM, b"one"),
        (SOCK_SEQPACKET, b"one"),
    ] {
        let (a, b) = pair(kind)?;
        write(a, b"one")?;
        write(a, b"two")?;
        equal(read_some(b)?, want)?;
    }
    let (a, b) = pair(SOCK_DGRAM)?;
    equal(send(a, b"", 0)?, 0)?;
    equal(recv(b, 9, MSG_DONTWAIT)?, b"")?;
    fails(send(a, &[0; 213_000], 0), EMSGSIZE)
}

fn closing_the_peer_is_end_of_file_and_epipe() -> Outcome {
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let (a, b) = pair(kind)?;
        write(b, b"last")?;
        close(b)?;
        equal(events(a)?, 0x2355)?;
        equal(read_some(a)?, b"last")?;
        equal(read_some(a)?, b"")?;
        fails(send(a, b"x", MSG_NOSIGNAL), EPIPE)?;
    }
    let (a, b) = pair(SOCK_STREAM)?;
    close(b)?;
    let death = death_of(|| {
        let _ = send(a, b"x", 0);
    })?;
    equal(death, libc::SIGPIPE)
}

fn closing_with_unread_data_resets() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    write(b, b"unread")?;
    close(a)?;
    equal(events(b)?, 0x235d)?;
    fails(recv(b, 1, 0), ECONNRESET)?;
    equal(recv(b, 1, 0)?, b"")
}

fn datagrams_to_a_closed_peer_are_refused() -> Outcome {
    let (a, b) = pair(SOCK_DGRAM)?;
    close(b)?;
    fails(send(a, b"x", 0), ECONNREFUSED)?;
    fails(send(a, b"x", 0), ENOTCONN)
}

fn shutdown_is_seen_by_both_sides() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    fails(sys!(SYS_shutdown, a, 9), EINVAL)?;
    sys!(SYS_shutdown, a, 1)?;
    equal((events(a)?, events(b)?), (0x304, 0x2345))?;
    fails(send(a, b"x", MSG_NOSIGNAL), EPIPE)?;
    equal(read_some(b)?, b"")?;
    write(b, b"still")?;
    equal(read_some(a)?, b"still")?;
    sys!(SYS_shutdown, b, 1)?;
    equal((events(a)?, events(b)?), (0x2355, 0x2355))
}

fn peeking_and_truncating() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    write(a, b"abc")?;
    equal(recv(b, 2, MSG_PEEK)?, b"ab")?;
    equal(recv(b, 9, 0)?, b"abc")?;
    let (a, b) = pair(SOCK_DGRAM)?;
    write(a, b"abc")?;
    let peeked = recv_message(b, 1, 0, MSG_PEEK)?;
    equal((peeked.bytes.len(), peeked.flags), (1, MSG_TRUNC))?;
    let mut byte = [0_u8; 1];
    equal(sys!(SYS_recvfrom, b, &mut byte, 1, MSG_TRUNC, 0, 0)?, 3)?;
    fails(recv(b, 1, MSG_DONTWAIT), EAGAIN)
}

fn waitall_waits_for_all() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    let pid = fork(|| {
        for part in [b"abc", b"def"] {
            nap();
            if write(a, part) != Ok(3) {
                return 1;
            }
        }
        0
    })?;
    equal(recv(b, 6, MSG_WAITALL)?, b"abcdef")?;
    equal(wait(pid)?, 0)
}

fn receive_timeout_is_eagain() -> Outcome {
    let (a, _b) = pair(SOCK_STREAM)?;
    set_option(a, SO_RCVTIMEO, [0_i64, 20_000])?;
    fails(recv(a, 1, 0), EAGAIN)
}

fn path_names_bind_listen_connect() -> Outcome {
    let server = socket(SOCK_STREAM)?;
    bind(server, b"name")?;
    equal(stat(c"name")?.st_mode & libc::S_IFMT, libc::S_IFSOCK)?;
    equal(name_by(libc::SYS_getsockname, server)?, b"name\0")?;
    fails(bind(socket(SOCK_STREAM)?, b"name"), EADDRINUSE)?;
    let client = socket(SOCK_STREAM)?;
    fails(connect(client, b"name"), ECONNREFUSED)?;
    sys!(SYS_listen, server, 1)?;
    connect(client, b"name")?;
    fails(connect(client, b"name"), EISCONN)?;
    equal(events(server)?, 0x41)?;
    equal(send(client, b"early", 0)?, 5)?;
    let accepted = sys!(SYS_accept4, server, 0, 0, 0)? as i32;
    equal(read_some(accepted)?, b"early")?;
    equal(name_by(libc::SYS_getpeername, client)?, b"name\0")?;
    equal(name_by(libc::SYS_getpeername, accepted)?, b"")?;
    equal(option::<[i32; 3]>(client, SO_PEERCRED)?[0], getpid())?;
    fails(connect(socket(SOCK_DGRAM)?, b"name"), EPROTOTYPE)?;
    sys!(SYS_unlinkat, libc::AT_FDCWD, c"name", 0)?;
    equal(send(client, b"on", 0)?, 2)
}

fn backlog_holds_one_more_than_asked() -> Outcome {
    let server = socket(SOCK_STREAM)?;
    bind(server, b"s")?;
    sys!(SYS_listen, server, 1)?;
    let kind = SOCK_STREAM | libc::SOCK_NONBLOCK;
    let clients = [socket(kind)?, socket(kind)?, socket(kind)?];
    connect(clients[0], b"s")?;
    connect(clients[1], b"s")?;
    fails(connect(clients[2], b"s"), EAGAIN)?;
    sys!(SYS_accept, server, 0, 0)?;
    connect(clients[2], b"s")?;
    Ok(())
}

fn unaccepted_connections_are_reset() -> Outcome {
    let server = socket(SOCK_STREAM)?;
    bind(server, b"s")?;
    sys!(SYS_listen, server, 1)?;
    let client = socket(SOCK_STREAM)?;
    connect(client, b"s")?;
    close(server)?;
    fails(recv(client, 1, 0), ECONNRESET)?;
    fails(connect(socket(SOCK_STREAM)?, b"s"), ECONNREFUSED)
}

fn abstract_names_are_by_type_and_end_with_the_socket() -> Outcome {
    let name = format!("\0abi-{}", getpid());
    let name = name.as_bytes();
    let first = socket(SOCK_STREAM)?;
    bind(first, name)?;
    fails(bind(first, b"\0other"), EINVAL)?;
    fails(bind(socket(SOCK_STREAM)?, name), EADDRINUSE)?;
    bind(socket(SOCK_DGRAM)?, name)?;
    fails(connect(socket(SOCK_SEQPACKET)?, name), ECONNREFUSED)?;
    close(first)?;
    bind(socket(SOCK_STREAM)?, name)?;
    Ok(())
}

fn autobind_gives_an_abstract_name() -> Outcome {
    let fd = socket(SOCK_DGRAM)?;
    bind(fd, b"")?;
    let name = name_by(libc::SYS_getsockname, fd)?;
    let is_hex = |byte: &u8| byte.is_ascii_hexdigit();
    check(
        name.len() == 6 && name[0] == 0 && name[1..].iter().all(is_hex),
        "five digits",
    )
}

fn connecting_is_checked() -> Outcome {
    let fd = socket(SOCK_STREAM)?;
    fails(connect(fd, b""), EINVAL)?;
    fails(connect(fd, &[b'x'; 109]), EINVAL)?;
    fails(connect(fd, b"missing"), libc::ENOENT)?;
    close(file_with(c"file", b"")?)?;
    fails(connect(fd, b"file"), ECONNREFUSED)?;
    let server = socket(SOCK_STREAM)?;
    bind(server, b"s")?;
    sys!(SYS_listen, server, 1)?;
    sys!(SYS_fchmodat, libc::AT_FDCWD, c"s", 0o400)?;
    become_user()?;
    fails(connect(fd, b"s"), EACCES)
}

fn datagram_queue_is_eleven_deep() -> Outcome {
    let receiver = socket(SOCK_DGRAM)?;
    bind(receiver, b"d")?;
    let sender = socket(SOCK_DGRAM)?;
    connect(sender, b"d")?;
    for _ in 0..11 {
        send(sender, b"x", MSG_DONTWAIT)?;
    }
    fails(send(sender, b"x", MSG_DONTWAIT), EAGAIN)?;
    equal(events(sender)?, 0)?;
    recv(receiver, 1, 0)?;
    equal(events(sender)?, 0x304)
}

fn a_partner_keeps_others_out() -> Outcome {
    let (first, second) = (socket(SOCK_DGRAM)?, socket(SOCK_DGRAM)?);
    bind(first, b"first")?;
    bind(second, b"second")?;
    let other = socket(SOCK_DGRAM)?;
    connect(other, b"first")?;
    connect(first, b"second")?;
    fails(send(other, b"x", MSG_DONTWAIT), EPERM)?;
    let unspecified = [0_u8; 2];
    sys!(SYS_connect, other, &unspecified, 2)?;
    fails(send(other, b"x", 0), ENOTCONN)
}

fn descriptors_are_passed() -> Outcome {
    for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
        let (a, b) = pair(kind)?;
        let (reader, writer) = pipe()?;
        send_fds(a, b"x", &[writer])?;
        close(writer)?;
        let message = recv_message(b, 9, 64, MSG_CMSG_CLOEXEC)?;
        let (_, fds) = some(message.control, "a control message")?;
        equal(fds.len(), 1)?;
        equal(sys!(SYS_fcntl, fds[0], libc::F_GETFD)?, 1)?;
        write(fds[0], b"through")?;
        equal(read_some(reader)?, b"through")?;
        close(fds[0])?;
        equal(read_some(reader)?, b"")?;
    }
    let (a, _b) = pair(SOCK_STREAM)?;
    fails(send_fds(a, b"x", &[999]), EBADF)?;
    fails(send_fds(a, b"x", &[a; 254]), EINVAL)?;
    equal(send_fds(a, b"x", &[a; 253])?, 1)
}

fn passed_descriptors_bound_stream_reads() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    write(a, b"before")?;
    send_fds(a, b"with", &[a])?;
    write(a, b"after")?;
    let message = recv_message(b, 99, 64, 0)?;
    equal(message.bytes, b"beforewith")?;
    check(
        message.control.is_some(),
        "descriptors come with their bytes",
    )?;
    equal(recv_message(b, 99, 64, 0)?.bytes, b"after")
}

fn cut_control_messages_are_told() -> Outcome {
    let (a, b) = pair(SOCK_STREAM)?;
    send_fds(a, b"x", &[a, a])?;
    let message = recv_message(b, 9, 20, 0)?;
    equal(message.flags, MSG_CTRUNC)?;
    equal(some(message.control, "what fits")?.1.len(), 1)?;
    send_fds(a, b"x", &[a])?;
    let message = recv_message(b, 9, 0, 0)?;
    equal(
        (message.flags, message.control.is_none()),
        (MSG_CTRUNC, true),
    )
}

fn credentials_come_when_asked_for() -> Outcome {
    for kind in [SOCK_STREAM, SOCK_DGRAM] {
        let (a, b) = pair(kind)?;
        write(a, b"before")?;
        set_option(b, SO_PASSCRED, 1_i32)?;
        write(a, b"after")?;
        let first = recv_message(b, 99, 64, 0)?;
        equal(first.bytes, b"before")?;
        equal(some(first.control, "credentials")?.1, [0, 65534, 65534])?;
        let second = recv_message(b, 99, 64, 0)?;
        equal(some(second.control, "credentials")?.1, [getpid(), 0, 0])?;
    }
    Ok(())
}

fn forged_credentials_are_eperm() -> Outcome {
    let (a, _b) = pair(SOCK_STREAM)?;
    let forge = |pid: i32, uid: i32| {
        let fields = [pid, uid, 0];
        let data: Vec<u8> = fields
            .iter()
            .flat_map(|field| field.to_ne_bytes())
            .collect();
        send_control(a, b"x", libc::SCM_CREDENTIALS, &data)
    };
    equal(forge(getpid(), 12)?, 1)?;
    fails(
        send_control(a, b"x", libc::SCM_CREDENTIALS, &[0; 8]),
        EINVAL,
    )?;
    become_user()?;
    fails(forge(getpid(), 12), EPERM)?;
    fails(forge(1, 0), EPERM)
}

fn sockets_in_their_own_queue_are_collected() -> Outcome {
    let (reader, writer) = pipe()?;
    let (a, b) = pair(SOCK_STREAM)?;
    send_fds(a, b"x", &[a, b])?;
    send_fds(a, b"x", &[writer])?;
    for fd in [writer, a, b] {
        close(fd)?;
    }
    // The next sockets to be closed make the kernel look.
    for _ in 0..8 {
        let (a, b) = pair(SOCK_STREAM)?;
        close(a)?;
        close(b)?;
    }
    equal(read_some(reader)?, b"")
}

fn long_chains_of_queued_sockets_are_closed() -> Outcome {
    let (reader, writer) = pipe()?;
    let (tail, mut last) = pair(SOCK_DGRAM)?;
    send_fds(tail, b"x", &[writer])?;
    close(writer)?;
    close(tail)?;
    for _ in 0..500 {
        let (a, b) = pair(SOCK_DGRAM)?;
        send_fds(a, b"x", &[last])?;
        close(last)?;
        close(a)?;
        last = b;
    }
    close(last)?;
    equal(read_some(reader)?, b"")
}

fn not_a_socket_and_not_open() -> Outcome {
    let (reader, _writer) = pipe()?;
    fails(send(reader, b"x", 0), ENOTSOCK)?;
    fails(sys!(SYS_accept, reader, 0, 0), ENOTSOCK)?;
    fails(send(999, b"x", 0), EBADF)
}
