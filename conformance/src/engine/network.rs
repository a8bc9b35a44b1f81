//! Networks: the names of the containers and their loopback addresses.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, bail};

use crate::random;

/// Names with an address in every network before there is a container: a server reads where its
/// peers are when it starts, and they may start later.
const EXPECTED_NAMES: [&str; 4] = ["hs1", "hs2", "hs3", "hs4"];

/// Where the host itself is, from a container's point of view.
const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// What a container's extra hosts call the host.
const HOST_GATEWAY: &str = "host-gateway";

const LOWEST: u8 = 16;
const HIGHEST: u8 = 250;
const ATTEMPTS: usize = 100;

/// The addresses `127.A.0.0/16` of one engine.
#[derive(Debug)]
pub(super) struct Range {
    second: u8,
    /// Keeps other engines off: nobody else can listen here.
    _mark: TcpListener,
}

impl Range {
    /// Takes a range that no other engine on this machine has.
    pub(super) fn take() -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let [random] = random::bytes::<1>()?;
            let second = LOWEST + random % (HIGHEST - LOWEST);
            if let Ok(mark) = TcpListener::bind((Ipv4Addr::new(127, second, 0, 1), 8008)) {
                return Ok(Self { second, _mark: mark });
            }
        }
        bail!("no free range of loopback addresses after {ATTEMPTS} attempts");
    }

    /// The address of the engine's own name server.
    pub(super) fn name_server(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 0, 53)
    }
}

/// A network.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    base: [u8; 3],
    names: Mutex<BTreeMap<String, Ipv4Addr>>,
}

impl Network {
    /// An empty network, the `number`th of its engine.
    pub(super) fn new(
        range: &Range,
        number: u8,
        name: String,
        labels: BTreeMap<String, String>,
    ) -> Result<Self> {
        let id = hex(&random::bytes::<32>()?);
        let base = [127, range.second, number];
        let names = EXPECTED_NAMES.into_iter().map(str::to_owned).zip(addresses(base)).collect();
        Ok(Self { id, name, labels, base, names: Mutex::new(names) })
    }

    /// The address for a container of this name: the one that belongs to the name, now and later, unless
    /// it is among those `in_use`. Whoever has it answers to the name then, and this one to its ports
    /// alone.
    pub(super) fn address(&self, name: &str, in_use: &[Ipv4Addr]) -> Result<Ipv4Addr> {
        let mut names = self.names();
        let spare = |names: &BTreeMap<String, Ipv4Addr>| {
            addresses(self.base)
                .find(|it| !in_use.contains(it) && names.values().all(|of| of != it))
                .context("the network is full")
        };
        let own = match names.get(name) {
            Some(own) => *own,
            None => spare(&names)?,
        };
        names.insert(name.to_owned(), own);
        if in_use.contains(&own) { spare(&names) } else { Ok(own) }
    }

    /// All names with their addresses, and `extra` ones (`name:address`, or `name:host-gateway`).
    pub(super) fn peers(&self, extra: &[String]) -> Vec<(String, String)> {
        let names = self.names();
        let known = names.iter().map(|(name, address)| (name.clone(), address.to_string()));
        let extra = extra.iter().filter_map(|entry| {
            let (name, address) = entry.split_once(':')?;
            let address =
                if address == HOST_GATEWAY { HOST.to_string() } else { address.to_owned() };
            Some((name.to_owned(), address))
        });
        known.chain(extra).collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Ipv4Addr>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses of a network.
fn addresses([first, second, third]: [u8; 3]) -> impl Iterator<Item = Ipv4Addr> {
    (1..u8::MAX).map(move |last| Ipv4Addr::new(first, second, third, last))
}

/// Bytes as the ids of the API are written.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> Network {
        Network::new(&Range::take().unwrap(), number, "n".to_owned(), BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_name_keeps_its_address_and_shares_it_with_no_other() {
        let network = network(3);
        let first = network.address("hs1", &[]).unwrap();
        assert_eq!(first.octets()[2..], [3, 1]);
        assert_eq!(network.address("other", &[]).unwrap().octets()[2..], [3, 5]);
        assert_eq!(network.address("hs1", &[]).unwrap(), first);
    }

    #[test]
    fn two_containers_of_one_name_have_addresses_of_their_own() {
        let network = network(4);
        let first = network.address("hs1", &[]).unwrap();
        let second = network.address("hs1", &[first]).unwrap();
        assert_eq!([first, second].map(|it| it.octets()[3]), [1, 5]);
        assert!(network.peers(&[]).contains(&("hs1".to_owned(), first.to_string())));
        assert_eq!(network.address("other", &[first, second]).unwrap().octets()[3], 6);
        assert_eq!(network.address("hs1", &[]).unwrap(), first);
    }

    #[test]
    fn peers_are_known_before_they_exist_and_the_host_is_among_them() {
        let network = network(1);
        let peers = network.peers(&["host.docker.internal:host-gateway".to_owned()]);
        assert!(peers.iter().any(|(name, _)| name == "hs3"));
        assert!(peers.contains(&("host.docker.internal".to_owned(), "127.0.0.1".to_owned())));
    }

    #[test]
    fn two_engines_do_not_share_a_range() {
        let (one, other) = (Range::take().unwrap(), Range::take().unwrap());
        assert_ne!(one.second, other.second);
    }
}
