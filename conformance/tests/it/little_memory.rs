//! A server that may have little memory, where control groups can be made to bound it.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use starling_conformance::{
    client::Api,
    servers::{ControlGroup, Kind, process::raise_file_limit},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::support;

/// What the server may have, in MiB.
const MEMORY: u64 = 128;
/// So many connections to each of two listeners fit into half of what of it is given away.
const FITTING: usize = 341;
/// How many are tried.
const TRIED: usize = 400;
/// How many of those that fit may be those by which it was seen that the server is ready.
const OTHERS: usize = 8;
const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn no_more_connections_are_taken_than_memory_is_there_for() {
    let mut spec = support::spec();
    if spec.kind != Kind::Starling {
        return;
    }
    let Some(group) = ControlGroup::make(MEMORY).unwrap() else { return };
    raise_file_limit().unwrap();
    spec.group = Some(group.directory().to_owned());
    // They are not to be closed for being idle.
    let server = support::start(spec.with_setting("LIMITS__HEADER_SECONDS", "600")).await;
    let address = server.client_url().replace("http://", "");
    let mut connections = FuturesUnordered::new();
    for _ in 0..TRIED {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        connections.push(async move { matches!(connection.read(&mut [0]).await, Ok(0) | Err(_)) });
    }
    for _ in FITTING..TRIED {
        let ended = timeout(LONG, connections.next()).await.expect("more than fit were taken");
        assert_eq!(ended, Some(true), "nobody has asked anything");
    }
    while let Some(Some(_)) = connections.next().now_or_never() {}
    let left = connections.len();
    assert!(left >= FITTING - OTHERS, "of {FITTING} only {left} were taken");
    drop(connections);
    let api = Api::new(&server).unwrap();
    let answered = async {
        // Until the server has noticed that they are gone.
        while api.get("/_matrix/client/versions").await.is_err() {}
    };
    timeout(LONG, answered).await.expect("nobody is served any more");
}
