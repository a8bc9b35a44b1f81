//! A server that may have little memory, where control groups can be made to bound it.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use starling_conformance::{
    client::Api,
    servers::{ControlGroup, Kind, process::raise_file_limit},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::support;

/// What the server may have, in MiB.
const MEMORY: u64 = 128;
/// So many connections fit into a quarter of it.
const FITTING: usize = 682;
/// How many are tried.
const TRIED: usize = 800;
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
    assert!(connections.len() > FITTING / 2, "of {FITTING} only {} are left", connections.len());
    drop(connections);
    let api = Api::new(&server).unwrap();
    let answered = async {
        // Until the server has noticed that they are gone.
        while api.get("/_matrix/client/versions").await.is_err() {}
    };
    timeout(LONG, answered).await.expect("nobody is served any more");
}
