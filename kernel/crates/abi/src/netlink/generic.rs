//! `NETLINK_GENERIC`: families that are found by name. The controller, and the figures of tasks.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The controller's number, and the first that a family without a fixed one gets.
pub const GENL_ID_CTRL: u16 = 0x10;
pub const GENL_START_ALLOC: u16 = 0x13;

/// What is told of a command.
pub const GENL_ADMIN_PERM: u32 = 1;
pub const GENL_CMD_CAP_DO: u32 = 2;
pub const GENL_CMD_CAP_DUMP: u32 = 4;
pub const GENL_CMD_CAP_HASPOL: u32 = 8;

pub mod ctrl {
    pub const CMD_NEWFAMILY: u8 = 1;
    pub const CMD_GETFAMILY: u8 = 3;

    pub const ATTR_FAMILY_ID: u16 = 1;
    pub const ATTR_FAMILY_NAME: u16 = 2;
    pub const ATTR_VERSION: u16 = 3;
    pub const ATTR_HDRSIZE: u16 = 4;
    pub const ATTR_MAXATTR: u16 = 5;
    pub const ATTR_OPS: u16 = 6;
    pub const ATTR_MCAST_GROUPS: u16 = 7;
    pub const ATTR_MAX: u16 = 10;

    pub const ATTR_OP_ID: u16 = 1;
    pub const ATTR_OP_FLAGS: u16 = 2;
    pub const ATTR_MCAST_GRP_NAME: u16 = 1;
    pub const ATTR_MCAST_GRP_ID: u16 = 2;
}

pub mod taskstats {
    pub const CMD_GET: u8 = 1;
    pub const CMD_NEW: u8 = 2;

    pub const CMD_ATTR_PID: u16 = 1;
    pub const CMD_ATTR_TGID: u16 = 2;
    pub const CMD_ATTR_REGISTER_CPUMASK: u16 = 3;
    pub const CMD_ATTR_DEREGISTER_CPUMASK: u16 = 4;
    pub const CMD_ATTR_MAX: u16 = 4;

    pub const TYPE_PID: u16 = 1;
    pub const TYPE_TGID: u16 = 2;
    pub const TYPE_STATS: u16 = 3;
    pub const TYPE_AGGR_PID: u16 = 4;
    pub const TYPE_AGGR_TGID: u16 = 5;

    /// The version of [`super::Taskstats`].
    pub const VERSION: u16 = 13;

    /// `ac_flag`: forked without exec, used super-user rights, the last of its process.
    pub const AFORK: u8 = 1;
    pub const ASU: u8 = 2;
    pub const AGROUP: u8 = 0x20;
}

/// `struct taskstats`: what a thread, or a process, has used. Times are in microseconds, delays in nanoseconds.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Taskstats {
    pub version: u16,
    pub _pad0: u16,
    pub exitcode: u32,
    pub flag: u8,
    pub nice: u8,
    pub _pad1: [u8; 6],
    pub cpu_count: u64,
    pub cpu_delay_total: u64,
    pub blkio: [u64; 2],
    pub swapin: [u64; 2],
    pub cpu_run_real_total: u64,
    pub cpu_run_virtual_total: u64,
    pub comm: [u8; 32],
    pub sched: u8,
    pub _pad2: [u8; 7],
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    pub ppid: u32,
    /// Seconds since 1970 at the start.
    pub btime: u32,
    pub _pad3: u32,
    pub etime: u64,
    pub utime: u64,
    pub stime: u64,
    pub minflt: u64,
    pub majflt: u64,
    pub coremem: u64,
    pub virtmem: u64,
    /// In KiB.
    pub hiwater_rss: u64,
    pub hiwater_vm: u64,
    pub read_char: u64,
    pub write_char: u64,
    pub read_syscalls: u64,
    pub write_syscalls: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    pub cancelled_write_bytes: u64,
    pub nvcsw: u64,
    pub nivcsw: u64,
    pub utimescaled: u64,
    pub stimescaled: u64,
    pub cpu_scaled_run_real_total: u64,
    pub freepages: [u64; 2],
    pub thrashing: [u64; 2],
    pub btime64: u64,
    pub compact: [u64; 2],
    pub tgid: u32,
    pub _pad4: u32,
    pub tgetime: u64,
    pub exe_dev: u64,
    pub exe_inode: u64,
    pub wpcopy: [u64; 2],
}

const _: () = assert!(size_of::<Taskstats>() == 416);
const _: () = assert!(core::mem::offset_of!(Taskstats, comm) == 80);
const _: () = assert!(core::mem::offset_of!(Taskstats, etime) == 144);
const _: () = assert!(core::mem::offset_of!(Taskstats, nvcsw) == 272);
const _: () = assert!(core::mem::offset_of!(Taskstats, tgid) == 368);
