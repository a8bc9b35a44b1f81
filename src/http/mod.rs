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

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
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
    let passage = Arc::new(Passage { changes: changes.clone(), observer, trusted, patience });
    router.layer(middleware::from_fn_with_state(passage, pass))
}

/// What every request passes. It is one layer: each one more costs every request the copy of all that are in it.
struct Passage {
    changes: Changes,
    observer: Observer,
    trusted: Arc<[IpNet]>,
    patience: Patience,
}

async fn pass(State(passage): State<Arc<Passage>>, request: Request, next: Next) -> Response {
    let changes = passage.changes.clone();
    let work = async move |request| {
        let answer = |request| passage.answer(request, next);
        passage.observer.observe(request, answer).await
    };
    changes.finish(request, work).await
}

impl Passage {
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        client_ip::find_client_ip(&mut request, &self.trusted);
        if let Some(refusal) = framing::refuse_doubtful(&request) {
            return refusal;
        }
        next.run(self.patience.limit(request)).await
    }
}
