//! From a server name to the way to reach the server.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::uri::Authority;
use moka::future::Cache;
use ruma::{OwnedServerName, ServerName};
use starling_engine::{clock::Clock, rng};

use crate::{
    client::Route,
    dns::{ServiceRecord, in_order_of_trial},
    lookup::{Lookup, LookupError, literal, unbracketed},
    well_known::WellKnown,
};

/// The port of a server that names none.
pub(crate) const DEFAULT_PORT: u16 = 8448;
/// How long a route is used before it is looked up again (DNS and well-known have own caches).
const ROUTE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long a name that leads nowhere is not looked up again.
const FAILURE_LIFETIME: Duration = Duration::from_secs(30);
/// How many server names are remembered.
const MAX_ROUTES: u64 = 32 * 1024;
/// How many hosts of one SRV name are tried.
const MAX_TARGETS: usize = 8;

/// Why a server cannot be reached.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Its host has no usable address.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Its SRV record says that there is no service.
    #[error("{0} declares that it has no Matrix server")]
    NoService(String),
    /// The name fits the grammar of server names and yet no certificate could hold it.
    #[error("{0} cannot be the name of a host")]
    InvalidName(String),
}

#[derive(Clone)]
struct Entry {
    route: Result<Arc<Route>, DiscoveryError>,
    valid_until_ms: i64,
}

/// Finds routes and remembers them; a name is looked up by one task at a time.
pub struct Discovery {
    lookup: Arc<Lookup>,
    well_known: WellKnown,
    clock: Arc<dyn Clock>,
    routes: Cache<OwnedServerName, Entry>,
}

impl Discovery {
    /// Nothing remembered yet.
    #[must_use]
    pub fn new(lookup: Arc<Lookup>, well_known: WellKnown, clock: Arc<dyn Clock>) -> Self {
        Self { lookup, well_known, clock, routes: Cache::new(MAX_ROUTES) }
    }

    /// How `server` is reached.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`] when there is no address that may be contacted.
    pub async fn route(&self, server: &ServerName) -> Result<Arc<Route>, DiscoveryError> {
        let now = self.clock.now_ms();
        self.routes
            .entry(server.to_owned())
            .or_insert_with_if(self.look_up(server), |entry| entry.valid_until_ms <= now)
            .await
            .into_value()
            .route
    }

    /// Drops what is remembered of a server whose addresses did not answer.
    pub async fn forget(&self, server: &ServerName) {
        self.routes.invalidate(server).await;
    }

    async fn look_up(&self, server: &ServerName) -> Entry {
        let route = self.discover(server).await.map(Arc::new);
        let lifetime = if route.is_ok() { ROUTE_LIFETIME } else { FAILURE_LIFETIME };
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        Entry { route, valid_until_ms: self.clock.now_ms().saturating_add(lifetime) }
    }

    async fn discover(&self, server: &ServerName) -> Result<Route, DiscoveryError> {
        // Steps 1 and 2: a name that says where it is delegates nothing.
        if self.lookup.fixed(server.as_str()).is_some() || is_explicit(server) {
            return self.reach(server).await;
        }
        // Step 3; without a valid answer, steps 4 to 6 treat the name like a delegated one.
        let delegated = self.well_known.delegated(server.host()).await;
        self.reach(delegated.as_deref().unwrap_or(server)).await
    }

    /// The route to a name once it is clear that this name is the one to contact.
    async fn reach(&self, name: &ServerName) -> Result<Route, DiscoveryError> {
        let addresses = if let Some(fixed) = self.lookup.fixed(name.as_str()) {
            vec![fixed]
        } else if is_explicit(name) {
            // Steps 1, 2, 3.1, 3.2.
            let port = name.port().unwrap_or(DEFAULT_PORT);
            self.lookup.addresses(name.host(), port).await?
        } else {
            self.service_addresses(name).await?
        };
        let invalid = || DiscoveryError::InvalidName(name.to_string());
        Ok(Route {
            addresses,
            host: Authority::try_from(name.as_str()).map_err(|_| invalid())?,
            // Never the target of an SRV record: DNS is not to be believed that far.
            tls_name: unbracketed(name.host()).to_owned().try_into().map_err(|_| invalid())?,
        })
    }

