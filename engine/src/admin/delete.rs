//! Removing rooms: their members of this deployment leave, and what is stored of them goes.

use std::time::Duration;

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::TimelineEventType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::to_raw_value};
use starling_storage::{
    Change, Fact,
    admin::{Write, purge, rooms as rows, tasks::TaskRow},
    federation, memberships, rooms,
};

use super::tasks::{self, Held, Kind, Status, Stopped, Task};
use crate::{
    Engine, Internal,
    rooms::{
        aliases, blocked,
        create::{self, CreateRoom, Preset},
        membership::{
            MembershipError,
            join::{self, Join},
            leave,
        },
        room,
        send::{self, Message},
    },
};

/// How many rows of each table go at once.
const BATCH: i64 = 500;

/// How long other servers may take to hear that the members have left, before it is forgotten.
const FAREWELL: Duration = Duration::from_secs(10);
const FAREWELL_LOOK: Duration = Duration::from_millis(100);

/// What is wanted.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Wanted {
    /// Who wants it.
    pub by: String,
    /// Whether nobody may join the room from now on.
    pub block: bool,
    /// Whether what is stored of it goes.
    pub purge: bool,
    /// Whether it goes even when somebody could not be removed.
    pub force: bool,
    /// Who makes a room for those who were in this one.
    pub new_room_user_id: Option<OwnedUserId>,
    /// How that room is called.
    pub room_name: Option<String>,
    /// What is said there.
    pub message: Option<String>,
}

/// What came of it so far.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Progress {
    /// Who left.
    pub kicked_users: Vec<String>,
    /// Who could not be removed.
    pub failed_to_kick_users: Vec<String>,
    /// The aliases that named the room.
    pub local_aliases: Vec<String>,
    /// The room for those who were in this one.
    pub new_room_id: Option<OwnedRoomId>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether the room has vanished, and only its remains are to go.
    #[serde(default)]
    pub vanished: bool,
}

/// Why a room is not removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The room is not known.
    #[error("there is no such room")]
    UnknownRoom,
    /// It is being removed already.
    #[error("the room is being removed already")]
    Underway,
    /// The user for the new room is of another server.
    #[error("the user for the new room is not of this server")]
    NotOurs,
    /// The server failed.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl From<starling_storage::DbError> for DeleteError {
    fn from(error: starling_storage::DbError) -> Self {
        Self::Internal(error.into())
    }
}

/// Has a room removed in the background, and gives back the name of that work. A room that is not known
/// can be blocked: then there is no work.
///
/// # Errors
///
/// [`DeleteError`].
pub async fn schedule(
    engine: &Engine,
    room_id: &RoomId,
    wanted: &Wanted,
) -> Result<Option<String>, DeleteError> {
    let own = &engine.config.server_name;
    if wanted.new_room_user_id.as_ref().is_some_and(|user| user.server_name() != own) {
        return Err(DeleteError::NotOurs);
    }
    let mut conn = engine.storage.read().await?;
    let is_known = rooms::get(&mut conn, room_id.as_str()).await?.is_some();
    drop(conn);
    let tasks: Vec<Task<Progress>> = tasks::of(engine, Kind::DeleteRoom, room_id.as_str()).await?;
    if tasks.iter().any(|task| matches!(task.status, Status::Scheduled | Status::Active)) {
        return Err(DeleteError::Underway);
    }
    if wanted.block {
        blocked::set(engine, room_id, Some(&wanted.by)).await?;
    }
    if !is_known {
        return if wanted.block { Ok(None) } else { Err(DeleteError::UnknownRoom) };
    }
    let progress = Progress::default();
    let id = tasks::schedule(engine, Kind::DeleteRoom, room_id.as_str(), wanted, &progress).await?;
    Ok(Some(id))
}

/// Whether a room was vanished when the process ended, and its remains are there.
pub(super) fn is_half_done(task: &TaskRow) -> bool {
    let progress = serde_json::from_str(&task.progress);
    task.kind == Kind::DeleteRoom.name()
        && progress.is_ok_and(|progress: Progress| progress.vanished)
}

