//! Terminal attributes: `struct termios2` as the kernel keeps it, `struct termios` and `struct termio` as older
//! calls pass it, window sizes, and the ioctl numbers of terminals.
//!
//! Reference: `asm-generic/termbits.h`, `asm-generic/ioctls.h`, ioctl_tty(2).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::general::{
    B9600, B38400, B115200, BOTHER, BRKINT, CBAUD, CBAUDEX, CIBAUD, CLOCAL, CMSPAR, CREAD, CRTSCTS,
    CS5, CS6, CS7, CS8, CSIZE, CSTOPB, ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT,
    EXTPROC, FLUSHO, HUPCL, IBSHIFT, ICANON, ICRNL, IEXTEN, IGNBRK, IGNCR, IGNPAR, IMAXBEL, INLCR,
    INPCK, ISIG, ISTRIP, IUCLC, IUTF8, IXANY, IXOFF, IXON, NOFLSH, OCRNL, OLCUC, ONLCR, ONLRET,
    ONOCR, OPOST, PARENB, PARMRK, PARODD, PENDIN, TABDLY, TCIFLUSH, TCIOFF, TCIOFLUSH, TCION,
    TCOFLUSH, TCOOFF, TCOON, TIOCM_CAR, TIOCM_CTS, TIOCM_DSR, TIOCM_DTR, TIOCM_LOOP, TIOCM_OUT1,
    TIOCM_OUT2, TIOCM_RNG, TIOCM_RTS, TIOCPKT_DATA, TIOCPKT_DOSTOP, TIOCPKT_FLUSHREAD,
    TIOCPKT_FLUSHWRITE, TIOCPKT_IOCTL, TIOCPKT_NOSTOP, TIOCPKT_START, TIOCPKT_STOP, TIOCSER_TEMT,
    TOSTOP, VDISCARD, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT,
    VSTART, VSTOP, VSUSP, VSWTC, VTIME, VWERASE, XTABS,
};
pub use linux_raw_sys::ioctl::{
    TCFLSH, TCGETA, TCGETS, TCGETS2, TCSBRK, TCSBRKP, TCSETA, TCSETAF, TCSETAW, TCSETS, TCSETS2,
    TCSETSF, TCSETSF2, TCSETSW, TCSETSW2, TCXONC, TIOCCBRK, TIOCCONS, TIOCEXCL, TIOCGDEV, TIOCGETD,
    TIOCGEXCL, TIOCGICOUNT, TIOCGLCKTRMIOS, TIOCGPGRP, TIOCGPKT, TIOCGPTLCK, TIOCGPTN, TIOCGPTPEER,
    TIOCGSERIAL, TIOCGSID, TIOCGSOFTCAR, TIOCGWINSZ, TIOCINQ, TIOCLINUX, TIOCMBIC, TIOCMBIS,
    TIOCMGET, TIOCMSET, TIOCNOTTY, TIOCNXCL, TIOCOUTQ, TIOCPKT, TIOCSBRK, TIOCSCTTY, TIOCSERGETLSR,
    TIOCSETD, TIOCSIG, TIOCSLCKTRMIOS, TIOCSPGRP, TIOCSPTLCK, TIOCSSOFTCAR, TIOCSTI, TIOCSWINSZ,
    TIOCVHANGUP,
};

/// Number of control characters.
pub const NCCS: usize = 19;
/// The line discipline of terminals, the only one there is.
pub const N_TTY: u8 = 0;
/// A control character of this value is switched off.
pub const DISABLED_CHAR: u8 = 0;

/// `struct termios2`: the attributes with their speeds in bits per second.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios {
    /// Input modes.
    pub c_iflag: u32,
    /// Output modes.
    pub c_oflag: u32,
    /// Control modes.
    pub c_cflag: u32,
    /// Local modes.
    pub c_lflag: u32,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters, by `V*`.
    pub c_cc: [u8; NCCS],
    /// Input speed in bit/s.
    pub c_ispeed: u32,
    /// Output speed in bit/s.
    pub c_ospeed: u32,
}

/// `struct termios` of the kernel (not of libc): without speeds.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Termios1 {
    /// Input modes.
    pub c_iflag: u32,
    /// Output modes.
    pub c_oflag: u32,
    /// Control modes.
    pub c_cflag: u32,
    /// Local modes.
    pub c_lflag: u32,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters.
    pub c_cc: [u8; NCCS],
}

/// `struct termio`: System V's, 16-bit flags and 8 control characters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termio {
    /// Input modes.
    pub c_iflag: u16,
    /// Output modes.
    pub c_oflag: u16,
    /// Control modes.
    pub c_cflag: u16,
    /// Local modes.
    pub c_lflag: u16,
    /// Line discipline.
    pub c_line: u8,
    /// Control characters.
    pub c_cc: [u8; 8],
    /// Tail of the C structure.
    pub pad: u8,
}

