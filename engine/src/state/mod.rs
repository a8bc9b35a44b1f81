//! Snapshots of a room's state. Pure but for [`store`]: nodes come from a source that the caller
//! provides, and [`store`] is the one over the database.

pub mod node;

pub mod trie;

pub mod change;

pub mod diff;

pub mod store;

pub use diff::Changed;
pub use node::Node;
pub use store::Snapshots;
pub use trie::{EMPTY_ROOT, NodeSource, Trie};

/// Where a state event stands in a room's state: its type and state key.
pub type StateKey = (ruma::events::StateEventType, String);

#[cfg(test)]
mod tests;
