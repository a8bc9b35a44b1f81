//! What the engine refuses about push rules and pushers.

use starling_engine::{push::change::ChangeError, pushers::set::SetError};

use super::Error;

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::not_found("There is no such push rule"),
            ChangeError::BadName(reason) => Self::invalid_param(reason),
            error @ ChangeError::BadPlace(_) => Self::unknown(error.to_string()),
            ChangeError::TooMuch => Self::too_large("Too many or too large push rules"),
            ChangeError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SetError> for Error {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Missing(_) => Self::missing_param(error.to_string()),
            SetError::Invalid(_) => Self::invalid_param(error.to_string()),
            SetError::NotOwned => Self::threepid_not_found(),
            SetError::TooMany => Self::forbidden(error.to_string()),
            SetError::Internal(cause) => cause.into(),
        }
    }
}