/// `struct winsize`.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Winsize {
    /// Rows in characters.
    pub ws_row: u16,
    /// Columns in characters.
    pub ws_col: u16,
    /// Width in pixels.
    pub ws_xpixel: u16,
    /// Height in pixels.
    pub ws_ypixel: u16,
}

/// `struct serial_struct`: what `TIOCGSERIAL` tells of a serial port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SerialStruct {
    /// Kind of chip (`PORT_*`).
    pub kind: i32,
    /// Number of the port: 0 for `ttyS0`.
    pub line: i32,
    pub port: u32,
    pub irq: i32,
    pub flags: i32,
    pub xmit_fifo_size: i32,
    pub custom_divisor: i32,
    pub baud_base: i32,
    pub close_delay: u16,
    pub io_type: u8,
    pub reserved_char: u8,
    pub hub6: i32,
    pub closing_wait: u16,
    pub closing_wait2: u16,
    pub pad: u32,
    pub iomem_base: u64,
    pub iomem_reg_shift: u16,
    pub pad2: u16,
    pub port_high: u32,
    pub iomap_base: u64,
}

/// `PORT_16550A`.
pub const PORT_16550A: i32 = 4;

/// `struct serial_icounter_struct`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SerialIcounter {
    pub cts: i32,
    pub dsr: i32,
    pub rng: i32,
    pub dcd: i32,
    pub rx: i32,
    pub tx: i32,
    pub frame: i32,
    pub overrun: i32,
    pub parity: i32,
    pub brk: i32,
    pub buf_overrun: i32,
    pub reserved: [i32; 9],
}

const _: () = assert!(size_of::<SerialStruct>() == 72);
const _: () = assert!(size_of::<SerialIcounter>() == 80);
const _: () = assert!(size_of::<Termios>() == size_of::<linux_raw_sys::general::termios2>());
const _: () = assert!(size_of::<Termios1>() == size_of::<linux_raw_sys::general::termios>());
const _: () = assert!(size_of::<Termio>() == size_of::<linux_raw_sys::general::termio>());
const _: () = assert!(size_of::<Winsize>() == size_of::<linux_raw_sys::general::winsize>());

impl Termios {
    /// What Linux gives a new terminal (`tty_std_termios`).
    pub const STD: Termios = Termios {
        c_iflag: ICRNL | IXON,
        c_oflag: OPOST | ONLCR,
        c_cflag: B38400 | CS8 | CREAD | HUPCL,
        c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        c_line: N_TTY,
        // INTR ^C, QUIT ^\, ERASE DEL, KILL ^U, EOF ^D, TIME 0, MIN 1, SWTC off, START ^Q, STOP ^S, SUSP ^Z, EOL off,
        // REPRINT ^R, DISCARD ^O, WERASE ^W, LNEXT ^V, EOL2 off.
        c_cc: [
            3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
        ],
        c_ispeed: 38400,
        c_ospeed: 38400,
    };

    /// The same without speeds.
    pub const fn without_speeds(&self) -> Termios1 {
        Termios1 {
            c_iflag: self.c_iflag,
            c_oflag: self.c_oflag,
            c_cflag: self.c_cflag,
            c_lflag: self.c_lflag,
            c_line: self.c_line,
            c_cc: self.c_cc,
        }
    }

    /// The System V form: flags cut to 16 bits, the first 8 control characters.
    pub fn to_termio(&self) -> Termio {
        let mut c_cc = [0; 8];
        c_cc.copy_from_slice(&self.c_cc[..8]);
        Termio {
            c_iflag: self.c_iflag as u16,
            c_oflag: self.c_oflag as u16,
            c_cflag: self.c_cflag as u16,
            c_lflag: self.c_lflag as u16,
            c_line: self.c_line,
            c_cc,
            pad: 0,
        }
    }

    /// `self` with the fields that `struct termios` has replaced.
    pub const fn with_termios1(mut self, new: &Termios1) -> Termios {
        self.c_iflag = new.c_iflag;
        self.c_oflag = new.c_oflag;
        self.c_cflag = new.c_cflag;
        self.c_lflag = new.c_lflag;
        self.c_line = new.c_line;
        self.c_cc = new.c_cc;
        self
    }

