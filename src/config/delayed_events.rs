//! The `delayed_events` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `delayed_events` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DelayedEvents {
    /// Whether clients may have events sent later (MSC4140): what ends a user's part in a call when their
    /// client is gone, and messages at a time of their choice.
    pub(crate) enabled: bool,

    /// How long an event waits at most, in seconds.
    pub(crate) longest_seconds: u32,

    /// How many events of one user wait at most.
    pub(crate) most_per_user: u32,
}

impl Default for DelayedEvents {
    fn default() -> Self {
        Self { enabled: true, longest_seconds: 24 * 60 * 60, most_per_user: 100 }
    }
}
