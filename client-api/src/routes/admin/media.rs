//! GET /_synapse/admin/v1/media/{serverName}/{mediaId}
//! DELETE /_synapse/admin/v1/media/{serverName}/{mediaId}

pub(crate) mod delete;
pub(crate) mod protect;
pub(crate) mod quarantine;
pub(crate) mod unprotect;
pub(crate) mod unquarantine;

use serde_json::{Value, json};
use starling_engine::{
    admin::media::{self, File},
    media::MediaId,
};

use crate::{
    answer::{Answer, json as answer_json},
    call::Call,
    error::Error,
};

pub(crate) async fn get(call: Call) -> Answer {
    call.administrator().await?;
    let (_, file) = known(&call).await?;
    let body = json!({
        "media_origin": file.origin,
        "user_id": file.uploader,
        "sha256": file.hash,
        "authenticated": file.authenticated,
    });
    answer_json(&json!({ "media_info": merged(shown(&file), body) }))
}

/// What was fetched of other servers is left to `purge_media_cache`.
pub(crate) async fn delete(call: Call) -> Answer {
    call.administrator().await?;
    let (id, file) = known(&call).await?;
    if id.origin() != call.engine.config.server_name {
        return Err(Error::invalid_param("This server can only delete files of its own users"));
    }
    deleted(&media::remove(&call.engine, vec![file]).await?)
}

/// The file of the path, which must be here.
pub(super) async fn known(call: &Call) -> Result<(MediaId, File), Error> {
    let missing = || Error::not_found("There is no such file");
    let id = MediaId::new(call.path_arg(0), call.path_arg(1)).ok_or_else(missing)?;
    let file = media::get(&call.engine, &id).await?.ok_or_else(missing)?;
    Ok((id, file))
}

/// The file of this server that the path names by its id alone, which must be here.
pub(super) async fn known_here(call: &Call) -> Result<MediaId, Error> {
    let missing = || Error::not_found("There is no such file");
    let origin = call.engine.config.server_name.as_str();
    let id = MediaId::new(origin, call.path_arg(0)).ok_or_else(missing)?;
    media::get(&call.engine, &id).await?.ok_or_else(missing)?;
    Ok(id)
}

/// A file, as lists show it.
pub(super) fn shown(file: &File) -> Value {
    json!({
        "media_id": file.media_id,
        "media_type": file.content_type,
        "media_length": file.size,
        "upload_name": file.file_name,
        "created_ts": file.created_ts,
        "last_access_ts": file.used_ts,
        "quarantined_by": file.quarantined_by,
        "safe_from_quarantine": file.protected,
    })
}

/// What was deleted.
pub(super) fn deleted(media_ids: &[String]) -> Answer {
    answer_json(&json!({ "deleted_media": media_ids, "total": media_ids.len() }))
}

/// An object with the fields of another.
fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}
