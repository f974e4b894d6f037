//! The line discipline: canonical editing, echo, raw input, flow control and output modes.

use super::*;
use crate::cases;
use crate::harness::Case;

pub const CASES: &[Case] = cases![
    a_line_is_echoed_and_read_whole,
    a_line_can_be_read_in_parts,
    one_read_takes_one_line,
    a_line_waits_for_its_end,
    erase_takes_a_character,
    erase_does_not_reach_into_finished_lines,
    word_erase_takes_a_word,
    kill_takes_the_line,
    reprint_shows_the_line_again,
    literal_next_takes_the_meaning_away,
    extended_keys_need_iexten,
    end_of_file_at_the_start_of_a_line,
    end_of_file_inside_a_line,
    end_of_file_is_not_left_over_by_an_exact_read,
    other_line_ends,
    an_overlong_line_keeps_its_end,
    input_newline_modes,
    echo_flags,
    controls_are_echoed_with_a_caret,
    erasing_a_control_takes_both_cells,
    erasing_a_tab_goes_back_over_its_width,
    erasing_a_tab_counts_what_a_program_wrote,
    erasing_a_utf8_character_takes_its_bytes,
    fionread_counts_finished_lines_only,
    leaving_canonical_mode_frees_the_unfinished_line,
    entering_canonical_mode_makes_a_line_of_the_rest,
    raw_input_is_as_typed,
    raw_echo_follows_output_modes,
    vmin_waits_for_as_many,
    vmin_is_met_by_a_full_buffer,
    vmin_zero_answers_at_once,
    vtime_alone_gives_up_or_answers_early,
    vtime_between_bytes_ends_a_read,
    poll_minds_vmin,
    nonblocking_read_is_eagain,
    strip_and_lower_case_input,
    stop_and_start_keys_hold_output,
    any_key_restarts_output_with_ixany,
    stop_keys_are_plain_without_ixon,
    parmrk_doubles_0377,
    output_modes,
    output_without_opost_is_as_written,
    tabs_become_spaces_by_column,
    a_full_raw_buffer_holds_the_writer,
    a_full_screen_holds_the_writer,
    much_passes_unchanged_both_ways,
];

fn a_line_is_echoed_and_read_whole() -> Outcome {
    let pty = Pty::open()?;
    pty.echoes(b"hello\r", b"hello\r\n")?;
    pty.reads(b"hello\n")?;
    pty.has_no_input()
}

fn a_line_can_be_read_in_parts() -> Outcome {
    let pty = Pty::open()?;
    pty.type_in(b"hello\n")?;
    let mut two = [0; 2];
    for want in [b"he", b"ll"] {
        equal(read(pty.slave, &mut two)?, 2)?;
        equal(&two, want)?;
    }
    pty.reads(b"o\n")
}

fn one_read_takes_one_line() -> Outcome {
    let pty = Pty::open()?;
    pty.echoes(b"one\ntwo\n\nthree\n", b"one\r\ntwo\r\n\r\nthree\r\n")?;
    for line in ["one\n", "two\n", "\n", "three\n"] {
        pty.reads(line.as_bytes())?;
    }
    pty.has_no_input()
}

fn a_line_waits_for_its_end() -> Outcome {
    let pty = Pty::open()?;
    pty.echoes(b"not yet", b"not yet")?;
    pty.has_no_input()?;
    pty.type_in(b"\n")?;
    pty.reads(b"not yet\n")
}

/// Types lines one after the other: what is typed, what is shown, what is read.
#[track_caller]
fn table(pty: &Pty, rows: &[(&[u8], &[u8], &[u8])]) -> Outcome {
    for (typed, echo, line) in rows {
        pty.echoes(typed, echo)?;
        pty.reads(line)?;
    }
    pty.shows_no_more()?;
    pty.has_no_input()
}

