//! ChaCha20 with fast key erasure.

use rand_chacha::ChaCha20Core;
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::rand_core::block::Generator as _;
use zerocopy::IntoBytes;

use crate::pool::Key;

const BLOCK_BYTES: usize = 256;
const KEY_BYTES: usize = 32;

/// A keyed generator.
///
/// # Invariants
/// `batch[next..]` was never given out; everything before `next` is zero; the key of the block in `batch` is gone.
pub struct Generator {
    batch: [u32; BLOCK_BYTES / 4],
    next: usize,
    key: Key,
}

impl Generator {
    /// A generator that nobody may draw from before [`Generator::rekey`].
    pub const fn unkeyed() -> Self {
        Self {
            batch: [0; BLOCK_BYTES / 4],
            next: BLOCK_BYTES,
            key: [0; KEY_BYTES],
        }
    }

    pub fn new(key: Key) -> Self {
        let mut generator = Self::unkeyed();
        generator.rekey(key);
        generator
    }

    /// Forgets everything and starts from `key`.
    pub fn rekey(&mut self, key: Key) {
        self.batch = [0; BLOCK_BYTES / 4];
        self.next = BLOCK_BYTES;
        self.key = key;
    }

    fn refill(&mut self) {
        ChaCha20Core::from_seed(self.key).generate(&mut self.batch);
        let bytes = self.batch.as_mut_bytes();
        self.key.copy_from_slice(&bytes[..KEY_BYTES]);
        bytes[..KEY_BYTES].fill(0);
        self.next = KEY_BYTES;
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.next == BLOCK_BYTES {
                self.refill();
            }
            let count = out.len().min(BLOCK_BYTES - self.next);
            let (now, later) = out.split_at_mut(count);
            let fresh = &mut self.batch.as_mut_bytes()[self.next..self.next + count];
            now.copy_from_slice(fresh);
            fresh.fill(0);
            self.next += count;
            out = later;
        }
    }

    /// A key for another generator.
    pub fn draw_key(&mut self) -> Key {
        let mut key = [0; KEY_BYTES];
        self.fill(&mut key);
        key
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.rekey([0; KEY_BYTES]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ChaCha20 with a zero key, nonce and counter (RFC 8439, A.1, vector 1), from byte 32 on.
    const ZERO_KEY_STREAM_FROM_32: [u8; 32] = [
        0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a,
        0x37, 0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee,
        0x65, 0x86,
    ];

    #[test]
    fn output_is_the_chacha20_key_stream_after_the_next_key() {
        let mut out = [0; 32];
        Generator::new([0; 32]).fill(&mut out);
        assert_eq!(out, ZERO_KEY_STREAM_FROM_32);
    }

    #[test]
    fn pieces_of_any_size_join_to_the_same_stream() {
        let mut whole = [0; 1500];
        Generator::new([7; 32]).fill(&mut whole);
        let mut pieces = [0; 1500];
        let mut generator = Generator::new([7; 32]);
        let (mut at, mut size) = (0, 1);
        while at < pieces.len() {
            let end = (at + size).min(pieces.len());
            generator.fill(&mut pieces[at..end]);
            (at, size) = (end, size * 2 % 251 + 1);
        }
        assert_eq!(whole, pieces);
    }

    #[test]
    fn given_out_bytes_and_old_keys_are_gone() {
        let mut generator = Generator::new([3; 32]);
        let mut out = [0; 100];
        generator.fill(&mut out);
        assert_ne!(generator.key, [3; 32]);
        let bytes = generator.batch.as_bytes();
        assert_eq!(bytes[..KEY_BYTES + 100], [0; KEY_BYTES + 100]);
        assert!(bytes[KEY_BYTES + 100..].iter().any(|&byte| byte != 0));
    }

    #[test]
    fn rekeying_drops_the_batch() {
        let mut generator = Generator::new([3; 32]);
        generator.fill(&mut [0; 5]);
        generator.rekey([0; 32]);
        let mut out = [0; 32];
        generator.fill(&mut out);
        assert_eq!(out, ZERO_KEY_STREAM_FROM_32);
    }
}
