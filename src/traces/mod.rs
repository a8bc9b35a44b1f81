//! Spans to an OpenTelemetry collector: OTLP over HTTP. When no collector is set, there is nothing of this in the
//! way of a request.

mod parent;
mod queue;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, SpanExporter as _},
};
use starling_engine::measures::Counter;

use self::queue::Sending;
use crate::config::Telemetry;

pub(crate) use self::parent::parent;

/// How long the collector has to take some spans, attempts to send them again included.
const EXPORT_LIMIT: Duration = Duration::from_secs(10);

/// What became of spans that ended.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// The collector took them.
    pub(crate) sent: Counter,
    /// It did not.
    pub(crate) failed: Counter,
    /// There was no room for them, as it took none for a while.
    pub(crate) dropped: Counter,
}

/// Where spans go.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    sending: Sending,
}

impl Traces {
    /// Begins to send spans, if a collector is set. Needs the runtime.
    pub(crate) fn start(config: &Telemetry, spans: &Arc<Spans>) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let client = reqwest::Client::builder()
            .timeout(EXPORT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_LIMIT)
            .build()
            .context("`telemetry.otlp_endpoint`")?;
        let resource = Resource::builder()
            .with_service_name(config.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let (queue, sending) = queue::start(exporter, spans.clone());
        let of_new = Sampler::TraceIdRatioBased(f64::from(config.sample_percent) / 100.0);
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(Sampler::ParentBased(Box::new(of_new)))
            .with_span_processor(queue)
            .build();
        Ok(Some(Self { provider, sending }))
    }

    /// What makes spans.
    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("starling")
    }

    /// Sends what there is, for `limit` at most.
    pub(crate) async fn end(self, limit: Duration) {
        if !self.sending.end(limit).await {
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }
}
