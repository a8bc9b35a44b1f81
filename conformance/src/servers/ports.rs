//! Free TCP ports on loopback.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, bail};

use crate::random;

/// Below the range from which the system gives ports to outgoing connections, so that nothing takes
/// a server's port while the server is stopped for a while.
const LOWEST: u16 = 12_000;
const HIGHEST: u16 = 31_000;
const ATTEMPTS: usize = 100;

/// A port on 127.0.0.1 on which nothing listens now, and never twice the same: a server is known to
/// others by its port, and they remember its keys longer than it lives.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..ATTEMPTS {
        let port = LOWEST + u16::from_le_bytes(random::bytes()?) % (HIGHEST - LOWEST);
        let new = GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if new && TcpListener::bind(loopback(port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on loopback after {ATTEMPTS} attempts");
}

/// 127.0.0.1 with this port.
pub fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}
