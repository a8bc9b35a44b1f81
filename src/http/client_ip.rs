//! Finds the address of the client behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use http::HeaderMap;
use ipnet::IpNet;
use starling_client_api::client_ip::ClientIp;

use super::connection::{Connection, Peer};

/// Puts [`ClientIp`] into the request's extensions.
pub(super) fn find_client_ip(request: &mut Request, trusted: &[IpNet]) {
    if let Some(connection) = request.extensions().get::<Connection>() {
        let ip = client_ip(connection.peer, request.headers(), trusted);
        request.extensions_mut().insert(ClientIp(ip));
    }
}

/// Each proxy appends the address it was contacted from, so the list is read from its end, as long
/// as the one who appended is trusted. What an untrusted client wrote itself is never reached.
fn client_ip(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut ip = peer.ip().to_canonical();
    let mut is_trusted = is_trusted_proxy(peer, trusted);
    for entry in forwarded_for(headers) {
        if !is_trusted {
            break;
        }
        let Some(next) = parse(entry) else { break };
        ip = next;
        is_trusted = is_in(trusted, ip);
    }
    ip
}

/// Whether what a request says besides the request itself comes from a proxy that is believed.
pub(super) fn is_trusted_proxy(peer: Peer, trusted: &[IpNet]) -> bool {
    peer == Peer::Socket || is_in(trusted, peer.ip().to_canonical())
}

/// The entries of all `X-Forwarded-For` headers, the last one first.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    values
        .into_iter()
        .rev()
        .flat_map(|value| value.to_str().unwrap_or_default().rsplit(',').map(str::trim))
}

/// An address, with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|ip: IpAddr| ip.to_canonical())
}

fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let peer =
            if peer == "socket" { Peer::Socket } else { Peer::Network(peer.parse().unwrap()) };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client_ip(peer, &headers, &trusted).to_string()
    }

    #[test]
    fn strangers_cannot_choose_their_address() {
        assert_eq!(found("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(found("10.0.0.1", &["198.51.100.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(found("10.0.0.1", &["10.6.6.6, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(found("10.0.0.1", &["198.51.100.1", "203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn chains_of_trusted_proxies_are_followed() {
        assert_eq!(found("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(found("10.0.0.1", &["203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(found("::1", &["203.0.113.9", "10.0.0.2,10.0.0.3"]), "203.0.113.9");
        assert_eq!(found("10.0.0.1", &["10.0.0.9"]), "10.0.0.9");
        assert_eq!(found("socket", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(found("socket", &[]), "127.0.0.1");
    }

    #[test]
    fn every_usual_spelling_is_read() {
        for (entry, ip) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(found("10.0.0.1", &[entry]), ip);
        }
        assert_eq!(found("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn nonsense_ends_the_search() {
        for entry in ["unknown", "", "203.0.113.9, nonsense", "\u{e9}"] {
            assert_eq!(found("10.0.0.1", &[entry]), "10.0.0.1", "{entry}");
        }
    }
}
