//! The table of system calls: the single source for the dispatcher, the counters and the compatibility page.
//!
//! A row gives number, name, arguments, handler, support level and note. A name alone is a call that answers ENOSYS.

use abi::Result;

use super::{Handler, args::FromArg};
use super::*;
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
    /// Its arguments, as C-like text.
    pub args: &'static str,
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
            $(table[$number] = Some(syscalls!(@row $name $(($($arg: $ty),*) $level $note)?));)*
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
        Row { name: stringify!($name), args: "", level: Level::Missing, note: "" }
    };
    (@row $name:ident ($($arg:ident: $ty:ty),*) $level:ident $note:literal) => {
        Row {
            name: stringify!($name),
            args: stringify!($($arg: $ty),*),
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
    0 read;
    1 write;
    2 open;
    3 close;
    4 stat;
    5 fstat;
    6 lstat;
    7 poll;
    8 lseek;
    9 mmap;
    10 mprotect;
    11 munmap;
    12 brk;
    13 rt_sigaction;
    14 rt_sigprocmask;
    15 rt_sigreturn;
    16 ioctl;
    17 pread64;
    18 pwrite64;
    19 readv;
    20 writev;
    21 access;
    22 pipe;
    23 select;
    24 sched_yield() => sched::sys_sched_yield, Full, "";
    25 mremap;
    26 msync;
    27 mincore;
    28 madvise;
    29 shmget;
    30 shmat;
    31 shmctl;
    32 dup;
    33 dup2;
    34 pause;
    35 nanosleep;
    36 getitimer;
    37 alarm;
    38 setitimer;
    39 getpid() => process::sys_getpid, Full, "";
    40 sendfile;
    41 socket;
    42 connect;
    43 accept;
    44 sendto;
    45 recvfrom;
    46 sendmsg;
    47 recvmsg;
    48 shutdown;
    49 bind;
    50 listen;
    51 getsockname;
    52 getpeername;
    53 socketpair;
    54 setsockopt;
    55 getsockopt;
    56 clone(flags: usize, stack: usize, parent_tid: usize, child_tid: usize, tls: usize) => process::sys_clone, Full, "";
    57 fork() => process::sys_fork, Full, "";
    58 vfork() => process::sys_vfork, Full, "";
    59 execve(path: UserCStr, argv: usize, envp: usize) => process::sys_execve, Full, "";
    60 exit(code: i32) => process::sys_exit, Full, "";
    61 wait4(pid: Pid, status: usize, options: u32, rusage: usize) => process::sys_wait4, Full, "";
    62 kill;
    63 uname(buffer: usize) => system::sys_uname, Full, "";
    64 semget;
    65 semop;
    66 semctl;
    67 shmdt;
    68 msgget;
    69 msgsnd;
    70 msgrcv;
    71 msgctl;
    72 fcntl;
    73 flock;
    74 fsync;
    75 fdatasync;
    76 truncate;
    77 ftruncate;
    78 getdents;
    79 getcwd;
    80 chdir;
    81 fchdir;
    82 rename;
    83 mkdir;
    84 rmdir;
    85 creat;
    86 link;
    87 unlink;
    88 symlink;
    89 readlink;
    90 chmod;
    91 fchmod;
    92 chown;
    93 fchown;
    94 lchown;
    95 umask;
    96 gettimeofday;
    97 getrlimit(resource: u32, limit: usize) => limits::sys_getrlimit, Full, "";
    98 getrusage(who: i32, usage: usize) => limits::sys_getrusage, Full, "";
    99 sysinfo(buffer: usize) => system::sys_sysinfo, Full, "";
    100 times;
    101 ptrace;
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
    127 rt_sigpending;
    128 rt_sigtimedwait;
    129 rt_sigqueueinfo;
    130 rt_sigsuspend;
    131 sigaltstack;
    132 utime;
    133 mknod;
    134 uselib;
    135 personality(persona: u32) => process::sys_personality, Full, "";
    136 ustat;
    137 statfs;
    138 fstatfs;
    139 sysfs;
    140 getpriority(which: u32, who: u32) => sched::sys_getpriority, Full, "";
    141 setpriority(which: u32, who: u32, nice: i32) => sched::sys_setpriority, Full, "";
    142 sched_setparam(pid: Pid, param: usize) => sched::sys_sched_setparam, Full, "";
    143 sched_getparam(pid: Pid, param: usize) => sched::sys_sched_getparam, Full, "";
    144 sched_setscheduler(pid: Pid, policy: i32, param: usize) => sched::sys_sched_setscheduler, Full, "";
    145 sched_getscheduler(pid: Pid) => sched::sys_sched_getscheduler, Full, "";
    146 sched_get_priority_max(policy: i32) => sched::sys_sched_get_priority_max, Full, "";
    147 sched_get_priority_min(policy: i32) => sched::sys_sched_get_priority_min, Full, "";
    148 sched_rr_get_interval(pid: Pid, interval: usize) => sched::sys_sched_rr_get_interval, Full, "";
    149 mlock;
    150 munlock;
    151 mlockall;
    152 munlockall;
    153 vhangup;
    154 modify_ldt;
    155 pivot_root;
    156 _sysctl;
    157 prctl(option: u32, a: usize, b: usize, c: usize, d: usize) => prctl::sys_prctl, Partial, "No PR_SET_MM, PR_SET_SECCOMP, speculation or core scheduling.";
    158 arch_prctl(code: u32, address: usize) => process::sys_arch_prctl, Full, "";
    159 adjtimex;
    160 setrlimit(resource: u32, limit: usize) => limits::sys_setrlimit, Full, "";
    161 chroot;
    162 sync;
    163 acct;
    164 settimeofday;
    165 mount;
    166 umount2;
    167 swapon;
    168 swapoff;
    169 reboot(magic1: u32, magic2: u32, command: u32, argument: usize) => system::sys_reboot, Full, "";
    170 sethostname(name: usize, len: i32) => system::sys_sethostname, Full, "";
    171 setdomainname(name: usize, len: i32) => system::sys_setdomainname, Full, "";
    172 iopl;
    173 ioperm;
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
    187 readahead;
    188 setxattr;
    189 lsetxattr;
    190 fsetxattr;
    191 getxattr;
    192 lgetxattr;
    193 fgetxattr;
    194 listxattr;
    195 llistxattr;
    196 flistxattr;
    197 removexattr;
    198 lremovexattr;
    199 fremovexattr;
    200 tkill;
    201 time;
    202 futex;
    203 sched_setaffinity(pid: Pid, len: u32, mask: usize) => sched::sys_sched_setaffinity, Full, "";
    204 sched_getaffinity(pid: Pid, len: u32, mask: usize) => sched::sys_sched_getaffinity, Full, "";
    205 set_thread_area;
    206 io_setup;
    207 io_destroy;
    208 io_getevents;
    209 io_submit;
    210 io_cancel;
    211 get_thread_area;
    212 lookup_dcookie;
    213 epoll_create;
    214 epoll_ctl_old;
    215 epoll_wait_old;
    216 remap_file_pages;
    217 getdents64;
    218 set_tid_address(address: usize) => process::sys_set_tid_address, Full, "";
    219 restart_syscall;
    220 semtimedop;
    221 fadvise64;
    222 timer_create;
    223 timer_settime;
    224 timer_gettime;
    225 timer_getoverrun;
    226 timer_delete;
    227 clock_settime;
    228 clock_gettime;
    229 clock_getres;
    230 clock_nanosleep;
    231 exit_group(code: i32) => process::sys_exit_group, Full, "";
    232 epoll_wait;
    233 epoll_ctl;
    234 tgkill;
    235 utimes;
    236 vserver;
    237 mbind;
    238 set_mempolicy;
    239 get_mempolicy;
    240 mq_open;
    241 mq_unlink;
    242 mq_timedsend;
    243 mq_timedreceive;
    244 mq_notify;
    245 mq_getsetattr;
    246 kexec_load;
    247 waitid(which: u32, id: Pid, info: usize, options: u32, rusage: usize) => process::sys_waitid, Full, "";
    248 add_key;
    249 request_key;
    250 keyctl;
    251 ioprio_set;
    252 ioprio_get;
    253 inotify_init;
    254 inotify_add_watch;
    255 inotify_rm_watch;
    256 migrate_pages;
    257 openat;
    258 mkdirat;
    259 mknodat;
    260 fchownat;
    261 futimesat;
    262 newfstatat;
    263 unlinkat;
    264 renameat;
    265 linkat;
    266 symlinkat;
    267 readlinkat;
    268 fchmodat;
    269 faccessat;
    270 pselect6;
    271 ppoll;
    272 unshare(flags: usize) => process::sys_unshare, Partial, "CLONE_FILES, CLONE_FS and CLONE_SYSVSEM; namespaces are not there.";
    273 set_robust_list;
    274 get_robust_list;
    275 splice;
    276 tee;
    277 sync_file_range;
    278 vmsplice;
    279 move_pages;
    280 utimensat;
    281 epoll_pwait;
    282 signalfd;
    283 timerfd_create;
    284 eventfd;
    285 fallocate;
    286 timerfd_settime;
    287 timerfd_gettime;
    288 accept4;
    289 signalfd4;
    290 eventfd2;
    291 epoll_create1;
    292 dup3;
    293 pipe2;
    294 inotify_init1;
    295 preadv;
    296 pwritev;
    297 rt_tgsigqueueinfo;
    298 perf_event_open;
    299 recvmmsg;
    300 fanotify_init;
    301 fanotify_mark;
    302 prlimit64(pid: Pid, resource: u32, new: usize, old: usize) => limits::sys_prlimit64, Full, "";
    303 name_to_handle_at;
    304 open_by_handle_at;
    305 clock_adjtime;
    306 syncfs;
    307 sendmmsg;
    308 setns;
    309 getcpu(cpu: usize, node: usize) => sched::sys_getcpu, Full, "";
    310 process_vm_readv;
    311 process_vm_writev;
    312 kcmp;
    313 finit_module;
    314 sched_setattr(pid: Pid, attr: usize, flags: u32) => sched::sys_sched_setattr, Full, "";
    315 sched_getattr(pid: Pid, attr: usize, size: u32, flags: u32) => sched::sys_sched_getattr, Full, "";
    316 renameat2;
    317 seccomp;
    318 getrandom;
    319 memfd_create;
    320 kexec_file_load;
    321 bpf;
    322 execveat(dirfd: i32, path: UserCStr, argv: usize, envp: usize, flags: u32) => process::sys_execveat, Full, "";
    323 userfaultfd;
    324 membarrier(command: i32, flags: u32, cpu: i32) => sched::sys_membarrier, Partial, "The query, global and private expedited commands.";
    325 mlock2;
    326 copy_file_range;
    327 preadv2;
    328 pwritev2;
    329 pkey_mprotect;
    330 pkey_alloc;
    331 pkey_free;
    332 statx;
    333 io_pgetevents;
    334 rseq;
    424 pidfd_send_signal;
    425 io_uring_setup;
    426 io_uring_enter;
    427 io_uring_register;
    428 open_tree;
    429 move_mount;
    430 fsopen;
    431 fsconfig;
    432 fsmount;
    433 fspick;
    434 pidfd_open(pid: Pid, flags: u32) => process::sys_pidfd_open, Full, "";
    435 clone3(args: usize, size: usize) => process::sys_clone3, Full, "";
    436 close_range;
    437 openat2;
    438 pidfd_getfd;
    439 faccessat2;
    440 process_madvise;
    441 epoll_pwait2;
    442 mount_setattr;
    443 quotactl_fd;
    444 landlock_create_ruleset;
    445 landlock_add_rule;
    446 landlock_restrict_self;
    447 memfd_secret;
    448 process_mrelease;
    449 futex_waitv;
    450 set_mempolicy_home_node;
    451 cachestat;
    452 fchmodat2;
    453 map_shadow_stack;
    454 futex_wake;
    455 futex_wait;
    456 futex_requeue;
    457 statmount;
    458 listmount;
    459 lsm_get_self_attr;
    460 lsm_set_self_attr;
    461 lsm_list_modules;
    462 mseal;
    463 setxattrat;
    464 getxattrat;
    465 listxattrat;
    466 removexattrat;
    467 open_tree_attr;
}
}
pub(super) use rows::HANDLERS;
pub use rows::TABLE;
