//! The screen: draws the shown console's changed rows in a thread of its own, so that writers never wait for pixels.
//!
//! Before the thread runs, what is shown is drawn at once. A panic draws by itself, without locks.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::vt::KD_GRAPHICS;
use console::{Cell, DEFAULT_PALETTE, Font, GLYPH_HEIGHT, GLYPH_WIDTH, Look, Palette, Renderer};
use drivers::framebuffer::{Field, Framebuffer, Layout};
use spin::Once;

use super::super::consoles;
use super::{Vt, shown};
use crate::boot;
use crate::log::{self, ConsoleSink};
use crate::sync::{SpinLock, WaitQueue};
use crate::{sched, time};

/// Pause between two drawings while output goes on: a little over 60 a second.
const FRAME_NS: u64 = 16_000_000;

struct Drawing {
    renderer: Renderer,
    /// One row, copied out of the terminal's lock.
    row: Vec<Cell>,
    palette: Box<Palette>,
    cursor: Option<(usize, usize)>,
    reversed: bool,
    /// Drawing was off: nothing on the screen is known.
    was_off: bool,
}

static FRAMEBUFFER: Once<Framebuffer> = Once::new();
static DRAWING: Once<SpinLock<Drawing>> = Once::new();
/// For panics: made beforehand.
static FONT: Once<Font> = Once::new();
static PENDING: AtomicBool = AtomicBool::new(false);
static WAIT: WaitQueue = WaitQueue::new();
static THREADED: AtomicBool = AtomicBool::new(false);

/// The framebuffer as the renderer sees it.
struct Pixels<'a>(&'a Framebuffer);

impl console::Surface for Pixels<'_> {
    fn size(&self) -> (usize, usize) {
        let layout = self.0.layout();
        (layout.width as usize, layout.height as usize)
    }

    fn put(&mut self, x: usize, y: usize, pixels: &[u32]) {
        self.0.put(x, y, pixels);
    }
}

/// Finds the framebuffer and blanks it; its size in characters.
pub fn init() -> Option<(usize, usize)> {
    let given = boot::info().framebuffer?;
    let field = |f: bootinfo::ColorField| Field {
        shift: f.shift,
        size: f.size,
    };
    let layout = Layout {
        width: given.width,
        height: given.height,
        pitch: given.pitch,
        bits_per_pixel: given.bits_per_pixel,
        red: field(given.red),
        green: field(given.green),
        blue: field(given.blue),
    };
    let framebuffer = Framebuffer::map(given.phys, layout)?;
    let (width, height) = (layout.width as usize, layout.height as usize);
    let renderer = Renderer::try_new(width, height)?;
    let (cols, rows) = renderer.text_size();
    let mut row = Vec::new();
    row.try_reserve_exact(cols).ok()?;
    clear(&framebuffer);
    FRAMEBUFFER.call_once(|| framebuffer);
    FONT.call_once(Font::builtin);
    DRAWING.call_once(|| {
        SpinLock::new(Drawing {
            renderer,
            row,
            palette: Box::new(DEFAULT_PALETTE),
            cursor: None,
            reversed: false,
            was_off: false,
        })
    });
    ::log::info!("Screen: {width}x{height}, {cols}x{rows} characters");
    Some((cols, rows))
}

fn clear(framebuffer: &Framebuffer) {
    const BLACK: [u32; 256] = [0; 256];
    let layout = framebuffer.layout();
    for y in 0..layout.height as usize {
        for x in (0..layout.width as usize).step_by(BLACK.len()) {
            framebuffer.put(x, y, &BLACK);
        }
    }
}

/// Something on the shown console changed. Called from interrupts too.
pub fn request() {
    if !THREADED.load(Ordering::Acquire) {
        draw();
    } else if !PENDING.swap(true, Ordering::AcqRel) {
        WAIT.wake_one();
    }
}

/// Starts the drawing thread.
pub fn start() {
    match sched::spawn_kernel_thread("kvtdraw", run) {
        Ok(_) => THREADED.store(true, Ordering::Release),
        Err(error) => ::log::warn!("vt: no thread to draw: {error:?}"),
    }
    request();
}

fn run() {
    loop {
        WAIT.wait_uninterruptible(|| PENDING.swap(false, Ordering::AcqRel).then_some(()));
        draw();
        // Signals do not reach kernel threads, so the sleep is whole.
        let _ = sched::sleep_until(time::monotonic_ns() + FRAME_NS);
    }
}

