//! `/proc/sys`: what of the kernel can be set, and constants that programs ask for here.

use abi::{Errno, Result};

use super::node::Node;
use super::sysvipc;
use super::text::{Text, number};
use crate::device::random;
use crate::mm::{promise, tunables};
use crate::system;
use crate::task::namespace::{NAME_LEN, Name};
use crate::task::{Cap, coredump, exec, pid, seccomp};
use crate::{fs, log, mm, net, task, tty};

/// A file that shows and sets a [`system::Setting`].
macro_rules! setting {
    ($name:literal, $setting:path) => {
        Node::Writable(
            $name,
            0o644,
            |out| writeln!(out, "{}", $setting.get()),
            |bytes| $setting.set(number(bytes)?),
        )
    };
}

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
    setting!("nr_open", fs::fd::NR_OPEN),
    Node::File("overflowgid", 0o444, overflow_id),
    Node::File("overflowuid", 0o444, overflow_id),
    Node::Writable(
        "pipe-max-size",
        0o644,
        |out| writeln!(out, "{}", fs::pipe::max_size()),
        |bytes| fs::pipe::set_max_size(number(bytes)?),
    ),
    Node::Writable(
        "suid_dumpable",
        0o644,
        |out| writeln!(out, "{}", coredump::suid_dumpable()),
        |bytes| coredump::set_suid_dumpable(number(bytes)?),
    ),
];

static INOTIFY: &[Node] = &[
    setting!("max_queued_events", fs::inotify::MAX_QUEUED),
    setting!("max_user_instances", fs::inotify::MAX_INSTANCES),
    setting!("max_user_watches", fs::inotify::MAX_WATCHES),
];

static NET: &[Node] = &[
    Node::Dir("core", NET_CORE),
    Node::Dir("ipv4", NET_IPV4),
    Node::Dir("unix", NET_UNIX),
];

static NET_IPV4: &[Node] = &[
    Node::Writable(
        "ip_local_port_range",
        0o644,
        |out| {
            let (low, high) = net::inet::ports::range();
            writeln!(out, "{low}\t{high}")
        },
        |bytes| {
            let (low, high) = two_numbers(bytes)?;
            net::inet::ports::set_range(low, high)
        },
    ),
    Node::Writable(
        "ping_group_range",
        0o644,
        |out| {
            let (low, high) = net::inet::icmp::ping_groups();
            writeln!(out, "{low}\t{high}")
        },
        |bytes| {
            let (low, high) = two_numbers(bytes)?;
            net::inet::icmp::set_ping_groups(low, high);
            Ok(())
        },
    ),
];

