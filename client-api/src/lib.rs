//! The client-server API of a Starling homeserver.
//!
//! [`router`] is the door: the table below says which address is which function. A route takes a
//! [`call::Call`], asks who calls and what for, calls one function of the engine and answers;
//! refusals and their errcodes are in [`error`].

use std::{ops::Deref, sync::Arc};

use axum::{Router, middleware};
use starling_engine::Engine;

mod admin;
mod answer;
mod body;
mod call;
pub mod client_ip;
mod cors;
mod error;
mod file;
mod html;
mod limits;
mod request_token;
mod route;
mod routes;
mod settings;
mod shadow;
mod sliding;
#[cfg(test)]
mod testing;
mod uia;
mod untaken;
mod wish;

pub use client_ip::ClientIp;
pub use settings::{Allowances, Contact, Policy, Settings, Support, Turn, TurnAccess};

use error::Error;
use route::{Route, delete, get, post, put};

/// The client-server API over an engine.
///
/// Unknown addresses and methods are answered as the specification says, so whoever adds addresses
/// of their own to a listener must route those before this.
pub fn router(engine: Engine, settings: Settings) -> Router {
    over(route::router(&Door::new(engine, settings), table()))
}

/// The same with the API of administrators: their tools log in where they work.
pub fn router_with_admin(engine: Engine, settings: Settings) -> Router {
    let table = table().into_iter().chain(admin::table()).collect();
    over(route::router(&Door::new(engine, settings), table))
}

fn over(router: Router) -> Router {
    router
        .fallback(async || Error::no_such_address())
        .method_not_allowed_fallback(async || Error::no_such_method())
        .layer(middleware::from_fn(cors::cors))
}

