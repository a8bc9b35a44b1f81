//! GET /_synapse/admin/v1/user/redact_status/{redactId}

use serde_json::json;
use starling_engine::admin::{redact::Progress, tasks::Kind};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    routes::admin::task,
};

pub(crate) async fn get(call: Call) -> Answer {
    let task = task::<Progress>(&call, Kind::Redact).await?;
    let failed = task.progress.failed_redactions;
    answer_json(&json!({ "status": task.status, "failed_redactions": failed }))
}
