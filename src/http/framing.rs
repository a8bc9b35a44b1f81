//! Requests whose end others may see elsewhere: what follows them is not listened to.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};

const REFUSAL: &str = r#"{"errcode":"M_UNKNOWN","error":"There is one transfer coding: chunked"}"#;

/// The refusal of a request that names transfer codings other than `chunked` once, which closes its connection.
/// Those that name a length as well, or none that makes sense, are refused where HTTP is read.
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-6.1>
pub(super) fn refuse_doubtful(request: &Request) -> Option<Response> {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_clear = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if is_clear {
        return None;
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let close = (header::CONNECTION, HeaderValue::from_static("close"));
    Some((StatusCode::BAD_REQUEST, [kind, close], REFUSAL).into_response())
}
