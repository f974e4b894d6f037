//! The PS/2 controller of PCs and the keyboard on it. The keyboard sends scan codes of set 1, as the controller
//! translates them.
//!
//! Reference: IBM PS/2 hardware interface technical reference, keyboard controller.

use ksync::IrqSpinLock;

use crate::hal::PortIo;

/// Data port; the status and command port is at 4.
const DATA: u16 = 0;
const STATUS: u16 = 4;
/// Ports from the data port to the command port.
pub const PORT_COUNT: u16 = 5;

const STATUS_OUTPUT_FULL: u8 = 1;
const STATUS_INPUT_FULL: u8 = 2;
/// The byte is the mouse's.
const STATUS_MOUSE: u8 = 0x20;

const READ_CONFIG: u8 = 0x20;
const WRITE_CONFIG: u8 = 0x60;
const DISABLE_MOUSE: u8 = 0xa7;
const SELF_TEST: u8 = 0xaa;
const SELF_TEST_PASSED: u8 = 0x55;
const DISABLE_KEYBOARD: u8 = 0xad;
const ENABLE_KEYBOARD: u8 = 0xae;

const CONFIG_KEYBOARD_IRQ: u8 = 0x01;
const CONFIG_MOUSE_IRQ: u8 = 0x02;
const CONFIG_KEYBOARD_OFF: u8 = 0x10;
const CONFIG_MOUSE_OFF: u8 = 0x20;
const CONFIG_TRANSLATE: u8 = 0x40;

const KEYBOARD_ENABLE: u8 = 0xf4;
const KEYBOARD_LEDS: u8 = 0xed;
const ACKNOWLEDGE: u8 = 0xfa;

/// Polls of a port before the controller is taken for dead: about 100 ms of port reads.
const MOST_POLLS: usize = 100_000;
/// Bytes one interrupt takes, so that a stuck controller cannot hold a CPU.
const MOST_BYTES: usize = 64;

/// A PS/2 controller with a keyboard.
pub struct Keyboard<P> {
    ports: P,
    /// Held for sequences that no other may come between.
    sending: IrqSpinLock<()>,
}

impl<P: PortIo> Keyboard<P> {
    /// Sets the controller up; `None` if there is none or it does not answer in time.
    pub fn probe(ports: P) -> Option<Self> {
        let keyboard = Self {
            ports,
            sending: IrqSpinLock::new(()),
        };
        if keyboard.ports.read8(STATUS) == 0xff {
            return None;
        }
        keyboard.command(DISABLE_KEYBOARD)?;
        keyboard.command(DISABLE_MOUSE)?;
        keyboard.flush();
        let config = keyboard.ask(READ_CONFIG)?;
        if keyboard.ask(SELF_TEST) != Some(SELF_TEST_PASSED) {
            // Some work nonetheless; a dead one fails below.
            log::debug!("i8042: the self-test failed");
        }
        let off = CONFIG_KEYBOARD_OFF | CONFIG_MOUSE_IRQ;
        let on = CONFIG_KEYBOARD_IRQ | CONFIG_TRANSLATE | CONFIG_MOUSE_OFF;
        keyboard.command(WRITE_CONFIG)?;
        keyboard.send(config & !off | on)?;
        keyboard.command(ENABLE_KEYBOARD)?;
        keyboard.flush();
        keyboard.send(KEYBOARD_ENABLE)?;
        if keyboard.receive() != Some(ACKNOWLEDGE) {
            log::debug!("i8042: the keyboard did not acknowledge");
        }
        Some(keyboard)
    }

    fn poll(&self, ready: impl Fn(u8) -> bool) -> Option<()> {
        (0..MOST_POLLS)
            .any(|_| ready(self.ports.read8(STATUS)))
            .then_some(())
    }

    fn command(&self, command: u8) -> Option<()> {
        self.poll(|status| status & STATUS_INPUT_FULL == 0)?;
        self.ports.write8(STATUS, command);
        Some(())
    }

    fn send(&self, byte: u8) -> Option<()> {
        self.poll(|status| status & STATUS_INPUT_FULL == 0)?;
        self.ports.write8(DATA, byte);
        Some(())
    }

    fn receive(&self) -> Option<u8> {
        self.poll(|status| status & STATUS_OUTPUT_FULL != 0)?;
        Some(self.ports.read8(DATA))
    }

