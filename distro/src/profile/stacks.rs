//! The kernel's table of stacks, read, its addresses turned into names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Functions by address.
pub type Names = BTreeMap<u64, String>;

/// What a processor did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Idle,
    User,
    Kernel,
}

/// One stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    pub count: u64,
    pub place: Place,
    /// The task's name.
    pub task: String,
    /// Names of functions, outermost first.
    pub frames: Vec<String>,
}

/// A whole table.
#[derive(Default, Debug)]
pub struct Stacks {
    pub period_ns: u64,
    pub cpus: usize,
    /// Samples for which the kernel had no room.
    pub lost: u64,
    pub stacks: Vec<Stack>,
}

impl Stacks {
    /// Reads `/proc/ironbark/profile`.
    pub fn parse(text: &str, names: &Names) -> Result<Self> {
        let mut all = Self::default();
        for line in text.lines() {
            let line_of = || format!("a strange line in the kernel's table: {line}");
            let mut words = line.split(' ');
            let mut next = || words.next().with_context(line_of);
            match next()? {
                "period_ns" => all.period_ns = next()?.parse().with_context(line_of)?,
                "cpu" => {
                    all.cpus += 1;
                    let _number_and_samples = (next()?, next()?);
                    all.lost += next()?.parse::<u64>().with_context(line_of)?;
                }
                count => {
                    let count = count.parse().with_context(line_of)?;
                    let place = match next()? {
                        "idle" => Place::Idle,
                        "user" => Place::User,
                        _ => Place::Kernel,
                    };
                    let task = next()?.to_owned();
                    let addresses: Vec<u64> = words
                        .map(|word| u64::from_str_radix(word, 16))
                        .collect::<Result<_, _>>()
                        .with_context(line_of)?;
                    let frames = named(&addresses, names);
                    all.stacks.push(Stack {
                        count,
                        place,
                        task,
                        frames,
                    });
                }
            }
        }
        Ok(all)
    }

    /// All samples that are in the table.
    pub fn samples(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.count).sum()
    }

    /// Those of one place.
    pub fn of(&self, place: Place) -> u64 {
        let here = self.stacks.iter().filter(|stack| stack.place == place);
        here.map(|stack| stack.count).sum()
    }
}

/// Names for addresses that come innermost first. All but the innermost are return addresses: of a call that ends its
/// function they lie behind that function's last byte.
fn named(addresses: &[u64], names: &Names) -> Vec<String> {
    let name = |(depth, &address): (usize, &u64)| {
        let inside = address - u64::from(depth > 0);
        let found = names.range(..=inside).next_back();
        found.map_or_else(|| format!("{address:#x}"), |(_, name)| name.clone())
    };
    let mut frames: Vec<String> = addresses.iter().enumerate().map(name).collect();
    frames.reverse();
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let pairs = [(0x1000, "entry"), (0x1100, "sys_read"), (0x1200, "copy")];
        pairs.map(|(at, name)| (at, name.to_owned())).into()
    }

    #[test]
    fn stacks_are_read_with_names_outermost_first() {
        let text = "period_ns 1000000\ncpu 0 10 2\n3 kernel sh 1204 1200 1104\n4 user sh\n\
            cpu 1 5 1\n5 idle idle/1\n";
        let all = Stacks::parse(text, &names()).unwrap();
        assert_eq!((all.period_ns, all.cpus, all.lost), (1_000_000, 2, 3));
        // 1200 is a return address: the call before it was the last of `sys_read`.
        assert_eq!(all.stacks[0].frames, ["sys_read", "sys_read", "copy"]);
        assert_eq!(all.stacks[1].task, "sh");
        assert_eq!(all.samples(), 12);
        assert_eq!(all.of(Place::Idle), 5);
        assert_eq!(all.of(Place::User), 4);
    }

    #[test]
    fn what_has_no_name_shows_its_address() {
        let all = Stacks::parse("1 kernel sh 10\n", &names()).unwrap();
        assert_eq!(all.stacks[0].frames, ["0x10"]);
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in ["hello\n", "1 kernel\n", "1 kernel sh xyz\n", "period_ns\n"] {
            assert!(Stacks::parse(text, &names()).is_err(), "{text}");
        }
    }
}
