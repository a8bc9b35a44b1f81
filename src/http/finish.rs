//! What a request began is brought to its end, also when whoever asked goes away.

use std::time::Duration;

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use tokio_util::task::TaskTracker;

use super::admission::AtWork;

/// The requests that change something, each in a task of its own.
///
/// A connection that closes takes its requests with it, at whatever point they wait. Between two
/// commits of one request, or between another server's answer and our commit, that would leave half
/// of what was asked for: a join that only the other server knows of.
#[derive(Clone, Default)]
pub(crate) struct Changes(TaskTracker);

impl Changes {
    /// Waits until all of them have ended, for `limit` at most.
    pub(crate) async fn end(self, limit: Duration) {
        self.0.close();
        if tokio::time::timeout(limit, self.0.wait()).await.is_err() {
            tracing::warn!(requests = self.0.len(), "requests did not end in time");
        }
    }

    /// Runs the request to its end. One that only reads ends with its connection: nobody wants the
    /// answer of a long poll whose client is gone.
    pub(super) async fn finish<W>(
        &self,
        mut request: Request,
        work: impl FnOnce(Request) -> W,
    ) -> Response
    where
        W: Future<Output = Response> + Send + 'static,
    {
        let is_safe = request.method().is_safe();
        let at_work = request.extensions_mut().remove::<AtWork>();
        let work = work(request);
        let work = async move {
            let answer = work.await;
            drop(at_work);
            answer
        };
        if is_safe {
            return work.await;
        }
        // The doors catch the panics of their routes, so a task breaks only when the runtime ends.
        let answer = self.0.spawn(work).await;
        answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{
        Router,
        body::Body,
        middleware::{self, Next},
        routing::any,
    };
    use futures_util::FutureExt as _;
    use http::Method;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::{super::admission::Admission, *};
    use crate::overload::Overload;

    #[tokio::test]
    async fn a_change_whose_client_is_gone_is_worked_on_until_it_is_done() {
        for (method, at_work) in [(Method::PUT, 1), (Method::GET, 0)] {
            let (changes, overload) = (Changes::default(), Overload::default());
            let (wake, woken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (began, goes_on) = (wake.clone(), woken.clone());
            let answer = any(move || async move {
                began.notify_one();
                goes_on.notified().await;
            });
            let to_its_end = changes.clone();
            let finish = middleware::from_fn(move |request, next: Next| {
                let changes = to_its_end.clone();
                async move { changes.finish(request, |request| next.run(request)).await }
            });
            let router = Router::new().fallback(answer).layer(finish);
            let request = Request::builder().method(method.clone()).body(Body::empty()).unwrap();
            let admission = Admission::new(router, overload.clone());
            let mut asking = Box::pin(admission.oneshot(request));
            assert!((&mut asking).now_or_never().is_none());
            wake.notified().await;
            assert_eq!(overload.at_work(), 1, "{method}");
            drop(asking);
            assert_eq!(overload.at_work(), at_work, "{method}");
            woken.notify_one();
            changes.end(Duration::from_secs(10)).await;
            assert_eq!(overload.at_work(), 0, "{method}");
        }
    }
}
