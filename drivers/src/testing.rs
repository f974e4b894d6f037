//! A bus of fake devices: configuration space in a map, and a virtio device that a test plays step by step.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::sync::Mutex;

use crate::hal::testing::{read_phys, use_host, write_phys};
use crate::hal::{Mmio, Registers};
use crate::pci::{ConfigSpace, Function, PciAddress, scan};
use crate::virtio::PciTransport;

/// Configuration space: words, and the bits of each that a write changes.
#[derive(Default)]
pub struct FakeConfig {
    words: Mutex<BTreeMap<(PciAddress, u16), (u32, u32)>>,
}

impl FakeConfig {
    /// Sets a word and which of its bits can be written.
    pub fn set(&self, function: PciAddress, offset: u16, value: u32, writable: u32) {
        self.words
            .lock()
            .unwrap()
            .insert((function, offset), (value, writable));
    }

    /// A function with ids, class and an empty rest.
    pub fn add(&self, function: PciAddress, vendor: u16, device: u16, class: u32) {
        self.set(function, 0, u32::from(device) << 16 | u32::from(vendor), 0);
        self.set(function, 4, 0, 0xffff);
        self.set(function, 8, class, 0);
        for word in 3..64 {
            self.set(function, word * 4, 0, 0);
        }
    }

    /// A chain of capabilities from 0x40 on, 32 bytes apart: each its words, the first without its link.
    pub fn add_capabilities(&self, function: PciAddress, capabilities: &[&[u32]]) {
        self.set(function, 4, 1 << 20, 0xffff);
        self.set(function, 0x34, 0x40, 0);
        for (i, words) in capabilities.iter().enumerate() {
            let at = 0x40 + i as u16 * 32;
            let next = if i + 1 < capabilities.len() {
                u32::from(at + 32) << 8
            } else {
                0
            };
            for (j, word) in words.iter().enumerate() {
                let link = if j == 0 { next } else { 0 };
                self.set(function, at + j as u16 * 4, word | link, u32::MAX);
            }
        }
    }
}

impl ConfigSpace for FakeConfig {
    fn read(&self, function: PciAddress, offset: u16) -> u32 {
        self.words
            .lock()
            .unwrap()
            .get(&(function, offset))
            .map_or(u32::MAX, |word| word.0)
    }

    fn write(&self, function: PciAddress, offset: u16, value: u32) {
        if let Some((word, writable)) = self.words.lock().unwrap().get_mut(&(function, offset)) {
            *word = *word & !*writable | value & *writable;
        }
    }
}

#[derive(Clone, Default)]
struct Queue {
    most: u16,
    size: u16,
    vector: u16,
    enabled: bool,
    descriptors: u64,
    driver: u64,
    device: u64,
    next_available: u16,
    next_used: u16,
    notified: usize,
}

#[derive(Default)]
struct State {
    features: u64,
    accepted: u64,
    feature_select: u32,
    driver_select: u32,
    status: u8,
    /// The device ignores a reset.
    stuck: bool,
    /// The device refuses the features.
    picky: bool,
    isr: u8,
    select: u16,
    queues: Vec<Queue>,
    config: Vec<u8>,
}

/// A buffer the driver made available.
pub struct Chain {
    pub head: u16,
    /// What the device may read.
    pub data: Vec<u8>,
    /// Where the device may write, and how much.
    pub room: Option<(u64, u32)>,
}

/// A modern virtio device.
#[derive(Clone)]
pub struct FakeVirtio(Arc<Mutex<State>>);

const COMMON: usize = 0;
const NOTIFY: usize = 0x1000;
const ISR: usize = 0x2000;
const DEVICE: usize = 0x3000;
const WINDOW_BYTES: usize = 0x4000;
const NOTIFY_MULTIPLIER: u32 = 4;
pub const VERSION_1: u64 = 1 << 32;