    fn ask(&self, command: u8) -> Option<u8> {
        self.command(command)?;
        self.receive()
    }

    /// Drops what waits to be read.
    fn flush(&self) {
        for _ in 0..MOST_BYTES {
            if self.ports.read8(STATUS) & STATUS_OUTPUT_FULL == 0 {
                break;
            }
            self.ports.read8(DATA);
        }
    }

    /// Takes what the keyboard sent.
    pub fn interrupt(&self, mut take: impl FnMut(u8)) {
        for _ in 0..MOST_BYTES {
            let status = self.ports.read8(STATUS);
            if status == 0xff || status & STATUS_OUTPUT_FULL == 0 {
                break;
            }
            let byte = self.ports.read8(DATA);
            if status & STATUS_MOUSE == 0 {
                take(byte);
            }
        }
    }

    /// Sets the lights: Scroll Lock 1, Num Lock 2, Caps Lock 4. The keyboard's acknowledgements come as interrupts,
    /// and are no keys.
    pub fn set_leds(&self, bits: u8) {
        let _sending = self.sending.lock();
        // A keyboard that does not listen keeps its lights.
        let _ = self.send(KEYBOARD_LEDS).and_then(|()| self.send(bits & 7));
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec;
    use alloc::vec::Vec;
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Chip {
        config: u8,
        awaiting_config: bool,
        output: VecDeque<(u8, bool)>,
        to_keyboard: Vec<u8>,
        deaf: bool,
        absent: bool,
    }

    struct Fake(Mutex<Chip>);

    impl PortIo for Fake {
        fn read8(&self, offset: u16) -> u8 {
            let mut chip = self.0.lock().unwrap();
            if chip.absent {
                return 0xff;
            }
            match (offset, chip.output.front()) {
                (STATUS, Some((_, mouse))) => 1 | u8::from(*mouse) << 5,
                (STATUS, None) => u8::from(chip.deaf) << 1,
                _ => chip.output.pop_front().map_or(0, |(byte, _)| byte),
            }
        }
        fn write8(&self, offset: u16, value: u8) {
            let mut chip = self.0.lock().unwrap();
            match (offset, value) {
                (STATUS, READ_CONFIG) => {
                    let config = chip.config;
                    chip.output.push_back((config, false));
                }
                (STATUS, SELF_TEST) => chip.output.push_back((SELF_TEST_PASSED, false)),
                (STATUS, WRITE_CONFIG) => chip.awaiting_config = true,
                (STATUS, _) => {}
                _ if chip.awaiting_config => {
                    chip.config = value;
                    chip.awaiting_config = false;
                }
                _ => {
                    chip.to_keyboard.push(value);
                    chip.output.push_back((ACKNOWLEDGE, false));
                }
            }
        }
        fn read16(&self, _: u16) -> u16 {
            unreachable!("the registers are bytes")
        }
        fn write16(&self, _: u16, _: u16) {}
        fn read32(&self, _: u16) -> u32 {
            unreachable!("the registers are bytes")
        }
        fn write32(&self, _: u16, _: u32) {}
    }

    #[test]
    fn sets_up_and_reads_the_keyboard_alone() {
        let chip = Chip {
            config: 0x33,
            output: vec![(0x1e, false)].into(),
            ..Chip::default()
        };
        let keyboard = Keyboard::probe(Fake(Mutex::new(chip))).unwrap();
        let mut chip = keyboard.ports.0.lock().unwrap();
        assert_eq!(chip.config, 0x61);
        assert_eq!(chip.to_keyboard, [KEYBOARD_ENABLE]);
        chip.output
            .extend([(0x1e, false), (0x08, true), (0x9e, false)]);
        drop(chip);
        let mut bytes = Vec::new();
        keyboard.interrupt(|byte| bytes.push(byte));
        assert_eq!(bytes, [0x1e, 0x9e]);
        keyboard.set_leds(0xff);
        assert_eq!(
            keyboard.ports.0.lock().unwrap().to_keyboard[1..],
            [KEYBOARD_LEDS, 7]
        );
    }

    #[test]
    fn nothing_there_or_a_dead_controller_ends_the_probe() {
        for chip in [
            Chip {
                absent: true,
                ..Chip::default()
            },
            Chip {
                deaf: true,
                ..Chip::default()
            },
        ] {
            assert!(Keyboard::probe(Fake(Mutex::new(chip))).is_none());
        }
    }
}
