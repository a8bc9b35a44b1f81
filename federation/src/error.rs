//! What the server API answers when it refuses: the only place of this door that names errcodes.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#errors>

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use ruma::api::error::{DeserializationError, FromHttpRequestError};
use serde_json::{Map, Value};
use starling_engine::{
    Internal,
    media::MediaError,
    rooms::serve::{ReadError, submit::SubmitError, template::TemplateError},
};

use crate::door::Json;

/// A refusal: status, errcode and a sentence for the peer's log.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    errcode: &'static str,
    message: String,
    more: Map<String, Value>,
}

/// Refusals by their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No such path.
    UnknownPath,
    /// The path does not take this method.
    UnknownMethod,
    /// The request is not signed by whom it says.
    Unauthorized,
    /// The request shows no token.
    MissingToken,
    /// The token that the request shows is nobody's (any more).
    UnknownToken,
    /// The asking server or its user may not do or see this.
    Forbidden,
    /// There is no such thing, or the asking server may not know that there is.
    NotFound,
    /// The invited user does not want invites.
    InviteBlocked,
    /// The body is not JSON.
    NotJson,
    /// The body is JSON of another shape.
    BadJson,
    /// A parameter of path, query or body cannot be so.
    InvalidParam,
    /// A parameter is missing.
    MissingParam,
    /// The body is too large.
    TooLarge,
    /// One of the two servers does not know the room's version.
    IncompatibleRoomVersion,
    /// We cannot tell whether a user may join a restricted room.
    UnableToAuthoriseJoin,
    /// We can tell, but have nobody who may let the user in.
    UnableToGrantJoin,
    /// Too many requests of this server are being answered.
    LimitExceeded,
    /// What was promised has not been uploaded yet.
    NotYetUploaded,
    /// No picture can be made of it.
    NotAPicture,
    /// Something of ours is away for a while.
    Unavailable,
    /// Something of ours failed.
    Unknown,
}

impl Kind {
    fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "M_UNRECOGNIZED"),
            Self::UnknownMethod => (StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED"),
            Self::MissingToken => (StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN"),
            Self::UnknownToken => (StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "M_FORBIDDEN"),
            Self::NotFound => (StatusCode::NOT_FOUND, "M_NOT_FOUND"),
            Self::InviteBlocked => (StatusCode::FORBIDDEN, "M_INVITE_BLOCKED"),
            Self::NotJson => (StatusCode::BAD_REQUEST, "M_NOT_JSON"),
            Self::BadJson => (StatusCode::BAD_REQUEST, "M_BAD_JSON"),
            Self::InvalidParam => (StatusCode::BAD_REQUEST, "M_INVALID_PARAM"),
            Self::MissingParam => (StatusCode::BAD_REQUEST, "M_MISSING_PARAM"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE"),
            Self::IncompatibleRoomVersion => {
                (StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION")
            }
            Self::UnableToAuthoriseJoin => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_AUTHORISE_JOIN"),
            Self::UnableToGrantJoin => (StatusCode::BAD_REQUEST, "M_UNABLE_TO_GRANT_JOIN"),
            Self::LimitExceeded => (StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED"),
            Self::NotYetUploaded => (StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED"),
            Self::NotAPicture => (StatusCode::BAD_REQUEST, "M_UNKNOWN"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN"),
            Self::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN"),
        }
    }
}

impl Error {
    /// A refusal with a sentence about it.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (status, errcode) = kind.answer();
        Self { status, errcode, message: message.into(), more: Map::new() }
    }

    /// Something of ours failed. The reason is for our log, not for the peer.
    #[must_use]
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a request of another server failed");
        Self::new(Kind::Unknown, "Internal error")
    }

    /// The engine failed, which may be over when the peer tries again.
    #[must_use]
    pub fn failed(cause: &Internal) -> Self {
        if cause.is_passing() { Self::away(cause) } else { Self::internal(cause) }
    }

    /// The database is away or has no room.
    #[must_use]
    pub fn away(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request of another server cannot be answered now");
        Self::new(Kind::Unavailable, "The database of this server cannot be reached now")
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("errcode".to_owned(), self.errcode.into());
        body.insert("error".to_owned(), self.message.into());
        (self.status, Json(body)).into_response()
    }
}

impl From<FromHttpRequestError> for Error {
    fn from(error: FromHttpRequestError) -> Self {
        let FromHttpRequestError::Deserialization(error) = error else {
            return Self::new(Kind::UnknownMethod, "Unrecognized method");
        };
        let kind = match &error {
            DeserializationError::Utf8(_) => Kind::NotJson,
            DeserializationError::Json(error) => of_json(error),
            DeserializationError::Query(error) if is_missing(&error.to_string()) => {
                Kind::MissingParam
            }
            _ => Kind::InvalidParam,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<MediaError> for Error {
    fn from(error: MediaError) -> Self {
        let kind = match &error {
            MediaError::Internal(error) => return Self::failed(error),
            MediaError::Store(cause) => {
                tracing::error!(error = %cause, "the store of files failed");
                let message = "The files of this server cannot be reached now";
                return Self::new(Kind::Unavailable, message);
            }
            MediaError::NotYetUploaded => Kind::NotYetUploaded,
            MediaError::NotAPicture => Kind::NotAPicture,
            MediaError::TooLarge => Kind::TooLarge,
            _ => Kind::NotFound,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::new(Kind::NotFound, "Not found"),
            ReadError::Forbidden(reason) => Self::new(Kind::Forbidden, reason),
            ReadError::Internal(error) => Self::failed(&error),
        }
    }
}

impl From<TemplateError> for Error {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::NotFound => Self::new(Kind::NotFound, error.to_string()),
            TemplateError::Forbidden(reason) => Self::new(Kind::Forbidden, reason),
            TemplateError::Incompatible(ref version) => {
                Self::new(Kind::IncompatibleRoomVersion, error.to_string())
                    .with("room_version", version.as_str())
            }
            TemplateError::CannotTell => Self::new(Kind::UnableToAuthoriseJoin, error.to_string()),
            TemplateError::NobodyMay => Self::new(Kind::UnableToGrantJoin, error.to_string()),
            TemplateError::Internal(error) => Self::failed(&error),
        }
    }
}

impl From<SubmitError> for Error {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NotFound => Self::new(Kind::NotFound, error.to_string()),
            SubmitError::Invalid(reason) => Self::new(Kind::InvalidParam, reason),
            SubmitError::Forbidden(reason) => Self::new(Kind::Forbidden, reason),
            SubmitError::CannotTell => Self::new(Kind::UnableToAuthoriseJoin, error.to_string()),
            SubmitError::NobodyMay => Self::new(Kind::UnableToGrantJoin, error.to_string()),
            SubmitError::Internal(error) => Self::failed(&error),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(of_json(&error), error.to_string())
    }
}

fn of_json(error: &serde_json::Error) -> Kind {
    match error.is_data() {
        true if is_missing(&error.to_string()) => Kind::MissingParam,
        true => Kind::BadJson,
        false => Kind::NotJson,
    }
}

fn is_missing(message: &str) -> bool {
    message.starts_with("missing field")
}
