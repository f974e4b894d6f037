//! The table of system calls: the single source for the dispatcher, the counters and the compatibility page.
//!
//! A row gives number, name, typed arguments, handler, support level and note. A name alone is a call that answers ENOSYS.

use abi::Result;
use abi::aio::{AioSigset, IoEvent};
use abi::fs::{Stat, Statfs, Statx, Ustat};
use abi::mqueue::MqAttr;
use abi::signal::{SigAction, SigEvent, SigSet, StackT, UserSigInfo};
use abi::socket::{MMsgHdr, MsgHdr};
use abi::time::{Itimerspec, Itimerval, Timespec, Timeval, Timex, Timezone, Tms};

use super::*;
use super::{Handler, args::FromArg};
use crate::arch::UserRegs;
use crate::mm::user::{UserCStr, UserPtr};
use crate::task::Pid;

/// How far a call is supported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// As on Linux, by the oracle's measure.
    Full,
    /// Some arguments answer as on a Linux built without them; the note says which.
    Partial,
    /// Answers ENOSYS.
    Missing,
}

impl Level {
    /// The word the counters file shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Full => "full",
            Level::Partial => "partial",
            Level::Missing => "missing",
        }
    }
}

/// One call.
pub struct Row {
    /// Its name, without `sys_`.
    pub name: &'static str,
    /// How far it is supported.
    pub level: Level,
    /// What is not.
    pub note: &'static str,
}

/// One more than the highest number.
pub const NUMBERS: usize = 468;

macro_rules! syscalls {
    ($($number:literal $name:ident $(($($arg:ident: $ty:ty),*) => $module:ident :: $handler:ident, $level:ident, $note:literal)?;)*) => {
        /// Every call by its number.
        pub static TABLE: [Option<Row>; NUMBERS] = {
            let mut table = [const { None }; NUMBERS];
            $(table[$number] = Some(syscalls!(@row $name $($level $note)?));)*
            table
        };

        /// What the dispatcher runs for each number.
        pub(in crate::syscall) static HANDLERS: [Handler; NUMBERS] = {
            let mut handlers: [Handler; NUMBERS] = [missing; NUMBERS];
            $($(handlers[$number] = {
                fn handler(regs: &mut UserRegs) -> Result<usize> {
                    let _registers = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
                    let mut _next = 0;
                    $(
                        let $arg = <$ty as FromArg>::from_arg(_registers[_next]);
                        _next += 1;
                    )*
                    $module::$handler($($arg),*)
                }
                handler
            };)?)*
            handlers
        };
    };
    (@row $name:ident) => {
        Row { name: stringify!($name), level: Level::Missing, note: "" }
    };
    (@row $name:ident $level:ident $note:literal) => {
        Row {
            name: stringify!($name),
            level: Level::$level,
            note: $note,
        }
    };
}

/// The row of a number.
pub fn row(number: usize) -> Option<&'static Row> {
    TABLE.get(number)?.as_ref()
}

