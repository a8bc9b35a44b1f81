//! `/images` and `/commit`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Value, json};

use super::{error::ApiError, query::Query};
use crate::engine::depot::Depot;

/// `GET /images/json`
pub(super) async fn list(
    State(depot): State<Arc<Depot>>,
    query: Query,
) -> Result<Json<Value>, ApiError> {
    let labels = query.labels()?;
    let images = depot.images().into_iter().filter(|image| labels.fit(&image.labels));
    let answer = images.map(
        |image| json!({ "Id": image.id, "RepoTags": [image.reference], "Labels": image.labels }),
    );
    Ok(Json(answer.collect()))
}

/// `DELETE /images/{name}`
pub(super) async fn remove(
    State(depot): State<Arc<Depot>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let image = depot.image(&name)?;
    depot.remove_image(&image).await;
    Ok(Json(json!([{ "Deleted": image.id }])))
}

/// `POST /commit`
pub(super) async fn commit(
    State(depot): State<Arc<Depot>>,
    query: Query,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let missing = |name: &str| ApiError::Bad(format!("the parameter {name} is missing"));
    let container = query.get("container").ok_or_else(|| missing("container"))?;
    let repository = query.get("repo").ok_or_else(|| missing("repo"))?;
    let reference = match query.get("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    let labels = query.all("changes").map(label).collect::<Result<BTreeMap<_, _>, _>>()?;
    let image = depot.commit(&*depot.container(container)?, &reference, labels).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": image.id }))))
}

/// Reads `LABEL "name"="value"`, the one change that is supported.
fn label(change: &str) -> Result<(String, String), ApiError> {
    let quoted = change.strip_prefix("LABEL \"").and_then(|rest| rest.strip_suffix('"'));
    let pair = quoted.and_then(|quoted| quoted.split_once("\"=\""));
    let (name, value) = pair.ok_or_else(|| ApiError::Bad(format!("cannot apply {change:?}")))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_other_changes_refused() {
        let (name, value) = label(r#"LABEL "access_token_@a:hs1"="x=\n'y'""#).unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("access_token_@a:hs1", r"x=\n'y'"));
        assert!(label("ENV a=b").is_err());
        assert!(label("LABEL a=b").is_err());
    }
}
