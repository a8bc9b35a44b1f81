//! Tests of membership, here and by the help of other servers.

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::StateEventType, room_id};
use serde_json::{Map, json};
use starling_storage::{account_data, memberships, rooms as rows};

use super::{invite::Invite, join::Join, local::membership, remove::Removal, *};
use crate::{
    Engine,
    rooms::{
        create::{CreateError, InitialState, Preset, create},
        room,
    },
    test_support::{on_each_database, raw, user, wanted_room},
};

async fn open_room(engine: &Engine, preset: Preset) -> (OwnedRoomId, OwnedUserId) {
    let alice = user(engine, "alice");
    (create(engine, &wanted_room(&alice, preset)).await.unwrap(), alice)
}

async fn join_as(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<(), MembershipError> {
    let (via, reason, more) = (vec![], None, Map::new());
    join::join(engine, Join { user_id, room_id, via, reason, more }).await.map(drop)
}

async fn knock_as(
    engine: &Engine,
    room_id: &RoomId,
    user_id: &UserId,
) -> Result<(), MembershipError> {
    let (via, reason, more) = (vec![], Some("please".to_owned()), Map::new());
    knock::knock(engine, Join { user_id, room_id, via, reason, more }).await.map(drop)
}

async fn invite_as(
    engine: &Engine,
    room_id: &RoomId,
    sender: &UserId,
    target: &UserId,
) -> Result<(), MembershipError> {
    let member = Member::default();
    invite::invite(engine, Invite { room_id, sender, target, member }).await.map(drop)
}

fn removal<'a>(room_id: &'a RoomId, sender: &'a UserId, target: &'a UserId) -> Removal<'a> {
    Removal { room_id, sender, target, reason: Some("r".to_owned()) }
}

async fn is(engine: &Engine, user_id: &UserId, room_id: &RoomId) -> String {
    membership(engine, user_id, room_id).await.unwrap().unwrap().membership
}

fn forbidden(result: Result<(), MembershipError>) {
    assert!(matches!(result, Err(MembershipError::Forbidden(_))), "{result:?}");
}

