//! GET /_matrix/client/v3/pushers

use serde_json::{Value, json};
use starling_engine::pushers::set::{PusherRow, list};

use crate::{
    answer::{self, Answer},
    call::Call,
    error::Error,
    limits::Doing,
};

pub(crate) mod set;

pub(crate) async fn get(call: Call) -> Answer {
    let session = call.authenticated().await?;
    call.limit(Doing::Asking, &session)?;
    let pushers = list(&call.engine, &session.user_id).await?;
    let shown = pushers.into_iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    answer::json(&json!({ "pushers": shown }))
}

/// A pusher as clients and administrators are shown it. Whether it is switched on, and by which device it
/// was set, is said by the names of a proposal.
///
/// <https://github.com/matrix-org/matrix-spec-proposals/pull/3881>
pub(crate) fn shown(row: PusherRow) -> Result<Value, Error> {
    let data: Value = serde_json::from_str(&row.data).map_err(Error::internal)?;
    let mut pusher = json!({
        "app_display_name": row.app_display_name,
        "app_id": row.key.app_id,
        "data": data,
        "device_display_name": row.device_display_name,
        "kind": row.kind,
        "lang": row.lang,
        "pushkey": row.key.pushkey,
        "org.matrix.msc3881.enabled": row.enabled,
    });
    if let Some(profile_tag) = row.profile_tag {
        pusher["profile_tag"] = profile_tag.into();
    }
    if !row.device_id.is_empty() {
        pusher["org.matrix.msc3881.device_id"] = row.device_id.into();
    }
    Ok(pusher)
}
