//! `/admin`, which clients of administrators call, and `/_synapse/admin`, which their scripts and
//! tools do.

pub(crate) mod deactivate;
pub(crate) mod event_reports;
pub(crate) mod federation;
pub(crate) mod join;
pub(crate) mod lock;
pub(crate) mod media;
pub(crate) mod purge_history;
pub(crate) mod purge_history_status;
pub(crate) mod purge_media_cache;
pub(crate) mod register;
pub(crate) mod registration_tokens;
pub(crate) mod reset_password;
pub(crate) mod room;
pub(crate) mod rooms;
pub(crate) mod send_server_notice;
pub(crate) mod server_version;
pub(crate) mod statistics;
pub(crate) mod suspend;
pub(crate) mod threepid;
pub(crate) mod user;
pub(crate) mod username_available;
pub(crate) mod users;
pub(crate) mod whois;

use serde::de::DeserializeOwned;
use starling_engine::admin::tasks::{self, Kind, Task};

use crate::{call::Call, error::Error};

/// The work of a kind that an administrator asks about, by the first parameter of the path.
async fn task<P: DeserializeOwned>(call: &Call, kind: Kind) -> Result<Task<P>, Error> {
    call.administrator().await?;
    let task = tasks::get(&call.engine, kind, call.path_arg(0)).await?;
    task.ok_or_else(|| Error::not_found("There is no such work"))
}
