//! HTTP as both doors need it: listeners, and what wraps every request.

mod client_ip;
mod connection;
mod finish;
mod framing;
mod health;
mod listen;
mod metrics;
mod observe;
mod patience;
mod taking;

use std::time::Duration;

use axum::{Router, middleware};
use ipnet::IpNet;

use self::patience::Patience;
use crate::config::Limits;

pub(crate) use self::{
    finish::Changes,
    health::health,
    listen::{Listener, Server},
    metrics::metrics,
};

/// Puts around a door's router what every request passes. It has to be the door's own router, not
/// one that hands requests on to it, for only that knows the route.
pub(crate) fn wrap(
    router: Router,
    trusted_proxies: &[IpNet],
    limits: &Limits,
    changes: &Changes,
) -> Router {
    let patience = Patience(Duration::from_secs(limits.body_seconds));
    router
        .layer(middleware::from_fn_with_state(patience, patience::limit))
        .layer(middleware::from_fn(framing::refuse_doubtful))
        .layer(middleware::from_fn_with_state(trusted_proxies.into(), client_ip::find_client_ip))
        .layer(middleware::from_fn(observe::observe))
        .layer(middleware::from_fn_with_state(changes.clone(), finish::finish))
}
