//! What is known about the connection that a request came on.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use starling_engine::measures::Entered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Line;

/// Stands in the extensions of each request; all requests of a connection share it.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Given back when the connection and its last request have ended.
    _place: Arc<(OwnedSemaphorePermit, Entered)>,
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

/// The places of a listener.
pub(super) struct Places {
    free: Arc<Semaphore>,
    line: Line,
}

impl Places {
    /// So many, of which those that are taken are counted.
    pub(super) fn new(limit: usize, line: Line) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), line }
    }
}

/// All places of the listener are taken.
#[derive(Debug, thiserror::Error)]
#[error("the listener has as many connections as `limits.connections` allows")]
pub(super) struct NoPlace;

impl Connection {
    /// Takes one of the listener's places.
    pub(super) fn open(peer: Peer, places: &Places) -> Result<Self, NoPlace> {
        let Ok(place) = places.free.clone().try_acquire_owned() else {
            places.line.refused.count();
            return Err(NoPlace);
        };
        Ok(Self { peer, _place: Arc::new((place, places.line.open.enter())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_after_the_last_copy_is_gone() {
        let places = Places::new(1, Line::default());
        let first = Connection::open(Peer::Socket, &places).unwrap();
        let copy = first.clone();
        drop(first);
        assert!(Connection::open(Peer::Socket, &places).is_err());
        assert_eq!((places.line.open.get(), places.line.refused.get()), (1, 1));
        drop(copy);
        assert!(Connection::open(Peer::Socket, &places).is_ok());
    }
}
