//! Which address answers what.

use axum::{Router, routing::any_service};
use axum_server::tls_rustls::RustlsConfig;

use crate::{
    admin,
    config::{Config, ListenAddress},
    doors::Doors,
    http::{self, Around, Listener, Server},
    metrics::Api,
    overload::Overload,
};

/// Where services that are no servers ask who a user is.
const OPENID: &str = "/_matrix/federation/v1/openid/userinfo";

/// All bound addresses, by the API that they are for.
pub(crate) struct Listeners {
    /// With whether they answer administrators too.
    client: Vec<(Listener, bool)>,
    /// Those for administrators alone.
    tools: Vec<Listener>,
    federation: Vec<Listener>,
    metrics: Vec<Listener>,
    /// The socket of `starling admin`.
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
        let for_admin = |address: &ListenAddress| config.admin.listen.contains(address);
        let client = config.client.listen.iter();
        let client = client.map(|at| Ok((Listener::bind(at)?, for_admin(at))));
        let tools = config.admin.listen.iter().filter(|at| !config.client.listen.contains(at));
        let tools: Vec<_> = tools.cloned().collect();
        Ok(Self {
            client: client.collect::<anyhow::Result<_>>()?,
            tools: bind_all(&tools)?,
            federation: bind_all(servers)?,
            metrics: bind_all(&config.telemetry.listen)?,
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
        around: &Around<'_>,
    ) -> anyhow::Result<Server> {
        let mut server = Server::new(&config.limits);
        let wrap = |router, api| http::wrap(router, api, around);
        let federation = wrap(doors.federation, Api::Federation);
        let health = wrap(doors.health, Api::Health);
        let client_api = |door| {
            let mut client = health.clone().fallback_service(wrap(door, Api::Client));
            // Who asks is no server, and may ask also where servers are not talked to.
            client = client.route(OPENID, any_service(federation.clone()));
            if config.federation.enabled && config.federation.also_on_client_listener {
                client = client
                    .route("/_matrix/federation/{*path}", any_service(federation.clone()))
                    .route("/_matrix/key/{*path}", any_service(federation.clone()));
            }
            client
        };
        let (client, with_admin) = (client_api(doors.client), client_api(doors.client_and_admin));
        let line = |api| around.traffic.connections(api);
        let bounded = |router: &Router| (router.clone(), around.overload.clone());
        let unbounded = |router| (router, Overload::default());
        for (listener, for_admin) in self.client {
            let router = if for_admin { &with_admin } else { &client };
            server.answer(listener, (None, line(Api::Client)), bounded(router))?;
        }
        for listener in self.tools {
            server.answer(listener, (None, line(Api::Client)), bounded(&with_admin))?;
        }
        for listener in self.federation {
            server.answer(listener, (tls, line(Api::Federation)), bounded(&federation))?;
        }
        for listener in self.metrics {
            let router = wrap(doors.metrics.clone(), Api::Metrics);
            server.answer(listener, (None, line(Api::Metrics)), unbounded(router))?;
        }
        if let Some(listener) = self.admin {
            let router = wrap(doors.admin, Api::Orders);
            server.answer(listener, (None, line(Api::Orders)), unbounded(router))?;
        }
        Ok(server)
    }

    /// The addresses, one to a line, for whoever starts the server.
    pub(crate) fn describe(&self, config: &Config) -> String {
        let mut text = String::new();
        for (listener, _) in &self.client {
            text.push_str(&format!("  client API      {}\n", listener.url(false)));
        }
        for listener in &self.tools {
            text.push_str(&format!("  admin API       {}\n", listener.url(false)));
        }
        for listener in &self.federation {
            let url = listener.url(config.federation.tls.enabled);
            text.push_str(&format!("  federation API  {url}\n"));
        }
        for listener in &self.metrics {
            text.push_str(&format!("  metrics         {}/metrics\n", listener.url(false)));
        }
        text
    }
}

fn bind_all(addresses: &[ListenAddress]) -> anyhow::Result<Vec<Listener>> {
    addresses.iter().map(Listener::bind).collect()
}
