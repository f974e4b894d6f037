//! `/proc/net`: the sockets of each family. There is one network namespace, so it is a directory and not a link.

use abi::Result;

use super::inet;
use super::node::Node;
use super::text::Text;
use crate::net::netlink;

pub static NODES: &[Node] = &[
    Node::File("dev", 0o444, inet::dev),
    Node::File("if_inet6", 0o444, inet::if_inet6),
    Node::File("netlink", 0o444, netlink_sockets),
    Node::File("raw", 0o444, |out| inet::raw(false, out)),
    Node::File("raw6", 0o444, |out| inet::raw(true, out)),
    Node::File("tcp", 0o444, |out| inet::tcp(false, out)),
    Node::File("tcp6", 0o444, |out| inet::tcp(true, out)),
    Node::File("udp", 0o444, |out| inet::udp(false, out)),
    Node::File("udp6", 0o444, |out| inet::udp(true, out)),
];

/// Addresses in the kernel are not shown: the first column is 0, as for those without rights on Linux. What is sent
/// does not wait in its sender, so that no memory counts for it.
fn netlink_sockets(out: &mut Text) -> Result<()> {
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
