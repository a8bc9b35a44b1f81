//! Guests leave rooms that let guests in no more.
//!
//! Which rooms these are is a row, written with the event that says so and removed when all have
//! left, so it outlives a restart.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#guest-access>

use ruma::{RoomId, UserId};
use starling_storage::{
    Change,
    accounts::{
        self,
        guest_rooms::{self as rows, GuestRoomRow, Write},
    },
};

use crate::{
    Engine, Internal, behind,
    rooms::{
        append::guests::lets_in,
        batch::Batch,
        membership::{MembershipError, leave},
        room,
    },
};

/// How many rooms are read at once.
const PAGE: i64 = 50;

/// Lets guests leave where they have to, until the process shuts down.
pub async fn run(engine: Engine) {
    loop {
        if let Err(error) = do_all(&engine).await {
            tracing::warn!(%error, "guests could not leave yet");
        }
        if !behind::woken(&engine, &engine.guests.0).await {
            return;
        }
    }
}

/// One round over all rooms. A room that fails stays for the next round.
async fn do_all(engine: &Engine) -> Result<(), Internal> {
    let mut after = String::new();
    loop {
        let mut conn = engine.storage.read().await?;
        let found = rows::after(&mut conn, &after, PAGE).await?;
        drop(conn);
        let Some(last) = found.last() else { return Ok(()) };
        after.clone_from(&last.room_id);
        for row in found {
            if engine.shutdown.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = do_one(engine, row).await {
                tracing::warn!(%error, "guests could not leave a room yet");
            }
        }
    }
}

async fn do_one(engine: &Engine, row: GuestRoomRow) -> Result<(), Internal> {
    let room_id = RoomId::parse(row.room_id.as_str())?;
    if !lets_guests_in(engine, &room_id).await? {
        let mut conn = engine.storage.read().await?;
        let guests = rows::joined(&mut conn, room_id.as_str()).await?;
        drop(conn);
        for guest in guests {
            leave_one(engine, &UserId::parse(guest)?, &room_id).await?;
        }
    }
    let mut change = Change::new();
    change.write(accounts::Write::GuestRoom(Write::Done(row)));
    engine.storage.commit(change).await?;
    Ok(())
}

async fn lets_guests_in(engine: &Engine, room_id: &RoomId) -> Result<bool, Internal> {
    match room::load(engine, room_id).await? {
        Some(room) => lets_in(&Batch::new(engine, &room)).await,
        None => Ok(false),
    }
}

async fn leave_one(engine: &Engine, guest: &UserId, room_id: &RoomId) -> Result<(), Internal> {
    let reason = "guests may not be in this room any more".to_owned();
    match leave::leave(engine, guest, room_id, Some(reason)).await {
        Ok(()) => Ok(()),
        Err(MembershipError::Internal(error)) => Err(error),
        Err(error) => {
            tracing::info!(room.id = %room_id, user.id = %guest, %error, "a guest stays");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedRoomId, OwnedUserId, events::StateEventType};
    use serde_json::{Value, json, value::to_raw_value};
    use starling_storage::memberships;

    use super::*;
    use crate::{
        accounts::register,
        rooms::{
            create::{self, CreateRoom, Preset},
            membership::{
                self,
                join::{self, Join},
            },
            send::SetState,
        },
        testing::{TestEngine, on_each_database},
    };

    async fn room(engine: &Engine, creator: &OwnedUserId, preset: Preset) -> OwnedRoomId {
        let wanted = CreateRoom {
            creator: creator.clone(),
            version: None,
            preset,
            published: false,
            alias: None,
            name: None,
            topic: None,
            invite: Vec::new(),
            is_direct: false,
            creation_content: serde_json::Map::new(),
            initial_state: Vec::new(),
            power_level_content_override: serde_json::Map::new(),
        };
        create::create(engine, &wanted).await.unwrap()
    }

    async fn set(engine: &Engine, user: &UserId, room: &RoomId, kind: &str, content: Value) {
        let state = SetState {
            room_id: room.to_owned(),
            sender: user.to_owned(),
            kind: StateEventType::from(kind),
            state_key: String::new(),
            content: to_raw_value(&content).unwrap(),
            ts: None,
        };
        membership::set_state(engine, state).await.unwrap();
    }

    async fn guest(test: &TestEngine) -> OwnedUserId {
        register::guest(&test.engine, None).await.unwrap().user_id
    }

    async fn try_join(
        engine: &Engine,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Result<(), MembershipError> {
        let more = serde_json::Map::new();
        let join = Join { user_id, room_id, via: Vec::new(), reason: None, more };
        join::join(engine, join).await.map(drop)
    }

    async fn membership_of(engine: &Engine, user: &UserId, room: &RoomId) -> String {
        let mut conn = engine.storage.read().await.unwrap();
        let row = memberships::get(&mut conn, user.as_str(), room.as_str()).await.unwrap();
        row.map_or_else(String::new, |row| row.membership)
    }

    #[tokio::test]
    async fn guests_join_where_they_may_and_leave_where_they_may_no_more() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let (alice, _) = test.user("alice").await.unwrap();
            let (bob, _) = test.user("bob").await.unwrap();
            let guest = guest(&test).await;
            let room = room(engine, &alice, Preset::PublicChat).await;
            let refused = try_join(engine, &guest, &room).await.unwrap_err();
            assert!(matches!(refused, MembershipError::GuestsForbidden), "{refused}");
            let kind = "m.room.guest_access";
            set(engine, &alice, &room, kind, json!({ "guest_access": "can_join" })).await;
            try_join(engine, &guest, &room).await.unwrap();
            try_join(engine, &bob, &room).await.unwrap();
            do_all(engine).await.unwrap();
            assert_eq!(membership_of(engine, &guest, &room).await, "join");
            set(engine, &alice, &room, kind, json!({ "guest_access": "forbidden" })).await;
            let test = test.restarted().await.unwrap();
            let engine = &test.engine;
            do_all(engine).await.unwrap();
            assert_eq!(membership_of(engine, &guest, &room).await, "leave");
            assert_eq!(membership_of(engine, &bob, &room).await, "join");
            let mut conn = engine.storage.read().await.unwrap();
            assert!(rows::after(&mut conn, "", 10).await.unwrap().is_empty());
            drop(conn);
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_room_that_was_opened_again_keeps_its_guests() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let (alice, _) = test.user("alice").await.unwrap();
            let guest = guest(&test).await;
            let room = room(engine, &alice, Preset::PublicChat).await;
            let kind = "m.room.guest_access";
            for access in ["can_join", "forbidden", "can_join"] {
                set(engine, &alice, &room, kind, json!({ "guest_access": access })).await;
                if access == "can_join" {
                    try_join(engine, &guest, &room).await.unwrap();
                }
            }
            do_all(engine).await.unwrap();
            assert_eq!(membership_of(engine, &guest, &room).await, "join");
            test
        })
        .await
        .unwrap();
    }
}
