//! From a host and a port to the socket addresses that may be contacted.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    addresses::AddressFilter,
    config::FederationConfig,
    dns::{Dns, DnsError},
};

/// How many addresses of one host are tried.
const MAX_ADDRESSES: usize = 8;

/// Why a host cannot be contacted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LookupError {
    /// The name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// All the host's addresses are of a kind that is not contacted.
    #[error("{0} has no address that may be contacted")]
    Refused(String),
    /// No name server answered.
    #[error(transparent)]
    Dns(#[from] DnsError),
}

/// The one place that decides where a connection may go.
pub struct Lookup {
    dns: Arc<dyn Dns>,
    filter: AddressFilter,
    overrides: HashMap<String, SocketAddr>,
}

impl Lookup {
    /// Takes over what the configuration says on addresses.
    #[must_use]
    pub fn new(dns: Arc<dyn Dns>, config: &FederationConfig) -> Self {
        let filter = AddressFilter {
            allow_private: config.allow_private_addresses,
            allow: config.allow_addresses.clone(),
            deny: config.deny_addresses.clone(),
        };
        let overrides = config
            .resolve_overrides
            .iter()
            .map(|(server, address)| (server.as_str().to_ascii_lowercase(), *address))
            .collect();
        Self { dns, filter, overrides }
    }

    /// The address that the administrator set for a name like `example.org` or `example.org:443`.
    #[must_use]
    pub fn fixed(&self, name: &str) -> Option<SocketAddr> {
        self.overrides.get(&name.to_ascii_lowercase()).copied()
    }

    /// The DNS that this look-up asks.
    pub(crate) fn dns(&self) -> &dyn Dns {
        &*self.dns
    }

    /// The addresses of `host` (a name or an IP address, IPv6 with or without brackets).
    ///
    /// # Errors
    ///
    /// [`LookupError`] when there is none that may be contacted.
    pub async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        if let Some(fixed) = self.fixed(&format!("{host}:{port}")) {
            return Ok(vec![fixed]);
        }
        let found = match literal(host) {
            Some(address) => vec![address],
            None => self.dns.addresses(host).await?,
        };
        if found.is_empty() {
            return Err(LookupError::NoAddress(host.to_owned()));
        }
        let allowed: Vec<_> = found
            .into_iter()
            .filter(|address| self.filter.allows(*address))
            .take(MAX_ADDRESSES)
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if allowed.is_empty() { Err(LookupError::Refused(host.to_owned())) } else { Ok(allowed) }
    }
}

/// The IP address that a host is written as, if it is.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    unbracketed(host).parse().ok()
}

/// An IPv6 address as IP libraries read it; other hosts stay as they are.
pub(crate) fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
