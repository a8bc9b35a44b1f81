//! Walks through the spaces of one server.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, UserId, room_id};
use serde_json::{Value, json};

use super::{
    hierarchy::{self, HierarchyError, Page, Wanted},
    overview, summary,
};
use crate::{
    Engine,
    clock::Clock,
    remote::{Limits, Transport, TransportError},
    rooms::{
        create::{self, InitialState, Preset},
        membership::{
            content::Member,
            invite::{Invite, invite},
            join::{Join, join},
            remove::{Removal, ban},
        },
        room,
        send::{self, SetState},
    },
    test_support::{engine_on, on_each_database, raw, user, wanted_room},
};

struct Place<'a> {
    engine: &'a Engine,
    alice: OwnedUserId,
    bob: OwnedUserId,
}

impl<'a> Place<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, alice: user(engine, "alice"), bob: user(engine, "bob") }
    }

    async fn room(&self, preset: Preset, kind: Value, state: &[(&str, Value)]) -> OwnedRoomId {
        let mut wanted = wanted_room(&self.alice, preset);
        if let Value::String(kind) = kind {
            wanted.creation_content.insert("type".to_owned(), kind.into());
        }
        wanted.initial_state = state
            .iter()
            .map(|(kind, content)| InitialState {
                kind: (*kind).into(),
                state_key: String::new(),
                content: raw(content.clone()),
            })
            .collect();
        create::create(self.engine, &wanted).await.unwrap()
    }

    async fn space(&self) -> OwnedRoomId {
        self.room(Preset::PublicChat, json!("m.space"), &[]).await
    }

    async fn plain(&self) -> OwnedRoomId {
        self.room(Preset::PublicChat, Value::Null, &[]).await
    }

    async fn with_rule(&self, rule: Value) -> OwnedRoomId {
        self.room(Preset::PrivateChat, Value::Null, &[("m.room.join_rules", rule)]).await
    }

    async fn link(&self, parent: &RoomId, child: &RoomId, content: Value) {
        let state = SetState {
            room_id: parent.to_owned(),
            sender: self.alice.clone(),
            kind: "m.space.child".into(),
            state_key: child.to_string(),
            content: raw(content),
            ts: None,
        };
        send::state(self.engine, state).await.unwrap();
    }

    async fn add(&self, parent: &RoomId, child: &RoomId) {
        self.link(parent, child, json!({ "via": ["x.org"] })).await;
    }

    async fn page(&self, who: &UserId, room: &RoomId, wanted: &Wanted) -> Page {
        hierarchy::page(self.engine, who, room, wanted).await.unwrap()
    }

    async fn seen(&self, who: &UserId, room: &RoomId) -> Vec<OwnedRoomId> {
        rooms(&self.page(who, room, &Wanted::default()).await)
    }
}

fn rooms(page: &Page) -> Vec<OwnedRoomId> {
    page.rooms.iter().map(|room| room.summary.listed.room_id.clone()).collect()
}

#[tokio::test]
async fn each_room_comes_once_in_depth_first_order() {
    on_each_database(async |engine| {
        let place = Place::new(&engine);
        let (root, a, b) = (place.space().await, place.space().await, place.space().await);
        let (leaf, last) = (place.plain().await, place.plain().await);
        // A space that contains itself, two that contain each other, and a child of both.
        for (parent, child) in
            [(&root, &root), (&root, &a), (&root, &b), (&a, &b), (&b, &a), (&a, &leaf), (&b, &leaf)]
        {
            place.add(parent, child).await;
        }
        place.link(&root, &last, json!({ "via": ["x.org"], "order": "z" })).await;
        // A room that is no space lists nothing.
        place.add(&leaf, &place.plain().await).await;
        let page = place.page(&place.bob, &root, &Wanted::default()).await;
        assert_eq!(rooms(&page), [&root, &last, &a, &b, &leaf].map(Clone::clone));
        assert!(page.next_batch.is_none());
        let lists: Vec<usize> = page.rooms.iter().map(|room| room.children_state.len()).collect();
        assert_eq!(lists, [4, 0, 2, 2, 0]);

        place.link(&root, &a, json!({})).await;
        place.link(&root, &last, json!({ "via": [] })).await;
        assert_eq!(place.seen(&place.bob, &root).await, [root, b, a, leaf]);
    })
    .await;
}

