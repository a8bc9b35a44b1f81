//! The settings of the outbound side of federation, filled in by the program.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use ruma::OwnedServerName;

/// How this server reaches other servers.
#[derive(Clone, Debug)]
pub struct FederationConfig {
    /// The name under which this server signs its requests.
    pub server_name: OwnedServerName,
    /// PEM files with certificate authorities that are trusted beside the platform's.
    pub trusted_ca_files: Vec<PathBuf>,
    /// Whether loopback, private and shared (carrier-grade NAT) addresses may be contacted.
    pub allow_private_addresses: bool,
    /// Networks that may be contacted whatever kind they are.
    pub allow_addresses: Vec<IpNet>,
    /// Networks that are never contacted; they win over everything that allows.
    pub deny_addresses: Vec<IpNet>,
    /// Server names (with their port, where they have one) that are reached at a fixed address
    /// instead of by discovery. The address may be of any kind. A name with port 443 also sets
    /// where `.well-known` documents of that host are read.
    pub resolve_overrides: BTreeMap<OwnedServerName, SocketAddr>,
    /// How long one address may take to answer with a finished TLS handshake.
    pub connect_timeout: Duration,
    /// The same for `.well-known` look-ups, which most servers do not answer.
    pub well_known_connect_timeout: Duration,
    /// How long a `.well-known` look-up may take with all its redirects.
    pub well_known_timeout: Duration,
    /// How many requests may be in flight to all servers together.
    pub max_requests: usize,
    /// How many requests may be in flight to one server.
    pub max_requests_per_destination: usize,
}

impl FederationConfig {
    /// The defaults for a server of this name.
    #[must_use]
    pub fn new(server_name: OwnedServerName) -> Self {
        Self {
            server_name,
            trusted_ca_files: Vec::new(),
            allow_private_addresses: false,
            allow_addresses: Vec::new(),
            deny_addresses: Vec::new(),
            resolve_overrides: BTreeMap::new(),
            connect_timeout: Duration::from_secs(10),
            well_known_connect_timeout: Duration::from_secs(3),
            well_known_timeout: Duration::from_secs(10),
            max_requests: 512,
            max_requests_per_destination: 16,
        }
    }
}
