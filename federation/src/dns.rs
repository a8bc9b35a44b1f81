//! Names to addresses and services, by the system's DNS configuration.

use std::{net::IpAddr, time::Duration};

use async_trait::async_trait;
use hickory_resolver::{
    Resolver, ResolverBuilder, TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};

/// How long one query to one name server may take ...
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// ... and how often it is repeated: one discovery makes several look-ups within the time limit
/// of one request.
const RETRIES: usize = 2;
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
        Self::build(TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "The system's DNS configuration cannot be used");
            let nowhere = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            Resolver::builder_with_config(nowhere, TokioRuntimeProvider::default())
        }))
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<Self, DnsError> {
        set_limits(builder.options_mut());
        let resolver = builder.build().map_err(|error| failure("", &error))?;
        Ok(Self { resolver })
    }
}

fn set_limits(options: &mut ResolverOpts) {
    options.timeout = QUERY_TIMEOUT;
    options.attempts = RETRIES;
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
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig},
        proto::{
            op::{Message, Query, ResponseCode},
            rr::{
                Name, Record,
                rdata::{A, AAAA, CNAME, SOA, SRV},
            },
        },
    };
    use tokio::net::UdpSocket;

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

    /// A name server that answers from a small zone and counts its queries.
    async fn name_server() -> (SystemDns, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let dns = resolver_of(socket.local_addr().unwrap());
        let asked = Arc::<AtomicUsize>::default();
        let counter = asked.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answer(&Message::from_vec(&buffer[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        (dns, asked)
    }

    fn resolver_of(server: SocketAddr) -> SystemDns {
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![connection]);
        let search = Name::from_ascii("company.example.").unwrap();
        let config = ResolverConfig::from_parts(None, vec![search], vec![server]);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        SystemDns::build(builder).unwrap()
    }

    fn answer(question: &Message) -> Message {
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.metadata.recursion_available = true;
        for query in &question.queries {
            answer.queries.push(query.clone());
            answer.answers.extend(records(query));
        }
        if answer.answers.is_empty() {
            let name = |text: &str| Name::from_ascii(text).unwrap();
            let soa = SOA::new(name("ns.example."), name("ns.example."), 1, 1, 1, 1, 60);
            answer.authorities.push(Record::from_rdata(name("example."), 60, RData::SOA(soa)));
            let broken = question
                .queries
                .iter()
                .any(|query| query.name().to_lowercase().to_ascii().ends_with("broken.example."));
            answer.metadata.response_code =
                if broken { ResponseCode::ServFail } else { ResponseCode::NXDomain };
        }
        answer
    }

    fn records(query: &Query) -> Vec<Record> {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let srv = |priority, port, target| RData::SRV(SRV::new(priority, 5, port, name(target)));
        let alias = || RData::CNAME(CNAME(name("b.example.")));
        let v4 = || RData::A(A::new(192, 0, 2, 1));
        let v6 = || RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let record = |owner: &str, data| Record::from_rdata(name(owner), 300, data);
        let asked = query.name().to_lowercase().to_ascii();
        match (asked.as_str(), query.query_type()) {
            ("_matrix-fed._tcp.a.example.", RecordType::SRV) => {
                [srv(9, 8448, "b.example."), srv(1, 443, ".")]
                    .map(|data| record("_matrix-fed._tcp.a.example.", data))
                    .into()
            }
            ("a.example.", RecordType::A) => {
                vec![record("a.example.", alias()), record("b.example.", v4())]
            }
            ("a.example.", RecordType::AAAA) => {
                vec![record("a.example.", alias()), record("b.example.", v6())]
            }
            ("intranet.company.example.", RecordType::A) => {
                vec![record("intranet.company.example.", v4())]
            }
            _ => Vec::new(),
        }
    }

    #[tokio::test]
    async fn answers_of_a_name_server_are_read_and_remembered() {
        let (dns, asked) = name_server().await;
        let asked = || asked.load(Ordering::SeqCst);
        for _ in 0..2 {
            let mut addresses = dns.addresses("a.example").await.unwrap();
            addresses.sort();
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"]);

            let mut services = dns.services("_matrix-fed._tcp.a.example").await.unwrap();
            services.sort_by_key(|service| service.priority);
            let target = |priority, port, target: &str| ServiceRecord {
                priority,
                weight: 5,
                port,
                target: target.to_owned(),
            };
            assert_eq!(services, [target(1, 443, ""), target(9, 8448, "b.example")]);

            assert_eq!(dns.addresses("gone.example").await.unwrap(), [] as [IpAddr; 0]);
            assert_eq!(dns.services("_matrix._tcp.a.example").await.unwrap(), []);
        }
        // Two for each host, one for each service.
        assert_eq!(asked(), 6);
    }

    #[tokio::test]
    async fn search_domains_do_not_complete_a_strangers_name() {
        let (dns, _) = name_server().await;
        assert_eq!(dns.addresses("intranet").await.unwrap(), [] as [IpAddr; 0]);
    }

    #[tokio::test]
    async fn a_failing_name_server_is_an_error_and_no_empty_answer() {
        let (dns, _) = name_server().await;
        assert!(dns.addresses("broken.example").await.is_err());
        assert!(dns.services("_matrix._tcp.broken.example").await.is_err());
    }
}
