//! Progress bars and messages. All of it goes to stderr: stdout belongs to what the user asked for.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress and messages go. Cheap to clone; clones share one set of bars.
#[derive(Clone)]
pub struct Ui {
    bars: MultiProgress,
    verbose: bool,
    live: bool,
}

impl Ui {
    pub fn new(verbose: bool) -> Self {
        let live = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        if !live {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            bars,
            verbose,
            live,
        }
    }

    /// One line for the user that stays on the screen.
    pub fn note(&self, line: &str) {
        self.bars.suspend(|| eprintln!("{line}"));
    }

    /// A line that is shown only with `--verbose`.
    pub fn detail(&self, line: &str) {
        if self.verbose {
            self.note(line);
        }
    }

    pub fn warn(&self, line: &str) {
        self.note(&format!("warning: {line}"));
    }

    pub fn error(&self, line: &str) {
        self.note(&format!("error: {line}"));
    }

    /// Work of unknown length: a spinner, which ends when the answer is dropped. Without a
    /// terminal the message is printed once, if the work takes long, so that a log shows what
    /// took the time.
    pub fn spinner(&self, message: &str) -> Step {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}")
            .expect("the template is well-formed");
        self.step(ProgressBar::new_spinner().with_style(style), message)
    }

    /// Work of `total` equal steps.
    pub fn bar(&self, message: &str, total: u64) -> Step {
        let style = ProgressStyle::with_template("{spinner} {msg} [{wide_bar}] {pos}/{len} {eta}")
            .expect("the template is well-formed")
            .progress_chars("=> ");
        self.step(ProgressBar::new(total).with_style(style), message)
    }

    fn step(&self, bar: ProgressBar, message: &str) -> Step {
        let bar = self.bars.add(bar);
        bar.set_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        let done = Arc::new(AtomicBool::new(false));
        if !self.live {
            let (done, ui, message) = (Arc::clone(&done), self.clone(), message.to_owned());
            thread::spawn(move || {
                thread::sleep(LONG);
                // Only whether to print hangs on it: no ordering with other data is needed.
                if !done.load(Ordering::Relaxed) {
                    ui.note(&message);
                }
            });
        }
        Step { bar, done }
    }
}

/// How long work may take before a log mentions it.
const LONG: Duration = Duration::from_secs(2);

/// A piece of work under way; its bar disappears on drop.
pub struct Step {
    bar: ProgressBar,
    done: Arc<AtomicBool>,
}

impl Step {
    pub fn inc(&self, by: u64) {
        self.bar.inc(by);
    }

    pub fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}