fn erase_takes_a_character() -> Outcome {
    let pty = Pty::open()?;
    let rows: &[(&[u8], &[u8], &[u8])] = &[
        (b"ab\x7fc\n", b"ab\x08 \x08c\r\n", b"ac\n"),
        (b"\x7f\x7fx\n", b"x\r\n", b"x\n"),
        (b"a\x7f\x7f\n", b"a\x08 \x08\r\n", b"\n"),
    ];
    table(&pty, rows)?;
    // Backspace is not the key unless it is made so.
    table(&pty, &[(b"a\x08b\n", b"a^Hb\r\n", b"a\x08b\n")])?;
    pty.change(|t| t.cc[libc::VERASE] = 8)?;
    table(&pty, &[(b"a\x08b\n", b"a\x08 \x08b\r\n", b"b\n")])
}

fn erase_does_not_reach_into_finished_lines() -> Outcome {
    let pty = Pty::open()?;
    pty.echoes(b"one\n\x7f\x15\x17two\n", b"one\r\ntwo\r\n")?;
    pty.reads(b"one\n")?;
    pty.reads(b"two\n")
}

fn word_erase_takes_a_word() -> Outcome {
    let pty = Pty::open()?;
    let rub = |count: usize| b"\x08 \x08".repeat(count);
    let cases: &[(&str, usize, &str)] = &[
        ("ab cd", 2, "ab "),
        ("ab cd  ", 4, "ab "),
        ("ab_c9", 5, ""),
        ("a/b.c", 1, "a/b."),
        ("a/b..", 3, "a/"),
        ("  ", 2, ""),
    ];
    for (typed, erased, left) in cases {
        let typed = [typed.as_bytes(), b"\x17\n"].concat();
        let echo = [&typed[..typed.len() - 2], &rub(*erased), b"\r\n".as_slice()].concat();
        let line = format!("{left}\n");
        table(&pty, &[(&typed, &echo, line.as_bytes())])?;
    }
    Ok(())
}

fn kill_takes_the_line() -> Outcome {
    let pty = Pty::open()?;
    let rubbed = b"abc\x08 \x08\x08 \x08\x08 \x08d\r\n";
    table(&pty, &[(b"abc\x15d\n", rubbed, b"d\n")])?;
    pty.change(|t| t.lflag &= !libc::ECHOKE)?;
    table(&pty, &[(b"abc\x15d\n", b"abc^U\r\nd\r\n", b"d\n")])?;
    pty.change(|t| t.lflag &= !libc::ECHOK)?;
    table(&pty, &[(b"abc\x15d\n", b"abc^Ud\r\n", b"d\n")])
}

fn reprint_shows_the_line_again() -> Outcome {
    let pty = Pty::open()?;
    table(
        &pty,
        &[(
            b"ab\x16\x01\x12c\n",
            b"ab^\x08^A^R\r\nab^Ac\r\n",
            b"ab\x01c\n",
        )],
    )
}

fn literal_next_takes_the_meaning_away() -> Outcome {
    let pty = Pty::open()?;
    let rows: &[(&[u8], &[u8], &[u8])] = &[
        (b"a\x16\x7f\n", b"a^\x08^?\r\n", b"a\x7f\n"),
        (b"\x16\x03\x16\x04\n", b"^\x08^C^\x08^D\r\n", b"\x03\x04\n"),
        (b"\x16\x16\n", b"^\x08^V\r\n", b"\x16\n"),
        // A newline so typed is a byte like any other.
        (b"a\x16\nb\n", b"a^\x08^Jb\r\n", b"a\nb\n"),
    ];
    table(&pty, rows)
}

fn extended_keys_need_iexten() -> Outcome {
    let pty = Pty::with(|t| t.lflag &= !libc::IEXTEN)?;
    table(
        &pty,
        &[(
            b"a b\x17\x16\x12\x7f\n",
            b"a b^W^V^R\x08 \x08\x08 \x08\r\n",
            b"a b\x17\x16\n",
        )],
    )
}

