//! `/containers`

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{error::ApiError, query::Query};
use crate::{
    engine::{
        archive,
        container::{Container, Status, Wanted},
        depot::{Depot, DepotError},
        log::{ERROR, OUTPUT},
    },
    random,
};

/// How long a container may take to end when the request does not say.
const STOP_SECONDS: u64 = 10;

/// The body of [`create`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    image: String,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    host_config: HostConfig,
    #[serde(default)]
    networking_config: NetworkingConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    extra_hosts: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkingConfig {
    endpoints_config: Option<BTreeMap<String, Endpoint>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Endpoint {
    aliases: Option<Vec<String>>,
}

/// `POST /containers/create`
pub(super) async fn create(
    State(depot): State<Arc<Depot>>,
    query: Query,
    Json(body): Json<Create>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let image = depot.image(&body.image)?;
    let name = match query.get("name") {
        Some(name) => name.to_owned(),
        None => random::suffix()?,
    };
    // A container is in one network here; the suite never asks for more.
    let endpoint = body.networking_config.endpoints_config.unwrap_or_default().pop_first();
    let (network, endpoint) = endpoint.unzip();
    let aliases = endpoint.and_then(|endpoint| endpoint.aliases).unwrap_or_default();
    let wanted = Wanted {
        alias: aliases.into_iter().next().unwrap_or_else(|| name.clone()),
        name,
        labels: body.labels.unwrap_or_default(),
        environment: body.env.unwrap_or_default().iter().map(|text| variable(text)).collect(),
        extra_hosts: body.host_config.extra_hosts.unwrap_or_default(),
    };
    let container = depot.create_container(image, network.as_deref(), wanted).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": container.id, "Warnings": [] }))))
}

/// `GET /containers/json`
pub(super) async fn list(
    State(depot): State<Arc<Depot>>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let labels = query.labels()?;
    let mut answer = Vec::new();
    for container in depot.containers() {
        let status = container.status().await;
        if labels.fit(&container.labels) && (query.is_on("all") || status.is_running()) {
            answer.push(json!({
                "Id": container.id,
                "Names": [format!("/{}", container.name)],
                "Image": container.image.reference,
                "ImageID": container.image.id,
                "Labels": container.labels,
                "State": status.word(),
            }));
        }
    }
    Ok(Json(answer.into()))
}

/// `GET /containers/{name}/json`
pub(super) async fn inspect(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let container = depot.container(&name)?;
    let status = container.status().await;
    let environment = container.environment.iter().map(|(name, value)| format!("{name}={value}"));
    Ok(Json(json!({
        "Id": container.id,
        "Name": format!("/{}", container.name),
        "Image": container.image.id,
        "State": {
            "Status": status.word(),
            "Running": status.is_running(),
            "Paused": status == Status::Paused,
            "ExitCode": if let Status::Exited(code) = status { code } else { 0 },
            "Pid": container.pid().await.unwrap_or(0),
        },
        "Config": {
            "Image": container.image.reference,
            "Labels": container.labels,
            "Env": environment.collect::<Vec<_>>(),
        },
        "NetworkSettings": { "Ports": ports(&container), "Networks": networks(&container) },
    })))
}

fn ports(container: &Container) -> Map<String, Value> {
    let binding = |port: u16| json!([{ "HostIp": "127.0.0.1", "HostPort": port.to_string() }]);
    let mapped = container.ports.mapped().iter();
    mapped.map(|&(own, outer)| (format!("{own}/tcp"), binding(outer))).collect()
}

fn networks(container: &Container) -> Map<String, Value> {
    let endpoint = json!({
        "NetworkID": container.network.id,
        "IPAddress": container.address,
        "Aliases": [container.alias],
    });
    Map::from_iter([(container.network.name.clone(), endpoint)])
}

/// `POST /containers/{name}/start`
pub(super) async fn start(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    Ok(changed(depot.start(&*depot.container(&name)?).await?))
}

/// `POST /containers/{name}/stop`
pub(super) async fn stop(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let seconds = query.get("t").and_then(|text| text.parse().ok()).unwrap_or(STOP_SECONDS);
    Ok(changed(depot.container(&name)?.stop(Duration::from_secs(seconds)).await))
}

/// `POST /containers/{name}/kill`
pub(super) async fn kill(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let signal = signal(query.get("signal").unwrap_or("KILL"))?;
    done(&name, depot.container(&name)?.signal(signal).await)
}

/// `POST /containers/{name}/pause`
pub(super) async fn pause(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    done(&name, depot.container(&name)?.pause().await)
}

/// `POST /containers/{name}/unpause`
pub(super) async fn unpause(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    done(&name, depot.container(&name)?.unpause().await)
}

/// `DELETE /containers/{name}`
pub(super) async fn remove(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let container = depot.container(&name)?;
    if container.status().await.is_running() && !query.is_on("force") {
        return Err(DepotError::Conflict(format!("container {name} runs")).into());
    }
    depot.remove_container(&container).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /containers/{name}/logs`
pub(super) async fn logs(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<([(HeaderName, &'static str); 1], Vec<u8>), ApiError> {
    let streams = [("stdout", OUTPUT), ("stderr", ERROR)];
    let wanted: Vec<u8> =
        streams.iter().filter(|(name, _)| query.is_on(name)).map(|&(_, stream)| stream).collect();
    let kind = "application/vnd.docker.multiplexed-stream";
    let log = depot.container(&name)?.log.read(&wanted).await?;
    Ok(([(header::CONTENT_TYPE, kind)], log))
}

/// `PUT /containers/{name}/archive`
pub(super) async fn upload(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
    query: Query,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let root = depot.container(&name)?.root();
    let at = PathBuf::from(query.get("path").unwrap_or("/"));
    let unpacked = archive::unpack(body, root, at).await;
    unpacked.map_err(|error| ApiError::Bad(format!("{error:#}")))?;
    Ok(StatusCode::OK)
}

/// `NAME=VALUE`; a name alone has no value.
fn variable(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}

fn signal(name: &str) -> Result<Signal, ApiError> {
    match name.strip_prefix("SIG").unwrap_or(name) {
        "KILL" => Ok(Signal::KILL),
        "TERM" => Ok(Signal::TERM),
        "INT" => Ok(Signal::INT),
        "HUP" => Ok(Signal::HUP),
        _ => Err(ApiError::Bad(format!("unknown signal {name}"))),
    }
}

/// Asking for what is the case already is no error.
fn changed(changed: bool) -> StatusCode {
    if changed { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED }
}

fn done(name: &str, done: bool) -> Result<StatusCode, ApiError> {
    if done {
        return Ok(StatusCode::NO_CONTENT);
    }
    let reason = format!("container {name} is not in the right state for that");
    Err(DepotError::Conflict(reason).into())
}
