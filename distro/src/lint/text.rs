//! What must stand in the text: a header in each file, a reason at each unsafe block.

use super::source::Source;

/// Each file begins with `//!`.
pub fn headers(source: &Source) -> Vec<String> {
    let has = source
        .lines
        .first()
        .is_some_and(|line| line.text.starts_with("//!"));
    if has {
        Vec::new()
    } else {
        vec![source.problem(0, "no `//!` header")]
    }
}

/// Each `unsafe {` has `// SAFETY:` in the comment before it, each `unsafe impl` too, and each
/// public `unsafe fn` a `# Safety` section.
pub fn safety_notes(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let code = &line.code;
        if has_block(code) && !noted(source, number, "SAFETY:") {
            problems.push(source.problem(number, "an unsafe block without `// SAFETY:`"));
        }
        if code.trim_start().starts_with("unsafe impl") && !noted(source, number, "SAFETY:") {
            problems.push(source.problem(number, "an unsafe impl without `// SAFETY:`"));
        }
        let function = code.contains("unsafe fn ") && code.trim_start().starts_with("pub");
        if function && !noted(source, number, "# Safety") {
            problems.push(source.problem(number, "an unsafe fn without `# Safety`"));
        }
    }
    problems
}

fn has_block(code: &str) -> bool {
    let after = |at: usize| code[at + "unsafe".len()..].trim_start();
    code.match_indices("unsafe")
        .any(|(at, _)| after(at).starts_with('{'))
}

/// Whether the statement that the line belongs to has a note: in the line itself, or in the
/// comment above the statement. Attributes may stand between.
fn noted(source: &Source, line: usize, mark: &str) -> bool {
    if source.lines[line].text.contains(mark) {
        return true;
    }
    let mut code_lines = 0;
    for above in source.lines[..line].iter().rev() {
        let text = above.text.trim();
        if text.starts_with("//") {
            if text.contains(mark) {
                return true;
            }
        } else if !text.starts_with("#[") {
            code_lines += 1;
            // Further up another statement begins: its note is not this one's.
            if code_lines > 4 || text.is_empty() || text.ends_with(';') || text.ends_with('}') {
                return false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> usize {
        safety_notes(&Source::new("a.rs", text)).len()
    }

    #[test]
    fn unsafe_blocks_need_a_note() {
        assert_eq!(problems("let a = unsafe { b() };"), 1);
        assert_eq!(
            problems("// SAFETY: b is fine.\nlet a = unsafe { b() };"),
            0
        );
        assert_eq!(
            problems("// SAFETY: b is fine.\nlet a =\n    unsafe { b() };"),
            0
        );
        assert_eq!(problems("// SAFETY: b.\nb();\nlet a = unsafe { c() };"), 1);
        assert_eq!(problems("/// Does.\npub unsafe fn f() {}"), 1);
        assert_eq!(
            problems("/// # Safety\n/// Never.\n#[inline]\npub unsafe fn f() {}"),
            0
        );
    }
}
