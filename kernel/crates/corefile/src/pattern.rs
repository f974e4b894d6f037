//! `core_pattern`: letters after `%` stand for facts about the process.

use alloc::format;
use alloc::vec::Vec;

/// What the letters stand for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub pid: i32,
    pub tid: i32,
    pub uid: u32,
    pub gid: u32,
    /// The dumpable state: 1, or 2 for a program that changed its rights.
    pub dump_mode: u32,
    pub signal: i32,
    /// Seconds since 1970.
    pub time: i64,
    pub hostname: &'a [u8],
    pub comm: &'a [u8],
    /// The executable's path; `None` if it is not known.
    pub exe: Option<&'a [u8]>,
    /// RLIMIT_CORE.
    pub limit: u64,
}

/// Where a core goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A file of this name.
    File(Vec<u8>),
    /// The standard input of a program: its path and its arguments. The first is the path as well.
    Pipe(Vec<Vec<u8>>),
}

/// What a pattern makes of a process. `uses_pid` adds the number to a name that does not hold it. `None` for a pipe to
/// nothing.
pub fn expand(pattern: &[u8], facts: &Facts<'_>, uses_pid: bool) -> Option<Target> {
    let Some(command) = pattern.strip_prefix(b"|") else {
        let (mut name, has_pid) = expand_one(pattern, facts);
        if uses_pid && !has_pid {
            name.extend_from_slice(format!(".{}", facts.pid).as_bytes());
        }
        return Some(Target::File(name));
    };
    if command.is_empty() {
        return None;
    }
    // Split first: a fact with a space in it stays one argument.
    let words = command.split(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    let argv = words
        .filter(|word| !word.is_empty())
        .map(|word| expand_one(word, facts).0)
        .collect();
    Some(Target::Pipe(argv))
}

/// Expands one word; also says whether the process's number is in it.
fn expand_one(word: &[u8], facts: &Facts<'_>) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut has_pid = false;
    let mut bytes = word.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        // A single one at the end is dropped, and so is one with a letter that stands for nothing.
        let Some(letter) = bytes.next() else { break };
        has_pid |= *letter == b'p';
        match letter {
            b'%' => out.push(b'%'),
            b'h' => push_name(&mut out, facts.hostname),
            b'e' => push_name(&mut out, facts.comm),
            b'f' | b'E' => push_exe(&mut out, facts, *letter == b'f'),
            _ => out.extend_from_slice(number(*letter, facts).as_bytes()),
        }
    }
    (out, has_pid)
}

fn number(letter: u8, facts: &Facts<'_>) -> alloc::string::String {
    match letter {
        b'p' | b'P' => format!("{}", facts.pid),
        b'i' | b'I' => format!("{}", facts.tid),
        b'u' => format!("{}", facts.uid),
        b'g' => format!("{}", facts.gid),
        b'd' => format!("{}", facts.dump_mode),
        b's' => format!("{}", facts.signal),
        b't' => format!("{}", facts.time),
        b'c' => format!("{}", facts.limit),
        _ => alloc::string::String::new(),
    }
}

/// Appends what a user may have chosen, so that it is one component of a path: slashes become exclamation marks, and
/// so does what would be nothing, `.` or `..`.
fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    let clean = name
        .iter()
        .map(|byte| if *byte == b'/' { b'!' } else { *byte });
    out.extend(clean);
    if name.is_empty() {
        out.push(b'!');
    } else if matches!(name, b"." | b"..")
        && let Some(first) = out.get_mut(start)
    {
        *first = b'!';
    }
}

fn push_exe(out: &mut Vec<u8>, facts: &Facts<'_>, name_only: bool) {
    let Some(path) = facts.exe else {
        let mut unknown = facts.comm.to_vec();
        unknown.extend_from_slice(b" (path unknown)");
        return push_name(out, &unknown);
    };
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    push_name(out, if name_only { name } else { path });
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'static> = Facts {
        pid: 12,
        tid: 13,
        uid: 1000,
        gid: 100,
        dump_mode: 1,
        signal: 11,
        time: 1234567890,
        hostname: b"box",
        comm: b"a b",
        exe: Some(b"/usr/bin/prog"),
        limit: u64::MAX,
    };

    fn file(pattern: &str, uses_pid: bool) -> std::string::String {
        match expand(pattern.as_bytes(), &FACTS, uses_pid) {
            Some(Target::File(name)) => std::string::String::from_utf8(name).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn letters_stand_for_facts() {
        assert_eq!(file("core", false), "core");
        assert_eq!(
            file("%p %P %i %I %u %g %d %s %t %h %e %f %E %c", false),
            "12 12 13 13 1000 100 1 11 1234567890 box a b prog !usr!bin!prog 18446744073709551615"
        );
    }

    #[test]
    fn what_stands_for_nothing_is_dropped() {
        assert_eq!(file("a%zb%", false), "ab");
        assert_eq!(file("100%%", false), "100%");
        assert_eq!(file("", false), "");
    }

    #[test]
    fn the_number_is_added_once() {
        assert_eq!(file("core", true), "core.12");
        assert_eq!(file("core-%p", true), "core-12");
        assert_eq!(file("core-%P", true), "core-12.12");
    }

    #[test]
    fn names_stay_one_component() {
        let name = |comm: &'static [u8]| {
            let facts = Facts { comm, ..FACTS };
            match expand(b"d/%e", &facts, false) {
                Some(Target::File(name)) => name,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(name(b".."), b"d/!.");
        assert_eq!(name(b"."), b"d/!");
        assert_eq!(name(b""), b"d/!");
        assert_eq!(name(b"../x"), b"d/..!x");
        let unknown = Facts { exe: None, ..FACTS };
        let expanded = expand(b"%E", &unknown, false);
        assert_eq!(expanded, Some(Target::File(b"a b (path unknown)".to_vec())));
    }

    #[test]
    fn pipes_are_split_before_they_are_filled_in() {
        let words = |pattern: &str| match expand(pattern.as_bytes(), &FACTS, true) {
            Some(Target::Pipe(argv)) => argv,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            words("|/bin/handler %e  x%p "),
            [&b"/bin/handler"[..], b"a b", b"x12"]
        );
        assert_eq!(words("| /bin/handler"), [b"/bin/handler"]);
        assert_eq!(expand(b"|", &FACTS, false), None);
    }
}
