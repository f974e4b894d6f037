//! `/proc/net/packet`: the packet sockets.

use abi::Result;

use super::text::Text;
use crate::net::packet;

/// Addresses in the kernel are not shown: the first column is 0, as for those without rights on Linux.
pub fn sockets(out: &mut Text) -> Result<()> {
    out.bytes(b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")?;
    for row in packet::rows() {
        write!(out, "{:016x} {:<6} {:<4} ", 0, row.references, row.kind)?;
        write!(out, "{:04x}   {:<5} ", row.protocol, row.ifindex)?;
        let running = i32::from(row.is_running);
        write!(out, "{running} {:<6} {:<6} ", row.charge, row.uid)?;
        writeln!(out, "{:<6}", row.ino)?;
    }
    Ok(())
}
