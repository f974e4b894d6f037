//! `/dev/random`, `/dev/urandom` and `/dev/hwrng`: what their files do besides reading.

use abi::poll::PollEvents;
use abi::{Errno, Result};

use super::{READY_WAIT, add, entropy_bits, is_ready, mix, rekey_base, sources};
use crate::mm::user::{IoSink, IoSource, UserPtr, UserSlice};
use crate::sync::PollTable;
use crate::task::{self, Cap};

/// Mixes what a user writes into the pool; nobody vouches for it, so it counts nothing.
pub fn write(source: &mut IoSource<'_>) -> Result<usize> {
    let total = source.remaining();
    let mut block = [0; 256];
    while source.remaining() > 0 {
        let count = source.remaining().min(block.len());
        if let Err(error) = source.take(&mut block[..count]) {
            let taken = total - source.remaining();
            return if taken == 0 { Err(error) } else { Ok(taken) };
        }
        mix(&block[..count]);
    }
    Ok(total)
}

/// What `poll` answers for `/dev/random`: readable when ready, writable while it is not.
pub fn poll(table: Option<&mut PollTable>) -> PollEvents {
    if let Some(table) = table {
        table.register(&READY_WAIT);
    }
    if is_ready() {
        PollEvents::IN | PollEvents::RDNORM
    } else {
        PollEvents::OUT | PollEvents::WRNORM
    }
}

const RNDGETENTCNT: u32 = 0x8004_5200;
const RNDADDTOENTCNT: u32 = 0x4004_5201;
const RNDADDENTROPY: u32 = 0x4008_5203;
const RNDZAPENTCNT: u32 = 0x5204;
const RNDCLEARPOOL: u32 = 0x5206;
const RNDRESEEDCRNG: u32 = 0x5207;

fn may_administer() -> Result<()> {
    if task::current().cred().capable(Cap::SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The requests of `random(4)`.
pub fn ioctl(request: u32, argument: usize) -> Result<usize> {
    match request {
        RNDGETENTCNT => UserPtr::<i32>::from(argument).write(&(entropy_bits() as i32))?,
        RNDADDTOENTCNT => {
            may_administer()?;
            let bits = UserPtr::<i32>::from(argument).read()?;
            credit(bits)?;
        }
        RNDADDENTROPY => {
            may_administer()?;
            let [bits, bytes] = UserPtr::<[i32; 2]>::from(argument).read()?;
            let bits = u32::try_from(bits).map_err(|_| Errno::EINVAL)?;
            let bytes = usize::try_from(bytes).map_err(|_| Errno::EINVAL)?;
            add_entropy(argument.wrapping_add(8), bytes, bits)?;
        }
        RNDZAPENTCNT | RNDCLEARPOOL => {
            // Entropy that was counted stays counted, as in Linux since 5.18.
            may_administer()?;
        }
        RNDRESEEDCRNG => {
            may_administer()?;
            if !is_ready() {
                return Err(Errno::ENODATA);
            }
            rekey_base();
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn credit(bits: i32) -> Result<()> {
    let bits = u32::try_from(bits).map_err(|_| Errno::EINVAL)?;
    // The pool credits no more than the bytes mixed in hold; here they came before, by `write`.
    add(&[0; 32], bits);
    Ok(())
}

fn add_entropy(address: usize, bytes: usize, bits: u32) -> Result<()> {
    let mut block = [0u8; 256];
    let mut done = 0;
    while done < bytes {
        let count = (bytes - done).min(block.len());
        UserSlice::new(address.wrapping_add(done), count)?.read_into(&mut block[..count])?;
        // All bits are credited with the last block, when all bytes are in.
        done += count;
        mix(&block[..count]);
    }
    if bytes > 0 {
        let bits = bits.min(u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(8));
        add(&[0; 32], bits);
    }
    Ok(())
}

/// `/dev/hwrng`.
pub struct Hwrng;

impl Hwrng {
    /// Bytes straight from the hardware generator.
    ///
    /// # Errors
    /// `ENODEV` without one, `EAGAIN` where it would have to wait and may not, `ERESTARTSYS` for a signal.
    pub fn read(sink: &mut IoSink<'_>, wait: bool) -> Result<usize> {
        let mut block = [0; 64];
        while sink.remaining() > 0 {
            let want = sink.remaining().min(block.len());
            match sources::read_source(&mut block[..want], wait && sink.done() == 0) {
                Ok(count) => sink.put(&block[..count])?,
                Err(error) => return sink.outcome(Err(error)),
            }
        }
        Ok(sink.done())
    }

    /// The name of the generator, as in `/sys/class/misc/hw_random/rng_current`.
    pub fn current_name() -> Option<alloc::string::String> {
        sources::current_source().map(|source| source.name().into())
    }
}
