//! Log lines to standard error: their level, which can change while the server runs, and their
//! format, which cannot.

use std::io;

use anyhow::Context as _;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::filter_fn, layer::SubscriberExt as _, registry::LookupSpan,
    reload, util::SubscriberInitExt as _,
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
///
/// Where spans are exported, `tracer` makes them, whatever the level of the log is.
pub(crate) fn start(config: &Log, tracer: Option<SdkTracer>) -> anyhow::Result<LogLevel> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    tracing_subscriber::registry()
        .with(lines(config.format).with_filter(filter))
        .with(tracer.map(spans))
        .try_init()
        .context("cannot start the log")?;
    Ok(LogLevel(handle))
}

fn lines(format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Readable => lines.with_ansi(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    }
}

/// The spans of Starling and of no library; without the lines that were logged in them, which may name people.
fn spans<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let is_ours = |it: &Metadata<'_>| {
        it.is_span() && *it.level() <= Level::INFO && it.target().starts_with("starling")
    };
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(filter_fn(is_ours).with_max_level_hint(LevelFilter::INFO))
}
