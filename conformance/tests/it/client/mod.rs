//! The client-server API: one file per endpoint, as the module documentation of `main.rs` says.

mod account;
mod admin;
mod capabilities;
mod create_room;
mod delete_devices;
mod devices;
mod directory;
mod guests;
mod knock;
mod login;
mod logout;
mod mutual_rooms;
mod notifications;
mod presence;
mod profile;
mod pushrules;
mod refresh;
mod register;
mod room_summary;
mod rooms;
mod search;
mod sync;
mod user;
mod users;
mod versions;
mod well_known;
