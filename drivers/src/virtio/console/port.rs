//! One port of a console device.

use alloc::string::String;
use alloc::sync::Arc;

use bitflags::bitflags;
use devapi::{CharDevice, ConsoleDevice, ConsoleEvents, DeviceError, Result, WindowSize};

use super::VirtioConsole;
use super::control::{self, Control};
use crate::hal::{Ring, Used};
use crate::virtio::PciTransport;
use virtio_drivers::transport::Transport;

const BUFFERS: usize = 8;
const RECEIVE_BYTES: usize = 512;
const TRANSMIT_BYTES: usize = 2048;
pub(super) const NAME_BYTES: usize = 64;

/// Receive and transmit queue of a port; queues 2 and 3 are the control queues.
pub(super) fn queues_of(port: u32) -> (u16, u16) {
    let first = if port == 0 { 0 } else { 2 + port as u16 * 2 };
    (first, first + 1)
}

bitflags! {
    /// What a port's user has not been told yet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Happened: u8 {
        const READABLE = 1;
        const WRITABLE = 2;
        const CARRIER = 4;
        const RESIZED = 8;
    }
}

/// Who uses a port that is not a console: told that there is something to do, they call [`Port::read`] and
/// [`Port::write`] themselves. Called from interrupt context.
pub trait PortEvents: Send + Sync {
    fn readable(&self);
    fn writable(&self);
    /// The host opened (`true`) or closed its side, or took the port away.
    fn carrier(&self, up: bool);
}

#[derive(Clone)]
enum User {
    Console(Arc<dyn ConsoleEvents>),
    Port(Arc<dyn PortEvents>),
}

/// A user with the state they are told of.
pub(super) struct Listener {
    user: User,
    carrier: bool,
    size: Option<WindowSize>,
}

impl Listener {
    /// Whether input is handed over, rather than fetched.
    pub(super) fn pushes(&self) -> bool {
        matches!(self.user, User::Console(_))
    }

    pub(super) fn tell(&self, happened: Happened, input: &[u8]) {
        match &self.user {
            User::Console(console) => {
                if happened.contains(Happened::CARRIER) {
                    console.carrier(self.carrier);
                }
                if let Some(size) = self.size.filter(|_| happened.contains(Happened::RESIZED)) {
                    console.resized(size);
                }
                if happened.contains(Happened::WRITABLE) {
                    console.writable();
                }
                if !input.is_empty() {
                    console.input(input);
                }
            }
            User::Port(port) => {
                if happened.contains(Happened::CARRIER) {
                    port.carrier(self.carrier);
                }
                if happened.contains(Happened::WRITABLE) {
                    port.writable();
                }
                if happened.contains(Happened::READABLE) {
                    port.readable();
                }
            }
        }
    }
}

/// A port as its users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    pub is_console: bool,
    /// The name the host gave it (`name=` in QEMU).
    pub name: Option<String>,
}

/// State of one port.
///
/// # Invariants
/// While the device lives it has every receive buffer but `current`, and is asked for transmit interrupts only while
/// `wants_room`.
pub(super) struct PortState {
    receive: Ring<BUFFERS>,
    transmit: Ring<BUFFERS>,
    /// A received buffer, and how much of it was read.
    current: Option<(Used, usize)>,
    pub(super) present: bool,
    pub(super) is_console: bool,
    pub(super) host_open: bool,
    name: [u8; NAME_BYTES],
    name_bytes: usize,
    size: Option<WindowSize>,
    wants_room: bool,
    happened: Happened,
    user: Option<User>,
}

impl PortState {
    pub(super) fn new(transport: &mut PciTransport, receive: u16, transmit: u16) -> Result<Self> {
        let receive = Ring::new(transport, receive, RECEIVE_BYTES)?;
        let mut transmit = Ring::new(transport, transmit, TRANSMIT_BYTES)?;
        transmit.set_interrupts(false);
        Ok(Self {
            receive,
            transmit,
            current: None,
            present: false,
            is_console: false,
            host_open: false,
            name: [0; NAME_BYTES],
            name_bytes: 0,
            size: None,
            wants_room: false,
            happened: Happened::empty(),
            user: None,
        })
    }

    pub(super) fn start(&mut self, transport: &mut PciTransport) {
        if self.receive.offer_all() > 0 {
            transport.notify(self.receive.index());
        }
    }

    pub(super) fn become_console(&mut self) {
        self.present = true;
        self.is_console = true;
        self.set_host_open(true);
    }

    pub(super) fn set_host_open(&mut self, open: bool) {
        if self.host_open != open {
            self.host_open = open;
            self.happened |= Happened::CARRIER;
        }
    }

    pub(super) fn set_size(&mut self, size: WindowSize) {
        if self.size != Some(size) {
            self.size = Some(size);
            self.happened |= Happened::RESIZED;
        }
    }

    pub(super) fn set_name(&mut self, name: &[u8]) {
        let bytes = name.len().min(NAME_BYTES);
        self.name[..bytes].copy_from_slice(&name[..bytes]);
        self.name_bytes = bytes;
    }

    pub(super) fn info(&self) -> Option<PortInfo> {
        let name = core::str::from_utf8(&self.name[..self.name_bytes]).ok();
        let name = name.filter(|name| !name.is_empty()).map(String::from);
        self.present.then_some(PortInfo {
            is_console: self.is_console,
            name,
        })
    }

    pub(super) fn listener(&self) -> Option<Listener> {
        let user = self.user.clone()?;
        Some(Listener {
            user,
            carrier: self.host_open,
            size: self.size,
        })
    }

    pub(super) fn take_happened(&mut self) -> Happened {
        core::mem::replace(&mut self.happened, Happened::empty())
    }

