//! `/proc/sys`: what of the kernel can be set, and constants that programs ask for here.

use abi::{Errno, Result};

use super::node::Node;
use super::sysvipc;
use super::text::{Text, number};
use crate::device::random;
use crate::mm::promise;
use crate::system::{self, NAME_LEN};
use crate::task::pid;
use crate::{fs, log, mm, net, tty};

pub static NODES: &[Node] = &[
    Node::Dir("fs", FS),
    Node::Dir("kernel", KERNEL),
    Node::Dir("net", NET),
    Node::Dir("vm", VM),
];

static FS: &[Node] = &[
    Node::Writable(
        "aio-max-nr",
        0o644,
        |out| writeln!(out, "{}", fs::aio::totals().1),
        |bytes| {
            fs::aio::set_max_total(number(bytes)?);
            Ok(())
        },
    ),
    Node::File("aio-nr", 0o444, |out| {
        writeln!(out, "{}", fs::aio::totals().0)
    }),
    Node::Writable(
        "dir-notify-enable",
        0o644,
        |out| writeln!(out, "{}", i32::from(fs::dnotify::enabled())),
        |bytes| {
            fs::dnotify::enable(number::<i32>(bytes)? != 0);
            Ok(())
        },
    ),
    Node::Dir("inotify", INOTIFY),
    Node::Writable(
        "lease-break-time",
        0o644,
        |out| writeln!(out, "{}", fs::lease::break_time()),
        |bytes| {
            fs::lease::set_break_time(number(bytes)?);
            Ok(())
        },
    ),
    Node::Writable(
        "leases-enable",
        0o644,
        |out| writeln!(out, "{}", i32::from(fs::lease::enabled())),
        |bytes| {
            fs::lease::enable(number::<i32>(bytes)? != 0);
            Ok(())
        },
    ),
    Node::Writable(
        "mount-max",
        0o644,
        |out| writeln!(out, "{}", fs::mount::max_mounts()),
        |bytes| fs::mount::set_max_mounts(number(bytes)?),
    ),
    Node::Dir("mqueue", sysvipc::MQUEUE),
    Node::File("nr_open", 0o444, |out| writeln!(out, "{}", fs::fd::NR_OPEN)),
    Node::File("overflowgid", 0o444, overflow_id),
    Node::File("overflowuid", 0o444, overflow_id),
    Node::File("pipe-max-size", 0o444, |out| {
        writeln!(out, "{}", fs::pipe::MAX_SIZE)
    }),
];

static INOTIFY: &[Node] = &[
    Node::File("max_queued_events", 0o444, |out| {
        writeln!(out, "{}", fs::inotify::MAX_QUEUED)
    }),
    Node::File("max_user_instances", 0o444, |out| {
        writeln!(out, "{}", fs::inotify::MAX_INSTANCES)
    }),
    Node::File("max_user_watches", 0o444, |out| {
        writeln!(out, "{}", fs::inotify::MAX_WATCHES)
    }),
];

static NET: &[Node] = &[Node::Dir("core", NET_CORE), Node::Dir("unix", NET_UNIX)];

static NET_CORE: &[Node] = &[
    Node::File("rmem_default", 0o444, |out| {
        writeln!(out, "{}", net::options::DEFAULT_BUFFER)
    }),
    Node::File("rmem_max", 0o444, |out| {
        writeln!(out, "{}", net::options::MAX_BUFFER)
    }),
    Node::File("somaxconn", 0o444, |out| {
        writeln!(out, "{}", abi::socket::SOMAXCONN)
    }),
    Node::File("wmem_default", 0o444, |out| {
        writeln!(out, "{}", net::options::DEFAULT_BUFFER)
    }),
    Node::File("wmem_max", 0o444, |out| {
        writeln!(out, "{}", net::options::MAX_BUFFER)
    }),
];

static NET_UNIX: &[Node] = &[Node::File("max_dgram_qlen", 0o444, |out| {
    writeln!(out, "{}", net::unix::MAX_QUEUE)
})];

