//! Both ends of a pseudo-terminal: opening and closing, attributes, packet mode, queues.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_master_has_a_numbered_slave,
    numbers_are_used_again,
    a_slave_is_locked_at_first,
    getptpeer_opens_the_slave,
    pty_ioctls_are_the_masters_alone,
    a_master_waits_for_its_slave,
    typing_ahead_of_the_open_is_kept,
    closing_the_slave_ends_the_masters_reads,
    opening_again_takes_up_the_line,
    closing_the_master_hangs_up,
    a_sleeping_reader_hears_of_the_hang_up,
    a_sleeping_master_hears_of_the_close,
    nodes_tell_their_device,
    a_terminal_cannot_seek,
    a_new_pty_has_the_usual_attributes,
    attributes_are_the_slaves_at_both_ends,
    a_pty_keeps_its_frame,
    old_attribute_calls,
    speeds_in_numbers,
    attributes_last_while_the_pair_does,
    tcsetsf_drops_input,
    bad_addresses_are_refused,
    other_files_are_no_terminals,
    flush_drops_what_was_not_read,
    flow_calls_stop_and_start_output,
    flow_calls_send_keys,
    drain_and_break_do_nothing_here,
    output_count_is_nothing,
    the_masters_input_count,
    locked_attributes_stay,
    exclusive_mode_keeps_others_out,
    inserted_input_is_as_typed,
    the_discipline_can_be_asked,
    window_sizes_are_shared,
    packet_mode_marks_data,
    packet_mode_tells_of_flow,
    packet_mode_tells_of_flushes,
    packet_mode_tells_of_stop_keys,
    remote_editing_passes_lines_through,
    readiness_of_both_ends,
];

fn a_master_has_a_numbered_slave() -> Outcome {
    let (master, path) = open_master()?;
    let path = c_string(&path);
    let node = stat(&path)?;
    equal(node.st_mode & libc::S_IFMT, libc::S_IFCHR)?;
    equal(libc::major(node.st_rdev), 136)?;
    equal(
        libc::minor(node.st_rdev) as i32,
        ask(master, libc::TIOCGPTN)?,
    )?;
    // With the master the node goes.
    close(master)?;
    fails(stat(&path).map(|_| 0), libc::ENOENT)
}

fn numbers_are_used_again() -> Outcome {
    let one = Pty::open()?;
    let two = Pty::open()?;
    let number = ask(one.master, libc::TIOCGPTN)?;
    check(
        number != ask(two.master, libc::TIOCGPTN)?,
        "each has its own",
    )?;
    one.close()?;
    let three = Pty::open()?;
    equal(ask(three.master, libc::TIOCGPTN)?, number)
}

fn a_slave_is_locked_at_first() -> Outcome {
    let master = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let path = c_string(&format!("/dev/pts/{}", ask(master, libc::TIOCGPTN)?));
    equal(ask(master, libc::TIOCGPTLCK)?, 1)?;
    fails(open(&path, libc::O_RDWR | libc::O_NOCTTY), libc::EIO)?;
    tell(master, libc::TIOCSPTLCK, 0)?;
    equal(ask(master, libc::TIOCGPTLCK)?, 0)?;
    close(open(&path, libc::O_RDWR | libc::O_NOCTTY)?)?;
    tell(master, libc::TIOCSPTLCK, 7)?;
    equal(ask(master, libc::TIOCGPTLCK)?, 1)?;
    fails(open(&path, libc::O_RDWR | libc::O_NOCTTY), libc::EIO)
}

