//! Long answers that a client asks for again and again, and does not take.

use std::{net::SocketAddr, time::Duration};

use starling_conformance::{
    client::{User, path},
    servers::Kind,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support;

/// On how many connections it is asked: an answer of half a megabyte on each is more than may be left untaken.
const CONNECTIONS: usize = 48;
/// How often on each: the first ones may fit into the buffers of the system.
const OFTEN: usize = 20;
const LONG: Duration = Duration::from_secs(30);

/// Asks for `target` again and again, and reads nothing of the answers.
async fn ask(address: SocketAddr, user: &User, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let token = &user.token;
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.repeat(OFTEN).as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_takes_nothing_is_refused_until_it_is_taken() {
    if support::spec().kind != Kind::Starling {
        return;
    }
    let server = support::server_with(&[]).await;
    let (alice, bob) = (
        User::register(&server, "alice").await.unwrap(),
        User::register(&server, "bob").await.unwrap(),
    );
    let room = alice.create_public_room().await.unwrap();
    bob.join(&room, &[]).await.unwrap();
    for _ in 0..10 {
        alice.say(&room, &"much to read ".repeat(4000)).await.unwrap();
    }
    let target = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=10", &[&room]);
    let address = server.client_url().trim_start_matches("http://").parse().unwrap();
    let mut asked = Vec::new();
    for _ in 0..CONNECTIONS {
        asked.push(ask(address, &alice, &target).await);
    }
    let refused = async {
        while alice.api.get(&target).await.unwrap().status == 200 {}
        alice.api.get(&target).await.unwrap().expect_error(429, "M_LIMIT_EXCEEDED").unwrap();
    };
    timeout(LONG, refused).await.expect("she gets everything");
    // What is short she gets, and others get all.
    alice.api.get("/_matrix/client/v3/account/whoami").await.unwrap().ok().unwrap();
    bob.api.get(&target).await.unwrap().ok().unwrap();
    drop(asked);
    let served = async { while alice.api.get(&target).await.unwrap().status != 200 {} };
    timeout(LONG, served).await.expect("she gets nothing any more");
}
