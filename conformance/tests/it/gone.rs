//! Clients that go away while their request is worked on: what they began is brought to its end.

use std::sync::Arc;

use serde_json::json;
use starling_conformance::{
    client::{Sync, User, path},
    evil::{Peer, Reply, Room},
    servers::Server,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
};

use crate::support;

/// Sends a request, and hangs up as soon as `begun` has returned. Comes back when the server knows.
async fn hang_up(server: &Server, user: &User, target: &str, begun: impl Future) {
    let address = server.client_url().replace("http://", "");
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}",
        user.token
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    begun.await;
    connection.shutdown().await.unwrap();
    // The server closes its half when it has let go of the connection.
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

/// The peer holds its honest answer to this request back until the sign is given.
fn hold(peer: &Peer, piece: &'static str, reply: serde_json::Value) -> Arc<Notify> {
    let sign = Arc::new(Notify::new());
    let held = Reply::OnSign(sign.clone(), Box::new(Reply::ok(reply)));
    peer.answer(piece, held);
    sign
}

#[tokio::test]
async fn a_join_over_federation_is_brought_to_its_end() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = peer.create_room("11", &peer.user("mallory")).unwrap();
    let event = room.member(&alice.id, &alice.id, "join").unwrap();
    let sign = hold(&peer, "make_join", json!({ "room_version": "11", "event": event }));
    let target = path("/_matrix/client/v3/join/{}?via={}", &[&room.id, &peer.name]);
    let asked = peer.received("make_join", |it| it.pieces.iter().any(|piece| piece == "make_join"));
    hang_up(server, &alice, &target, asked).await;
    sign.notify_one();
    peer.received("send_join", |it| it.pieces.iter().any(|piece| piece == "send_join"))
        .await
        .unwrap();
    let mut sync = Sync::start(&alice).await.unwrap();
    sync.membership(&room.id, &alice.id, "join").await.unwrap();
}

/// An invitation that Mallory's room gives Alice.
async fn invited(server: &Server, peer: &Peer, alice: &User) -> Room {
    let mallory = peer.user("mallory");
    let room = peer.create_room_with("11", &mallory, "invite", &[]).unwrap();
    peer.invite(server, &room, &mallory, &alice.id).await.unwrap();
    room
}

#[tokio::test]
async fn a_refused_invitation_is_brought_to_its_end() {
    let server = support::server().await;
    let (peer, alice) = (support::peer().await, support::user("alice").await);
    let room = invited(server, &peer, &alice).await;
    let event = room.member(&alice.id, &alice.id, "leave").unwrap();
    let sign = hold(&peer, "make_leave", json!({ "room_version": "11", "event": event }));
    let mut sync = Sync::start(&alice).await.unwrap();
    let target = path("/_matrix/client/v3/rooms/{}/leave", &[&room.id]);
    let asked =
        peer.received("make_leave", |it| it.pieces.iter().any(|piece| piece == "make_leave"));
    hang_up(server, &alice, &target, asked).await;
    sign.notify_one();
    sync.section("leave", &room.id).await.unwrap();
}
