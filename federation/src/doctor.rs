//! How a server name is resolved, step by step, and what answers at its end: for an administrator who
//! wonders why two servers do not find each other. Nothing is remembered and nothing believed on the
//! way that [`crate::discovery`] would not believe.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use ruma::{OwnedServerName, ServerName};
use starling_engine::{clock::Clock, keys::document::read_keys, remote::Limits};

use crate::{
    client::{HttpClient, Route},
    config::FederationConfig,
    discovery::{DEFAULT_PORT, is_explicit},
    dns::SystemDns,
    lookup::{Lookup, unbracketed},
    tls::client_config,
    transport::SetupError,
    well_known::WellKnownSource as _,
    well_known_fetch::HttpsWellKnown,
};

/// What one request may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), max_body: 64 * 1024 };
/// How many characters of another server's text are shown.
const MAX_SHOWN: usize = 100;

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Nothing there, which need not be.
    Nothing,
    /// Here the way ends, or something is wrong.
    Bad,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was looked at.
    pub title: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The same in words.
    pub found: String,
}

/// Examines the way to a server.
struct Examination<'a> {
    lookup: Arc<Lookup>,
    client: HttpClient,
    well_known: HttpsWellKnown,
    clock: &'a Arc<dyn Clock>,
    steps: Vec<Step>,
}

/// Goes all the way to a server and says what was found. The last step is the first bad one, or there
/// is none that is bad.
///
/// rustls' crypto provider must have been installed.
///
/// # Errors
///
/// [`SetupError`] when the configuration or the system is unusable.
pub async fn examine(
    config: &FederationConfig,
    clock: &Arc<dyn Clock>,
    server: &ServerName,
) -> Result<Vec<Step>, SetupError> {
    let tls = client_config(&config.trusted_ca_files)?;
    let lookup = Arc::new(Lookup::new(Arc::new(SystemDns::new()?), config));
    let well_known = HttpsWellKnown {
        client: HttpClient::new(tls.clone(), config.well_known_connect_timeout),
        lookup: lookup.clone(),
        clock: clock.clone(),
        timeout: config.well_known_timeout,
    };
    let client = HttpClient::new(tls, config.connect_timeout);
    let mut examination = Examination { lookup, client, well_known, clock, steps: Vec::new() };
    examination.run(server).await;
    Ok(examination.steps)
}

