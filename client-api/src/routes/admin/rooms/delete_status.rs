//! GET /_synapse/admin/v2/rooms/delete_status/{deleteId}
//! GET /_synapse/admin/v2/rooms/{roomId}/delete_status

use serde_json::{Value, json};
use starling_engine::admin::{
    delete::Progress,
    tasks::{self, Kind, Task},
};

use super::outcome;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
    routes::admin::task,
};

pub(crate) async fn get(call: Call) -> Answer {
    answer_json(&shown(&task(&call, Kind::DeleteRoom).await?))
}

pub(crate) async fn get_of_room(call: Call) -> Answer {
    call.administrator().await?;
    let tasks = tasks::of(&call.engine, Kind::DeleteRoom, call.path_arg(0)).await?;
    if tasks.is_empty() {
        return Err(Error::not_found("This room is not being removed and was not lately"));
    }
    answer_json(&json!({ "results": tasks.iter().map(shown).collect::<Vec<_>>() }))
}

fn shown(task: &Task<Progress>) -> Value {
    let mut body = json!({
        "delete_id": task.id,
        "room_id": task.subject,
        "status": task.status,
        "shutdown_room": outcome(&task.progress),
    });
    if let Some(error) = &task.progress.error {
        body["error"] = json!(error);
    }
    body
}
