//! Two homeservers with users of their own: what one does, the other sees.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId};
use serde_json::{Value, json};
use starling_engine::{
    reading::{access::Asking, filter::Filter},
    rooms::{
        backfill,
        membership::{
            MembershipError,
            content::Member,
            invite::{Invite, invite},
            join::{Join, join},
            knock::knock,
            leave::leave,
            remove::{Removal, ban, kick, unban},
        },
        versions,
    },
    sync::{Request, sync},
};

use crate::network::{Network, Server};

struct World {
    network: Arc<Network>,
    a: Server,
    b: Server,
    alice: OwnedUserId,
    bob: OwnedUserId,
}

impl World {
    async fn new() -> Self {
        let network = Arc::new(Network::default());
        let (a, b) = (Server::new(&network, "a.org").await, Server::new(&network, "b.org").await);
        let (alice, bob) = (a.user("alice").await, b.user("bob").await);
        Self { network, a, b, alice, bob }
    }

    async fn join(&self, room: &OwnedRoomId) -> Result<(), MembershipError> {
        let via = vec![self.a.name().to_owned()];
        let more = serde_json::Map::new();
        let (user_id, room_id) = (&*self.bob, &**room);
        join(self.b.engine(), Join { user_id, room_id, via, reason: None, more }).await.map(|_| ())
    }

    async fn invite(&self, room: &OwnedRoomId) -> Result<(), MembershipError> {
        let (sender, target) = (&*self.alice, &*self.bob);
        let wanted = Invite { room_id: room, sender, target, member: Member::default() };
        invite(self.a.engine(), wanted).await.map(|_| ())
    }

    fn removal<'a>(&'a self, room: &'a OwnedRoomId) -> Removal<'a> {
        Removal { room_id: room, sender: &self.alice, target: &self.bob, reason: None }
    }

    /// Waits until both servers have the same state.
    async fn agree(&self, room: &OwnedRoomId) {
        self.b
            .until("agreement", async || self.a.state(room).await == self.b.state(room).await)
            .await;
    }

    /// The events that Bob is shown of a room that he is out of, in a first /sync.
    async fn left(&self, room: &OwnedRoomId) -> Vec<Value> {
        let filter = Filter::parse(r#"{"room":{"include_leave":true}}"#).unwrap();
        let asking = Asking { user_id: &self.bob, device_id: None };
        let request = Request { filter: filter.into(), ..Request::default() };
        let answer = sync(self.b.engine(), asking, request).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        let events = &answer["rooms"]["leave"][room.as_str()]["timeline"]["events"];
        events.as_array().cloned().unwrap_or_default()
    }

    /// Waits until Bob is out, and is shown by one event how that came.
    async fn out(&self, room: &OwnedRoomId, membership: &str, by: &OwnedUserId) {
        self.until_bob_is(room, membership).await;
        let events = self.left(room).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["type"], "m.room.member");
        assert_eq!(events[0]["state_key"], self.bob.as_str());
        assert_eq!(events[0]["sender"], by.as_str());
        assert_eq!(events[0]["content"]["membership"], membership);
    }

    /// Waits until Bob is that, for his own server.
    async fn until_bob_is(&self, room: &OwnedRoomId, membership: &str) {
        let is = async || {
            let now = self.b.membership(room.as_str(), self.bob.as_str()).await;
            now.as_deref() == Some(membership)
        };
        self.b.until(membership, is).await;
    }
}

#[tokio::test]
async fn messages_go_both_ways() {
    for version in [RoomVersionId::V1, RoomVersionId::V5, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new().await;
        let room = world.a.room(&world.alice, version.clone(), &[]).await;
        world.join(&room).await.unwrap();
        world.agree(&room).await;
        let mut expected = Vec::new();
        for number in 0..10 {
            let (server, user, other) = match number % 2 {
                0 => (&world.a, &world.alice, &world.b),
                _ => (&world.b, &world.bob, &world.a),
            };
            server.say(&room, user, &number.to_string()).await;
            expected.push(number.to_string());
            let arrived = async || other.messages(&room).await.last() == expected.last();
            other.until("the message", arrived).await;
        }
        assert_eq!(world.a.messages(&room).await, expected, "{version}");
        assert_eq!(world.b.messages(&room).await, expected, "{version}");
    }
}