/// Draws what changed.
fn draw() {
    let (Some(framebuffer), Some(drawing), Some(vt)) = (FRAMEBUFFER.get(), DRAWING.get(), shown())
    else {
        return;
    };
    // Whoever draws now draws this too, or asks again.
    let Some(mut drawing) = drawing.try_lock() else {
        return;
    };
    if vt.settings.lock().display == KD_GRAPHICS {
        drawing.was_off = true;
        return;
    }
    let drawing = &mut *drawing;
    if core::mem::take(&mut drawing.was_off) {
        clear(framebuffer);
        drawing.renderer.forget();
    }
    let (rows, cursor) = look_at(vt, drawing);
    let old_cursor = core::mem::replace(&mut drawing.cursor, cursor);
    for row in 0..rows {
        let moved = [old_cursor, cursor]
            .iter()
            .flatten()
            .any(|&(r, _)| r == row);
        draw_row(vt, framebuffer, drawing, row, moved && old_cursor != cursor);
        if THREADED.load(Ordering::Relaxed) {
            sched::cond_resched();
        }
    }
}

/// Takes over what holds for the whole screen.
fn look_at(vt: &Vt, drawing: &mut Drawing) -> (usize, Option<(usize, usize)>) {
    let terminal = vt.terminal.lock();
    let screen = terminal.screen();
    if *screen.palette() != *drawing.palette || screen.is_reversed() != drawing.reversed {
        drawing.palette.copy_from_slice(screen.palette());
        drawing.reversed = screen.is_reversed();
        drawing.renderer.forget();
    }
    (screen.size().1, screen.cursor())
}

fn draw_row(vt: &Vt, framebuffer: &Framebuffer, drawing: &mut Drawing, row: usize, force: bool) {
    {
        let mut terminal = vt.terminal.lock();
        if !terminal.screen_mut().take_dirty(row) && !force {
            return;
        }
        drawing.row.clear();
        drawing
            .row
            .extend_from_slice(terminal.screen().view_row(row));
    }
    let look = Look {
        cursor: drawing
            .cursor
            .filter(|&(r, _)| r == row)
            .map(|(_, col)| col),
        reversed: drawing.reversed,
        palette: &drawing.palette,
    };
    drawing
        .renderer
        .draw_row(&mut Pixels(framebuffer), row, &drawing.row, look);
}

/// Shows the log on the screen.
struct ScreenSink;

impl ConsoleSink for ScreenSink {
    fn write(&self, bytes: &[u8]) {
        let Some(vt) = shown() else { return };
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    vt.show(text);
                    vt.show(b"\r\n");
                }
                None => vt.show(line),
            }
        }
    }

    fn write_emergency(&self, bytes: &[u8]) {
        emergency(bytes);
    }
}

/// From now on the log shows on the screen, if it is a console.
pub fn show_log() {
    static SINK: ScreenSink = ScreenSink;
    if consoles::screen_wanted() {
        log::register_sink(&SINK);
    }
}

/// Where the next character of a panic goes, in characters from the top left corner. `usize::MAX`: not begun.
static EMERGENCY_AT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Draws text from the top of the screen, white on dark red, taking no lock.
fn emergency(bytes: &[u8]) {
    let (Some(framebuffer), Some(font)) = (FRAMEBUFFER.get(), FONT.get()) else {
        return;
    };
    let layout = framebuffer.layout();
    let scale = emergency_scale(framebuffer);
    let cols = (layout.width as usize / (GLYPH_WIDTH * scale)).max(1);
    let rows = (layout.height as usize / (GLYPH_HEIGHT * scale)).max(1);
    let mut at = EMERGENCY_AT.load(Ordering::Relaxed);
    if at == usize::MAX {
        at = 0;
    }
    for &byte in bytes {
        if at >= cols * rows {
            at = 0;
        }
        if byte == b'\n' || at.is_multiple_of(cols) {
            // The rest of the line, or the whole of a new one, is wiped first.
            let row = at / cols;
            for col in at % cols..cols {
                emergency_glyph(framebuffer, font, (row, col), ' ');
            }
        }
        if byte == b'\n' {
            at = (at / cols + 1) * cols;
        } else {
            emergency_glyph(framebuffer, font, (at / cols, at % cols), char::from(byte));
            at += 1;
        }
    }
    EMERGENCY_AT.store(at, Ordering::Relaxed);
}

/// Large screens get doubled characters, as in normal life.
fn emergency_scale(framebuffer: &Framebuffer) -> usize {
    if framebuffer.layout().width >= 1920 {
        2
    } else {
        1
    }
}

fn emergency_glyph(framebuffer: &Framebuffer, font: &Font, (row, col): (usize, usize), ch: char) {
    const FG: u32 = 0xff_ffff;
    const BG: u32 = 0x60_0000;
    let scale = emergency_scale(framebuffer);
    let (x, y) = (col * GLYPH_WIDTH * scale, row * GLYPH_HEIGHT * scale);
    for dy in 0..GLYPH_HEIGHT * scale {
        let bits = font.glyph(ch)[dy / scale];
        let mut line = [BG; GLYPH_WIDTH * 2];
        for (dx, pixel) in line.iter_mut().enumerate().take(GLYPH_WIDTH * scale) {
            if bits & (0x80 >> (dx / scale)) != 0 {
                *pixel = FG;
            }
        }
        framebuffer.put(x, y + dy, &line[..GLYPH_WIDTH * scale]);
    }
}
