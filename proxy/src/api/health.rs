//! Health for probes and people; never waits for the VM. `/livez`: the process answers. `/readyz`: it takes requests.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::health::Problem;

/// Where health is asked for.
pub const PATH: &str = "/api/health";

/// GET /api/health: 200, or 503 with an enumerated reason; the sentence only for those who are signed in, which is asked only where there
/// is one. A VM that is reached but whose ideas folder cannot be used is 200 with a `warning`.
pub fn answer(app: &App, signed_in: impl Fn() -> bool) -> Response {
    let told = |problem: Problem| Told { reason: problem.reason, message: signed_in().then_some(problem.message) };
    let problem = app.health.now().problem().map(told);
    let (code, status) = match problem {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "degraded"),
    };
    let ssh = problem.is_none();
    let warning = app.health.folder().filter(|_| ssh).map(told);
    (code, Json(Answer { status, ssh, uptime: app.started.elapsed().as_secs(), problem, warning })).into_response()
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