/// Two numbers with white space between.
fn two_numbers<T: core::str::FromStr>(bytes: &[u8]) -> Result<(T, T)> {
    let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().and_then(|word| word.parse().ok());
    match (next(), next()) {
        (Some(low), Some(high)) => Ok((low, high)),
        _ => Err(Errno::EINVAL),
    }
}

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
        "core_pattern",
        0o644,
        |out| {
            out.bytes(&coredump::pattern())?;
            out.bytes(b"\n")
        },
        |bytes| {
            coredump::set_pattern(bytes);
            Ok(())
        },
    ),
    Node::Writable(
        "core_pipe_limit",
        0o644,
        |out| writeln!(out, "{}", coredump::pipe_limit()),
        |bytes| {
            coredump::set_pipe_limit(number(bytes)?);
            Ok(())
        },
    ),
    Node::Writable(
        "core_uses_pid",
        0o644,
        |out| writeln!(out, "{}", coredump::uses_pid()),
        |bytes| {
            coredump::set_uses_pid(number(bytes)?);
            Ok(())
        },
    ),
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
        |out| name(&task::current().my_uts().names().domainname, out),
        |bytes| {
            task::current().my_uts().set_domainname(to_name(bytes));
            Ok(())
        },
    ),
    Node::Writable(
        "hostname",
        0o644,
        |out| name(&task::current().my_uts().names().hostname, out),
        |bytes| {
            task::current().my_uts().set_hostname(to_name(bytes));
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
    Node::Writable(
        "randomize_va_space",
        0o644,
        |out| writeln!(out, "{}", exec::randomization()),
        |bytes| {
            exec::set_randomization(number(bytes)?);
            Ok(())
        },
    ),
    Node::Dir("seccomp", SECCOMP),
    sysvipc::SEM,
    sysvipc::SEM_NEXT_ID,
    sysvipc::SHM_NEXT_ID,
    sysvipc::SHM_RMID_FORCED,
    sysvipc::SHMALL,
    sysvipc::SHMMAX,
    sysvipc::SHMMNI,
    setting!("threads-max", task::usage::THREADS_MAX),
    Node::File("version", 0o444, |out| writeln!(out, "{}", system::VERSION)),
];

static PTY: &[Node] = &[
    setting!("max", tty::devpts::MAX_PTYS),
    Node::File("nr", 0o444, |out| writeln!(out, "{}", tty::devpts::count())),
];

static RANDOM: &[Node] = &[
    Node::File("boot_id", 0o444, |out| uuid(random::boot_id(), out)),
    Node::File("entropy_avail", 0o444, |out| {
        writeln!(out, "{}", random::entropy_bits())
    }),
    Node::File("uuid", 0o444, |out| uuid(random::uuid(), out)),
];

static SECCOMP: &[Node] = &[
    Node::File("actions_avail", 0o444, |out| {
        words(seccomp::ACTIONS_AVAILABLE.map(|(_, name)| name), out)
    }),
    Node::Writable(
        "actions_logged",
        0o644,
        |out| words(seccomp::actions_logged(), out),
        |bytes| {
            if !task::current().my_cred().capable(task::Cap::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            let text = core::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?;
            seccomp::set_actions_logged(text.split('\n').next().unwrap_or_default())
        },
    ),
];

static VM: &[Node] = &[
    kib(
        "admin_reserve_kbytes",
        |out| writeln!(out, "{}", promise::admin_reserve()),
        |bytes| {
            promise::set_admin_reserve(number(bytes)?);
            Ok(())
        },
    ),
    Node::Writable("compact_memory", 0o200, unreadable, |bytes| {
        match number::<i32>(bytes)? {
            1 => {
                mm::stats::gather_free();
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }),
    Node::Writable("drop_caches", 0o200, unreadable, |bytes| {
        match number::<i32>(bytes)? {
            1..=4 => {
                mm::stats::gather_free();
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }),
    Node::Writable(
        "max_map_count",
        0o644,
        |out| writeln!(out, "{}", tunables::max_map_count()),
        |bytes| {
            let count: i32 = number(bytes)?;
            let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
            tunables::set_max_map_count(count);
            Ok(())
        },
    ),
    kib(
        "min_free_kbytes",
        |out| writeln!(out, "{}", mm::stats::reserve() * 4),
        |bytes| {
            let kib: u32 = number(bytes)?;
            // As on Linux no more than a part of memory can be set aside.
            let most = mm::stats().total / 20;
            mm::stats::set_reserve(u64::from(kib / 4).clamp(256, most.max(256)));
            Ok(())
        },
    ),
    Node::Writable(
        "mmap_min_addr",
        0o644,
        |out| writeln!(out, "{}", tunables::mmap_min_addr()),
        |bytes| {
            if !task::current().cred().capable(Cap::SYS_RAWIO) {
                return Err(Errno::EPERM);
            }
            tunables::set_mmap_min_addr(number(bytes)?);
            Ok(())
        },
    ),
    Node::Writable(
        "oom_kill_allocating_task",
        0o644,
        |out| writeln!(out, "{}", u32::from(tunables::kills_allocating_task())),
        |bytes| {
            tunables::set_kills_allocating_task(number::<i32>(bytes)? != 0);
            Ok(())
        },
    ),
    kib(
        "overcommit_kbytes",
        |out| writeln!(out, "{}", promise::kbytes()),
        |bytes| {
            promise::set_kbytes(number(bytes)?);
            Ok(())
        },
    ),
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
    Node::Writable(
        "panic_on_oom",
        0o644,
        |out| writeln!(out, "{}", tunables::panic_on_oom()),
        |bytes| {
            match number::<u8>(bytes)? {
                value @ 0..=2 => tunables::set_panic_on_oom(value),
                _ => return Err(Errno::EINVAL),
            }
            Ok(())
        },
    ),
    Node::Writable(
        "unprivileged_userfaultfd",
        0o644,
        |out| writeln!(out, "{}", u32::from(fs::userfaultfd::unprivileged())),
        |bytes| {
            match number::<i32>(bytes)? {
                value @ 0..=1 => fs::userfaultfd::set_unprivileged(value != 0),
                _ => return Err(Errno::EINVAL),
            }
            Ok(())
        },
    ),
    kib(
        "user_reserve_kbytes",
        |out| writeln!(out, "{}", promise::user_reserve()),
        |bytes| {
            promise::set_user_reserve(number(bytes)?);
            Ok(())
        },
    ),
];

/// A setting in KiB.
const fn kib(
    name: &'static str,
    show: fn(&mut Text) -> Result<()>,
    store: fn(&[u8]) -> Result<()>,
) -> Node {
    Node::Writable(name, 0o644, show, store)
}

/// A file that is only written.
fn unreadable(_out: &mut Text) -> Result<()> {
    Err(Errno::EIO)
}

/// The user and group told where the true one cannot be.
fn overflow_id(out: &mut Text) -> Result<()> {
    writeln!(out, "{}", net::scm::OVERFLOW_ID)
}

/// Words with spaces between them, as a line.
fn words(words: impl IntoIterator<Item = &'static str>, out: &mut Text) -> Result<()> {
    for (index, word) in words.into_iter().enumerate() {
        write!(out, "{}{word}", if index > 0 { " " } else { "" })?;
    }
    out.bytes(b"\n")
}

/// A name up to its NUL, as a line.
fn name(name: &Name, out: &mut Text) -> Result<()> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_LEN);
    out.bytes(name.get(..end).unwrap_or_default())?;
    out.bytes(b"\n")
}

/// The first line of a write, cut to what a name may have.
fn to_name(bytes: &[u8]) -> Name {
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
