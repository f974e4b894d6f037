//! `/proc/net/netlink`: the netlink sockets.

use abi::Result;

use super::text::Text;
use crate::net::netlink;

/// Addresses in the kernel are not shown: the first column is 0, as for those without rights on Linux. What is sent
/// does not wait in its sender, so that no memory counts for it.
pub fn sockets(out: &mut Text) -> Result<()> {
    out.bytes(
        b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    )?;
    for row in netlink::rows() {
        write!(out, "{:016x} {:<3} {:<10} ", 0, row.protocol, row.port)?;
        write!(out, "{:08x} {:<8} {:<8} ", row.groups, row.charge, 0)?;
        let dumping = i32::from(row.is_dumping);
        write!(out, "{dumping:<5} {:<8} ", row.references)?;
        writeln!(out, "{:<8} {:<8}", row.drops, row.ino)?;
    }
    Ok(())
}
