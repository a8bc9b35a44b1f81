//! The `user_directory` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `user_directory` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UserDirectory {
    /// Whether users can be found by their names. They find those who share a room with them, and those
    /// who are in a room that anybody may join or read.
    pub(crate) enabled: bool,

    /// Whether every user of this server can be found by every other one.
    pub(crate) search_all_users: bool,
}

impl Default for UserDirectory {
    fn default() -> Self {
        Self { enabled: true, search_all_users: false }
    }
}
