//! The table of the hottest functions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::stacks::{Place, Stacks};

/// How many functions are shown.
const ROWS: usize = 25;

/// Samples of one function of the kernel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Heat {
    /// Within it.
    own: u64,
    /// Within it or what it called.
    inclusive: u64,
}

fn heat(stacks: &Stacks) -> Vec<(&str, Heat)> {
    let mut functions: BTreeMap<&str, Heat> = BTreeMap::new();
    for stack in &stacks.stacks {
        if let Some(last) = stack.frames.last() {
            functions.entry(last).or_default().own += stack.count;
        }
        // One that calls itself is there once.
        for name in stack.frames.iter().collect::<BTreeSet<_>>() {
            functions.entry(name).or_default().inclusive += stack.count;
        }
    }
    let mut sorted: Vec<_> = functions.into_iter().collect();
    sorted.sort_by_key(|(_, heat)| std::cmp::Reverse((heat.own, heat.inclusive)));
    sorted
}

/// Shares of all samples that are not idle; idle and user time apart.
pub fn table(stacks: &Stacks) -> String {
    let [idle, user, kernel] = [Place::Idle, Place::User, Place::Kernel].map(|p| stacks.of(p));
    let all = stacks.samples().max(1);
    let busy = (user + kernel).max(1);
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole as f64;
    let seconds = |samples: u64| (samples * stacks.period_ns) as f64 / 1e9;
    let mut text = String::new();
    for (name, samples) in [("idle", idle), ("user", user), ("kernel", kernel)] {
        let (share, time) = (percent(samples, all), seconds(samples));
        let _ = writeln!(text, "{name:7} {share:5.1} %  {time:8.3} s");
    }
    if stacks.lost > 0 {
        let _ = writeln!(text, "{} samples found no room", stacks.lost);
    }
    let _ = writeln!(
        text,
        "{} samples of {} CPUs. Shares of what is not idle:\n\n  self  total  function",
        stacks.samples(),
        stacks.cpus
    );
    let mut tasks: BTreeMap<&str, u64> = BTreeMap::new();
    for stack in stacks.stacks.iter().filter(|s| s.place == Place::User) {
        *tasks.entry(&stack.task).or_default() += stack.count;
    }
    let mut tasks: Vec<_> = tasks.into_iter().collect();
    tasks.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    for (task, count) in tasks.into_iter().take(5) {
        let share = percent(count, busy);
        let _ = writeln!(text, "{share:5.1}% {share:5.1}%  [user] {task}");
    }
    for (name, heat) in heat(stacks).into_iter().take(ROWS) {
        let (own, inclusive) = (percent(heat.own, busy), percent(heat.inclusive, busy));
        let _ = writeln!(text, "{own:5.1}% {inclusive:5.1}%  {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::stacks::Names;
    use super::*;

    fn sample() -> Stacks {
        let names: Names = [(0x10, "entry"), (0x20, "walk"), (0x30, "copy")]
            .map(|(at, name)| (at, name.to_owned()))
            .into();
        let text = "period_ns 1000000\ncpu 0 0 0\n6 kernel sh 31 22 22 12\n2 kernel sh 21 12\n\
            2 user sh\n30 idle idle\n";
        Stacks::parse(text, &names).unwrap()
    }

    #[test]
    fn own_and_inclusive_samples_are_counted_once_a_stack() {
        let stacks = sample();
        let all: BTreeMap<_, _> = heat(&stacks).into_iter().collect();
        let of = |name| (all[name].own, all[name].inclusive);
        assert_eq!(of("copy"), (6, 6));
        assert_eq!(of("walk"), (2, 8));
        assert_eq!(of("entry"), (0, 8));
    }

    #[test]
    fn shares_leave_idle_time_out() {
        let text = table(&sample());
        assert!(text.contains("idle     75.0 %     0.030 s"), "{text}");
        assert!(text.contains(" 60.0%  60.0%  copy"), "{text}");
        assert!(text.contains(" 20.0%  80.0%  walk"), "{text}");
        assert!(text.contains(" 20.0%  20.0%  [user] sh"), "{text}");
    }
}
