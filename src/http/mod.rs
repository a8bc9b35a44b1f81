//! HTTP as both doors need it: listeners, and what wraps every request.

mod admission;
mod client_ip;
mod connection;
mod finish;
mod framing;
mod health;
mod listen;
mod observe;
mod patience;
mod taking;

use std::{sync::Arc, time::Duration};

use axum::{Router, middleware};
use ipnet::IpNet;

use self::{observe::Observer, patience::Patience};
use crate::{
    config::Limits,
    metrics::{Api, Traffic},
    overload::Overload,
};

pub(crate) use self::{
    finish::Changes,
    health::health,
    listen::{Listener, Server},
};

/// What is put around the doors.
pub(crate) struct Around<'a> {
    /// The proxies that are believed.
    pub(crate) trusted_proxies: &'a [IpNet],
    /// What a request may cost.
    pub(crate) limits: &'a Limits,
    /// Who brings requests to their end.
    pub(crate) changes: &'a Changes,
    /// Where they are counted.
    pub(crate) traffic: &'a Traffic,
    /// Whether there is too much to do.
    pub(crate) overload: &'a Overload,
    /// Whether spans are exported.
    pub(crate) is_traced: bool,
}

/// Puts around a door's router what every request passes. It has to be the door's own router, not
/// one that hands requests on to it, for only that knows the route.
pub(crate) fn wrap(router: Router, api: Api, around: &Around<'_>) -> Router {
    let Around { trusted_proxies, limits, changes, traffic, is_traced, .. } = *around;
    let trusted: Arc<[IpNet]> = trusted_proxies.into();
    let observer = Observer { traffic: traffic.clone(), api, trusted: trusted.clone(), is_traced };
    let patience = Patience(Duration::from_secs(limits.body_seconds));
    router
        .layer(middleware::from_fn_with_state(patience, patience::limit))
        .layer(middleware::from_fn(framing::refuse_doubtful))
        .layer(middleware::from_fn_with_state(trusted, client_ip::find_client_ip))
        .layer(middleware::from_fn_with_state(observer, observe::observe))
        .layer(middleware::from_fn_with_state(changes.clone(), finish::finish))
}
