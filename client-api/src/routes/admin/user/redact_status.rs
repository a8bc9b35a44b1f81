//! GET /_synapse/admin/v1/user/redact_status/{redactId}

use serde_json::json;
use starling_engine::admin::{
    redact::Progress,
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
        tasks::get(&call.engine, Kind::Redact, call.path_arg(0)).await?;
    let task = task.ok_or_else(|| Error::not_found("There is no such redaction"))?;
    let failed = task.progress.failed_redactions;
    answer_json(&json!({ "status": task.status, "failed_redactions": failed }))
}
