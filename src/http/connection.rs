//! What is known about the connection that a request came on.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Stands in the extensions of each request; all requests of a connection share it.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Given back when the connection and its last request have ended.
    _place: Arc<OwnedSemaphorePermit>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// An address in a network.
    Network(IpAddr),
    /// A process on this machine that may open the socket: the proxy.
    Socket,
}

impl Peer {
    /// The peer's address; that of a process on this machine is loopback.
    pub(super) fn ip(self) -> IpAddr {
        match self {
            Self::Network(ip) => ip,
            Self::Socket => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

/// All places of the listener are taken.
#[derive(Debug, thiserror::Error)]
#[error("the listener has as many connections as `limits.connections` allows")]
pub(super) struct NoPlace;

impl Connection {
    /// Takes one of the listener's places.
    pub(super) fn open(peer: Peer, places: &Arc<Semaphore>) -> Result<Self, NoPlace> {
        let place = places.clone().try_acquire_owned().map_err(|_| NoPlace)?;
        Ok(Self { peer, _place: Arc::new(place) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_after_the_last_copy_is_gone() {
        let places = Arc::new(Semaphore::new(1));
        let first = Connection::open(Peer::Socket, &places).unwrap();
        let copy = first.clone();
        drop(first);
        assert!(Connection::open(Peer::Socket, &places).is_err());
        drop(copy);
        assert!(Connection::open(Peer::Socket, &places).is_ok());
    }
}
