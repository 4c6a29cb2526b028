//! The routes and their limits; [`serve`] takes a listener, so that tests and `main` use the same server.

mod connections;
mod layers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::error::ApiError;
use crate::api::{health, ideas, session};
use crate::args::{Settings, WebSettings};
use crate::auth::cookie::Signer;
use crate::auth::limiter::Limiter;
use crate::auth::{identify, require_origin, require_session};
use crate::dial::Dial;
use crate::health::{Health, Timing};
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::remote::Remote;
use crate::remote::ideas::Ideas;
use crate::run::{RunSettings, Runs};
use crate::{assets, websocket};

pub use connections::{serve, serve_metrics};

/// The largest request body, in bytes; an idea's text is the largest that people send.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;
/// The longest that a REST call may take.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(45);

/// What all handlers share.
pub type App = Arc<AppState>;

/// The parts of the server.
pub struct AppState {
    /// Who may come in.
    pub web: WebSettings,
    /// Sessions.
    pub signer: Signer,
    /// Failed sign-ins.
    pub limiter: Limiter,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether the VM can be reached.
    pub health: Arc<Health>,
    /// The ideas on the VM.
    pub ideas: Arc<Ideas>,
    /// The runs on the VM.
    pub runs: Arc<Runs>,
    /// Writes what runs tell into the ideas.
    pub observer: Arc<Observer>,
    /// The way to the VM.
    pub remote: Arc<Remote>,
    /// When the server started.
    pub started: Instant,
    /// Cancelled when the server is ending.
    pub draining: CancellationToken,
    /// Open WebSockets.
    pub sockets: TaskTracker,
    /// What sockets have under way; a message is brought to the VM though its socket has gone.
    pub acts: TaskTracker,
}

impl AppState {
    /// Puts the parts together and starts the tasks beside the requests; they end with `draining`. Nothing waits for
    /// the VM.
    pub fn start(settings: &Settings, timing: Timing, draining: CancellationToken) -> App {
        let dial = Dial::new(settings.ssh.clone());
        let pool = catalyst_ssh::Pool::new(dial.source(), dial.limits());
        let remote = Remote::new(pool, &settings.ideas_base_path);
        let metrics = Metrics::new();
        let health = Health::watch(dial, timing, metrics.clone(), draining.clone());
        let ideas = Ideas::new(remote.clone());
        let observer = Arc::new(Observer::default());
        tokio::spawn(observer.clone().keep_writing(ideas.clone(), draining.clone()));
        let run_settings = RunSettings {
            claude_command: settings.claude_command.clone(),
            silence: settings.claude_silence,
            ..RunSettings::default()
        };
        let runs = Runs::new(remote.clone(), run_settings, observer.clone());
        if settings.web.allowed_origins.is_empty() {
            tracing::warn!(
                "neither ALLOWED_ORIGINS nor PUBLIC_URL is set: only requests that a browser marks as same-origin may \
                 write, which browsers do on https and localhost alone"
            );
        }
        Arc::new(AppState {
            signer: Signer::new(&settings.web),
            web: settings.web.clone(),
            limiter: Limiter::default(),
            metrics,
            health,
            ideas,
            runs,
            observer,
            remote,
            started: Instant::now(),
            draining,
            sockets: TaskTracker::new(),
            acts: TaskTracker::new(),
        })
    }
}

/// All routes.
pub fn routes(app: &App) -> Router {
    let signed_in = Router::new()
        .route("/ideas", get(ideas::list).post(ideas::create))
        .route("/ideas/{id}", get(ideas::read).patch(ideas::change).delete(ideas::delete))
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
    let health = Router::new()
        .route("/api/health", get(health::health))
        .layer(from_fn_with_state(app.clone(), identify))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready));
    let socket = Router::new().route("/ws", get(websocket::upgrade)).layer(from_fn_with_state(app.clone(), identify));
    Router::new()
        .nest("/api", api.fallback(not_found))
        .merge(health)
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
