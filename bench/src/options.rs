//! The command line.

use std::time::Duration;

use crate::problem::{Outcome, Problem, ensure};
use crate::runner::{Count, Plan};
use crate::suite::{self, Test};

pub const HELP: &str = "\
bench list [-v]                            the tests (and what an iteration does)
bench [--quick|--full] [OPTION] [WHAT...]  runs groups or tests; all, if none is named
bench compare A B                          the ratios of two runs' outputs
  --quick           the eight that everyone quotes, in a few seconds
  --full            measures longer
  --json [FILE]     writes one JSON object to the file; without one, prints it instead of lines
  --fixed           the same number of iterations each time, for clocks that count instructions
  --iterations N    this number of iterations a sample";

pub enum Command {
    Help,
    Nothing,
    List { about: bool },
    Compare(String, String),
    Run(Options),
}

/// Where the figures go as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Json {
    None,
    /// To standard output, in place of all else.
    Printed,
    File(String),
}

/// What to run, and how.
pub struct Options {
    what: Vec<String>,
    quick: bool,
    pub json: Json,
    pub plan: Plan,
}

impl Options {
    /// The tests that are asked for, in the suite's order.
    pub fn tests(&self) -> impl Iterator<Item = (&'static str, &'static Test)> {
        suite::all().filter(|(group, test)| {
            let named = |word: &String| word == group || word == test.name;
            if self.what.is_empty() {
                !self.quick || test.quick
            } else {
                self.what.iter().any(named)
            }
        })
    }
}

pub fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Command> {
    let words: Vec<String> = arguments.collect();
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    match texts[..] {
        ["true"] => Ok(Command::Nothing),
        ["list"] => Ok(Command::List { about: false }),
        ["list", "-v"] => Ok(Command::List { about: true }),
        ["compare", first, second] => Ok(Command::Compare(first.to_owned(), second.to_owned())),
        ["-h" | "--help" | "help"] => Ok(Command::Help),
        _ => run(&texts).map(Command::Run),
    }
}

fn run(words: &[&str]) -> Outcome<Options> {
    let (mut quick, mut full, mut json) = (false, false, Json::None);
    let mut count = Count::Adaptive;
    let mut what = Vec::new();
    let mut rest = words.iter().peekable();
    while let Some(&word) = rest.next() {
        match word {
            "--quick" => quick = true,
            "--full" => full = true,
            "--json" => {
                let file = rest.next_if(|word| !word.starts_with("--") && !is_known(word));
                json = file.map_or(Json::Printed, |file| Json::File((*file).to_owned()));
            }
            "--fixed" => count = Count::Fixed,
            "--iterations" => count = Count::Given(number(rest.next().copied())?),
            _ => {
                ensure(is_known(word), || {
                    format!("there is no group or test {word}; see `bench list`")
                })?;
                what.push(word.to_owned());
            }
        }
    }
    ensure(!(quick && full), || {
        "--quick or --full, not both".to_owned()
    })?;
    let (target_ms, samples) = match (count, quick, full) {
        (Count::Adaptive, true, _) => (300, 5),
        (Count::Adaptive, _, true) => (1500, 11),
        (Count::Adaptive, ..) => (500, 7),
        _ => (0, 3),
    };
    Ok(Options {
        what,
        quick,
        json,
        plan: Plan {
            target: Duration::from_millis(target_ms),
            samples,
            count,
        },
    })
}

/// Whether a group or a test bears the name.
fn is_known(word: &str) -> bool {
    suite::all().any(|(group, test)| word == group || word == test.name)
}

fn number(word: Option<&str>) -> Outcome<u64> {
    word.and_then(|word| word.parse().ok())
        .filter(|count| (1..=1_000_000_000).contains(count))
        .ok_or_else(|| Problem::new("--iterations needs a number from 1 to 1000000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Outcome<Command> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn names(line: &str) -> Vec<&'static str> {
        match parsed(line) {
            Ok(Command::Run(options)) => options.tests().map(|(_, test)| test.name).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn quick_means_the_eight() {
        let mut quick = names("--quick");
        quick.sort_unstable();
        assert_eq!(
            quick,
            [
                "fork_exit",
                "getpid",
                "mmap_fault",
                "open_close",
                "pipe",
                "read_null",
                "stat",
                "write_null"
            ]
        );
    }

    #[test]
    fn groups_and_tests_are_chosen_by_name() {
        assert_eq!(names("stat pipe"), ["stat", "pipe"]);
        assert!(names("syscall").contains(&"getpid"));
        assert!(parsed("nonsense").is_err());
        assert!(parsed("--quick --full").is_err());
        assert!(parsed("--iterations 0").is_err());
    }

    #[test]
    fn json_takes_a_file_that_is_no_test() {
        let json = |line: &str| match parsed(line) {
            Ok(Command::Run(options)) => options.json,
            _ => Json::None,
        };
        assert_eq!(json("--json /tmp/x stat"), Json::File("/tmp/x".to_owned()));
        assert_eq!(json("--json stat"), Json::Printed);
        assert_eq!(json("--json --quick"), Json::Printed);
        assert_eq!(json("stat --json"), Json::Printed);
    }

    #[test]
    fn names_are_unique() {
        let mut all: Vec<_> = suite::all().map(|(_, test)| test.name).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn fixed_counts_are_multiples_of_the_granule() {
        for (_, test) in suite::all() {
            assert_eq!(test.fixed % test.granule, 0, "{}", test.name);
        }
    }
}
