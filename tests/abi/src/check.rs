//! How a case says what it expects. All of these name the caller's line in what they answer.

use std::fmt::Debug;
use std::panic::Location;

use crate::sys::{Errno, Sys};

/// Why a case did not pass.
#[derive(Debug)]
pub enum Trouble {
    /// The kernel does not behave as Linux does.
    Fail(String),
    /// The environment lacks the means to tell.
    Skip(String),
}

/// What a case answers.
pub type Outcome<T = ()> = Result<T, Trouble>;

impl From<Errno> for Trouble {
    #[track_caller]
    fn from(errno: Errno) -> Self {
        failure(&format!("a call fails: {errno:?}"))
    }
}

impl From<std::io::Error> for Trouble {
    #[track_caller]
    fn from(error: std::io::Error) -> Self {
        failure(&error.to_string())
    }
}

/// A failure with the place of its caller.
#[track_caller]
pub fn failure(what: &str) -> Trouble {
    let place = Location::caller();
    let file = place.file().rsplit('/').next().unwrap_or_default();
    Trouble::Fail(format!("{file}:{}: {what}", place.line()))
}

/// Fails with these words.
#[track_caller]
pub fn fail<T>(what: &str) -> Outcome<T> {
    Err(failure(what))
}

/// Skips the case: the environment lacks what is named.
pub fn skip<T>(what: &str) -> Outcome<T> {
    Err(Trouble::Skip(what.to_owned()))
}

/// The condition must hold.
#[track_caller]
pub fn check(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { fail(what) }
}

/// Both must be equal.
#[track_caller]
pub fn equal<A: PartialEq<B> + Debug, B: Debug>(got: A, want: B) -> Outcome {
    if got == want {
        return Ok(());
    }
    fail(&format!("{got:?}, but {want:?} is expected"))
}

/// The call must fail with this error.
#[track_caller]
pub fn fails<T: Debug>(got: Sys<T>, want: i32) -> Outcome {
    match got {
        Err(Errno(errno)) if errno == want => Ok(()),
        Err(errno) => fail(&format!("fails with {errno:?}, not {:?}", Errno(want))),
        Ok(value) => fail(&format!("answers {value:?}, not {:?}", Errno(want))),
    }
}

/// There must be a value.
#[track_caller]
pub fn some<T>(value: Option<T>, what: &str) -> Outcome<T> {
    value.ok_or_else(|| failure(what))
}
