//! GET /_synapse/admin/v1/purge_history_status/{purgeId}

use serde_json::json;
use starling_engine::admin::{history::Progress, tasks::Kind};

use super::task;
use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
};

pub(crate) async fn get(call: Call) -> Answer {
    let task = task::<Progress>(&call, Kind::PurgeHistory).await?;
    let mut body = json!({ "status": task.status, "purged_events": task.progress.purged });
    if let Some(error) = task.progress.error {
        body["error"] = json!(error);
    }
    answer_json(&body)
}