#[rustfmt::skip]
mod rows {
    use super::*;
syscalls! {
    0 read(fd: i32, buf: usize, count: usize) => file::sys_read, Full, "";
    1 write(fd: i32, buf: usize, count: usize) => file::sys_write, Full, "";
    2 open(path: UserCStr, flags: u32, mode: u32) => path::sys_open, Full, "";
    3 close(fd: i32) => fd::sys_close, Full, "";
    4 stat(path: UserCStr, out: UserPtr<Stat>) => stat::sys_stat, Full, "";
    5 fstat(fd: i32, out: UserPtr<Stat>) => stat::sys_fstat, Full, "";
    6 lstat(path: UserCStr, out: UserPtr<Stat>) => stat::sys_lstat, Full, "";
    7 poll(fds: usize, count: u32, timeout_ms: i32) => poll::sys_poll, Full, "";
    8 lseek(fd: i32, offset: i64, whence: u32) => file::sys_lseek, Full, "";
    9 mmap(addr: usize, len: usize, prot: u32, flags: u32, fd: i32, offset: u64) => mm::sys_mmap, Partial, "MAP_HUGETLB finds no huge pages";
    10 mprotect(addr: usize, len: usize, prot: u32) => mm::sys_mprotect, Full, "";
    11 munmap(addr: usize, len: usize) => mm::sys_munmap, Full, "";
    12 brk(addr: usize) => mm::sys_brk, Full, "";
    13 rt_sigaction(signum: i32, act: UserPtr<SigAction>, oldact: UserPtr<SigAction>, size: usize) => signal::sys_rt_sigaction, Full, "";
    14 rt_sigprocmask(how: i32, set: UserPtr<SigSet>, oldset: UserPtr<SigSet>, size: usize) => signal::sys_rt_sigprocmask, Full, "";
    15 rt_sigreturn() => signal::sys_rt_sigreturn, Full, "";
    16 ioctl(fd: i32, cmd: u32, arg: usize) => fd::sys_ioctl, Full, "";
    17 pread64(fd: i32, buf: usize, count: usize, pos: i64) => file::sys_pread64, Full, "";
    18 pwrite64(fd: i32, buf: usize, count: usize, pos: i64) => file::sys_pwrite64, Full, "";
    19 readv(fd: i32, iov: usize, count: usize) => file::sys_readv, Full, "";
    20 writev(fd: i32, iov: usize, count: usize) => file::sys_writev, Full, "";
    21 access(path: UserCStr, mode: u32) => stat::sys_access, Full, "";
    22 pipe(fds: UserPtr<[i32; 2]>) => pipe::sys_pipe, Full, "";
    23 select(count: i32, read: usize, write: usize, except: usize, timeout: usize) => poll::sys_select, Full, "";
    24 sched_yield() => sched::sys_sched_yield, Full, "";
    25 mremap(addr: usize, old_len: usize, new_len: usize, flags: u32, new_addr: usize) => mm::sys_mremap, Full, "";
    26 msync(addr: usize, len: usize, flags: u32) => mm::sys_msync, Full, "";
    27 mincore(addr: usize, len: usize, vec: usize) => mm::sys_mincore, Full, "";
    28 madvise(addr: usize, len: usize, advice: u32) => mm::sys_madvise, Partial, "nothing is merged, no MADV_HWPOISON and guard pages";
    29 shmget(key: i32, size: usize, flags: u32) => sysv::sys_shmget, Partial, "no huge pages";
    30 shmat(id: i32, addr: usize, flags: u32) => sysv::sys_shmat, Full, "";
    31 shmctl(id: i32, cmd: i32, buf: usize) => sysv::sys_shmctl, Full, "";
    32 dup(fd: i32) => fd::sys_dup, Full, "";
    33 dup2(old: i32, new: i32) => fd::sys_dup2, Full, "";
    34 pause() => signal::sys_pause, Full, "";
    35 nanosleep(req: UserPtr<Timespec>, rem: UserPtr<Timespec>) => time::sys_nanosleep, Full, "";
    36 getitimer(which: i32, value: UserPtr<Itimerval>) => time::sys_getitimer, Full, "";
    37 alarm(seconds: u32) => time::sys_alarm, Full, "";
    38 setitimer(which: i32, value: UserPtr<Itimerval>, old: UserPtr<Itimerval>) => time::sys_setitimer, Full, "";
    39 getpid() => process::sys_getpid, Full, "";
    40 sendfile(out_fd: i32, in_fd: i32, offset: UserPtr<i64>, count: usize) => pipe::sys_sendfile, Full, "";
    41 socket(family: i32, kind: u32, protocol: i32) => socket::sys_socket, Partial, "AF_UNIX, AF_NETLINK (ROUTE, USERSOCK, CONNECTOR, KOBJECT_UEVENT and GENERIC), AF_INET, AF_INET6 and AF_PACKET over the loopback interface (AF_PACKET without rings, fanout and offloads); other families answer EAFNOSUPPORT";
    42 connect(fd: i32, addr: usize, len: i32) => socket::sys_connect, Full, "";
    43 accept(fd: i32, addr: usize, len: UserPtr<i32>) => socket::sys_accept, Full, "";
    44 sendto(fd: i32, buf: usize, len: usize, flags: u32, addr: usize, addr_len: i32) => socket::sys_sendto, Partial, "no MSG_OOB on local sockets";
    45 recvfrom(fd: i32, buf: usize, len: usize, flags: u32, addr: usize, addr_len: UserPtr<i32>) => socket::sys_recvfrom, Partial, "no MSG_OOB on local sockets";
    46 sendmsg(fd: i32, message: UserPtr<MsgHdr>, flags: u32) => message::sys_sendmsg, Partial, "no MSG_OOB on local sockets";
    47 recvmsg(fd: i32, message: UserPtr<MsgHdr>, flags: u32) => message::sys_recvmsg, Partial, "no MSG_OOB on local sockets";
    48 shutdown(fd: i32, how: u32) => socket::sys_shutdown, Full, "";
    49 bind(fd: i32, addr: usize, len: i32) => socket::sys_bind, Full, "";
    50 listen(fd: i32, backlog: i32) => socket::sys_listen, Full, "";
    51 getsockname(fd: i32, addr: usize, len: UserPtr<i32>) => socket::sys_getsockname, Full, "";
    52 getpeername(fd: i32, addr: usize, len: UserPtr<i32>) => socket::sys_getpeername, Full, "";
    53 socketpair(family: i32, kind: u32, protocol: i32, fds: UserPtr<[i32; 2]>) => socket::sys_socketpair, Full, "";
    54 setsockopt(fd: i32, level: i32, option: i32, value: usize, len: i32) => sockopt::sys_setsockopt, Partial, "no pidfds, filters, peek offsets, multicast, error queues, congestion controls, path MTU discovery and quick acknowledgements";
    55 getsockopt(fd: i32, level: i32, option: i32, value: usize, len: UserPtr<i32>) => sockopt::sys_getsockopt, Partial, "no pidfds, filters, peek offsets, multicast, error queues, congestion controls, path MTU discovery and quick acknowledgements";
    56 clone(flags: usize, stack: usize, parent_tid: usize, child_tid: usize, tls: usize) => process::sys_clone, Full, "";
    57 fork() => process::sys_fork, Full, "";
    58 vfork() => process::sys_vfork, Full, "";
    59 execve(path: UserCStr, argv: usize, envp: usize) => process::sys_execve, Full, "";
    60 exit(code: i32) => process::sys_exit, Full, "";
    61 wait4(pid: Pid, status: usize, options: u32, rusage: usize) => process::sys_wait4, Full, "";
    62 kill(pid: Pid, sig: i32) => signal::sys_kill, Full, "";
    63 uname(buffer: usize) => system::sys_uname, Full, "";
    64 semget(key: i32, count: i32, flags: u32) => sysv::sys_semget, Full, "";
    65 semop(id: i32, ops: usize, count: u32) => sysv::sys_semop, Full, "";
    66 semctl(id: i32, number: i32, cmd: i32, arg: usize) => sysv::sys_semctl, Full, "";
    67 shmdt(addr: usize) => sysv::sys_shmdt, Full, "";
    68 msgget(key: i32, flags: u32) => sysv::sys_msgget, Full, "";
    69 msgsnd(id: i32, message: usize, size: usize, flags: u32) => sysv::sys_msgsnd, Full, "";
    70 msgrcv(id: i32, message: usize, size: usize, mtype: i64, flags: u32) => sysv::sys_msgrcv, Full, "";
    71 msgctl(id: i32, cmd: i32, buf: usize) => sysv::sys_msgctl, Full, "";
    72 fcntl(fd: i32, cmd: u32, arg: usize) => fd::sys_fcntl, Full, "";
    73 flock(fd: i32, operation: u32) => fd::sys_flock, Full, "";
    74 fsync(fd: i32) => file::sys_fsync, Full, "";
    75 fdatasync(fd: i32) => file::sys_fdatasync, Full, "";
    76 truncate(path: UserCStr, length: i64) => file::sys_truncate, Full, "";
    77 ftruncate(fd: i32, length: i64) => file::sys_ftruncate, Full, "";
    78 getdents(fd: i32, buf: usize, count: u32) => file::sys_getdents, Full, "";
    79 getcwd(buf: usize, size: usize) => stat::sys_getcwd, Full, "";
    80 chdir(path: UserCStr) => path::sys_chdir, Full, "";
    81 fchdir(fd: i32) => path::sys_fchdir, Full, "";
    82 rename(old: UserCStr, new: UserCStr) => path::sys_rename, Full, "";
    83 mkdir(path: UserCStr, mode: u32) => path::sys_mkdir, Full, "";
    84 rmdir(path: UserCStr) => path::sys_rmdir, Full, "";
    85 creat(path: UserCStr, mode: u32) => path::sys_creat, Full, "";
    86 link(old: UserCStr, new: UserCStr) => path::sys_link, Full, "";
    87 unlink(path: UserCStr) => path::sys_unlink, Full, "";
    88 symlink(target: UserCStr, path: UserCStr) => path::sys_symlink, Full, "";
    89 readlink(path: UserCStr, buf: usize, size: i32) => stat::sys_readlink, Full, "";
    90 chmod(path: UserCStr, mode: u32) => path::sys_chmod, Full, "";
    91 fchmod(fd: i32, mode: u32) => path::sys_fchmod, Full, "";
    92 chown(path: UserCStr, uid: u32, gid: u32) => path::sys_chown, Full, "";
    93 fchown(fd: i32, uid: u32, gid: u32) => path::sys_fchown, Full, "";
    94 lchown(path: UserCStr, uid: u32, gid: u32) => path::sys_lchown, Full, "";
    95 umask(mask: u32) => path::sys_umask, Full, "";
    96 gettimeofday(tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) => time::sys_gettimeofday, Full, "";
    97 getrlimit(resource: u32, limit: usize) => limits::sys_getrlimit, Full, "";
    98 getrusage(who: i32, usage: usize) => limits::sys_getrusage, Full, "";
    99 sysinfo(buffer: usize) => system::sys_sysinfo, Full, "";
    100 times(buf: UserPtr<Tms>) => time::sys_times, Full, "";
    101 ptrace(request: usize, pid: Pid, addr: usize, data: usize) => process::sys_ptrace, Partial, "DS, ES, FS and GS are 0; no thread areas and filters";
    102 getuid() => cred::sys_getuid, Full, "";
    103 syslog(action: i32, buffer: usize, len: i32) => system::sys_syslog, Full, "";
    104 getgid() => cred::sys_getgid, Full, "";
    105 setuid(uid: u32) => cred::sys_setuid, Full, "";
    106 setgid(gid: u32) => cred::sys_setgid, Full, "";
    107 geteuid() => cred::sys_geteuid, Full, "";
    108 getegid() => cred::sys_getegid, Full, "";
    109 setpgid(pid: Pid, pgid: Pid) => process::sys_setpgid, Full, "";
    110 getppid() => process::sys_getppid, Full, "";
    111 getpgrp() => process::sys_getpgrp, Full, "";
    112 setsid() => process::sys_setsid, Full, "";
    113 setreuid(ruid: u32, euid: u32) => cred::sys_setreuid, Full, "";
    114 setregid(rgid: u32, egid: u32) => cred::sys_setregid, Full, "";
    115 getgroups(count: i32, list: usize) => cred::sys_getgroups, Full, "";
    116 setgroups(count: i32, list: usize) => cred::sys_setgroups, Full, "";
    117 setresuid(ruid: u32, euid: u32, suid: u32) => cred::sys_setresuid, Full, "";
    118 getresuid(ruid: UserPtr<u32>, euid: UserPtr<u32>, suid: UserPtr<u32>) => cred::sys_getresuid, Full, "";
    119 setresgid(rgid: u32, egid: u32, sgid: u32) => cred::sys_setresgid, Full, "";
    120 getresgid(rgid: UserPtr<u32>, egid: UserPtr<u32>, sgid: UserPtr<u32>) => cred::sys_getresgid, Full, "";
    121 getpgid(pid: Pid) => process::sys_getpgid, Full, "";
    122 setfsuid(uid: u32) => cred::sys_setfsuid, Full, "";
    123 setfsgid(gid: u32) => cred::sys_setfsgid, Full, "";
    124 getsid(pid: Pid) => process::sys_getsid, Full, "";
    125 capget(header: usize, data: usize) => cred::sys_capget, Full, "";
    126 capset(header: usize, data: usize) => cred::sys_capset, Full, "";
    127 rt_sigpending(set: UserPtr<SigSet>, size: usize) => signal::sys_rt_sigpending, Full, "";
    128 rt_sigtimedwait(these: UserPtr<SigSet>, info: UserPtr<UserSigInfo>, timeout: UserPtr<Timespec>, size: usize) => signal::sys_rt_sigtimedwait, Full, "";
    129 rt_sigqueueinfo(pid: Pid, sig: i32, info: UserPtr<UserSigInfo>) => signal::sys_rt_sigqueueinfo, Full, "";
    130 rt_sigsuspend(set: UserPtr<SigSet>, size: usize) => signal::sys_rt_sigsuspend, Full, "";
    131 sigaltstack(new: UserPtr<StackT>, old: UserPtr<StackT>) => signal::sys_sigaltstack, Full, "";
    132 utime(path: UserCStr, times: UserPtr<[i64; 2]>) => path::sys_utime, Full, "";
    133 mknod(path: UserCStr, mode: u32, dev: u32) => path::sys_mknod, Full, "";
    134 uselib;
    135 personality(persona: u32) => process::sys_personality, Full, "";
    136 ustat(dev: u32, out: UserPtr<Ustat>) => stat::sys_ustat, Full, "";
    137 statfs(path: UserCStr, out: UserPtr<Statfs>) => stat::sys_statfs, Full, "";
    138 fstatfs(fd: i32, out: UserPtr<Statfs>) => stat::sys_fstatfs, Full, "";
    139 sysfs;
    140 getpriority(which: u32, who: u32) => sched::sys_getpriority, Full, "";
    141 setpriority(which: u32, who: u32, nice: i32) => sched::sys_setpriority, Full, "";
    142 sched_setparam(pid: Pid, param: usize) => sched::sys_sched_setparam, Full, "";
    143 sched_getparam(pid: Pid, param: usize) => sched::sys_sched_getparam, Full, "";
    144 sched_setscheduler(pid: Pid, policy: i32, param: usize) => sched::sys_sched_setscheduler, Full, "SCHED_DEADLINE is for sched_setattr only";
    145 sched_getscheduler(pid: Pid) => sched::sys_sched_getscheduler, Full, "";
    146 sched_get_priority_max(policy: i32) => sched::sys_sched_get_priority_max, Full, "";
    147 sched_get_priority_min(policy: i32) => sched::sys_sched_get_priority_min, Full, "";
    148 sched_rr_get_interval(pid: Pid, interval: usize) => sched::sys_sched_rr_get_interval, Full, "";
    149 mlock(addr: usize, len: usize) => mm::sys_mlock, Full, "";
    150 munlock(addr: usize, len: usize) => mm::sys_munlock, Full, "";
    151 mlockall(flags: u32) => mm::sys_mlockall, Full, "";
    152 munlockall() => mm::sys_munlockall, Full, "";
    153 vhangup() => process::sys_vhangup, Full, "";
    154 modify_ldt;
    155 pivot_root(new_root: UserCStr, put_old: UserCStr) => mount::sys_pivot_root, Full, "";
    156 _sysctl;
    157 prctl(option: u32, a: usize, b: usize, c: usize, d: usize) => prctl::sys_prctl, Partial, "no PR_SET_PTRACER, PR_SET_MEMORY_MERGE, performance events and core scheduling";
    158 arch_prctl(code: u32, address: usize) => process::sys_arch_prctl, Full, "";
    159 adjtimex(buf: UserPtr<Timex>) => time::sys_adjtimex, Partial, "reads; setting answers EPERM";
    160 setrlimit(resource: u32, limit: usize) => limits::sys_setrlimit, Full, "";
    161 chroot(path: UserCStr) => path::sys_chroot, Full, "";
    162 sync() => file::sys_sync, Full, "";
    163 acct;
    164 settimeofday(tv: UserPtr<Timeval>, tz: UserPtr<Timezone>) => time::sys_settimeofday, Full, "";
    165 mount(source: UserCStr, target: UserCStr, kind: UserCStr, flags: u64, data: usize) => mount::sys_mount, Partial, "MS_SYNCHRONOUS, MS_DIRSYNC and MS_LAZYTIME are ignored";
    166 umount2(target: UserCStr, flags: u32) => mount::sys_umount2, Full, "";
    167 swapon(path: UserCStr, flags: u32) => swap::sys_swapon, Partial, "no file system is on a device: EINVAL, as on Linux's tmpfs";
    168 swapoff(path: UserCStr) => swap::sys_swapoff, Partial, "nothing is swapped to: EINVAL";
    169 reboot(magic1: u32, magic2: u32, command: u32, argument: usize) => system::sys_reboot, Full, "";
    170 sethostname(name: usize, len: i32) => system::sys_sethostname, Full, "";
    171 setdomainname(name: usize, len: i32) => system::sys_setdomainname, Full, "";
    172 iopl(level: u32) => ioperm::sys_iopl, Full, "";
    173 ioperm(from: usize, count: usize, on: i32) => ioperm::sys_ioperm, Full, "";
    174 create_module;
    175 init_module;
    176 delete_module;
    177 get_kernel_syms;
    178 query_module;
    179 quotactl;
    180 nfsservctl;
    181 getpmsg;
    182 putpmsg;
    183 afs_syscall;
    184 tuxcall;
    185 security;
    186 gettid() => process::sys_gettid, Full, "";
    187 readahead(fd: i32, offset: i64, count: usize) => file::sys_readahead, Full, "";
    188 setxattr(path: UserCStr, name: UserCStr, value: usize, size: usize, flags: u32) => xattr::sys_setxattr, Full, "";
    189 lsetxattr(path: UserCStr, name: UserCStr, value: usize, size: usize, flags: u32) => xattr::sys_lsetxattr, Full, "";
    190 fsetxattr(fd: i32, name: UserCStr, value: usize, size: usize, flags: u32) => xattr::sys_fsetxattr, Full, "";
    191 getxattr(path: UserCStr, name: UserCStr, buf: usize, size: usize) => xattr::sys_getxattr, Full, "";
    192 lgetxattr(path: UserCStr, name: UserCStr, buf: usize, size: usize) => xattr::sys_lgetxattr, Full, "";
    193 fgetxattr(fd: i32, name: UserCStr, buf: usize, size: usize) => xattr::sys_fgetxattr, Full, "";
    194 listxattr(path: UserCStr, buf: usize, size: usize) => xattr::sys_listxattr, Full, "";
    195 llistxattr(path: UserCStr, buf: usize, size: usize) => xattr::sys_llistxattr, Full, "";
    196 flistxattr(fd: i32, buf: usize, size: usize) => xattr::sys_flistxattr, Full, "";
    197 removexattr(path: UserCStr, name: UserCStr) => xattr::sys_removexattr, Full, "";
    198 lremovexattr(path: UserCStr, name: UserCStr) => xattr::sys_lremovexattr, Full, "";
    199 fremovexattr(fd: i32, name: UserCStr) => xattr::sys_fremovexattr, Full, "";
    200 tkill(tid: Pid, sig: i32) => signal::sys_tkill, Full, "";
    201 time(tloc: UserPtr<i64>) => time::sys_time, Full, "";
    202 futex(uaddr: UserPtr<u32>, op: u32, val: u32, timeout: usize, uaddr2: UserPtr<u32>, val3: u32) => futex::sys_futex, Full, "";
    203 sched_setaffinity(pid: Pid, len: u32, mask: usize) => sched::sys_sched_setaffinity, Full, "";
    204 sched_getaffinity(pid: Pid, len: u32, mask: usize) => sched::sys_sched_getaffinity, Full, "";
    205 set_thread_area;
    206 io_setup(requests: u32, context: UserPtr<usize>) => aio::sys_io_setup, Full, "";
    207 io_destroy(context: usize) => aio::sys_io_destroy, Full, "";
    208 io_getevents(context: usize, least: i64, most: i64, out: UserPtr<IoEvent>, timeout: UserPtr<Timespec>) => aio::sys_io_getevents, Full, "";
    209 io_submit(context: usize, count: i64, list: UserPtr<usize>) => aio::sys_io_submit, Partial, "no rw_flags and priorities of requests";
    210 io_cancel(context: usize, request: usize, result: usize) => aio::sys_io_cancel, Full, "";
    211 get_thread_area;
    212 lookup_dcookie;
    213 epoll_create(size: i32) => epoll::sys_epoll_create, Full, "";
    214 epoll_ctl_old;
    215 epoll_wait_old;
    216 remap_file_pages(addr: usize, len: usize, prot: u32, page: usize, flags: u32) => mm::sys_remap_file_pages, Full, "";
    217 getdents64(fd: i32, buf: usize, count: u32) => file::sys_getdents64, Full, "";
    218 set_tid_address(address: usize) => process::sys_set_tid_address, Full, "";
    219 restart_syscall() => signal::sys_restart_syscall, Full, "";
    220 semtimedop(id: i32, ops: usize, count: u32, timeout: UserPtr<Timespec>) => sysv::sys_semtimedop, Full, "";
    221 fadvise64(fd: i32, offset: i64, len: i64, advice: u32) => file::sys_fadvise64, Full, "";
    222 timer_create(clock: i32, event: UserPtr<SigEvent>, timer_id: UserPtr<i32>) => time::sys_timer_create, Full, "";
    223 timer_settime(id: i32, flags: i32, new: UserPtr<Itimerspec>, old: UserPtr<Itimerspec>) => time::sys_timer_settime, Full, "";
    224 timer_gettime(id: i32, setting: UserPtr<Itimerspec>) => time::sys_timer_gettime, Full, "";
    225 timer_getoverrun(id: i32) => time::sys_timer_getoverrun, Full, "";
    226 timer_delete(id: i32) => time::sys_timer_delete, Full, "";
    227 clock_settime(clock: i32, tp: UserPtr<Timespec>) => time::sys_clock_settime, Full, "";
    228 clock_gettime(clock: i32, tp: UserPtr<Timespec>) => time::sys_clock_gettime, Full, "";
    229 clock_getres(clock: i32, tp: UserPtr<Timespec>) => time::sys_clock_getres, Full, "";
    230 clock_nanosleep(clock: i32, flags: i32, req: UserPtr<Timespec>, rem: UserPtr<Timespec>) => time::sys_clock_nanosleep, Full, "";
    231 exit_group(code: i32) => process::sys_exit_group, Full, "";
    232 epoll_wait(epfd: i32, events: usize, max: i32, timeout_ms: i32) => epoll::sys_epoll_wait, Full, "";
    233 epoll_ctl(epfd: i32, op: u32, fd: i32, event: usize) => epoll::sys_epoll_ctl, Full, "";
    234 tgkill(tgid: Pid, tid: Pid, sig: i32) => signal::sys_tgkill, Full, "";
    235 utimes(path: UserCStr, times: usize) => path::sys_utimes, Full, "";
    236 vserver;
    237 mbind(addr: usize, len: usize, mode: u32, mask: usize, max: usize, flags: u32) => mempolicy::sys_mbind, Partial, "one node; of static and relative masks 16 nodes are kept";
    238 set_mempolicy(mode: u32, mask: usize, max: usize) => mempolicy::sys_set_mempolicy, Partial, "one node; of static and relative masks 16 nodes are kept";
    239 get_mempolicy(mode: usize, mask: usize, max: usize, addr: usize, flags: u32) => mempolicy::sys_get_mempolicy, Full, "";
    240 mq_open(name: UserCStr, flags: u32, mode: u32, attr: UserPtr<MqAttr>) => mqueue::sys_mq_open, Full, "";
    241 mq_unlink(name: UserCStr) => mqueue::sys_mq_unlink, Full, "";
    242 mq_timedsend(fd: i32, message: usize, len: usize, priority: u32, timeout: UserPtr<Timespec>) => mqueue::sys_mq_timedsend, Full, "";
    243 mq_timedreceive(fd: i32, message: usize, len: usize, priority: UserPtr<u32>, timeout: UserPtr<Timespec>) => mqueue::sys_mq_timedreceive, Full, "";
    244 mq_notify(fd: i32, event: UserPtr<SigEvent>) => mqueue::sys_mq_notify, Full, "";
    245 mq_getsetattr(fd: i32, new: UserPtr<MqAttr>, old: UserPtr<MqAttr>) => mqueue::sys_mq_getsetattr, Full, "";
    246 kexec_load;
    247 waitid(which: u32, id: Pid, info: usize, options: u32, rusage: usize) => process::sys_waitid, Full, "";
    248 add_key;
    249 request_key;
    250 keyctl;
    251 ioprio_set(which: u32, who: u32, ioprio: u32) => ioprio::sys_ioprio_set, Full, "";
    252 ioprio_get(which: u32, who: u32) => ioprio::sys_ioprio_get, Full, "";
    253 inotify_init() => inotify::sys_inotify_init, Full, "";
    254 inotify_add_watch(fd: i32, path: UserCStr, mask: u32) => inotify::sys_inotify_add_watch, Full, "";
    255 inotify_rm_watch(fd: i32, wd: i32) => inotify::sys_inotify_rm_watch, Full, "";
    256 migrate_pages(pid: Pid, max: usize, old: usize, new: usize) => mempolicy::sys_migrate_pages, Full, "";
    257 openat(dirfd: i32, path: UserCStr, flags: u32, mode: u32) => path::sys_openat, Full, "";
    258 mkdirat(dirfd: i32, path: UserCStr, mode: u32) => path::sys_mkdirat, Full, "";
    259 mknodat(dirfd: i32, path: UserCStr, mode: u32, dev: u32) => path::sys_mknodat, Full, "";
    260 fchownat(dirfd: i32, path: UserCStr, uid: u32, gid: u32, flags: u32) => path::sys_fchownat, Full, "";
    261 futimesat(dirfd: i32, path: UserCStr, times: usize) => path::sys_futimesat, Full, "";
    262 newfstatat(dirfd: i32, path: UserCStr, out: UserPtr<Stat>, flags: u32) => stat::sys_newfstatat, Full, "";
    263 unlinkat(dirfd: i32, path: UserCStr, flags: u32) => path::sys_unlinkat, Full, "";
    264 renameat(old_dir: i32, old: UserCStr, new_dir: i32, new: UserCStr) => path::sys_renameat, Full, "";
    265 linkat(old_dir: i32, old: UserCStr, new_dir: i32, new: UserCStr, flags: u32) => path::sys_linkat, Full, "";
    266 symlinkat(target: UserCStr, dirfd: i32, path: UserCStr) => path::sys_symlinkat, Full, "";
    267 readlinkat(dirfd: i32, path: UserCStr, buf: usize, size: i32) => stat::sys_readlinkat, Full, "";
    268 fchmodat(dirfd: i32, path: UserCStr, mode: u32) => path::sys_fchmodat, Full, "";
    269 faccessat(dirfd: i32, path: UserCStr, mode: u32) => stat::sys_faccessat, Full, "";
    270 pselect6(count: i32, read: usize, write: usize, except: usize, timeout: usize, mask: usize) => poll::sys_pselect6, Full, "";
    271 ppoll(fds: usize, count: u32, timeout: usize, mask: usize, size: usize) => poll::sys_ppoll, Full, "";
    272 unshare(flags: usize) => process::sys_unshare, Partial, "CLONE_FILES, CLONE_FS, CLONE_SYSVSEM and CLONE_NEWUTS; other namespaces are not there";
    273 set_robust_list(head: usize, len: usize) => futex::sys_set_robust_list, Full, "";
    274 get_robust_list(pid: Pid, head: UserPtr<usize>, len: UserPtr<usize>) => futex::sys_get_robust_list, Full, "";
    275 splice(in_fd: i32, in_offset: UserPtr<i64>, out_fd: i32, out_offset: UserPtr<i64>, len: usize, flags: u32) => pipe::sys_splice, Full, "";
    276 tee(in_fd: i32, out_fd: i32, len: usize, flags: u32) => pipe::sys_tee, Full, "";
    277 sync_file_range(fd: i32, offset: i64, len: i64, flags: u32) => file::sys_sync_file_range, Full, "";
    278 vmsplice(fd: i32, iov: usize, count: usize, flags: u32) => pipe::sys_vmsplice, Full, "";
    279 move_pages(pid: Pid, count: usize, pages: usize, nodes: usize, status: usize, flags: u32) => mempolicy::sys_move_pages, Full, "";
    280 utimensat(dirfd: i32, path: UserCStr, times: usize, flags: u32) => path::sys_utimensat, Full, "";
    281 epoll_pwait(epfd: i32, events: usize, max: i32, timeout_ms: i32, mask: usize, size: usize) => epoll::sys_epoll_pwait, Full, "";
    282 signalfd(fd: i32, mask: UserPtr<SigSet>, size: usize) => timerfd::sys_signalfd, Full, "";
    283 timerfd_create(clock: i32, flags: u32) => timerfd::sys_timerfd_create, Full, "";
    284 eventfd(count: u32) => epoll::sys_eventfd, Full, "";
    285 fallocate(fd: i32, mode: u32, offset: i64, len: i64) => file::sys_fallocate, Full, "";
    286 timerfd_settime(fd: i32, flags: u32, new: UserPtr<Itimerspec>, old: UserPtr<Itimerspec>) => timerfd::sys_timerfd_settime, Full, "";
    287 timerfd_gettime(fd: i32, setting: UserPtr<Itimerspec>) => timerfd::sys_timerfd_gettime, Full, "";
    288 accept4(fd: i32, addr: usize, len: UserPtr<i32>, flags: u32) => socket::sys_accept4, Full, "";
    289 signalfd4(fd: i32, mask: UserPtr<SigSet>, size: usize, flags: u32) => timerfd::sys_signalfd4, Full, "";
    290 eventfd2(count: u32, flags: u32) => epoll::sys_eventfd2, Full, "";
    291 epoll_create1(flags: u32) => epoll::sys_epoll_create1, Full, "";
    292 dup3(old: i32, new: i32, flags: u32) => fd::sys_dup3, Full, "";
    293 pipe2(fds: UserPtr<[i32; 2]>, flags: u32) => pipe::sys_pipe2, Full, "";
    294 inotify_init1(flags: u32) => inotify::sys_inotify_init1, Full, "";
    295 preadv(fd: i32, iov: usize, count: usize, pos: i64, high: usize) => file::sys_preadv, Full, "";
    296 pwritev(fd: i32, iov: usize, count: usize, pos: i64, high: usize) => file::sys_pwritev, Full, "";
    297 rt_tgsigqueueinfo(tgid: Pid, tid: Pid, sig: i32, info: UserPtr<UserSigInfo>) => signal::sys_rt_tgsigqueueinfo, Full, "";
    298 perf_event_open;
    299 recvmmsg(fd: i32, messages: UserPtr<MMsgHdr>, count: u32, flags: u32, timeout: UserPtr<Timespec>) => message::sys_recvmmsg, Full, "";
    300 fanotify_init;
    301 fanotify_mark;
    302 prlimit64(pid: Pid, resource: u32, new: usize, old: usize) => limits::sys_prlimit64, Full, "";
    303 name_to_handle_at(dirfd: i32, path: UserCStr, handle: usize, mount_id: UserPtr<i32>, flags: u32) => handle::sys_name_to_handle_at, Full, "";
    304 open_by_handle_at(mount_fd: i32, handle: usize, flags: u32) => handle::sys_open_by_handle_at, Full, "";
    305 clock_adjtime(clock: i32, buf: UserPtr<Timex>) => time::sys_clock_adjtime, Partial, "reads; setting answers EPERM";
    306 syncfs(fd: i32) => file::sys_syncfs, Full, "";
    307 sendmmsg(fd: i32, messages: UserPtr<MMsgHdr>, count: u32, flags: u32) => message::sys_sendmmsg, Full, "";
    308 setns(fd: i32, nstype: u32) => process::sys_setns, Partial, "UTS namespaces; others are not there";
    309 getcpu(cpu: usize, node: usize) => sched::sys_getcpu, Full, "";
    310 process_vm_readv(pid: Pid, local: usize, local_count: usize, remote: usize, remote_count: usize, flags: usize) => remote::sys_process_vm_readv, Full, "";
    311 process_vm_writev(pid: Pid, local: usize, local_count: usize, remote: usize, remote_count: usize, flags: usize) => remote::sys_process_vm_writev, Full, "";
    312 kcmp(pid1: Pid, pid2: Pid, kind: i32, idx1: usize, idx2: usize) => remote::sys_kcmp, Full, "";
    313 finit_module;
    314 sched_setattr(pid: Pid, attr: usize, flags: u32) => sched::sys_sched_setattr, Partial, "a deadline task cannot reclaim; utilisation clamps answer EOPNOTSUPP";
    315 sched_getattr(pid: Pid, attr: usize, size: u32, flags: u32) => sched::sys_sched_getattr, Full, "";
    316 renameat2(old_dir: i32, old: UserCStr, new_dir: i32, new: UserCStr, flags: u32) => path::sys_renameat2, Partial, "no whiteouts";
    317 seccomp(operation: u32, flags: u32, args: usize) => seccomp::sys_seccomp, Full, "";
    318 getrandom(buf: UserPtr<u8>, count: usize, flags: u32) => random::sys_getrandom, Full, "";
    319 memfd_create(name: UserCStr, flags: u32) => fd::sys_memfd_create, Partial, "no huge pages";
    320 kexec_file_load;
    321 bpf;
    322 execveat(dirfd: i32, path: UserCStr, argv: usize, envp: usize, flags: u32) => process::sys_execveat, Full, "";
    323 userfaultfd(flags: u32) => mm::sys_userfaultfd, Partial, "no events, no minor faults, write protection of anonymous memory only";
    324 membarrier(command: i32, flags: u32, cpu: i32) => rseq::sys_membarrier, Full, "";
    325 mlock2(addr: usize, len: usize, flags: u32) => mm::sys_mlock2, Full, "";
    326 copy_file_range(in_fd: i32, in_offset: UserPtr<i64>, out_fd: i32, out_offset: UserPtr<i64>, len: usize, flags: u32) => pipe::sys_copy_file_range, Full, "";
    327 preadv2(fd: i32, iov: usize, count: usize, pos: i64, high: usize, flags: u32) => file::sys_preadv2, Partial, "RWF_NOWAIT for files in memory alone";
    328 pwritev2(fd: i32, iov: usize, count: usize, pos: i64, high: usize, flags: u32) => file::sys_pwritev2, Partial, "RWF_NOWAIT for files in memory alone";
    329 pkey_mprotect(addr: usize, len: usize, prot: u32, key: i32) => pkey::sys_pkey_mprotect, Full, "";
    330 pkey_alloc(flags: usize, rights: usize) => pkey::sys_pkey_alloc, Full, "";
    331 pkey_free(key: i32) => pkey::sys_pkey_free, Full, "";
    332 statx(dirfd: i32, path: UserCStr, flags: u32, mask: u32, out: UserPtr<Statx>) => stat::sys_statx, Full, "";
    333 io_pgetevents(context: usize, least: i64, most: i64, out: UserPtr<IoEvent>, timeout: UserPtr<Timespec>, mask: UserPtr<AioSigset>) => aio::sys_io_pgetevents, Full, "";
    334 rseq(addr: usize, len: u32, flags: u32, signature: u32) => rseq::sys_rseq, Full, "";
    424 pidfd_send_signal(fd: i32, sig: i32, info: UserPtr<UserSigInfo>, flags: u32) => pidfd::sys_pidfd_send_signal, Full, "";
    425 io_uring_setup;
    426 io_uring_enter;
    427 io_uring_register;
    428 open_tree;
    429 move_mount;
    430 fsopen;
    431 fsconfig;
    432 fsmount;
    433 fspick;
    434 pidfd_open(pid: Pid, flags: u32) => pidfd::sys_pidfd_open, Full, "";
    435 clone3(args: usize, size: usize) => process::sys_clone3, Full, "";
    436 close_range(first: u32, last: u32, flags: u32) => fd::sys_close_range, Full, "";
    437 openat2(dirfd: i32, path: UserCStr, how: usize, size: usize) => path::sys_openat2, Partial, "RESOLVE_CACHED always answers EAGAIN";
    438 pidfd_getfd(pidfd: i32, fd: i32, flags: u32) => pidfd::sys_pidfd_getfd, Full, "";
    439 faccessat2(dirfd: i32, path: UserCStr, mode: u32, flags: u32) => stat::sys_faccessat2, Full, "";
    440 process_madvise(fd: i32, segments: usize, count: usize, behavior: u32, flags: u32) => pidfd::sys_process_madvise, Partial, "no MADV_COLLAPSE; the others are hints without effect";
    441 epoll_pwait2(epfd: i32, events: usize, max: i32, timeout: usize, mask: usize, size: usize) => epoll::sys_epoll_pwait2, Full, "";
    442 mount_setattr;
    443 quotactl_fd;
    444 landlock_create_ruleset;
    445 landlock_add_rule;
    446 landlock_restrict_self;
    447 memfd_secret;
    448 process_mrelease(fd: i32, flags: u32) => pidfd::sys_process_mrelease, Full, "";
    449 futex_waitv(waiters: usize, count: u32, flags: u32, timeout: UserPtr<Timespec>, clock: i32) => futex::sys_futex_waitv, Full, "";
    450 set_mempolicy_home_node(addr: usize, len: usize, node: usize, flags: usize) => mempolicy::sys_set_mempolicy_home_node, Full, "";
    451 cachestat;
    452 fchmodat2(dirfd: i32, path: UserCStr, mode: u32, flags: u32) => path::sys_fchmodat2, Full, "";
    453 map_shadow_stack;
    454 futex_wake(addr: usize, mask: usize, count: u32, flags: u32) => futex::sys_futex_wake, Full, "";
    455 futex_wait(addr: usize, value: usize, mask: usize, flags: u32, timeout: UserPtr<Timespec>, clock: i32) => futex::sys_futex_wait, Full, "";
    456 futex_requeue(waiters: usize, flags: u32, wakes: u32, moves: u32) => futex::sys_futex_requeue, Full, "";
    457 statmount;
    458 listmount;
    459 lsm_get_self_attr;
    460 lsm_set_self_attr;
    461 lsm_list_modules;
    462 mseal(addr: usize, len: usize, flags: usize) => mm::sys_mseal, Full, "";
    463 setxattrat;
    464 getxattrat;
    465 listxattrat;
    466 removexattrat;
    467 open_tree_attr;
}
}
pub(super) use rows::HANDLERS;
pub use rows::TABLE;
