//! Sockets.
//!
//! | module | what |
//! |---|---|
//! | this | making sockets and their files |
//! | [`inet`] | sockets of the internet families |
//! | [`interface`] | the interfaces there are, and their addresses |
//! | [`message`] | what one send or receive passes between the calls and a socket |
//! | [`netlink`] | messages to and from the kernel |
//! | [`options`] | the options of `SOL_SOCKET` that every socket has |
//! | [`packet`] | packets as an interface has them |
//! | [`scm`] | control messages: descriptors and credentials |
//! | [`socket`] | what the calls need of a socket, whatever its family |
//! | [`unix`] | sockets within the machine |
//!
//! Every family that is not here answers EAFNOSUPPORT, as a Linux built without it.
//!
//! # Lock order
//! ```text
//! unix::gc::IN_FLIGHT (sleeping)
//!   unix::name::ABSTRACT (sleeping)
//!   UnixSocket::naming (sleeping)
//!     End::stream (sleeping; held across user memory)
//!       spin locks: End::packets, End::backlog, UnixSocket::partner
//! ```
//! Descriptors in flight are dropped with none of these held: the last reference to a socket takes them all.
//!
//! References: socket(7), unix(7), cmsg(3), recvmsg(2), sendmsg(2); the behaviour of Linux 6.18.

pub mod inet;
pub mod interface;
pub mod message;
pub mod netlink;
pub mod options;
pub mod packet;
pub mod scm;
pub mod socket;
pub mod unix;

use alloc::sync::Arc;

use abi::fs::{DevNum, MountFlags, OpenFlags};
use abi::socket::{
    AF_INET, AF_INET6, AF_MAX, AF_NETLINK, AF_PACKET, AF_UNIX, SOCK_DGRAM, SOCK_MAX, SOCK_RAW,
    SOCK_SEQPACKET, SOCK_STREAM, SOCKFS_MAGIC,
};
use abi::{Errno, Result};
use spin::Once;

use crate::fs::anon::internal_mount;
use crate::fs::superblock::{NewSuperBlock, SuperBlock, SuperOps};
use crate::fs::{
    Dentry, File, FileKind, FileMode, FileOpsRef, Inode, InodeFlags, InodeOps, Mount, NewInode,
    Path,
};
use crate::task;
use inet::address::Family;
use socket::Socket;
use unix::{Kind, UnixSocket};

/// Where random numbers come from: the network knows no devices.
static RANDOM: Once<fn(&mut [u8])> = Once::new();

/// Says where random numbers come from.
pub fn set_random(fill: fn(&mut [u8])) {
    RANDOM.call_once(|| fill);
}

/// Fills the bytes with random ones, once there are such.
fn random(out: &mut [u8]) {
    if let Some(fill) = RANDOM.get() {
        fill(out);
    }
}

struct SockFs;
impl SuperOps for SockFs {}
struct SockInode;
impl InodeOps for SockInode {}

fn sock_mount() -> &'static Arc<Mount> {
    static MOUNT: Once<Arc<Mount>> = Once::new();
    MOUNT.call_once(|| {
        let sb = SuperBlock::new(
            NewSuperBlock {
                fs_name: "sockfs",
                magic: SOCKFS_MAGIC,
                block_size: 4096,
                max_bytes: i64::MAX as u64,
                flags: MountFlags::empty(),
                dev: None,
                permanent: true,
            },
            SockFs,
        );
        internal_mount(&sb)
    })
}

/// The family, if there can be such and such a type.
fn check_family(family: i32, kind: u32) -> Result<u16> {
    if !(0..AF_MAX).contains(&family) {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind >= SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(family as u16)
}

/// A new socket of that family, type and protocol, in the order of Linux's errors.
///
/// # Errors
/// `EAFNOSUPPORT`, `EINVAL` for a number that is no type, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, and the family's.
pub fn create(family: i32, kind: u32, protocol: i32) -> Result<Arc<dyn Socket>> {
    match check_family(family, kind)? {
        AF_UNIX => Ok(UnixSocket::new(unix_kind(kind, protocol)?)),
        AF_INET => inet::create(Family::V4, kind, protocol),
        AF_INET6 => inet::create(Family::V6, kind, protocol),
        AF_NETLINK => netlink::create(kind, protocol),
        AF_PACKET => packet::create(kind, protocol),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// What `socketpair` makes: only local sockets come in pairs.
///
/// # Errors
/// As [`create`]; `EOPNOTSUPP` for a family without pairs.
pub fn pair_kind(family: i32, kind: u32, protocol: i32) -> Result<Kind> {
    match check_family(family, kind)? {
        AF_UNIX => unix_kind(kind, protocol),
        _ => create(family, kind, protocol).and(Err(Errno::EOPNOTSUPP)),
    }
}

fn unix_kind(kind: u32, protocol: i32) -> Result<Kind> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM => Ok(Kind::Stream),
        SOCK_DGRAM | SOCK_RAW => Ok(Kind::Dgram),
        SOCK_SEQPACKET => Ok(Kind::Seqpacket),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

/// The open file of a socket.
pub fn file_of(socket: Arc<dyn Socket>, flags: OpenFlags) -> Arc<File> {
    let mount = sock_mount();
    let task = task::current();
    let cred = task.my_cred();
    let new = NewInode {
        kind: FileKind::Socket,
        mode: 0o777,
        uid: cred.fsuid,
        gid: cred.fsgid,
        rdev: DevNum(0),
    };
    let ops: &'static dyn InodeOps = &SockInode;
    let sb = &mount.sb;
    let ino = sb.next_ino();
    socket.set_ino(ino);
    let inode = Inode::new(sb, ino, &new, ops, InodeFlags::empty());
    let path = Path {
        mount: mount.clone(),
        dentry: Dentry::new_root(inode, b""),
    };
    File::new(
        path,
        FileOpsRef::Shared(socket),
        OpenFlags::RDWR | (flags & OpenFlags::NONBLOCK),
        FileMode::READ | FileMode::WRITE | FileMode::NO_NOTIFY,
        cred.clone(),
    )
}

/// The socket behind a file.
///
/// # Errors
/// `ENOTSOCK`.
pub fn socket_of(file: &File) -> Result<&dyn Socket> {
    file.ops().as_socket().ok_or(Errno::ENOTSOCK)
}