#[tokio::test]
async fn the_verbs_in_a_private_room() {
    on_each_database(async |engine| {
        let (room_id, alice) = open_room(&engine, Preset::PrivateChat).await;
        let bob = user(&engine, "bob");
        forbidden(join_as(&engine, &room_id, &bob).await);
        forbidden(knock_as(&engine, &room_id, &bob).await);
        let no_room = leave::leave(&engine, &bob, &room_id, None).await;
        assert!(matches!(no_room, Err(MembershipError::UnknownRoom)));
        forbidden(invite_as(&engine, &room_id, &bob, &alice).await);
        invite_as(&engine, &room_id, &alice, &bob).await.unwrap();
        assert_eq!(is(&engine, &bob, &room_id).await, "invite");
        leave::leave(&engine, &bob, &room_id, None).await.unwrap();
        leave::leave(&engine, &bob, &room_id, None).await.unwrap();
        invite_as(&engine, &room_id, &alice, &bob).await.unwrap();
        join_as(&engine, &room_id, &bob).await.unwrap();
        join_as(&engine, &room_id, &bob).await.unwrap();
        let loaded = room::load(&engine, &room_id).await.unwrap().unwrap();
        assert_eq!((loaded.row.joined_members, loaded.row.invited_members), (2, 0));

        forbidden(remove::kick(&engine, removal(&room_id, &bob, &alice)).await);
        remove::kick(&engine, removal(&room_id, &alice, &bob)).await.unwrap();
        assert_eq!(is(&engine, &bob, &room_id).await, "leave");
        forbidden(remove::kick(&engine, removal(&room_id, &alice, &bob)).await);
        forbidden(remove::unban(&engine, removal(&room_id, &alice, &bob)).await);
        remove::ban(&engine, removal(&room_id, &alice, &bob)).await.unwrap();
        forbidden(invite_as(&engine, &room_id, &alice, &bob).await);
        remove::unban(&engine, removal(&room_id, &alice, &bob)).await.unwrap();
        assert_eq!(is(&engine, &bob, &room_id).await, "leave");
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_room_stays_so_until_the_next_invite() {
    on_each_database(async |engine| {
        let (room_id, alice) = open_room(&engine, Preset::PublicChat).await;
        let bob = user(&engine, "bob");
        join_as(&engine, &room_id, &bob).await.unwrap();
        let still = forget::forget(&engine, &bob, &room_id).await;
        assert!(matches!(still, Err(MembershipError::StillInRoom)));
        leave::leave(&engine, &bob, &room_id, None).await.unwrap();
        forget::forget(&engine, &bob, &room_id).await.unwrap();
        remove::ban(&engine, removal(&room_id, &alice, &bob)).await.unwrap();
        assert!(membership(&engine, &bob, &room_id).await.unwrap().unwrap().forgotten);
        remove::unban(&engine, removal(&room_id, &alice, &bob)).await.unwrap();
        invite_as(&engine, &room_id, &alice, &bob).await.unwrap();
        assert!(!membership(&engine, &bob, &room_id).await.unwrap().unwrap().forgotten);
    })
    .await;
}

#[tokio::test]
async fn names_counts_and_servers_follow_the_members() {
    on_each_database(async |engine| {
        let (room_id, alice) = open_room(&engine, Preset::PublicChat).await;
        let bob = user(&engine, "bob");
        let mut change = starling_storage::Change::new();
        change.write(account_data::Write::Profile {
            user_id: bob.to_string(),
            field: "displayname".to_owned(),
            value: Some("\"Bob\"".to_owned()),
        });
        engine.storage.commit(change).await.unwrap();
        join_as(&engine, &room_id, &bob).await.unwrap();
        let mut conn = engine.storage.read().await.unwrap();
        let row = memberships::get(&mut conn, bob.as_str(), room_id.as_str()).await.unwrap();
        assert_eq!(row.unwrap().display_name.as_deref(), Some("Bob"));
        let own = ["x.org".to_owned()];
        let counts = rows::server_members(&mut conn, room_id.as_str(), &own).await.unwrap();
        assert_eq!(counts, [("x.org".to_owned(), 2)]);
        drop(conn);
        leave::leave(&engine, &bob, &room_id, None).await.unwrap();
        leave::leave(&engine, &alice, &room_id, None).await.unwrap();
        assert!(!local::is_resident(&engine, &room_id).await.unwrap());
        // Nobody is left who could let anybody in.
        let refused = join_as(&engine, &room_id, &bob).await;
        assert!(refused.is_err());
    })
    .await;
}

#[tokio::test]
async fn members_of_one_room_may_join_another() {
    on_each_database(async |engine| {
        let (hall, alice) = open_room(&engine, Preset::PublicChat).await;
        let (bob, eve) = (user(&engine, "bob"), user(&engine, "eve"));
        join_as(&engine, &hall, &bob).await.unwrap();
        let mut wanted = wanted_room(&alice, Preset::PrivateChat);
        wanted.initial_state = vec![InitialState {
            kind: StateEventType::RoomJoinRules,
            state_key: String::new(),
            content: raw(json!({ "join_rule": "restricted",
                "allow": [{ "type": "m.room_membership", "room_id": hall }, { "type": "x" }, 7] })),
        }];
        let room_id = create(&engine, &wanted).await.unwrap();
        forbidden(join_as(&engine, &room_id, &eve).await);
        join_as(&engine, &room_id, &bob).await.unwrap();
        let row = membership(&engine, &bob, &room_id).await.unwrap().unwrap();
        let event_id = row.event_id.as_str().try_into().unwrap();
        let event = crate::events::store::get(&engine, &room_id, event_id).await.unwrap().unwrap();
        let by = event.pdu.content_str("join_authorised_via_users_server");
        assert_eq!(by.as_deref(), Some(alice.as_str()));
    })
    .await;
}

#[tokio::test]
async fn who_wants_no_invites_gets_none() {
    on_each_database(async |engine| {
        let (room_id, alice) = open_room(&engine, Preset::PrivateChat).await;
        let bob = user(&engine, "bob");
        let mut change = starling_storage::Change::new();
        let at = change.fact(starling_storage::Fact::AccountData {
            user_id: bob.to_string(),
            room_id: String::new(),
            kind: "m.invite_permission_config".to_owned(),
        });
        change.write(account_data::Write::Put {
            user_id: bob.to_string(),
            room_id: String::new(),
            kind: "m.invite_permission_config".to_owned(),
            content: r#"{"default_action":"block"}"#.to_owned(),
            at,
        });
        engine.storage.commit(change).await.unwrap();
        let refused = invite_as(&engine, &room_id, &alice, &bob).await;
        assert!(matches!(refused, Err(MembershipError::InviteBlocked)));
        let mut wanted = wanted_room(&alice, Preset::PrivateChat);
        wanted.invite = vec![bob.clone()];
        let refused = create(&engine, &wanted).await;
        assert!(matches!(refused, Err(CreateError::InviteBlocked)));
        assert_eq!(joined_rooms(&engine, &alice).await.unwrap(), [room_id]);
    })
    .await;
}

#[tokio::test]
async fn an_invite_from_a_dead_server_can_be_refused() {
    on_each_database(async |engine| {
        let bob = user(&engine, "bob");
        let mut change = starling_storage::Change::new();
        let at = change.fact(starling_storage::Fact::Membership {
            user_id: bob.to_string(),
            room_id: "!r:dead.org".to_owned(),
        });
        let row = memberships::MembershipRow {
            user_id: bob.to_string(),
            room_id: "!r:dead.org".to_owned(),
            membership: "invite".to_owned(),
            event_id: "$e".to_owned(),
            sender: "@a:dead.org".to_owned(),
            local: true,
            ..memberships::MembershipRow::default()
        };
        change.write(memberships::Write::Put { row, at });
        engine.storage.commit(change).await.unwrap();
        let room_id = ruma::room_id!("!r:dead.org");
        assert!(matches!(
            join_as(&engine, room_id, &bob).await,
            Err(MembershipError::RemoteFailed(_))
        ));
        leave::leave(&engine, &bob, room_id, None).await.unwrap();
        assert_eq!(is(&engine, &bob, room_id).await, "leave");
        leave::leave(&engine, &bob, room_id, None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn whoever_names_servers_to_join_by_is_sent_to_no_others() {
    on_each_database(async |engine| {
        let (room_id, user_id) = (room_id!("!r:named.org"), user(&engine, "alice"));
        let own = engine.config.server_name.as_str();
        for (via, expected) in [
            (&["a.org", "b.org"][..], &["a.org", "b.org"][..]),
            (&[own, "a.org"], &["a.org"]),
            (&[own], &["named.org"]),
            (&[], &["named.org"]),
        ] {
            let via: Vec<_> = via.iter().map(|&name| name.try_into().unwrap()).collect();
            let servers = join::servers(&engine, &user_id, room_id, &via).await.unwrap();
            assert_eq!(servers, expected, "{via:?}");
        }
    })
    .await;
}