impl Examination<'_> {
    async fn run(&mut self, server: &ServerName) {
        let name = self.delegation(server).await;
        let Some(addresses) = self.addresses(&name).await else { return };
        let route = |address: SocketAddr| {
            Some(Route {
                addresses: vec![address],
                host: name.as_str().try_into().ok()?,
                tls_name: unbracketed(name.host()).to_owned().try_into().ok()?,
            })
        };
        let mut reached = false;
        for address in addresses {
            let Some(route) = route(address) else {
                self.note("name", Outcome::Bad, format!("{name} cannot be the name of a host"));
                return;
            };
            reached |= self.ask(server, &route, address).await;
        }
        if !reached {
            self.note("server", Outcome::Bad, "none of the addresses leads to it".to_owned());
        }
    }

    fn note(&mut self, title: &str, outcome: Outcome, found: String) {
        self.steps.push(Step { title: title.to_owned(), outcome, found });
    }

    /// Steps 1 to 3: to which name the server delegates.
    async fn delegation(&mut self, server: &ServerName) -> OwnedServerName {
        let title = "well-known";
        if let Some(fixed) = self.lookup.fixed(server.as_str()) {
            let found = format!("not asked: federation.resolve_overrides says {fixed}");
            self.note(title, Outcome::Nothing, found);
            return server.to_owned();
        }
        if is_explicit(server) {
            let found = "not asked: the name says where it is".to_owned();
            self.note(title, Outcome::Nothing, found);
            return server.to_owned();
        }
        match self.well_known.fetch(server.host()).await {
            Ok(delegation) => {
                let hours = delegation.lifetime.as_secs() / 3600;
                let found = format!("delegates to {} (good for {hours} h)", delegation.server);
                self.note(title, Outcome::Good, found);
                delegation.server
            }
            Err(reason) => {
                let found = format!("none at https://{}: {reason}", server.host());
                self.note(title, Outcome::Nothing, found);
                server.to_owned()
            }
        }
    }

    /// Steps 3.1 to 6: where the name is reached.
    async fn addresses(&mut self, name: &ServerName) -> Option<Vec<SocketAddr>> {
        if let Some(fixed) = self.lookup.fixed(name.as_str()) {
            let found = format!("{fixed}, by federation.resolve_overrides");
            self.note("addresses", Outcome::Good, found);
            return Some(vec![fixed]);
        }
        let targets = match is_explicit(name) {
            true => Vec::new(),
            false => self.services(name.host()).await?,
        };
        if targets.is_empty() {
            let port = name.port().unwrap_or(DEFAULT_PORT);
            return self.host(name.host(), port).await;
        }
        let mut all = Vec::new();
        for (host, port) in targets {
            all.extend(self.host(&host, port).await.unwrap_or_default());
        }
        (!all.is_empty()).then_some(all)
    }

    /// The hosts of the SRV records, if there are any; `None` when they say that there is no server.
    async fn services(&mut self, host: &str) -> Option<Vec<(String, u16)>> {
        for (service, kind) in [("_matrix-fed", ""), ("_matrix", ", which is deprecated")] {
            let name = format!("{service}._tcp.{host}");
            let records = match self.lookup.dns().services(&name).await {
                Ok(records) => records,
                Err(error) => {
                    self.note("SRV", Outcome::Nothing, error.to_string());
                    continue;
                }
            };
            if records.is_empty() {
                self.note("SRV", Outcome::Nothing, format!("{name}: no record"));
                continue;
            }
            let mut targets = Vec::new();
            for record in records.into_iter().filter(|record| !record.target.is_empty()) {
                let found = format!("{name}: {}:{}{kind}", record.target, record.port);
                self.note("SRV", Outcome::Good, found);
                targets.push((record.target, record.port));
            }
            if targets.is_empty() {
                self.note("SRV", Outcome::Bad, format!("{name}: there is no Matrix server"));
                return None;
            }
            return Some(targets);
        }
        Some(Vec::new())
    }

    async fn host(&mut self, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
        match self.lookup.addresses(host, port).await {
            Ok(addresses) => {
                let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                self.note("addresses", Outcome::Good, format!("{host}: {}", shown.join(", ")));
                Some(addresses)
            }
            Err(error) => {
                self.note("addresses", Outcome::Bad, error.to_string());
                None
            }
        }
    }

    /// What answers at an address: TLS, version, keys. Whether it is the server.
    async fn ask(&mut self, server: &ServerName, route: &Route, address: SocketAddr) -> bool {
        let version = self.get(route, "/_matrix/federation/v1/version").await;
        let title = format!("TLS and version at {address}");
        match version {
            Ok(body) => {
                let found = format!("a certificate for {}, {}", route.host.host(), said(&body));
                self.note(&title, Outcome::Good, found);
            }
            Err(reason) => {
                self.note(&title, Outcome::Bad, reason);
                return false;
            }
        }
        let title = format!("keys at {address}");
        let document = self.get(route, "/_matrix/key/v2/server").await;
        let keys = document.and_then(|document| {
            let document = std::str::from_utf8(&document).map_err(|error| error.to_string())?;
            read_keys(document, server, self.clock.now_ms()).map_err(|error| error.to_string())
        });
        match keys {
            Ok(keys) => {
                let now_ms = self.clock.now_ms();
                let hours = |until: i64| (until - now_ms) / (60 * 60 * 1000);
                let shown: Vec<String> = keys
                    .iter()
                    .map(|(id, key)| format!("{id} ({} h)", hours(key.valid_until_ts.get().into())))
                    .collect();
                self.note(&title, Outcome::Good, shown.join(", "));
                true
            }
            Err(reason) => {
                self.note(&title, Outcome::Bad, reason);
                false
            }
        }
    }

    async fn get(&self, route: &Route, path: &str) -> Result<Bytes, String> {
        let request = Request::get(path).body(Bytes::new()).map_err(|error| error.to_string())?;
        let response = self.client.send(route, request, LIMITS).await;
        let response = response.map_err(|error| error.to_string())?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(format!("{path} answers status {status}")),
        }
    }
}

/// Name and version, as far as another server's text can be shown.
fn said(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| {
        let text = body.pointer(&format!("/server/{name}")).and_then(serde_json::Value::as_str);
        let text = text.unwrap_or("?").chars().filter(|letter| !letter.is_control());
        text.take(MAX_SHOWN).collect::<String>()
    };
    format!("{} {}", part("name"), part("version"))
}
