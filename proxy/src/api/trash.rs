//! The trash: what was deleted, back again, or gone for good.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;

use super::{data, done};
use crate::app::App;
use crate::audit;
use crate::auth::cookie::Session;
use crate::error::ApiError;
use crate::remote::ideas::{IdeasError, TrashName};

/// GET /api/trash.
///
/// # Errors
/// When the VM cannot be asked.
pub async fn list(State(app): State<App>) -> Result<impl IntoResponse, ApiError> {
    Ok(data(app.ideas.trash().await?))
}

/// POST /api/trash/:name/restore.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn restore(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let name = accept(name)?;
    let idea = app.ideas.restore(&name).await?;
    audit::act(&who, "restore", name.as_str());
    Ok(data(idea))
}

/// DELETE /api/trash/:name: for good.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn remove(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    name: Result<Path<String>, PathRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let name = accept(name)?;
    app.ideas.remove(&name).await?;
    audit::act(&who, "remove", name.as_str());
    Ok(done())
}

/// What cannot be a name in the trash is not there.
fn accept(name: Result<Path<String>, PathRejection>) -> Result<TrashName, ApiError> {
    let name = name.ok().and_then(|Path(name)| TrashName::accept(&name));
    name.ok_or(ApiError::Ideas(IdeasError::NotFound))
}