fn end_of_file_at_the_start_of_a_line() -> Outcome {
    let pty = Pty::open()?;
    pty.type_in(b"\x04")?;
    pty.reads(b"")?;
    // It is no state: reading goes on.
    pty.type_in(b"more\n")?;
    pty.shows(b"more\r\n")?;
    pty.reads(b"more\n")?;
    pty.type_in(b"\x04\x04x\n")?;
    pty.shows(b"x\r\n")?;
    pty.reads(b"")?;
    pty.reads(b"")?;
    pty.reads(b"x\n")
}

fn end_of_file_inside_a_line() -> Outcome {
    let pty = Pty::open()?;
    pty.type_in(b"ab\x04cd\n")?;
    pty.shows(b"abcd\r\n")?;
    pty.reads(b"ab")?;
    pty.reads(b"cd\n")?;
    // The second ends a piece that is empty.
    pty.type_in(b"ab\x04\x04c\n")?;
    pty.shows(b"abc\r\n")?;
    pty.reads(b"ab")?;
    pty.reads(b"")?;
    pty.reads(b"c\n")
}

fn end_of_file_is_not_left_over_by_an_exact_read() -> Outcome {
    let pty = Pty::open()?;
    pty.type_in(b"ab\x04cd\n")?;
    pty.shows(b"abcd\r\n")?;
    let mut two = [0; 2];
    equal(read(pty.slave, &mut two)?, 2)?;
    pty.reads(b"cd\n")
}

fn other_line_ends() -> Outcome {
    let pty = Pty::with(|t| {
        t.cc[libc::VEOL] = b';';
        t.cc[libc::VEOL2] = b',';
    })?;
    pty.echoes(b"a;b,c\n", b"a;b,c\r\n")?;
    for piece in ["a;", "b,", "c\n"] {
        pty.reads(piece.as_bytes())?;
    }
    pty.change(|t| t.lflag &= !libc::IEXTEN)?;
    pty.echoes(b"a;b,c\n", b"a;b,c\r\n")?;
    for piece in ["a;", "b,c\n"] {
        pty.reads(piece.as_bytes())?;
    }
    Ok(())
}

fn an_overlong_line_keeps_its_end() -> Outcome {
    let pty = Pty::with(|t| t.lflag &= !libc::ECHO)?;
    let mut long = vec![b'x'; 5000];
    long.push(b'\n');
    pty.type_in(&long)?;
    pty.await_input(4096)?;
    let mut line = vec![0; 6000];
    equal(read(pty.slave, &mut line)?, 4096)?;
    check(line[..4095].iter().all(|&b| b == b'x'), "the text is kept")?;
    equal(line[4095], b'\n')?;
    pty.has_no_input()?;
    pty.type_in(b"next\n")?;
    pty.reads(b"next\n")
}

fn input_newline_modes() -> Outcome {
    let all = libc::ICRNL | libc::INLCR | libc::IGNCR;
    let rows: &[(u32, &[u8], &[u8])] = &[
        (0, b"a\rb\n", b"a\rb\n"),
        (libc::ICRNL, b"a\rb\n", b"a\nb\n"),
        (libc::INLCR, b"a\rb\n", b"a\rb\r"),
        (libc::IGNCR, b"a\rb\n", b"ab\n"),
        (libc::ICRNL | libc::INLCR, b"a\rb\n", b"a\nb\r"),
        (libc::ICRNL | libc::IGNCR, b"a\rb\n", b"ab\n"),
        (all, b"a\rb\n", b"ab\r"),
    ];
    let pty = Pty::raw()?;
    for &(modes, typed, want) in rows {
        pty.change(|t| t.iflag = modes)?;
        pty.type_in(typed)?;
        pty.await_input(want.len() as i32)?;
        pty.reads(want)?;
    }
    // With INLCR no newline ends a line; with ICRNL a return does.
    let pty = Pty::with(|t| t.iflag = libc::ICRNL | libc::INLCR)?;
    pty.echoes(b"a\nb\r", b"a^Mb\r\n")?;
    pty.reads(b"a\rb\n")
}

