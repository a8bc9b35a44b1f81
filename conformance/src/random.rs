//! Randomness for names and seeds of a test run. What must be repeatable draws from a printed seed.

use anyhow::{Context as _, Result};
use rand::{TryRng as _, rngs::SysRng};

/// `N` random bytes from the operating system.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(bytes)
}

/// Ten random hexadecimal digits: a suffix that makes a name unique.
pub fn suffix() -> Result<String> {
    Ok(bytes::<5>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A fresh seed for a repeatable generator.
pub fn seed() -> Result<u64> {
    Ok(u64::from(u32::from_le_bytes(bytes()?)))
}
