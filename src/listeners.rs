//! Which address answers what.

use axum::routing::any_service;
use axum_server::tls_rustls::RustlsConfig;

use crate::{
    admin,
    config::{Config, ListenAddress},
    doors::Doors,
    http::{self, Changes, Listener, Server},
};

/// All bound addresses, by the API that they are for.
pub(crate) struct Listeners {
    client: Vec<Listener>,
    federation: Vec<Listener>,
    admin: Option<Listener>,
}

impl Listeners {
    /// Takes all configured addresses; from now on connections wait for an answer.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub(crate) fn bind(config: &Config) -> anyhow::Result<Self> {
        let federation = &config.federation;
        let servers = if federation.enabled { federation.listen.as_slice() } else { &[] };
        Ok(Self {
            client: bind_all(&config.client.listen)?,
            federation: bind_all(servers)?,
            admin: admin::listener(config),
        })
    }

    /// Answers on all addresses.
    ///
    /// # Errors
    ///
    /// When a listener cannot be handed to the runtime.
    pub(crate) fn answer(
        self,
        doors: Doors,
        config: &Config,
        tls: Option<&RustlsConfig>,
        changes: &Changes,
    ) -> anyhow::Result<Server> {
        let mut server = Server::new(&config.limits);
        let wrap = |router| http::wrap(router, &config.client.trusted_proxies, changes);
        let federation = wrap(doors.federation);
        let mut client = wrap(doors.health).fallback_service(wrap(doors.client));
        if config.federation.enabled && config.federation.also_on_client_listener {
            client = client
                .route("/_matrix/federation/{*path}", any_service(federation.clone()))
                .route("/_matrix/key/{*path}", any_service(federation.clone()));
        }
        for listener in self.client {
            server.answer(listener, None, client.clone())?;
        }
        for listener in self.federation {
            server.answer(listener, tls, federation.clone())?;
        }
        if let Some(listener) = self.admin {
            server.answer(listener, None, wrap(doors.admin))?;
        }
        Ok(server)
    }

    /// The addresses, one to a line, for whoever starts the server.
    pub(crate) fn describe(&self, config: &Config) -> String {
        let mut text = String::new();
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

fn bind_all(addresses: &[ListenAddress]) -> anyhow::Result<Vec<Listener>> {
    addresses.iter().map(Listener::bind).collect()
}
