//! Keys on each layout, with modifiers, locks, dead keys and compose.
use keymap::{Action, Command, Encoding, Keyboard, LAYOUTS, Modes, Press, Symbol, layout};

const SHIFT: u8 = 42;
const CTRL: u8 = 29;
const ALT: u8 = 56;
const ALTGR: u8 = 100;
const RIGHT_CTRL: u8 = 97;
const CAPS: u8 = 58;
const NUM: u8 = 69;
const COMPOSE: u8 = 127;

struct Typist(Keyboard, Modes);

impl Typist {
    fn on(name: &str) -> Typist {
        Typist(Keyboard::new(layout(name).unwrap()), Modes::default())
    }

    fn action(&mut self, code: u8) -> Action {
        let action = self.0.key(code, Press::Down, self.1, Encoding::Utf8);
        assert_eq!(
            self.0.key(code, Press::Up, self.1, Encoding::Utf8),
            Action::None
        );
        action
    }

    /// Presses `codes` together, the last one being the key, and tells what it gives.
    fn chord(&mut self, codes: &[u8]) -> String {
        let (&key, held) = codes.split_last().unwrap();
        for &code in held {
            self.0.key(code, Press::Down, self.1, Encoding::Utf8);
        }
        let action = self.action(key);
        for &code in held {
            self.0.key(code, Press::Up, self.1, Encoding::Utf8);
        }
        match action {
            Action::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            Action::None => String::new(),
            Action::Command(command) => format!("{command:?}"),
        }
    }
}

#[test]
fn layouts_give_their_characters() {
    let cases: [(&str, &[u8], &str); 34] = [
        ("us", &[30], "a"),
        ("us", &[SHIFT, 30], "A"),
        ("us", &[SHIFT, 3], "@"),
        ("us", &[43], "\\"),
        ("gb", &[SHIFT, 4], "£"),
        ("gb", &[SHIFT, 3], "\""),
        ("gb", &[ALTGR, 5], "€"),
        ("de", &[21], "z"),
        ("de", &[44], "y"),
        ("de", &[39], "ö"),
        ("de", &[SHIFT, 39], "Ö"),
        ("de", &[12], "ß"),
        ("de", &[ALTGR, 16], "@"),
        ("de", &[ALTGR, 18], "€"),
        ("de", &[ALTGR, 86], "|"),
        ("de", &[ALTGR, 8], "{"),
        ("de", &[ALTGR, 12], "\\"),
        ("de", &[ALTGR, 27], "~"),
        ("fr", &[16], "a"),
        ("fr", &[2], "&"),
        ("fr", &[SHIFT, 2], "1"),
        ("fr", &[ALTGR, 11], "@"),
        ("fr", &[40], "ù"),
        ("es", &[39], "ñ"),
        ("es", &[ALTGR, 3], "@"),
        ("es", &[ALTGR, 26], "["),
        ("ru", &[16], "q"),
        ("ru", &[ALTGR, 16], "й"),
        ("us", &[CTRL, 46], "\x03"),
        ("de", &[CTRL, 21], "\x1a"),
        ("us", &[ALT, 30], "\x1ba"),
        ("us", &[CTRL, 43], "\x1c"),
        ("us", &[CTRL, 7], "\x1e"),
        ("us", &[SHIFT, 15], "\x1b\t"),
    ];
    for (name, keys, expected) in cases {
        assert_eq!(Typist::on(name).chord(keys), expected, "{name} {keys:?}");
    }
}

#[test]
fn every_layout_has_letters_digits_and_the_shell_s_punctuation() {
    for name in LAYOUTS {
        let mut typist = Typist::on(name);
        let mut reached = String::new();
        for code in 1..=88 {
            for held in [&[][..], &[SHIFT], &[ALTGR], &[SHIFT, ALTGR]] {
                let mut keys = held.to_vec();
                keys.push(code);
                if ![SHIFT, CTRL, ALT, CAPS, NUM].contains(&code) {
                    reached += &typist.chord(&keys);
                }
                reached += &typist.chord(&[57]);
            }
        }
        for ch in (' '..='~').filter(|c| !"^`~'\"".contains(*c) || name == "us") {
            assert!(reached.contains(ch), "{name} cannot type {ch:?}");
        }
    }
}

