//! The `log` and `telemetry` sections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::types::{ListenAddress, LogFormat};

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
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// Addresses that answer `GET /metrics` in the text format of Prometheus, to whoever reaches
    /// them: `address:port` or `unix:/path/of/socket`. None unless some are named.
    #[schemars(with = "Vec<String>")]
    pub(crate) listen: Vec<ListenAddress>,
}
