//! Opening FIFOs: who waits for whom.

use alloc::sync::Arc;

use abi::fs::{OpenFlags, PIPEFS_MAGIC};
use abi::{Errno, Result};

use crate::fs::file::FileOpsRef;
use crate::fs::inode::Inode;
use crate::fs::pipe::{FifoEnd, Pipe};

/// Opens a FIFO. A reader waits for a writer and a writer for a reader, unless `O_NONBLOCK`; a writer then fails
/// with ENXIO. An open for both never waits.
pub fn open(inode: &Arc<Inode>, flags: OpenFlags) -> Result<FileOpsRef> {
    let (reads, writes) = match flags.access_mode() {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    // A pipe without a name has had both ends: nobody waits, and a missing partner is met at the first read or write.
    let unnamed = inode.sb.magic == PIPEFS_MAGIC;
    let nonblock = flags.contains(OpenFlags::NONBLOCK) || unnamed;
    let slot = &inode.extra_or_new().fifo;
    let fresh = Pipe::new();
    let mut guard = slot.lock();
    let pipe = guard.get_or_insert(fresh).clone();
    let (readers_seen, writers_seen, has_readers, has_writers) = pipe.partners();
    if writes && !reads && nonblock && !has_readers && !unnamed {
        if !has_writers {
            *guard = None;
        }
        return Err(Errno::ENXIO);
    }
    // Counted in under the slot's lock, so that a last close cannot take the pipe away meanwhile.
    pipe.open_end(reads, writes);
    drop(guard);
    pipe.wake_openers();
    let end = Arc::new(FifoEnd {
        pipe: pipe.clone(),
        // Only a non-blocking reader can be there before any writer.
        seen_writers: if reads && !writes && !has_writers && !unnamed {
            writers_seen
        } else {
            u32::MAX
        },
    });
    let waited = if reads && writes || nonblock {
        Ok(())
    } else if reads && !has_writers {
        pipe.wait_partner(true, writers_seen)
    } else if writes && !has_readers {
        pipe.wait_partner(false, readers_seen)
    } else {
        Ok(())
    };
    if let Err(error) = waited {
        pipe.close_end(reads, writes);
        return Err(error);
    }
    Ok(end.into())
}
