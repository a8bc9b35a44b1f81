//! Names to addresses and services, by the system's DNS configuration.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};

/// How long one query to one name server may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// How many answers, negative ones included, are remembered for their time to live.
const CACHED_ANSWERS: u64 = 8192;
/// Bounds of the time that an answer is remembered, whatever its zone says.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const MIN_NEGATIVE_TTL: Duration = Duration::from_secs(30);
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60 * 60);

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceRecord {
    /// Lower ones are tried first.
    pub priority: u16,
    /// The share of the load among records of one priority.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host's name without the final dot; empty when the domain declares to have no service.
    pub target: String,
}

/// The look-up failed; whether the name exists is not known.
#[derive(Clone, Debug, thiserror::Error)]
#[error("DNS look-up of {name} failed: {reason}")]
pub struct DnsError {
    /// The name that was looked up.
    pub name: String,
    /// What went wrong.
    pub reason: String,
}

/// Looks names up; a test answers from a table.
#[async_trait]
pub trait Dns: Send + Sync + 'static {
    /// The addresses of a host, empty when it has none or does not exist.
    ///
    /// # Errors
    ///
    /// [`DnsError`] when no name server gave an answer.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError>;

    /// The SRV records of a name like `_matrix-fed._tcp.example.org`, unordered.
    ///
    /// # Errors
    ///
    /// [`DnsError`] when no name server gave an answer.
    async fn services(&self, name: &str) -> Result<Vec<ServiceRecord>, DnsError>;
}

/// The system's resolver with a cache of its own.
pub struct SystemDns {
    resolver: TokioResolver,
}

impl SystemDns {
    /// Reads the system's configuration (`/etc/resolv.conf`, `/etc/hosts`).
    ///
    /// Without a usable one, only `/etc/hosts` answers: a server that talks to fixed addresses
    /// needs no DNS.
    ///
    /// # Errors
    ///
    /// [`DnsError`] when the resolver cannot be built at all.
    pub fn new() -> Result<Self, DnsError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "The system's DNS configuration cannot be used");
            let nowhere = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            Resolver::builder_with_config(nowhere, TokioRuntimeProvider::default())
        });
        set_limits(builder.options_mut());
        let resolver = builder.build().map_err(|error| failure("", &error))?;
        Ok(Self { resolver })
    }
}

fn set_limits(options: &mut ResolverOpts) {
    options.timeout = QUERY_TIMEOUT;
    options.cache_size = CACHED_ANSWERS;
    options.positive_max_ttl = Some(MAX_TTL);
    options.negative_min_ttl = Some(MIN_NEGATIVE_TTL);
    options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
}

#[async_trait]
impl Dns for SystemDns {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.resolver.lookup_ip(absolute(name)).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(failure(name, &error)),
        }
    }

    async fn services(&self, name: &str) -> Result<Vec<ServiceRecord>, DnsError> {
        match self.resolver.lookup(absolute(name), RecordType::SRV).await {
            Ok(found) => {
                Ok(found.answers().iter().filter_map(|record| service(&record.data)).collect())
            }
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(failure(name, &error)),
        }
    }
}

/// With a final dot, so that the system's search domains are not tried: a stranger's `intranet`
/// must not become the administrator's `intranet.company.example`.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

fn service(data: &RData) -> Option<ServiceRecord> {
    let RData::SRV(srv) = data else { return None };
    let target = srv.target.to_ascii();
    Some(ServiceRecord {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: target.strip_suffix('.').unwrap_or(&target).to_owned(),
    })
}

fn failure(name: &str, error: &NetError) -> DnsError {
    DnsError { name: name.to_owned(), reason: error.to_string() }
}

/// The order in which the hosts of a service are tried (RFC 2782): by priority, within one
/// priority at random by weight. `draw(n)` picks a number from `0..=n`.
pub(crate) fn in_order_of_trial(
    mut records: Vec<ServiceRecord>,
    mut draw: impl FnMut(u32) -> u32,
) -> Vec<ServiceRecord> {
    // Weightless records come first so that a draw of zero can reach them.
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let rivals = records.iter().take_while(|record| record.priority == priority);
        let total = rivals.clone().map(|record| u32::from(record.weight)).sum();
        let drawn = draw(total);
        let mut sum = 0;
        let chosen = rivals
            .map(|record| {
                sum += u32::from(record.weight);
                sum
            })
            .position(|sum| sum >= drawn)
            .unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16) -> ServiceRecord {
        let target = format!("{priority}-{weight}");
        ServiceRecord { priority, weight, port: 1, target }
    }

    fn order(records: &[(u16, u16)], draw: impl FnMut(u32) -> u32) -> Vec<String> {
        let records = records.iter().map(|(priority, weight)| record(*priority, *weight)).collect();
        in_order_of_trial(records, draw).into_iter().map(|record| record.target).collect()
    }

    #[test]
    fn priority_comes_before_weight() {
        let records = [(20, 900), (10, 1), (10, 5), (5, 0)];
        assert_eq!(order(&records, |_| 0), ["5-0", "10-1", "10-5", "20-900"]);
        assert_eq!(order(&records, |total| total), ["5-0", "10-5", "10-1", "20-900"]);
    }

    #[test]
    fn a_draw_falls_on_a_record_by_its_weight() {
        let records = [(1, 10), (1, 30), (1, 60)];
        let first = |drawn| order(&records, |total| if total == 100 { drawn } else { 0 }).remove(0);
        for (drawn, expected) in
            [(0, "1-10"), (10, "1-10"), (11, "1-30"), (40, "1-30"), (41, "1-60"), (100, "1-60")]
        {
            assert_eq!(first(drawn), expected, "{drawn}");
        }
    }

    #[test]
    fn a_name_is_looked_up_as_absolute() {
        assert_eq!(absolute("a.example"), "a.example.");
        assert_eq!(absolute("a.example."), "a.example.");
    }

    #[tokio::test]
    async fn the_hosts_file_answers_for_localhost() {
        let addresses = SystemDns::new().unwrap().addresses("localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback));
    }
}
