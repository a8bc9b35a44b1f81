//! What the engine refuses about presence.

use starling_engine::presence::GetError;

use super::Error;

impl From<GetError> for Error {
    fn from(error: GetError) -> Self {
        match error {
            GetError::NotShared => Self::forbidden("You share no room with this user"),
            GetError::Unknown => Self::not_found("Nothing is known of this user's presence"),
            GetError::Internal(cause) => cause.into(),
        }
    }
}