#[tokio::test]
async fn depth_suggestions_and_pages() {
    on_each_database(async |engine| {
        let place = Place::new(&engine);
        let mut chain = vec![place.space().await];
        for _ in 0..4 {
            let (parent, child) = (chain.last().unwrap().clone(), place.space().await);
            place.add(&parent, &child).await;
            chain.push(child);
        }
        let root = chain[0].clone();
        for depth in 0..6 {
            let wanted = Wanted { max_depth: Some(depth as u64), ..Wanted::default() };
            let page = place.page(&place.bob, &root, &wanted).await;
            assert_eq!(rooms(&page), chain[..=depth.min(4)], "{depth}");
            // What the last ones list is shown all the same.
            let last = page.rooms.last().unwrap();
            assert_eq!(last.children_state.len(), usize::from(depth < 4));
        }
        let only = Wanted { suggested_only: true, ..Wanted::default() };
        assert_eq!(rooms(&place.page(&place.bob, &root, &only).await), std::slice::from_ref(&root));
        place.link(&root, &chain[1], json!({ "via": ["x.org"], "suggested": true })).await;
        let page = place.page(&place.bob, &root, &only).await;
        assert_eq!(rooms(&page), chain[..2]);
        assert_eq!(page.rooms[1].children_state.len(), 0);

        let mut wanted = Wanted { limit: Some(2), ..Wanted::default() };
        let first = place.page(&place.bob, &root, &wanted).await;
        wanted.from = first.next_batch.clone();
        let second = place.page(&place.bob, &root, &wanted).await;
        // An answer may be lost: the same page can be had again.
        assert_eq!(rooms(&place.page(&place.bob, &root, &wanted).await), rooms(&second));
        let third = Wanted { from: second.next_batch.clone(), ..wanted.clone() };
        let third = place.page(&place.bob, &root, &third).await;
        assert!(third.next_batch.is_none());
        assert_eq!([rooms(&first), rooms(&second), rooms(&third)].concat(), chain);

        let refused = async |who: &UserId, room: &RoomId, wanted: Wanted| {
            let refused = hierarchy::page(&engine, who, room, &wanted).await;
            assert!(matches!(refused, Err(HierarchyError::BadToken)), "{wanted:?}");
        };
        refused(&place.alice, &root, wanted.clone()).await;
        refused(&place.bob, &chain[1], wanted.clone()).await;
        refused(&place.bob, &root, Wanted { max_depth: Some(1), ..wanted.clone() }).await;
        refused(&place.bob, &root, Wanted { suggested_only: true, ..wanted }).await;
        let unknown = Wanted { from: Some("x".to_owned()), ..Wanted::default() };
        refused(&place.bob, &root, unknown).await;
    })
    .await;
}

#[tokio::test]
async fn everybody_sees_what_they_may_know_of() {
    on_each_database(async |engine| {
        let place = Place::new(&engine);
        let root = place.space().await;
        let private = place.with_rule(json!({ "join_rule": "invite" })).await;
        let knock = place.with_rule(json!({ "join_rule": "knock" })).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": root }]);
        let members = json!({ "join_rule": "restricted", "allow": allow });
        let members = place.with_rule(members).await;
        let readable = json!({ "history_visibility": "world_readable" });
        let state = [("m.room.history_visibility", readable)];
        let readable = place.room(Preset::PrivateChat, Value::Null, &state).await;
        for child in [&private, &knock, &members, &readable] {
            place.add(&root, child).await;
        }
        place.add(&root, room_id!("!unknown:x.org")).await;
        let all = [&root, &private, &knock, &members, &readable].map(Clone::clone);
        assert_eq!(place.seen(&place.alice, &root).await, all);
        let outside = [&root, &knock, &readable].map(Clone::clone);
        assert_eq!(place.seen(&place.bob, &root).await, outside);

        let target = &*place.bob;
        let wanted =
            Invite { room_id: &private, sender: &place.alice, target, member: Member::default() };
        invite(&engine, wanted).await.unwrap();
        let (more, via) = (serde_json::Map::new(), vec![]);
        join(&engine, Join { user_id: target, room_id: &root, via, reason: None, more })
            .await
            .unwrap();
        assert_eq!(place.seen(target, &root).await, all);

        for room_id in [&root, &readable] {
            let removal = Removal { room_id, sender: &place.alice, target, reason: None };
            ban(&engine, removal).await.unwrap();
        }
        let refused = hierarchy::page(&engine, target, &root, &Wanted::default()).await;
        assert!(matches!(refused, Err(HierarchyError::Forbidden)));
        assert_eq!(place.seen(target, &readable).await, std::slice::from_ref(&readable));
        let nowhere = room_id!("!nowhere:x.org");
        let refused = hierarchy::page(&engine, target, nowhere, &Wanted::default()).await;
        assert!(matches!(refused, Err(HierarchyError::Forbidden)));

        let of = async |room: &RoomId| {
            let seen = overview::for_user(&engine, target, room, vec![]).await.unwrap();
            seen.map(|it| it.membership.unwrap())
        };
        assert_eq!(of(&private).await.as_deref(), Some("invite"));
        assert_eq!(of(&knock).await.as_deref(), Some("leave"));
        assert_eq!(of(&readable).await.as_deref(), Some("ban"));
        assert_eq!(of(&root).await, None);
        let open = async |room| overview::for_anybody(&engine, room).await.unwrap().is_some();
        assert!(open(&root).await && open(&knock).await && open(&readable).await);
        assert!(!open(&private).await && !open(&members).await);
    })
    .await;
}

