//! GET /_synapse/admin/v1/purge_history_status/{purgeId}

use serde_json::json;
use starling_engine::admin::{
    history::Progress,
    tasks::{self, Kind, Task},
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let task: Option<Task<Progress>> =
        tasks::get(&call.engine, Kind::PurgeHistory, call.path_arg(0)).await?;
    let task = task.ok_or_else(|| Error::not_found("There is no such purge"))?;
    let mut body = json!({ "status": task.status, "purged_events": task.progress.purged });
    if let Some(error) = task.progress.error {
        body["error"] = json!(error);
    }
    answer_json(&body)
}
