//! Network cards: Ethernet frames in and out.

use alloc::sync::Arc;

use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacAddress(pub [u8; 6]);

/// Who receives. Called from interrupt context or from a polling thread.
pub trait FrameSink: Send + Sync {
    /// A whole frame without its checksum; the slice is valid during the call only.
    fn frame(&self, frame: &[u8]);

    /// The link came up or went down.
    fn link(&self, up: bool);
}

/// A network card.
pub trait NetDevice: Send + Sync {
    fn mac(&self) -> MacAddress;

    /// Largest payload of a frame, in bytes.
    fn mtu(&self) -> usize;

    fn link_up(&self) -> bool;

    /// Queues a frame (copied); `Busy` when there is no room now.
    fn transmit(&self, frame: &[u8]) -> Result<()>;

    /// Starts receiving into `sink`.
    fn start(&self, sink: Arc<dyn FrameSink>) -> Result<()>;
}