#[tokio::test]
async fn an_invite_is_seen_and_can_be_taken_back_or_refused() {
    let world = World::new().await;
    let private = [("m.room.join_rules", json!({ "join_rule": "invite" }))];
    let room = world.a.room(&world.alice, RoomVersionId::V12, &private).await;
    assert!(world.join(&room).await.is_err(), "not without an invite");

    world.invite(&room).await.unwrap();
    world.until_bob_is(&room, "invite").await;
    kick(world.a.engine(), world.removal(&room)).await.unwrap();
    world.out(&room, "leave", &world.alice).await;

    world.invite(&room).await.unwrap();
    world.until_bob_is(&room, "invite").await;
    leave(world.b.engine(), &world.bob, &room, None).await.unwrap();
    world.out(&room, "leave", &world.bob).await;
    assert_eq!(
        world.a.membership(room.as_str(), world.bob.as_str()).await.as_deref(),
        Some("leave")
    );

    world.invite(&room).await.unwrap();
    world.join(&room).await.unwrap();
    world.agree(&room).await;
    assert_eq!(
        world.a.membership(room.as_str(), world.bob.as_str()).await.as_deref(),
        Some("join")
    );
}

#[tokio::test]
async fn how_an_invite_ended_is_shown_in_every_version() {
    for version in versions::SUPPORTED {
        let world = World::new().await;
        let private = [("m.room.join_rules", json!({ "join_rule": "invite" }))];
        let room = world.a.room(&world.alice, version.clone(), &private).await;
        world.invite(&room).await.unwrap();
        world.until_bob_is(&room, "invite").await;
        ban(world.a.engine(), world.removal(&room)).await.unwrap();
        world.out(&room, "ban", &world.alice).await;

        unban(world.a.engine(), world.removal(&room)).await.unwrap();
        world.invite(&room).await.unwrap();
        world.until_bob_is(&room, "invite").await;
        assert!(world.left(&room).await.is_empty(), "{version}: the past is over");
        // Nobody helps, and Bob's devices are told all the same.
        world.network.unplug("a.org");
        leave(world.b.engine(), &world.bob, &room, Some("no".to_owned())).await.unwrap();
        world.out(&room, "leave", &world.bob).await;
        assert_eq!(world.left(&room).await[0]["content"]["reason"], "no", "{version}");
        world.a.plug();
        world.invite(&room).await.unwrap();
        world.until_bob_is(&room, "invite").await;
        world.join(&room).await.unwrap();
        world.agree(&room).await;
    }
}

#[tokio::test]
async fn kick_ban_and_coming_back() {
    let world = World::new().await;
    let room = world.a.room(&world.alice, RoomVersionId::V11, &[]).await;
    world.join(&room).await.unwrap();
    kick(world.a.engine(), world.removal(&room)).await.unwrap();
    world.until_bob_is(&room, "leave").await;
    world.join(&room).await.unwrap();
    world.agree(&room).await;
    world.b.say(&room, &world.bob, "back").await;
    world.a.until("the message", async || world.a.messages(&room).await == ["back"]).await;

    ban(world.a.engine(), world.removal(&room)).await.unwrap();
    world.until_bob_is(&room, "ban").await;
    assert!(matches!(
        world.join(&room).await,
        Err(MembershipError::Forbidden(_) | MembershipError::RemoteFailed(_))
    ));
    unban(world.a.engine(), world.removal(&room)).await.unwrap();
    world.join(&room).await.unwrap();
    world.agree(&room).await;
    leave(world.b.engine(), &world.bob, &room, None).await.unwrap();
    let left = async || {
        let now = world.a.membership(room.as_str(), world.bob.as_str()).await;
        now.as_deref() == Some("leave")
    };
    world.a.until("the leave", left).await;
}

#[tokio::test]
async fn apart_and_together_again() {
    for version in [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12] {
        let world = World::new().await;
        let room = world.a.room(&world.alice, version.clone(), &[]).await;
        world.join(&room).await.unwrap();
        world.agree(&room).await;
        world.network.unplug("a.org");
        world.network.unplug("b.org");
        for number in 0..3 {
            world.a.say(&room, &world.alice, &format!("a{number}")).await;
            world.b.say(&room, &world.bob, &format!("b{number}")).await;
            let topic = json!({ "topic": number.to_string() });
            world.a.set(&room, &world.alice, "m.room.topic", topic).await;
        }
        world.a.plug();
        world.b.plug();
        // Whoever speaks is spoken to: one message brings the two together.
        world.a.say(&room, &world.alice, "again").await;
        let whole = async |server: &Server| server.messages(&room).await.len() == 7;
        world.b.until("all messages", async || whole(&world.b).await).await;
        world.a.until("all messages", async || whole(&world.a).await).await;
        world.agree(&room).await;
    }
}

