//! The terminals of an idea: list, close. They are opened over their own WebSocket.

use axum::extract::{Path, State};
use axum::{Extension, Json};

use super::{Envelope, IdeaId, data, done};
use crate::app::App;
use crate::audit;
use crate::auth::cookie::Session;
use crate::error::ApiError;
use crate::terminal::{Listed, Number, TerminalError};

/// GET /api/ideas/:idOrSlug/terminals.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn list(State(app): State<App>, IdeaId(id): IdeaId) -> Result<Json<Envelope<Vec<Listed>>>, ApiError> {
    let idea = app.ideas.get(&id).await?;
    Ok(data(app.terminals.list(&idea).await?))
}

/// DELETE /api/ideas/:idOrSlug/terminals/:number: ends it and what runs in it.
///
/// # Errors
/// 404, or when the VM cannot be asked.
pub async fn close(
    State(app): State<App>,
    Extension(who): Extension<Session>,
    Path((id, number)): Path<(String, String)>,
) -> Result<Json<Envelope<()>>, ApiError> {
    let number: Number = number.parse().map_err(|()| ApiError::from(TerminalError::NotFound))?;
    let idea = app.ideas.get(&id).await?;
    app.terminals.close(&idea, number).await?;
    audit::act(&who, "close-terminal", &idea.slug);
    Ok(done())
}
