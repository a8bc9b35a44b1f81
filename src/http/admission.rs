//! Requests that are refused because there are more than can be answered.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use starling_engine::rng;

use crate::overload::Overload;

/// When to ask again, in milliseconds: at least so much, and less than so much more, lest all come back at once.
const AGAIN_AFTER: (u32, u32) = (1_000, 4_000);

/// Refuses a request when there is too much to do. Administrators are let through: they may have come to see
/// what it is.
pub(super) async fn admit(
    State(overload): State<Overload>,
    request: Request,
    next: Next,
) -> Response {
    if overload.refuses() && !is_for_admins(request.uri().path()) {
        return refusal();
    }
    next.run(request).await
}

fn is_for_admins(path: &str) -> bool {
    path.starts_with("/_synapse/admin/")
}

/// <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>
fn refusal() -> Response {
    let retry_after_ms = AGAIN_AFTER.0 + u32::from_le_bytes(rng::bytes()) % AGAIN_AFTER.1;
    let body = format!(
        r#"{{"errcode":"M_LIMIT_EXCEEDED","error":"The server has too much to do","retry_after_ms":{retry_after_ms}}}"#
    );
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let again = (header::RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1_000)));
    // A client in a browser could not read it without.
    let anybody = (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    (StatusCode::TOO_MANY_REQUESTS, [kind, again, anybody], body).into_response()
}
