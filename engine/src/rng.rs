//! Where the engine gets randomness from: the operating system's generator, by way of `rand`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;

/// Fills an array with cryptographically secure random bytes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]
pub fn bytes<const N: usize>() -> [u8; N] {
    #[cfg(any(test, feature = "test-support"))]
    if let Some(bytes) = repeatable::bytes() {
        return bytes;
    }
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A random string of the opaque-identifier grammar (`A-Z a-z 0-9 - _`) carrying `N` random bytes.
#[must_use]
pub fn token<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// Randomness that a seed repeats, for tests that draw whole worlds from one. What such a test does must
/// run on one thread.
#[cfg(any(test, feature = "test-support"))]
pub mod repeatable {
    use std::cell::Cell;

    thread_local! {
        static NEXT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on this thread gets what follows from the seed; with `None` what nobody can know.
    pub fn begin(seed: Option<u64>) {
        NEXT.set(seed);
    }

    pub(super) fn bytes<const N: usize>() -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for some in bytes.chunks_mut(8) {
            let number = next()?.to_le_bytes();
            some.iter_mut().zip(number).for_each(|(byte, drawn)| *byte = drawn);
        }
        Some(bytes)
    }

    /// The next number of the sequence (splitmix64).
    fn next() -> Option<u64> {
        let state = NEXT.get()?.wrapping_add(0x9E37_79B9_7F4A_7C15);
        NEXT.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Some(mixed ^ (mixed >> 31))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tokens_do_not_repeat_and_are_long() {
        let tokens: HashSet<String> = (0..100_000).map(|_| token::<16>()).collect();
        assert_eq!(tokens.len(), 100_000);
        // 128 bits are 22 characters of six bits each.
        assert!(tokens.iter().all(|token| token.len() == 22));
        let mut bits = [0_u32; 128];
        for _ in 0..10_000 {
            for (index, byte) in bytes::<16>().into_iter().enumerate() {
                for bit in 0..8 {
                    bits[index * 8 + bit] += u32::from(byte >> bit & 1);
                }
            }
        }
        // Each bit is set about half of the time: ten standard deviations are 500.
        assert!(bits.iter().all(|set| set.abs_diff(5_000) < 500), "{bits:?}");
    }

    #[test]
    fn a_seed_repeats_what_is_drawn_and_without_one_nothing_repeats() {
        let drawn = |seed| {
            repeatable::begin(seed);
            let drawn = (token::<18>(), bytes::<3>(), token::<18>());
            repeatable::begin(None);
            drawn
        };
        assert_eq!(drawn(Some(7)), drawn(Some(7)));
        assert_ne!(drawn(Some(7)), drawn(Some(8)));
        assert_ne!(drawn(None), drawn(None));
    }
}
