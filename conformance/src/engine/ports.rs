//! Ports on 127.0.0.1 that lead to a container's own address.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The ports that every container has: the client API over HTTP, the server API over TLS.
pub(super) const EXPOSED: [u16; 2] = [8008, 8448];

/// Forwards ports until it is dropped, whether the container runs or not.
#[derive(Debug)]
pub(super) struct Ports {
    mapped: Vec<(u16, u16)>,
    _forwarding: DropGuard,
}

impl Ports {
    /// Maps every exposed port of `address` to a free port of 127.0.0.1.
    pub(super) async fn map(address: Ipv4Addr) -> Result<Self> {
        let end = CancellationToken::new();
        let mut mapped = Vec::new();
        for port in EXPOSED {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            mapped.push((port, listener.local_addr()?.port()));
            let accepting = accept(listener, SocketAddrV4::new(address, port), end.clone());
            tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        }
        Ok(Self { mapped, _forwarding: end.drop_guard() })
    }

    /// Pairs of the container's port and the port on 127.0.0.1.
    pub(super) fn mapped(&self) -> &[(u16, u16)] {
        &self.mapped
    }
}

async fn accept(listener: TcpListener, to: SocketAddrV4, end: CancellationToken) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(end.clone().run_until_cancelled_owned(forward(client, to)));
            }
            Err(error) => {
                tracing::warn!(%error, "a mapped port cannot accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A server that does not listen shows as a connection that closes at once.
async fn forward(mut client: TcpStream, to: SocketAddrV4) {
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    // Small writes of either side are passed on as they come; errors end the connection.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{super::network::Range, *};

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let range = Range::take().unwrap();
        let address = range.name_server();
        let server = TcpListener::bind((address, EXPOSED[0])).await.unwrap();
        let ports = Ports::map(address).await.unwrap();
        let (_, port) = ports.mapped()[0];
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut at_server, _) = server.accept().await.unwrap();
        let mut question = String::new();
        at_server.read_to_string(&mut question).await.unwrap();
        at_server.write_all(b"answer").await.unwrap();
        drop(at_server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    }

    #[tokio::test]
    async fn a_server_that_is_away_closes_the_connection() {
        let range = Range::take().unwrap();
        let ports = Ports::map(range.name_server()).await.unwrap();
        let (_, port) = ports.mapped()[1];
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let mut answer = Vec::new();
        // An error (a reset) would tell the same.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
}