fn getptpeer_opens_the_slave() -> Outcome {
    let master = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let peer = |flags: i32| sys!(SYS_ioctl, master, libc::TIOCGPTPEER, flags);
    fails(peer(flags), libc::EIO)?;
    tell(master, libc::TIOCSPTLCK, 0)?;
    let slave = peer(flags)? as i32;
    equal(sys!(SYS_fcntl, slave, libc::F_GETFD)?, 0)?;
    let closing = peer(flags | libc::O_CLOEXEC)? as i32;
    equal(sys!(SYS_fcntl, closing, libc::F_GETFD)?, 1)?;
    let reading = peer(libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK)? as i32;
    fails(write(reading, b"x"), libc::EBADF)?;
    fails(read_some(reading), libc::EAGAIN)?;
    write(master, b"peer\n")?;
    equal(read_some(slave)?, b"peer\n")?;
    let number = ask(master, libc::TIOCGPTN)?;
    let link = std::fs::read_link(format!("/proc/self/fd/{slave}"))?;
    check(
        link.to_string_lossy().ends_with(&format!("/{number}")),
        "the descriptor tells its name",
    )
}

fn pty_ioctls_are_the_masters_alone() -> Outcome {
    let pty = Pty::open()?;
    for request in [libc::TIOCGPTN, libc::TIOCGPTLCK, libc::TIOCGPKT] {
        fails(ask(pty.slave, request), libc::ENOTTY)?;
    }
    for request in [libc::TIOCSPTLCK, libc::TIOCPKT] {
        fails(tell(pty.slave, request, 0), libc::ENOTTY)?;
    }
    fails(
        sys!(SYS_ioctl, pty.slave, TIOCSIG, libc::SIGINT),
        libc::ENOTTY,
    )?;
    fails(
        sys!(SYS_ioctl, pty.slave, libc::TIOCGPTPEER, libc::O_RDWR),
        libc::EIO,
    )
}

fn a_master_waits_for_its_slave() -> Outcome {
    let (master, _) = open_master()?;
    let all = libc::POLLIN | libc::POLLOUT;
    equal(ready(master, all)?, libc::POLLOUT)?;
    set_nonblocking(master, true)?;
    fails(read_some(master), libc::EAGAIN)
}

fn typing_ahead_of_the_open_is_kept() -> Outcome {
    let (master, path) = open_master()?;
    write(master, b"early\n")?;
    let slave = open(&c_string(&path), libc::O_RDWR | libc::O_NOCTTY)?;
    let pty = Pty { master, slave };
    pty.reads(b"early\n")?;
    pty.shows(b"early\r\n")
}

fn closing_the_slave_ends_the_masters_reads() -> Outcome {
    let pty = Pty::open()?;
    let second = sys!(SYS_dup, pty.slave)? as i32;
    let third = open(&pty.path()?, libc::O_RDWR | libc::O_NOCTTY)?;
    write(pty.slave, b"last words")?;
    for slave in [pty.slave, second] {
        close(slave)?;
        equal(ready(pty.master, libc::POLLIN)? & libc::POLLHUP, 0)?;
    }
    close(third)?;
    let ended = libc::POLLIN | libc::POLLHUP;
    equal(ready(pty.master, libc::POLLIN)?, ended)?;
    pty.shows(b"last words")?;
    fails(read_some(pty.master), libc::EIO)?;
    fails(read_some(pty.master), libc::EIO)?;
    equal(ready(pty.master, libc::POLLIN)?, libc::POLLHUP)?;
    // It can still be typed at, and sized.
    equal(write(pty.master, b"x")?, 1)?;
    equal(attributes(pty.master)?.lflag & libc::ICANON, libc::ICANON)
}

fn opening_again_takes_up_the_line() -> Outcome {
    let pty = Pty::open()?;
    let path = pty.path()?;
    close(pty.slave)?;
    fails(read_some(pty.master), libc::EIO)?;
    let pty = Pty {
        master: pty.master,
        slave: open(&path, libc::O_RDWR | libc::O_NOCTTY)?,
    };
    equal(ready(pty.master, libc::POLLIN)?, 0)?;
    pty.echoes(b"again\n", b"again\r\n")?;
    pty.reads(b"again\n")
}