static KERNEL: &[Node] = &[
    Node::File("arch", 0o444, |out| out.bytes(b"x86_64\n")),
    Node::File("cap_last_cap", 0o444, |out| {
        writeln!(out, "{}", crate::task::cred::CAP_LAST)
    }),
    Node::Writable(
        "ctrl-alt-del",
        0o644,
        |out| writeln!(out, "{}", u32::from(system::ctrl_alt_del_reboots())),
        |bytes| {
            system::set_ctrl_alt_del_reboots(number::<i32>(bytes)? != 0);
            Ok(())
        },
    ),
    Node::Writable(
        "domainname",
        0o644,
        |out| name(&system::domainname(), out),
        |bytes| {
            system::set_domainname(to_name(bytes));
            Ok(())
        },
    ),
    Node::Writable(
        "hostname",
        0o644,
        |out| name(&system::hostname(), out),
        |bytes| {
            system::set_hostname(to_name(bytes));
            Ok(())
        },
    ),
    sysvipc::MSG_NEXT_ID,
    sysvipc::MSGMAX,
    sysvipc::MSGMNB,
    sysvipc::MSGMNI,
    Node::File("ngroups_max", 0o444, |out| {
        writeln!(out, "{}", crate::syscall::cred::NGROUPS_MAX)
    }),
    Node::File("osrelease", 0o444, |out| {
        writeln!(out, "{}", system::RELEASE)
    }),
    Node::File("ostype", 0o444, |out| writeln!(out, "{}", system::SYSNAME)),
    Node::File("overflowgid", 0o444, overflow_id),
    Node::File("overflowuid", 0o444, overflow_id),
    Node::Writable(
        "pid_max",
        0o644,
        |out| writeln!(out, "{}", pid::max()),
        |bytes| pid::set_max(number(bytes)?),
    ),
    Node::Writable("printk", 0o644, printk, set_printk),
    Node::Dir("pty", PTY),
    Node::Dir("random", RANDOM),
    // Stack, mappings, images and the heap.
    Node::File("randomize_va_space", 0o444, |out| out.bytes(b"2\n")),
    sysvipc::SEM,
    sysvipc::SEM_NEXT_ID,
    sysvipc::SHM_NEXT_ID,
    sysvipc::SHM_RMID_FORCED,
    sysvipc::SHMALL,
    sysvipc::SHMMAX,
    sysvipc::SHMMNI,
    Node::File("version", 0o444, |out| writeln!(out, "{}", system::VERSION)),
];

static PTY: &[Node] = &[
    Node::File("max", 0o444, |out| {
        writeln!(out, "{}", tty::devpts::MAX_PTYS)
    }),
    Node::File("nr", 0o444, |out| writeln!(out, "{}", tty::devpts::count())),
];

static RANDOM: &[Node] = &[
    Node::File("boot_id", 0o444, |out| uuid(random::boot_id(), out)),
    Node::File("entropy_avail", 0o444, |out| {
        writeln!(out, "{}", random::entropy_bits())
    }),
    Node::File("uuid", 0o444, |out| uuid(random::uuid(), out)),
];

static VM: &[Node] = &[
    Node::File("max_map_count", 0o444, |out| {
        writeln!(out, "{}", mm::space::MAX_AREAS)
    }),
    Node::File("mmap_min_addr", 0o444, |out| {
        writeln!(out, "{}", mm::addr::MMAP_MIN_ADDR)
    }),
    Node::Writable(
        "overcommit_memory",
        0o644,
        |out| writeln!(out, "{}", promise::mode()),
        |bytes| promise::set_mode(number(bytes)?),
    ),
    Node::Writable(
        "overcommit_ratio",
        0o644,
        |out| writeln!(out, "{}", promise::ratio()),
        |bytes| {
            // Linux's is an int that may not be negative.
            let percent: i32 = number(bytes)?;
            promise::set_ratio(u64::try_from(percent).map_err(|_| Errno::EINVAL)?);
            Ok(())
        },
    ),
];

/// The user and group told where the true one cannot be.
fn overflow_id(out: &mut Text) -> Result<()> {
    writeln!(out, "{}", net::scm::OVERFLOW_ID)
}

/// A name up to its NUL, as a line.
fn name(name: &[u8; NAME_LEN], out: &mut Text) -> Result<()> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
    out.bytes(name.get(..end).unwrap_or_default())?;
    out.bytes(b"\n")
}

/// The first line of a write, cut to what a name may have.
fn to_name(bytes: &[u8]) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    let line = bytes
        .split(|byte| matches!(byte, b'\n' | 0))
        .next()
        .unwrap_or_default();
    for (slot, byte) in name.iter_mut().take(NAME_LEN - 1).zip(line) {
        *slot = *byte;
    }
    name
}

fn uuid(uuid: [u8; 16], out: &mut Text) -> Result<()> {
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.bytes(b"-")?;
        }
        write!(out, "{byte:02x}")?;
    }
    out.bytes(b"\n")
}

/// The console's level, that of messages without one, the least that may be set, and the default.
fn printk(out: &mut Text) -> Result<()> {
    let default = log::DEFAULT_CONSOLE_LEVEL;
    writeln!(out, "{}\t4\t1\t{default}", log::console_level())
}

/// The first number is heeded; the others are not changed here, so that a write of them must say what they are.
fn set_printk(bytes: &[u8]) -> Result<()> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let mut words = text.split_ascii_whitespace();
    let level: u8 = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(Errno::EINVAL)?;
    let fixed = [4, 1, log::DEFAULT_CONSOLE_LEVEL];
    for (word, fixed) in words.zip(fixed) {
        if word.parse() != Ok(fixed) {
            return Err(Errno::EINVAL);
        }
    }
    log::set_console_level(level);
    Ok(())
}
