//! Rooms of every version between two servers of this program: users of one in rooms of the other.

use std::sync::Arc;

use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, UserId};
use serde_json::{Map, json};
use starling_engine::rooms::{
    membership::{
        MembershipError,
        content::Member,
        invite::{self, Invite},
        join::{self, Join},
        knock, leave,
        remove::{self, Removal},
    },
    send::{Redaction, redact},
    versions,
};

use crate::network::{Network, Server};

struct Pair {
    here: Server,
    there: Server,
    alice: OwnedUserId,
    bob: OwnedUserId,
}

impl Pair {
    async fn new() -> Self {
        let network = Arc::new(Network::default());
        let here = Server::new(&network, "here.org").await;
        let there = Server::new(&network, "there.org").await;
        let (alice, bob) = (here.user("alice").await, there.user("bob").await);
        Self { here, there, alice, bob }
    }

    async fn join(&self, room_id: &OwnedRoomId) -> Result<(), MembershipError> {
        let via = vec![self.here.name().to_owned()];
        let join = Join { user_id: &self.bob, room_id, via, reason: None, more: Map::new() };
        join::join(self.there.engine(), join).await.map(drop)
    }

    async fn invite(&self, room_id: &OwnedRoomId, target: &UserId) -> Result<(), MembershipError> {
        let member = Member::default();
        let invite = Invite { room_id, sender: &self.alice, target, member };
        invite::invite(self.here.engine(), invite).await.map(drop)
    }

    /// Waits until both servers have the same current state; each looks again when it has news.
    async fn agree(&self, room_id: &OwnedRoomId) {
        let same = async || self.here.state(room_id).await == self.there.state(room_id).await;
        let wait = async |server: &Server| server.until("the same state", same).await;
        let (here, there) = (Box::pin(wait(&self.here)), Box::pin(wait(&self.there)));
        futures_util::future::select(here, there).await;
    }

    async fn is(&self, server: &Server, room_id: &OwnedRoomId, membership: &str) {
        let is = async || {
            let found = server.membership(room_id.as_str(), self.bob.as_str()).await;
            found.as_deref() == Some(membership)
        };
        server.until(membership, is).await;
    }

    async fn both_hear(&self, room_id: &OwnedRoomId, bodies: &[&str]) {
        for server in [&self.here, &self.there] {
            let heard = async || server.messages(room_id).await == bodies;
            server.until("the messages", heard).await;
        }
    }
}

#[tokio::test]
async fn a_room_of_every_version_is_joined_talked_in_left_and_joined_again() {
    let pair = Pair::new().await;
    for version in versions::SUPPORTED {
        let room_id = pair.here.room(&pair.alice, version.clone(), &[]).await;
        pair.join(&room_id).await.unwrap();
        pair.is(&pair.here, &room_id, "join").await;
        pair.agree(&room_id).await;
        pair.here.say(&room_id, &pair.alice, "one").await;
        pair.both_hear(&room_id, &["one"]).await;
        pair.there.say(&room_id, &pair.bob, "two").await;
        pair.both_hear(&room_id, &["one", "two"]).await;
        leave::leave(pair.there.engine(), &pair.bob, &room_id, None).await.unwrap();
        pair.is(&pair.here, &room_id, "leave").await;
        pair.here.set(&room_id, &pair.alice, "m.room.topic", json!({ "topic": "T" })).await;
        pair.join(&room_id).await.unwrap();
        pair.is(&pair.here, &room_id, "join").await;
        pair.agree(&room_id).await;
        pair.here.say(&room_id, &pair.alice, "three").await;
        pair.both_hear(&room_id, &["one", "two", "three"]).await;
    }
}

#[tokio::test]
async fn invites_are_accepted_refused_and_taken_back() {
    let pair = Pair::new().await;
    let private = [("m.room.join_rules", json!({ "join_rule": "invite" }))];
    for version in versions::SUPPORTED {
        let room_id = pair.here.room(&pair.alice, version, &private).await;
        assert!(matches!(pair.join(&room_id).await, Err(MembershipError::Forbidden(_))));
        pair.invite(&room_id, &pair.bob).await.unwrap();
        assert_eq!(
            pair.there.membership(room_id.as_str(), pair.bob.as_str()).await.as_deref(),
            Some("invite")
        );
        leave::leave(pair.there.engine(), &pair.bob, &room_id, None).await.unwrap();
        pair.is(&pair.here, &room_id, "leave").await;
        pair.is(&pair.there, &room_id, "leave").await;

        pair.invite(&room_id, &pair.bob).await.unwrap();
        let (sender, target) = (&pair.alice, &pair.bob);
        let removal = Removal { room_id: &room_id, sender, target, reason: None };
        remove::kick(pair.here.engine(), removal).await.unwrap();
        pair.is(&pair.there, &room_id, "leave").await;

        pair.invite(&room_id, &pair.bob).await.unwrap();
        pair.join(&room_id).await.unwrap();
        pair.is(&pair.here, &room_id, "join").await;
        pair.agree(&room_id).await;
    }
}

