//! Output before there is anything: the first serial port, polled, if there is one.

use core::sync::atomic::{AtomicU8, Ordering};

use super::port::{inb, outb};

const COM1: u16 = 0x3f8;
const UNKNOWN: u8 = 0;
const PRESENT: u8 = 1;
const ABSENT: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Sets the port to 115200 8N1 with FIFOs, if the scratch register shows that one is there.
fn probe() -> bool {
    // SAFETY: COM1's registers; no driver is up while this module is in use.
    unsafe {
        for pattern in [0x5a, 0xa5] {
            outb(COM1 + 7, pattern);
            if inb(COM1 + 7) != pattern {
                return false;
            }
        }
        outb(COM1 + 1, 0); // no interrupts
        outb(COM1 + 3, 0x80); // divisor latch
        outb(COM1, 1);
        outb(COM1 + 1, 0);
        outb(COM1 + 3, 3); // 8N1
        outb(COM1 + 2, 0xc7); // FIFOs on and empty
        outb(COM1 + 4, 0x0b); // DTR, RTS, OUT2
    }
    true
}

fn present() -> bool {
    match STATE.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = probe();
            STATE.store(if found { PRESENT } else { ABSENT }, Ordering::Relaxed);
            found
        }
        state => state == PRESENT,
    }
}

/// Writes to the serial port, `\n` as `\r\n`. A port that takes nothing loses characters, never time.
pub fn serial_write(bytes: &[u8]) {
    if !present() {
        return;
    }
    for &byte in bytes {
        if byte == b'\n' {
            put(b'\r');
        }
        put(byte);
    }
}

fn put(byte: u8) {
    // SAFETY: COM1's registers, as above.
    unsafe {
        for _ in 0..100_000 {
            if inb(COM1 + 5) & 0x20 != 0 {
                break;
            }
        }
        outb(COM1, byte);
    }
}

/// Says why the kernel cannot start, and stops. For the ways in, before panics can be shown.
pub fn halt(reason: &str) -> ! {
    serial_write(b"Ironbark cannot start: ");
    serial_write(reason.as_bytes());
    serial_write(b". Halted.\n");
    super::cpu::halt_forever()
}
