//! Taking completions: `io_getevents`.

use abi::aio::IoEvent;
use abi::{Errno, Result};
use core::sync::atomic::Ordering;

use super::Context;
use crate::mm::user::UserPtr;

/// Takes up to `most` events, waiting until there are `least` or the deadline of the monotonic clock.
///
/// # Errors
/// `EFAULT`, `EINVAL` once the context is destroyed, `ERESTARTSYS` when a signal came first.
pub fn get_events(
    context: &Context,
    least: usize,
    most: usize,
    out: UserPtr<IoEvent>,
    deadline_ns: Option<u64>,
) -> Result<usize> {
    let mut done = 0;
    loop {
        match take(context, most - done, out.add(done)) {
            Ok(taken) => done += taken,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => return Ok(done),
        }
        if done >= least {
            return Ok(done);
        }
        let ready = || {
            let dead = context.dead.load(Ordering::SeqCst);
            (dead || context.ring.held() > 0).then_some(dead)
        };
        let waited = context.waiters.wait_until_deadline(deadline_ns, ready);
        match waited {
            Ok(Some(false)) => {}
            _ if done > 0 => return Ok(done),
            Ok(Some(true)) => return Err(Errno::EINVAL),
            Ok(None) => return Ok(0),
            Err(errno) => return Err(errno),
        }
    }
}

/// Moves what is there to the user; an event that cannot be stored stays.
fn take(context: &Context, most: usize, out: UserPtr<IoEvent>) -> Result<usize> {
    let _reader = context.reader.lock();
    let mut done = 0;
    while done < most
        && let Some(event) = context.ring.first()
    {
        match out.add(done).write(&event) {
            Ok(()) => {}
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        context.ring.advance();
        done += 1;
    }
    Ok(done)
}
