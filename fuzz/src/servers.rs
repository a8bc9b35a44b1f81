//! What other servers say of themselves: where they are, and with which keys they sign.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is what is looked for")]

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use ruma::{OwnedServerName, server_name};
use starling_engine::{
    clock::{Clock, SystemClock},
    keys::document,
};
use starling_federation::{
    addresses::AddressFilter,
    config::FederationConfig,
    discovery::Discovery,
    dns::{Dns, DnsError, ServiceRecord},
    lookup::Lookup,
    well_known::{Delegation, WellKnown, WellKnownSource},
    well_known_fetch,
};
use url::Url;

/// When all this happens, in milliseconds.
const NOW: i64 = 1_790_000_000_000;

/// How long a key is believed at most, in milliseconds.
const WEEK: i64 = 7 * 24 * 60 * 60 * 1000;

/// The answer to a request for `.well-known/matrix/server`: a status, headers, an empty line, a body.
pub(crate) fn well_known(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let (head, body) = input.split_once("\n\n").unwrap_or((input, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let Ok(status) = StatusCode::from_bytes(status.as_bytes()) else { return };
    let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *response.status_mut() = status;
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) else { continue };
        response.headers_mut().append(name, value);
    }
    let asked = Url::parse("https://a.example/.well-known/matrix/server").unwrap();
    if let Ok(Some(next)) = well_known_fetch::redirect(&asked, &response) {
        assert_eq!(next.scheme(), "https");
    }
    if let Ok(read) = well_known_fetch::delegation(&response, NOW) {
        assert_eq!(OwnedServerName::try_from(read.server.as_str()), Ok(read.server));
    }
}

/// What is known of all names: to whom they delegate, their services, and their addresses.
struct World {
    delegated: Option<OwnedServerName>,
    services: Vec<ServiceRecord>,
    addresses: Vec<IpAddr>,
}

#[async_trait]
impl WellKnownSource for World {
    async fn fetch(&self, _: &str) -> Result<Delegation, String> {
        let server = self.delegated.clone().ok_or("nothing")?;
        Ok(Delegation { server, lifetime: Duration::from_secs(60) })
    }
}

#[async_trait]
impl Dns for World {
    async fn addresses(&self, _: &str) -> Result<Vec<IpAddr>, DnsError> {
        Ok(self.addresses.clone())
    }

    async fn services(&self, _: &str) -> Result<Vec<ServiceRecord>, DnsError> {
        Ok(self.services.clone())
    }
}

/// A server's name, and what is said of it, a line for each: to whom it delegates, its services (priority,
/// weight, port, target, with commas between them), its addresses. No way leads to where none may.
pub(crate) fn discovery(data: &[u8]) {
    let Ok(input) = std::str::from_utf8(data) else { return };
    let mut lines = input.lines();
    let Ok(server) = OwnedServerName::try_from(lines.next().unwrap_or_default()) else { return };
    let mut next = || lines.next().unwrap_or_default();
    let world = Arc::new(World {
        delegated: next().try_into().ok(),
        services: next().split(',').filter_map(service).take(100).collect(),
        addresses: next().split(',').filter_map(|text| text.parse().ok()).take(100).collect(),
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = FederationConfig::new(server_name!("us.example").to_owned());
    let lookup = Arc::new(Lookup::new(world.clone(), &config));
    let discovery = Discovery::new(lookup, WellKnown::new(world, clock.clone()), clock);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Ok(route) = runtime.block_on(discovery.route(&server)) else { return };
    assert!(!route.addresses.is_empty());
    for address in &route.addresses {
        assert_public(address.ip());
    }
}

fn service(text: &str) -> Option<ServiceRecord> {
    let mut parts = text.splitn(4, ' ');
    let priority = parts.next()?.parse().ok()?;
    let weight = parts.next()?.parse().ok()?;
    let port = parts.next()?.parse().ok()?;
    Some(ServiceRecord { priority, weight, port, target: parts.next()?.to_owned() })
}

/// It is nowhere near this machine, in whatever way it is written.
fn assert_public(address: IpAddr) {
    assert!(AddressFilter::default().allows(address), "{address}");
    let is_near = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    };
    let address = address.to_canonical();
    let is_none = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    assert!(!is_near && !is_none, "{address}");
}

/// The document in which a server publishes its keys.
pub(crate) fn server_keys(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let server = server_name!("a.example");
    let _ = document::signing_key_ids(json, server);
    let Ok(keys) = document::read_keys(json, server, NOW) else { return };
    for (id, key) in &keys {
        assert!(id.starts_with("ed25519:") && key.public_key.len() == 32, "{id}");
        assert!(i64::from(key.valid_until_ts.get()) <= NOW + WEEK, "{id}");
    }
    // A server is its own notary: what signed the document vouches for it.
    let _ = document::check_notary(json, server, &keys, NOW);
}
