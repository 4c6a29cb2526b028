//! Health for probes and people; never waits for the VM. `/livez`: the process answers. `/readyz`: it takes requests.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use crate::app::App;
use crate::auth::cookie::Session;

/// GET /api/health: 200, or 503 with an enumerated reason; the sentence only for those who are signed in.
pub async fn health(State(app): State<App>, session: Option<Extension<Session>>) -> Response {
    let health = app.health.now();
    let uptime = app.started.elapsed().as_secs();
    match health.problem() {
        None => Json(json!({"status": "ok", "ssh": true, "uptime": uptime})).into_response(),
        Some(problem) => {
            let mut body = json!({"status": "degraded", "ssh": false, "uptime": uptime, "reason": problem.reason});
            if let (true, Some(members)) = (session.is_some(), body.as_object_mut()) {
                members.insert("message".to_owned(), problem.message.into());
            }
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// GET /livez.
pub async fn live() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

/// GET /readyz.
pub async fn ready(State(app): State<App>) -> Response {
    if app.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "draining"}))).into_response();
    }
    Json(json!({"status": "ok"})).into_response()
}