fn echo_flags() -> Outcome {
    let on = libc::ECHO;
    let rows: &[(u32, &[u8], &[u8])] = &[
        (on, b"ab\x7fc\n", b"ab\x7fc\r\n"),
        (on | libc::ECHOE, b"ab\x7fc\n", b"ab\x08 \x08c\r\n"),
        (on, b"ab\x17c\n", b"ab\x08 \x08\x08 \x08c\r\n"),
        (on | libc::ECHOE, b"ab\x15c\n", b"ab\x15c\r\n"),
        (on | libc::ECHOK, b"ab\x15c\n", b"ab\x15\r\nc\r\n"),
        (on | libc::ECHOCTL, b"a\x01\n", b"a^A\r\n"),
        (on, b"a\x01\n", b"a\x01\r\n"),
        (libc::ECHONL, b"ab\x7fc\n", b"\r\n"),
        (libc::ECHONL | libc::ECHOE, b"a\x15c\n", b"\r\n"),
        (
            on | libc::ECHOPRT | libc::ECHOE,
            b"abc\x7f\x7fd\n",
            b"abc\\cb/d\r\n",
        ),
    ];
    let pty = Pty::open()?;
    for &(flags, typed, echo) in rows {
        pty.change(|t| t.lflag = libc::ICANON | libc::IEXTEN | flags)?;
        pty.echoes(typed, echo)?;
        read_some(pty.slave)?;
        pty.shows_no_more()?;
    }
    Ok(())
}

fn controls_are_echoed_with_a_caret() -> Outcome {
    let pty = Pty::with(|t| t.lflag &= !libc::ISIG)?;
    table(
        &pty,
        &[(
            b"\x01\x03\x1b\x1f\0\t.\n",
            b"^A^C^[^_^@\t.\r\n",
            b"\x01\x03\x1b\x1f\0\t.\n",
        )],
    )?;
    // Bytes above 127 are no controls.
    table(
        &pty,
        &[(b"\x80\x9f\xff\n", b"\x80\x9f\xff\r\n", b"\x80\x9f\xff\n")],
    )
}

fn erasing_a_control_takes_both_cells() -> Outcome {
    let pty = Pty::open()?;
    table(
        &pty,
        &[(b"a\x01\x7fb\n", b"a^A\x08 \x08\x08 \x08b\r\n", b"ab\n")],
    )?;
    pty.change(|t| t.lflag &= !libc::ECHOCTL)?;
    table(&pty, &[(b"a\x01\x7fb\n", b"a\x01b\r\n", b"ab\n")])
}

fn erasing_a_tab_goes_back_over_its_width() -> Outcome {
    let pty = Pty::open()?;
    let back = |count: usize| b"\x08".repeat(count);
    for before in 0..10 {
        let text = b"x".repeat(before);
        let typed = [text.as_slice(), b"\t\x7f.\n"].concat();
        let echo = [&text, b"\t".as_slice(), &back(8 - before % 8), b".\r\n"].concat();
        let line = [text.as_slice(), b".\n"].concat();
        table(&pty, &[(&typed, &echo, &line)])?;
    }
    // After a tab the count begins anew; a control is two cells wide.
    let echo = [b"\tab^A\t".as_slice(), &back(4), b".\r\n"].concat();
    table(&pty, &[(b"\tab\x01\t\x7f.\n", &echo, b"\tab\x01.\n")])
}

fn erasing_a_tab_counts_what_a_program_wrote() -> Outcome {
    let pty = Pty::open()?;
    write(pty.slave, b"name: ")?;
    pty.shows(b"name: ")?;
    table(&pty, &[(b"\t\x7f.\n", b"\t\x08\x08.\r\n", b".\n")])?;
    write(pty.slave, b"\n12345\x08\x08")?;
    pty.shows(b"\r\n12345\x08\x08")?;
    table(
        &pty,
        &[(b"\t\x7f.\n", b"\t\x08\x08\x08\x08\x08.\r\n", b".\n")],
    )
}

