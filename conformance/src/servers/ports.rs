//! Free TCP ports on loopback.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use anyhow::{Result, bail};

use crate::random;

/// Below the range from which the system gives ports to outgoing connections, so that nothing takes
/// a server's port while the server is stopped for a while.
const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 31_000;
const ATTEMPTS: usize = 100;

/// A port on 127.0.0.1 on which nothing listens now.
pub fn free() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = LOWEST + u16::from_le_bytes(random::bytes()?) % (HIGHEST - LOWEST);
        if TcpListener::bind(loopback(port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on loopback after {ATTEMPTS} attempts");
}

/// 127.0.0.1 with this port.
pub fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}
