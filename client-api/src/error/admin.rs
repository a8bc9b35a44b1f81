//! What the engine refuses to administrators.

use starling_engine::admin::{tokens::TokenError, users::UserError};

use super::Error;

impl From<UserError> for Error {
    fn from(error: UserError) -> Self {
        match error {
            UserError::NotOurs => Self::invalid_param("The user is not of this server"),
            UserError::NotFound => Self::not_found("There is no such user"),
            UserError::Own => Self::invalid_param("You cannot do this to yourself"),
            UserError::Contradiction(reason) => Self::invalid_param(reason),
            UserError::Password(error) => error.into(),
            UserError::Register(error) => error.into(),
            UserError::Profile(error) => error.into(),
            UserError::Internal(cause) => cause.into(),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotFound => Self::not_found("There is no such registration token"),
            TokenError::Taken => Self::invalid_param("There is such a registration token already"),
            TokenError::Invalid(reason) => Self::invalid_param(reason),
            TokenError::Internal(cause) => cause.into(),
        }
    }
}
