//! The `log` and `telemetry` sections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::types::{self, ListenAddress, LogFormat};

/// The `log` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, and exceptions by module. Read again on SIGHUP.
    ///
    /// `info,starling::http=warn` leaves out the line for each request.
    pub(crate) level: String,

    /// Lines for people (`readable`) or for programs (`json`).
    pub(crate) format: LogFormat,

    /// Milliseconds from which on a statement of the database, or a transaction of the writer, is slow: it is
    /// logged, and counted in the metrics. 0: none is. Read again on SIGHUP.
    pub(crate) slow_query_ms: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Readable, slow_query_ms: 500 }
    }
}

impl Log {
    /// What is wrong, if anything is.
    pub(super) fn validate(&self) -> Result<(), String> {
        EnvFilter::try_new(&self.level)
            .map(drop)
            .map_err(|error| format!("`log.level` = {:?}: {error}", self.level))
    }
}

/// The `telemetry` section.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// Addresses that answer `GET /metrics` in the text format of Prometheus, to whoever reaches
    /// them: `address:port` or `unix:/path/of/socket`. None unless some are named.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Vec<ListenAddress>,

    /// The base address of an OpenTelemetry collector, such as `http://127.0.0.1:4318`, which is sent a span
    /// for each request, and for each request to another server, at `/v1/traces` (OTLP over HTTP,
    /// protobuf). Without one, none are made.
    #[serde(with = "types::empty_is_none")]
    #[schemars(with = "String")]
    pub(crate) otlp_endpoint: Option<String>,

    /// What this server is called in traces.
    pub(crate) service_name: String,

    /// How many of a hundred traces are sent. Of those that a trusted proxy began
    /// (`client.trusted_proxies`), it says by its `traceparent` which are.
    pub(crate) sample_percent: u8,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            otlp_endpoint: None,
            service_name: "starling".to_owned(),
            sample_percent: 100,
        }
    }
}

impl Telemetry {
    /// What is wrong, if anything is.
    pub(super) fn validate(&self) -> Result<(), String> {
        let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if let Some(endpoint) = &self.otlp_endpoint
            && !Url::parse(endpoint).is_ok_and(|url| is_web(&url) && url.query().is_none())
        {
            return Err(format!("`telemetry.otlp_endpoint` = {endpoint:?} is no base address"));
        }
        if self.sample_percent > 100 {
            return Err("`telemetry.sample_percent` is at most 100".to_owned());
        }
        Ok(())
    }
}
