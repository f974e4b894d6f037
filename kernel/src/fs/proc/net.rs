//! `/proc/net`: the sockets of each family. There is one network namespace, so it is a directory and not a link.

use super::netlink;
use super::node::Node;

pub static NODES: &[Node] = &[Node::File("netlink", 0o444, netlink::sockets)];
