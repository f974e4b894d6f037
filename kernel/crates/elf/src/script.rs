//! The `#!` line of a script.

use abi::{Errno, Result};

/// How much of a file's beginning is looked at (BINPRM_BUF_SIZE).
const LOOKED_AT: usize = 256;

/// An interpreter and at most one argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Script<'a> {
    /// The interpreter's path.
    pub interpreter: &'a [u8],
    /// Everything after it, without blanks around.
    pub argument: Option<&'a [u8]>,
}

/// Reads the first line of a file that begins with `#!`; `None` for other files.
///
/// # Errors
/// `ENOEXEC` when no interpreter is named, or its name may be cut off.
pub fn parse_script(start: &[u8]) -> Result<Option<Script<'_>>> {
    let Some(rest) = start
        .get(..start.len().min(LOOKED_AT))
        .and_then(|s| s.strip_prefix(b"#!"))
    else {
        return Ok(None);
    };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = rest.iter().position(|byte| matches!(byte, b'\n' | 0));
    let line = &rest[..end.unwrap_or(rest.len())];
    let line = trim(line, is_blank);
    if line.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let blank = line.iter().position(&is_blank);
    if end.is_none() && start.len() >= LOOKED_AT && blank.is_none() {
        return Err(Errno::ENOEXEC);
    }
    let (interpreter, argument) = line.split_at(blank.unwrap_or(line.len()));
    let argument = trim(argument, is_blank);
    Ok(Some(Script {
        interpreter,
        argument: (!argument.is_empty()).then_some(argument),
    }))
}

fn trim(mut bytes: &[u8], is_blank: impl Fn(&u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(&str, Option<&str>)>> {
        let utf8 = |bytes| core::str::from_utf8(bytes).expect("text");
        parse_script(text.as_bytes())
            .map(|script| script.map(|s| (utf8(s.interpreter), s.argument.map(utf8))))
    }

    #[test]
    fn one_argument_at_most_and_blanks_around_do_not_count() {
        assert_eq!(parse("#!/bin/sh\n"), Ok(Some(("/bin/sh", None))));
        assert_eq!(
            parse("#! /bin/sh -e \nrest"),
            Ok(Some(("/bin/sh", Some("-e"))))
        );
        assert_eq!(
            parse("#!/usr/bin/env a b\t\n"),
            Ok(Some(("/usr/bin/env", Some("a b"))))
        );
        assert_eq!(parse("#!/bin/sh"), Ok(Some(("/bin/sh", None))));
    }

    #[test]
    fn other_files_are_no_scripts() {
        assert_eq!(parse("echo"), Ok(None));
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("#"), Ok(None));
    }

    #[test]
    fn a_line_without_an_interpreter_is_refused() {
        assert_eq!(parse("#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse("#! \t \n/bin/sh"), Err(Errno::ENOEXEC));
    }

    #[test]
    fn a_name_that_may_be_cut_off_is_refused() {
        let long = format!("#!/{}", "a".repeat(300));
        assert_eq!(parse(&long), Err(Errno::ENOEXEC));
        let argument = format!("#!/bin/sh {}", "a".repeat(300));
        let (name, cut) = parse(&argument).expect("parsed").expect("a script");
        assert_eq!((name, cut.map(str::len)), ("/bin/sh", Some(256 - 10)));
    }
}