fn erasing_a_utf8_character_takes_its_bytes() -> Outcome {
    let pty = Pty::with(|t| t.iflag |= libc::IUTF8)?;
    let euro = "a€".as_bytes();
    let typed = [euro, b"\x7fb\n"].concat();
    let echo = [euro, b"\x08 \x08b\r\n"].concat();
    table(&pty, &[(&typed, &echo, b"ab\n")])?;
    pty.change(|t| t.iflag &= !libc::IUTF8)?;
    let line = [&euro[..3], b"b\n"].concat();
    table(&pty, &[(&typed, &echo, &line)])
}

fn fionread_counts_finished_lines_only() -> Outcome {
    let pty = Pty::open()?;
    let waiting = || ask(pty.slave, libc::FIONREAD);
    pty.echoes(b"abc", b"abc")?;
    equal(waiting()?, 0)?;
    pty.echoes(b"\nde", b"\r\nde")?;
    equal(waiting()?, 4)?;
    // The mark of an end of file is not counted.
    pty.type_in(b"\x04.")?;
    pty.shows(b".")?;
    equal(waiting()?, 6)?;
    let mut one = [0];
    read(pty.slave, &mut one)?;
    equal(waiting()?, 5)?;
    pty.change(|t| t.lflag &= !libc::ICANON)?;
    equal(waiting()?, 7)
}

fn leaving_canonical_mode_frees_the_unfinished_line() -> Outcome {
    let pty = Pty::open()?;
    pty.echoes(b"one\ntwo", b"one\r\ntwo")?;
    pty.change(|t| t.lflag &= !libc::ICANON)?;
    equal(ready(pty.slave, libc::POLLIN)?, libc::POLLIN)?;
    pty.reads(b"one\ntwo")
}

fn entering_canonical_mode_makes_a_line_of_the_rest() -> Outcome {
    let pty = Pty::raw()?;
    pty.type_in(b"one\ntwo")?;
    pty.await_input(7)?;
    pty.change(|t| t.lflag = libc::ICANON | libc::ECHO)?;
    equal(ready(pty.slave, libc::POLLIN)?, libc::POLLIN)?;
    pty.reads(b"one\ntwo")?;
    pty.echoes(b"three", b"three")?;
    pty.has_no_input()?;
    pty.type_in(b"\n")?;
    pty.reads(b"three\n")
}

fn raw_input_is_as_typed() -> Outcome {
    let pty = Pty::raw()?;
    let all: Vec<u8> = (0..=255).collect();
    pty.type_in(&all)?;
    pty.await_input(256)?;
    equal(read_some(pty.slave)?, all)?;
    pty.shows_no_more()
}

fn raw_echo_follows_output_modes() -> Outcome {
    let pty = Pty::with(|t| t.lflag = libc::ECHO)?;
    pty.echoes(b"a\r\x01\x7f", b"a\r\n\x01\x7f")?;
    pty.reads(b"a\n\x01\x7f")?;
    pty.change(|t| t.oflag = 0)?;
    pty.echoes(b"a\r", b"a\n")?;
    pty.change(|t| t.lflag |= libc::ECHOCTL)?;
    pty.echoes(b"\x01\x7f", b"^A^?")
}

/// Types from another process, each piece once the reader sleeps.
fn type_slowly(pty: &Pty, pieces: &'static [&[u8]]) -> Sys<i32> {
    let (reader, master) = (getpid(), pty.master);
    fork(|| {
        for piece in pieces {
            let _ = await_state(reader, "S");
            let _ = write(master, piece);
            // A read that is not yet satisfied sleeps on, and does not show that it has looked.
            for _ in 0..20 {
                nap();
            }
        }
        0
    })
}

