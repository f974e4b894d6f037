//! Models of what several CPUs do at once, run by loom in every order that the memory model allows. Nothing but tests.
//!
//! | module | what |
//! |---|---|
//! | `real` | the kernel's own sources over loom's atomics |
//! | `weak` | the same with every order relaxed, to see the models fail |
//! | `sleep` | a sleeper and its waker: no wake-up is lost |
//! | `switch` | a run queue handed over: nobody runs a task that has not left its stack |
//! | `sections` | reading without a lock: nothing is freed that a reader has |
//! | `tables` | a page table that two spaces share: counted right, written by none that shares it |
//!
//! A source is taken in by its path, so that what is run is what the kernel runs; what the kernel does around it (a lock
//! of a run queue, the switch of stacks) is the model's. Each model also runs with one step weakened, and must then fail.

#![cfg_attr(
    test,
    expect(
        clippy::duplicate_mod,
        reason = "the same source over two kinds of atomics"
    )
)]

#[cfg(test)]
mod real;
#[cfg(test)]
mod sections;
#[cfg(test)]
mod sleep;
#[cfg(test)]
mod switch;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod weak;

/// Runs a model in all orders with at most so many forced switches, beyond which few faults hide.
#[cfg(test)]
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