fn closing_the_master_hangs_up() -> Outcome {
    let pty = Pty::open()?;
    let path = pty.path()?;
    pty.echoes(b"lost\n", b"lost\r\n")?;
    close(pty.master)?;
    equal(shown(&read_some(pty.slave)?), "")?;
    fails(write(pty.slave, b"x"), libc::EIO)?;
    fails(attributes(pty.slave), libc::EIO)?;
    fails(ask(pty.slave, libc::FIONREAD), libc::EIO)?;
    fails(tell(pty.slave, libc::TIOCSPGRP, getpid()), libc::ENOTTY)?;
    let all = libc::POLLIN | libc::POLLOUT;
    equal(ready(pty.slave, all)?, all | libc::POLLERR | libc::POLLHUP)?;
    fails(open(&path, libc::O_RDWR | libc::O_NOCTTY), libc::ENOENT)?;
    // By its descriptor's name it cannot be opened again.
    let own = c_string(&format!("/proc/self/fd/{}", pty.slave));
    fails(open(&own, libc::O_RDWR | libc::O_NOCTTY), libc::EIO)
}

fn a_sleeping_reader_hears_of_the_hang_up() -> Outcome {
    let pty = Pty::open()?;
    let (slave, master) = (pty.slave, pty.master);
    let reader = fork(|| {
        let _ = close(master);
        i32::from(read_some(slave) != Err(Errno(libc::EIO)))
    })?;
    await_state(reader, "S")?;
    close(pty.master)?;
    equal(wait(reader)?, 0)
}

fn a_sleeping_master_hears_of_the_close() -> Outcome {
    let pty = Pty::open()?;
    let (slave, master) = (pty.slave, pty.master);
    let reader = fork(|| {
        let _ = close(slave);
        i32::from(read_some(master) != Err(Errno(libc::EIO)))
    })?;
    await_state(reader, "S")?;
    close(pty.slave)?;
    equal(wait(reader)?, 0)
}

fn nodes_tell_their_device() -> Outcome {
    let pty = Pty::open()?;
    let number = ask(pty.master, libc::TIOCGPTN)?;
    let device = |fd: i32| fstat(fd).map(|s| (libc::major(s.st_rdev), libc::minor(s.st_rdev)));
    equal(device(pty.master)?, (5, 2))?;
    equal(device(pty.slave)?, (136, number as u32))?;
    for fd in [pty.slave, pty.master] {
        equal(ask(fd, TIOCGDEV)?, (136 << 8) | number)?;
    }
    let tty = stat(c"/dev/tty")?;
    equal((libc::major(tty.st_rdev), libc::minor(tty.st_rdev)), (5, 0))
}

fn a_terminal_cannot_seek() -> Outcome {
    let pty = Pty::open()?;
    for fd in [pty.master, pty.slave] {
        fails(sys!(SYS_lseek, fd, 0, libc::SEEK_CUR), libc::ESPIPE)?;
        let mut byte = [0_u8];
        fails(sys!(SYS_pread64, fd, byte.as_mut_ptr(), 1, 0), libc::ESPIPE)?;
        fails(sys!(SYS_pwrite64, fd, byte.as_ptr(), 1, 0), libc::ESPIPE)?;
        fails(sys!(SYS_ftruncate, fd, 0), libc::EINVAL)?;
        fails(
            sys!(SYS_mmap, 0, 4096, libc::PROT_READ, libc::MAP_SHARED, fd, 0),
            libc::ENODEV,
        )?;
        equal(read(fd, &mut [])?, 0)?;
        equal(write(fd, &[])?, 0)?;
    }
    Ok(())
}

fn a_new_pty_has_the_usual_attributes() -> Outcome {
    let pty = Pty::open()?;
    let want = Termios {
        iflag: 0o2400,
        oflag: 5,
        cflag: 0o277,
        lflag: 0o105073,
        line: 0,
        cc: [
            3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
        ],
    };
    equal(attributes(pty.slave)?, want)?;
    let mut size = [9_u16; 4];
    sys!(SYS_ioctl, pty.slave, libc::TIOCGWINSZ, &mut size)?;
    equal(std::hint::black_box(size), [0; 4])
}

