//! What becomes of asking application services.

use starling_engine::appservices::{ask::AskServiceError, ping::PingError};

use super::Error;

impl From<AskServiceError> for Error {
    fn from(error: AskServiceError) -> Self {
        match error {
            AskServiceError::NoUrl => Self::url_not_set(),
            AskServiceError::TimedOut => Self::connection_timeout(),
            AskServiceError::Failed(_) => Self::connection_failed(error.to_string()),
        }
    }
}

impl From<PingError> for Error {
    fn from(error: PingError) -> Self {
        match error {
            PingError::NoAnswer(error) => error.into(),
            PingError::BadStatus { status, body } => Self::bad_status(status, body),
        }
    }
}
