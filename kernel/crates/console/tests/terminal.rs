//! What a terminal shows after given bytes, and that no bytes can upset it.
use console::{Cell, Look, Renderer, Style, Surface, Terminal};

fn terminal(cols: usize, rows: usize, input: &str) -> Terminal {
    let mut t = Terminal::try_new(cols, rows).unwrap();
    t.write(input.as_bytes());
    t
}

/// The rows without trailing blanks, joined by `|`, trailing empty rows left out.
fn text(t: &Terminal) -> String {
    let (_, rows) = t.screen().size();
    let lines: Vec<String> = (0..rows)
        .map(|r| {
            let line: String = t.screen().view_row(r).iter().map(|c| c.ch).collect();
            line.trim_end().to_string()
        })
        .collect();
    lines.join("|").trim_end_matches('|').to_string()
}

#[test]
fn text_and_cursor_after_control_sequences() {
    // Input, text of an 8x4 screen, cursor (row, column).
    let cases = [
        ("hello", "hello", (0, 5)),
        ("a\r\nb\nc", "a|b| c", (2, 2)),
        ("12345678", "12345678", (0, 7)),
        ("123456789", "12345678|9", (1, 1)),
        ("\x1b[?7l123456789", "12345679", (0, 7)),
        ("12345678\r!", "!2345678", (0, 1)),
        ("1\r\n2\r\n3\r\n4\r\n5", "2|3|4|5", (3, 1)),
        ("ab\x08c", "ac", (0, 2)),
        ("a\tb", "a      b", (0, 7)),
        ("\x1b[3;4Hx", "||   x", (2, 4)),
        ("\x1b[99;99Hx\x1b[Hy", "y|||       x", (0, 1)),
        ("abcdef\x1b[3G\x1b[K", "ab", (0, 2)),
        ("abcdef\x1b[3G\x1b[1K", "   def", (0, 2)),
        ("abcdef\x1b[2K", "", (0, 6)),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[J", "a", (1, 0)),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[1J", "||c", (1, 0)),
        ("abcdef\x1b[3G\x1b[2P", "abef", (0, 2)),
        ("abcdef\x1b[3G\x1b[2@", "ab  cdef", (0, 2)),
        ("abcdef\x1b[3G\x1b[2X", "ab  ef", (0, 2)),
        ("abc\r\x1b[4hX\x1b[4lY", "XYbc", (0, 2)),
        ("a\r\nb\r\nc\x1b[2H\x1b[L", "a||b|c", (1, 0)),
        ("a\r\nb\r\nc\x1b[2H\x1b[M", "a|c", (1, 0)),
        ("a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[3;1H\nX", "a|c|X|d", (2, 1)),
        (
            "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[2;1H\x1bMX",
            "a|X|b|d",
            (1, 1),
        ),
        ("a\r\nb\x1b[S", "b", (1, 1)),
        ("a\r\nb\x1b[T", "|a|b", (1, 1)),
        ("ab\x1b7\x1b[3;3Hc\x1b8d", "abd||  c", (0, 3)),
        ("main\x1b[?1049halt\x1b[?1049lX", "mainX", (0, 5)),
        ("a\x1b[5bz", "aaaaaaz", (0, 7)),
        ("\x1b)0\x0elqk\x0fq", "┌─┐q", (0, 4)),
        ("\x1b(0x\x1b(Bx", "│x", (0, 2)),
        ("äж€", "äж€", (0, 3)),
        ("漢a", "漢 a", (0, 3)),
        ("1234567漢", "1234567|漢", (1, 2)),
        ("e\u{301}x", "ex", (0, 2)),
        ("\x1b]0;title\x07ok", "ok", (0, 2)),
        ("\x1b]Rok", "ok", (0, 2)),
        ("\x1b]P1ff8800ok", "ok", (0, 2)),
        ("\x1b]0;t\x1b\\ok", "ok", (0, 2)),
        ("\x1b[3g\x1b[4G\x1bH\r\tx", "   x", (0, 4)),
        ("\x1b[3;4r\x1b[?6h\x1b[1;1Hx", "||x", (2, 1)),
        ("\x1b#8\x1b[2J", "", (0, 0)),
        ("x\x1bc", "", (0, 0)),
        ("a\x1b[20h\nb", "a|b", (1, 1)),
        ("a\x1b[3Cb\x1b[2Dc", "a  cb", (0, 4)),
        ("\x1b[2Ea\x1b[1Fb", "|b|a", (1, 1)),
        ("\x1b[2d\x1b[5`x", "|    x", (1, 5)),
    ];
    for (input, shown, cursor) in cases {
        let t = terminal(8, 4, input);
        assert_eq!(text(&t), shown, "{input:?}");
        assert_eq!(t.screen().position(), cursor, "{input:?}");
    }
}

