//! Bodies of requests that come too slowly, or not at all.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
};
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

/// Bytes a second that a body has to have on the average: less than any network, and more than somebody
/// sends who only wants to hold the connection.
const SLOWEST: u64 = 1_024;

/// How long a body may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(pub(super) Duration);

impl Patience {
    /// The request with a body that is waited for as long as it comes, and broken off when it does not.
    pub(super) fn limit(self, request: Request) -> Request {
        request.map(|body| if body.is_end_stream() { body } else { hurried(body, self.0) })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
struct TooSlow;

/// The time begins when the body is first asked for: what a handler does before is not the client's fault.
fn hurried(body: Body, patience: Duration) -> Body {
    let begin = (body.into_data_stream(), None, 0_u64);
    let chunks = stream::unfold(Some(begin), move |state| async move {
        let (mut stream, begun, received) = state?;
        let begun = begun.unwrap_or_else(Instant::now);
        let until = begun + patience + Duration::from_secs(received / SLOWEST);
        match timeout_at(until, stream.next()).await {
            Ok(Some(Ok(chunk))) => {
                let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                let received = received.saturating_add(length);
                Some((Ok(chunk), Some((stream, Some(begun), received))))
            }
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(axum::Error::new(TooSlow)), None)),
        }
    });
    Body::from_stream(chunks)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Bytes, to_bytes};

    use super::*;

    async fn read(body: Body, patience: Duration) -> Result<Bytes, axum::Error> {
        to_bytes(hurried(body, patience), usize::MAX).await
    }

    #[tokio::test]
    async fn a_body_is_waited_for_as_long_as_it_comes() {
        let minute = Duration::from_secs(60);
        assert_eq!(read(Body::from("hello"), minute).await.unwrap(), "hello");
        assert_eq!(read(Body::empty(), minute).await.unwrap(), "");
        let pieces = stream::iter(["a", "b"].map(Ok::<_, Infallible>));
        assert_eq!(read(Body::from_stream(pieces), minute).await.unwrap(), "ab");
        let begun = stream::iter(["begun"].map(Ok::<_, Infallible>)).chain(stream::pending());
        let error = read(Body::from_stream(begun), Duration::from_millis(1)).await.unwrap_err();
        assert!(error.to_string().contains("too slowly"), "{error}");
    }
}
