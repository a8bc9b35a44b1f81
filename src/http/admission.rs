//! Requests that are refused because there are more than can be answered.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use futures_util::future::Either;
use http::{HeaderValue, Method, Request, StatusCode, header};
use starling_engine::{measures::Entered, rng};
use tower::Service;

use crate::overload::Overload;

/// When to ask again, in milliseconds: at least so much, and less than so much more, lest all come back at once.
const AGAIN_AFTER: (u32, u32) = (1_000, 4_000);

/// What a listener answers with, behind the bound. It stands before the router, not around its routes: what is
/// refused costs no look for a route, no task, no line in the log.
///
/// Administrators are let through: they may have come to see what it is; so is whoever asks whether the server
/// is well, and the question of a browser whether it may ask, which costs no more than a refusal.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    router: Router,
    overload: Overload,
}

impl Admission {
    pub(super) fn new(router: Router, overload: Overload) -> Self {
        Self { router, overload }
    }
}

impl<B> Service<Request<B>> for Admission
where
    Router: Service<Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future =
        Either<Ready<Result<Response, Infallible>>, <Router as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !is_exempt(request.method(), request.uri().path()) {
            let Some(place) = self.overload.admit() else {
                return Either::Left(ready(Ok(refusal())));
            };
            request.extensions_mut().insert(AtWork(Arc::new(place)));
        }
        Either::Right(self.router.call(request))
    }
}

/// The place of a request among those that are worked on. Whoever answers keeps it until that is done.
#[derive(Clone, Debug)]
pub(super) struct AtWork(
    #[expect(dead_code, reason = "it is given back when it is dropped")] Arc<Entered>,
);

fn is_exempt(method: &Method, path: &str) -> bool {
    method == Method::OPTIONS
        || path.starts_with("/_synapse/admin/")
        || path.starts_with("/health/")
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
        body::{Body, to_bytes},
        routing::any,
    };
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(overload: &Overload, method: Method, path: &str) -> Response {
        let router = Router::new().fallback(any(|| async { "done" }));
        let admission = Admission::new(router, overload.clone());
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        admission.oneshot(request).await.unwrap()
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
        for (method, path) in [
            (Method::OPTIONS, SYNC),
            (Method::GET, "/_synapse/admin/v1/rooms"),
            (Method::GET, "/health/ready"),
        ] {
            assert_eq!(ask(&overload, method, path).await.status(), StatusCode::OK);
        }
    }
}