#[test]
fn dead_keys_and_compose() {
    let mut t = Typist::on("de");
    assert_eq!(
        (t.chord(&[41]), t.chord(&[18])),
        (String::new(), "ê".into())
    );
    assert_eq!(
        (t.chord(&[41]), t.chord(&[57])),
        (String::new(), "^".into())
    );
    assert_eq!(
        (t.chord(&[13]), t.chord(&[45])),
        (String::new(), "'x".into())
    );
    assert_eq!(
        (t.chord(&[41]), t.chord(&[41])),
        (String::new(), "^".into())
    );
    let mut t = Typist::on("us");
    for (first, second, made) in [
        (&[40][..], 18, "é"),
        (&[SHIFT, 40], 30, "ä"),
        (&[31], 31, "ß"),
    ] {
        t.chord(&[COMPOSE]);
        t.chord(first);
        assert_eq!(t.chord(&[second]), made);
    }
}

#[test]
fn locks_and_the_second_alphabet() {
    let mut t = Typist::on("us");
    t.chord(&[CAPS]);
    assert!(t.0.leds.caps);
    assert_eq!(
        (t.chord(&[30]), t.chord(&[SHIFT, 30]), t.chord(&[2])),
        ("A".into(), "a".into(), "1".into())
    );
    assert_eq!(t.chord(&[71]), "\x1b[1~");
    t.chord(&[NUM]);
    assert_eq!(t.chord(&[71]), "7");
    let mut t = Typist::on("ru");
    t.chord(&[RIGHT_CTRL]);
    assert_eq!(
        (t.chord(&[34]), t.chord(&[SHIFT, 34])),
        ("п".into(), "П".into())
    );
    assert_eq!(t.chord(&[CTRL, 46]), "\x03");
    t.chord(&[CAPS]);
    assert_eq!(t.chord(&[34]), "П");
    t.chord(&[RIGHT_CTRL]);
    assert_eq!(t.chord(&[34]), "G");
}

#[test]
fn cursor_keys_follow_the_terminal_s_modes() {
    let mut t = Typist::on("us");
    assert_eq!(
        (t.chord(&[103]), t.chord(&[28])),
        ("\x1b[A".into(), "\r".into())
    );
    t.1 = Modes {
        application_cursor: true,
        newline: true,
        ..Modes::default()
    };
    assert_eq!(
        (t.chord(&[103]), t.chord(&[28])),
        ("\x1bOA".into(), "\r\n".into())
    );
    assert_eq!(t.chord(&[59]), "\x1b[[A");
}

#[test]
fn commands() {
    let mut t = Typist::on("us");
    for (keys, command) in [
        (&[ALT, 60][..], Command::Switch(2)),
        (&[CTRL, ALT, 62], Command::Switch(4)),
        (&[CTRL, ALT, 111], Command::Boot),
        (&[SHIFT, 104], Command::ScrollBack),
        (&[ALT, 106], Command::NextConsole),
    ] {
        assert_eq!(t.chord(keys), format!("{command:?}"));
    }
}

#[test]
fn loaded_symbols_are_used_and_read_back() {
    let mut t = Typist::on("us");
    assert!(t.0.map.set(0, 30, Symbol::of_char('ж')));
    assert_eq!(t.0.map.get(0, 30), Some(Symbol(0x0436 ^ 0xf000)));
    assert_eq!(t.chord(&[30]), "ж");
    assert!(t.0.map.set(0, 255, Symbol::ENTER));
    assert_eq!(t.0.map.get(0, 255), Some(Symbol::ENTER));
    assert_eq!(t.0.map.get(77, 30), None);
}
