//! The `profiles` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_engine::config as engine;

/// The `profiles` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Profiles {
    /// Who may look up the name, the avatar and the like of a user by way of this server: anybody
    /// (`everyone`), who has an account here (`users`), or who shares a room with that user (`sharing`).
    pub(crate) visible_to: Audience,

    /// Whether other servers are told what the profiles of this server's users say. Off, who is about to
    /// invite one of them from elsewhere sees no name; rooms show names and avatars all the same.
    pub(crate) shown_to_servers: bool,
}

/// Who may look at a profile.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Audience {
    /// Anybody.
    Everyone,
    /// Who has an account here.
    Users,
    /// Who shares a room.
    Sharing,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { visible_to: Audience::Everyone, shown_to_servers: true }
    }
}

impl Profiles {
    /// The same, as the engine has it.
    pub(crate) fn settings(&self) -> engine::Profiles {
        let visible_to = match self.visible_to {
            Audience::Everyone => engine::Audience::Everyone,
            Audience::Users => engine::Audience::Users,
            Audience::Sharing => engine::Audience::Sharing,
        };
        engine::Profiles { visible_to, to_servers: self.shown_to_servers }
    }
}
