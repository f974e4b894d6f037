//! What processes talk through.

use super::{Case, Test, each};
use crate::fixture::pipe;
use crate::problem::{Outcome, ensure, expect};
use crate::sys;

pub static TESTS: &[Test] = &[Test::new(
    "pipe",
    10_000,
    "write() of 64 bytes to a pipe and read() of them, in one process",
    pipe_alone,
)
.quick()];

fn pipe_alone() -> Outcome<Box<dyn Case>> {
    let (reader, writer) = pipe()?;
    let mut sent = [0; 64];
    let mut got = [0; 64];
    each(move || {
        sent[0] = u8::wrapping_add(sent[0], 1);
        expect("write", sys::write(writer.number(), &sent), 64)?;
        expect("read", sys::read(reader.number(), &mut got), 64)?;
        ensure(got[0] == sent[0], || "the pipe changed the data".to_owned())
    })
}
