//! End-to-end encryption, as far as a server knows of it: keys that devices and users publish, who is
//! told when they change, and messages from device to device.
//!
//! Reading order: [`shapes`] (what a key has to look like; pure), [`upload`], [`claim`], [`query`]
//! (what clients ask for), [`news`] (what /sync tells), [`send`] and [`inbox`] (messages); then other
//! servers: [`serve`], [`remote`], [`remote_lists`], [`receive`]; and keys that sign keys: [`signing`],
//! [`signatures`]; and [`dehydrated`] devices.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption>

pub mod shapes;

pub mod claim;
pub mod dehydrated;
pub mod inbox;
pub mod news;
pub mod query;
pub(crate) mod receive;
mod remote;
pub mod remote_lists;
pub mod send;
pub mod serve;
pub mod signatures;
pub mod signing;
pub mod upload;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::sync::{Mutex, MutexGuard};

/// Into how many lines users stand.
const TURNS: u64 = 256;

/// The algorithm whose count is told also when a device never had such keys.
pub(crate) const USUAL_ALGORITHM: &str = "signed_curve25519";

/// What the process remembers about encryption.
#[derive(Debug, Default)]
pub struct Memory {
    pub(crate) turns: Turns,
    pub(crate) asked: remote_lists::Asked,
}

/// Keys of a user are uploaded, handed out and signed one after the other, so that what is read before
/// a change still holds when it is written. What must never happen twice is claimed in the database
/// besides.
#[derive(Debug)]
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::default()).collect())
    }
}

impl Turns {
    /// The turns of some users, taken in an order that everybody keeps.
    pub(crate) async fn of<'a>(
        &self,
        users: impl IntoIterator<Item = &'a str>,
    ) -> Vec<MutexGuard<'_, ()>> {
        let mut lines: Vec<usize> = users.into_iter().map(line).collect();
        lines.sort_unstable();
        lines.dedup();
        let mut guards = Vec::with_capacity(lines.len());
        for turn in lines.into_iter().filter_map(|line| self.0.get(line)) {
            guards.push(turn.lock().await);
        }
        guards
    }
}

fn line(user: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    usize::try_from(hasher.finish() % TURNS).unwrap_or(0)
}