fn attributes_are_the_slaves_at_both_ends() -> Outcome {
    let pty = Pty::open()?;
    let mut raw = attributes(pty.master)?;
    equal(raw, attributes(pty.slave)?)?;
    raw.make_raw();
    set_attributes(pty.master, &raw)?;
    equal(attributes(pty.slave)?, raw)?;
    equal(attributes(pty.master)?, raw)?;
    pty.type_in(b"x")?;
    pty.reads(b"x")
}

fn a_pty_keeps_its_frame() -> Outcome {
    let pty = Pty::with(|t| {
        t.cflag = libc::CS5 | libc::PARENB | libc::CSTOPB | libc::B9600;
        t.line = 7;
    })?;
    let got = attributes(pty.slave)?;
    equal(
        got.cflag,
        libc::CS8 | libc::CREAD | libc::CSTOPB | libc::B9600,
    )?;
    equal(got.line, 7)?;
    equal(ask(pty.slave, libc::TIOCGETD)?, 0)
}

/// `struct termio`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Termio {
    flags: [u16; 4],
    line: u8,
    cc: [u8; 8],
    pad: u8,
}

fn old_attribute_calls() -> Outcome {
    let pty = Pty::open()?;
    let mut old = Termio::default();
    sys!(SYS_ioctl, pty.slave, libc::TCGETA, &mut old)?;
    let mut old = std::hint::black_box(old);
    let new = attributes(pty.slave)?;
    equal(
        old.flags,
        [new.iflag, new.oflag, new.cflag, new.lflag].map(|flags| flags as u16),
    )?;
    equal(old.cc.as_slice(), &new.cc[..8])?;
    // The upper halves of the flags stay.
    pty.change(|t| t.lflag |= libc::EXTPROC)?;
    old.flags[3] &= !(libc::ECHO as u16);
    old.cc[libc::VINTR] = 1;
    for call in [libc::TCSETA, libc::TCSETAW, libc::TCSETAF] {
        sys!(SYS_ioctl, pty.slave, call, &old)?;
    }
    let mut want = new;
    want.lflag = (new.lflag | libc::EXTPROC) & !libc::ECHO;
    want.cc[libc::VINTR] = 1;
    equal(attributes(pty.slave)?, want)
}

/// `struct termios2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Termios2 {
    base: Termios,
    input: u32,
    output: u32,
}

fn speeds_in_numbers() -> Outcome {
    let pty = Pty::open()?;
    let get = || -> Sys<Termios2> {
        let mut termios = Termios2::default();
        sys!(SYS_ioctl, pty.slave, libc::TCGETS2, &mut termios)?;
        Ok(std::hint::black_box(termios))
    };
    let mut termios = get()?;
    equal((termios.input, termios.output), (38400, 38400))?;
    termios.base.cflag = (termios.base.cflag & !libc::CBAUD) | libc::BOTHER;
    (termios.input, termios.output) = (12345, 12345);
    sys!(SYS_ioctl, pty.slave, libc::TCSETS2, &termios)?;
    equal(get()?, termios)?;
    // A number that has a code goes back to it by the old call.
    pty.change(|t| t.cflag = (t.cflag & !libc::CBAUD) | libc::B115200)?;
    let termios = get()?;
    equal((termios.input, termios.output), (115200, 115200))?;
    // Both directions may differ.
    let mut termios = termios;
    let other = libc::BOTHER | (libc::B9600 << libc::IBSHIFT);
    termios.base.cflag = (termios.base.cflag & !libc::CBAUD) | other;
    (termios.input, termios.output) = (1, 31250);
    sys!(SYS_ioctl, pty.slave, libc::TCSETSF2, &termios)?;
    let termios = get()?;
    equal((termios.input, termios.output), (9600, 31250))
}

fn attributes_last_while_the_pair_does() -> Outcome {
    let pty = Pty::with(Termios::make_raw)?;
    let path = pty.path()?;
    let before = attributes(pty.slave)?;
    close(pty.slave)?;
    equal(attributes(pty.master)?, before)?;
    let slave = open(&path, libc::O_RDWR | libc::O_NOCTTY)?;
    equal(attributes(slave)?, before)
}