#[tokio::test]
async fn a_summary_says_what_the_room_is() {
    on_each_database(async |engine| {
        let place = Place::new(&engine);
        let club = place.plain().await;
        let allow = json!([{ "type": "m.room_membership", "room_id": club }, { "type": "x" }]);
        let html = json!({ "mimetype": "text/html", "body": "<b>Plain</b>" });
        let room = place
            .room(
                Preset::PrivateChat,
                json!("org.example.kind"),
                &[
                    ("m.room.join_rules", json!({ "join_rule": "restricted", "allow": allow })),
                    ("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
                    ("m.room.name", json!({ "name": "Name" })),
                    (
                        "m.room.topic",
                        json!({ "topic": "old", "m.topic": { "m.text": [html, { "body": "Plain" }] } }),
                    ),
                ],
            )
            .await;
        let seen = overview::for_user(&engine, &place.alice, &room, vec![]).await.unwrap();
        let expected = json!({
            "room_id": room, "name": "Name", "topic": "Plain", "num_joined_members": 1,
            "guest_can_join": true, "world_readable": false, "join_rule": "restricted",
            "room_type": "org.example.kind", "allowed_room_ids": [club], "membership": "join",
            "encryption": "m.megolm.v1.aes-sha2", "room_version": "12",
        });
        assert_eq!(serde_json::to_value(seen.unwrap()).unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_room_that_is_gone_is_forgotten() {
    on_each_database(async |engine| {
        let place = Place::new(&engine);
        let (gone, other) = (place.plain().await, place.plain().await);
        let remembered = async |room_id: &RoomId| {
            let row = room::load(&engine, room_id).await.unwrap().unwrap().row;
            engine.spaces.own.get(&row).is_some()
        };
        for room_id in [&gone, &other] {
            summary::own(&engine, room_id).await.unwrap().unwrap();
            assert!(remembered(room_id).await);
        }
        room::forget(&engine, &gone);
        assert!(!remembered(&gone).await && remembered(&other).await);
    })
    .await;
}

/// Servers that take longer than a page before it turns out that they are not there.
#[derive(Debug, Default)]
struct SlowServers(OnceLock<Arc<dyn Clock>>);

#[async_trait]
impl Transport for SlowServers {
    async fn send(
        &self,
        destination: &ServerName,
        _: Request<Bytes>,
        _: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let clock = self.0.get().unwrap();
        let until = clock.now_ms() + 16_000;
        while clock.now_ms() < until {}
        let (server, reason) = (destination.to_string(), "it is not there".to_owned());
        Err(TransportError::Discovery { server, reason })
    }
}

#[tokio::test]
async fn servers_that_are_slow_hold_up_no_page() {
    let test = async |storage| {
        let servers = Arc::new(SlowServers::default());
        let engine = engine_on(storage, "x.org", servers.clone()).await;
        servers.0.set(engine.clock.clone()).unwrap();
        let place = Place::new(&engine);
        let (root, last) = (place.space().await, place.plain().await);
        for number in 10..30 {
            let (server, order) = (format!("s{number}.org"), number.to_string());
            let child = OwnedRoomId::try_from(format!("!a:{server}")).unwrap();
            place.link(&root, &child, json!({ "via": [server], "order": order })).await;
        }
        place.add(&root, &last).await;
        let mut wanted = Wanted::default();
        for (expected, is_last) in
            [(vec![root.clone()], false), (vec![], false), (vec![last], true)]
        {
            let page = place.page(&place.bob, &root, &wanted).await;
            assert_eq!((rooms(&page), page.next_batch.is_none()), (expected, is_last));
            wanted.from = page.next_batch;
        }
    };
    starling_storage::test_support::on_each_database(test).await.unwrap();
}
