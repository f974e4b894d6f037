//! Components of paths. Names up to 24 bytes are kept inline; scanning and hashing go a word at a time.

use smallvec::SmallVec;

/// A file name.
pub type Name = SmallVec<[u8; 24]>;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const SLASHES: u64 = ONES * b'/' as u64;
/// An odd constant with well-spread bits (2^64 divided by the golden ratio).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A mask whose lowest set bit marks the first slash among the word's bytes.
#[inline]
const fn slash_mask(word: u64) -> u64 {
    let x = word ^ SLASHES;
    x.wrapping_sub(ONES) & !x & HIGHS
}

#[inline]
const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

/// The length of the first component of `path` (up to a slash or the end) and its hash, which depends on the
/// component alone.
#[inline]
pub fn hash_component(path: &[u8]) -> (usize, u64) {
    let mut hash = 0;
    let mut rest = path;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let mask = slash_mask(word);
        if mask != 0 {
            let n = (mask.trailing_zeros() / 8) as usize;
            let kept = word & ((1u64 << (8 * n)) - 1);
            return finish(mix(hash, kept), path.len() - rest.len() + n);
        }
        hash = mix(hash, word);
        rest = tail;
    }
    let mut word = 0;
    let mut n = 0;
    for &byte in rest {
        if byte == b'/' {
            break;
        }
        word |= u64::from(byte) << (8 * n);
        n += 1;
    }
    finish(mix(hash, word), path.len() - rest.len() + n)
}

/// Folds the length in and spreads every bit over the low and the high ones, where tables look.
#[inline]
const fn finish(hash: u64, len: usize) -> (usize, u64) {
    let hash = (hash ^ len as u64 ^ (hash >> 32)).wrapping_mul(MULTIPLIER);
    (len, hash ^ (hash >> 29))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_to_the_slash_or_the_end() {
        for (path, len) in [
            ("", 0),
            ("/", 0),
            ("a", 1),
            ("a/b", 1),
            ("1234567/x", 7),
            ("12345678", 8),
            ("12345678/", 8),
            ("123456789abcdef0/long/tail/behind", 16),
            ("123456789abcdef01/", 17),
        ] {
            assert_eq!(hash_component(path.as_bytes()).0, len, "{path}");
        }
    }

    #[test]
    fn hash_depends_on_the_component_alone() {
        for name in [
            "a",
            "busybox",
            "12345678",
            "a-longer-name.tar.gz",
            "exactly-16-bytes",
        ] {
            let alone = hash_component(name.as_bytes());
            for tail in ["/", "/x", "/0123456789abcdef"] {
                let path = format!("{name}{tail}");
                assert_eq!(hash_component(path.as_bytes()), alone, "{path}");
            }
        }
    }

    #[test]
    fn bytes_next_to_the_slash_are_told_apart() {
        // The zero-byte trick may flag bytes above a real match only.
        for byte in 0..=255u8 {
            let path = [byte; 12];
            let expected = if byte == b'/' { 0 } else { 12 };
            assert_eq!(hash_component(&path).0, expected, "{byte}");
        }
    }

    #[test]
    fn similar_names_spread() {
        let mut low = std::collections::HashSet::new();
        for i in 0..1000 {
            low.insert(hash_component(format!("file{i}").as_bytes()).1 & 0xffff);
        }
        assert!(low.len() > 950, "{}", low.len());
    }
}