#[test]
fn colours_and_styles() {
    let cases = [
        ("x", (7, 0, 0)),
        ("\x1b[31;44mx", (1, 4, 0)),
        (
            "\x1b[1;4;7mx",
            (7, 0, Style::BOLD | Style::UNDERLINE | Style::REVERSE),
        ),
        ("\x1b[1;31m\x1b[mx", (7, 0, 0)),
        ("\x1b[1m\x1b[22mx", (7, 0, 0)),
        ("\x1b[91;103mx", (9, 11, 0)),
        ("\x1b[38;5;200mx", (200, 0, 0)),
        ("\x1b[38;5;200;1mx", (200, 0, Style::BOLD)),
        ("\x1b[48;2;255;0;0mx", (7, 196, 0)),
        ("\x1b[38:2::255:255:255mx", (231, 0, 0)),
        ("\x1b[38:5:17mx", (17, 0, 0)),
        ("\x1b[31;39mx", (7, 0, 0)),
    ];
    for (input, (fg, bg, style)) in cases {
        let t = terminal(8, 2, input);
        let cell = t.screen().view_row(0)[0];
        assert_eq!(
            cell,
            Cell {
                ch: 'x',
                fg,
                bg,
                style
            },
            "{input:?}"
        );
    }
}

#[test]
fn erasing_keeps_the_background_colour() {
    let t = terminal(4, 2, "\x1b[44m\x1b[2J");
    assert!((0..2).all(|r| t.screen().view_row(r).iter().all(|c| c.bg == 4)));
}

#[test]
fn queries_are_answered() {
    let cases: [(&str, &[u8]); 4] = [
        ("\x1b[c", b"\x1b[?6c"),
        ("\x1b[5n", b"\x1b[0n"),
        ("ab\x1b[6n", b"\x1b[1;3R"),
        ("\x1bZ", b"\x1b[?6c"),
    ];
    for (input, reply) in cases {
        let mut t = terminal(8, 4, input);
        assert_eq!(&t.take_replies()[..], reply, "{input:?}");
        assert!(t.take_replies().is_empty());
    }
}

#[test]
fn the_view_goes_back_and_typing_returns() {
    let mut t = terminal(8, 2, "1\r\n2\r\n3\r\n4");
    t.screen_mut().scroll_view(1);
    assert_eq!(text(&t), "2|3");
    t.write(b"\r\n5");
    assert_eq!(text(&t), "2|3", "the view stays on what it shows");
    t.screen_mut().reset_view();
    assert_eq!(text(&t), "4|5");
}

#[test]
fn any_bytes_leave_a_sound_screen() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 20
    };
    const PIECES: &[&str] = &[
        "\x1b[", "\x1b]", "?", ";", "0", "1", "25", "99999", "h", "l", "H", "m", "r", "J", "K",
        "L", "M", "P", "@", "S", "T", "b", "X", "38;5;", "48;2;", ":", "\x1b7", "\x1b8", "\x1bM",
        "\x1bD", "\x1bc", "\n", "\r", "\t", "\x08", "text", "ä漢", "\u{301}", "1049", "6",
        "\x1b(0", "\x0e", "\x0f", "P", "R", "d", "G", "I", "Z",
    ];
    for (cols, rows) in [(2, 1), (3, 2), (80, 25), (17, 5)] {
        let mut t = Terminal::try_new(cols, rows).unwrap();
        for _ in 0..30_000 {
            let n = next();
            if n % 7 == 0 {
                t.write(&[(n >> 8) as u8]);
            } else {
                t.write(PIECES[(n >> 8) as usize % PIECES.len()].as_bytes());
            }
            if n % 11 == 0 {
                t.screen_mut().scroll_view((n >> 16) as isize % 9 - 4);
            }
            let (row, col) = t.screen().position();
            assert!(row < rows && col < cols);
            assert_eq!(t.screen().view_row(rows - 1).len(), cols);
        }
    }
}

struct Canvas {
    pixels: Vec<u32>,
    stores: usize,
}

impl Surface for Canvas {
    fn size(&self) -> (usize, usize) {
        (64, 32)
    }
    fn put(&mut self, x: usize, y: usize, pixels: &[u32]) {
        self.stores += 1;
        self.pixels[y * 64 + x..][..pixels.len()].copy_from_slice(pixels);
    }
}

#[test]
fn only_changed_cells_are_drawn() {
    let mut t = terminal(8, 2, "\x1b[31mA");
    let mut canvas = Canvas {
        pixels: vec![1; 64 * 32],
        stores: 0,
    };
    let mut renderer = Renderer::try_new(64, 32).unwrap();
    assert_eq!(renderer.text_size(), (8, 2));
    let mut draw = |t: &Terminal, canvas: &mut Canvas| {
        for row in 0..2 {
            let cursor = t.screen().cursor().filter(|c| c.0 == row).map(|c| c.1);
            let look = Look {
                cursor,
                reversed: false,
                palette: t.screen().palette(),
            };
            renderer.draw_row(canvas, row, t.screen().view_row(row), look);
        }
    };
    draw(&t, &mut canvas);
    assert_eq!(canvas.stores, 16 * 16);
    // Row 2 of the glyph A is .#####.. in red on black.
    assert_eq!(canvas.pixels[2 * 64..2 * 64 + 3], [0, 0xaa_0000, 0xaa_0000]);
    // The cursor stands right of it.
    assert_eq!(canvas.pixels[15 * 64 + 8], 0xaa_aaaa);
    canvas.stores = 0;
    draw(&t, &mut canvas);
    assert_eq!(canvas.stores, 0);
    t.write(b"B");
    draw(&t, &mut canvas);
    assert_eq!(canvas.stores, 2 * 16, "the new letter and the new cursor");
}
