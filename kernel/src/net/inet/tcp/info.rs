//! `TCP_INFO`: what of it is known here; the rest is 0.

use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::connection::Connection;
use super::end::{End, state};
use super::socket::{Role, TcpSocket};

/// `TCPI_OPT_SACK`, `TCPI_OPT_WSCALE`.
const OPTIONS: u8 = 2 | 4;
/// Bytes of the headers of IPv4 and TCP in the largest packet.
const HEADERS: u32 = 40;
const LARGEST: u32 = 65535;

/// The beginning of `struct tcp_info`, as long as programs of any age know it.
#[derive(Clone, Copy, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct TcpInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    scales: u8,
    flags: u8,
    rto_us: u32,
    ato_us: u32,
    send_mss: u32,
    receive_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    path_mtu: u32,
    receive_ssthresh: u32,
    rtt_us: u32,
    rttvar_us: u32,
    send_ssthresh: u32,
    send_cwnd: u32,
    advertised_mss: u32,
    reordering: u32,
    receive_rtt: u32,
    receive_space: u32,
    total_retrans: u32,
}

const _: () = assert!(size_of::<TcpInfo>() == 104);

/// What the socket tells of itself.
pub fn of(socket: &TcpSocket) -> TcpInfo {
    let mut info = TcpInfo::new_zeroed();
    let end: &End = &socket.end;
    info.state = end.state();
    match socket.role() {
        Role::Connection(connection) => of_connection(&mut info, &connection),
        Role::Listener(listener) => {
            // A listener tells how many wait and how many may.
            info.unacked = u32::try_from(end.readable()).unwrap_or(u32::MAX);
            info.sacked = listener.backlog();
        }
        Role::Idle => {}
    }
    info
}

fn of_connection(info: &mut TcpInfo, connection: &Connection) {
    if info.state == state::CLOSE {
        return;
    }
    info.options = OPTIONS;
    info.path_mtu = LARGEST;
    info.advertised_mss = LARGEST - HEADERS;
    info.send_mss = LARGEST - HEADERS;
    info.receive_mss = LARGEST - HEADERS;
    let waiting = connection
        .end
        .unacknowledged
        .load(core::sync::atomic::Ordering::SeqCst);
    info.unacked = u32::try_from(waiting)
        .unwrap_or(u32::MAX)
        .div_ceil(LARGEST - HEADERS);
}
