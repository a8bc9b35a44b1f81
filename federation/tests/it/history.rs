//! History that other servers are asked for, and that they do not have.

use std::sync::Arc;

use ruma::RoomVersionId;
use serde_json::{Value, json};
use starling_engine::rooms::backfill::backfill;
use starling_storage::{Change, rooms};

use crate::{
    network::{Network, Server},
    peer::Peer,
};

#[tokio::test]
async fn what_nobody_has_is_asked_for_ever_more_seldom_and_keeps_nobody_from_the_rest() {
    let network = Arc::new(Network::default());
    let home = Server::new(&network, "home.org").await;
    let peer = Peer::new(&network, "peer.org").await;
    let (alice, mallory) = (home.user("alice").await, peer.user("mallory"));
    let room = home.room(&alice, RoomVersionId::V11, &[]).await;
    assert_eq!(peer.join(&home, &room, &mallory, &RoomVersionId::V11).await.0, 200);

    let mut change = Change::new();
    for number in 0..15 {
        change.write(rooms::Write::Backward {
            room_id: room.to_string(),
            event_id: format!("$unknown{number:02}"),
            add: Some(100 - number),
        });
    }
    home.engine().storage.commit(change).await.unwrap();
    let prefix = "/_matrix/federation/v1/backfill";
    peer.answer(prefix, |_: &Value| (200, json!({ "pdus": [] })));
    // How many events the peer was asked for in each request, since the last look.
    let mut seen = 0;
    let mut asked = async || {
        assert_eq!(backfill(home.engine(), &room, 10).await.unwrap(), 0);
        let all = peer.received(prefix);
        let new: Vec<usize> =
            all[seen..].iter().map(|(uri, _)| uri.matches("v=").count()).collect();
        seen = all.len();
        new
    };
    assert_eq!(asked().await, [10]);
    assert_eq!(asked().await, [5], "the others have their turn");
    assert_eq!(asked().await, [0; 0]);
    network.clock.advance(30_000);
    assert_eq!((asked().await, asked().await), (vec![10], vec![5]));
    network.clock.advance(30_000);
    assert_eq!(asked().await, [0; 0], "the pause has grown");
    network.clock.advance(30_000);
    assert_eq!(asked().await, [10]);
}
