//! The assembly: what starts, in which order, and how it stops.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use anyhow::Context as _;
use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use rustix::process::{Resource, getrlimit, setrlimit};
use starling_storage::Storage;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{self, Source},
    config::Config,
    database,
    http::{Listener, Readiness, Server, health},
    log::{self, LogLevel},
    signals::{Request, Signals},
    tls::Certificate,
};

/// How long requests that are being answered may hold up an exit.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the server until a signal stops it.
pub(crate) fn run(source: Source) -> anyhow::Result<()> {
    let config = source.load()?;
    let level = log::start(&config.log)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    raise_file_limit();
    tokio::runtime::Runtime::new()?.block_on(serve(source, config, level))
}

async fn serve(source: Source, config: Config, level: LogLevel) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let shutdown = CancellationToken::new();
    make_data_directory(&config.data_dir)?;
    let storage = database::open(&config).await?;
    let tls = federation_tls(&config).await?;
    let listeners = Listeners::bind(&config)?;
    let addresses = listeners.describe(&config);
    let server = listeners.answer(&config, tls.as_ref(), &shutdown, &storage)?;
    cli::print(&addresses)?;

    while signals.next().await == Request::Reload {
        reload(&source, &level, tls.as_ref()).await;
    }

    tracing::info!("stopping");
    shutdown.cancel();
    server.drain(DRAIN_LIMIT).await;
    storage.close().await;
    tracing::info!("stopped");
    Ok(())
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

/// All bound addresses, by the API that they are for.
struct Listeners {
    client: Vec<Listener>,
    federation: Vec<Listener>,
}

impl Listeners {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let federation = &config.federation;
        let federation_addresses =
            if federation.enabled { federation.listen.as_slice() } else { &[] };
        Ok(Self {
            client: config.client.listen.iter().map(Listener::bind).collect::<Result<_, _>>()?,
            federation: federation_addresses
                .iter()
                .map(Listener::bind)
                .collect::<Result<_, _>>()?,
        })
    }

    fn answer(
        self,
        config: &Config,
        tls: Option<&RustlsConfig>,
        shutdown: &CancellationToken,
        storage: &Storage,
    ) -> anyhow::Result<Server> {
        let mut server = Server::new(&config.limits, &config.client.trusted_proxies);
        let readiness = Readiness { shutdown: shutdown.clone(), storage: storage.clone() };
        let client = Router::new().merge(health(readiness));
        for listener in self.client {
            server.answer(listener, None, client.clone())?;
        }
        for listener in self.federation {
            server.answer(listener, tls, Router::new())?;
        }
        Ok(server)
    }

    /// What a person who starts the server wants to know.
    fn describe(&self, config: &Config) -> String {
        let mut text = format!("Starling {VERSION} for {}\n", config.server_name);
        for listener in &self.client {
            text.push_str(&format!("  client API      {}\n", listener.url(false)));
        }
        for listener in &self.federation {
            let url = listener.url(config.federation.tls.enabled);
            text.push_str(&format!("  federation API  {url}\n"));
        }
        text
    }
}

/// Applies what can change while the server runs. A configuration that is wrong changes nothing.
async fn reload(source: &Source, level: &LogLevel, tls: Option<&RustlsConfig>) {
    let outcome = async {
        let config = source.load()?;
        if let Some(tls) = tls {
            Certificate::find(&config)?.reload(tls).await?;
        }
        level.set(&config.log.level)
    };
    match outcome.await {
        Ok(()) => tracing::info!("configuration reloaded"),
        Err(error) => tracing::error!(error = %format!("{error:#}"), "configuration not reloaded"),
    }
}
