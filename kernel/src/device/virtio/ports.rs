//! The ports of virtio consoles: consoles become terminals (`hvc0`), the others `/dev/vportDpN`, with their names in
//! `/dev/virtio-ports`.
//!
//! # Invariants
//! A named port has at most one user; the host is told of it by `set_open`.
//!
//! Lock order: `KNOWN`, held while nodes are made, then `CONSOLES`.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::fs::{DevNum, OpenFlags};
use abi::poll::PollEvents;
use abi::{Errno, Result};
use devapi::{CharDevice, ConsoleDevice};
use drivers::virtio::console::{Port, PortEvents, PortInfo, VirtioConsole};

use crate::device::registry::{DeviceNode, NodeKind, add_virtual};
use crate::fs::file::{File, FileOps, FileOpsRef};
use crate::fs::mount::Path;
use crate::fs::{chrdev, devtmpfs};
use crate::mm::user::{IoSink, IoSource};
use crate::sched;
use crate::sync::{Mutex, PollTable, WaitQueue};

/// From the range for local use; Linux takes a free number at run time.
const MAJOR: u32 = 241;
const PORTS_A_DEVICE: u32 = 32;
/// The most one write takes, as in Linux.
const MOST_WRITE: usize = 32768;

struct Known {
    console: Arc<VirtioConsole>,
    /// Ports that have their node, by id.
    made: Vec<usize>,
    named: Vec<Arc<NamedPort>>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());
static CHANGED: AtomicBool = AtomicBool::new(false);
static CHANGED_WAIT: WaitQueue = WaitQueue::new();

/// Who makes terminals of consoles, and consoles found before they said so.
type ConsoleSink = fn(Arc<dyn ConsoleDevice>) -> Result<()>;

struct Consoles {
    sink: Option<ConsoleSink>,
    waiting: Vec<Arc<dyn ConsoleDevice>>,
    /// How many `hvc` there are.
    count: u32,
}

static CONSOLES: Mutex<Consoles> = Mutex::new(Consoles {
    sink: None,
    waiting: Vec::new(),
    count: 0,
});

/// Calls `sink` with each virtio console, found already or later, in the order of their names: `hvc0` first.
pub fn on_console(sink: ConsoleSink) {
    let mut consoles = CONSOLES.lock();
    consoles.sink = Some(sink);
    core::mem::take(&mut consoles.waiting)
        .into_iter()
        .for_each(|console| hand_over(sink, console));
}

fn add_console(mut port: Port) {
    let mut consoles = CONSOLES.lock();
    port.set_node_name(format!("hvc{}", consoles.count));
    consoles.count += 1;
    match consoles.sink {
        Some(sink) => hand_over(sink, Arc::new(port)),
        None => consoles.waiting.push(Arc::new(port)),
    }
}

fn hand_over(sink: ConsoleSink, console: Arc<dyn ConsoleDevice>) {
    let name = String::from(console.name());
    if let Err(error) = sink(console) {
        log::warn!("{name}: no terminal: {error:?}");
    }
}

/// A device has other ports than before. Called from interrupts.
pub(super) fn changed() {
    CHANGED.store(true, Ordering::Release);
    CHANGED_WAIT.wake_all();
}

/// Makes nodes for a device's ports, now and whenever new ones come.
pub(super) fn add_device(console: Arc<VirtioConsole>) {
    let mut known = KNOWN.lock();
    known.push(Known {
        console,
        made: Vec::new(),
        named: Vec::new(),
    });
    let is_first = known.len() == 1;
    drop(known);
    look();
    if is_first {
        chrdev::register(MAJOR, 0..PORTS_A_DEVICE * 8, "virtio-portsdev", open);
        if let Err(error) = sched::spawn_kernel_thread("virtio-ports", watch) {
            log::warn!("virtio-console: no thread to make nodes: {error:?}");
        }
    }
}

fn watch() {
    loop {
        let change = || CHANGED.swap(false, Ordering::AcqRel).then_some(());
        CHANGED_WAIT.wait_uninterruptible(change);
        look();
    }
}

/// Makes what is missing.
fn look() {
    let mut all = KNOWN.lock();
    for (number, known) in all.iter_mut().enumerate() {
        for (port, info) in known.console.ports() {
            // The kind and the name of a port come after the port itself.
            let is_settled = info.is_console || info.name.is_some();
            if is_settled && !known.made.contains(&port.id()) {
                known.made.push(port.id());
                make(number as u32, known, port, info);
            }
        }
    }
}

