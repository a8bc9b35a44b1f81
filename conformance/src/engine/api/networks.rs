//! `/networks`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{error::ApiError, query::Query};
use crate::engine::depot::Depot;

/// The body of [`create`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

/// `GET /networks`
pub(super) async fn list(
    State(depot): State<Arc<Depot>>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let labels = query.labels()?;
    let networks = depot.networks().into_iter().filter(|network| labels.fit(&network.labels));
    Ok(Json(
        networks
            .map(|network| json!({ "Id": network.id, "Name": network.name, "Labels": network.labels }))
            .collect(),
    ))
}

/// `POST /networks/create`
pub(super) async fn create(
    State(depot): State<Arc<Depot>>,
    Json(body): Json<Create>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let network = depot.create_network(&body.name, body.labels.unwrap_or_default())?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": network.id, "Warning": "" }))))
}

/// `DELETE /networks/{name}`
pub(super) async fn remove(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let network = depot.network(&name)?;
    depot.remove_network(&network).await?;
    Ok(StatusCode::NO_CONTENT)
}
