//! A child: makes random calls until its share is done or it dies of them.

use crate::random::Random;
use crate::sys::{call, sys};
use crate::table::CALLS;

const PAGE: usize = 4096;
/// Pages of the memory that calls are pointed at.
const ARENA: usize = 32 * PAGE;
const RW: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
const ANON: usize = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;

/// How long a call may wait. Waiting makes no calls: shorter is faster.
const WAKE_US: i64 = 2_000;
/// Signals that calls send and timers raise, which end who does not handle them.
const BORNE: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGPIPE,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGXCPU,
    libc::SIGXFSZ,
    40,
];

const PATHS: &[&std::ffi::CStr] = &[
    c"f",
    c"g",
    c"d",
    c"d/f",
    c"link",
    c"loop",
    c"fifo",
    c"sock",
    c"none",
    c"none/x",
    c"f/x",
    c"",
    c".",
    c"d/",
    c"./d/../f",
    c"garbage",
    c"script",
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/ptmx",
    c"/proc/self/maps",
    c"/proc/self/fd/4",
    c"/proc/self/stat",
    c"/proc/meminfo",
    c"/proc/self/environ",
    c"/sys/kernel",
    c"/proc",
];

pub struct Child<'a> {
    random: Random,
    arena: usize,
    /// A call's start is counted here, where the parent sees it.
    count: &'a std::sync::atomic::AtomicU64,
    pid: isize,
}

impl<'a> Child<'a> {
    pub fn new(random: Random, count: &'a std::sync::atomic::AtomicU64) -> Self {
        let flags = [0, ARENA, RW, ANON, usize::MAX, 0];
        let arena = call(libc::SYS_mmap as usize, flags) as usize;
        Self {
            random,
            arena,
            count,
            pid: sys(libc::SYS_getpid, &[]),
        }
    }

    /// Never returns.
    pub fn run(mut self, calls: u64) -> ! {
        self.set_up();
        for turn in 0..calls {
            if turn % 16 == 0 {
                self.keep_waking();
            }
            if turn % 64 == 0 {
                self.bear_signals();
                self.refill();
            }
            let (number, name, kinds) = self.random.pick(CALLS);
            // A process that ends is fine, but not too often.
            if name.starts_with("exit") && !self.random.one_in(30) {
                continue;
            }
            let mut args = [0; 6];
            for (slot, kind) in args.iter_mut().zip(kinds.chars()) {
                *slot = self.value(kind);
            }
            self.count
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            call(number, args);
            if sys(libc::SYS_getpid, &[]) != self.pid {
                // A child of this one: it has nothing to do.
                sys(libc::SYS_exit_group, &[0]);
            }
        }
        loop {
            sys(libc::SYS_exit_group, &[0]);
        }
    }

    /// Bounds what can be had, and opens some of each kind of file.
    fn set_up(&mut self) {
        for (what, most) in [
            (libc::RLIMIT_AS, 96_u64 << 20),
            (libc::RLIMIT_FSIZE, 1 << 20),
            (libc::RLIMIT_NOFILE, 64),
            (libc::RLIMIT_NPROC, 64),
            (libc::RLIMIT_CORE, 0),
            (libc::RLIMIT_MEMLOCK, 1 << 20),
            (libc::RLIMIT_SIGPENDING, 64),
            (libc::RLIMIT_MSGQUEUE, 1 << 16),
            (libc::RLIMIT_RTPRIO, 0),
        ] {
            let limit = [most, most];
            sys(
                libc::SYS_prlimit64,
                &[0, what as usize, limit.as_ptr() as usize, 0],
            );
        }
        // Most are ordinary users; one in four is root, who is shut in, to do no harm by name.
        if self.random.one_in(4) {
            sys(libc::SYS_chroot, &[c"..".as_ptr() as usize]);
        } else {
            let user = 5000 + self.random.below(8);
            sys(libc::SYS_setgroups, &[0, 0]);
            sys(libc::SYS_setresgid, &[user, user, user]);
            sys(libc::SYS_setresuid, &[user, user, user]);
        }
        self.open_files();
    }

