//! Lists of processors as text: `0-3,7`.

/// The processors of a list, as bits: numbers and ranges, with commas or spaces between. Of a range `first-last:used/group`
/// takes the first `used` of each `group`. `None` if it is malformed, or names one above 63.
pub fn cpu_list(text: &str) -> Option<u64> {
    let mut mask = 0;
    let separators = |letter: char| letter == ',' || letter.is_ascii_whitespace();
    for part in text.split(separators).filter(|part| !part.is_empty()) {
        let (range, pattern) = match part.split_once(':') {
            Some((range, pattern)) => (range, Some(pattern)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(range)?, number(range)?),
        };
        let (used, group) = match pattern {
            Some(pattern) => {
                let (used, group) = pattern.split_once('/')?;
                (number(used)?, number(group)?)
            }
            None => (1, 1),
        };
        if first > last || last > 63 || group == 0 || used > group {
            return None;
        }
        for cpu in (first..=last).filter(|cpu| (cpu - first) % group < used) {
            mask |= 1 << cpu;
        }
    }
    Some(mask)
}

/// Digits alone.
fn number(text: &str) -> Option<u32> {
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits)
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn lists_are_read() {
        for (text, mask) in [
            ("", Some(0)),
            ("0", Some(1)),
            ("0-1", Some(3)),
            ("0-3,7", Some(0x8f)),
            ("1, 2\n", Some(6)),
            ("0-7:1/2", Some(0x55)),
            ("63", Some(1 << 63)),
            ("64", None),
            ("3-1", None),
            ("1-", None),
            ("-1", None),
            ("+1", None),
            ("x", None),
            ("0-7:3/2", None),
            ("0-7:0/0", None),
        ] {
            assert_eq!(cpu_list(text), mask, "{text:?}");
        }
    }
}
