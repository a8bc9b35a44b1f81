//! Requests that are not what their endpoint takes.

use ruma::api::error::{DeserializationError, FromHttpRequestError};

use super::Error;

impl From<FromHttpRequestError> for Error {
    fn from(error: FromHttpRequestError) -> Self {
        match error {
            FromHttpRequestError::MethodMismatch { .. } => Self::no_such_method(),
            FromHttpRequestError::Deserialization(error) => deserialization(&error),
            _ => Self::invalid_param("The request is malformed"),
        }
    }
}

fn deserialization(error: &DeserializationError) -> Error {
    match error {
        DeserializationError::Json(error) => json(error),
        DeserializationError::Query(error) => Error::parameter(error.to_string()),
        DeserializationError::Utf8(_) => Error::not_json("The body is not UTF-8"),
        other => Error::invalid_param(other.to_string()),
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        json(&error)
    }
}

fn json(error: &serde_json::Error) -> Error {
    let message = error.to_string();
    if !error.is_data() {
        Error::not_json(message)
    } else if message.starts_with("missing field") {
        Error::missing_param(message)
    } else {
        Error::bad_json(message)
    }
}

impl Error {
    /// A query that is not what the endpoint takes.
    pub(crate) fn parameter(message: String) -> Self {
        if message.starts_with("missing field") {
            Self::missing_param(message)
        } else {
            Self::invalid_param(message)
        }
    }
}
