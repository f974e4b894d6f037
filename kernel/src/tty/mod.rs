//! Terminals: the tty core, consoles, pseudo-terminals and job control.

/// A terminal. Sessions hold theirs by `Arc`.
pub struct Tty {
    _private: (),
}

/// Brings up the consoles and registers the terminal devices. Needs the heap and interrupts.
pub fn init() {}

/// Gives up the controlling terminal of the calling session leader, which is exiting or asked for it:
/// SIGHUP and SIGCONT to the foreground group, and no process of the session has a terminal afterwards.
pub fn disassociate(_on_exit: bool) {}