fn tcsetsf_drops_input() -> Outcome {
    let pty = Pty::open()?;
    let now = attributes(pty.slave)?;
    pty.echoes(b"a\nb", b"a\r\nb")?;
    sys!(SYS_ioctl, pty.slave, libc::TCSETSW, &now)?;
    pty.reads(b"a\n")?;
    pty.type_in(b"\n")?;
    pty.reads(b"b\n")?;
    pty.shows(b"\r\n")?;
    pty.echoes(b"a\nb", b"a\r\nb")?;
    sys!(SYS_ioctl, pty.slave, libc::TCSETSF, &now)?;
    pty.has_no_input()?;
    pty.type_in(b"z\n")?;
    pty.reads(b"z\n")
}

fn bad_addresses_are_refused() -> Outcome {
    let pty = Pty::open()?;
    let calls = [
        libc::TCGETS,
        libc::TCSETS,
        libc::TCGETA,
        libc::TCSETA,
        libc::TCGETS2,
        libc::TCSETS2,
        libc::TIOCGWINSZ,
        libc::TIOCSWINSZ,
        libc::FIONREAD,
        libc::TIOCOUTQ,
        libc::TIOCSTI,
        libc::TIOCGETD,
        libc::TIOCSETD,
        libc::TIOCGEXCL,
    ];
    for call in calls {
        if let Err(trouble) = fails(sys!(SYS_ioctl, pty.slave, call, 8), libc::EFAULT) {
            return fail(&format!("{call:#x}: {trouble:?}"));
        }
    }
    for call in [
        libc::TIOCGPTN,
        libc::TIOCSPTLCK,
        libc::TIOCGPTLCK,
        libc::TIOCPKT,
        libc::TIOCGPKT,
    ] {
        fails(sys!(SYS_ioctl, pty.master, call, 8), libc::EFAULT)?;
    }
    pty.echoes(b"ab\n", b"ab\r\n")?;
    fails(sys!(SYS_read, pty.slave, 8, 10), libc::EFAULT)?;
    fails(sys!(SYS_write, pty.slave, 8, 10), libc::EFAULT)?;
    fails(sys!(SYS_write, pty.master, 8, 10), libc::EFAULT)
}

fn other_files_are_no_terminals() -> Outcome {
    let (read, write) = pipe()?;
    let null = open(c"/dev/null", libc::O_RDWR)?;
    let file = file_with(c"file", b"x")?;
    for fd in [read, write, null, file] {
        fails(attributes(fd), libc::ENOTTY)?;
        fails(ask(fd, libc::TIOCGPGRP), libc::ENOTTY)?;
        fails(sys!(SYS_ioctl, fd, libc::TIOCSCTTY, 0), libc::ENOTTY)?;
    }
    let pty = Pty::open()?;
    for fd in [pty.master, pty.slave] {
        fails(sys!(SYS_ioctl, fd, 0x54ff, 0), libc::ENOTTY)?;
        fails(sys!(SYS_ioctl, fd, libc::TIOCMGET, &mut 0), libc::ENOTTY)?;
    }
    Ok(())
}

fn flush_drops_what_was_not_read() -> Outcome {
    let pty = Pty::open()?;
    let flush = |which: i32| sys!(SYS_ioctl, pty.slave, libc::TCFLSH, which);
    pty.echoes(b"a\nb", b"a\r\nb")?;
    flush(libc::TCOFLUSH)?;
    pty.reads(b"a\n")?;
    pty.type_in(b"c\n")?;
    pty.shows(b"c\r\n")?;
    flush(libc::TCIFLUSH)?;
    pty.has_no_input()?;
    pty.echoes(b"d\n", b"d\r\n")?;
    flush(libc::TCIOFLUSH)?;
    pty.has_no_input()?;
    fails(flush(3), libc::EINVAL)?;
    fails(flush(-1), libc::EINVAL)
}

