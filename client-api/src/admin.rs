//! The API of administrators, as their tools know it from Synapse: which address is which function,
//! and what the functions have in common.

use serde::Deserialize;

use crate::{
    error::Error,
    route::{Route, delete, get, post, put},
    routes::admin,
};

/// How many items a page has when nobody says.
const USUAL: i64 = 100;

/// How many items a page has at most.
const LARGEST: i64 = 1_000;

/// Every operation.
#[rustfmt::skip]
pub(crate) fn table() -> Vec<Route> {
    vec![
        post("/_synapse/admin/v1/deactivate/{userId}", admin::deactivate::post),
        get("/_synapse/admin/v1/event_reports", admin::event_reports::get_all),
        delete("/_synapse/admin/v1/event_reports/{reportId}", admin::event_reports::delete),
        get("/_synapse/admin/v1/event_reports/{reportId}", admin::event_reports::get),
        get("/_synapse/admin/v1/federation/destinations", admin::federation::destinations::get_all),
        get("/_synapse/admin/v1/federation/destinations/{destination}", admin::federation::destinations::get),
        post("/_synapse/admin/v1/federation/destinations/{destination}/reset_connection", admin::federation::destinations::post_reset_connection),
        get("/_synapse/admin/v1/federation/destinations/{destination}/rooms", admin::federation::destinations::get_rooms),
        post("/_synapse/admin/v1/join/{roomIdOrAlias}", admin::join::post),
        post("/_synapse/admin/v1/media/delete", admin::media::delete::post),
        post("/_synapse/admin/v1/media/protect/{mediaId}", admin::media::protect::post),
        post("/_synapse/admin/v1/media/quarantine/{serverName}/{mediaId}", admin::media::quarantine::post),
        post("/_synapse/admin/v1/media/unprotect/{mediaId}", admin::media::unprotect::post),
        post("/_synapse/admin/v1/media/unquarantine/{serverName}/{mediaId}", admin::media::unquarantine::post),
        post("/_synapse/admin/v1/media/{serverName}/delete", admin::media::delete::post_of_server),
        delete("/_synapse/admin/v1/media/{serverName}/{mediaId}", admin::media::delete),
        get("/_synapse/admin/v1/media/{serverName}/{mediaId}", admin::media::get),
        post("/_synapse/admin/v1/purge_history/{roomId}", admin::purge_history::post),
        post("/_synapse/admin/v1/purge_history/{roomId}/{eventId}", admin::purge_history::post),
        get("/_synapse/admin/v1/purge_history_status/{purgeId}", admin::purge_history_status::get),
        post("/_synapse/admin/v1/purge_media_cache", admin::purge_media_cache::post),
        get("/_synapse/admin/v1/registration_tokens", admin::registration_tokens::get_all),
        post("/_synapse/admin/v1/registration_tokens/new", admin::registration_tokens::new::post),
        delete("/_synapse/admin/v1/registration_tokens/{token}", admin::registration_tokens::delete),
        get("/_synapse/admin/v1/registration_tokens/{token}", admin::registration_tokens::get),
        put("/_synapse/admin/v1/registration_tokens/{token}", admin::registration_tokens::put),
        post("/_synapse/admin/v1/reset_password/{userId}", admin::reset_password::post),
        get("/_synapse/admin/v1/room/{roomId}/media", admin::room::media::get),
        post("/_synapse/admin/v1/room/{roomId}/media/quarantine", admin::room::media::post_quarantine),
        get("/_synapse/admin/v1/rooms", admin::rooms::get_all),
        delete("/_synapse/admin/v1/rooms/{roomId}", admin::rooms::delete),
        get("/_synapse/admin/v1/rooms/{roomId}", admin::rooms::get),
        get("/_synapse/admin/v1/rooms/{roomId}/block", admin::rooms::block::get),
        put("/_synapse/admin/v1/rooms/{roomId}/block", admin::rooms::block::put),
        get("/_synapse/admin/v1/rooms/{roomId}/context/{eventId}", admin::rooms::context::get),
        get("/_synapse/admin/v1/rooms/{roomId}/forward_extremities", admin::rooms::forward_extremities::get),
        post("/_synapse/admin/v1/rooms/{roomId}/make_room_admin", admin::rooms::make_room_admin::post),
        get("/_synapse/admin/v1/rooms/{roomId}/members", admin::rooms::members::get),
        get("/_synapse/admin/v1/rooms/{roomId}/messages", admin::rooms::messages::get),
        get("/_synapse/admin/v1/rooms/{roomId}/state", admin::rooms::state::get),
        get("/_synapse/admin/v1/rooms/{roomId}/timestamp_to_event", admin::rooms::timestamp_to_event::get),
        post("/_synapse/admin/v1/send_server_notice", admin::send_server_notice::post),
        put("/_synapse/admin/v1/send_server_notice/{txnId}", admin::send_server_notice::put),
        get("/_synapse/admin/v1/server_version", admin::server_version::get),
        get("/_synapse/admin/v1/statistics/database/rooms", admin::statistics::database::get_rooms),
        get("/_synapse/admin/v1/statistics/users/media", admin::statistics::users::get_media),
        put("/_synapse/admin/v1/suspend/{userId}", admin::suspend::put_by_tool),
        get("/_synapse/admin/v1/threepid/{medium}/users/{address}", admin::threepid::users::get),
        get("/_synapse/admin/v1/user/redact_status/{redactId}", admin::user::redact_status::get),
        post("/_synapse/admin/v1/user/{userId}/media/quarantine", admin::user::media::post_quarantine),
        post("/_synapse/admin/v1/user/{userId}/redact", admin::user::redact::post),
        get("/_synapse/admin/v1/username_available", admin::username_available::get),
        get("/_synapse/admin/v1/users/{userId}/accountdata", admin::users::accountdata::get),
        get("/_synapse/admin/v1/users/{userId}/admin", admin::users::admin::get),
        put("/_synapse/admin/v1/users/{userId}/admin", admin::users::admin::put),
        get("/_synapse/admin/v1/users/{userId}/joined_rooms", admin::users::joined_rooms::get),
        post("/_synapse/admin/v1/users/{userId}/login", admin::users::login::post),
        delete("/_synapse/admin/v1/users/{userId}/media", admin::users::media::delete),
        get("/_synapse/admin/v1/users/{userId}/media", admin::users::media::get),
        get("/_synapse/admin/v1/users/{userId}/memberships", admin::users::memberships::get),
        delete("/_synapse/admin/v1/users/{userId}/override_ratelimit", admin::users::override_ratelimit::delete),
        get("/_synapse/admin/v1/users/{userId}/override_ratelimit", admin::users::override_ratelimit::get),
        post("/_synapse/admin/v1/users/{userId}/override_ratelimit", admin::users::override_ratelimit::post),
        get("/_synapse/admin/v1/users/{userId}/pushers", admin::users::pushers::get),
        delete("/_synapse/admin/v1/users/{userId}/shadow_ban", admin::users::shadow_ban::delete),
        post("/_synapse/admin/v1/users/{userId}/shadow_ban", admin::users::shadow_ban::post),
        get("/_synapse/admin/v1/whois/{userId}", admin::whois::get_by_tool),
        get("/_synapse/admin/v2/rooms/delete_status/{deleteId}", admin::rooms::delete_status::get),
        delete("/_synapse/admin/v2/rooms/{roomId}", admin::rooms::delete_v2),
        get("/_synapse/admin/v2/rooms/{roomId}/delete_status", admin::rooms::delete_status::get_of_room),
        get("/_synapse/admin/v2/users", admin::users::get_all),
        get("/_synapse/admin/v2/users/{userId}", admin::users::get),
        put("/_synapse/admin/v2/users/{userId}", admin::users::put),
        post("/_synapse/admin/v2/users/{userId}/delete_devices", admin::users::delete_devices::post),
        get("/_synapse/admin/v2/users/{userId}/devices", admin::users::devices::get_all),
        post("/_synapse/admin/v2/users/{userId}/devices", admin::users::devices::post),
        delete("/_synapse/admin/v2/users/{userId}/devices/{deviceId}", admin::users::devices::delete),
        get("/_synapse/admin/v2/users/{userId}/devices/{deviceId}", admin::users::devices::get),
        put("/_synapse/admin/v2/users/{userId}/devices/{deviceId}", admin::users::devices::put),
        get("/_synapse/admin/v3/users", admin::users::get_all_v3),
    ]
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Paging {
    from: Option<i64>,
    limit: Option<i64>,
    #[serde(default)]
    dir: Direction,
}

/// In which direction a list goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    #[serde(rename = "f")]
    Forward,
    #[serde(rename = "b")]
    Backward,
}

impl Paging {
    /// Of values that were read elsewhere.
    pub(crate) fn of(from: Option<i64>, limit: Option<i64>) -> Self {
        Self { from, limit, dir: Direction::Forward }
    }

    /// How many to leave out, and how many to show at most.
    pub(crate) fn page(self) -> Result<(i64, i64), Error> {
        let (from, limit) = (self.from.unwrap_or(0), self.limit.unwrap_or(USUAL));
        if from < 0 || limit < 0 {
            return Err(Error::invalid_param("`from` and `limit` must not be negative"));
        }
        Ok((from, limit.min(LARGEST)))
    }

    /// Whether the list goes backwards.
    pub(crate) fn is_backward(self) -> bool {
        self.dir == Direction::Backward
    }
}

/// Where the next page begins, if there is one.
pub(crate) fn next((from, _): (i64, i64), shown: usize, total: i64) -> Option<i64> {
    let end = from.saturating_add(i64::try_from(shown).unwrap_or(i64::MAX));
    (shown > 0 && end < total).then_some(end)
}
