//! The work that is done in the background, one piece after the other.
//!
//! A piece of work is a row, written when it is asked for, so it outlives a restart. Doing again what
//! was done before the restart changes nothing.

use std::collections::HashMap;

use ruma::{OwnedRoomId, RoomId};
use serde::{Serialize, de::DeserializeOwned};
use starling_storage::{
    Change,
    admin::{
        Write,
        tasks::{self as rows, TaskRow},
    },
};
use tokio::sync::Notify;

use super::{delete, history, redact};
use crate::{
    Engine, Internal, behind, rng,
    rooms::room::{self, RoomPlace},
};

/// How many pieces of work are read at once.
const PAGE: i64 = 50;

/// For how long it is remembered what became of some work, in milliseconds.
const KEEP_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Wakes the task of this process that does the work.
#[derive(Debug, Default)]
pub struct Wake(Notify);

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A room is removed.
    DeleteRoom,
    /// Old events of a room are removed.
    PurgeHistory,
    /// What a user said is redacted.
    Redact,
}

impl Kind {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeleteRoom => "delete_room",
            Self::PurgeHistory => "purge_history",
            Self::Redact => "redact",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::DeleteRoom, Self::PurgeHistory, Self::Redact]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// How far some work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has not begun.
    Scheduled,
    /// It is being done.
    Active,
    /// It is done.
    Complete,
    /// It could not be done.
    Failed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// Some work with how far it is.
#[derive(Clone, Debug)]
pub struct Task<P> {
    /// A name for it.
    pub id: String,
    /// The room or user.
    pub subject: String,
    /// How far it is.
    pub status: Status,
    /// What came of it so far.
    pub progress: P,
}

impl<P: DeserializeOwned> Task<P> {
    fn from_row(row: TaskRow) -> Result<Self, Internal> {
        let all = [Status::Scheduled, Status::Active, Status::Complete, Status::Failed];
        let status = all.into_iter().find(|status| status.name() == row.status);
        Ok(Self {
            id: row.task_id,
            subject: row.subject,
            status: status.ok_or_else(|| Internal::Damaged(format!("a task {}", row.status)))?,
            progress: serde_json::from_str(&row.progress)?,
        })
    }
}

/// Why some work ended without being done.
pub(super) enum Stopped {
    /// It cannot be done, for a reason that the progress says.
    Failed,
    /// The process shuts down: it goes on after the next start.
    Interrupted,
    /// The server failed: it is tried again.
    Internal(Internal),
}

impl<E: Into<Internal>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Internal(error.into())
    }
}

/// Schedules some work, and gives back its name.
pub(super) async fn schedule(
    engine: &Engine,
    kind: Kind,
    subject: &str,
    request: &impl Serialize,
    progress: &impl Serialize,
) -> Result<String, Internal> {
    let now = engine.clock.now_ms();
    let task = TaskRow {
        task_id: rng::token::<12>(),
        kind: kind.name().to_owned(),
        subject: subject.to_owned(),
        status: Status::Scheduled.name().to_owned(),
        request: serde_json::to_string(request)?,
        progress: serde_json::to_string(progress)?,
        created_ts: now,
        changed_ts: now,
    };
    let id = task.task_id.clone();
    let mut change = Change::new();
    change.write(Write::Task(rows::Write::Put(task)));
    engine.storage.commit(change).await?;
    engine.admin.wake.0.notify_one();
    Ok(id)
}

/// Adds to a change how far some work is.
pub(super) fn note(
    engine: &Engine,
    change: &mut Change,
    task: &TaskRow,
    status: Status,
    progress: &impl Serialize,
) -> Result<(), Internal> {
    let row = TaskRow {
        status: status.name().to_owned(),
        progress: serde_json::to_string(progress)?,
        changed_ts: engine.clock.now_ms(),
        ..task.clone()
    };
    change.write(Write::Task(rows::Write::Put(row)));
    Ok(())
}

/// Writes how far some work is.
pub(super) async fn save(
    engine: &Engine,
    task: &TaskRow,
    status: Status,
    progress: &impl Serialize,
) -> Result<(), Internal> {
    let mut change = Change::new();
    note(engine, &mut change, task, status, progress)?;
    engine.storage.commit(change).await?;
    Ok(())
}