fn flow_calls_stop_and_start_output() -> Outcome {
    let pty = Pty::open()?;
    let flow = |what: i32| sys!(SYS_ioctl, pty.slave, libc::TCXONC, what);
    flow(libc::TCOOFF)?;
    equal(ready(pty.slave, libc::POLLOUT)?, 0)?;
    set_nonblocking(pty.slave, true)?;
    fails(write(pty.slave, b"x"), libc::EAGAIN)?;
    // The start key does not undo it.
    pty.type_in(b"\x11a\n")?;
    await_ready(pty.slave, libc::POLLIN)?;
    fails(write(pty.slave, b"x"), libc::EAGAIN)?;
    flow(libc::TCOON)?;
    equal(write(pty.slave, b"x")?, 1)?;
    pty.shows(b"a\r\nx")?;
    fails(flow(4), libc::EINVAL)
}

fn flow_calls_send_keys() -> Outcome {
    let pty = Pty::open()?;
    for (what, key) in [(libc::TCIOFF, b"\x13"), (libc::TCION, b"\x11")] {
        sys!(SYS_ioctl, pty.slave, libc::TCXONC, what)?;
        pty.shows(key)?;
    }
    pty.change(|t| t.cc[libc::VSTOP] = 0)?;
    sys!(SYS_ioctl, pty.slave, libc::TCXONC, libc::TCIOFF)?;
    pty.shows_no_more()
}

fn drain_and_break_do_nothing_here() -> Outcome {
    let pty = Pty::open()?;
    write(pty.slave, b"text")?;
    for (call, argument) in [
        (libc::TCSBRK, 0),
        (libc::TCSBRK, 1),
        (libc::TCSBRKP, 0),
        (libc::TIOCSBRK, 0),
        (libc::TIOCCBRK, 0),
    ] {
        sys!(SYS_ioctl, pty.slave, call, argument)?;
    }
    pty.shows(b"text")?;
    pty.shows_no_more()?;
    pty.has_no_input()
}

fn output_count_is_nothing() -> Outcome {
    let pty = Pty::open()?;
    equal(ask(pty.slave, libc::TIOCOUTQ)?, 0)?;
    write(pty.slave, b"text")?;
    equal(ask(pty.slave, libc::TIOCOUTQ)?, 0)?;
    equal(ask(pty.master, libc::TIOCOUTQ)?, 0)
}

fn the_masters_input_count() -> Outcome {
    let pty = Pty::open()?;
    write(pty.slave, b"text\n")?;
    await_ready(pty.master, libc::POLLIN)?;
    equal(ask(pty.master, libc::FIONREAD)?, 6)?;
    pty.shows(b"te")?;
    equal(ask(pty.master, libc::FIONREAD)?, 4)
}

fn locked_attributes_stay() -> Outcome {
    let pty = Pty::open()?;
    let old = attributes(pty.slave)?;
    let mut locked = Termios::default();
    sys!(SYS_ioctl, pty.slave, TIOCGLCKTRMIOS, &mut locked)?;
    equal(std::hint::black_box(locked), Termios::default())?;
    locked.lflag = libc::ECHO;
    locked.cc[libc::VINTR] = 1;
    sys!(SYS_ioctl, pty.slave, TIOCSLCKTRMIOS, &locked)?;
    let mut raw = old;
    raw.make_raw();
    raw.cc[libc::VINTR] = 7;
    raw.cc[libc::VQUIT] = 8;
    sys!(SYS_ioctl, pty.slave, libc::TCSETS, &raw)?;
    raw.lflag = old.lflag & libc::ECHO;
    raw.cc[libc::VINTR] = old.cc[libc::VINTR];
    equal(attributes(pty.slave)?, raw)?;
    // The master asks for the slave's.
    let mut seen = Termios::default();
    sys!(SYS_ioctl, pty.master, TIOCGLCKTRMIOS, &mut seen)?;
    equal(std::hint::black_box(seen), locked)?;
    within(|| {
        become_user()?;
        fails(
            sys!(SYS_ioctl, pty.slave, TIOCSLCKTRMIOS, &old),
            libc::EPERM,
        )
    })
}

