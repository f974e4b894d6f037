//! The running emulator: its process, and what comes out of its serial ports.

use std::io::{PipeReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cmd;
use crate::ui::Ui;

/// How much of the console's end is kept to be shown.
const TAIL_BYTES: usize = 64 * 1024;
/// What a kernel prints when it gives up, ours and Linux.
const PANIC_MARKS: [&[u8]; 2] = [b"Kernel panic - not syncing", b"Kernel panic on CPU"];

/// A running emulator, killed when this is dropped.
pub struct Emulator {
    child: Child,
}

impl Emulator {
    pub fn start(qemu: &mut Command, ui: &Ui) -> Result<Self> {
        ui.detail(&format!("$ {}", cmd::shown(qemu)));
        let child = qemu.spawn().context("cannot start the emulator")?;
        Ok(Self { child })
    }

    /// Waits that long for it to end by itself, then ends it. Whether it ended by itself.
    pub fn stop(mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait(&mut self) -> Result<std::process::ExitStatus> {
        self.child.wait().context("cannot wait for the emulator")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The guest's console: its end is kept, and panics are noticed.
pub struct Console {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    panicked: Option<Instant>,
}

impl Console {
    /// Starts to read; ends by itself with the emulator.
    pub fn watch(pipe: PipeReader) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let pieces = batches(pipe);
        thread::spawn(move || {
            for bytes in pieces {
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(&bytes);
            }
        });
        Self { seen }
    }

    pub fn panicked_since(&self) -> Option<Instant> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .panicked
    }

    /// The end of what was printed, as text.
    pub fn tail(&self) -> String {
        // What the emulator wrote last may still lie in the pipe.
        thread::sleep(Duration::from_millis(20));
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen.bytes).into_owned()
    }
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        let overlap = PANIC_MARKS.iter().map(|mark| mark.len()).max().unwrap_or(0);
        let from = self.bytes.len().saturating_sub(overlap);
        self.bytes.extend_from_slice(bytes);
        let fresh = &self.bytes[from..];
        let marked = |mark: &&[u8]| fresh.windows(mark.len()).any(|window| window == *mark);
        if self.panicked.is_none() && PANIC_MARKS.iter().any(marked) {
            self.panicked = Some(Instant::now());
        }
        if self.bytes.len() > 2 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
        }
    }
}

/// Reads a pipe in a thread of its own and passes on what comes, in as large pieces as can be.
///
/// The emulator writes byte by byte. A reader that wakes for each byte takes the emulator's
/// processor; a pause after each small piece lets the pipe fill meanwhile.
pub fn batches(mut pipe: PipeReader) -> Receiver<Vec<u8>> {
    const SMALL: usize = 16 * 1024;
    let (sender, receiver) = mpsc::sync_channel(16);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
            if count < SMALL {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    receiver
}
