//! Moving bytes between files inside the kernel: `sendfile`, `copy_file_range`, `splice`, `tee`, `vmsplice`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::fs::{MAX_RW_COUNT, OpenFlags, SPLICE_F_NONBLOCK};
use abi::{Errno, Result};
use pipe::{Buffer, Consumed, PAGE};

use crate::fs::file::File;
use crate::fs::pipe::Pipe;
use crate::fs::rw;
use crate::fs::{limits, notify};
use crate::mm::frame;
use crate::mm::user::{IoSink, IoSource};
use crate::signal;
use crate::sync::current;

/// The most bytes that one step carries.
const CHUNK: usize = 64 * 1024;
/// The same between two files: what is read is still in the processor's inner cache when it is written.
const COPY_STEP: usize = 16 * 1024;

/// A buffer of the kernel's for one step.
fn buffer(len: usize) -> Result<Vec<u8>> {
    let len = len.clamp(1, CHUNK);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Copies up to `count` bytes from `input` at `in_pos` to `output` at `out_pos`. What the output does not take is not
/// taken from the input.
pub fn copy(
    input: &Arc<File>,
    in_pos: &mut u64,
    output: &Arc<File>,
    out_pos: &mut u64,
    count: usize,
) -> Result<usize> {
    let count = count.min(MAX_RW_COUNT);
    // Within one file the same page could be read and written at once.
    let in_place = !Arc::ptr_eq(input.inode(), output.inode());
    let total = match input.inode().page_cache().filter(|_| in_place) {
        Some(cache) => {
            input.accessed();
            steps(count, in_pos, |pos, want| {
                let run = cache.run(pos, want)?;
                match run.len() {
                    0 => Ok((0, 0)),
                    got => Ok((got, output.ops().write(output, &mut run.source(), out_pos)?)),
                }
            })
        }
        None => {
            let mut bytes = buffer(count.min(COPY_STEP))?;
            steps(count, in_pos, |mut pos, want| {
                let want = want.min(bytes.len());
                let chunk = bytes.get_mut(..want).ok_or(Errno::EFAULT)?;
                let mut sink = IoSink::kernel(chunk);
                let got = input.ops().read(input, &mut sink, &mut pos)?;
                if got == 0 {
                    return Ok((0, 0));
                }
                let chunk = bytes.get(..got).ok_or(Errno::EFAULT)?;
                let mut source = IoSource::kernel(chunk);
                Ok((got, output.ops().write(output, &mut source, out_pos)?))
            })
        }
    }?;
    if total != 0 {
        notify::file_event(input, notify::Event::ACCESS);
        notify::file_event(output, notify::Event::MODIFY);
    }
    Ok(total)
}

/// Takes steps, each from a position and of at most so many bytes, until there are `count`, the input ends, the output
/// takes less than the input gave (a step answers both), or the task is to die. An error counts only if nothing was copied before.
fn steps(
    count: usize,
    in_pos: &mut u64,
    mut step: impl FnMut(u64, usize) -> Result<(usize, usize)>,
) -> Result<usize> {
    let mut total = 0;
    while total < count {
        let (got, put) = match step(*in_pos, count - total) {
            Ok(moved) => moved,
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        };
        total += put;
        *in_pos += put as u64;
        if got == 0 || put < got || signal::fatal_pending(&current()) {
            break;
        }
    }
    Ok(total)
}

/// Puts a piece of kernel memory into the pipe as buffers of its own. Returns how much fitted.
fn push(pipe: &Pipe, bytes: &[u8]) -> Result<usize> {
    pipe.with_state(|state| {
        let mut done = 0;
        for piece in bytes.chunks(PAGE) {
            if state.ring.is_full() {
                break;
            }
            let page = match frame::alloc() {
                Ok(page) => page,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            page.write(0, piece);
            let buffer = Buffer {
                page,
                offset: 0,
                len: piece.len(),
                mergeable: true,
                packet: false,
            };
            if state.ring.push(buffer).is_err() {
                break;
            }
            done += piece.len();
        }
        Ok(done)
    })
}

/// Waits for room in a pipe that is written to; EPIPE, with SIGPIPE, without readers.
fn wait_room(pipe: &Pipe, nonblock: bool) -> Result<()> {
    loop {
        if pipe.readers_gone() {
            limits::send_sigpipe();
            return Err(Errno::EPIPE);
        }
        if !pipe.with_state(|state| state.ring.is_full()) {
            return Ok(());
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        pipe.wait_writable()?;
    }
}

/// Waits for something in a pipe; false at its end.
fn wait_data(pipe: &Pipe, nonblock: bool) -> Result<bool> {
    loop {
        if !pipe.with_state(|state| state.ring.is_empty()) {
            return Ok(true);
        }
        if pipe.writers_gone() {
            return Ok(false);
        }
        if nonblock {
            return Err(Errno::EAGAIN);
        }
        pipe.wait_readable()?;
    }
}

fn nonblocking(file: &File, flags: u32) -> bool {
    flags & SPLICE_F_NONBLOCK != 0 || file.flags().contains(OpenFlags::NONBLOCK)
}

/// From a file into a pipe.
pub fn file_to_pipe(
    input: &Arc<File>,
    pos: Option<&mut u64>,
    output: &Arc<File>,
    pipe: &Pipe,
    count: usize,
    flags: u32,
) -> Result<usize> {
    wait_room(pipe, nonblocking(output, flags))?;
    let room = pipe.with_state(|state| state.ring.capacity() - state.ring.used()) * PAGE;
    let mut bytes = buffer(count.min(room))?;
    match pos {
        Some(pos) => {
            let mut at = *pos;
            let got = input
                .ops()
                .read(input, &mut IoSink::kernel(&mut bytes), &mut at)?;
            let put = push(pipe, bytes.get(..got).unwrap_or_default())?;
            *pos += put as u64;
            Ok(put)
        }
        None => {
            let got = rw::read_uncounted(input, &mut IoSink::kernel(&mut bytes))?;
            push(pipe, bytes.get(..got).unwrap_or_default())
        }
    }
}

/// Copies the front of the pipe without taking it.
fn peek(pipe: &Pipe, max: usize) -> Result<Vec<u8>> {
    let mut bytes = buffer(max.min(CHUNK))?;
    let len = pipe.with_state(|state| {
        let mut done = 0;
        for index in 0..state.ring.used() {
            let Some(buffer) = state.ring.get(index) else {
                break;
            };
            let room = bytes.len() - done;
            let len = buffer.len.min(room);
            if let Some(out) = bytes.get_mut(done..done + len) {
                buffer.page.read(buffer.offset, out);
            }
            done += len;
            if len < buffer.len || done == bytes.len() {
                break;
            }
        }
        done
    });
    bytes.truncate(len);
    Ok(bytes)
}

/// Takes `len` bytes from the front of the pipe.
fn take(pipe: &Pipe, mut len: usize) {
    pipe.with_state(|state| {
        while len != 0 {
            let Some(front) = state.ring.front() else {
                break;
            };
            let step = front.len.min(len);
            len -= step;
            if let Some(Consumed::Partly) = state.ring.consume(step) {
                break;
            }
        }
    });
}

/// From a pipe into a file.
pub fn pipe_to_file(
    input: &Arc<File>,
    pipe: &Pipe,
    output: &Arc<File>,
    pos: Option<&mut u64>,
    count: usize,
    flags: u32,
) -> Result<usize> {
    let mut local = 0;
    let own_pos = pos.is_none();
    let pos = pos.unwrap_or(&mut local);
    let mut total = 0;
    while total < count {
        // Only the first step waits: what is there goes, and the call returns.
        if total != 0 && pipe.with_state(|state| state.ring.is_empty()) {
            break;
        }
        if !wait_data(pipe, nonblocking(input, flags))? {
            break;
        }
        let bytes = peek(pipe, count - total)?;
        let mut source = IoSource::kernel(&bytes);
        let written = if own_pos {
            rw::write_uncounted(output, &mut source)
        } else {
            output.ops().write(output, &mut source, pos)
        };
        match written {
            Ok(n) => {
                take(pipe, n);
                total += n;
                if n < bytes.len() {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(total)
}

/// From one pipe into another.
pub fn pipe_to_pipe(
    input: &Arc<File>,
    from: &Pipe,
    output: &Arc<File>,
    to: &Pipe,
    count: usize,
    flags: u32,
) -> Result<usize> {
    let put = tee(input, from, output, to, count, flags)?;
    take(from, put);
    Ok(put)
}

/// From one pipe into another; leaves the input as it is.
pub fn tee(
    input: &Arc<File>,
    from: &Pipe,
    output: &Arc<File>,
    to: &Pipe,
    count: usize,
    flags: u32,
) -> Result<usize> {
    if core::ptr::eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let nonblock = nonblocking(input, flags) || nonblocking(output, flags);
    if !wait_data(from, nonblock)? {
        return Ok(0);
    }
    wait_room(to, nonblock)?;
    let room = to.with_state(|state| state.ring.capacity() - state.ring.used()) * PAGE;
    let bytes = peek(from, count.min(room))?;
    push(to, &bytes)
}