    /// `self`, with what `locked` marks as in `old`: a flag by its bit, anything else by a byte that is not 0.
    pub fn keeping(mut self, old: &Termios, locked: &Termios1) -> Termios {
        let flags = |new: u32, old: u32, lock: u32| (new & !lock) | (old & lock);
        self.c_iflag = flags(self.c_iflag, old.c_iflag, locked.c_iflag);
        self.c_oflag = flags(self.c_oflag, old.c_oflag, locked.c_oflag);
        self.c_cflag = flags(self.c_cflag, old.c_cflag, locked.c_cflag);
        self.c_lflag = flags(self.c_lflag, old.c_lflag, locked.c_lflag);
        if locked.c_line != 0 {
            self.c_line = old.c_line;
        }
        for ((new, old), lock) in self.c_cc.iter_mut().zip(old.c_cc).zip(locked.c_cc) {
            if lock != 0 {
                *new = old;
            }
        }
        self
    }

    /// `self` with the parts that `struct termio` has replaced: the low halves of the flags.
    pub fn with_termio(mut self, new: &Termio) -> Termios {
        let low = |old: u32, new: u16| (old & 0xffff_0000) | u32::from(new);
        self.c_iflag = low(self.c_iflag, new.c_iflag);
        self.c_oflag = low(self.c_oflag, new.c_oflag);
        self.c_cflag = low(self.c_cflag, new.c_cflag);
        self.c_lflag = low(self.c_lflag, new.c_lflag);
        self.c_line = new.c_line;
        self.c_cc[..8].copy_from_slice(&new.c_cc);
        self
    }

    /// Derives the speeds from the codes in `c_cflag`; `BOTHER` keeps the given numbers.
    pub fn update_speeds(&mut self) {
        if let Some(speed) = speed_of_code(self.c_cflag & CBAUD) {
            self.c_ospeed = speed;
        }
        match (self.c_cflag & CIBAUD) >> IBSHIFT {
            0 => self.c_ispeed = self.c_ospeed,
            code => {
                if let Some(speed) = speed_of_code(code) {
                    self.c_ispeed = speed;
                }
            }
        }
    }

    /// Sets one speed for both directions, by its code if it has one.
    pub fn set_speed(&mut self, speed: u32) {
        let codes = (0..16).flat_map(|low| [low, low | CBAUDEX]);
        let code = codes
            .filter(|&code| code != BOTHER)
            .find(|&code| speed_of_code(code) == Some(speed));
        self.c_cflag = (self.c_cflag & !(CBAUD | CIBAUD)) | code.unwrap_or(BOTHER);
        self.c_ispeed = speed;
        self.c_ospeed = speed;
    }

    /// Whether a local mode is on.
    pub const fn local(&self, flag: u32) -> bool {
        self.c_lflag & flag != 0
    }

    /// Whether an input mode is on.
    pub const fn input(&self, flag: u32) -> bool {
        self.c_iflag & flag != 0
    }

    /// Whether an output mode is on.
    pub const fn output(&self, flag: u32) -> bool {
        self.c_oflag & flag != 0
    }

    /// The control character `index` (one of `V*`).
    pub fn cc(&self, index: u32) -> u8 {
        self.c_cc
            .get(index as usize)
            .copied()
            .unwrap_or(DISABLED_CHAR)
    }
}

/// The speed that a `B*` code stands for; `None` for `BOTHER` and unknown codes.
fn speed_of_code(code: u32) -> Option<u32> {
    const LOW: [u32; 16] = [
        0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
    ];
    const HIGH: [u32; 16] = [
        0, 57600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000,
        1_500_000, 2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
    ];
    let index = (code & 15) as usize;
    match code & CBAUDEX {
        0 => Some(LOW[index]),
        _ if index == 0 => None,
        _ => Some(HIGH[index]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_follow_the_codes() {
        let mut t = Termios::STD;
        t.c_cflag = (t.c_cflag & !CBAUD) | B115200;
        t.update_speeds();
        assert_eq!((t.c_ispeed, t.c_ospeed), (115_200, 115_200));
        t.c_cflag = (t.c_cflag & !CBAUD) | BOTHER;
        t.c_ospeed = 12345;
        t.update_speeds();
        assert_eq!((t.c_ispeed, t.c_ospeed), (12345, 12345));
    }

    #[test]
    fn a_speed_gets_its_code() {
        let mut t = Termios::STD;
        for (speed, code) in [(9600, B9600), (115_200, B115200), (12345, BOTHER)] {
            t.set_speed(speed);
            assert_eq!(t.c_cflag & CBAUD, code);
            t.update_speeds();
            assert_eq!((t.c_ispeed, t.c_ospeed), (speed, speed));
        }
    }

    #[test]
    fn termio_keeps_the_high_halves() {
        let mut t = Termios::STD;
        t.c_lflag |= EXTPROC;
        let mut small = t.to_termio();
        small.c_lflag = 0;
        let back = t.with_termio(&small);
        assert_eq!(back.c_lflag, EXTPROC);
        assert_eq!(back.c_cc[8..], t.c_cc[8..]);
    }
}