#[tokio::test]
async fn knocking_is_answered_by_an_invite() {
    let pair = Pair::new().await;
    let knock_rule = [("m.room.join_rules", json!({ "join_rule": "knock" }))];
    for version in [RoomVersionId::V7, RoomVersionId::V10, RoomVersionId::V12] {
        let room_id = pair.here.room(&pair.alice, version, &knock_rule).await;
        let via = vec![pair.here.name().to_owned()];
        let (user_id, reason) = (&pair.bob, Some("please".to_owned()));
        let wish = Join { user_id, room_id: &room_id, via, reason, more: Map::new() };
        knock::knock(pair.there.engine(), wish).await.unwrap();
        pair.is(&pair.here, &room_id, "knock").await;
        pair.is(&pair.there, &room_id, "knock").await;
        pair.invite(&room_id, &pair.bob).await.unwrap();
        pair.join(&room_id).await.unwrap();
        pair.agree(&room_id).await;
    }
    let room_id = pair.here.room(&pair.alice, RoomVersionId::V6, &[]).await;
    let via = vec![pair.here.name().to_owned()];
    let wish = Join { user_id: &pair.bob, room_id: &room_id, via, reason: None, more: Map::new() };
    assert!(knock::knock(pair.there.engine(), wish).await.is_err());
}

#[tokio::test]
async fn what_both_change_at_once_ends_the_same_on_both() {
    let pair = Pair::new().await;
    for version in versions::SUPPORTED {
        let levels = json!({ "users": { pair.bob.as_str(): 50 }, "events": {} });
        let room_id = pair.here.room(&pair.alice, version.clone(), &[]).await;
        pair.join(&room_id).await.unwrap();
        pair.is(&pair.here, &room_id, "join").await;
        let mut levels = levels;
        if !versions::rules(&version).unwrap().authorization.explicitly_privilege_room_creators {
            levels["users"][pair.alice.as_str()] = json!(100);
        }
        pair.here.set(&room_id, &pair.alice, "m.room.power_levels", levels).await;
        pair.agree(&room_id).await;
        let topic = |text: &str| json!({ "topic": text });
        futures_util::future::join(
            pair.here.set(&room_id, &pair.alice, "m.room.topic", topic("here")),
            pair.there.set(&room_id, &pair.bob, "m.room.topic", topic("there")),
        )
        .await;
        futures_util::future::join(
            pair.here.set(&room_id, &pair.alice, "m.room.name", json!({ "name": "here" })),
            pair.there.set(&room_id, &pair.bob, "m.room.topic", topic("there again")),
        )
        .await;
        pair.here.say(&room_id, &pair.alice, "a").await;
        pair.there.say(&room_id, &pair.bob, "b").await;
        for server in [&pair.here, &pair.there] {
            let heard = async || server.messages(&room_id).await.len() == 2;
            server.until("both messages", heard).await;
        }
        pair.agree(&room_id).await;
    }
}

#[tokio::test]
async fn redactions_and_bans_travel() {
    let pair = Pair::new().await;
    for version in versions::SUPPORTED {
        let room_id = pair.here.room(&pair.alice, version.clone(), &[]).await;
        pair.join(&room_id).await.unwrap();
        pair.is(&pair.here, &room_id, "join").await;
        let target = pair.there.say(&room_id, &pair.bob, "spam").await;
        pair.both_hear(&room_id, &["spam"]).await;
        let redaction = Redaction {
            own_only: false,
            room_id: room_id.clone(),
            sender: pair.alice.clone(),
            target,
            content: serde_json::value::to_raw_value(&json!({ "reason": "r" })).unwrap(),
            ts: None,
            transaction: None,
        };
        redact(pair.here.engine(), redaction).await.unwrap();
        pair.both_hear(&room_id, &[]).await;
        let (sender, target) = (&pair.alice, &pair.bob);
        let removal = Removal { room_id: &room_id, sender, target, reason: None };
        remove::ban(pair.here.engine(), removal).await.unwrap();
        pair.is(&pair.there, &room_id, "ban").await;
        assert!(pair.join(&room_id).await.is_err());
    }
}

#[tokio::test]
async fn a_refusal_needs_no_server_but_ones_own() {
    let pair = Pair::new().await;
    let room_id = pair.here.room(&pair.alice, RoomVersionId::V12, &[]).await;
    pair.invite(&room_id, &pair.bob).await.unwrap();
    pair.here.network.unplug("here.org");
    leave::leave(pair.there.engine(), &pair.bob, &room_id, None).await.unwrap();
    pair.is(&pair.there, &room_id, "leave").await;
    assert!(matches!(pair.join(&room_id).await, Err(MembershipError::RemoteFailed(_))));
}
