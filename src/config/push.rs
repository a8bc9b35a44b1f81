//! The `push` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `push` section.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Push {
    /// Whether messages in a thread notify those who follow it (MSC4306), and by default nobody else but
    /// whom they mention.
    ///
    /// Users of clients by which one cannot follow threads hear of mentions only then.
    pub(crate) follow_threads: bool,
}
