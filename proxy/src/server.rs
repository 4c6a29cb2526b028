//! The routes and their limits; [`serve`] takes a listener, so that tests and `main` use the same server.

mod connections;
mod guard;
mod layers;
mod probe;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::{BODY_LIMIT, health, ideas, log, project, session, terminals, trash};
use crate::app::App;
use crate::error::ApiError;
use crate::{assets, websocket};
use guard::{identify, require_origin, require_session};

pub use connections::{ConnectionLimits, Place, serve, serve_metrics, serve_within};

/// The longest that a REST call may take.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(45);

/// What is answered on connections that are kept for health, where it is not answered before any route.
fn routes_in_reserve(app: &App) -> Router {
    health_routes().fallback(full).layer(from_fn_with_state(app.clone(), layers::secure)).with_state(app.clone())
}

fn health_routes() -> Router<App> {
    Router::new().route("/livez", get(health::live)).route("/readyz", get(health::ready))
}

async fn full() -> Response {
    ApiError::Full.into_response()
}

/// All routes.
pub fn routes(app: &App) -> Router {
    let signed_in = Router::new()
        .route("/ideas", get(ideas::list).post(ideas::create))
        .route("/ideas/{id}", get(ideas::read).patch(ideas::change).delete(ideas::delete))
        .route("/ideas/{id}/terminals", get(terminals::list))
        .route("/ideas/{id}/terminals/{number}", delete(terminals::close))
        .route("/ideas/{id}/runs/{run}/log", get(log::piece))
        .route("/ideas/{id}/project", get(project::folder))
        .route("/ideas/{id}/project/file", get(project::file))
        .route("/ideas/{id}/changes", get(project::changes))
        .route("/logout/everywhere", post(session::logout_everywhere))
        .route("/trash", get(trash::list))
        .route("/trash/{name}", delete(trash::remove))
        .route("/trash/{name}/restore", post(trash::restore))
        .route_layer(from_fn(require_session));
    let api = Router::new()
        .route("/login", post(session::login))
        .route("/logout", post(session::logout))
        .route("/auth/check", get(session::check))
        .merge(signed_in)
        .layer(from_fn_with_state(app.clone(), require_origin))
        .layer(from_fn_with_state(app.clone(), identify))
        .layer(from_fn(layers::time_limit))
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    let socket = Router::new()
        .route("/ws", get(websocket::upgrade))
        .route("/ws/terminal", get(websocket::terminal::upgrade))
        .layer(from_fn_with_state(app.clone(), identify));
    Router::new()
        .nest("/api", api.fallback(not_found))
        .merge(health_routes())
        .merge(socket)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(assets::serve)
        .layer(CatchPanicLayer::custom(layers::after_panic))
        .layer(from_fn_with_state(app.clone(), layers::secure))
        .layer(from_fn_with_state(app.clone(), layers::observe))
        .with_state(app.clone())
}

async fn not_found() -> Response {
    ApiError::NotFound.into_response()
}

async fn method_not_allowed() -> Response {
    ApiError::MethodNotAllowed.into_response()
}