#[tokio::test]
async fn a_server_that_was_away_for_long_misses_nothing() {
    let world = World::new().await;
    let room = world.a.room(&world.alice, RoomVersionId::V12, &[]).await;
    world.join(&room).await.unwrap();
    world.agree(&room).await;
    world.network.unplug("b.org");
    // More than fit into a transaction, with people who come and state that changes.
    let mut said = Vec::new();
    for number in 0..120 {
        world.a.say(&room, &world.alice, &number.to_string()).await;
        said.push(number.to_string());
        if number % 20 == 0 {
            world.network.clock.advance(60 * 60_000);
            let topic = json!({ "topic": number.to_string() });
            world.a.set(&room, &world.alice, "m.room.topic", topic).await;
            let newcomer = world.a.user(&format!("newcomer{number}")).await;
            let (user_id, room_id, more) = (&*newcomer, &*room, serde_json::Map::new());
            let wanted = Join { user_id, room_id, via: vec![], reason: None, more };
            join(world.a.engine(), wanted).await.unwrap();
        }
    }
    world.b.plug();
    // It is told at once, when it says something.
    world.b.say(&room, &world.bob, "back").await;
    said.push("back".to_owned());
    said.sort();
    let has_all = async |server: &Server| {
        let mut messages = server.messages(&room).await;
        messages.sort();
        messages == said
    };
    world.b.until("all messages", async || has_all(&world.b).await).await;
    world.a.until("all messages", async || has_all(&world.a).await).await;
    world.agree(&room).await;
}

#[tokio::test]
async fn knocking_and_being_let_in() {
    let world = World::new().await;
    let rules = [("m.room.join_rules", json!({ "join_rule": "knock" }))];
    let room = world.a.room(&world.alice, RoomVersionId::V12, &rules).await;
    let wish = || Join {
        user_id: &world.bob,
        room_id: &room,
        via: vec![world.a.name().to_owned()],
        reason: None,
        more: serde_json::Map::new(),
    };
    knock(world.b.engine(), wish()).await.unwrap();
    world.until_bob_is(&room, "knock").await;
    kick(world.a.engine(), world.removal(&room)).await.unwrap();
    world.out(&room, "leave", &world.alice).await;
    knock(world.b.engine(), wish()).await.unwrap();
    world.until_bob_is(&room, "knock").await;
    ban(world.a.engine(), world.removal(&room)).await.unwrap();
    world.out(&room, "ban", &world.alice).await;
    unban(world.a.engine(), world.removal(&room)).await.unwrap();
    knock(world.b.engine(), wish()).await.unwrap();
    world.until_bob_is(&room, "knock").await;
    leave(world.b.engine(), &world.bob, &room, None).await.unwrap();
    world.out(&room, "leave", &world.bob).await;
    knock(world.b.engine(), wish()).await.unwrap();
    world.invite(&room).await.unwrap();
    world.until_bob_is(&room, "invite").await;
    world.join(&room).await.unwrap();
    world.agree(&room).await;
}

#[tokio::test]
async fn members_of_another_room_may_join() {
    for version in [RoomVersionId::V8, RoomVersionId::V10, RoomVersionId::V12] {
        let world = World::new().await;
        let club = world.a.room(&world.alice, version.clone(), &[]).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
        let rules = json!({ "join_rule": "restricted", "allow": allow });
        let room =
            world.a.room(&world.alice, version.clone(), &[("m.room.join_rules", rules)]).await;
        assert!(world.join(&room).await.is_err());
        world.join(&club).await.unwrap();
        world.join(&room).await.unwrap();
        world.agree(&room).await;
    }
}

#[tokio::test]
async fn history_is_fetched_from_who_has_it() {
    let world = World::new().await;
    let room = world.a.room(&world.alice, RoomVersionId::V12, &[]).await;
    let mut expected = Vec::new();
    for number in 0..25 {
        world.a.say(&room, &world.alice, &number.to_string()).await;
        expected.push(number.to_string());
    }
    world.join(&room).await.unwrap();
    let before = world.b.messages(&room).await.len();
    let mut rounds = 0;
    while backfill::backfill(world.b.engine(), &room, 10).await.unwrap() > 0 {
        rounds += 1;
        assert!(rounds < 20, "it ends");
    }
    assert!(rounds > 1 && before < 25);
    assert_eq!(world.b.messages(&room).await, expected);
    world.agree(&room).await;
}