fn exclusive_mode_keeps_others_out() -> Outcome {
    let pty = Pty::open()?;
    let path = pty.path()?;
    sys!(SYS_fchmod, pty.slave, 0o666)?;
    equal(ask(pty.slave, libc::TIOCGEXCL)?, 0)?;
    sys!(SYS_ioctl, pty.slave, libc::TIOCEXCL, 0)?;
    equal(ask(pty.slave, libc::TIOCGEXCL)?, 1)?;
    // Who administrates the system may.
    close(open(&path, libc::O_RDWR | libc::O_NOCTTY)?)?;
    within(|| {
        become_user()?;
        fails(open(&path, libc::O_RDWR | libc::O_NOCTTY), libc::EBUSY)
    })?;
    sys!(SYS_ioctl, pty.slave, libc::TIOCNXCL, 0)?;
    within(|| {
        become_user()?;
        close(open(&path, libc::O_RDWR | libc::O_NOCTTY)?)?;
        Ok(())
    })?;
    // It outlasts the descriptors: the pair is still there.
    sys!(SYS_ioctl, pty.slave, libc::TIOCEXCL, 0)?;
    close(pty.slave)?;
    let slave = open(&path, libc::O_RDWR | libc::O_NOCTTY)?;
    equal(ask(slave, libc::TIOCGEXCL)?, 1)
}

fn inserted_input_is_as_typed() -> Outcome {
    let pty = Pty::open()?;
    for byte in b"ab\x7fc\n" {
        sys!(SYS_ioctl, pty.slave, libc::TIOCSTI, byte)?;
    }
    pty.shows(b"ab\x08 \x08c\r\n")?;
    pty.reads(b"ac\n")?;
    within(|| {
        become_user()?;
        match sys!(SYS_ioctl, pty.slave, libc::TIOCSTI, b"x") {
            // By whether the kernel has the old rules, and this is nobody's terminal.
            Err(Errno(libc::EIO | libc::EPERM)) => Ok(()),
            other => fail(&format!("{other:?}")),
        }
    })
}

fn the_discipline_can_be_asked() -> Outcome {
    let pty = Pty::open()?;
    equal(ask(pty.slave, libc::TIOCGETD)?, 0)?;
    tell(pty.slave, libc::TIOCSETD, 0)?;
    fails(tell(pty.slave, libc::TIOCSETD, 99), libc::EINVAL)?;
    fails(tell(pty.slave, libc::TIOCSETD, -1), libc::EINVAL)
}

fn window_sizes_are_shared() -> Outcome {
    let pty = Pty::open()?;
    for (fd, size) in [
        (pty.master, [24_u16, 80, 1, 2]),
        (pty.slave, [50, 132, 0, 0]),
    ] {
        sys!(SYS_ioctl, fd, libc::TIOCSWINSZ, &size)?;
        for fd in [pty.master, pty.slave] {
            let mut got = [0_u16; 4];
            sys!(SYS_ioctl, fd, libc::TIOCGWINSZ, &mut got)?;
            equal(std::hint::black_box(got), size)?;
        }
    }
    Ok(())
}

/// A pair in packet mode.
fn packets(change: impl FnOnce(&mut Termios)) -> Outcome<Pty> {
    let pty = Pty::with(change)?;
    tell(pty.master, libc::TIOCPKT, 1)?;
    Ok(pty)
}

fn packet_mode_marks_data() -> Outcome {
    let pty = packets(|_| {})?;
    equal(ask(pty.master, libc::TIOCGPKT)?, 1)?;
    write(pty.slave, b"text")?;
    equal(shown(&read_some(pty.master)?), "\\x00text")?;
    write(pty.slave, b"more")?;
    await_ready(pty.master, libc::POLLIN)?;
    let mut two = [9; 2];
    equal(read(pty.master, &mut two)?, 2)?;
    equal(&two, b"\0m")?;
    tell(pty.master, libc::TIOCPKT, 0)?;
    pty.shows(b"ore")
}

