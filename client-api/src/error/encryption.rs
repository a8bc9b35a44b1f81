//! What the engine's end-to-end encryption refuses.

use starling_engine::encryption::{send::SendError, shapes::ShapeError, upload::UploadError};

use super::Error;

impl From<ShapeError> for Error {
    fn from(error: ShapeError) -> Self {
        match error {
            ShapeError::Malformed(reason) => Self::bad_json(reason),
            ShapeError::NotYours => Self::invalid_param(error.to_string()),
            ShapeError::TooLarge => Self::too_large(error.to_string()),
        }
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::BadType | SendError::BadUser(_) => Self::invalid_param(error.to_string()),
            SendError::BadContent => Self::bad_json(error.to_string()),
            SendError::TooLarge => Self::too_large(error.to_string()),
            SendError::Internal(cause) => cause.into(),
        }
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Shape(error) => error.into(),
            UploadError::Exists(_) => Self::invalid_param(error.to_string()),
            UploadError::TooMany => Self::too_large(error.to_string()),
            UploadError::NoDevice => Self::not_found(error.to_string()),
            UploadError::Internal(cause) => cause.into(),
        }
    }
}