/// Some work by its name; `None` when it is not known, or of another kind.
///
/// # Errors
///
/// When the database fails.
pub async fn get<P: DeserializeOwned>(
    engine: &Engine,
    kind: Kind,
    id: &str,
) -> Result<Option<Task<P>>, Internal> {
    let mut conn = engine.storage.read().await?;
    let row = rows::get(&mut conn, id).await?.filter(|row| row.kind == kind.name());
    row.map(Task::from_row).transpose()
}

/// What is done to a room or user and was lately, the oldest first.
///
/// # Errors
///
/// When the database fails.
pub async fn of<P: DeserializeOwned>(
    engine: &Engine,
    kind: Kind,
    subject: &str,
) -> Result<Vec<Task<P>>, Internal> {
    let mut conn = engine.storage.read().await?;
    let rows = rows::of_subject(&mut conn, subject, kind.name()).await?;
    rows.into_iter().map(Task::from_row).collect()
}

/// The places of rooms that are half gone: nobody may make them anew before they are gone wholly.
#[derive(Debug, Default)]
pub struct Held(HashMap<OwnedRoomId, RoomPlace>);

impl Held {
    /// The place of a room, from here or as soon as it is free.
    pub(super) async fn take(&mut self, engine: &Engine, room_id: &RoomId) -> RoomPlace {
        match self.0.remove(room_id) {
            Some(place) => place,
            None => room::place(engine, room_id).await,
        }
    }
}

/// Holds the places of rooms that were being removed when the process ended. To be called before
/// anybody is answered.
///
/// # Errors
///
/// When the database fails.
pub async fn hold(engine: &Engine) -> Result<Held, Internal> {
    let mut conn = engine.storage.read().await?;
    let open = rows::open(&mut conn, i64::MAX).await?;
    drop(conn);
    let mut held = Held::default();
    for task in open.iter().filter(|task| delete::is_half_done(task)) {
        let room_id = RoomId::parse(&task.subject)?;
        if !held.0.contains_key(&room_id) {
            held.0.insert(room_id.clone(), room::place(engine, &room_id).await);
        }
    }
    Ok(held)
}

/// Does what is to be done, until the process shuts down.
pub async fn run(engine: Engine, mut held: Held) {
    loop {
        if let Err(error) = do_all(&engine, &mut held).await {
            tracing::warn!(%error, "work of administrators could not be done yet");
        }
        if !behind::woken(&engine, &engine.admin.wake.0).await {
            return;
        }
    }
}

/// One round over what is to be done, and over what can be forgotten. Work that fails for a reason of
/// this server stays for the next round.
///
/// # Errors
///
/// When the database fails.
pub async fn do_all(engine: &Engine, held: &mut Held) -> Result<(), Internal> {
    let mut conn = engine.storage.read().await?;
    let open = rows::open(&mut conn, PAGE).await?;
    drop(conn);
    for task in open {
        if engine.shutdown.is_cancelled() {
            return Ok(());
        }
        do_one(engine, &task, held).await;
    }
    let mut change = Change::new();
    let before = engine.clock.now_ms() - KEEP_MS;
    change.write(Write::Task(rows::Write::Forget { before }));
    engine.storage.commit(change).await?;
    Ok(())
}

async fn do_one(engine: &Engine, task: &TaskRow, held: &mut Held) {
    tracing::info!(
        task.id = task.task_id,
        kind = task.kind,
        subject = task.subject,
        "work of an administrator begins"
    );
    let outcome = match Kind::of(&task.kind) {
        Some(Kind::DeleteRoom) => delete::perform(engine, task, held).await,
        Some(Kind::PurgeHistory) => history::perform(engine, task).await,
        Some(Kind::Redact) => redact::perform(engine, task).await,
        None => Err(Stopped::Internal(Internal::Damaged(format!("a task {}", task.kind)))),
    };
    let id = &task.task_id;
    match outcome {
        Ok(()) => tracing::info!(task.id = id, "work of an administrator is done"),
        Err(Stopped::Failed) => tracing::warn!(task.id = id, "work of an administrator failed"),
        Err(Stopped::Interrupted) => {}
        Err(Stopped::Internal(error)) => {
            tracing::warn!(task.id = id, %error, "work of an administrator could not be done yet");
        }
    }
}
