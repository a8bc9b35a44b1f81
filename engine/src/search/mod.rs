//! Searching what was said: words, an index of where they stand, and the search.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-search>
//!
//! The index is our own: one row for each word of an event, the same text of SQL for both databases.
//! It is not written with the message. A message of a dozen words would cost a dozen rows more on the
//! way of everybody who sends, and who sends waits. The index follows the timeline instead, at leisure
//! and in batches, and notes how far it came together with what it wrote, so it may be interrupted at
//! any moment. Whoever searches has the index brought up to the present first ([`index::catch_up`]),
//! which is little, and so finds also what was said a moment ago.
//!
//! The index only proposes. Whether a user may see an event, whether it was redacted or edited, and
//! whether the words are really there is decided on the event itself, before anything is counted or
//! left out.

pub mod document;

pub mod query;

pub mod index;

pub mod token;

mod candidates;

mod show;

pub mod find;

#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};

/// What stands for a word or a room's id in the index.
fn number(text: &str) -> i64 {
    let hash = Sha256::digest(text);
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(hash.iter()).for_each(|(byte, hashed)| *byte = *hashed);
    i64::from_be_bytes(bytes)
}
