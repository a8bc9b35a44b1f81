//! Which IP addresses may be contacted on a stranger's word. Pure.
//!
//! Server names, redirects and DNS answers come from others, who would like to see this server
//! talk to its own loopback interface, its private network or a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the administrator allows beside public addresses.
#[derive(Clone, Debug, Default)]
pub struct AddressFilter {
    /// Whether loopback, private and shared addresses pass.
    pub allow_private: bool,
    /// Networks that pass whatever they are.
    pub allow: Vec<IpNet>,
    /// Networks that never pass.
    pub deny: Vec<IpNet>,
}

impl AddressFilter {
    /// Whether a connection to `address` may be made.
    ///
    /// An IPv6 address that carries an IPv4 address is judged as both: a denied network denies
    /// it, an allowed one allows it, whichever of the two forms it names.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let embedded = embedded_ipv4(address).map(IpAddr::V4);
        let named_in = |nets: &[IpNet]| {
            nets.iter().any(|net| {
                net.contains(&address) || embedded.is_some_and(|inner| net.contains(&inner))
            })
        };
        if named_in(&self.deny) {
            return false;
        }
        named_in(&self.allow)
            || match kind(address) {
                Kind::Public => true,
                Kind::Private => self.allow_private,
                Kind::Special => false,
            }
    }
}

/// What an address is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Reachable from everywhere.
    Public,
    /// This machine or its network.
    Private,
    /// Nothing that a homeserver could have: multicast, documentation, link-local, reserved.
    Special,
}

/// Loopback, RFC 1918 and the shared space of carrier-grade NAT (RFC 6598).
const PRIVATE_V4: [Ipv4Net; 5] = [
    v4(127, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v4(100, 64, 0, 0, 10),
];

/// The rest of the IANA IPv4 special-purpose registry that is not globally reachable.
const SPECIAL_V4: [Ipv4Net; 10] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(169, 254, 0, 0, 16),  // link-local, cloud metadata
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // 6to4 relays, deprecated
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, broadcast
];

/// Unique local addresses (RFC 4193); loopback is a single address.
const PRIVATE_V6: [Ipv6Net; 2] =
    [v6([0, 0, 0, 0, 0, 0, 0, 1], 128), v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7)];

/// All of IPv6 that is assigned for global unicast.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is inside [`GLOBAL_V6`] and yet no address of a server.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments, Teredo, benchmarks, ORCHID
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// The well-known prefix of translators to IPv4 (RFC 6052).
const NAT64: Ipv6Net = v6([0x0064, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let within = |nets: &[Ipv4Net]| nets.iter().any(|net| net.contains(&address));
    if within(&PRIVATE_V4) {
        Kind::Private
    } else if within(&SPECIAL_V4) {
        Kind::Special
    } else {
        Kind::Public
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    // A connection to one of these forms ends at the IPv4 address, here or behind the network's
    // translator. The other forms that carry an IPv4 address are deprecated and never public.
    if let Some(mapped) = address.to_ipv4_mapped() {
        return kind_v4(mapped);
    }
    if NAT64.contains(&address) {
        return kind_v4(low_ipv4(address));
    }
    let within = |nets: &[Ipv6Net]| nets.iter().any(|net| net.contains(&address));
    if within(&PRIVATE_V6) {
        Kind::Private
    } else if within(&SPECIAL_V6) || !GLOBAL_V6.contains(&address) {
        Kind::Special
    } else {
        Kind::Public
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64, 6to4 or Teredo address.
fn embedded_ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [first, second, third, .., low_a, low_b] = address.segments();
    match (first, second) {
        (0x2002, _) => Some(join(second, third)),
        // Teredo hides the client's address by inverting its bits (RFC 4380, section 4).
        (0x2001, 0) => Some(join(!low_a, !low_b)),
        _ if NAT64.contains(&address) => Some(low_ipv4(address)),
        _ => address.to_ipv4(),
    }
}

fn low_ipv4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., high, low] = address.segments();
    join(high, low)
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const PUBLIC: [&str; 8] = [
        "1.1.1.1",
        "9.255.255.255",
        "100.128.0.1",
        "172.32.0.1",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ];

    const PRIVATE: [&str; 13] = [
        "127.0.0.1",
        "127.255.255.255",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fdff::1",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
    ];

    const SPECIAL: [&str; 31] = [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    #[test]
    fn each_kind_is_told_apart() {
        let table =
            [(&PUBLIC[..], Kind::Public), (&PRIVATE, Kind::Private), (&SPECIAL, Kind::Special)];
        for (addresses, expected) in table {
            for address in addresses {
                assert_eq!(kind(ip(address)), expected, "{address}");
            }
        }
    }

    #[test]
    fn only_public_addresses_pass_by_default() {
        let filter = AddressFilter::default();
        assert!(PUBLIC.iter().all(|address| filter.allows(ip(address))));
        assert!(!PRIVATE.iter().chain(&SPECIAL).any(|address| filter.allows(ip(address))));
    }

    #[test]
    fn private_addresses_pass_when_allowed_and_special_ones_still_do_not() {
        let filter = AddressFilter { allow_private: true, ..AddressFilter::default() };
        assert!(PUBLIC.iter().chain(&PRIVATE).all(|address| filter.allows(ip(address))));
        assert!(!SPECIAL.iter().any(|address| filter.allows(ip(address))));
    }

    #[test]
    fn an_allowed_network_passes_in_every_form() {
        let filter = AddressFilter { allow: nets(&["169.254.0.0/16"]), ..AddressFilter::default() };
        for address in ["169.254.1.1", "::ffff:169.254.1.1", "64:ff9b::169.254.1.1"] {
            assert!(filter.allows(ip(address)), "{address}");
        }
        assert!(!filter.allows(ip("127.0.0.1")));
    }

    #[test]
    fn a_denied_network_is_denied_in_every_form_and_wins() {
        let filter = AddressFilter {
            allow_private: true,
            allow: nets(&["0.0.0.0/0", "::/0"]),
            deny: nets(&["8.8.8.0/24", "fd00::/16"]),
        };
        let denied = [
            "8.8.8.8",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:1:2:3:4:f7f7:f7f7",
            "fd00::1",
        ];
        for address in denied {
            assert!(!filter.allows(ip(address)), "{address}");
        }
        assert!(filter.allows(ip("8.8.9.1")));
    }
}