/// The next packet must be this status.
#[track_caller]
fn tells(pty: &Pty, status: u8) -> Outcome {
    let events = await_ready(pty.master, libc::POLLIN | libc::POLLPRI)?;
    check(events & libc::POLLPRI != 0, "a status is urgent")?;
    equal(read_some(pty.master)?, vec![status])
}

fn packet_mode_tells_of_flow() -> Outcome {
    let pty = packets(|_| {})?;
    sys!(SYS_ioctl, pty.slave, libc::TCXONC, libc::TCOOFF)?;
    tells(&pty, 4)?;
    sys!(SYS_ioctl, pty.slave, libc::TCXONC, libc::TCOON)?;
    tells(&pty, 8)?;
    pty.type_in(b"\x13")?;
    tells(&pty, 4)?;
    pty.type_in(b"\x11")?;
    tells(&pty, 8)?;
    equal(ready(pty.master, libc::POLLIN | libc::POLLPRI)?, 0)
}

fn packet_mode_tells_of_flushes() -> Outcome {
    let pty = packets(|_| {})?;
    sys!(SYS_ioctl, pty.slave, libc::TCFLSH, libc::TCIFLUSH)?;
    tells(&pty, 1)?;
    sys!(SYS_ioctl, pty.slave, libc::TCFLSH, libc::TCOFLUSH)?;
    tells(&pty, 2)?;
    sys!(SYS_ioctl, pty.slave, libc::TCFLSH, libc::TCIOFLUSH)?;
    tells(&pty, 3)?;
    // Nothing is noted while the mode is off.
    tell(pty.master, libc::TIOCPKT, 0)?;
    sys!(SYS_ioctl, pty.slave, libc::TCFLSH, libc::TCIFLUSH)?;
    tell(pty.master, libc::TIOCPKT, 1)?;
    equal(ready(pty.master, libc::POLLIN | libc::POLLPRI)?, 0)
}

fn packet_mode_tells_of_stop_keys() -> Outcome {
    let pty = packets(|_| {})?;
    pty.change(|t| t.iflag &= !libc::IXON)?;
    tells(&pty, 16)?;
    pty.change(|t| t.iflag |= libc::IXON)?;
    tells(&pty, 32)?;
    // Other keys cannot be known to the other side either.
    pty.change(|t| t.cc[libc::VSTOP] = b'x')?;
    tells(&pty, 16)?;
    pty.change(|t| t.lflag &= !libc::ECHO)?;
    equal(ready(pty.master, libc::POLLIN | libc::POLLPRI)?, 0)
}

fn remote_editing_passes_lines_through() -> Outcome {
    let pty = packets(|t| t.lflag |= libc::EXTPROC)?;
    pty.change(|t| t.lflag &= !libc::ECHO)?;
    tells(&pty, 64)?;
    pty.type_in(b"ab\x7f\x03\r")?;
    pty.await_input(5)?;
    pty.reads(b"ab\x7f\x03\r")?;
    pty.change(|t| t.lflag &= !libc::EXTPROC)?;
    tells(&pty, 64)
}

fn readiness_of_both_ends() -> Outcome {
    let pty = Pty::open()?;
    let all = libc::POLLIN | libc::POLLOUT | libc::POLLPRI;
    equal(ready(pty.master, all)?, libc::POLLOUT)?;
    equal(ready(pty.slave, all)?, libc::POLLOUT)?;
    pty.type_in(b"a\n")?;
    await_ready(pty.slave, libc::POLLIN)?;
    await_ready(pty.master, libc::POLLIN)?;
    equal(ready(pty.master, all)?, libc::POLLIN | libc::POLLOUT)?;
    equal(ready(pty.slave, all)?, libc::POLLIN | libc::POLLOUT)
}
