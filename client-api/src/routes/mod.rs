//! One file for each address, at the place that its path names.
//!
//! `/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}` without version and parameters is
//! `rooms/send`, so it is `rooms/send.rs`. A route's first line is its method and path.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod appservice;
pub(crate) mod auth;
pub(crate) mod capabilities;
pub(crate) mod client;
pub(crate) mod create_room;
pub(crate) mod dehydrated_device;
pub(crate) mod delayed_events;
pub(crate) mod delete_devices;
pub(crate) mod devices;
pub(crate) mod directory;
pub(crate) mod email;
pub(crate) mod events;
pub(crate) mod initial_sync;
pub(crate) mod join;
pub(crate) mod joined_rooms;
pub(crate) mod keys;
pub(crate) mod knock;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod media;
pub(crate) mod mutual_rooms;
pub(crate) mod notifications;
pub(crate) mod presence;
pub(crate) mod profile;
pub(crate) mod public_rooms;
pub(crate) mod pushers;
pub(crate) mod pushrules;
pub(crate) mod refresh;
pub(crate) mod register;
pub(crate) mod room_keys;
pub(crate) mod room_summary;
pub(crate) mod rooms;
pub(crate) mod rtc;
pub(crate) mod search;
pub(crate) mod send_to_device;
pub(crate) mod summary;
pub(crate) mod sync;
pub(crate) mod thirdparty;
pub(crate) mod thread_subscriptions;
pub(crate) mod user;
pub(crate) mod user_directory;
pub(crate) mod users;
pub(crate) mod versions;
pub(crate) mod voip;
pub(crate) mod well_known;
