//! The kernel command line, spelled as Linux spells it: words parted by spaces, `name` or `name=value`, double
//! quotes around spaces, `-` and `_` alike in names, and everything after `--` for init.
//!
//! References: Linux's admin-guide/kernel-parameters.rst; `next_arg` and `parse_args` for the words, `unknown_bootoption`,
//! `set_init_arg` and `init_setup` for what becomes of them.

use arrayvec::ArrayString;

use crate::known;

/// Longest command line kept, as on Linux x86.
pub const MAX_LEN: usize = 2048;

/// A command line: text of at most [`MAX_LEN`] bytes.
#[derive(Debug, Default)]
pub struct CommandLine {
    text: ArrayString<MAX_LEN>,
    truncated: bool,
}

/// One word: its name, and its value if it has one.
pub type Parameter<'a> = (&'a str, Option<&'a str>);

impl CommandLine {
    /// An empty command line.
    pub const fn new() -> CommandLine {
        CommandLine {
            text: ArrayString::new_const(),
            truncated: false,
        }
    }

    /// Takes the loader's bytes up to a NUL: what is not printable ASCII or UTF-8 becomes `?`, what is too long is cut.
    pub fn set(&mut self, bytes: &[u8]) {
        let bytes = bytes.split(|&b| b == 0).next().unwrap_or_default();
        self.text.clear();
        for chunk in bytes.utf8_chunks() {
            let invalid = if chunk.invalid().is_empty() {
                None
            } else {
                Some('?')
            };
            for c in chunk.valid().chars().chain(invalid) {
                let c = if c.is_control() && c != '\t' && c != '\n' {
                    '?'
                } else {
                    c
                };
                if self.text.try_push(c).is_err() {
                    self.truncated = true;
                    return;
                }
            }
        }
    }

    /// The text as given.
    pub fn as_str(&self) -> &str {
        self.text.trim_ascii()
    }

    /// Whether the loader gave more than was kept.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// The kernel's parameters in order, up to `--`.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        words(&self.text)
            .take_while(|word| *word != "--")
            .map(split)
    }

    /// The value of the last `name=value`; `Some("")` for a bare `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let same = self.parameters().filter(|(n, _)| same_name(n, name));
        same.map(|(_, value)| value.unwrap_or("")).last()
    }

    /// The values of every `name=value`, in order, as for `console=`.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters()
            .filter(move |(n, _)| same_name(n, name))
            .map(|(_, value)| value.unwrap_or(""))
    }

    /// Whether `name` occurs, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The last `name=number`: decimal, `0x` hexadecimal or `0` octal, with `K`, `M` or `G` behind it.
    pub fn number(&self, name: &str) -> Option<u64> {
        parse_number(self.value(name)?)
    }

    /// What is passed on to init, in order: the words that [`known`] does not know and that name no module's parameter
    /// (those have a dot), and all that follows `--`.
    pub fn for_init(&self) -> impl Iterator<Item = InitWord<'_>> {
        let mut behind = false;
        words(&self.text).filter_map(move |word| {
            if !behind && word == "--" {
                behind = true;
                return None;
            }
            let (name, value) = split(word);
            match value {
                _ if behind => Some(InitWord::Argument { name, value }),
                // Arguments from before the program's name are a loader's, for another.
                _ if same_name(name, "init") || same_name(name, "rdinit") => {
                    Some(InitWord::Program)
                }
                _ if name.contains('.') || known::is_known(name) => None,
                Some(value) => Some(InitWord::Variable { name, value }),
                None => Some(InitWord::Argument { name, value }),
            }
        })
    }

    /// Parameters that must be numbers and are not, as `name=value`.
    pub fn malformed(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.parameters().filter(|(name, value)| {
            let value = value.unwrap_or("");
            known::NUMBERS.iter().any(|n| same_name(name, n)) && parse_signed(value).is_none()
        })
    }
}

/// A word of the command line that is init's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitWord<'a> {
    /// An argument: `name`, or `name=value` behind `--`.
    Argument {
        /// The word, or what stands before its `=`.
        name: &'a str,
        /// What stands behind it.
        value: Option<&'a str>,
    },
    /// `name=value` for the environment.
    Variable {
        /// The variable.
        name: &'a str,
        /// Its value, without quotes.
        value: &'a str,
    },
    /// `init=` or `rdinit=`: the arguments before it do not count.
    Program,
}

/// Words between white space outside of double quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        if c == '"' {
            quoted = !quoted;
        }
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

fn split(word: &str) -> Parameter<'_> {
    let word = unquote(word);
    match word.split_once('=') {
        Some((name, value)) => (name, Some(unquote(value))),
        None => (word, None),
    }
}

