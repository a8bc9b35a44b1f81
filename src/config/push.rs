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
    /// Whether push gateways may be at addresses in private networks (`http` addresses then too). Users
    /// name the gateways of their clients, so with this they can make the server send requests to whatever
    /// listens inside your network.
    pub(crate) allow_private_addresses: bool,
}