    /// Steps 3.3 to 3.5 and 4 to 6: SRV records, or else the default port.
    async fn service_addresses(
        &self,
        name: &ServerName,
    ) -> Result<Vec<SocketAddr>, DiscoveryError> {
        let host = name.host();
        // Both at once, to save those who only have the deprecated one a round trip.
        let (current, deprecated) = tokio::join!(
            self.services(format!("_matrix-fed._tcp.{host}")),
            self.services(format!("_matrix._tcp.{host}")),
        );
        let records = if current.is_empty() { deprecated } else { current };
        if records.is_empty() {
            return Ok(self.lookup.addresses(host, DEFAULT_PORT).await?);
        }
        // RFC 2782: a target of "." means that the service is decidedly not available.
        let targets: Vec<_> =
            records.into_iter().filter(|record| !record.target.is_empty()).collect();
        if targets.is_empty() {
            return Err(DiscoveryError::NoService(host.to_owned()));
        }
        self.target_addresses(targets).await
    }

    /// A failed SRV look-up counts as no record: if DNS is down, the host's address is not found
    /// either; if only SRV records trouble the name server, the host may still be reached.
    async fn services(&self, name: String) -> Vec<ServiceRecord> {
        self.lookup.dns().services(&name).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "SRV look-up failed");
            Vec::new()
        })
    }

    async fn target_addresses(
        &self,
        records: Vec<ServiceRecord>,
    ) -> Result<Vec<SocketAddr>, DiscoveryError> {
        let ordered = in_order_of_trial(records, |most| draw(most, rng::bytes()));
        let mut addresses = Vec::new();
        let mut failure = None;
        for record in ordered.into_iter().take(MAX_TARGETS) {
            match self.lookup.addresses(&record.target, record.port).await {
                Ok(found) => addresses.extend(found),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if addresses.is_empty() => Err(error.into()),
            _ => Ok(addresses),
        }
    }
}

/// Whether the name itself says where to connect.
pub(crate) fn is_explicit(name: &ServerName) -> bool {
    name.port().is_some() || literal(name.host()).is_some()
}