fn vmin_waits_for_as_many() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(5, 0);
    })?;
    let typist = type_slowly(&pty, &[b"ab", b"c", b"defg"])?;
    let got = read_some(pty.slave)?;
    equal(shown(&got), "abcdefg")?;
    equal(wait(typist)?, 0)
}

fn vmin_is_met_by_a_full_buffer() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(5, 0);
    })?;
    let typist = type_slowly(&pty, &[b"a", b"b", b"c"])?;
    let mut three = [0; 3];
    equal(read(pty.slave, &mut three)?, 3)?;
    equal(&three, b"abc")?;
    equal(wait(typist)?, 0)
}

fn vmin_zero_answers_at_once() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(0, 0);
    })?;
    pty.reads(b"")?;
    set_nonblocking(pty.slave, true)?;
    pty.reads(b"")?;
    pty.type_in(b"ab")?;
    pty.await_input(2)?;
    pty.reads(b"ab")?;
    pty.reads(b"")
}

fn vtime_alone_gives_up_or_answers_early() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(0, 1);
    })?;
    pty.reads(b"")?;
    // The wait is longer than a case may take: bytes end it.
    pty.change(|t| t.need(0, 255))?;
    let typist = type_slowly(&pty, &[b"a"])?;
    pty.reads(b"a")?;
    equal(wait(typist)?, 0)
}

fn vtime_between_bytes_ends_a_read() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(10, 1);
    })?;
    // No limit before the first byte; with it the clock starts.
    let typist = type_slowly(&pty, &[b"abc"])?;
    pty.reads(b"abc")?;
    equal(wait(typist)?, 0)
}

fn poll_minds_vmin() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.need(3, 0);
    })?;
    pty.type_in(b"ab")?;
    pty.await_input(2)?;
    equal(ready(pty.slave, libc::POLLIN)?, 0)?;
    pty.type_in(b"c")?;
    await_ready(pty.slave, libc::POLLIN)?;
    pty.reads(b"abc")?;
    // With a time, the first byte counts.
    pty.change(|t| t.need(3, 1))?;
    pty.type_in(b"a")?;
    await_ready(pty.slave, libc::POLLIN)?;
    pty.reads(b"a")
}

fn nonblocking_read_is_eagain() -> Outcome {
    let pty = Pty::open()?;
    set_nonblocking(pty.slave, true)?;
    set_nonblocking(pty.master, true)?;
    fails(read_some(pty.slave), libc::EAGAIN)?;
    fails(read_some(pty.master), libc::EAGAIN)?;
    pty.change(Termios::make_raw)?;
    fails(read_some(pty.slave), libc::EAGAIN)?;
    // Fewer than VMIN are given out all the same.
    pty.change(|t| t.need(5, 0))?;
    pty.type_in(b"ab")?;
    pty.await_input(2)?;
    pty.reads(b"ab")
}

fn strip_and_lower_case_input() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.iflag = libc::ISTRIP;
    })?;
    pty.type_in(b"\xc1B\x80\xff")?;
    pty.await_input(4)?;
    pty.reads(b"AB\0\x7f")?;
    pty.change(|t| {
        t.iflag = libc::IUCLC;
        t.lflag = libc::IEXTEN;
    })?;
    pty.type_in(b"AbZ[9")?;
    pty.await_input(5)?;
    pty.reads(b"abz[9")?;
    // It is an extension.
    pty.change(|t| t.lflag = 0)?;
    pty.type_in(b"AbZ")?;
    pty.await_input(3)?;
    pty.reads(b"AbZ")
}

/// Waits until the slave is writable, or is not.
fn await_writable(pty: &Pty, writable: bool) -> Outcome {
    while (ready(pty.slave, libc::POLLOUT)? != 0) != writable {
        nap();
    }
    Ok(())
}

