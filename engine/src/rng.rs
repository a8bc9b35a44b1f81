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
