//! Many small commands in one guest, each with a time limit and an answer of its own.
//!
//! The commands lie in the guest as files; a script runs one after the other and frames what each
//! says, in base64 so that nothing can look like a frame. When the guest dies at one of them, that
//! one has failed, and the rest goes on in a fresh guest.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use anyhow::Result;

use super::Lab;
use crate::guest::{Guest, Outcome, System};
use crate::machine::Machine;
use crate::overlay::{ExtraFile, Extras};
use crate::run::last_lines;
use crate::ui::Step;

/// A command to be run.
#[derive(Clone, Debug)]
pub struct Item {
    /// A shell script.
    pub script: String,
    pub limit_s: u64,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Ended {
        status: i32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
    /// The guest died, with these last words.
    Died(String),
}

/// How many deaths are borne before the rest is given up.
const MOST_DEATHS: usize = 8;
/// Where the commands lie in the guest.
const FOLDER: &str = "usr/lib/ironbark/batch";

/// Runs all items and answers in their order; `step` advances with each.
pub fn run(
    lab: &Lab,
    machine: &Machine,
    system: &System,
    extra: &[ExtraFile],
    items: &[Item],
    step: &Step,
) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    let mut deaths = 0;
    while answers.len() < items.len() {
        if deaths == MOST_DEATHS {
            let words = "not run: the guest died too often before".to_owned();
            answers.resize(items.len(), Answer::Died(words));
            break;
        }
        let rest = &items[answers.len()..];
        let (some, words) = one_guest(lab, machine, system, extra, rest, step)?;
        let complete = some.len() == rest.len();
        answers.extend(some);
        if !complete {
            answers.push(Answer::Died(words));
            step.inc(1);
            deaths += 1;
        }
    }
    Ok(answers)
}

/// Runs items until the guest ends; what it did not come to is missing.
fn one_guest(
    lab: &Lab,
    machine: &Machine,
    system: &System,
    extra: &[ExtraFile],
    items: &[Item],
    step: &Step,
) -> Result<(Vec<Answer>, String)> {
    let mut files = extra.to_vec();
    let mut driver = String::from(DRIVER);
    for (number, item) in items.iter().enumerate() {
        files.push(ExtraFile {
            name: format!("{FOLDER}/{number}"),
            mode: 0o644,
            content: item.script.clone().into_bytes(),
        });
        let _ = writeln!(driver, "item {number} {}", item.limit_s);
    }
    let longest = items.iter().map(|item| item.limit_s).max().unwrap_or(0);
    let total: u64 = items.iter().map(|item| item.limit_s).sum();
    let guest = Guest {
        machine,
        system,
        extras: &Extras { files, share: None },
        limit: Duration::from_secs(total + 120),
        idle_limit: Duration::from_secs(longest + 60),
    };
    let mut seen = Counting {
        bytes: Vec::new(),
        marks: 0,
        step,
    };
    let report = guest.exec(&driver, &mut seen, &lab.paths, &lab.ui)?;
    let words = match report.outcome {
        Outcome::Exited(status) => format!("the batch ended early, with status {status}"),
        Outcome::TimedOut => format!("the guest hangs\n{}", last_lines(&report.console)),
        Outcome::Died => format!("the guest died\n{}", last_lines(&report.console)),
    };
    Ok((parse(&seen.bytes), words))
}

/// A frame: a record separator, the status, standard output, a unit separator, standard error, a
/// unit separator.
///
/// Each command is a session of its own, so that nothing of it can go on once its time is over and
/// write into the next one's answer.
const DRIVER: &str = "cd /usr/lib/ironbark/batch
item() {
    timeout -s KILL $2 setsid sh -c \"echo \\$\\$ >/tmp/.session; $(cat $1)\" </dev/null >/tmp/.out 2>/tmp/.err
    printf '\\036%s\\n' $?
    pkill -KILL -s $(cat /tmp/.session)
    head -c 262144 /tmp/.out | base64
    printf '\\037'
    tail -c 4096 /tmp/.err | base64
    printf '\\037'
}
";

/// Keeps what is written, and advances a bar with each frame.
struct Counting<'a> {
    bytes: Vec<u8>,
    marks: usize,
    step: &'a Step,
}

impl io::Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        let marks = bytes.iter().filter(|&&byte| byte == 0x1e).count();
        self.marks += marks;
        self.step.inc(marks as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The frames that are whole.
fn parse(bytes: &[u8]) -> Vec<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let frame = |text: &str| {
        let mut parts = text.split('\x1f');
        let (status, stdout) = parts.next()?.split_once('\n')?;
        let stderr = parts.next()?;
        // Without the second separator the frame may have been cut.
        parts.next()?;
        Some(Answer::Ended {
            status: status.parse().ok()?,
            stdout: base64(stdout)?,
            stderr: base64(stderr)?,
        })
    };
    text.split('\x1e').skip(1).map_while(frame).collect()
}

/// Decodes base64, line ends ignored.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' | b'\n' | b'\r' => continue,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        assert_eq!(base64("aGVsbG8=\n").unwrap(), b"hello");
        assert_eq!(base64("aGVs\nbG8h").unwrap(), b"hello!");
        assert_eq!(base64("/+8=").unwrap(), [0xff, 0xef]);
        assert_eq!(base64(""), Some(Vec::new()));
        assert_eq!(base64("a b"), None);
    }

    #[test]
    fn whole_frames_are_answers() {
        let stream = b"noise\x1e0\naGk=\n\x1f\x1f\x1e7\n\x1fb29wcw==\n\x1f\x1e1\naGk=\n";
        let ended = |status, stdout: &[u8], stderr: &[u8]| Answer::Ended {
            status,
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
        };
        assert_eq!(
            parse(stream),
            [ended(0, b"hi", b""), ended(7, b"", b"oops")]
        );
    }
}
