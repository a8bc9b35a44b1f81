//! What the engine's end-to-end encryption refuses.

use serde_json::{Map, Value};
use starling_engine::backups::BackupError;
use starling_engine::encryption::{
    dehydrated::{MessagesError, PutError},
    send::SendError,
    shapes::ShapeError,
    signatures::{Failure, SignError},
    signing::SigningError,
    upload::UploadError,
};

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

impl From<SigningError> for Error {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::Shape(error) => error.into(),
            SigningError::NoMaster => Self::missing_param(error.to_string()),
            SigningError::NotSigned(_) => Self::invalid_signature(error.to_string()),
            SigningError::InUse | SigningError::UsedUp | SigningError::Changed => {
                Self::forbidden(error.to_string())
            }
            SigningError::Internal(cause) => cause.into(),
        }
    }
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::NotFound => Self::not_found(message),
            BackupError::WrongVersion { current } => Self::wrong_room_keys_version(current),
            BackupError::Fixed(_) => Self::invalid_param(message),
            BackupError::Malformed(_) => Self::bad_json(message),
            BackupError::TooLarge => Self::too_large(message),
            BackupError::Internal(cause) => cause.into(),
        }
    }
}

impl From<PutError> for Error {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Malformed(_) | PutError::InUse => Self::invalid_param(error.to_string()),
            PutError::Keys(error) => error.into(),
            PutError::Internal(cause) => cause.into(),
        }
    }
}

impl From<MessagesError> for Error {
    fn from(error: MessagesError) -> Self {
        let message = error.to_string();
        match error {
            MessagesError::NotFound => Self::not_found(message),
            MessagesError::OtherDevice => Self::forbidden(message),
            MessagesError::BadToken => Self::invalid_param(message),
            MessagesError::Internal(cause) => cause.into(),
        }
    }
}

impl From<SignError> for Error {
    fn from(error: SignError) -> Self {
        match error {
            SignError::TooMany => Self::too_large(error.to_string()),
            SignError::Internal(cause) => cause.into(),
        }
    }
}

/// What is wrong with one signature of several.
pub(crate) fn failure(failure: &Failure) -> Map<String, Value> {
    let message = failure.to_string();
    match failure {
        Failure::NotFound => Error::not_found(message),
        Failure::Malformed(_) => Error::bad_json(message),
        Failure::Mismatch | Failure::NotSigned => Error::invalid_signature(message),
    }
    .errcode_and_message()
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
