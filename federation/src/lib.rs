//! The server-server API of a Starling homeserver, as server and as client.
//!
//! [`router`] is the door: the table below says which address is which function. A route gets a
//! request that its origin has signed ([`door`]), calls one function of the engine and answers;
//! refusals and their errcodes are in [`error`].
//!
//! Reading order of the client side: [`transport`] (the engine's way to other servers), then what
//! it is made of: [`discovery`] with [`well_known`] and [`dns`], [`lookup`] with [`addresses`],
//! [`client`], [`request_auth`]. [`doctor`] goes the same way and says what it found.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    response::IntoResponse,
    routing::{self, MethodRouter},
};
use tower_http::catch_panic::CatchPanicLayer;

pub mod addresses;
pub mod authorization;
mod body;
pub mod client;
pub mod config;
mod connector;
pub mod content;
pub mod discovery;
pub mod dns;
pub mod doctor;
pub mod door;
pub mod error;
pub mod limits;
pub mod lookup;
mod parts;
pub mod request_auth;
mod routes;
#[cfg(test)]
mod test_peer;
#[cfg(test)]
mod test_server;
pub mod tls;
pub mod transport;
pub mod well_known;
pub mod well_known_fetch;

pub use door::{Door, Options};
use error::{Error, Kind};

/// Bytes of a request's body.
const MAX_BODY: usize = 1024 * 1024;
/// Bytes of a transaction: 50 events of 64 KiB, which `unsigned` may make larger, and 100 EDUs.
const MAX_TRANSACTION: usize = 16 * 1024 * 1024;

/// The server-server API.
///
/// Unknown addresses and methods are answered as the specification says, so whoever adds addresses
/// of their own to a listener must route those before this.
pub fn router(door: Door) -> Router {
    routes(door).fallback(async || Error::new(Kind::UnknownPath, "Unrecognized request"))
}

/// The addresses of the server-server API alone, for a listener that has others too.
pub fn routes(door: Door) -> Router {
    table()
        .into_iter()
        .fold(Router::new(), |router, Route { path, handler }| router.route(path, handler))
        .method_not_allowed_fallback(async || {
            Error::new(Kind::UnknownMethod, "Unrecognized method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(door)
}

/// A panic is a fault of ours; it must not take more with it than the request.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("panic: {}", text.unwrap_or("?"))).into_response()
}

/// An address with what answers there.
struct Route {
    path: &'static str,
    handler: MethodRouter<Door>,
}

impl Route {
    fn max_body(mut self, bytes: usize) -> Self {
        self.handler = self.handler.layer(DefaultBodyLimit::max(bytes));
        self
    }
}

fn get<T: 'static, H: Handler<T, Door>>(path: &'static str, handler: H) -> Route {
    Route { path, handler: routing::get(handler) }
}

fn put<T: 'static, H: Handler<T, Door>>(path: &'static str, handler: H) -> Route {
    Route { path, handler: routing::put(handler) }
}

fn post<T: 'static, H: Handler<T, Door>>(path: &'static str, handler: H) -> Route {
    Route { path, handler: routing::post(handler) }
}

/// Every operation.
#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        get("/_matrix/key/v2/server", routes::server::get),
        get("/_matrix/key/v2/query/{serverName}", routes::query::get),
        post("/_matrix/key/v2/query", routes::query::post),
        get("/_matrix/federation/v1/version", routes::version::get),
        put("/_matrix/federation/v1/send/{txnId}", routes::send::put).max_body(MAX_TRANSACTION),
        get("/_matrix/federation/v1/event/{eventId}", routes::event::get),
        get("/_matrix/federation/v1/state/{roomId}", routes::state::get),
        get("/_matrix/federation/v1/state_ids/{roomId}", routes::state_ids::get),
        get("/_matrix/federation/v1/event_auth/{roomId}/{eventId}", routes::event_auth::get),
        get("/_matrix/federation/v1/backfill/{roomId}", routes::backfill::get),
        get("/_matrix/federation/v1/timestamp_to_event/{roomId}", routes::timestamp_to_event::get),
        post("/_matrix/federation/v1/get_missing_events/{roomId}", routes::get_missing_events::post),
        get("/_matrix/federation/v1/make_join/{roomId}/{userId}", routes::make_join::get),
        put("/_matrix/federation/v2/send_join/{roomId}/{eventId}", routes::send_join::put_v2),
        put("/_matrix/federation/v1/send_join/{roomId}/{eventId}", routes::send_join::put_v1),
        get("/_matrix/federation/v1/make_leave/{roomId}/{userId}", routes::make_leave::get),
        put("/_matrix/federation/v2/send_leave/{roomId}/{eventId}", routes::send_leave::put_v2),
        put("/_matrix/federation/v1/send_leave/{roomId}/{eventId}", routes::send_leave::put_v1),
        get("/_matrix/federation/v1/make_knock/{roomId}/{userId}", routes::make_knock::get),
        put("/_matrix/federation/v1/send_knock/{roomId}/{eventId}", routes::send_knock::put),
        put("/_matrix/federation/v1/invite/{roomId}/{eventId}", routes::invite::put_v1),
        put("/_matrix/federation/v2/invite/{roomId}/{eventId}", routes::invite::put_v2),
        put("/_matrix/federation/v1/3pid/onbind", routes::threepid::onbind::put),
        put("/_matrix/federation/v1/exchange_third_party_invite/{roomId}", routes::exchange_third_party_invite::put),
        get("/_matrix/federation/v1/query/directory", routes::query::directory::get),
        get("/_matrix/federation/v1/query/profile", routes::query::profile::get),
        get("/_matrix/federation/v1/user/devices/{userId}", routes::user::devices::get),
        post("/_matrix/federation/v1/user/keys/claim", routes::user::keys::post_claim),
        post("/_matrix/federation/v1/user/keys/query", routes::user::keys::post_query),
        get("/_matrix/federation/v1/hierarchy/{roomId}", routes::hierarchy::get),
        get("/_matrix/federation/v1/media/download/{mediaId}", routes::media::download::get),
        get("/_matrix/federation/v1/media/thumbnail/{mediaId}", routes::media::thumbnail::get),
        get("/_matrix/federation/v1/openid/userinfo", routes::openid::userinfo::get),
        get("/_matrix/federation/v1/publicRooms", routes::public_rooms::get),
        post("/_matrix/federation/v1/publicRooms", routes::public_rooms::post),
    ]
}