fn stop_and_start_keys_hold_output() -> Outcome {
    let pty = Pty::open()?;
    pty.type_in(b"\x13")?;
    await_writable(&pty, false)?;
    set_nonblocking(pty.slave, true)?;
    fails(write(pty.slave, b"held"), libc::EAGAIN)?;
    set_nonblocking(pty.slave, false)?;
    let slave = pty.slave;
    let writer = fork(|| i32::from(write(slave, b"held") != Ok(4)))?;
    await_state(writer, "S")?;
    // Echo waits too.
    pty.type_in(b"x")?;
    equal(ready(pty.master, libc::POLLIN)?, 0)?;
    pty.type_in(b"\x11")?;
    equal(wait(writer)?, 0)?;
    let mut got = Vec::new();
    while got.len() < 5 {
        got.extend(read_some(pty.master)?);
    }
    got.sort_unstable();
    equal(shown(&got), "dehlx")?;
    pty.type_in(b"\n")?;
    pty.reads(b"x\n")
}

fn any_key_restarts_output_with_ixany() -> Outcome {
    let pty = Pty::with(|t| t.iflag |= libc::IXANY)?;
    pty.type_in(b"\x13")?;
    await_writable(&pty, false)?;
    pty.type_in(b"x")?;
    await_writable(&pty, true)?;
    pty.shows(b"x")?;
    pty.type_in(b"\n")?;
    pty.reads(b"x\n")
}

fn stop_keys_are_plain_without_ixon() -> Outcome {
    let pty = Pty::with(|t| t.iflag &= !libc::IXON)?;
    table(&pty, &[(b"\x13a\x11\n", b"^Sa^Q\r\n", b"\x13a\x11\n")])?;
    // Switching it off frees what is held.
    pty.change(|t| t.iflag |= libc::IXON)?;
    pty.type_in(b"\x13")?;
    await_writable(&pty, false)?;
    pty.change(|t| t.iflag &= !libc::IXON)?;
    await_writable(&pty, true)
}

fn parmrk_doubles_0377() -> Outcome {
    let pty = Pty::with(|t| {
        t.make_raw();
        t.iflag = libc::PARMRK;
    })?;
    pty.type_in(b"a\xffb")?;
    pty.await_input(4)?;
    pty.reads(b"a\xff\xffb")?;
    pty.change(|t| t.iflag |= libc::ISTRIP)?;
    pty.type_in(b"a\xffb")?;
    pty.await_input(3)?;
    pty.reads(b"a\x7fb")
}

fn output_modes() -> Outcome {
    let on = libc::OPOST;
    let rows: &[(u32, &[u8], &[u8])] = &[
        (on, b"a\nb\r", b"a\nb\r"),
        (on | libc::ONLCR, b"a\n\nb", b"a\r\n\r\nb"),
        (on | libc::OCRNL, b"a\rb\n", b"a\nb\n"),
        (on | libc::OCRNL | libc::ONLCR, b"a\rb\n", b"a\nb\r\n"),
        (on | libc::ONOCR, b"\r\r\ra\r\rb", b"a\rb"),
        (on | libc::ONOCR | libc::ONLRET, b"\ra\n\rb", b"a\nb"),
        (on | libc::ONOCR | libc::ONLCR, b"\ra\n\rb", b"a\r\nb"),
        (on | libc::OLCUC, b"aZ[1\xe4", b"AZ[1\xc4"),
    ];
    for &(modes, written, want) in rows {
        let pty = Pty::with(|t| t.oflag = modes)?;
        equal(write(pty.slave, written)?, written.len())?;
        pty.shows(want)?;
        write(pty.slave, b"#")?;
        pty.shows(b"#")?;
        pty.close()?;
    }
    Ok(())
}

fn output_without_opost_is_as_written() -> Outcome {
    let flags = libc::ONLCR | libc::OCRNL | libc::OLCUC | libc::XTABS;
    let pty = Pty::with(|t| t.oflag = flags)?;
    let all: Vec<u8> = (0..=255).collect();
    equal(write(pty.slave, &all)?, 256)?;
    pty.shows(&all)
}

