//! Requests whose end others may see elsewhere: what follows them is not listened to.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

const REFUSAL: &str = r#"{"errcode":"M_UNKNOWN","error":"There is one transfer coding: chunked"}"#;

/// Refuses a request that names transfer codings other than `chunked` once, and closes its connection.
/// Those that name a length as well, or none that makes sense, are refused where HTTP is read.
///
/// <https://www.rfc-editor.org/rfc/rfc9112#section-6.1>
pub(super) async fn refuse_doubtful(request: Request, next: Next) -> Response {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_clear = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if is_clear {
        return next.run(request).await;
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let close = (header::CONNECTION, HeaderValue::from_static("close"));
    (StatusCode::BAD_REQUEST, [kind, close], REFUSAL).into_response()
}