/// Every operation. `v3` paths answer under their older names too.
#[rustfmt::skip]
fn table() -> Vec<Route> {
    vec![
        get("/.well-known/matrix/client", routes::well_known::client::get),
        get("/.well-known/matrix/policy_server", routes::well_known::policy_server::get),
        get("/.well-known/matrix/server", routes::well_known::server::get),
        get("/.well-known/matrix/support", routes::well_known::support::get),
        get("/_matrix/client/v1/admin/lock/{userId}", routes::admin::lock::get),
        put("/_matrix/client/v1/admin/lock/{userId}", routes::admin::lock::put),
        get("/_matrix/client/v1/admin/suspend/{userId}", routes::admin::suspend::get),
        put("/_matrix/client/v1/admin/suspend/{userId}", routes::admin::suspend::put),
        delete("/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription", routes::rooms::thread::delete),
        get("/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription", routes::rooms::thread::get),
        put("/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription", routes::rooms::thread::put),
        get("/_matrix/client/unstable/io.element.msc4308/thread_subscriptions", routes::thread_subscriptions::get),
        delete("/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}", routes::user::account_data::delete),
        delete("/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}", routes::user::rooms::delete_account_data),
        get("/_matrix/client/unstable/im.nheko.summary/rooms/{roomIdOrAlias}/summary", routes::rooms::summary::get),
        get("/_matrix/client/unstable/im.nheko.summary/summary/{roomIdOrAlias}", routes::summary::get),
        get("/_matrix/client/unstable/org.matrix.msc2946/rooms/{roomId}/hierarchy", routes::rooms::hierarchy::get),
        get("/_matrix/client/unstable/org.matrix.msc2432/rooms/{roomId}/aliases", routes::rooms::aliases::get),
        get("/_matrix/client/unstable/org.matrix.msc3030/rooms/{roomId}/timestamp_to_event", routes::rooms::timestamp_to_event::get),
        delete("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", routes::dehydrated_device::delete),
        get("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", routes::dehydrated_device::get),
        put("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device", routes::dehydrated_device::put),
        get("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events", routes::dehydrated_device::events::get),
        post("/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{deviceId}/events", routes::dehydrated_device::events::post),
        get("/_matrix/client/unstable/org.matrix.msc3856/rooms/{roomId}/threads", routes::rooms::threads::get),
        get("/_matrix/client/unstable/org.matrix.msc4140/delayed_events", routes::delayed_events::get_all),
        get("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}", routes::delayed_events::get),
        post("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}", routes::delayed_events::post),
        post("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/cancel", routes::delayed_events::cancel::post),
        post("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/restart", routes::delayed_events::restart::post),
        post("/_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/send", routes::delayed_events::send::post),
        post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", routes::sync::post_simplified),
        put("/_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}", routes::rooms::delayed_event::put),
        get("/_matrix/client/unstable/rooms/{roomId}/relations/{eventId}/{relType}", routes::rooms::relations::get),
        delete("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}", routes::profile::delete),
        get("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}", routes::profile::get),
        put("/_matrix/client/unstable/uk.tcpip.msc4133/profile/{userId}/{keyName}", routes::profile::put),
        get("/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms", routes::user::mutual_rooms::get),
        post("/_matrix/client/v1/appservice/{appserviceId}/ping", routes::appservice::ping::post),
        post("/_matrix/client/v1/login/get_token", routes::login::get_token::post),
        get("/_matrix/client/v1/media/config", routes::media::config::get),
        get("/_matrix/client/v1/media/download/{serverName}/{mediaId}", routes::media::download::get),
        get("/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}", routes::media::download::get_named),
        get("/_matrix/client/v1/media/preview_url", routes::media::preview_url::get),
        get("/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", routes::media::thumbnail::get),
        get("/_matrix/client/v1/mutual_rooms", routes::mutual_rooms::get),
        get("/_matrix/client/v1/register/m.login.registration_token/validity", routes::register::m_login_registration_token::get),
        get("/_matrix/client/v1/room_summary/{roomIdOrAlias}", routes::room_summary::get),
        get("/_matrix/client/v1/rooms/{roomId}/hierarchy", routes::rooms::hierarchy::get),
        get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", routes::rooms::relations::get),
        get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}", routes::rooms::relations::get),
        get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}", routes::rooms::relations::get),
        get("/_matrix/client/v1/rooms/{roomId}/threads", routes::rooms::threads::get),
        get("/_matrix/client/v1/rooms/{roomId}/timestamp_to_event", routes::rooms::timestamp_to_event::get),
        get("/_matrix/client/v3/account/3pid", routes::account::threepid::get),
        post("/_matrix/client/v3/account/3pid", routes::account::threepid::post),
        post("/_matrix/client/v3/account/3pid/add", routes::account::threepid::add),
        post("/_matrix/client/v3/account/3pid/bind", routes::account::threepid::bind),
        post("/_matrix/client/v3/account/3pid/delete", routes::account::threepid::delete),
        post("/_matrix/client/v3/account/3pid/email/requestToken", routes::account::threepid::post_email_request_token),
        post("/_matrix/client/v3/account/3pid/msisdn/requestToken", routes::account::threepid::post_msisdn_request_token),
        post("/_matrix/client/v3/account/3pid/unbind", routes::account::threepid::unbind),
        post("/_matrix/client/v3/account/deactivate", routes::account::deactivate::post),
        post("/_matrix/client/v3/account/password", routes::account::password::post),
        post("/_matrix/client/v3/account/password/email/requestToken", routes::account::password::post_email_request_token),
        post("/_matrix/client/v3/account/password/msisdn/requestToken", routes::account::password::post_msisdn_request_token),
        get("/_matrix/client/v3/account/whoami", routes::account::whoami::get),
        get("/_matrix/client/v3/admin/whois/{userId}", routes::admin::whois::get),
        get("/_matrix/client/v3/auth/{authType}/fallback/web", routes::auth::fallback::get),
        post("/_matrix/client/v3/auth/{authType}/fallback/web", routes::auth::fallback::post),
        get("/_matrix/client/v3/capabilities", routes::capabilities::get),
        post("/_matrix/client/v3/createRoom", routes::create_room::post),
        post("/_matrix/client/v3/delete_devices", routes::delete_devices::post),
        get("/_matrix/client/v3/devices", routes::devices::get_all),
        delete("/_matrix/client/v3/devices/{deviceId}", routes::devices::delete),
        get("/_matrix/client/v3/devices/{deviceId}", routes::devices::get),
        put("/_matrix/client/v3/devices/{deviceId}", routes::devices::put),
        put("/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}", routes::directory::list::put_for_network),
        get("/_matrix/client/v3/directory/list/room/{roomId}", routes::directory::list::get),
        put("/_matrix/client/v3/directory/list/room/{roomId}", routes::directory::list::put),
        delete("/_matrix/client/v3/directory/room/{roomAlias}", routes::directory::room::delete),
        get("/_matrix/client/v3/directory/room/{roomAlias}", routes::directory::room::get),
        put("/_matrix/client/v3/directory/room/{roomAlias}", routes::directory::room::put),
        get("/_matrix/client/v3/events", routes::events::get),
        get("/_matrix/client/v3/events/{eventId}", routes::events::get_one),
        get("/_matrix/client/v3/initialSync", routes::initial_sync::get),
        post("/_matrix/client/v3/join/{roomIdOrAlias}", routes::join::post),
        get("/_matrix/client/v3/joined_rooms", routes::joined_rooms::get),
        post("/_matrix/client/v3/knock/{roomIdOrAlias}", routes::knock::post),
        get("/_matrix/client/v3/keys/changes", routes::keys::changes::get),
        post("/_matrix/client/v3/keys/claim", routes::keys::claim::post),
        post("/_matrix/client/v3/keys/device_signing/upload", routes::keys::device_signing::post),
        post("/_matrix/client/v3/keys/query", routes::keys::query::post),
        post("/_matrix/client/v3/keys/signatures/upload", routes::keys::signatures::post),
        post("/_matrix/client/v3/keys/upload", routes::keys::upload::post),
        get("/_matrix/client/v3/login", routes::login::get),
        post("/_matrix/client/v3/login", routes::login::post),
        post("/_matrix/client/v3/logout", routes::logout::post),
        post("/_matrix/client/v3/logout/all", routes::logout::all::post),
        get("/_matrix/client/v3/notifications", routes::notifications::get),
        get("/_matrix/client/v3/presence/{userId}/status", routes::presence::status::get),
        put("/_matrix/client/v3/presence/{userId}/status", routes::presence::status::put),
        get("/_matrix/client/v3/profile/{userId}", routes::profile::get_all),
        delete("/_matrix/client/v3/profile/{userId}/{keyName}", routes::profile::delete),
        get("/_matrix/client/v3/profile/{userId}/{keyName}", routes::profile::get),
        put("/_matrix/client/v3/profile/{userId}/{keyName}", routes::profile::put),
        get("/_matrix/client/v3/publicRooms", routes::public_rooms::get),
        post("/_matrix/client/v3/publicRooms", routes::public_rooms::post),
        get("/_matrix/client/v3/pushers", routes::pushers::get),
        post("/_matrix/client/v3/pushers/set", routes::pushers::set::post),
        get("/_matrix/client/v3/pushrules/", routes::pushrules::get),
        get("/_matrix/client/v3/pushrules/global/", routes::pushrules::global::get_all),
        delete("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", routes::pushrules::global::delete),
        get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", routes::pushrules::global::get),
        put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", routes::pushrules::global::put),
        get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", routes::pushrules::global::get_actions),
        put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", routes::pushrules::global::put_actions),
        get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", routes::pushrules::global::get_enabled),
        put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", routes::pushrules::global::put_enabled),
        post("/_matrix/client/v3/refresh", routes::refresh::post),
        post("/_matrix/client/v3/register", routes::register::post),
        get("/_matrix/client/v3/register/available", routes::register::available::get),
        post("/_matrix/client/v3/register/email/requestToken", routes::register::email::post),
        post("/_matrix/client/v3/register/msisdn/requestToken", routes::register::msisdn::post),
        delete("/_matrix/client/v3/room_keys/keys", routes::room_keys::keys::delete_all),
        get("/_matrix/client/v3/room_keys/keys", routes::room_keys::keys::get_all),
        put("/_matrix/client/v3/room_keys/keys", routes::room_keys::keys::put_all),
        delete("/_matrix/client/v3/room_keys/keys/{roomId}", routes::room_keys::keys::delete_room),
        get("/_matrix/client/v3/room_keys/keys/{roomId}", routes::room_keys::keys::get_room),
        put("/_matrix/client/v3/room_keys/keys/{roomId}", routes::room_keys::keys::put_room),
        delete("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", routes::room_keys::keys::delete_session),
        get("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", routes::room_keys::keys::get_session),
        put("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", routes::room_keys::keys::put_session),
        get("/_matrix/client/v3/room_keys/version", routes::room_keys::version::get_newest),
        post("/_matrix/client/v3/room_keys/version", routes::room_keys::version::post),
        delete("/_matrix/client/v3/room_keys/version/{version}", routes::room_keys::version::delete),
        get("/_matrix/client/v3/room_keys/version/{version}", routes::room_keys::version::get),
        put("/_matrix/client/v3/room_keys/version/{version}", routes::room_keys::version::put),
        get("/_matrix/client/v3/rooms/{roomId}/aliases", routes::rooms::aliases::get),
        post("/_matrix/client/v3/rooms/{roomId}/ban", routes::rooms::ban::post),
        get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", routes::rooms::context::get),
        get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", routes::rooms::event::get),
        post("/_matrix/client/v3/rooms/{roomId}/forget", routes::rooms::forget::post),
        get("/_matrix/client/v3/rooms/{roomId}/initialSync", routes::rooms::initial_sync::get),
        post("/_matrix/client/v3/rooms/{roomId}/invite", routes::rooms::invite::post),
        post("/_matrix/client/v3/rooms/{roomId}/join", routes::rooms::join::post),
        get("/_matrix/client/v3/rooms/{roomId}/joined_members", routes::rooms::joined_members::get),
        post("/_matrix/client/v3/rooms/{roomId}/kick", routes::rooms::kick::post),
        post("/_matrix/client/v3/rooms/{roomId}/leave", routes::rooms::leave::post),
        get("/_matrix/client/v3/rooms/{roomId}/members", routes::rooms::members::get),
        get("/_matrix/client/v3/rooms/{roomId}/messages", routes::rooms::messages::get),
        post("/_matrix/client/v3/rooms/{roomId}/read_markers", routes::rooms::read_markers::post),
        post("/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", routes::rooms::receipt::post),
        put("/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}", routes::rooms::redact::put),
        post("/_matrix/client/v3/rooms/{roomId}/report", routes::rooms::report::post),
        post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", routes::rooms::report::post_event),
        put("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", routes::rooms::send::put),
        get("/_matrix/client/v3/rooms/{roomId}/state", routes::rooms::state::get_all),
        get("/_matrix/client/v3/rooms/{roomId}/state/{eventType}", routes::rooms::state::get),
        put("/_matrix/client/v3/rooms/{roomId}/state/{eventType}", routes::rooms::state::put),
        get("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/", routes::rooms::state::get),
        put("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/", routes::rooms::state::put),
        get("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", routes::rooms::state::get),
        put("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", routes::rooms::state::put),
        put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", routes::rooms::typing::put),
        post("/_matrix/client/v3/rooms/{roomId}/unban", routes::rooms::unban::post),
        post("/_matrix/client/v3/rooms/{roomId}/upgrade", routes::rooms::upgrade::post),
        post("/_matrix/client/v3/search", routes::search::post),
        put("/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", routes::send_to_device::put),
        get("/_matrix/client/v3/sync", routes::sync::get),
        post("/_matrix/client/v4/sync", routes::sync::post_v4),
        get("/_matrix/client/v3/thirdparty/location", routes::thirdparty::location::get_by_alias),
        get("/_matrix/client/v3/thirdparty/location/{protocol}", routes::thirdparty::location::get),
        get("/_matrix/client/v3/thirdparty/protocol/{protocol}", routes::thirdparty::protocol::get),
        get("/_matrix/client/v3/thirdparty/protocols", routes::thirdparty::protocols::get),
        get("/_matrix/client/v3/thirdparty/user", routes::thirdparty::user::get_by_id),
        get("/_matrix/client/v3/thirdparty/user/{protocol}", routes::thirdparty::user::get),
        get("/_matrix/client/v3/user/{userId}/account_data/{type}", routes::user::account_data::get),
        put("/_matrix/client/v3/user/{userId}/account_data/{type}", routes::user::account_data::put),
        post("/_matrix/client/v3/user/{userId}/filter", routes::user::filter::post),
        get("/_matrix/client/v3/user/{userId}/filter/{filterId}", routes::user::filter::get),
        post("/_matrix/client/v3/user/{userId}/openid/request_token", routes::user::openid::post),
        get("/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", routes::user::rooms::get_account_data),
        put("/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}", routes::user::rooms::put_account_data),
        get("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", routes::user::rooms::get_tags),
        delete("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", routes::user::rooms::delete_tag),
        put("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", routes::user::rooms::put_tag),
        post("/_matrix/client/v3/user_directory/search", routes::user_directory::search::post),
        post("/_matrix/client/v3/users/{userId}/report", routes::users::report::post),
        get("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", routes::rtc::transports::get),
        get("/_matrix/client/v3/voip/turnServer", routes::voip::turn_server::get),
        get("/_matrix/client/unstable/email/submit_token", routes::email::submit_token::get),
        post("/_matrix/client/unstable/email/submit_token", routes::email::submit_token::post),
        get("/_matrix/client/unstable/email/unsubscribe", routes::email::unsubscribe::get),
        post("/_matrix/client/unstable/email/unsubscribe", routes::email::unsubscribe::post),
        get("/_matrix/client/versions", routes::versions::get),
        post("/_matrix/media/v1/create", routes::media::legacy::create::post),
        get("/_matrix/media/v3/config", routes::media::legacy::config::get),
        get("/_matrix/media/v3/download/{serverName}/{mediaId}", routes::media::legacy::download::get),
        get("/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", routes::media::legacy::download::get_named),
        get("/_matrix/media/v3/preview_url", routes::media::legacy::preview_url::get),
        get("/_matrix/media/v3/thumbnail/{serverName}/{mediaId}", routes::media::legacy::thumbnail::get),
        post("/_matrix/media/v3/upload", routes::media::legacy::upload::post),
        put("/_matrix/media/v3/upload/{serverName}/{mediaId}", routes::media::legacy::upload::put),
        get("/_matrix/static/client/login/", routes::client::login::get),
        get("/_synapse/admin/v1/register", routes::admin::register::get),
        post("/_synapse/admin/v1/register", routes::admin::register::post),
    ]
}

/// What every call can use.
#[derive(Clone)]
struct Door(Arc<Inner>);

struct Inner {
    engine: Engine,
    settings: Settings,
    limits: limits::Limits,
    untaken: untaken::Untaken,
}

impl Door {
    fn new(engine: Engine, settings: Settings) -> Self {
        let limits = limits::Limits::new(&settings, &engine.clock);
        Self(Arc::new(Inner { engine, settings, limits, untaken: Default::default() }))
    }
}

impl Deref for Door {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
