//! A run's log as the VM has it: a line that is too long for an event is fetched here by its place.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;

use crate::app::App;
use crate::error::ApiError;
use crate::observer::reference;
use crate::run::RunError;

/// Which bytes; as `claude:large` names them.
#[derive(Debug, Deserialize)]
pub struct Piece {
    #[serde(default)]
    start: u64,
    length: Option<u64>,
}

/// GET /api/ideas/:idOrSlug/runs/:run/log?start=&length=: bytes, to be saved and never rendered as our page.
///
/// # Errors
/// 400 for numbers that are none, 404 for a log that is not there, or when the VM cannot be asked.
pub async fn piece(
    State(app): State<App>,
    Path((id, run)): Path<(String, String)>,
    asked: Result<Query<Piece>, QueryRejection>,
) -> Result<Response, ApiError> {
    let run: u64 = run.parse().map_err(|_| RunError::BadPosition)?;
    let Ok(Query(Piece { start, length })) = asked else {
        return Err(ApiError::BadRequest("start and length are numbers of bytes".to_owned()));
    };
    let idea = app.ideas.get(&id).await?;
    let log = app.runs.log(&reference(&idea), run, start, length.unwrap_or(u64::MAX)).await?;
    // The next piece is read when the one before was taken: memory is bounded, and nobody else waits.
    let pieces =
        stream::try_unfold(log, async |mut log| Ok::<_, ApiError>(log.next().await?.map(|bytes| (bytes, log))));
    let name = format!("attachment; filename=\"run-{run}.jsonl\"");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
