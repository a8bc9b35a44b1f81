//! Where the engine gets randomness from: the operating system's generator, by way of `rand`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;

/// Fills an array with cryptographically secure random bytes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that draws randomness")]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A random string of the opaque-identifier grammar (`A-Z a-z 0-9 - _`) carrying `N` random bytes.
#[must_use]
pub fn token<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
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
}
