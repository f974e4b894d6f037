//! Sizes: a file has at most 800 lines, a function at most 100. Tests, tables of system calls and
//! generated files aside.

use super::source::Source;

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 100;

pub fn check(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    if source.is_test() {
        return problems;
    }
    let lines = source.lines.iter().filter(|line| !line.test).count();
    if lines > FILE_LINES && !source.path.ends_with("syscall/table.rs") {
        problems.push(source.problem(0, &format!("{lines} lines; {FILE_LINES} is the limit")));
    }
    for (start, end) in functions(source) {
        let lines = end - start + 1;
        if lines > FUNCTION_LINES {
            let what = format!("a function of {lines} lines; {FUNCTION_LINES} is the limit");
            problems.push(source.problem(start, &what));
        }
    }
    problems
}

/// First and last lines of functions: rustfmt closes each at the indentation it opened with.
fn functions(source: &Source) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let code = line.code.trim_start();
        let indent = line.code.len() - code.len();
        if is_function(code) && !code.trim_end().ends_with(';') && !code.trim_end().ends_with('}') {
            open.push((number, indent));
        }
        // A function without a body ends with its signature.
        if code.trim_end() == ");" || (code.starts_with(')') && code.trim_end().ends_with(';')) {
            open.retain(|&(_, at)| at != indent);
        }
        let closed = open.iter().position(|&(_, at)| at == indent);
        if let Some(at) = closed.filter(|_| code.trim_end() == "}") {
            found.push((open[at].0, number));
            open.truncate(at);
        }
    }
    found
}

fn is_function(code: &str) -> bool {
    let mut words = code.split_whitespace().peekable();
    let leads = ["const", "unsafe", "async", "extern", "\"\"", "pub"];
    while let Some(word) = words.next() {
        if word == "fn" {
            return words.peek().is_some();
        }
        if !leads.contains(&word) && !word.starts_with("pub(") && !word.ends_with(')') {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_are_found() {
        let body = "        a();\n".repeat(110);
        let text = format!(
            "impl A {{\n    pub(crate) fn long(\n        x: u8,\n    ) {{\n{body}    }}\n}}\n"
        );
        let problems = check(&Source::new("kernel/src/a.rs", &text));
        assert_eq!(
            problems,
            ["kernel/src/a.rs:2: a function of 114 lines; 100 is the limit"]
        );
        assert!(check(&Source::new("kernel/src/a/tests.rs", &text)).is_empty());
    }

    #[test]
    fn signatures_alone_are_no_functions() {
        let filler = "    const A: u8 = 0;\n".repeat(120);
        let text = format!("trait A {{\n    fn a(\n        &self,\n    );\n{filler}}}\n");
        assert!(check(&Source::new("kernel/src/a.rs", &text)).is_empty());
    }
}
