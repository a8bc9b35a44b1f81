//! The push rules of a user.

use ruma::{UserId, push::Ruleset};

/// The rules of a user: those that the specification predefines.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules>
#[must_use]
pub fn of_user(user: &UserId) -> Ruleset {
    Ruleset::server_default(user)
}
