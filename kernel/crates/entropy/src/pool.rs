//! The entropy pool: a running BLAKE2s hash and a count of trusted bits.

use blake2::{Blake2s256, Digest};

pub type Key = [u8; 32];

/// Trusted bits after which the generator counts as seeded for good.
pub const READY_BITS: u32 = 256;

/// Compressed entropy.
pub struct Pool {
    hash: Blake2s256,
    bits: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Pool {
    pub fn new() -> Self {
        Self {
            hash: Blake2s256::new(),
            bits: 0,
        }
    }

    /// Mixes in `bytes`, of which `bits` bits are believed unknown to anyone else (0 when nothing is known).
    pub fn mix(&mut self, bytes: &[u8], bits: u32) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
        let most = u32::try_from(bytes.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(8);
        self.bits = self.bits.saturating_add(bits.min(most)).min(READY_BITS);
    }

    /// Trusted bits, at most [`READY_BITS`].
    pub fn bits(&self) -> u32 {
        self.bits
    }

    pub fn is_ready(&self) -> bool {
        self.bits >= READY_BITS
    }

    /// A key made from all that was mixed in and from `extra`. The pool goes on from a value that the key does not
    /// tell, nor does the pool tell the key.
    pub fn extract(&mut self, extra: &[u8]) -> Key {
        let seed: Key = self.hash.finalize_reset().into();
        let derive = |tag: u8| -> Key {
            let hash = Blake2s256::new().chain_update(seed).chain_update([tag]);
            hash.chain_update(extra).finalize().into()
        };
        self.hash.update(derive(1));
        derive(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_counts_no_more_than_the_bytes_hold_and_saturates() {
        let mut pool = Pool::new();
        pool.mix(&[1, 2], 1000);
        assert_eq!(pool.bits(), 16);
        pool.mix(&[0; 30], 0);
        assert_eq!(pool.bits(), 16);
        assert!(!pool.is_ready());
        pool.mix(&[0; 64], 512);
        assert_eq!(pool.bits(), READY_BITS);
        assert!(pool.is_ready());
        pool.mix(&[], u32::MAX);
        assert_eq!(pool.bits(), READY_BITS);
    }

    #[test]
    fn each_input_changes_the_key() {
        let key = |parts: &[&[u8]], extra: &[u8]| {
            let mut pool = Pool::new();
            parts.iter().for_each(|part| pool.mix(part, 0));
            pool.extract(extra)
        };
        let base = key(&[b"ab", b"c"], b"x");
        assert_eq!(base, key(&[b"ab", b"c"], b"x"));
        assert_ne!(base, key(&[b"a", b"bc"], b"x"));
        assert_ne!(base, key(&[b"ab", b"d"], b"x"));
        assert_ne!(base, key(&[b"ab", b"c"], b"y"));
    }

    #[test]
    fn successive_keys_differ_and_keep_depending_on_old_input() {
        let mut one = Pool::new();
        let mut two = Pool::new();
        one.mix(b"secret", 0);
        two.mix(b"Secret", 0);
        let first = one.extract(&[]);
        assert_ne!(first, one.extract(&[]));
        two.extract(&[]);
        two.extract(&[]);
        assert_ne!(one.extract(&[]), two.extract(&[]));
    }
}
