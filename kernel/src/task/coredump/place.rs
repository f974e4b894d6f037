//! Where a dump goes: a file of the process's own, or a program that the administrator named.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use abi::fs::{AT_FDCWD, OpenFlags};
use abi::signal::SigInfo;
use corefile::pattern::{self, Facts, Target};

use super::settings;
use crate::fs::{self, File, FileOps, OpenRequest, namei, open, path, pipe};
use crate::mm::MappedFile;
use crate::sync::CurrentTask;
use crate::task::Cred;
use crate::task::helper;
use crate::time;

/// The smallest limit that allows a file: a page.
const MIN_FILE: u64 = 4096;
/// A helper's own RLIMIT_CORE: it is not dumped to itself.
const HELPERS_LIMIT: u64 = 1;
/// The dumpable state of programs that changed their rights: dumped as the super-user's.
const SUID_DUMP_ROOT: u32 = 2;

/// Programs that read dumps now.
static PIPES: AtomicU32 = AtomicU32::new(0);

/// One of [`PIPES`].
pub(super) struct PipeCount;

impl PipeCount {
    /// `None` beyond the limit.
    fn take() -> Option<PipeCount> {
        let count = PIPES.fetch_add(1, Ordering::SeqCst) + 1;
        let taken = PipeCount;
        let limit = settings::pipe_limit();
        (limit == 0 || count <= limit).then_some(taken)
    }
}

impl Drop for PipeCount {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Where a dump goes.
pub(super) enum Place {
    File(Arc<File>),
    Pipe { writer: Arc<File>, count: PipeCount },
}

impl Place {
    /// Opens the file or starts the program that `core_pattern` names. `None` when there is to be no dump; the log says
    /// why where the administrator should know.
    pub(super) fn find(me: &CurrentTask, info: &SigInfo, mode: u32, limit: u64) -> Option<Place> {
        match target(me, info, mode, limit)? {
            Target::File(name) => open_as(me, &name, mode, limit).map(Place::File),
            Target::Pipe(argv) => start_reader(me, argv, limit),
        }
    }

    pub(super) fn file(&self) -> &Arc<File> {
        match self {
            Place::File(file) | Place::Pipe { writer: file, .. } => file,
        }
    }

    /// Closes it. Where programs that read dumps are counted, this waits until the program has let go of the pipe, so
    /// that it still finds the process in `/proc`.
    pub(super) fn close(self) {
        let Place::Pipe { writer, count } = self else {
            return;
        };
        let ops: Option<Arc<dyn FileOps>> = writer.shared_ops().cloned();
        drop(writer);
        if settings::pipe_limit() != 0
            && let Some(pipe) = ops.as_ref().and_then(|ops| ops.pipe())
        {
            // Killed: the program is on its own.
            let _ = pipe.wait_readers_gone();
        }
        drop(count);
    }
}

fn target(me: &CurrentTask, info: &SigInfo, mode: u32, limit: u64) -> Option<Target> {
    let cred = me.my_cred();
    let comm = me.comm();
    let hostname = me.my_uts().names().hostname;
    let exe = me.process.exe.lock().clone();
    let exe = exe.map(|file| file.maps_path());
    let facts = Facts {
        pid: me.process.pid.0,
        tid: me.tid().0,
        uid: cred.uid,
        gid: cred.gid,
        dump_mode: mode,
        signal: info.si_signo,
        time: (time::realtime_ns() / 1_000_000_000) as i64,
        hostname: until_nul(&hostname),
        comm: until_nul(&comm),
        exe: exe.as_deref(),
        limit,
    };
    let target = pattern::expand(&settings::pattern(), &facts, settings::uses_pid() != 0);
    if target.is_none() {
        log::warn!(
            "core_pattern names no program: no core of process {}",
            facts.pid
        );
    }
    target
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Opens the file as its user, or in mode 2 as the super-user.
fn open_as(me: &CurrentTask, name: &[u8], mode: u32, limit: u64) -> Option<Arc<File>> {
    if limit < MIN_FILE {
        return None;
    }
    if mode != SUID_DUMP_ROOT {
        return open_file(name, me.my_cred().fsuid, true);
    }
    if name.first() != Some(&b'/') {
        let pid = me.process.pid;
        log::info!("process {pid} changed its rights: its core needs a path from the root");
        return None;
    }
    // In the system's own tree, whatever root the process has chosen: it chose with fewer rights than it had.
    let context = fs::initial_context().ok()?;
    let old_cred = me.cred();
    let root_cred = Cred {
        fsuid: 0,
        ..Cred::clone(&old_cred)
    };
    me.set_cred(Arc::new(root_cred));
    let old_context = me.replace_fs(Some(context));
    let file = open_file(name, 0, false);
    drop(me.replace_fs(old_context));
    me.set_cred(old_cred);
    file
}

/// Makes a new file, which nobody else can have prepared.
fn open_file(name: &[u8], owner: u32, replace: bool) -> Option<Arc<File>> {
    let cred = crate::task::current().cred();
    if replace && let Ok(parent) = path::lookup_parent(AT_FDCWD, name) {
        // If it cannot be removed it is there, and the open says so.
        let _ = namei::unlink(&parent, &cred);
    }
    let flags = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOFOLLOW | OpenFlags::WRONLY;
    let request = OpenRequest::lenient(flags.bits(), 0o600).ok()?;
    let file = open::open(AT_FDCWD, name, &request).ok()?;
    let inode = file.inode();
    let is_mine = inode.uid() == owner && inode.mode() & 0o677 == 0o600;
    (inode.is_regular() && inode.nlink() == 1 && is_mine).then_some(file)
}

/// Starts the program with the reading end of a pipe for its standard input.
fn start_reader(me: &CurrentTask, argv: Vec<Vec<u8>>, limit: u64) -> Option<Place> {
    let pid = me.process.pid;
    if limit == HELPERS_LIMIT {
        log::info!("process {pid} has RLIMIT_CORE 1: no core of it");
        return None;
    }
    let Some(count) = PipeCount::take() else {
        log::info!("process {pid} is over core_pipe_limit: no core of it");
        return None;
    };
    let (reader, writer) = pipe::create(OpenFlags::empty()).ok()?;
    if let Err(errno) = helper::run(argv, reader, HELPERS_LIMIT) {
        log::info!("the program that core_pattern names cannot run ({errno}): no core of {pid}");
        return None;
    }
    Some(Place::Pipe { writer, count })
}
