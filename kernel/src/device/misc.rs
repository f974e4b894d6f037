//! Devices too small for a module: `/dev/hwrng`, and what the registry shows of the memory devices.

use abi::fs::{DevNum, OpenFlags};
use abi::{Errno, Result};

use super::random::Hwrng;
use super::registry::{DeviceNode, DeviceSpec, NodeKind, Subsystem, add_virtual, folder};
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::mount::Path;
use crate::fs::{chrdev, devtmpfs};
use crate::mm::user::IoSink;

const MEM: u32 = 1;
const MISC: u32 = 10;
const HWRNG: u32 = 183;

struct HwrngFile;

impl FileOps for HwrngFile {
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _: &mut u64) -> Result<usize> {
        Hwrng::read(sink, !file.nonblocking())
    }
}

fn open_misc(dev: DevNum, _: &Path, flags: OpenFlags) -> Result<FileOpsRef> {
    if dev.minor() != HWRNG {
        return Err(Errno::ENODEV);
    }
    // The generator gives; it takes nothing.
    if flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR) {
        return Err(Errno::EINVAL);
    }
    let ops: &'static dyn FileOps = &HwrngFile;
    Ok(ops.into())
}

/// Makes the nodes and shows the devices.
pub fn init() {
    chrdev::register(MISC, 0..256, "misc", open_misc);
    devtmpfs::create_char("hwrng", MISC, HWRNG, 0o600);
    if let Err(error) = show() {
        log::warn!("misc: not shown in sysfs: {error:?}");
    }
}

fn show() -> Result<()> {
    for (name, minor) in [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
        ("kmsg", 11),
    ] {
        let node = DeviceNode {
            kind: NodeKind::Char,
            major: MEM,
            minor,
            name: name.into(),
        };
        add_virtual("mem", "virtual/mem", node)?;
    }
    DeviceSpec::new("hw_random")
        .subsystem(Subsystem::Class("misc"))
        .node(NodeKind::Char, MISC, HWRNG, "hwrng")
        .text("rng_current", |out| {
            out.push_str(&Hwrng::current_name().unwrap_or_else(|| "none".into()));
            Ok(())
        })
        .add(Some(&folder("virtual/misc")?))?;
    Ok(())
}