    /// Looks for received bytes and sent buffers; what there is to tell.
    pub(super) fn handle(&mut self) -> Result<Happened> {
        let mut now = Happened::empty();
        if self.receive.can_pop() {
            now |= Happened::READABLE;
        }
        if self.reclaim()? && self.wants_room {
            self.wants_room = false;
            self.transmit.set_interrupts(false);
            now |= Happened::WRITABLE;
        }
        self.happened |= now;
        Ok(now)
    }

    /// Takes back the buffers the device has sent; whether there were any.
    fn reclaim(&mut self) -> Result<bool> {
        let mut any = false;
        while self.transmit.pop()?.is_some() {
            any = true;
        }
        Ok(any)
    }

    pub(super) fn read(&mut self, transport: &mut PciTransport, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            if self.current.is_none() {
                // Nonsense from the device reads as nothing; the interrupt handler gives the device up.
                self.current = self.receive.pop().ok().flatten().map(|used| (used, 0));
            }
            let Some((used, offset)) = self.current else {
                break;
            };
            let count = self.receive.read(used, offset, &mut out[filled..]);
            filled += count;
            if offset + count >= used.bytes || count == 0 {
                self.receive.done(used);
                self.current = None;
            } else {
                self.current = Some((used, offset + count));
            }
        }
        if self.current.is_none() && self.receive.offer_all() > 0 && self.receive.should_notify() {
            transport.notify(self.receive.index());
        }
        filled
    }

    fn write(&mut self, transport: &mut PciTransport, bytes: &[u8]) -> usize {
        let mut sent = self.send_some(bytes);
        if sent < bytes.len() {
            // Interrupts first, then another look: a buffer freed in between is not missed.
            self.wants_room = true;
            self.transmit.set_interrupts(true);
            sent += self.send_some(&bytes[sent..]);
        }
        if sent > 0 && self.transmit.should_notify() {
            transport.notify(self.transmit.index());
        }
        sent
    }

    fn send_some(&mut self, bytes: &[u8]) -> usize {
        if self.reclaim().is_err() {
            return 0;
        }
        let mut sent = 0;
        while sent < bytes.len() {
            match self.transmit.send(&bytes[sent..]) {
                0 => break,
                count => sent += count,
            }
        }
        sent
    }

    pub(super) fn is_readable(&self) -> bool {
        self.current.is_some() || self.receive.can_pop()
    }
}

/// A handle to a port, for whoever makes a device node of it.
pub struct Port {
    console: Arc<VirtioConsole>,
    id: usize,
    name: String,
}

impl Port {
    pub(super) fn new(console: Arc<VirtioConsole>, id: usize) -> Self {
        Self {
            console,
            id,
            name: alloc::format!("hvc{id}"),
        }
    }

    /// Number of the port within its device.
    pub fn id(&self) -> usize {
        self.id
    }

    /// The name of the device node, where there are several devices with consoles.
    pub fn set_node_name(&mut self, name: String) {
        self.name = name;
    }

    /// Runs `f` on the state; `default` when the device died.
    fn with<T>(
        &self,
        default: T,
        f: impl FnOnce(&mut PortState, &mut PciTransport, Option<&mut Control>) -> T,
    ) -> T {
        let mut inner = self.console.inner.lock();
        if inner.dead {
            return default;
        }
        let inner = &mut *inner;
        match inner.ports.get_mut(self.id) {
            Some(port) => f(port, &mut inner.transport, inner.control.as_mut()),
            None => default,
        }
    }

    /// Tells the host that the guest opened or closed its side; the host sends nothing before.
    pub fn set_open(&self, open: bool) {
        let id = self.id as u32;
        self.with((), |_, transport, control| {
            if let Some(control) = control {
                control.send(transport, id, control::PORT_OPEN, u16::from(open));
            }
        });
    }

    pub fn is_readable(&self) -> bool {
        self.with(false, |port, _, _| port.is_readable())
    }

    pub fn is_writable(&self) -> bool {
        self.with(false, |port, _, _| {
            port.reclaim().is_ok() && port.transmit.has_room()
        })
    }

    pub fn host_open(&self) -> bool {
        self.with(false, |port, _, _| port.present && port.host_open)
    }

    /// Whether the host still has the port.
    pub fn is_present(&self) -> bool {
        self.with(false, |port, _, _| port.present)
    }

    pub fn set_port_events(&self, events: Arc<dyn PortEvents>) {
        self.set_user(User::Port(events));
    }

    fn set_user(&self, user: User) {
        let old = self.with(None, |port, _, _| {
            port.happened |= Happened::READABLE;
            port.user.replace(user)
        });
        drop(old);
        self.console.deliver();
    }
}

impl CharDevice for Port {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.with(Err(DeviceError::Gone), |port, transport, _| {
            Ok(port.read(transport, buffer))
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<usize> {
        self.with(Err(DeviceError::Gone), |port, transport, _| {
            if !port.present {
                Err(DeviceError::Gone)
            } else {
                Ok(port.write(transport, bytes))
            }
        })
    }
}

impl ConsoleDevice for Port {
    fn name(&self) -> &str {
        &self.name
    }

    fn write(&self, bytes: &[u8]) -> usize {
        // What is written to a console nobody can read is taken and lost, as on a serial line.
        CharDevice::write(self, bytes).unwrap_or(bytes.len())
    }

    fn pending(&self) -> usize {
        self.with(0, |port, _, _| match port.reclaim() {
            Ok(_) => port.transmit.unsent_bytes(),
            Err(_) => 0,
        })
    }

    fn carrier(&self) -> bool {
        self.host_open()
    }

    fn window_size(&self) -> Option<WindowSize> {
        self.with(None, |port, _, _| port.size)
    }

    fn set_events(&self, events: Arc<dyn ConsoleEvents>) {
        self.set_user(User::Console(events));
    }
}
