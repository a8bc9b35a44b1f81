//! One file per address, found by its path: see `table` in the crate's root.

pub(crate) mod backfill;
pub(crate) mod event;
pub(crate) mod event_auth;
pub(crate) mod exchange_third_party_invite;
pub(crate) mod get_missing_events;
pub(crate) mod hierarchy;
pub(crate) mod invite;
pub(crate) mod make_join;
pub(crate) mod make_knock;
pub(crate) mod make_leave;
pub(crate) mod media;
pub(crate) mod openid;
pub(crate) mod public_rooms;
pub(crate) mod query;
pub(crate) mod send;
pub(crate) mod send_join;
pub(crate) mod send_knock;
pub(crate) mod send_leave;
pub(crate) mod server;
pub(crate) mod state;
pub(crate) mod state_ids;
pub(crate) mod threepid;
pub(crate) mod timestamp_to_event;
pub(crate) mod user;
pub(crate) mod version;
