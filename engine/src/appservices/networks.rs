//! The networks that application services lead to, and what is to be found there.
//!
//! <https://spec.matrix.org/v1.19/application-service-api/#third-party-networks>

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use ruma::{RoomAliasId, UserId};
use serde_json::{Map, Value};

use super::{ApplicationService, ask};
use crate::{Engine, remote::Limits};

/// What a question may cost.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(10), max_body: 1 << 20 };

/// How long it is remembered what a network is, in milliseconds.
const REMEMBER_MS: i64 = 60 * 60 * 1_000;

/// For how long an application service that did not say is not asked again, in milliseconds.
const ASK_AGAIN_MS: i64 = 60 * 1_000;

/// How many users or places of one application service are passed on.
const MOST: usize = 1_000;

/// What is remembered of a network, and until when.
pub(super) type Remembered = (i64, Option<Arc<Map<String, Value>>>);

/// Something that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Users of a network.
    User,
    /// Places, such as channels.
    Location,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Location => "location",
        }
    }
}

/// How a network of an application service is called among all of them: the `instance_id`.
#[must_use]
pub fn instance_id(service_id: &str, network_id: &str) -> String {
    format!("{service_id}|{network_id}")
}

/// All networks with what is known of them. Those whose application services do not say are left out.
pub async fn protocols(engine: &Engine) -> BTreeMap<String, Map<String, Value>> {
    let services = engine.config.appservices.iter();
    let names: std::collections::BTreeSet<&String> =
        services.flat_map(|service| &service.protocols).collect();
    let described = join_all(names.into_iter().map(async |name| {
        let protocol = protocol(engine, name).await?;
        Some((name.clone(), protocol))
    }));
    described.await.into_iter().flatten().collect()
}

/// What is known of a network; `None` when no application service leads there, or none says.
pub async fn protocol(engine: &Engine, name: &str) -> Option<Map<String, Value>> {
    let services = leading_to(engine, name);
    let described = join_all(services.map(|service| describe(engine, service, name))).await;
    let mut described = described.into_iter().flatten();
    let mut all = Map::clone(&*described.next()?);
    for other in described {
        let more = other.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(Value::Array(instances)) = all.get_mut("instances") {
            instances.extend(more);
        }
    }
    Some(all)
}

/// Users or places of a network by what they are; `None` when no application service leads there.
pub async fn find(
    engine: &Engine,
    kind: Kind,
    protocol: &str,
    fields: &[(String, String)],
) -> Option<Vec<Value>> {
    let mut services = leading_to(engine, protocol).peekable();
    services.peek()?;
    let path = ["thirdparty", kind.name(), protocol];
    Some(all_found(engine, services, &path, fields).await)
}

/// The places of networks that an alias leads to.
pub async fn locations_of(engine: &Engine, alias: &RoomAliasId) -> Vec<Value> {
    let query = [("alias".to_owned(), alias.to_string())];
    all_found(engine, leading_anywhere(engine), &["thirdparty", "location"], &query).await
}

/// The users of networks that a user stands for.
pub async fn users_of(engine: &Engine, user_id: &UserId) -> Vec<Value> {
    let query = [("userid".to_owned(), user_id.to_string())];
    all_found(engine, leading_anywhere(engine), &["thirdparty", "user"], &query).await
}

fn leading_to<'a>(
    engine: &'a Engine,
    protocol: &'a str,
) -> impl Iterator<Item = &'a Arc<ApplicationService>> {
    let services = engine.config.appservices.iter();
    services.filter(move |service| service.protocols.iter().any(|own| own == protocol))
}

fn leading_anywhere(engine: &Engine) -> impl Iterator<Item = &Arc<ApplicationService>> {
    engine.config.appservices.iter().filter(|service| !service.protocols.is_empty())
}

/// What all of them have found together. One that does not answer spoils nothing.
async fn all_found<'a>(
    engine: &Engine,
    services: impl Iterator<Item = &'a Arc<ApplicationService>>,
    path: &[&str],
    query: &[(String, String)],
) -> Vec<Value> {
    let found =
        join_all(services.map(async |service| match look_up(engine, service, path, query).await {
            Some(Value::Array(found)) => found,
            _ => vec![],
        }));
    let of_each = found.await.into_iter().map(|found| found.into_iter().take(MOST));
    of_each.flatten().filter(Value::is_object).collect()
}

/// What an application service says of a network, with its instances named.
async fn describe(
    engine: &Engine,
    service: &ApplicationService,
    name: &str,
) -> Option<Arc<Map<String, Value>>> {
    let (now, known) = (engine.clock.now_ms(), &engine.appservices.protocols);
    let key = (service.id.clone(), name.to_owned());
    if let Some((_, described)) = known.get(&key).filter(|(until, _)| now < *until) {
        return described;
    }
    let described = match look_up(engine, service, &["thirdparty", "protocol", name], &[]).await {
        Some(Value::Object(protocol)) => Some(Arc::new(named(service, name, protocol))),
        _ => None,
    };
    let remember = if described.is_some() { REMEMBER_MS } else { ASK_AGAIN_MS };
    known.insert(key, (now + remember, described.clone()));
    described
}

fn named(
    service: &ApplicationService,
    name: &str,
    mut protocol: Map<String, Value>,
) -> Map<String, Value> {
    let instances = protocol.entry("instances").or_insert_with(|| Value::Array(vec![]));
    let Value::Array(instances) = instances else {
        protocol.insert("instances".to_owned(), Value::Array(vec![]));
        return protocol;
    };
    for instance in instances.iter_mut().filter_map(Value::as_object_mut) {
        let network_id = instance.get("network_id").and_then(Value::as_str).unwrap_or(name);
        let id = instance_id(&service.id, network_id);
        instance.insert("instance_id".to_owned(), id.into());
    }
    protocol
}

async fn look_up(
    engine: &Engine,
    service: &ApplicationService,
    path: &[&str],
    query: &[(String, String)],
) -> Option<Value> {
    let _place = engine.appservices.asking.acquire().await;
    match ask::look_up(engine, service, path, query, LIMITS).await {
        Ok(found) => found,
        // It leads to a network and listens nowhere: there is nothing to be had.
        Err(ask::AskServiceError::NoUrl) => None,
        Err(error) => {
            tracing::warn!(%error, appservice.id = service.id,
                "an application service could not be asked about its network");
            None
        }
    }
}
