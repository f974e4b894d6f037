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

/// Up to eight bytes as a word, the first one lowest; of more, the first eight.
#[inline(always)]
pub fn word_of(bytes: &[u8]) -> u64 {
    // Two loads that overlap: where they do, both have the same bits.
    match bytes.len() {
        0 => 0,
        1 => bytes.first().map_or(0, |byte| u64::from(*byte)),
        len @ 2..=3 => {
            let (low, high) = (bytes.first_chunk().copied(), bytes.last_chunk().copied());
            let word =
                |half: Option<[u8; 2]>| u64::from(u16::from_le_bytes(half.unwrap_or_default()));
            word(low) | word(high) << (8 * (len - 2))
        }
        len @ 4..=7 => {
            let (low, high) = (bytes.first_chunk().copied(), bytes.last_chunk().copied());
            let word =
                |half: Option<[u8; 4]>| u64::from(u32::from_le_bytes(half.unwrap_or_default()));
            word(low) | word(high) << (8 * (len - 4))
        }
        _ => bytes
            .first_chunk()
            .map_or(0, |chunk| u64::from_le_bytes(*chunk)),
    }
}

/// Whether two names are the same. They are short: a call to compare memory would cost more than comparing them.
#[inline]
pub fn same_name(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (mut a, mut b) = (a, b);
    while let (Some((x, rest_a)), Some((y, rest_b))) =
        (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
    {
        if u64::from_le_bytes(*x) != u64::from_le_bytes(*y) {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    word_of(a) == word_of(b)
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
    // What is left is filled up with zeros, which are no slashes.
    let word = word_of(rest);
    let slashes = slash_mask(word);
    let n = match slashes {
        0 => rest.len(),
        mask => (mask.trailing_zeros() / 8) as usize,
    };
    // At most seven bytes are left: the shift is in range.
    let kept = word & ((1u64 << (8 * n)) - 1);
    finish(mix(hash, kept), path.len() - rest.len() + n)
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
    fn words_are_the_bytes_in_order() {
        let bytes = b"\x01\x82\x03\xf4\x05\x86\x07\xff\x09";
        for len in 0..=bytes.len() {
            let mut padded = [0; 8];
            let kept = len.min(8);
            padded[..kept].copy_from_slice(&bytes[..kept]);
            assert_eq!(word_of(&bytes[..len]), u64::from_le_bytes(padded), "{len}");
        }
    }

    #[test]
    fn names_differ_by_any_byte_and_by_length() {
        for len in 0..40 {
            let name: Vec<u8> = (0..len).map(|at| at as u8 + 1).collect();
            assert!(same_name(&name, &name.clone()));
            for at in 0..name.len() {
                let mut other = name.clone();
                other[at] ^= 0x80;
                assert!(!same_name(&name, &other), "{len} {at}");
            }
            assert!(!same_name(&name, &[&name[..], b"x"].concat()));
        }
    }

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
