//! Runs a test in a process of its own and finds how long an iteration takes.
//!
//! A test that crashes or hangs costs its own figure and no other; what it leaves behind
//! (handlers, timers, mappings) goes with its process.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::fixture;
use crate::interrupt;
use crate::problem::{Outcome, Problem, expect, good};
use crate::suite::{Case, Test};
use crate::sys;

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All samples of a test together.
    pub target: Duration,
    pub samples: u32,
    pub count: Count,
}

/// How many iterations a sample has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// As many as fit the time.
    Adaptive,
    /// The test's own number: the same work each time, which a clock that counts instructions needs.
    Fixed,
    /// This number.
    Given(u64),
}

/// What came of a test.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Of all samples together.
    pub iterations: u64,
    pub total_ns: u64,
    /// Nanoseconds an iteration: the median sample's, and the least and the greatest.
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// How long a test may take at most; on the slowest machine they take seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures a test in a child.
pub fn run(test: &Test, plan: Plan) -> Outcome<Figure> {
    let (reader, writer) = fixture::pipe()?;
    let pid = good("fork", sys::fork())?;
    if pid == 0 {
        child(test, plan, writer.number());
    }
    drop(writer);
    let text = collect(reader.number(), pid as i32);
    let mut status = 0;
    expect("wait4", sys::wait4(pid as i32, &mut status, 0, 0), pid)?;
    let text = text?;
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        return Err(Problem::new(format!("ended by signal {signal}")));
    }
    parse(&text)
}

/// Reads all that the child says; kills it when it takes too long.
fn collect(fd: i32, pid: i32) -> Outcome<String> {
    let until = Instant::now() + LIMIT;
    let mut text = Vec::new();
    let mut piece = [0; 512];
    loop {
        let left = until.saturating_duration_since(Instant::now()).as_millis() as i32;
        let mut poll = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        match sys::poll(std::slice::from_mut(&mut poll), left) {
            0 => {
                sys::kill(pid, libc::SIGKILL);
                return Err(Problem::new("took too long"));
            }
            answer if answer == -(libc::EINTR as isize) => {
                // A terminal's Ctrl-C has ended the test as well; a signal to this process alone has not.
                if interrupt::asked() {
                    sys::kill(pid, libc::SIGKILL);
                }
                continue;
            }
            answer => good("poll", answer)?,
        };
        match good("read", sys::read(fd, &mut piece))? {
            0 => break,
            count => text.extend_from_slice(&piece[..count as usize]),
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn child(test: &Test, plan: Plan, to: i32) -> ! {
    interrupt::forget();
    // Only what cannot even be made is absent: a call that comes and goes is a failure.
    let text = match (test.make)() {
        Ok(case) => figure_text(measure(test, case, plan)),
        Err(problem) if problem.is_absent() => format!("absent {problem}"),
        Err(problem) => format!("no {problem}"),
    };
    let written = sys::write(to, text.as_bytes());
    sys::exit(i32::from(written != text.len() as isize))
}

fn figure_text(figure: Outcome<Figure>) -> String {
    match figure {
        Ok(figure) => format!(
            "ok {} {} {} {} {}",
            figure.iterations, figure.total_ns, figure.median, figure.low, figure.high
        ),
        Err(problem) => format!("no {problem}"),
    }
}

fn parse(text: &str) -> Outcome<Figure> {
    if let Some(problem) = text.strip_prefix("absent ") {
        return Err(Problem::absent(problem));
    }
    if let Some(problem) = text.strip_prefix("no ") {
        return Err(Problem::new(problem));
    }
    let figure = || {
        let mut words = text.strip_prefix("ok ")?.split(' ');
        Some(Figure {
            iterations: words.next()?.parse().ok()?,
            total_ns: words.next()?.parse().ok()?,
            median: words.next()?.parse().ok()?,
            low: words.next()?.parse().ok()?,
            high: words.next()?.parse().ok()?,
        })
    };
    figure().ok_or_else(|| Problem::new("ended without a figure"))
}

fn measure(test: &Test, mut case: Box<dyn Case>, plan: Plan) -> Outcome<Figure> {
    let count = match plan.count {
        Count::Adaptive => calibrate(test, &mut *case, plan)?,
        Count::Fixed => fixed(&mut *case, test.fixed)?,
        Count::Given(count) => fixed(&mut *case, count.next_multiple_of(test.granule))?,
    };
    let mut samples = Vec::new();
    let mut total = Duration::ZERO;
    for _ in 0..plan.samples {
        let took = timed(&mut *case, count)?;
        total += took;
        let own = case.own_ns();
        samples.push(own.unwrap_or(took.as_nanos() as f64 / count as f64));
    }
    samples.sort_by(f64::total_cmp);
    Ok(Figure {
        iterations: count * u64::from(plan.samples),
        total_ns: total.as_nanos() as u64,
        median: crate::stats::median(&samples),
        low: samples[0],
        high: samples[samples.len() - 1],
    })
}

fn timed(case: &mut dyn Case, count: u64) -> Outcome<Duration> {
    let start = Instant::now();
    case.run(count)?;
    let took = start.elapsed();
    case.verify(count)?;
    Ok(took)
}

/// Warms up with as much as will be measured: caches fill and memory is grown before the first sample.
fn fixed(case: &mut dyn Case, count: u64) -> Outcome<u64> {
    timed(case, count)?;
    Ok(count)
}

/// Finds how many iterations fill a sample's share of the time; warms up on the way.
fn calibrate(test: &Test, case: &mut dyn Case, plan: Plan) -> Outcome<u64> {
    let share = plan.target / plan.samples;
    let mut count = test.granule;
    loop {
        let took = timed(case, count)?.max(Duration::from_nanos(1));
        if took >= share / 4 {
            let wanted = count as f64 * share.as_secs_f64() / took.as_secs_f64();
            return Ok((wanted.max(1.0) as u64).next_multiple_of(test.granule));
        }
        // A first iteration may be slow by chance: the steps are small until the time says something.
        let factor = (share.as_nanos() / took.as_nanos() / 2).clamp(2, 16) as u64;
        count *= factor;
    }
}

/// Writes a line that whoever listens gets at once.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away ends the suite by SIGPIPE.
    let _ = out.write_all(text.as_bytes());
    let _ = out.write_all(b"\n");
    let _ = out.flush();
}

pub fn write_file(path: &str, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| Problem::new(format!("{path}: {error}")))
}

/// All of a file or of standard input.
pub fn slurp(path: &str) -> Outcome<String> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Problem::new(format!("{path}: {error}")))?;
    Ok(text)
}
