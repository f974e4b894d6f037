//! Sleep types without an interpreter: the package is nearly always written out in full.

/// Reads an integer constant; its value and the bytes after it.
fn integer(code: &[u8]) -> Option<(u64, &[u8])> {
    let (&opcode, rest) = code.split_first()?;
    let width = match opcode {
        0x00 => return Some((0, rest)),
        0x01 => return Some((1, rest)),
        0xff => return Some((u64::MAX, rest)),
        0x0a => 1,
        0x0b => 2,
        0x0c => 4,
        0x0e => 8,
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(width)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, rest))
}

/// Looks through a table for `Name (_Sx, Package () {a, b, …})` and answers `a` and `b`.
pub fn find_sleep_types(table: &[u8], state: u8) -> Option<(u8, u8)> {
    let name = [0x08, b'_', b'S', b'0' + state.min(5), b'_'];
    let start = (0..table.len()).find(|&at| {
        let code = &table[at..];
        code.starts_with(&name)
            || code.starts_with(&[0x08, b'\\']) && code[2..].starts_with(&name[1..])
    })?;
    let after = table.get(start..)?;
    let package = after
        .iter()
        .position(|&byte| byte == 0x12)
        .filter(|&at| at <= 6)?;
    let body = after.get(package + 1..)?;
    // The length has one to four bytes: the top two bits of the first say how many follow.
    let extra = usize::from(*body.first()? >> 6);
    let elements = body.get(1 + extra..)?;
    let (&count, values) = elements.split_first()?;
    let (first, rest) = integer(values)?;
    let first = u8::try_from(first).ok()?;
    let second = if count >= 2 {
        integer(rest)?.0
    } else {
        u64::from(first)
    };
    Some((first, u8::try_from(second).ok()?))
}
