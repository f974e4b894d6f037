//! Disks: requests in flight, completed by callback.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::{DeviceError, Result};

/// The unit of `BlockRequest::sector`, whatever the disk's own block size.
pub const SECTOR_BYTES: u64 = 512;

/// What a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Smallest unit the disk reads and writes, in bytes; a power of two of at least 512.
    pub logical_block_bytes: u32,
    pub read_only: bool,
    /// Most segments a request may have.
    pub max_segments: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOp {
    Read,
    Write,
    /// Everything written before is on the medium when this completes. Has no segments.
    Flush,
    /// The content of these sectors is no longer needed. Has no segments.
    Discard {
        sectors: u64,
    },
}

/// A physically contiguous piece of memory that the device reads or writes.
///
/// Whoever submits the request keeps the memory in place until the request completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub phys: u64,
    pub bytes: u32,
}

/// One request; its `done` runs exactly once, maybe in interrupt context.
pub struct BlockRequest {
    pub op: BlockOp,
    pub sector: u64,
    pub segments: Vec<Segment>,
    pub done: Box<dyn FnOnce(Result<()>) + Send>,
}

impl BlockRequest {
    /// Sectors the request touches.
    pub fn sectors(&self) -> u64 {
        match self.op {
            BlockOp::Discard { sectors } => sectors,
            _ => {
                self.segments
                    .iter()
                    .map(|s| u64::from(s.bytes))
                    .sum::<u64>()
                    / SECTOR_BYTES
            }
        }
    }

    /// Checks the request against the disk, before any driver sees it.
    pub fn check(&self, info: &BlockInfo) -> Result<()> {
        let unit = info.logical_block_bytes;
        let aligned = self
            .segments
            .iter()
            .all(|s| s.bytes != 0 && s.bytes % unit == 0)
            && (self.sector * SECTOR_BYTES).is_multiple_of(u64::from(unit));
        let end = self.sector.checked_add(self.sectors());
        if !aligned || self.segments.len() > info.max_segments {
            return Err(DeviceError::Invalid);
        }
        if end.is_none_or(|end| end > info.sectors) {
            return Err(DeviceError::Invalid);
        }
        if info.read_only && !matches!(self.op, BlockOp::Read | BlockOp::Flush) {
            return Err(DeviceError::ReadOnly);
        }
        Ok(())
    }
}

/// A disk.
pub trait BlockDevice: Send + Sync {
    fn info(&self) -> BlockInfo;

    /// Starts a request. A refused request comes back untouched with the reason, and its `done` has not run.
    fn submit(
        &self,
        request: BlockRequest,
    ) -> core::result::Result<(), (DeviceError, BlockRequest)>;
}
