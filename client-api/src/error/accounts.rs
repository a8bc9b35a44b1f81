//! What the engine's accounts refuse.

use starling_engine::accounts::tokens::AuthenticateError;

use super::Error;

impl From<AuthenticateError> for Error {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Unknown => Self::unknown_token(false),
            AuthenticateError::Expired => Self::unknown_token(true),
            AuthenticateError::Internal(cause) => cause.into(),
        }
    }
}
