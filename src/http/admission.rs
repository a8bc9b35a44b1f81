//! Requests that are refused because there are more than can be answered.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, header};
use starling_engine::{measures::Entered, rng};

use crate::overload::Overload;

/// When to ask again, in milliseconds: at least so much, and less than so much more, lest all come back at once.
const AGAIN_AFTER: (u32, u32) = (1_000, 4_000);

/// Refuses a request when there is too much to do. Administrators are let through: they may have come to see
/// what it is; and so is the question of a browser whether it may ask, which costs no more than a refusal.
pub(super) async fn admit(
    State(overload): State<Overload>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_exempt(&request) {
        let Some(place) = overload.admit() else { return refusal() };
        request.extensions_mut().insert(AtWork(Arc::new(place)));
    }
    next.run(request).await
}

/// The place of a request among those that are worked on. Whoever answers keeps it until that is done.
#[derive(Clone, Debug)]
pub(super) struct AtWork(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Arc<Entered>,
);

fn is_exempt(request: &Request) -> bool {
    request.method() == Method::OPTIONS || request.uri().path().starts_with("/_synapse/admin/")
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

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::{Body, to_bytes},
        middleware,
        routing::any,
    };
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(overload: &Overload, method: Method, path: &str) -> Response {
        let layer = middleware::from_fn_with_state(overload.clone(), admit);
        let router = Router::new().fallback(any(|| async { "done" })).layer(layer);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn who_is_refused_knows_why_and_when_to_ask_again() {
        const SYNC: &str = "/_matrix/client/v3/sync";
        assert_eq!(ask(&Overload::default(), Method::GET, SYNC).await.status(), StatusCode::OK);
        let overload = Overload::refusing_all();
        let refused = ask(&overload, Method::GET, SYNC).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["access-control-allow-origin"], "*");
        let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        let body = to_bytes(refused.into_body(), 1_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED");
        let ms = body["retry_after_ms"].as_u64().unwrap();
        assert!((1_000..5_000).contains(&ms) && seconds == ms.div_ceil(1_000), "{ms} {seconds}");
        for (method, path) in [(Method::OPTIONS, SYNC), (Method::GET, "/_synapse/admin/v1/rooms")] {
            assert_eq!(ask(&overload, method, path).await.status(), StatusCode::OK);
        }
    }
}
