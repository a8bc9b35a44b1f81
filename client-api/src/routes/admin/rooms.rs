//! GET /_synapse/admin/v1/rooms
//! GET /_synapse/admin/v1/rooms/{roomId}
//! DELETE /_synapse/admin/v1/rooms/{roomId}
//! DELETE /_synapse/admin/v2/rooms/{roomId}

pub(crate) mod block;
pub(crate) mod context;
pub(crate) mod delete_status;
pub(crate) mod forward_extremities;
pub(crate) mod make_room_admin;
pub(crate) mod members;
pub(crate) mod messages;
pub(crate) mod state;
pub(crate) mod timestamp_to_event;

use std::time::Duration;

use http::StatusCode;
use ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;
use serde_json::{Value, json};
use starling_engine::{
    Engine,
    admin::{
        delete::{self, Progress, Wanted as Removal},
        rooms::{self, Order, Summary, Wanted},
        tasks::{self, Kind, Status, Task},
    },
};

use super::reset_password::yes;
use crate::{
    admin::{Paging, next},
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

/// How long a request waits for a room to be gone.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How often it is looked whether a room is gone for which a request waits.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
struct Query {
    search_term: Option<String>,
    public_rooms: Option<bool>,
    empty_rooms: Option<bool>,
    #[serde(default)]
    order_by: Order,
}

pub(crate) async fn get_all(call: Call) -> Answer {
    call.administrator().await?;
    let (query, paging): (Query, Paging) = (call.query_as()?, call.query_as()?);
    let page = paging.page()?;
    let wanted = Wanted {
        search: query.search_term.filter(|term| !term.is_empty()),
        public: query.public_rooms,
        empty: query.empty_rooms,
        order: query.order_by,
        backwards: paging.is_backward(),
        offset: page.0,
        limit: page.1,
    };
    let (found, total) = rooms::list(&call.engine, &wanted).await?;
    let mut body = json!({ "rooms": found, "offset": page.0, "total_rooms": total });
    if let Some(next) = next(page, found.len(), total) {
        body["next_batch"] = next.into();
    }
    if page.0 > 0 {
        body["prev_batch"] = (page.0 - page.1).max(0).into();
    }
    answer_json(&body)
}

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let room = known(&call, &room_id).await?;
    let (devices, forgotten) = rooms::devices_and_forgotten(&call.engine, &room_id).await?;
    let mut body = json!(room);
    body["avatar"] = json!(room.avatar_url);
    body["topic"] = json!(room.topic);
    body["joined_local_devices"] = devices.into();
    body["forgotten"] = forgotten.into();
    answer_json(&body)
}

/// The room of the path, which must be known.
pub(super) async fn known(call: &Call, room_id: &OwnedRoomId) -> Result<Summary, Error> {
    let room = rooms::summary(&call.engine, room_id.as_str()).await?;
    room.ok_or_else(|| Error::not_found("There is no such room"))
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    block: bool,
    #[serde(default = "yes")]
    purge: bool,
    #[serde(default)]
    force_purge: bool,
    new_room_user_id: Option<OwnedUserId>,
    room_name: Option<String>,
    message: Option<String>,
}

async fn schedule(call: &mut Call) -> Result<Option<String>, Error> {
    let session = call.administrator().await?;
    let room_id: OwnedRoomId = call.path_id(0)?;
    let body: Body = call.body_as().await?;
    let wanted = Removal {
        by: session.user_id.to_string(),
        block: body.block,
        purge: body.purge,
        force: body.force_purge,
        new_room_user_id: body.new_room_user_id,
        room_name: body.room_name,
        message: body.message,
    };
    Ok(delete::schedule(&call.engine, &room_id, &wanted).await?)
}

pub(crate) async fn delete_v2(mut call: Call) -> Answer {
    let id = schedule(&mut call).await?;
    let id = id.ok_or_else(|| Error::not_found("There is no such room"))?;
    answer_json(&json!({ "delete_id": id }))
}

/// Answers when the room is gone, or that it takes longer.
pub(crate) async fn delete(mut call: Call) -> Answer {
    let Some(id) = schedule(&mut call).await? else {
        return answer_json(&outcome(&Progress::default()));
    };
    let Some(task) = finished(&call.engine, &id, PATIENCE).await? else {
        let mut answer = answer_json(&json!({ "delete_id": id }))?;
        *answer.status_mut() = StatusCode::ACCEPTED;
        return Ok(answer);
    };
    match task.status {
        Status::Failed => Err(Error::unknown(task.progress.error.unwrap_or_default())),
        _ => answer_json(&outcome(&task.progress)),
    }
}

/// A removal that has come to its end; `None` when it does not in that time.
async fn finished(
    engine: &Engine,
    id: &str,
    patience: Duration,
) -> Result<Option<Task<Progress>>, Error> {
    let end = async {
        loop {
            let task: Option<Task<Progress>> = tasks::get(engine, Kind::DeleteRoom, id).await?;
            let task = task.ok_or_else(|| Error::internal("a removal is not known"))?;
            if matches!(task.status, Status::Complete | Status::Failed) {
                return Ok(task);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        task = end => task.map(Some),
        () = engine.shutdown.cancelled() => {
            Err(Error::unknown("The server stops; the removal goes on after its start"))
        }
        () = tokio::time::sleep(patience) => Ok(None),
    }
}

/// What came of a removal.
pub(super) fn outcome(progress: &Progress) -> Value {
    json!({
        "kicked_users": progress.kicked_users,
        "failed_to_kick_users": progress.failed_to_kick_users,
        "local_aliases": progress.local_aliases,
        "new_room_id": progress.new_room_id,
    })
}

#[cfg(test)]
mod tests {
    use starling_engine::admin::users::{self, Right};

    use super::*;
    use crate::testing::TestDoor;

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let door = TestDoor::new().await;
        let root = door.user("root").await;
        users::set(door.engine(), None, &root.user_id, Right::Admin, true).await.unwrap();
        let room = door.room(&root, json!({})).await;
        let path = format!("/_synapse/admin/v2/rooms/{room}");
        // Nothing works in the background of a test.
        let id = door.delete(&path, &root, json!({})).await.ok()["delete_id"].clone();
        let id = id.as_str().unwrap();
        let waited = finished(door.engine(), id, Duration::ZERO).await;
        assert!(matches!(waited, Ok(None)));
        door.engine().shutdown.cancel();
        finished(door.engine(), id, PATIENCE).await.err().unwrap();
    }
}