pub(super) async fn perform(
    engine: &Engine,
    task: &TaskRow,
    held: &mut Held,
) -> Result<(), Stopped> {
    let wanted: Wanted = serde_json::from_str(&task.request)?;
    let mut progress: Progress = serde_json::from_str(&task.progress)?;
    let room_id = RoomId::parse(&task.subject)?;
    if !progress.vanished {
        tasks::save(engine, task, Status::Active, &progress).await?;
        if let Err(reason) = empty(engine, task, &room_id, &wanted, &mut progress).await? {
            progress.error = Some(reason);
            tasks::save(engine, task, Status::Failed, &progress).await?;
            return Err(Stopped::Failed);
        }
    }
    if wanted.purge {
        purge(engine, task, &room_id, &mut progress, held).await?;
    }
    tasks::save(engine, task, Status::Complete, &progress).await?;
    Ok(())
}

/// Has everybody of this deployment leave, and the aliases name another room. Says why the room must
/// not be purged.
async fn empty(
    engine: &Engine,
    task: &TaskRow,
    room_id: &RoomId,
    wanted: &Wanted,
    progress: &mut Progress,
) -> Result<Result<(), String>, Internal> {
    if let (Some(creator), None) = (&wanted.new_room_user_id, &progress.new_room_id) {
        match new_room(engine, creator, wanted).await? {
            Ok(new_room) => progress.new_room_id = Some(new_room),
            Err(reason) => return Ok(Err(reason)),
        }
        tasks::save(engine, task, Status::Active, progress).await?;
    }
    let mut conn = engine.storage.read().await?;
    let local = rows::local(&mut conn, room_id.as_str()).await?;
    drop(conn);
    for (user_id, membership) in local {
        if !matches!(membership.as_str(), "join" | "invite" | "knock") {
            continue;
        }
        let user = UserId::parse(user_id.as_str())?;
        match leave::leave(engine, &user, room_id, None).await {
            Ok(()) => {
                let new_room = progress.new_room_id.clone().filter(|_| membership == "join");
                move_to(engine, &user, new_room.as_deref()).await?;
                progress.kicked_users.push(user_id);
            }
            Err(MembershipError::Internal(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(room.id = %room_id, %error, "a member of a removed room stays");
                progress.failed_to_kick_users.push(user_id);
            }
        }
    }
    let names = aliases::of_room(engine, room_id).await?;
    progress.local_aliases.extend(names.iter().map(ToString::to_string));
    let mut change = Change::new();
    let to = progress.new_room_id.as_ref().map(ToString::to_string);
    change.write(rooms::Write::MoveAliases { from: room_id.to_string(), to });
    tasks::note(engine, &mut change, task, Status::Active, progress)?;
    engine.storage.commit(change).await?;
    if wanted.purge && !wanted.force && !progress.failed_to_kick_users.is_empty() {
        return Ok(Err("some users could not be removed from the room".to_owned()));
    }
    Ok(Ok(()))
}

/// A room in which those who were in the removed one are told why, and say nothing.
async fn new_room(
    engine: &Engine,
    creator: &UserId,
    wanted: &Wanted,
) -> Result<Result<OwnedRoomId, String>, Internal> {
    let name = wanted.room_name.as_deref().unwrap_or("Content Violation Notification");
    let message = wanted
        .message
        .as_deref()
        .unwrap_or("The room that you were in was removed from this server by its administrators.");
    let silent = Map::from_iter([("users_default".to_owned(), Value::from(-10))]);
    let room = CreateRoom {
        creator: creator.to_owned(),
        version: None,
        preset: Preset::PublicChat,
        published: false,
        alias: None,
        name: Some(name.to_owned()),
        topic: None,
        invite: Vec::new(),
        is_direct: false,
        creation_content: Map::new(),
        initial_state: Vec::new(),
        power_level_content_override: silent,
    };
    let room_id = match create::create(engine, &room).await {
        Ok(room_id) => room_id,
        Err(create::CreateError::Internal(error)) => return Err(error),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let content = json!({ "msgtype": "m.text", "body": message });
    let message = Message {
        room_id: room_id.clone(),
        sender: creator.to_owned(),
        kind: TimelineEventType::RoomMessage,
        content: to_raw_value(&content)?,
        ts: None,
        transaction: None,
    };
    match send::message(engine, message).await {
        Ok(_) => Ok(Ok(room_id)),
        Err(send::SendError::Internal(error)) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

async fn move_to(
    engine: &Engine,
    user_id: &UserId,
    room_id: Option<&RoomId>,
) -> Result<(), Internal> {
    let Some(room_id) = room_id else { return Ok(()) };
    let join = Join { user_id, room_id, via: Vec::new(), reason: None, more: Map::new() };
    match join::join(engine, join).await {
        Ok(_) => Ok(()),
        Err(MembershipError::Internal(error)) => Err(error),
        Err(error) => {
            tracing::warn!(room.id = %room_id, user.id = %user_id, %error,
                "a member of a removed room did not come into the new one");
            Ok(())
        }
    }
}

/// Lets a room vanish and removes what it leaves behind. Its place is held all the while.
async fn purge(
    engine: &Engine,
    task: &TaskRow,
    room_id: &RoomId,
    progress: &mut Progress,
    held: &mut Held,
) -> Result<(), Stopped> {
    if !progress.vanished {
        say_farewell(engine, room_id).await?;
    }
    let mut place = held.take(engine, room_id).await;
    if !progress.vanished {
        progress.vanished = true;
        vanish(engine, task, room_id, progress).await?;
        place.clear();
    }
    room::forget(engine, room_id);
    loop {
        let mut conn = engine.storage.read().await?;
        if !purge::remains(&mut conn, room_id.as_str()).await? {
            break;
        }
        drop(conn);
        if engine.shutdown.is_cancelled() {
            return Err(Stopped::Interrupted);
        }
        let mut change = Change::new();
        let room_id = room_id.to_string();
        change.write(Write::Purge(purge::Write::Remains { room_id, limit: BATCH }));
        engine.storage.commit(change).await?;
    }
    // Whoever read while it went may have remembered something.
    room::forget(engine, room_id);
    Ok(())
}

/// From the commit of this on, nobody finds the room. Who still is in it is told to be out.
async fn vanish(
    engine: &Engine,
    task: &TaskRow,
    room_id: &RoomId,
    progress: &Progress,
) -> Result<(), Internal> {
    let inside = ["join", "invite", "knock"].map(str::to_owned);
    let mut conn = engine.storage.read().await?;
    let members = memberships::of_room(&mut conn, room_id.as_str(), &inside).await?;
    drop(conn);
    let mut change = Change::new();
    change.write(Write::Purge(purge::Write::Room { room_id: room_id.to_string() }));
    for member in members.into_iter().filter(|member| member.local) {
        let (user_id, room_id) = (member.user_id.clone(), member.room_id.clone());
        let at = change.fact(Fact::Membership { user_id, room_id });
        let row = memberships::MembershipRow {
            membership: "leave".to_owned(),
            forgotten: true,
            stripped_state: None,
            ..member
        };
        change.write(memberships::Write::Put { row, at });
    }
    tasks::note(engine, &mut change, task, Status::Active, progress)?;
    engine.storage.commit(change).await?;
    Ok(())
}

/// Waits until the other servers in a room have heard what was said in it last, as far as they can be
/// reached: what is purged is not sent any more.
async fn say_farewell(engine: &Engine, room_id: &RoomId) -> Result<(), Internal> {
    let head = engine.storage.feed().head();
    let heard = async {
        while !have_heard(engine, room_id, head).await? && !engine.shutdown.is_cancelled() {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
        Ok::<(), Internal>(())
    };
    match tokio::time::timeout(FAREWELL, heard).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::info!(room.id = %room_id, "not all servers heard that we left a room");
            Ok(())
        }
    }
}

async fn have_heard(engine: &Engine, room_id: &RoomId, head: i64) -> Result<bool, Internal> {
    let mut conn = engine.storage.read().await?;
    for server in rooms::servers_in(&mut conn, room_id.as_str()).await? {
        if server == engine.config.server_name.as_str() {
            continue;
        }
        let row = federation::destination(&mut conn, &server).await?;
        let waits = row.is_none_or(|row| row.failures == 0 && row.cursor_pos < head);
        if waits {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use ruma::OwnedEventId;
    use starling_storage::timeline;

    use super::*;
    use crate::{
        accounts::data,
        reading::stage::{ALICE, BOB, Stage, after, ids, on_stage, user},
        rooms::receipts::{self, Kind as ReceiptKind, Receipt},
        sync::Request,
    };

    async fn delete(stage: &Stage, force: bool) -> Task<Progress> {
        let engine = &stage.engine;
        let by = ALICE.to_owned();
        let wanted = Wanted { by, purge: true, force, ..Wanted::default() };
        let id = schedule(engine, &stage.room.room_id, &wanted).await.unwrap().unwrap();
        let again = schedule(engine, &stage.room.room_id, &wanted).await;
        assert!(matches!(again, Err(DeleteError::Underway)));
        tasks::do_all(engine, &mut Held::default()).await.unwrap();
        tasks::get(engine, Kind::DeleteRoom, &id).await.unwrap().unwrap()
    }

    async fn fill(stage: &mut Stage) -> OwnedEventId {
        stage.member(BOB, BOB, "join").await;
        let mut last = stage.say(BOB, "first").await;
        for number in 0..2 * BATCH {
            last = stage.room.send(crate::reading::stage::message(BOB, &number.to_string()));
            stage.append(std::slice::from_ref(&last)).await;
        }
        let receipt =
            Receipt { kind: ReceiptKind::Read, event_id: last.event_id.clone(), thread_id: None };
        let (engine, room) = (&stage.engine, &stage.room.room_id);
        receipts::send(engine, room, &user(ALICE), &[receipt]).await.unwrap();
        data::set(engine, &user(ALICE), Some(room), "x", "{}".to_owned()).await.unwrap();
        last.event_id.clone()
    }

    #[tokio::test]
    async fn nothing_remains_and_the_same_room_can_begin_again() {
        on_stage(async |mut stage| {
            fill(&mut stage).await;
            let before = stage.sync(ALICE, Request::default()).await;
            let room = stage.room.room_id.clone();
            let task = delete(&stage, false).await;
            assert_eq!(task.status, Status::Complete, "{:?}", task.progress);
            assert_eq!(task.progress.kicked_users, [ALICE, BOB]);
            let mut conn = stage.engine.storage.read().await.unwrap();
            assert!(!purge::remains(&mut conn, room.as_str()).await.unwrap());
            assert_eq!(rooms::get(&mut conn, room.as_str()).await.unwrap(), None);
            drop(conn);
            let now = stage.sync(ALICE, after(&before)).await;
            assert!(now["rooms"]["leave"][room.as_str()].is_object(), "{now}");
            let fresh = stage.sync(ALICE, Request::default()).await;
            assert!(fresh["rooms"]["join"].get(room.as_str()).is_none(), "{fresh}");

            let mut first: Vec<_> = stage.room.events.values().cloned().collect();
            first.sort_by_key(|pdu| pdu.depth);
            stage.append(&first).await;
            let said = stage.say(ALICE, "again").await;
            let again = stage.sync(ALICE, after(&now)).await;
            let timeline = &again["rooms"]["join"][room.as_str()]["timeline"]["events"];
            assert!(ids(timeline).contains(&said.event_id.to_string()), "{again}");
        })
        .await;
    }

    #[tokio::test]
    async fn a_removal_that_was_interrupted_goes_on() {
        on_stage(async |mut stage| {
            let last = fill(&mut stage).await;
            let (engine, room) = (&stage.engine, &stage.room.room_id);
            let wanted = Wanted { purge: true, ..Wanted::default() };
            let id = schedule(engine, room, &wanted).await.unwrap().unwrap();
            // The process ends right after the room has vanished.
            engine.shutdown.cancel();
            let mut conn = engine.storage.read().await.unwrap();
            let task = starling_storage::admin::tasks::get(&mut conn, &id).await.unwrap().unwrap();
            drop(conn);
            let stopped = perform(engine, &task, &mut Held::default()).await;
            assert!(matches!(stopped, Err(Stopped::Interrupted)));
            let mut conn = engine.storage.read().await.unwrap();
            let place = timeline::find(&mut conn, room.as_str(), last.as_str()).await.unwrap();
            assert!(place.is_some(), "something is left to do");
            drop(conn);

            let storage = engine.storage.clone();
            let network = std::sync::Arc::new(crate::testing::NoServers);
            let engine = crate::test_support::engine_on(storage, "a.org", network).await;
            let mut held = tasks::hold(&engine).await.unwrap();
            let waits = tokio::spawn({
                let (engine, room) = (engine.clone(), room.clone());
                async move { room::lock(&engine, &room).await.unwrap().is_some() }
            });
            tasks::do_all(&engine, &mut held).await.unwrap();
            assert!(!waits.await.unwrap(), "the room was there while it went");
            let mut conn = engine.storage.read().await.unwrap();
            assert!(!purge::remains(&mut conn, room.as_str()).await.unwrap());
            drop(conn);
            let task: Task<Progress> =
                tasks::get(&engine, Kind::DeleteRoom, &id).await.unwrap().unwrap();
            assert_eq!(task.status, Status::Complete);
        })
        .await;
    }
}