impl FakeVirtio {
    pub fn new(features: u64, queues: usize, config: &[u8]) -> Self {
        use_host();
        let queue = Queue {
            most: 64,
            ..Queue::default()
        };
        Self(Arc::new(Mutex::new(State {
            features,
            queues: vec![queue; queues],
            config: config.to_vec(),
            ..State::default()
        })))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn stuck(self) -> Self {
        self.state().stuck = true;
        self
    }

    pub fn picky(self) -> Self {
        self.state().picky = true;
        self
    }

    /// The function as `scan` finds it on a bus with nothing else.
    pub fn function(&self, device: u16) -> (FakeConfig, Function) {
        let config = FakeConfig::default();
        let address = PciAddress::new(0, 0, 3, 0);
        config.add(address, 0x1af4, device, 0x00ff_0001);
        config.set(address, 0x10, 0xfe00_0000, 0xffff_c000);
        let structure = |kind: u32, offset: usize, bytes: usize| {
            [
                9 | kind << 24,
                0,
                offset as u32,
                bytes as u32,
                NOTIFY_MULTIPLIER,
            ]
        };
        let state_bytes = self.state().config.len();
        config.add_capabilities(
            address,
            &[
                &structure(1, COMMON, 56),
                &structure(2, NOTIFY, 0x1000),
                &structure(3, ISR, 1),
                &structure(4, DEVICE, state_bytes),
            ],
        );
        let function = scan(&config, &[(0, 0)]).remove(0);
        (config, function)
    }

    pub fn transport(&self, device: u16) -> PciTransport {
        let (config, function) = self.function(device);
        PciTransport::new(&config, &function, &mut |_| {
            Some(Mmio::fake(Arc::new(self.clone()), WINDOW_BYTES))
        })
        .unwrap()
    }

    pub fn status(&self) -> u8 {
        self.state().status
    }

    /// The features the driver accepted.
    pub fn accepted(&self) -> u64 {
        self.state().accepted
    }

    pub fn vector(&self, queue: usize) -> u16 {
        self.state().queues[queue].vector
    }

    /// How often the driver rang since last asked.
    pub fn rings(&self, queue: usize) -> usize {
        core::mem::take(&mut self.state().queues[queue].notified)
    }

    /// Whether the driver wants to be interrupted about this queue.
    pub fn wants_interrupt(&self, queue: usize) -> bool {
        let driver = self.state().queues[queue].driver;
        u16::from_le_bytes(read_phys(driver)) & 1 == 0
    }

    /// Takes the next buffer the driver made available.
    pub fn take(&self, queue: usize) -> Option<Chain> {
        let mut state = self.state();
        let queue = &mut state.queues[queue];
        assert!(queue.enabled, "the driver enabled the queue");
        let available = u16::from_le_bytes(read_phys(queue.driver + 2));
        if available == queue.next_available {
            return None;
        }
        let slot = u64::from(queue.next_available % queue.size);
        queue.next_available = queue.next_available.wrapping_add(1);
        let head = u16::from_le_bytes(read_phys(queue.driver + 4 + slot * 2));
        let descriptor: [u8; 16] = read_phys(queue.descriptors + u64::from(head) * 16);
        let address = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
        let bytes = u32::from_le_bytes(descriptor[8..12].try_into().unwrap());
        let writable = descriptor[12] & 2 != 0;
        let read = |i| read_phys::<1>(address + i)[0];
        let data = if writable {
            Vec::new()
        } else {
            (0..u64::from(bytes)).map(read).collect()
        };
        Some(Chain {
            head,
            data,
            room: writable.then_some((address, bytes)),
        })
    }

    /// Gives a buffer back, after writing `data` to it.
    pub fn give(&self, queue: usize, chain: &Chain, data: &[u8]) {
        if let Some((address, bytes)) = chain.room {
            assert!(data.len() <= bytes as usize);
            write_phys(address, data);
        }
        self.give_raw(queue, u32::from(chain.head), data.len() as u32);
    }

    /// Gives back whatever number with whatever length, as a broken device might.
    pub fn give_raw(&self, queue: usize, head: u32, bytes: u32) {
        let mut state = self.state();
        let queue = &mut state.queues[queue];
        let slot = u64::from(queue.next_used % queue.size);
        write_phys(queue.device + 4 + slot * 8, &head.to_le_bytes());
        write_phys(queue.device + 8 + slot * 8, &bytes.to_le_bytes());
        queue.next_used = queue.next_used.wrapping_add(1);
        write_phys(queue.device + 2, &queue.next_used.to_le_bytes());
        state.isr |= 1;
    }
}

impl Registers for FakeVirtio {
    fn read(&self, offset: usize, bytes: usize) -> u64 {
        let mut state = self.state();
        let selected = state
            .queues
            .get(usize::from(state.select))
            .cloned()
            .unwrap_or_default();
        match offset {
            4 => state.features >> (32 * state.feature_select) & 0xffff_ffff,
            16 => 0,
            18 => state.queues.len() as u64,
            20 => u64::from(state.status),
            24 => u64::from(if selected.size == 0 {
                selected.most
            } else {
                selected.size
            }),
            26 => u64::from(selected.vector),
            28 => u64::from(selected.enabled),
            30 => u64::from(state.select),
            ISR => u64::from(core::mem::take(&mut state.isr)),
            DEVICE.. => (0..bytes)
                .map(|i| u64::from(state.config[offset - DEVICE + i]) << (8 * i))
                .sum(),
            _ => 0,
        }
    }

    fn write(&self, offset: usize, bytes: usize, value: u64) {
        let mut state = self.state();
        let select = usize::from(state.select);
        match offset {
            0 => state.feature_select = value as u32,
            8 => state.driver_select = value as u32,
            12 => {
                let shift = 32 * state.driver_select;
                state.accepted = state.accepted & !(0xffff_ffff << shift) | value << shift;
            }
            20 if value == 0 && state.stuck => (),
            20 => {
                let refused = if state.picky { !8 } else { !0 };
                state.status = value as u8 & refused;
                if value == 0 {
                    for queue in &mut state.queues {
                        *queue = Queue {
                            most: queue.most,
                            ..Queue::default()
                        };
                    }
                }
            }
            22 => state.select = value as u16,
            NOTIFY..ISR => {
                let number = (offset - NOTIFY) / NOTIFY_MULTIPLIER as usize;
                assert_eq!((number, bytes), (value as usize, 2));
                state.queues[number].notified += 1;
            }
            _ => {
                let Some(queue) = state.queues.get_mut(select) else {
                    return;
                };
                let half = |word: &mut u64, high: bool| {
                    let shift = if high { 32 } else { 0 };
                    *word = *word & !(0xffff_ffff << shift) | value << shift;
                };
                match offset {
                    24 => queue.size = value as u16,
                    26 => queue.vector = value as u16,
                    28 => queue.enabled = value == 1,
                    32 | 36 => half(&mut queue.descriptors, offset == 36),
                    40 | 44 => half(&mut queue.driver, offset == 44),
                    48 | 52 => half(&mut queue.device, offset == 52),
                    _ => (),
                }
            }
        }
    }
}