fn tabs_become_spaces_by_column() -> Outcome {
    let pty = Pty::with(|t| t.oflag |= libc::XTABS)?;
    let rows: &[(&[u8], &[u8])] = &[
        (b"\t|\n", b"        |\r\n"),
        (b"abc\t|\t|\n", b"abc     |       |\r\n"),
        (b"12345678\t|\n", b"12345678        |\r\n"),
        (b"abc\x08\t|\n", b"abc\x08      |\r\n"),
        (b"abc\r\t|\n", b"abc\r        |\r\n"),
        (b"\x1bab\t|\n", b"\x1bab      |\r\n"),
    ];
    for (written, want) in rows {
        write(pty.slave, written)?;
        pty.shows(want)?;
    }
    // Echo goes by the same column.
    pty.echoes(b"ab\t.", b"ab      .")
}

fn a_full_raw_buffer_holds_the_writer() -> Outcome {
    let pty = Pty::raw()?;
    set_nonblocking(pty.master, true)?;
    let mut sent = 0_usize;
    let block: Vec<u8> = (0..=255).cycle().take(1024).collect();
    // The writer is held in the end: by which amount is the kernel's own affair.
    loop {
        let at = sent % 256;
        match write(pty.master, &block[at..at + 256]) {
            Ok(count) => sent += count,
            Err(errno) => {
                equal(errno, Errno(libc::EAGAIN))?;
                break;
            }
        }
        check(sent < 1 << 24, "a writer is held some time")?;
    }
    check(sent >= 4095, "a buffer's worth is taken")?;
    let mut got = 0_usize;
    while got < sent {
        await_ready(pty.slave, libc::POLLIN)?;
        for byte in read_some(pty.slave)? {
            if byte != (got % 256) as u8 {
                return fail(&format!("byte {got} is {byte}"));
            }
            got += 1;
        }
    }
    equal(got, sent)?;
    await_ready(pty.master, libc::POLLOUT)?;
    Ok(())
}

fn a_full_screen_holds_the_writer() -> Outcome {
    let pty = Pty::open()?;
    set_nonblocking(pty.slave, true)?;
    let lines = b"line\n".repeat(200);
    let mut written = 0;
    let last = loop {
        match write(pty.slave, &lines) {
            Ok(count) => written += count,
            Err(errno) => break errno,
        }
        check(written < 1 << 24, "a writer is held some time")?;
    };
    equal(last, Errno(libc::EAGAIN))?;
    // What was taken is shown to the byte, each newline as two.
    let mut shown = Vec::new();
    while shown.len() < written + written / 5 {
        shown.extend(read_some(pty.master)?);
    }
    let want: Vec<u8> = b"line\r\n"
        .iter()
        .copied()
        .cycle()
        .take(shown.len())
        .collect();
    check(shown == want, "lines come whole and in order")?;
    await_ready(pty.slave, libc::POLLOUT)?;
    pty.shows_no_more()
}

/// Writes so many bytes of a pattern, and reads them at the other end.
fn pass(from: i32, to: i32, amount: usize) -> Outcome {
    let block: Vec<u8> = (0..=250).cycle().take(amount).collect();
    let writer = fork(|| {
        let mut sent = 0;
        while sent < amount {
            match write(from, &block[sent..]) {
                Ok(count) => sent += count,
                Err(_) => return 1,
            }
        }
        0
    })?;
    let mut got = Vec::new();
    while got.len() < amount {
        let some = read_some(to)?;
        check(!some.is_empty(), "no end before the last byte")?;
        got.extend(some);
    }
    check(got == block, "the bytes arrive in order")?;
    equal(wait(writer)?, 0)
}

fn much_passes_unchanged_both_ways() -> Outcome {
    let pty = Pty::raw()?;
    pass(pty.master, pty.slave, 200_000)?;
    pass(pty.slave, pty.master, 200_000)
}
