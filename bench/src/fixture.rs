//! What tests are made of: descriptors, a folder of their own, counters.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::PathBuf;

use crate::problem::{Outcome, Problem, ensure, expect, good};
use crate::sys;

/// A descriptor, closed with this. Closures that use it capture it whole.
pub struct Fd(i32);

impl Fd {
    #[inline(always)]
    pub fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

pub fn open(path: &CStr, flags: i32, mode: u32) -> Outcome<Fd> {
    let what = path.to_string_lossy();
    good(&what, sys::open(path, flags | libc::O_CLOEXEC, mode)).map(|fd| Fd(fd as i32))
}

/// Opens a character device: a plain file in its place would measure something else.
pub fn device(path: &CStr, flags: i32) -> Outcome<Fd> {
    let mut about: libc::stat = sys::blank();
    good("stat", sys::stat(path, &mut about))?;
    ensure(about.st_mode & libc::S_IFMT == libc::S_IFCHR, || {
        format!("{} is no device", path.to_string_lossy())
    })?;
    open(path, flags, 0)
}

/// Both ends of a pipe, the reader's first.
pub fn pipe() -> Outcome<(Fd, Fd)> {
    let mut ends = [0; 2];
    good("pipe2", sys::pipe2(&mut ends, libc::O_CLOEXEC))?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

/// Both ends of a pair of UNIX sockets.
pub fn sockets(kind: i32) -> Outcome<(Fd, Fd)> {
    let mut ends = [0; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    good(
        "socketpair",
        sys::socketpair(libc::AF_UNIX, kind, 0, &mut ends),
    )?;
    Ok((Fd(ends[0]), Fd(ends[1])))
}

pub fn eventfd(value: u32) -> Outcome<Fd> {
    good("eventfd2", sys::eventfd2(value, libc::EFD_CLOEXEC)).map(|fd| Fd(fd as i32))
}

pub fn epoll() -> Outcome<Fd> {
    good("epoll_create1", sys::epoll_create1(libc::EPOLL_CLOEXEC)).map(|fd| Fd(fd as i32))
}

/// Lets this process have as many descriptors as it may.
pub fn raise_descriptor_limit(wanted: u64) -> Outcome {
    let mut limit: libc::rlimit = sys::blank();
    good("getrlimit", sys::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
    limit.rlim_cur = limit.rlim_max;
    good("setrlimit", sys::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    ensure(limit.rlim_cur >= wanted, || {
        "too few descriptors are allowed".to_owned()
    })
}

/// A child that does its part of a test until it is killed, which dropping this does.
pub struct Partner(i32);

impl Partner {
    /// Forks; the child runs `work`.
    pub fn start(work: impl FnOnce() -> Outcome) -> Outcome<Self> {
        let pid = good("fork", sys::fork())?;
        if pid != 0 {
            return Ok(Self(pid as i32));
        }
        // No partner outlives its test, however that ends.
        sys::prctl_number(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if let Err(problem) = work() {
            eprintln!("bench: in a child: {problem}");
        }
        sys::exit(1)
    }

    pub fn pid(&self) -> i32 {
        self.0
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        sys::kill(self.0, libc::SIGKILL);
        sys::wait4(self.0, &mut 0, 0, 0);
    }
}

/// Hands on byte after byte, until the channel is closed.
pub fn echo(from: &Fd, to: &Fd) -> Outcome {
    let mut byte = [0];
    loop {
        let count = sys::read(from.number(), &mut byte);
        if count == 0 {
            return Ok(());
        }
        expect("read", count, 1)?;
        expect("write", sys::write(to.number(), &byte), 1)?;
    }
}

/// A folder for one test, removed with this.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new() -> Outcome<Self> {
        let base = std::env::var_os("TMPDIR").unwrap_or_else(|| "/tmp".into());
        let path = PathBuf::from(base).join(format!("bench.{}", std::process::id()));
        fs::create_dir_all(path.join("folder"))
            .map_err(|error| Problem::new(format!("{}: {error}", path.display())))?;
        Ok(Self { path })
    }

    /// The folder's own folder.
    pub fn path(&self) -> PathBuf {
        self.path.join("folder")
    }

    /// Makes folders within the folder, as deep as `name` says.
    pub fn folders(&self, name: &str) -> Outcome {
        let path = self.path().join(name);
        fs::create_dir_all(&path)
            .map_err(|error| Problem::new(format!("{}: {error}", path.display())))
    }

    /// A path in the folder's own folder: below the root, /tmp and the test's.
    pub fn name(&self, name: &str) -> CString {
        let path = self.path().join(name);
        CString::new(path.into_os_string().into_encoded_bytes()).unwrap_or_default()
    }

    /// Makes a file there.
    pub fn file(&self, name: &str, content: &[u8]) -> Outcome<CString> {
        let path = self.path().join(name);
        fs::write(&path, content)
            .map_err(|error| Problem::new(format!("{}: {error}", path.display())))?;
        Ok(self.name(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The page faults that this process has taken, at one moment.
pub struct Faults(i64);

impl Faults {
    pub fn now() -> Self {
        let mut usage: libc::rusage = sys::blank();
        sys::getrusage(libc::RUSAGE_SELF, &mut usage);
        Self(usage.ru_minflt + usage.ru_majflt)
    }

    /// Holds what came since against the least that a test must take.
    pub fn at_least(&self, least: u64) -> Outcome {
        let taken = Self::now().0 - self.0;
        ensure(taken >= least as i64, || {
            format!("{taken} faults, where {least} are the least")
        })
    }
}
