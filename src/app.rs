//! The assembly: what starts, in which order, and how it stops.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use rustix::process::{Resource, getrlimit, setrlimit};
use starling_engine::{Engine, accounts::admin::first_registration_token, admin::tasks};
use starling_storage::Storage;
use tokio::runtime::{Builder, Runtime};

use crate::{
    admin::{self, Order},
    cli::{self, Source},
    config::Config,
    database, doctor,
    doors::Doors,
    engine,
    http::{Around, Changes},
    listeners::Listeners,
    log::{self, LogLevel},
    memory,
    metrics::Traffic,
    overload::Overload,
    signals::{Request, Signals},
    tls::Certificate,
    traces::Traces,
    workers::Workers,
};

/// How long requests that are being answered may hold up an exit.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long workers, and requests whose clients are gone, may take to end what they are at.
const WORKERS_LIMIT: Duration = Duration::from_secs(2);

/// How long the collector of traces may take for the last spans.
const TRACES_LIMIT: Duration = Duration::from_secs(2);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the server until a signal stops it.
pub(crate) fn run(source: Source) -> anyhow::Result<()> {
    let config = source.load()?;
    install_tls_provider()?;
    runtime()?.block_on(async {
        let traffic = Traffic::default();
        let traces = Traces::start(&config.telemetry, traffic.spans())?;
        let level = log::start(&config.log, traces.as_ref().map(Traces::tracer))?;
        raise_file_limit();
        serve(source, memory::fit(config), (level, traffic)).await?;
        if let Some(traces) = traces {
            traces.end(TRACES_LIMIT).await;
        }
        tracing::info!("stopped");
        Ok(())
    })
}

/// What the server runs on. A request that waited for the database goes on from the queue that all threads share; a
/// new one stands in a thread's own. The shorter the turns are, the more seldom Tokio looks at the shared queue, so that
/// in a crowd what was let in waits behind what will be refused. Here every other turn is for the shared queue.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().global_queue_interval(2).build()
}

/// Has an order carried out by the running server, or instead of one.
pub(crate) fn order(config: &Config, order: Order) -> anyhow::Result<String> {
    beside(config, admin::give(config, order))
}

/// Does work beside the server, on what it has stored.
pub(crate) fn beside(
    config: &Config,
    work: impl Future<Output = anyhow::Result<String>>,
) -> anyhow::Result<String> {
    install_tls_provider()?;
    make_data_directory(&config.data_dir)?;
    Runtime::new()?.block_on(work)
}

/// Gives the server a new key.
pub(crate) fn rotate_key(config: &Config) -> anyhow::Result<String> {
    Runtime::new()?.block_on(admin::rotate_key(config))
}

/// Looks at the way to a server.
pub(crate) fn examine(config: &Config, server: Option<&str>) -> anyhow::Result<()> {
    install_tls_provider()?;
    make_data_directory(&config.data_dir)?;
    Runtime::new()?.block_on(doctor::run(config, server))
}

/// Looks at all that is stored.
pub(crate) fn examine_stored(config: &Config) -> anyhow::Result<()> {
    install_tls_provider()?;
    Runtime::new()?.block_on(doctor::deep::run(config))
}

async fn serve(
    source: Source,
    config: Config,
    (level, traffic): (LogLevel, Traffic),
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    make_data_directory(&config.data_dir)?;
    let storage = database::open(&config).await?;
    let engine = engine::start(&config, storage).await?;
    tokio::spawn(engine::check_store(engine.blobs.clone()));
    let tls = federation_tls(&config).await?;
    let listeners = Listeners::bind(&config)?;
    let addresses = listeners.describe(&config);
    let changes = Changes::default();
    let overload = Overload::watch(&engine, config.limits.allowed_lateness())?;
    let held = tasks::hold(&engine).await?;
    let doors = Doors::open(&engine, &config, (&traffic, &overload));
    let around = Around {
        trusted_proxies: &config.client.trusted_proxies,
        limits: &config.limits,
        changes: &changes,
        traffic: &traffic,
        overload: &overload,
        is_traced: config.telemetry.otlp_endpoint.is_some(),
    };
    let workers = Workers::start(&engine, &config, held).await?;
    let server = listeners.answer(doors, &config, tls.as_ref(), &around)?;
    announce(&engine, &addresses).await?;

    while signals.next().await == Request::Reload {
        reload(&source, (&level, tls.as_ref(), &engine.storage)).await;
    }

    tracing::info!("stopping");
    engine.shutdown.cancel();
    server.drain(DRAIN_LIMIT).await;
    tokio::join!(changes.end(WORKERS_LIMIT), workers.end(WORKERS_LIMIT));
    engine.storage.close().await;
    Ok(())
}

/// Says on standard output what whoever starts the server wants to know.
async fn announce(engine: &Engine, addresses: &str) -> anyhow::Result<()> {
    let mut text = format!("Starling {VERSION} for {}\n", engine.config.server_name);
    if let Some(token) = first_registration_token(engine).await? {
        text.push_str(&format!("  token for the first registration, shown only now: {token}\n"));
    }
    cli::print(&(text + addresses))
}

fn install_tls_provider() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))
}

/// Every connection is a file, and the usual limit of 1024 is there for programs that use select(2).
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

fn make_data_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the data directory {}", path.display()))
}

/// The running TLS of the server API, unless a proxy does that.
async fn federation_tls(config: &Config) -> anyhow::Result<Option<RustlsConfig>> {
    if !config.federation.enabled || !config.federation.tls.enabled {
        return Ok(None);
    }
    Ok(Some(Certificate::find(config)?.load().await?))
}

/// Applies what can change while the server runs. A configuration that is wrong changes nothing.
async fn reload(
    source: &Source,
    (level, tls, storage): (&LogLevel, Option<&RustlsConfig>, &Storage),
) {
    let outcome = async {
        let config = source.load()?;
        if let Some(tls) = tls {
            Certificate::find(&config)?.reload(tls).await?;
        }
        level.set(&config.log.level)?;
        storage.measures().slow.notice_from(config.log.slow_query_ms);
        anyhow::Ok(())
    };
    match outcome.await {
        Ok(()) => tracing::info!("configuration reloaded"),
        Err(error) => tracing::error!(error = %format!("{error:#}"), "configuration not reloaded"),
    }
}
