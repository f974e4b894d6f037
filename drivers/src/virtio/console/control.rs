//! Control messages: eight bytes (port, event, value), some followed by data.

use devapi::{Result, WindowSize};
use virtio_drivers::transport::Transport;

use super::port::{NAME_BYTES, PortState};
use crate::hal::Ring;
use crate::virtio::PciTransport;

const RECEIVE: u16 = 2;
const TRANSMIT: u16 = 3;
const BUFFERS: usize = 16;
const HEADER_BYTES: usize = 8;

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_REMOVE: u16 = 2;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const RESIZE: u16 = 5;
pub(super) const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// The control queues.
pub(super) struct Control {
    receive: Ring<BUFFERS>,
    transmit: Ring<BUFFERS>,
}

impl Control {
    pub(super) fn new(transport: &mut PciTransport) -> Result<Self> {
        let receive = Ring::new(transport, RECEIVE, HEADER_BYTES + NAME_BYTES)?;
        let mut transmit = Ring::new(transport, TRANSMIT, HEADER_BYTES)?;
        transmit.set_interrupts(false);
        Ok(Self { receive, transmit })
    }

    pub(super) fn start(&mut self, transport: &mut PciTransport) {
        self.receive.offer_all();
        transport.notify(RECEIVE);
        self.send(transport, 0, DEVICE_READY, 1);
    }

    /// Sends a message. With sixteen unread ones the host is beyond help, and the message is lost.
    pub(super) fn send(&mut self, transport: &mut PciTransport, port: u32, event: u16, value: u16) {
        while let Ok(Some(_)) = self.transmit.pop() {}
        let mut message = [0; HEADER_BYTES];
        message[..4].copy_from_slice(&port.to_le_bytes());
        message[4..6].copy_from_slice(&event.to_le_bytes());
        message[6..].copy_from_slice(&value.to_le_bytes());
        if self.transmit.send(&message) == 0 {
            log::warn!("virtio-console: control message {event} to port {port} lost");
            return;
        }
        transport.notify(TRANSMIT);
    }

    pub(super) fn has_messages(&self) -> bool {
        self.receive.can_pop()
    }

    /// Handles all messages that came; whether ports came, went or got their name.
    pub(super) fn handle(
        &mut self,
        transport: &mut PciTransport,
        ports: &mut [PortState],
    ) -> Result<bool> {
        let mut changed = false;
        while let Some(used) = self.receive.pop()? {
            let mut message = [0; HEADER_BYTES + NAME_BYTES];
            let bytes = self.receive.read(used, 0, &mut message);
            self.receive.done(used);
            if let Some((header, data)) = message[..bytes].split_first_chunk() {
                changed |= self.handle_one(transport, ports, header, data);
            }
        }
        if self.receive.offer_all() > 0 {
            transport.notify(RECEIVE);
        }
        Ok(changed)
    }

    fn handle_one(
        &mut self,
        transport: &mut PciTransport,
        ports: &mut [PortState],
        header: &[u8; HEADER_BYTES],
        data: &[u8],
    ) -> bool {
        let [a, b, c, d, e0, e1, v0, v1] = *header;
        let id = u32::from_le_bytes([a, b, c, d]);
        let event = u16::from_le_bytes([e0, e1]);
        let value = u16::from_le_bytes([v0, v1]);
        let Some(port) = ports.get_mut(id as usize) else {
            if event == PORT_ADD {
                log::warn!("virtio-console: port {id} is one too many");
                self.send(transport, id, PORT_READY, 0);
            }
            return false;
        };
        match event {
            PORT_ADD => {
                port.present = true;
                self.send(transport, id, PORT_READY, 1);
                true
            }
            PORT_REMOVE => {
                port.present = false;
                port.is_console = false;
                port.set_host_open(false);
                true
            }
            CONSOLE_PORT if value == 1 => {
                port.become_console();
                // A console is open from the start, so that what is typed early is not lost.
                self.send(transport, id, PORT_OPEN, 1);
                true
            }
            RESIZE => {
                if let Some(&[c0, c1, r0, r1]) = data.first_chunk() {
                    let columns = u16::from_le_bytes([c0, c1]);
                    port.set_size(WindowSize {
                        columns,
                        rows: u16::from_le_bytes([r0, r1]),
                    });
                }
                false
            }
            PORT_OPEN => {
                port.set_host_open(value == 1);
                false
            }
            PORT_NAME => {
                let end = data
                    .iter()
                    .position(|&byte| byte == 0)
                    .unwrap_or(data.len());
                port.set_name(&data[..end]);
                true
            }
            _ => false,
        }
    }
}
