//! Flame graphs: a box a function, as wide as its share, upon the box of what called it.
//!
//! Reference: Brendan Gregg, "The Flame Graph", CACM 59(6), 2016.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::stacks::{Place, Stacks};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
/// Narrower boxes are left out.
const NARROWEST: f64 = 0.3;
/// Of a letter, about.
const LETTER: f64 = 6.6;

/// A function in one place of the call tree.
#[derive(Default)]
struct Node<'a> {
    total: u64,
    below: BTreeMap<&'a str, Node<'a>>,
}

impl<'a> Node<'a> {
    fn add(&mut self, path: impl Iterator<Item = &'a str>, count: u64) {
        self.total += count;
        let mut node = self;
        for name in path {
            node = node.below.entry(name).or_default();
            node.total += count;
        }
    }

    fn depth(&self) -> usize {
        self.below.values().map(Self::depth).max().unwrap_or(0) + 1
    }
}

/// The call tree of everything that is not idle: tasks, then functions; a program's own time is a box `[user]`.
fn tree(stacks: &Stacks) -> Node<'_> {
    let mut root = Node::default();
    for stack in stacks.stacks.iter().filter(|s| s.place != Place::Idle) {
        let task = std::iter::once(stack.task.as_str());
        if stack.place == Place::User {
            root.add(task.chain(["[user]"]), stack.count);
        } else {
            let frames = stack.frames.iter().map(String::as_str);
            root.add(task.chain(frames), stack.count);
        }
    }
    root
}

/// The picture. A box says its name and share when it is pointed at.
pub fn svg(stacks: &Stacks) -> String {
    let root = tree(stacks);
    let height = (root.depth() + 1) as f64 * ROW;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut picture = Picture {
        text: &mut text,
        height,
        whole: root.total.max(1),
    };
    picture.draw("all", &root, 0.0, 0);
    text.push_str("</svg>\n");
    text
}

struct Picture<'t> {
    text: &'t mut String,
    height: f64,
    whole: u64,
}

impl Picture<'_> {
    fn draw(&mut self, name: &str, node: &Node<'_>, left: f64, level: usize) {
        let width = node.total as f64 / self.whole as f64 * WIDTH;
        if width < NARROWEST {
            return;
        }
        let top = self.height - (level + 1) as f64 * ROW;
        let share = node.total as f64 * 100.0 / self.whole as f64;
        let full = escaped(name);
        let colour = colour(name);
        let _ = write!(
            self.text,
            "<g><title>{full}: {share:.2} %, {} samples</title>\
             <rect x=\"{left:.2}\" y=\"{top}\" width=\"{:.2}\" height=\"{}\" fill=\"{colour}\"/>",
            node.total,
            (width - 0.3).max(NARROWEST),
            ROW - 1.0
        );
        let letters = ((width - 4.0) / LETTER).max(0.0) as usize;
        if letters >= 3 {
            let short: String = short(name).chars().take(letters).collect();
            let (x, y) = (left + 2.0, top + ROW - 5.0);
            let _ = write!(
                self.text,
                "<text x=\"{x:.2}\" y=\"{y}\">{}</text>",
                escaped(&short)
            );
        }
        self.text.push_str("</g>\n");
        let mut left = left;
        for (name, node) in &node.below {
            self.draw(name, node, left, level + 1);
            left += node.total as f64 / self.whole as f64 * WIDTH;
        }
    }
}

/// The last two parts of a path: crates and modules above them tell little in a narrow box.
fn short(name: &str) -> &str {
    // What is between angle brackets may itself be a path.
    if name.contains('<') {
        return name;
    }
    let mut parts = name.rmatch_indices("::");
    parts.nth(1).map_or(name, |(at, _)| &name[at + 2..])
}

/// A warm colour, the same for the same name.
fn colour(name: &str) -> String {
    let sum = name
        .bytes()
        .fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    let (green, blue) = (100 + sum % 120, sum / 128 % 60);
    format!("#f0{green:02x}{blue:02x}")
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::stacks::Names;
    use super::*;

    fn sample() -> Stacks {
        let names: Names = [(0x10, "a::<T>::entry"), (0x20, "k::fs::walk")]
            .map(|(at, name)| (at, name.to_owned()))
            .into();
        let text = "period_ns 1\n3 kernel sh 21 12\n1 kernel sh 12\n4 user sh\n9 idle idle\n";
        Stacks::parse(text, &names).unwrap()
    }

    #[test]
    fn stacks_with_a_common_root_share_its_box() {
        let stacks = sample();
        let root = tree(&stacks);
        assert_eq!((root.total, root.depth()), (8, 4));
        let sh = &root.below["sh"];
        let counts: Vec<_> = sh.below.iter().map(|(name, n)| (*name, n.total)).collect();
        assert_eq!(counts, [("[user]", 4), ("a::<T>::entry", 4)]);
        assert_eq!(sh.below["a::<T>::entry"].below["k::fs::walk"].total, 3);
    }

    #[test]
    fn the_picture_is_well_formed() {
        let text = svg(&sample());
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("<title>a::&lt;T&gt;::entry: 50.00 %, 4 samples</title>"));
        assert_eq!(text.matches("<g>").count(), 5);
        assert_eq!(text.matches("<g>").count(), text.matches("</g>").count());
        // Half of the width for half of the samples.
        assert!(text.contains("width=\"599.70\""), "{text}");
    }

    #[test]
    fn boxes_show_the_end_of_a_path() {
        assert_eq!(short("kernel::fs::namei::walk"), "namei::walk");
        assert_eq!(short("walk"), "walk");
        assert_eq!(short("<a::B as c::D>::e"), "<a::B as c::D>::e");
    }
}
