//! Traits between drivers and the kernel, and fakes of them for tests.
//!
//! A driver implements these traits and knows nothing of the kernel; the kernel binds what implements them to device
//! nodes, file systems and the network. Nothing here blocks: a call either is done at once, or its end is told by a
//! callback, which may run in interrupt context and so must not sleep.
//!
//! | module | what |
//! |---|---|
//! | `block` | disks: requests in flight, completion by callback |
//! | `net` | network cards: frames in and out |
//! | `char` | consoles and byte streams, entropy sources, keyboards and mice |
//! | `time` | clocks and the battery-backed calendar clock |
//! | `fake` | a RAM disk, a wire, a console and a clock for host tests (feature `fake`) |
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod block;
pub mod char;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod net;
pub mod time;

pub use block::{BlockDevice, BlockInfo, BlockOp, BlockRequest, Segment};
pub use char::{
    CharDevice, ConsoleDevice, ConsoleEvents, EntropySource, InputEvent, InputFlaw, InputSink,
    WindowSize,
};
pub use net::{FrameSink, MacAddress, NetDevice};
pub use time::{CalendarTime, Clock, RealTimeClock};

/// Why a device did not do as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The device did not answer within its time limit.
    Timeout,
    /// The device answered with an error, or with nonsense.
    Io,
    /// There is no such device, or it went away.
    Gone,
    /// No room for another request now; try again after a completion.
    Busy,
    /// The device cannot do this.
    Unsupported,
    /// The request lies outside the device, or is badly formed.
    Invalid,
    /// The medium may not be written.
    ReadOnly,
    /// No memory for buffers.
    NoMemory,
}

pub type Result<T> = core::result::Result<T, DeviceError>;