/// A number from `0..=most`; the bias of the remainder is far below what load sharing notices.
fn draw(most: u32, random: [u8; 8]) -> u32 {
    let drawn = u64::from_ne_bytes(random) % (u64::from(most) + 1);
    u32::try_from(drawn).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        net::IpAddr,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use async_trait::async_trait;

    use starling_engine::testing::TestClock;

    use super::*;
    use crate::{
        config::FederationConfig,
        dns::{Dns, DnsError},
        well_known::{Delegation, WellKnownSource},
    };

    /// What the world looks like: zones and well-known documents.
    #[derive(Default)]
    struct World {
        hosts: Mutex<HashMap<&'static str, Vec<&'static str>>>,
        services: HashMap<&'static str, Vec<(u16, u16, &'static str)>>,
        well_known: HashMap<&'static str, &'static str>,
        /// How often an address was looked up.
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Dns for World {
        async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let hosts = self.hosts.lock().unwrap();
            let found = hosts.get(name).into_iter().flatten();
            Ok(found.map(|address| address.parse().unwrap()).collect())
        }

        async fn services(&self, name: &str) -> Result<Vec<ServiceRecord>, DnsError> {
            if name.ends_with("broken.example") {
                return Err(DnsError { name: name.to_owned(), reason: "SERVFAIL".to_owned() });
            }
            let records = self.services.get(name).into_iter().flatten();
            Ok(records
                .map(|(priority, port, target)| ServiceRecord {
                    priority: *priority,
                    weight: 0,
                    port: *port,
                    target: (*target).to_owned(),
                })
                .collect())
        }
    }

    #[async_trait]
    impl WellKnownSource for World {
        async fn fetch(&self, host: &str) -> Result<Delegation, String> {
            let server = self.well_known.get(host).ok_or("404")?;
            Ok(Delegation {
                server: (*server).try_into().unwrap(),
                lifetime: Duration::from_secs(60 * 60),
            })
        }
    }

    fn world() -> World {
        World {
            hosts: Mutex::new(HashMap::from([
                ("plain.example", vec!["1.0.0.1", "2606::1"]),
                ("broken.example", vec!["1.0.0.2"]),
                ("fed.example", vec!["1.9.9.9"]),
                ("old.example", vec!["1.9.9.9"]),
                ("both.example", vec!["1.9.9.9"]),
                ("to.example", vec!["1.0.0.3"]),
                ("node1.example", vec!["1.1.0.1", "10.0.0.1"]),
                ("node2.example", vec!["1.1.0.2"]),
                ("inside.example", vec!["10.0.0.1", "127.0.0.1"]),
            ])),
            services: HashMap::from([
                (
                    "_matrix-fed._tcp.fed.example",
                    vec![
                        (20, 1, "node1.example"),
                        (10, 2, "node2.example"),
                        (5, 3, "gone.example"),
                    ],
                ),
                ("_matrix._tcp.old.example", vec![(1, 4, "node1.example")]),
                ("_matrix-fed._tcp.both.example", vec![(1, 5, "node1.example")]),
                ("_matrix._tcp.both.example", vec![(1, 6, "node2.example")]),
                ("_matrix-fed._tcp.none.example", vec![(0, 0, "")]),
                ("_matrix-fed._tcp.inner.example", vec![(0, 7, "inside.example")]),
                ("_matrix-fed._tcp.lost.example", vec![(0, 7, "gone.example")]),
            ]),
            well_known: HashMap::from([
                ("w-literal.example", "1.2.3.4"),
                ("w-literal-port.example", "[2606::7]:7"),
                ("w-port.example", "to.example:9"),
                ("w-fed.example", "fed.example"),
                ("w-old.example", "old.example"),
                ("w-plain.example", "plain.example"),
                // Delegation is followed once.
                ("w-chain.example", "w-plain.example"),
                ("w-private.example", "192.168.0.1:8448"),
                ("w-set.example", "set.example"),
                ("w-unset.example", "unset.example"),
                // Never asked: these names have a port or are set.
                ("plain.example:1", "to.example"),
                ("set.example", "to.example"),
            ]),
            ..World::default()
        }
    }

    fn discovery(world: &Arc<World>, clock: &Arc<TestClock>) -> Discovery {
        let mut config = FederationConfig::new("us.example".try_into().unwrap());
        config.resolve_overrides = [
            ("Set.example", "127.0.0.1:1000"),
            ("10.1.1.1:5", "[::1]:1001"),
            ("w-unset.example:8448", "127.0.0.1:1002"),
        ]
        .map(|(name, address)| (name.try_into().unwrap(), address.parse().unwrap()))
        .into();
        let lookup = Arc::new(Lookup::new(world.clone(), &config));
        let well_known = WellKnown::new(world.clone(), clock.clone());
        Discovery::new(lookup, well_known, clock.clone())
    }

    async fn route(name: &str) -> Result<String, DiscoveryError> {
        let discovery = discovery(&Arc::new(world()), &Arc::default());
        let route = discovery.route(&ServerName::parse(name).unwrap()).await?;
        let addresses: Vec<_> = route.addresses.iter().map(ToString::to_string).collect();
        Ok(format!("{} | {} | {}", addresses.join(" "), route.host, route.tls_name.to_str()))
    }

    #[tokio::test]
    async fn every_step_leads_to_its_address_host_and_certificate() {
        let table = [
            // Step 1.
            ("1.2.3.4", "1.2.3.4:8448 | 1.2.3.4 | 1.2.3.4"),
            ("1.2.3.4:99", "1.2.3.4:99 | 1.2.3.4:99 | 1.2.3.4"),
            ("[2606::7]", "[2606::7]:8448 | [2606::7] | 2606::7"),
            ("[2606::7]:99", "[2606::7]:99 | [2606::7]:99 | 2606::7"),
            // Step 2: neither well-known nor SRV counts.
            ("plain.example:1", "1.0.0.1:1 [2606::1]:1 | plain.example:1 | plain.example"),
            ("fed.example:443", "1.9.9.9:443 | fed.example:443 | fed.example"),
            // Steps 3.1 to 3.5.
            ("w-literal.example", "1.2.3.4:8448 | 1.2.3.4 | 1.2.3.4"),
            ("w-literal-port.example", "[2606::7]:7 | [2606::7]:7 | 2606::7"),
            ("w-port.example", "1.0.0.3:9 | to.example:9 | to.example"),
            ("w-fed.example", "1.1.0.2:2 1.1.0.1:1 | fed.example | fed.example"),
            ("w-old.example", "1.1.0.1:4 | old.example | old.example"),
            ("w-plain.example", "1.0.0.1:8448 [2606::1]:8448 | plain.example | plain.example"),
            // Steps 4 to 6.
            ("fed.example", "1.1.0.2:2 1.1.0.1:1 | fed.example | fed.example"),
            ("old.example", "1.1.0.1:4 | old.example | old.example"),
            ("both.example", "1.1.0.1:5 | both.example | both.example"),
            ("plain.example", "1.0.0.1:8448 [2606::1]:8448 | plain.example | plain.example"),
            ("broken.example", "1.0.0.2:8448 | broken.example | broken.example"),
            // Addresses that the administrator set.
            ("set.example", "127.0.0.1:1000 | set.example | set.example"),
            ("10.1.1.1:5", "[::1]:1001 | 10.1.1.1:5 | 10.1.1.1"),
            ("w-set.example", "127.0.0.1:1000 | set.example | set.example"),
        ];
        for (name, expected) in table {
            match route(name).await {
                Ok(route) => assert_eq!(route, expected, "{name}"),
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }

    #[tokio::test]
    async fn names_without_a_permitted_address_are_refused() {
        use DiscoveryError::{Lookup, NoService};
        use LookupError::{NoAddress, Refused};
        for name in ["127.0.0.1", "[::1]:8448", "[::ffff:10.0.0.1]", "169.254.169.254:80"] {
            assert!(matches!(route(name).await, Err(Lookup(Refused(_)))), "{name}");
        }
        for name in ["inside.example:8448", "inside.example", "inner.example", "w-private.example"]
        {
            assert!(matches!(route(name).await, Err(Lookup(Refused(_)))), "{name}");
        }
        for name in ["gone.example", "gone.example:1", "lost.example", "w-chain.example"] {
            assert!(matches!(route(name).await, Err(Lookup(NoAddress(_)))), "{name}");
        }
        assert!(matches!(route("none.example").await, Err(NoService(_))));
    }

    #[tokio::test]
    async fn an_address_set_for_a_host_with_port_is_used_for_that_port_only() {
        let route = async |name| route(name).await.unwrap_or_default();
        assert_eq!(route("w-unset.example:8448").await.split(' ').next(), Some("127.0.0.1:1002"));
        assert_eq!(route("w-unset.example:8449").await, "");
    }

    #[tokio::test]
    async fn routes_and_failures_are_remembered_for_a_while() {
        let (world, clock) = (Arc::new(world()), Arc::<TestClock>::default());
        let discovery = discovery(&world, &clock);
        let asked = || world.asked.load(Ordering::SeqCst);
        let plain = ServerName::parse("plain.example").unwrap();
        let gone = ServerName::parse("gone.example").unwrap();

        let all = [&plain, &plain, &gone, &gone].map(|name| discovery.route(name));
        futures_util::future::join_all(all).await;
        assert_eq!(asked(), 2);

        clock.advance(31_000);
        world.hosts.lock().unwrap().insert("gone.example", vec!["1.5.5.5"]);
        assert!(discovery.route(&plain).await.is_ok());
        assert!(discovery.route(&gone).await.is_ok());
        assert_eq!(asked(), 3);

        discovery.forget(&plain).await;
        assert!(discovery.route(&plain).await.is_ok());
        assert_eq!(asked(), 4);

        clock.advance(300_000);
        assert!(discovery.route(&plain).await.is_ok());
        assert_eq!(asked(), 5);
    }

    #[test]
    fn a_draw_stays_within_its_range() {
        for most in [0, 1, 99, u32::MAX] {
            for random in [[0; 8], [0xff; 8], [7; 8]] {
                assert!(draw(most, random) <= most);
            }
        }
    }
}
