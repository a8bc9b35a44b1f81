//! The spans that have ended, on their way to the collector: a bounded number of them, so that a collector that is
//! slow or gone costs spans and nothing else.

use std::{sync::Arc, time::Duration};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter, SpanProcessor},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::Spans;

/// How many spans wait at most.
const MOST_WAITING: usize = 4096;

/// How many are sent together at most.
const MOST_TOGETHER: usize = 512;

/// How long it is waited for others to be sent with.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// Where spans are put when they end. Never waits.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: mpsc::Sender<SpanData>,
    spans: Arc<Spans>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.waiting.try_send(span).is_err() {
            self.spans.dropped.count();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// [`Sending::end`] sends what there is.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Who sends the spans.
pub(super) struct Sending {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Sending {
    /// Sends what there is, for `limit` at most; whether that was enough.
    pub(super) async fn end(self, limit: Duration) -> bool {
        self.stop.cancel();
        timeout(limit, self.task).await.is_ok()
    }
}

/// A queue, and the task that empties it.
pub(super) fn start<E: SpanExporter + 'static>(exporter: E, spans: Arc<Spans>) -> (Queue, Sending) {
    let (waiting, ended) = mpsc::channel(MOST_WAITING);
    let stop = CancellationToken::new();
    let task = tokio::spawn(send(exporter, ended, (spans.clone(), stop.clone())));
    (Queue { waiting, spans }, Sending { task, stop })
}

async fn send(
    exporter: impl SpanExporter,
    mut ended: mpsc::Receiver<SpanData>,
    (spans, stop): (Arc<Spans>, CancellationToken),
) {
    let mut works = true;
    loop {
        let batch = gather(&mut ended, &stop).await;
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        match exporter.export(batch).await {
            Ok(()) => {
                spans.sent.add(count);
                works = true;
            }
            Err(error) => {
                spans.failed.add(count);
                // Said once until it works again: the metrics say how many.
                if std::mem::replace(&mut works, false) {
                    tracing::warn!(%error, "the collector of traces does not take spans");
                }
            }
        }
    }
}

/// The next spans to be sent together; none when there will be no more.
async fn gather(ended: &mut mpsc::Receiver<SpanData>, stop: &CancellationToken) -> Vec<SpanData> {
    let mut batch = Vec::new();
    let gathered = async {
        if ended.recv_many(&mut batch, MOST_TOGETHER).await == 0 {
            return;
        }
        let more = async {
            while batch.len() < MOST_TOGETHER {
                let room = MOST_TOGETHER - batch.len();
                if ended.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        let _ = timeout(GATHERED_FOR, more).await;
    };
    if stop.run_until_cancelled(gathered).await.is_none() {
        ended.close();
        while let Some(room) = MOST_TOGETHER.checked_sub(batch.len()).filter(|room| *room > 0) {
            if ended.recv_many(&mut batch, room).await == 0 {
                break;
            }
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{error::OTelSdkError, trace::SdkTracerProvider};

    use super::*;

    /// A collector that notes how many spans it is sent at a time, and takes them or not.
    #[derive(Clone, Debug, Default)]
    struct Noting {
        batches: Arc<Mutex<Vec<usize>>>,
        fails: bool,
        never_answers: bool,
    }

    impl SpanExporter for Noting {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.batches.lock().unwrap().push(batch.len());
            if self.never_answers {
                std::future::pending::<()>().await;
            }
            match self.fails {
                true => Err(OTelSdkError::InternalFailure("it fails".to_owned())),
                false => Ok(()),
            }
        }
    }

    /// Has so many spans end, and stops; whether everything was sent in time.
    async fn run(exporter: Noting, count: usize) -> (Arc<Spans>, bool) {
        let spans = Arc::<Spans>::default();
        let (queue, sending) = start(exporter, spans.clone());
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        for _ in 0..count {
            drop(provider.tracer("test").start("span"));
        }
        let ended = sending.end(Duration::from_millis(500)).await;
        (spans, ended)
    }

    #[tokio::test]
    async fn what_ended_before_the_end_is_sent() {
        let noting = Noting::default();
        let (spans, ended) = run(noting.clone(), 1000).await;
        assert!(ended);
        assert_eq!((spans.sent.get(), spans.dropped.get()), (1000, 0));
        assert_eq!(*noting.batches.lock().unwrap(), [512, 488]);
    }

    #[tokio::test]
    async fn what_a_collector_does_not_take_is_lost_and_counted() {
        let (spans, ended) = run(Noting { fails: true, ..Noting::default() }, 10).await;
        assert!(ended);
        assert_eq!((spans.sent.get(), spans.failed.get()), (0, 10));
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_holds_up_nothing() {
        let exporter = Noting { never_answers: true, ..Noting::default() };
        let (spans, ended) = run(exporter, MOST_WAITING + 100).await;
        assert!(!ended, "the time was limited");
        assert_eq!(spans.dropped.get(), 100);
    }
}