/// `"a b"` without its quotes; an opening quote that never closes is dropped as well.
fn unquote(text: &str) -> &str {
    match text.strip_prefix('"') {
        Some(inner) => inner.strip_suffix('"').unwrap_or(inner),
        None => text,
    }
}

pub(crate) fn same_name(a: &str, b: &str) -> bool {
    let fold = |c: u8| if c == b'-' { b'_' } else { c };
    a.bytes().map(fold).eq(b.bytes().map(fold))
}

/// A number that may be negative.
fn parse_signed(text: &str) -> Option<u64> {
    parse_number(text.strip_prefix('-').unwrap_or(text))
}

/// A number as Linux's `memparse` reads it, but only if all of the text is one.
pub fn parse_number(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        u64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8).ok()?
    } else {
        digits.parse().ok()?
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> CommandLine {
        let mut line = CommandLine::new();
        line.set(text.as_bytes());
        line
    }

    #[test]
    fn the_last_value_counts_and_all_can_be_listed() {
        let l = line("console=tty0 quiet console=ttyS0,115200 init=/bin/sh");
        assert_eq!(l.value("console"), Some("ttyS0,115200"));
        assert_eq!(
            l.values("console").collect::<Vec<_>>(),
            ["tty0", "ttyS0,115200"]
        );
        assert!(l.has("quiet") && !l.has("qui"));
        assert_eq!(l.value("quiet"), Some(""));
    }

    #[test]
    fn quotes_keep_spaces_and_dashes_equal_underscores() {
        let l = line("a=\"x y\" \"b=1 2\" no-hlt");
        assert_eq!(l.value("a"), Some("x y"));
        assert_eq!(l.value("b"), Some("1 2"));
        assert!(l.has("no_hlt"));
        assert_eq!(line("a=\"unclosed x").value("a"), Some("unclosed x"));
    }

    fn for_init(text: &str) -> Vec<String> {
        let line = line(text);
        line.for_init()
            .map(|word| match word {
                InitWord::Argument { name, value: None } => name.to_owned(),
                InitWord::Argument {
                    name,
                    value: Some(value),
                } => format!("{name}={value}"),
                InitWord::Variable { name, value } => format!("${name}={value}"),
                InitWord::Program => "!".to_owned(),
            })
            .collect()
    }

    #[test]
    fn what_follows_two_dashes_is_init_s() {
        let l = line("quiet -- -c \"echo hi\" loglevel=1");
        assert!(!l.has("loglevel"));
        assert_eq!(
            for_init("quiet -- -c \"echo hi\" loglevel=1 a.b=c --"),
            ["-c", "echo hi", "loglevel=1", "a.b=c", "--"]
        );
    }

    #[test]
    fn unknown_words_are_init_s_and_known_ones_are_not() {
        assert_eq!(
            for_init("console=ttyS0 single FOO=bar nr-cpus=2 a.b=1 c.d root=/dev/sda ro X=\"1 2\""),
            ["single", "$FOO=bar", "$X=1 2"]
        );
        assert_eq!(
            for_init("smp=4 maxcpu=1 EMPTY="),
            ["$smp=4", "$maxcpu=1", "$EMPTY="]
        );
        assert_eq!(for_init("auto init=/bin/sh -x"), ["auto", "!", "-x"]);
        assert_eq!(for_init("\"a b\" \"c=d e\""), ["a b", "$c=d e"]);
    }

    #[test]
    fn numbers_that_are_none_are_told() {
        let l = line("maxcpus=two panic=-1 loglevel=0x7 nr_cpus= quiet=x");
        let told: Vec<_> = l.malformed().collect();
        assert_eq!(told, [("maxcpus", Some("two")), ("nr_cpus", Some(""))]);
    }

    #[test]
    fn numbers_have_bases_and_suffixes() {
        assert_eq!(line("mem=64M").number("mem"), Some(64 << 20));
        assert_eq!(parse_number("0x10k"), Some(16 << 10));
        assert_eq!(parse_number("010"), Some(8));
        assert_eq!(parse_number("99999999999999999999"), None);
        assert_eq!(parse_number("18446744073709551615G"), None);
        assert_eq!(parse_number("k"), None);
        assert_eq!(parse_number("1é"), None);
    }

    #[test]
    fn garbage_becomes_question_marks_and_excess_is_cut() {
        let mut l = CommandLine::new();
        l.set(b"a=\xff\x01b\0c");
        assert_eq!(l.as_str(), "a=??b");
        l.set(&[b'x'; 5000]);
        assert_eq!(l.as_str().len(), MAX_LEN);
        assert!(l.truncated());
    }
}
