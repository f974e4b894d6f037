//! `/proc/net`: the sockets of each family. There is one network namespace, so it is a directory and not a link.

use super::node::Node;
use super::{inet, netlink, packet};

pub static NODES: &[Node] = &[
    Node::File("dev", 0o444, inet::dev),
    Node::File("if_inet6", 0o444, inet::if_inet6),
    Node::File("netlink", 0o444, netlink::sockets),
    Node::File("packet", 0o444, packet::sockets),
    Node::File("raw", 0o444, |out| inet::raw(false, out)),
    Node::File("raw6", 0o444, |out| inet::raw(true, out)),
    Node::File("tcp", 0o444, |out| inet::tcp(false, out)),
    Node::File("tcp6", 0o444, |out| inet::tcp(true, out)),
    Node::File("udp", 0o444, |out| inet::udp(false, out)),
    Node::File("udp6", 0o444, |out| inet::udp(true, out)),
];
