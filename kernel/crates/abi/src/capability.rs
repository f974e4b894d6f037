//! The extended attribute `security.capability`: what a file gives a program that is executed (capabilities(7)).

/// The attribute's name.
pub const XATTR_NAME_CAPS: &[u8] = b"security.capability";

const REVISION_MASK: u32 = 0xff00_0000;
const REVISION_1: u32 = 0x0100_0000;
const REVISION_2: u32 = 0x0200_0000;
const REVISION_3: u32 = 0x0300_0000;
const FLAGS_EFFECTIVE: u32 = 1;

/// What the attribute holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileCaps {
    pub permitted: u64,
    pub inheritable: u64,
    /// What becomes permitted becomes effective at once.
    pub effective: bool,
    /// The root user of the namespace that it is for; 0 in the older versions.
    pub root_id: u32,
}

/// The little-endian words of a value: none if it does not consist of them.
fn words(value: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let whole = value.len().is_multiple_of(4);
    let (words, _) = value.as_chunks::<4>();
    words
        .iter()
        .filter(move |_| whole)
        .map(|word| u32::from_le_bytes(*word))
}

impl FileCaps {
    /// Reads a value of any version; `None` for one that is damaged.
    pub fn parse(value: &[u8]) -> Option<FileCaps> {
        let mut words = words(value);
        let magic = words.next()?;
        let len = match magic & REVISION_MASK {
            REVISION_1 => 12,
            REVISION_2 => 20,
            REVISION_3 => 24,
            _ => return None,
        };
        if value.len() != len {
            return None;
        }
        let (permitted, inheritable) = (words.next()?, words.next()?);
        let mut caps = FileCaps {
            permitted: permitted.into(),
            inheritable: inheritable.into(),
            effective: magic & FLAGS_EFFECTIVE != 0,
            root_id: 0,
        };
        if let (Some(permitted), Some(inheritable)) = (words.next(), words.next()) {
            caps.permitted |= u64::from(permitted) << 32;
            caps.inheritable |= u64::from(inheritable) << 32;
        }
        caps.root_id = words.next().unwrap_or(0);
        Some(caps)
    }

    /// Whether a value may be set: of version 2 or 3, with no other flag than `effective`.
    pub fn may_be_set(value: &[u8]) -> bool {
        let magic = words(value).next().unwrap_or(0) & !FLAGS_EFFECTIVE;
        matches!((magic, value.len()), (REVISION_2, 20) | (REVISION_3, 24))
    }

    /// What a reader in the first namespace sees instead of a value: version 3 for its own root is shown as version 2.
    pub fn as_read(value: &[u8]) -> Option<[u8; 20]> {
        let is_own = FileCaps::parse(value)?.root_id == 0 && value.len() == 24;
        let mut shown = *value.first_chunk::<20>().filter(|_| is_own)?;
        shown[3] = (REVISION_2 >> 24) as u8;
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn value(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn every_version_is_read() {
        let one = FileCaps::parse(&value(&[REVISION_1, 5, 6])).unwrap();
        assert_eq!(
            (one.permitted, one.inheritable, one.effective),
            (5, 6, false)
        );
        let two = FileCaps::parse(&value(&[REVISION_2 | 1, 5, 6, 1, 2])).unwrap();
        assert_eq!(
            (two.permitted, two.inheritable, two.effective),
            (5 | 1 << 32, 6 | 2 << 32, true)
        );
        let three = FileCaps::parse(&value(&[REVISION_3, 5, 6, 1, 2, 1000])).unwrap();
        assert_eq!((three.permitted, three.root_id), (5 | 1 << 32, 1000));
    }

    #[test]
    fn damaged_values_are_refused() {
        for bad in [
            value(&[]),
            value(&[REVISION_2]),
            value(&[REVISION_2, 1, 2, 3]),
            value(&[REVISION_3, 1, 2, 3, 4]),
            value(&[REVISION_1, 1, 2, 3]),
            value(&[0x0400_0000, 1, 2, 3, 4]),
            [value(&[REVISION_2, 1, 2, 3, 4]), [0].to_vec()].concat(),
        ] {
            assert_eq!(FileCaps::parse(&bad), None);
        }
    }

    #[test]
    fn the_first_version_and_flags_are_not_set() {
        assert!(FileCaps::may_be_set(&value(&[REVISION_2 | 1, 1, 2, 3, 4])));
        assert!(FileCaps::may_be_set(&value(&[REVISION_3, 1, 2, 3, 4, 0])));
        assert!(!FileCaps::may_be_set(&value(&[REVISION_1, 1, 2])));
        assert!(!FileCaps::may_be_set(&value(&[REVISION_2 | 2, 1, 2, 3, 4])));
        assert!(!FileCaps::may_be_set(&value(&[REVISION_2, 1, 2, 3, 4, 0])));
        assert!(!FileCaps::may_be_set(&[]));
    }

    #[test]
    fn the_third_version_of_the_own_root_reads_as_the_second() {
        let own = value(&[REVISION_3 | 1, 1, 2, 3, 4, 0]);
        let shown = FileCaps::as_read(&own).unwrap();
        assert_eq!(shown[..], value(&[REVISION_2 | 1, 1, 2, 3, 4])[..]);
        let other = value(&[REVISION_3, 1, 2, 3, 4, 9]);
        assert_eq!(FileCaps::as_read(&other), None);
        assert_eq!(FileCaps::as_read(&value(&[REVISION_2, 1, 2, 3, 4])), None);
    }
}