    fn open_files(&mut self) {
        let here = libc::AT_FDCWD as usize;
        let open = |path: &std::ffi::CStr, flags: i32| {
            sys(
                libc::SYS_openat,
                &[here, path.as_ptr() as usize, flags as usize, 0o666],
            );
        };
        let rw = libc::O_RDWR | libc::O_NONBLOCK;
        open(c"f", rw | libc::O_CREAT);
        open(c"g", rw | libc::O_CREAT);
        open(c".", libc::O_RDONLY);
        open(c"/dev/zero", rw);
        open(c"/dev/null", rw);
        open(c"/dev/ptmx", rw | libc::O_NOCTTY);
        open(c"/proc/self/stat", libc::O_RDONLY);
        open(c"f", libc::O_PATH);
        let pair = self.arena;
        sys(libc::SYS_pipe2, &[pair, libc::O_NONBLOCK as usize]);
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            let kind = (kind | libc::SOCK_NONBLOCK) as usize;
            sys(
                libc::SYS_socketpair,
                &[libc::AF_UNIX as usize, kind, 0, pair],
            );
        }
        sys(libc::SYS_epoll_create1, &[0]);
        sys(libc::SYS_eventfd2, &[1, libc::EFD_NONBLOCK as usize]);
        sys(libc::SYS_timerfd_create, &[1, libc::TFD_NONBLOCK as usize]);
        sys(libc::SYS_inotify_init1, &[libc::IN_NONBLOCK as usize]);
        sys(
            libc::SYS_memfd_create,
            &[c"m".as_ptr() as usize, libc::MFD_ALLOW_SEALING as usize],
        );
        sys(libc::SYS_pidfd_open, &[self.pid as usize, 0]);
    }

    /// Signals that random calls send are mostly borne: a process that dies of one in two hundred calls makes few, and
    /// none that needs much to have gone before.
    fn bear_signals(&mut self) {
        for signal in BORNE {
            if !self.random.one_in(12) {
                handle(signal);
            }
        }
    }

    /// A timer ends calls that wait; random calls may have turned it off or blocked it.
    fn keep_waking(&mut self) {
        handle(libc::SIGALRM);
        let none = 0_u64;
        sys(
            libc::SYS_rt_sigprocmask,
            &[2, &raw const none as usize, 0, 8],
        );
        let time = [0_i64, WAKE_US, 0, WAKE_US];
        sys(libc::SYS_setitimer, &[0, time.as_ptr() as usize, 0]);
    }

    /// Puts new values into the memory that arguments point to.
    fn refill(&mut self) {
        let flags = ANON | libc::MAP_FIXED as usize;
        if call(
            libc::SYS_mmap as usize,
            [self.arena, ARENA, RW, flags, usize::MAX, 0],
        ) < 0
        {
            sys(libc::SYS_exit_group, &[1]);
        }
        for page in 0..24 {
            for slot in 0..24 {
                let value = match self.random.below(6) {
                    0 => 0,
                    1 => self.random.below(64) as u64,
                    2 => self.address() as u64,
                    3 => self.random.next(),
                    4 => 1 << self.random.below(64),
                    _ => self.random.below(5000) as u64,
                };
                // SAFETY: the arena has just been mapped.
                unsafe {
                    ((self.arena + page * PAGE) as *mut u64)
                        .add(slot)
                        .write_volatile(value)
                };
            }
        }
        // Some of it cannot be written, some not read, and some is not there.
        sys(
            libc::SYS_mprotect,
            &[self.arena + 24 * PAGE, 2 * PAGE, libc::PROT_READ as usize],
        );
        sys(libc::SYS_mprotect, &[self.arena + 27 * PAGE, PAGE, 0]);
        sys(libc::SYS_munmap, &[self.arena + 29 * PAGE, PAGE]);
    }

    fn address(&mut self) -> usize {
        let page = self.arena + self.random.below(ARENA / PAGE) * PAGE;
        match self.random.below(12) {
            0 => 0,
            1 => self
                .random
                .pick(&[8, 4095, 4096, usize::MAX, usize::MAX - 4095]),
            2 => self
                .random
                .pick(&[0x7fff_ffff_f000, 0x7fff_ffff_fff8, 0x8000_0000_0000]),
            3 => self
                .random
                .pick(&[0xffff_8000_0000_0000, 0xffff_ffff_8000_0000]),
            4 => page + PAGE - self.random.below(32),
            5 => page + self.random.below(PAGE),
            _ => page,
        }
    }

    fn value(&mut self, kind: char) -> usize {
        if self.random.one_in(40) {
            return self.random.next() as usize;
        }
        match kind {
            'A' => self.address(),
            'C' => self.clone_flags(),
            'F' => match self.random.below(12) {
                0 => libc::AT_FDCWD as usize,
                1 => self.random.pick(&[usize::MAX, 99, 1 << 31, 1_000_000]),
                _ => self.random.below(32),
            },
            'G' => match self.random.below(4) {
                0 => 0,
                1 => 1 << self.random.below(32),
                2 => (1 << self.random.below(24)) | (1 << self.random.below(24)),
                _ => self.random.below(16),
            },
            'I' => self.ioctl(),
            'L' => match self.random.below(6) {
                0 => self
                    .random
                    .pick(&[0, usize::MAX, 1 << 31, 1 << 40, (1 << 63) - 1]),
                1 => self.random.below(70_000),
                2 => PAGE << self.random.below(8),
                _ => self.random.below(64),
            },
            'O' => self
                .random
                .pick(&[0, 1, PAGE, 4095, usize::MAX, (1 << 63) - 1, 1 << 40, 100]),
            'Q' => self.neighbour(),
            'T' => self.trace_request(),
            'V' => match self.random.below(4) {
                0 => self.random.pick(&[0, 7, 0x7f, 1 << 20, (1 << 20) + 0x7f]),
                1 => self.random.pick(&[
                    libc::SIGUSR1 as usize,
                    libc::SIGKILL as usize,
                    libc::SIGTRAP as usize,
                    libc::SIGCONT as usize,
                ]),
                2 => 0,
                _ => self.address(),
            },
            'P' => self.random.pick(&[0, self.pid as usize, 0x3fff_ffff]),
            'S' => match self.random.below(12) {
                0 => self.address(),
                _ => self.random.pick(PATHS).as_ptr() as usize,
            },
            'X' if self.random.one_in(2) => self.address(),
            'Z' => self.random.pick(&[0, 10, 14, 17, 18, 23, 28, 40, 65]),
            _ => match self.random.below(8) {
                0 => self
                    .random
                    .pick(&[usize::MAX, 1 << 31, 1 << 32, 0x7fff_ffff]),
                1 => self.random.below(1000),
                _ => self.random.below(40),
            },
        }
    }

    /// A child of the fuzzer, by its being a little older or younger than this one, or nobody.
    fn neighbour(&mut self) -> usize {
        let parent = sys(libc::SYS_getppid, &[]);
        let other = self.pid - 8 + self.random.below(16) as isize;
        match other > parent && !self.random.one_in(10) {
            true => other as usize,
            false => self.random.pick(&[0, self.pid as usize, 0x3fff_ffff]),
        }
    }

    /// Most often one that gets or keeps a tracee.
    fn trace_request(&mut self) -> usize {
        match self.random.below(5) {
            0 => self.random.pick(&[0x4206, 0x4206, 16, 0]),
            1 => self.random.pick(&[0x4207, 0x4208]),
            2 => self.random.pick(&[7, 9, 17, 24, 31, 32, 33]),
            3 => 0x4200 + self.random.below(16),
            _ => self.random.below(36),
        }
    }

    /// No memory is shared: the stack would be, too. The end is told by SIGCHLD or not at all.
    fn clone_flags(&mut self) -> usize {
        let shares = [
            0x200, 0x400, 0x800, 0x1000, 0x8000, 0x40000, 0x100000, 0x200000, 0x1000000,
        ];
        let flags = self.random.pick(&shares) | self.random.pick(&shares);
        flags | self.random.pick(&[0, libc::SIGCHLD as usize])
    }

    fn ioctl(&mut self) -> usize {
        match self.random.below(4) {
            0 => 0x5400 + self.random.below(0x70),
            1 => self
                .random
                .pick(&[0x541b, 0x5421, 0x5450, 0x5451, 0x8004_5430, 0x4004_5431]),
            2 => self
                .random
                .pick(&[0x80045430, 0x5441, 0xc020_660b, 0x8008_6601, 0x4008_6602]),
            _ => self.random.next() as usize & 0xffff_ffff,
        }
    }
}

/// Gives a signal a handler that does nothing.
fn handle(signal: i32) {
    extern "C" fn nothing(_signal: i32) {}
    let action = [
        nothing as extern "C" fn(i32) as usize,
        0x0400_0000,
        restorer as *const () as usize,
        0,
    ];
    sys(
        libc::SYS_rt_sigaction,
        &[signal as usize, action.as_ptr() as usize, 0, 8],
    );
}

std::arch::global_asm!("fuzz_restorer:", "mov eax, 15", "syscall");
unsafe extern "C" {
    #[link_name = "fuzz_restorer"]
    fn restorer();
}
