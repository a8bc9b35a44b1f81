//! Errors as the API tells them: a status and `{"message": …}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::engine::depot::DepotError;

/// Why a request fails.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request makes no sense.
    Bad(String),
    /// The depot says no.
    Depot(DepotError),
}

impl From<DepotError> for ApiError {
    fn from(error: DepotError) -> Self {
        Self::Depot(error)
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::Depot(DepotError::Internal(error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Bad(message) => (StatusCode::BAD_REQUEST, message),
            Self::Depot(error) => (status(&error), error.to_string()),
        };
        (status, Json(json!({ "message": message }))).into_response()
    }
}

fn status(error: &DepotError) -> StatusCode {
    match error {
        DepotError::Missing { .. } => StatusCode::NOT_FOUND,
        DepotError::Conflict(_) => StatusCode::CONFLICT,
        DepotError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