fn make(device: u32, known: &mut Known, port: Port, info: PortInfo) {
    if info.is_console {
        add_console(port);
        return;
    }
    let minor = device * PORTS_A_DEVICE + port.id() as u32;
    let node = format!("vport{device}p{}", port.id());
    devtmpfs::create_char(&node, MAJOR, minor, 0o600);
    if let Some(name) = info.name.filter(|name| is_file_name(name)) {
        let link = format!("virtio-ports/{name}");
        if let Err(error) = devtmpfs::create_symlink(&link, &format!("../{node}")) {
            log::warn!("virtio-console: {link}: {error:?}");
        }
    }
    let shown = DeviceNode {
        kind: NodeKind::Char,
        major: MAJOR,
        minor,
        name: node.into(),
    };
    if let Err(error) = add_virtual("virtio-ports", "virtual/virtio-ports", shown) {
        log::warn!("virtio-console: port not shown in sysfs: {error:?}");
    }
    let named = Arc::new(NamedPort {
        port,
        minor,
        queue: WaitQueue::new(),
        taken: AtomicBool::new(false),
    });
    named.port.set_port_events(named.clone());
    known.named.push(named);
}

/// Whether the host's name for a port can be a file's.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.bytes().all(|byte| byte != b'/' && byte > b' ')
}

/// A port that is no console.
struct NamedPort {
    port: Port,
    minor: u32,
    queue: WaitQueue,
    taken: AtomicBool,
}

impl PortEvents for NamedPort {
    fn readable(&self) {
        self.queue.wake_events(PollEvents::READABLE);
    }

    fn writable(&self) {
        self.queue.wake_events(PollEvents::WRITABLE);
    }

    fn carrier(&self, _: bool) {
        self.queue.wake_all();
    }
}

fn open(dev: DevNum, _: &Path, _: OpenFlags) -> Result<FileOpsRef> {
    let all = KNOWN.lock();
    let mut ports = all.iter().flat_map(|known| &known.named);
    let port = ports
        .find(|port| port.minor == dev.minor())
        .ok_or(Errno::ENXIO)?
        .clone();
    drop(all);
    if !port.port.is_present() {
        return Err(Errno::ENXIO);
    }
    if port.taken.swap(true, Ordering::AcqRel) {
        return Err(Errno::EBUSY);
    }
    port.port.set_open(true);
    let file: Arc<dyn FileOps> = Arc::new(PortFile(port));
    Ok(file.into())
}

/// The one open file of a port.
struct PortFile(Arc<NamedPort>);

impl PortFile {
    /// Waits until `ready` holds or the host closed its side or took the port away.
    fn wait(&self, file: &File, ready: impl Fn(&Port) -> bool) -> Result<()> {
        let port = &self.0.port;
        let over = || (ready(port) || !port.is_present()).then_some(());
        if over().is_some() {
            return Ok(());
        }
        if file.nonblocking() {
            return Err(Errno::EAGAIN);
        }
        self.0.queue.wait_until(over)
    }
}

impl FileOps for PortFile {
    /// Bytes from the host; none means that the host has closed its side.
    fn read(&self, file: &File, sink: &mut IoSink<'_>, _: &mut u64) -> Result<usize> {
        let port = &self.0.port;
        if sink.remaining() == 0 {
            return Ok(0);
        }
        self.wait(file, |port| port.is_readable() || !port.host_open())?;
        let mut block = [0; 512];
        while sink.remaining() > 0 {
            let want = sink.remaining().min(block.len());
            let count = port.read(&mut block[..want]).map_err(|_| Errno::ENODEV)?;
            if count == 0 {
                break;
            }
            if let Err(error) = sink.put(&block[..count]) {
                return sink.outcome(Err(error));
            }
        }
        Ok(sink.done())
    }

    /// Bytes to the host, once it has opened its side.
    fn write(&self, file: &File, source: &mut IoSource<'_>, _: &mut u64) -> Result<usize> {
        let port = &self.0.port;
        let mut block = [0; 512];
        while source.remaining() > 0 && source.done() < MOST_WRITE {
            if source.done() == 0 {
                self.wait(file, |port| port.host_open() && port.is_writable())?;
            }
            let count = source.remaining().min(block.len());
            // What was taken from the user is sent whole, or the count would not tell what was sent.
            if !port.is_writable() {
                break;
            }
            if let Err(error) = source.take(&mut block[..count]) {
                return source.outcome(Err(error));
            }
            CharDevice::write(port, &block[..count]).map_err(|_| Errno::ENODEV)?;
        }
        Ok(source.done())
    }

    fn poll(&self, _: &File, table: Option<&mut PollTable>) -> PollEvents {
        if let Some(table) = table {
            table.register(&self.0.queue);
        }
        let port = &self.0.port;
        let mut events = PollEvents::empty();
        if port.is_readable() {
            events |= PollEvents::READABLE;
        }
        if !port.host_open() {
            events |= PollEvents::HUP;
        } else if port.is_writable() {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn release(&self, _: &File) {
        self.0.port.set_open(false);
        self.0.taken.store(false, Ordering::Release);
    }
}
