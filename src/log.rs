//! Log lines to standard error: their level, which can change while the server runs, and their
//! format, which cannot.

use std::io;

use anyhow::Context as _;
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Changes the level of the running log.
pub(crate) struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Sets the level, written as in the configuration.
    pub(crate) fn set(&self, level: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// The lines of a level. Libraries that tell each step at `info` are heard from `warn` on, unless
/// the level names them.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(format!("ruma_state_res=warn,sqlx=warn,{level}"))?)
}

/// Starts the log. Once for a process.
pub(crate) fn start(config: &Log) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        LogFormat::Readable => registry
            .with(tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false))
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false)
                    .with_writer(io::stderr),
            )
            .try_init(),
    }
    .context("cannot start the log")?;
    Ok(LogLevel(handle))
}
