//! Memberships that follow an account: rooms show a new name or avatar, who is gone leaves.
//!
//! What is to be done is a row, written with the change that it follows and removed when it is
//! done, so it outlives a restart. Doing it twice changes nothing: what a room shows already is not
//! sent again.

use ruma::{RoomId, UserId, events::StateEventType};
use starling_storage::{
    Change, account_data,
    accounts::{
        self, flags,
        membership_tasks::{self as rows, MembershipTaskRow, Write},
    },
    memberships::{self, MembershipRow},
};
use tokio::sync::Notify;

use crate::{
    Engine, Internal, behind, rng,
    rooms::{
        membership::{MembershipError, content::Member, leave},
        send::{self, SendError, SetState},
    },
};

/// How many tasks are read at once.
const PAGE: i64 = 50;

/// Wakes the task of this process that does the work.
#[derive(Debug, Default)]
pub(crate) struct Wake(Notify);

/// Adds to `change` that the rooms of a user are to show their profile.
pub(crate) fn show_profile(change: &mut Change, user: &UserId) {
    put(change, user, false);
}

/// Adds to `change` that a user leaves every room.
pub(crate) fn leave_rooms(change: &mut Change, user: &UserId) {
    put(change, user, true);
}

fn put(change: &mut Change, user: &UserId, leaving: bool) {
    let (user_id, number) = (user.to_string(), rng::token::<9>());
    let row = MembershipTaskRow { user_id, leaving, number };
    change.write(accounts::Write::MembershipTask(Write::Put(row)));
}

/// To be called when a change with a task has been committed.
pub(crate) fn wake(engine: &Engine) {
    engine.accounts.follow.0.notify_one();
}

/// Does what is to be done, until the process shuts down.
pub async fn run(engine: Engine) {
    loop {
        if let Err(error) = do_all(&engine).await {
            tracing::warn!(%error, "memberships could not follow their accounts yet");
        }
        if !behind::woken(&engine, &engine.accounts.follow.0).await {
            return;
        }
    }
}

/// One round over all tasks. A task that fails stays for the next round.
pub(crate) async fn do_all(engine: &Engine) -> Result<(), Internal> {
    let mut after = String::new();
    loop {
        let mut conn = engine.storage.read().await?;
        let tasks = rows::after(&mut conn, &after, PAGE).await?;
        drop(conn);
        let Some(last) = tasks.last() else { return Ok(()) };
        after.clone_from(&last.user_id);
        for task in tasks {
            if engine.shutdown.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = do_one(engine, task).await {
                tracing::warn!(%error, "memberships could not follow an account yet");
            }
        }
    }
}

async fn do_one(engine: &Engine, task: MembershipTaskRow) -> Result<(), Internal> {
    let user = UserId::parse(task.user_id.as_str())?;
    let mut conn = engine.storage.read().await?;
    let row = accounts::user(&mut conn, user.as_str()).await?;
    let memberships = memberships::of_user(&mut conn, user.as_str()).await?;
    drop(conn);
    // Nobody else is to see what a shadow-banned user does.
    let unseen = row.is_some_and(|row| row.flags & flags::SHADOW_BANNED != 0);
    let memberships = if unseen && !task.leaving { Vec::new() } else { memberships };
    for membership in memberships {
        if task.leaving {
            leave_one(engine, &user, &membership).await?;
        } else {
            show_in_one(engine, &user, &membership).await?;
        }
    }
    let mut change = Change::new();
    change.write(accounts::Write::MembershipTask(Write::Done(task)));
    engine.storage.commit(change).await?;
    Ok(())
}

async fn leave_one(
    engine: &Engine,
    user: &UserId,
    membership: &MembershipRow,
) -> Result<(), Internal> {
    if !matches!(membership.membership.as_str(), "join" | "invite" | "knock") {
        return Ok(());
    }
    let room = RoomId::parse(membership.room_id.as_str())?;
    match leave::leave(engine, user, &room, None).await {
        Ok(()) => Ok(()),
        Err(MembershipError::Internal(error)) => Err(error),
        Err(error) => {
            tracing::info!(room.id = %room, user.id = %user, %error, "a closed account stays");
            Ok(())
        }
    }
}

