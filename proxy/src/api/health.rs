//! Health for probes and people; never waits for the VM. `/livez`: the process answers. `/readyz`: it takes requests.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::health::Problem;

/// Where health is asked for.
pub const PATH: &str = "/api/health";

/// GET /api/health: 200, or 503 with an enumerated reason; the sentence only for those who are signed in. A VM that is
/// reached but whose ideas folder cannot be used is 200 with a `warning`. The body is JSON.
pub fn answer(app: &App, uptime: u64, signed_in: bool) -> (StatusCode, Bytes) {
    let told = |problem: Problem| Told { reason: problem.reason, message: signed_in.then_some(problem.message) };
    let problem = app.health.now().problem().map(told);
    let (code, status) = match problem {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let ssh = problem.is_none();
    let warning = app.health.folder().filter(|_| ssh).map(told);
    let answer = Answer { status, ssh, uptime, problem, warning };
    // Nothing in it can fail to be written.
    (code, serde_json::to_vec(&answer).unwrap_or_default().into())
}

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    ssh: bool,
    uptime: u64,
    #[serde(flatten)]
    problem: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<Told>,
}

#[derive(Serialize)]
struct Told {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
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
