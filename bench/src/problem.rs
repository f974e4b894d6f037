//! Why a test has no figure.

use std::fmt;

#[derive(Clone, Debug)]
pub struct Problem {
    text: String,
    /// The kernel has no such call.
    absent: bool,
}

pub type Outcome<T = ()> = Result<T, Problem>;

impl Problem {
    #[cold]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            absent: false,
        }
    }

    /// What a test rests on is not in this kernel.
    #[cold]
    pub fn absent(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            absent: true,
        }
    }

    /// A call that answered an error, or something else than what it must.
    #[cold]
    pub fn failed(what: &str, answer: isize) -> Self {
        if (-4095..0).contains(&answer) {
            let error = std::io::Error::from_raw_os_error(-answer as i32);
            Self {
                text: format!("{what}: {error}"),
                absent: answer == -(libc::ENOSYS as isize),
            }
        } else {
            Self::new(format!("{what}: unexpected answer {answer}"))
        }
    }

    pub fn is_absent(&self) -> bool {
        self.absent
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The answer, unless it is an error.
#[inline(always)]
pub fn good(what: &str, answer: isize) -> Outcome<isize> {
    if (-4095..0).contains(&answer) {
        return Err(Problem::failed(what, answer));
    }
    Ok(answer)
}

/// Holds an answer against the only right one.
#[inline(always)]
pub fn expect(what: &str, answer: isize, right: isize) -> Outcome {
    if answer != right {
        return Err(Problem::failed(what, answer));
    }
    Ok(())
}

/// Holds a fact that a test rests on.
pub fn ensure(fact: bool, text: impl FnOnce() -> String) -> Outcome {
    if fact {
        Ok(())
    } else {
        Err(Problem::new(text()))
    }
}
