//! From the file that was named to the files that are loaded.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::{Errno, Result};
use elf::Plan;

use super::{ExecRequest, Strings};
use abi::fs::AT_FDCWD;

use crate::fs::{self, File};
use crate::mm::user::IoSink;
use crate::task::try_zeroed;

/// Scripts may name scripts as interpreters so many times (BINPRM's depth).
const MAX_SCRIPTS: usize = 5;
/// The first look at a file: enough for the headers of every usual program in one read.
const HEAD: usize = 1024;

/// All that is known before anything is mapped.
pub(super) struct Program {
    /// What is loaded.
    pub(super) file: Arc<File>,
    /// How.
    pub(super) plan: Plan,
    /// The dynamic linker and how it is loaded.
    pub(super) interpreter: Option<(Arc<File>, Plan)>,
    /// The name the caller gave: AT_EXECFN, and what the thread is called after. A script's, not its interpreter's.
    pub(super) name: Vec<u8>,
    pub(super) argv: Strings,
    pub(super) envp: Strings,
    /// Whether a script was on the way: set-id bits of scripts do not count.
    pub(super) set_id_file: Arc<File>,
}

impl Program {
    /// The last component of the name.
    pub(super) fn comm(&self) -> &[u8] {
        self.name
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default()
    }
}

/// Follows `#!` lines to an ELF file and reads its headers and its interpreter's.
///
/// # Errors
/// `ENOEXEC` for what is neither, `ELOOP` for scripts all the way down, and those of opening the interpreter.
pub(super) fn resolve(request: ExecRequest) -> Result<Program> {
    let ExecRequest {
        mut file,
        name,
        mut argv,
        envp,
    } = request;
    if argv.count() == 0 {
        // A program without even its name crashes many; Linux gives an empty one.
        argv = Strings::from_kernel(&[b""])?;
    }
    let mut loaded_name = name.clone();
    // Not on the stack: what is called from here goes deep, down to the file system's devices.
    let mut buffer = try_zeroed(HEAD)?;
    for _ in 0..=MAX_SCRIPTS {
        let head = read_head(&file, &mut buffer)?;
        let Some(script) = elf::parse_script(head)? else {
            let plan = read_plan(&file, head)?;
            let interpreter = read_interpreter(&file, &plan, &mut buffer)?;
            let set_id_file = file.clone();
            return Ok(Program {
                file,
                plan,
                interpreter,
                name,
                argv,
                envp,
                set_id_file,
            });
        };
        match script.argument {
            Some(argument) => {
                argv.replace_first(&[script.interpreter, argument, &loaded_name])?;
            }
            None => argv.replace_first(&[script.interpreter, &loaded_name])?,
        }
        let interpreter = script.interpreter.to_vec();
        (file, _) = fs::open_exec_at(AT_FDCWD, &interpreter, 0)?;
        loaded_name = interpreter;
    }
    Err(Errno::ELOOP)
}

/// Reads a file's beginning.
fn read_head<'b>(file: &Arc<File>, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let len = read_at(file, 0, buffer)?;
    Ok(buffer.get(..len).unwrap_or_default())
}

/// Reads up to a buffer's length; a short file gives less.
fn read_at(file: &Arc<File>, mut offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut sink = IoSink::kernel(buffer);
    while sink.remaining() > 0 {
        match file.ops().read(file, &mut sink, &mut offset) {
            Ok(0) => break,
            Ok(_) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(sink.done())
}

fn read_plan(file: &Arc<File>, head: &[u8]) -> Result<Plan> {
    let header = elf::parse_header(head)?;
    let start = usize::try_from(header.phdrs_offset).map_err(|_| Errno::ENOEXEC)?;
    let end = start
        .checked_add(header.phdrs_len())
        .ok_or(Errno::ENOEXEC)?;
    if let Some(phdrs) = head.get(start..end) {
        return elf::plan(header, phdrs);
    }
    let mut phdrs = try_zeroed(header.phdrs_len())?;
    if read_at(file, header.phdrs_offset, &mut phdrs)? < phdrs.len() {
        return Err(Errno::ENOEXEC);
    }
    elf::plan(header, &phdrs)
}

/// The dynamic linker that a plan asks for. `buffer` is for its headers.
fn read_interpreter(
    file: &Arc<File>,
    plan: &Plan,
    buffer: &mut [u8],
) -> Result<Option<(Arc<File>, Plan)>> {
    let Some((offset, len)) = plan.interp else {
        return Ok(None);
    };
    let mut path = try_zeroed(len)?;
    if read_at(file, offset, &mut path)? < len {
        return Err(Errno::EIO);
    }
    let path = path.strip_suffix(&[0]).ok_or(Errno::ENOEXEC)?;
    let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
    let (interpreter, _) = fs::open_exec_at(AT_FDCWD, path, 0)?;
    let head = read_head(&interpreter, buffer)?;
    // What is wrong with the interpreter is not wrong with the program: Linux says so.
    let bad = |errno| {
        if errno == Errno::ENOEXEC {
            Errno::ELIBBAD
        } else {
            errno
        }
    };
    let plan = read_plan(&interpreter, head).map_err(bad)?;
    Ok(Some((interpreter, plan)))
}
