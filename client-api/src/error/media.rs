//! Refusals about files.

use starling_engine::media::MediaError;

use super::Error;

impl From<MediaError> for Error {
    fn from(error: MediaError) -> Self {
        let message = error.to_string();
        match error {
            MediaError::NotFound => Self::not_found("There is no such file"),
            MediaError::NotYetUploaded => Self::not_yet_uploaded(message),
            MediaError::Taken => Self::cannot_overwrite_media(message),
            MediaError::NotYours | MediaError::OverQuota => Self::forbidden(message),
            MediaError::TooManyPromises => Self::limit_exceeded(PROMISES_RETRY),
            MediaError::TooLarge => Self::too_large(message),
            MediaError::NotAPicture => Self::unknown(message),
            MediaError::RemoteTooLarge => Self::remote_too_large(message),
            MediaError::Remote(_) => Self::remote_failed(message),
            MediaError::Store(cause) => Self::store_failed(cause),
            MediaError::BrokenOff(_) => Self::unknown(message),
            MediaError::Internal(error) => error.into(),
        }
    }
}

/// When a user may promise more, should none of the promises be kept before.
const PROMISES_RETRY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
