//! Consoles and ports against a fake host.

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use devapi::{CharDevice, ConsoleDevice, ConsoleEvents, DeviceError, WindowSize};

use super::*;
use crate::testing::{FakeVirtio, VERSION_1};

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Input(Vec<u8>),
    Writable,
    Resized(u16, u16),
    Carrier(bool),
}

#[derive(Default)]
struct Ear(Mutex<Vec<Heard>>);

impl Ear {
    fn heard(&self) -> Vec<Heard> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

impl ConsoleEvents for Ear {
    fn input(&self, bytes: &[u8]) {
        self.0.lock().unwrap().push(Heard::Input(bytes.to_vec()));
    }
    fn writable(&self) {
        self.0.lock().unwrap().push(Heard::Writable);
    }
    fn resized(&self, size: WindowSize) {
        self.0
            .lock()
            .unwrap()
            .push(Heard::Resized(size.columns, size.rows));
    }
    fn carrier(&self, up: bool) {
        self.0.lock().unwrap().push(Heard::Carrier(up));
    }
}

impl PortEvents for Ear {
    fn readable(&self) {
        self.0.lock().unwrap().push(Heard::Input(Vec::new()));
    }
    fn writable(&self) {
        ConsoleEvents::writable(self);
    }
    fn carrier(&self, up: bool) {
        ConsoleEvents::carrier(self, up);
    }
}

/// Types `bytes` into a receive queue.
fn send(device: &FakeVirtio, queue: usize, bytes: &[u8]) {
    let chain = device.take(queue).expect("the driver offers buffers");
    device.give(queue, &chain, bytes);
}

fn single() -> (FakeVirtio, Arc<VirtioConsole>, Port) {
    let device = FakeVirtio::new(VERSION_1 | FEATURE_SIZE, 2, &[80, 0, 25, 0, 1, 0, 0, 0]);
    let console = VirtioConsole::new(device.transport(0x1043)).unwrap();
    let (port, info) = console.ports().remove(0);
    assert_eq!(
        info,
        PortInfo {
            is_console: true,
            name: None
        }
    );
    (device, console, port)
}

#[test]
fn typed_bytes_reach_the_user_in_order_the_early_ones_first() {
    let (device, console, port) = single();
    send(&device, 0, b"early ");
    console.interrupt(&mut || ());
    let ear = Arc::new(Ear::default());
    port.set_events(ear.clone());
    send(&device, 0, b"and ");
    send(&device, 0, b"late");
    console.interrupt(&mut || panic!("no port came"));
    let all: Vec<u8> = ear
        .heard()
        .into_iter()
        .filter_map(|heard| {
            if let Heard::Input(bytes) = heard {
                Some(bytes)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    assert_eq!(all, b"early and late");
    assert_eq!(
        port.window_size(),
        Some(WindowSize {
            columns: 80,
            rows: 25
        })
    );
}

#[test]
fn writing_stops_at_a_full_ring_and_goes_on_when_told() {
    let (device, console, port) = single();
    let ear = Arc::new(Ear::default());
    port.set_events(ear.clone());
    ear.heard();
    assert!(!device.wants_interrupt(1));
    let text: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let mut sent = ConsoleDevice::write(&port, &text);
    assert!(sent > 0 && sent < text.len());
    assert_eq!(port.pending(), sent);
    assert!(device.wants_interrupt(1));
    let mut got = Vec::new();
    while sent < text.len() || port.pending() > 0 {
        while let Some(chain) = device.take(1) {
            got.extend_from_slice(&chain.data);
            device.give(1, &chain, &[]);
        }
        console.interrupt(&mut || ());
        if ear.heard().contains(&Heard::Writable) {
            sent += ConsoleDevice::write(&port, &text[sent..]);
        }
    }
    assert_eq!(got, text);
}

#[test]
fn input_nobody_reads_stays_with_the_host() {
    let (device, console, port) = single();
    let mut given = 0;
    while let Some(chain) = device.take(0) {
        device.give(0, &chain, b"x");
        given += 1;
    }
    console.interrupt(&mut || ());
    assert!(device.take(0).is_none(), "no buffer went back");
    let mut out = [0; 100];
    assert_eq!(CharDevice::read(&port, &mut out), Ok(given));
    assert!(device.take(0).is_some());
}

fn control(port: u32, event: u16, value: u16, data: &[u8]) -> Vec<u8> {
    let mut message = port.to_le_bytes().to_vec();
    message.extend(event.to_le_bytes());
    message.extend(value.to_le_bytes());
    message.extend(data);
    message
}

fn sent_controls(device: &FakeVirtio) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chain) = device.take(3) {
        device.give(3, &chain, &[]);
        all.push(chain.data);
    }
    all
}

fn several() -> (FakeVirtio, Arc<VirtioConsole>) {
    let device = FakeVirtio::new(
        VERSION_1 | FEATURE_MULTIPORT,
        64,
        &[0, 0, 0, 0, 31, 0, 0, 0],
    );
    let console = VirtioConsole::new(device.transport(0x1003)).unwrap();
    assert_eq!(sent_controls(&device), [control(0, 0, 1, &[])]);
    assert!(console.ports().is_empty());
    (device, console)
}

#[test]
fn ports_come_by_control_messages_with_kind_and_name() {
    let (device, console) = several();
    let mut changes = 0;
    send(&device, 2, &control(0, 1, 0, &[]));
    send(&device, 2, &control(1, 1, 0, &[]));
    console.interrupt(&mut || changes += 1);
    assert_eq!(
        sent_controls(&device),
        [control(0, 3, 1, &[]), control(1, 3, 1, &[])]
    );
    send(&device, 2, &control(0, 4, 1, &[]));
    send(&device, 2, &control(1, 7, 1, b"org.ironbark.exec\0"));
    send(&device, 2, &control(0, 5, 0, &[132, 0, 43, 0]));
    console.interrupt(&mut || changes += 1);
    assert_eq!(changes, 2);
    assert_eq!(
        sent_controls(&device),
        [control(0, 6, 1, &[])],
        "a console is open at once"
    );
    let ports = console.ports();
    assert_eq!(
        ports[0].1,
        PortInfo {
            is_console: true,
            name: None
        }
    );
    assert_eq!(
        ports[1].1,
        PortInfo {
            is_console: false,
            name: Some("org.ironbark.exec".into())
        }
    );
    assert_eq!(
        ports[0].0.window_size(),
        Some(WindowSize {
            columns: 132,
            rows: 43
        })
    );
    let port = &ports[1].0;
    port.set_open(true);
    assert_eq!(sent_controls(&device), [control(1, 6, 1, &[])]);
    let ear = Arc::new(Ear::default());
    port.set_port_events(ear.clone());
    ear.heard();
    assert!(!port.host_open());
    send(&device, 2, &control(1, 6, 1, &[]));
    send(&device, 4, b"hello");
    console.interrupt(&mut || panic!("no port came"));
    assert_eq!(
        ear.heard(),
        [Heard::Carrier(true), Heard::Input(Vec::new())]
    );
    let mut out = [0; 3];
    assert_eq!(CharDevice::read(port, &mut out), Ok(3));
    assert!(port.is_readable());
    assert_eq!(CharDevice::write(port, b"answer"), Ok(6));
    assert_eq!(device.take(5).unwrap().data, b"answer");
    send(&device, 2, &control(1, 2, 0, &[]));
    console.interrupt(&mut || changes += 1);
    assert_eq!((changes, console.ports().len()), (3, 1));
    assert_eq!(CharDevice::write(port, b"gone"), Err(DeviceError::Gone));
    assert_eq!(ear.heard(), [Heard::Carrier(false)]);
}

#[test]
fn hostile_control_messages_do_no_harm() {
    let (device, console) = several();
    for message in [
        control(u32::MAX, 1, 1, &[]),
        control(8, 1, 1, &[]),
        control(0, 999, 1, &[]),
        control(0, 5, 1, &[1]),
        control(0, 7, 1, &[b'x'; 64]),
        control(0, 7, 1, &[0xff; 8]),
        [1, 2, 3].to_vec(),
        [].to_vec(),
    ] {
        send(&device, 2, &message);
        console.interrupt(&mut || ());
        sent_controls(&device);
    }
    assert!(console.ports().is_empty());
    send(&device, 2, &control(0, 1, 1, &[]));
    console.interrupt(&mut || ());
    assert_eq!(
        console.ports()[0].1.name,
        None,
        "a name that is no text is none"
    );
}

#[test]
fn a_console_that_answers_nonsense_is_given_up_and_takes_everything() {
    let (device, console, port) = single();
    device.give_raw(1, 77, 0);
    console.interrupt(&mut || ());
    assert_eq!(device.status() & 128, 128, "the device is told");
    assert_eq!(
        ConsoleDevice::write(&port, &[0; 100_000]),
        100_000,
        "writers are not stuck"
    );
    assert_eq!(CharDevice::write(&port, b"x"), Err(DeviceError::Gone));
    assert_eq!(port.pending(), 0);
}
