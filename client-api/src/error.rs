//! Refusals of this API: the one place with its errcodes.
//!
//! A route says *what* is refused by one of the constructors below; the engine's error enums become
//! refusals in the files of this folder, one for each part of the engine.

use std::{borrow::Cow, fmt::Display, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use starling_engine::Internal;

mod accounts;
mod admin;
mod appservices;
pub(crate) mod encryption;
mod media;
mod parse;
mod presence;
mod push;
mod reading;
mod rooms;

/// When a client may ask again whose question the database could not answer.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A refusal: HTTP status, errcode, a sentence for people, and what some errcodes carry besides.
#[derive(Debug)]
pub(crate) struct Error {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Map<String, Value>,
}

impl Error {
    fn new(status: StatusCode, errcode: &str, message: impl Into<Cow<'static, str>>) -> Self {
        let mut body = Map::new();
        body.insert("errcode".into(), errcode.into());
        body.insert("error".into(), message.into().into_owned().into());
        Self { status, retry_after: None, body }
    }

    /// Adds a field to the body.
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.into(), value.into());
        self
    }

    /// A body without errcode: what user-interactive authentication still wants.
    pub(crate) fn authentication_wanted(body: Map<String, Value>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, retry_after: None, body }
    }

    /// The errcode and the sentence, for bodies that carry them inside.
    pub(crate) fn errcode_and_message(self) -> Map<String, Value> {
        self.body
    }

    /// 404: no such address.
    pub(crate) fn no_such_address() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "There is nothing at this address")
    }

    /// 404: the address exists, but is not in use on this server.
    pub(crate) fn not_in_use(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", message)
    }

    /// 405: the address has no such method.
    pub(crate) fn no_such_method() -> Self {
        let message = "This address does not know that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", message)
    }

    /// 405: what is written there has an address of its own.
    pub(crate) fn written_elsewhere(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_BAD_JSON", message)
    }

    /// 401: the request needs an access token and has none.
    pub(crate) fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "The access token is missing")
    }

    /// 401: the access token is not valid; after a soft log-out the client keeps its device.
    pub(crate) fn unknown_token(soft_logout: bool) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "The access token is not valid")
            .with("soft_logout", soft_logout)
    }

    /// 401: the account is locked.
    pub(crate) fn user_locked() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_USER_LOCKED", "This account has been locked")
            .with("soft_logout", true)
    }

    /// 403: the account may not do this while it is suspended.
    pub(crate) fn user_suspended() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_USER_SUSPENDED", "This account is suspended")
    }

    /// 403: guests may not do this.
    pub(crate) fn guest_access_forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", message)
    }

    /// 403: the account is no more.
    pub(crate) fn user_deactivated() -> Self {
        let message = "This account has been deactivated";
        Self::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", message)
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    /// 400: the user has annotated the event in the same way already.
    pub(crate) fn duplicate_annotation(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", message)
    }

    /// 504: other servers have to tell first, and have not done so in time.
    pub(crate) fn not_yet_known(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "M_UNKNOWN", message)
    }

    /// 404: what was asked for does not exist, or not for this user.
    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// 400: the body is not JSON.
    pub(crate) fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", message)
    }

    /// 400: JSON of a wrong shape.
    pub(crate) fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    /// 400: a required parameter is missing.
    pub(crate) fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", message)
    }

    /// 400: a parameter has a value that it cannot have.
    pub(crate) fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    /// 400: a connection of sliding sync has to begin anew.
    pub(crate) fn unknown_pos() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN_POS", "This connection is not known")
    }

    /// 403: another key backup is the newest.
    pub(crate) fn wrong_room_keys_version(current: String) -> Self {
        let message = "This is not the newest key backup";
        Self::new(StatusCode::FORBIDDEN, "M_WRONG_ROOM_KEYS_VERSION", message)
            .with("current_version", current)
    }

    /// 400: a signature is not right.
    pub(crate) fn invalid_signature(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message)
    }

    /// 400 for which the specification has no errcode.
    pub(crate) fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
    }

    /// 400: a user name outside the grammar.
    pub(crate) fn invalid_username(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_USERNAME", message)
    }

    /// 400: the user name is taken.
    pub(crate) fn user_in_use() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_USER_IN_USE", "This user name is taken")
    }

    /// 400: only an application service, or another one, may make or use this.
    pub(crate) fn exclusive(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_EXCLUSIVE", message)
    }

    /// 400: the user for whom an application service acts has no such device.
    pub(crate) fn unknown_device() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN_DEVICE", "The user has no such device")
    }

    /// 400: the room alias is taken.
    pub(crate) fn room_in_use() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_ROOM_IN_USE", "This room alias is taken")
    }

    /// 400: an alias does not name the room that it is to be an alias of.
    pub(crate) fn bad_alias(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_ALIAS", message)
    }

    /// 400: this server does not know the room's version.
    pub(crate) fn unsupported_room_version() -> Self {
        let message = "This server does not support the room's version";
        Self::new(StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION", message)
    }

    /// 400: the server of a user who is to be invited does not know the room's version.
    pub(crate) fn unsupported_there() -> Self {
        let message = "The user's server does not support the room's version";
        Self::new(StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION", message)
    }

    /// 400: a room cannot begin with the state that was asked for.
    pub(crate) fn invalid_room_state(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_ROOM_STATE", message)
    }

    /// 403: the user takes no invites.
    pub(crate) fn invite_blocked() -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_INVITE_BLOCKED", "This user does not take invites")
    }

    /// 403: the server's own invite is not to be refused.
    pub(crate) fn server_notices() -> Self {
        let message = "The server speaks to you in this room: you cannot refuse its invite";
        Self::new(StatusCode::FORBIDDEN, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", message)
    }

    /// 403: nothing is done here with third-party identifiers.
    pub(crate) fn threepid_denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_THREEPID_DENIED", message)
    }

    /// 400: the event because of which a thread is to be followed is not in it.
    pub(crate) fn not_in_thread() -> Self {
        let message = "The event is not in this thread";
        Self::new(StatusCode::BAD_REQUEST, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", message)
    }

    /// 409: the user left the thread after the event because of which it is to be followed.
    pub(crate) fn conflicting_unsubscription() -> Self {
        let errcode = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION";
        Self::new(StatusCode::CONFLICT, errcode, "You left this thread after that event")
    }

    /// 403: an event would wait for too long, in the words of those who know the proposal's old text too.
    pub(crate) fn max_delay_exceeded(longest_ms: i64) -> Self {
        Self::forbidden("The event would wait for too long")
            .with("org.matrix.msc4140.errcode", "M_MAX_DELAY_EXCEEDED")
            .with("org.matrix.msc4140.max_delay", longest_ms)
    }

    /// 403: too many events of a user wait.
    pub(crate) fn max_delayed_events_exceeded() -> Self {
        Self::forbidden("Too many of your events wait to be sent")
            .with("org.matrix.msc4140.errcode", "M_MAX_DELAYED_EVENTS_EXCEEDED")
    }

    /// 403: the identity server wants its terms agreed to first.
    pub(crate) fn terms_not_signed() -> Self {
        let message = "The identity server wants its terms to be agreed to";
        Self::new(StatusCode::FORBIDDEN, "M_TERMS_NOT_SIGNED", message)
    }

    /// 400: the third-party identifier belongs to an account already.
    pub(crate) fn threepid_in_use() -> Self {
        let message = "This address belongs to another account";
        Self::new(StatusCode::BAD_REQUEST, "M_THREEPID_IN_USE", message)
    }

    /// 400: the third-party identifier belongs to no account.
    pub(crate) fn threepid_not_found() -> Self {
        let message = "This address belongs to no account";
        Self::new(StatusCode::BAD_REQUEST, "M_THREEPID_NOT_FOUND", message)
    }

    /// 400: there are no third-party identifiers of that kind here.
    pub(crate) fn threepid_medium_not_supported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_THREEPID_MEDIUM_NOT_SUPPORTED", message)
    }

    /// 403: that an address is the user's own has not been shown.
    pub(crate) fn threepid_auth_failed() -> Self {
        let message = "The address is not validated";
        Self::new(StatusCode::FORBIDDEN, "M_THREEPID_AUTH_FAILED", message)
    }

    /// 400: the identity server is not one that this server works with.
    pub(crate) fn server_not_trusted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_SERVER_NOT_TRUSTED", message)
    }

    /// 400: the token of a letter is another one.
    pub(crate) fn token_incorrect() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_TOKEN_INCORRECT", "The token is wrong")
    }

    /// 400: there was such a session, or never.
    pub(crate) fn session_expired() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_SESSION_EXPIRED", "The session has expired")
    }

    /// 401: what should prove something does not.
    pub(crate) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNAUTHORIZED", message)
    }

    /// 401: the captcha is not solved.
    pub(crate) fn captcha_invalid() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_CAPTCHA_INVALID", "The captcha is not solved")
    }

    /// 400: the password does not meet the server's rules.
    pub(crate) fn weak_password(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_WEAK_PASSWORD", message)
    }

    /// 400: a profile grew beyond its limit.
    pub(crate) fn profile_too_large() -> Self {
        let message = "The profile would be larger than 64 KiB";
        Self::new(StatusCode::BAD_REQUEST, "M_PROFILE_TOO_LARGE", message)
    }

    /// 400: the name of a profile field is too long.
    pub(crate) fn key_too_large() -> Self {
        let message = "The field's name is longer than 255 bytes";
        Self::new(StatusCode::BAD_REQUEST, "M_KEY_TOO_LARGE", message)
    }

    /// 409: the alias names a room already.
    pub(crate) fn alias_taken() -> Self {
        Self::new(StatusCode::CONFLICT, "M_UNKNOWN", "The alias is taken")
    }

    /// 400: the room is of a version that this server does not support.
    pub(crate) fn incompatible_room_version(version: String) -> Self {
        let message = "The room's version is not supported";
        Self::new(StatusCode::BAD_REQUEST, "M_INCOMPATIBLE_ROOM_VERSION", message)
            .with("room_version", version)
    }

    /// 400: whether the user may join cannot be told here.
    pub(crate) fn unable_to_authorise_join() -> Self {
        let message = "Whether you may join cannot be told by this server";
        Self::new(StatusCode::BAD_REQUEST, "M_UNABLE_TO_AUTHORISE_JOIN", message)
    }

    /// 408: who should know did not answer.
    pub(crate) fn request_timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "M_UNKNOWN", message)
    }

    /// 400: the application service listens nowhere.
    pub(crate) fn url_not_set() -> Self {
        let message = "The application service has no address";
        Self::new(StatusCode::BAD_REQUEST, "M_URL_NOT_SET", message)
    }

    /// 502: the application service could not be reached.
    pub(crate) fn connection_failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "M_CONNECTION_FAILED", message)
    }

    /// 504: the application service took too long.
    pub(crate) fn connection_timeout() -> Self {
        let message = "The application service did not answer in time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "M_CONNECTION_TIMEOUT", message)
    }

    /// 502: the application service did not say that all is well. It alone is told what it said.
    pub(crate) fn bad_status(status: u16, body: String) -> Self {
        let message = "The application service answered with an error";
        Self::new(StatusCode::BAD_GATEWAY, "M_BAD_STATUS", message)
            .with("status", status)
            .with("body", body)
    }

    /// 413.
    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", message)
    }

    /// 416: the file has no such part.
    pub(crate) fn range_not_satisfiable(size: u64) -> Self {
        let message = format!("The file has {size} bytes");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "M_UNKNOWN", message)
    }

    /// 504: what was promised has not been uploaded yet.
    pub(crate) fn not_yet_uploaded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "M_NOT_YET_UPLOADED", message)
    }

    /// 409: the file is there already.
    pub(crate) fn cannot_overwrite_media(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "M_CANNOT_OVERWRITE_MEDIA", message)
    }

    /// 502: what another server has is too large to be passed on.
    pub(crate) fn remote_too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "M_TOO_LARGE", message)
    }

    /// 429, with the time after which it is worth trying again.
    pub(crate) fn limit_exceeded(retry_after: Duration) -> Self {
        let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "M_LIMIT_EXCEEDED",
            "Too many requests: try again later",
        )
        .with("retry_after_ms", ms);
        error.retry_after = Some(retry_after);
        error
    }

    /// 502: another server did not answer, or not with what the protocol asks for. Neither its
    /// status nor its errcode is passed on.
    pub(crate) fn remote_failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", message)
    }

    /// 503: the store of files failed. The cause goes to the log and not to the client.
    pub(crate) fn store_failed(cause: impl Display) -> Self {
        tracing::error!(error = %cause, "the store of files failed");
        let message = "The files of this server cannot be reached now: try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message)
    }

    /// 503: the database is away or has no room.
    fn away(cause: &Internal) -> Self {
        tracing::error!(error = %cause, "a request cannot be answered now");
        let message = "The database of this server cannot be reached now: try again later";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message);
        error.retry_after = Some(AGAIN_AFTER);
        error
    }

    /// 500. The cause goes to the log and not to the client.
    pub(crate) fn internal(cause: impl Display) -> Self {
        tracing::error!(error = %cause, "a request failed inside the server");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "Internal server error")
    }
}

impl From<Internal> for Error {
    fn from(cause: Internal) -> Self {
        if cause.is_passing() { Self::away(&cause) } else { Self::internal(cause) }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!(self.body).to_string();
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, content_type, body).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