async fn show_in_one(
    engine: &Engine,
    user: &UserId,
    membership: &MembershipRow,
) -> Result<(), Internal> {
    if membership.membership != "join" || shows_profile(engine, user, membership).await? {
        return Ok(());
    }
    let room = RoomId::parse(membership.room_id.as_str())?;
    let state = SetState {
        room_id: room.clone(),
        sender: user.to_owned(),
        kind: StateEventType::RoomMember,
        state_key: user.to_string(),
        content: Member::default().content(engine, user, "join").await?,
        ts: None,
    };
    match send::state(engine, state).await {
        Ok(_) => Ok(()),
        Err(SendError::Internal(error)) => Err(error),
        Err(error) => {
            tracing::info!(room.id = %room, user.id = %user, %error, "a room refuses a profile");
            Ok(())
        }
    }
}

async fn shows_profile(
    engine: &Engine,
    user: &UserId,
    shown: &MembershipRow,
) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    let profile = account_data::profile(&mut conn, user.as_str()).await?;
    let text = |field: &str| {
        let value = profile.iter().find(|(name, _)| name == field);
        value.and_then(|(_, value)| serde_json::from_str::<String>(value).ok())
    };
    Ok(text("displayname") == shown.display_name && text("avatar_url") == shown.avatar_url)
}

#[cfg(test)]
mod tests {
    use ruma::{OwnedRoomId, OwnedUserId};
    use serde_json::json;

    use super::*;
    use crate::{
        accounts::profiles,
        rooms::create::{self, CreateRoom, Preset},
        testing::{TestEngine, on_each_database},
    };

    async fn room(test: &TestEngine, user: &OwnedUserId) -> OwnedRoomId {
        let wanted = CreateRoom {
            creator: user.clone(),
            version: None,
            preset: Preset::PublicChat,
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
        // What is created in the same millisecond by the same event would be the same room.
        test.clock.advance(1);
        create::create(&test.engine, &wanted).await.unwrap()
    }

    async fn membership(test: &TestEngine, user: &UserId, room: &RoomId) -> MembershipRow {
        let mut conn = test.engine.storage.read().await.unwrap();
        memberships::get(&mut conn, user.as_str(), room.as_str()).await.unwrap().unwrap()
    }

    async fn tasks(test: &TestEngine) -> usize {
        let mut conn = test.engine.storage.read().await.unwrap();
        rows::after(&mut conn, "", 100).await.unwrap().len()
    }

    #[tokio::test]
    async fn rooms_show_a_new_name_once() {
        on_each_database(async |test| {
            let engine = &test.engine;
            let (user, _) = test.user("alice").await.unwrap();
            let rooms = [room(&test, &user).await, room(&test, &user).await];
            profiles::set_field(engine, &user, "m.tz", json!("Europe/Rome")).await.unwrap();
            assert_eq!(tasks(&test).await, 0);
            profiles::set_field(engine, &user, "displayname", json!("Alice")).await.unwrap();
            assert_eq!(tasks(&test).await, 1);
            do_all(engine).await.unwrap();
            assert_eq!(tasks(&test).await, 0);
            let mut events = Vec::new();
            for room in &rooms {
                let row = membership(&test, &user, room).await;
                assert_eq!(row.display_name.as_deref(), Some("Alice"));
                events.push(row.event_id);
            }
            profiles::set_field(engine, &user, "displayname", json!("Alice")).await.unwrap();
            do_all(engine).await.unwrap();
            for (room, event) in rooms.iter().zip(events) {
                assert_eq!(membership(&test, &user, room).await.event_id, event);
            }
            profiles::remove_field(engine, &user, "displayname").await.unwrap();
            do_all(engine).await.unwrap();
            assert_eq!(membership(&test, &user, &rooms[1]).await.display_name, None);
            test
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn who_leaves_for_good_leaves_every_room() {
        on_each_database(async |test| {
            let (user, _) = test.user("alice").await.unwrap();
            let rooms = [room(&test, &user).await, room(&test, &user).await];
            let mut change = Change::new();
            leave_rooms(&mut change, &user);
            test.engine.storage.commit(change).await.unwrap();
            let mut change = Change::new();
            show_profile(&mut change, &user);
            test.engine.storage.commit(change).await.unwrap();
            do_all(&test.engine).await.unwrap();
            for room in &rooms {
                assert_eq!(membership(&test, &user, room).await.membership, "leave");
            }
            assert_eq!(tasks(&test).await, 0);
            test
        })
        .await
        .unwrap();
    }
}
