//! Accepts connections, bounds them, and ends them gracefully: sockets are told, requests under way are finished.
//!
//! Who connects and asks nothing holds his place for seconds only; and whoever holds all places does not keep health from
//! being answered, for which some more are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::probe::{HealthAnswers, HealthFirst};
use super::{routes, routes_in_reserve};
use crate::app::App;
use crate::receiving::{Meter, Metered};

/// Longer than nginx keeps an idle connection to us (60 s), so that we never close one that it is about to use.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
const HEADER_BYTES: usize = 64 * 1024;
/// While the Service still sends us connections after we were told to end, they are answered.
const LINGER: Duration = Duration::from_millis(1500);
/// Requests under way get this long to finish, sockets to be closed by their clients.
const FINISH: Duration = Duration::from_secs(5);

/// What runs told of last is written into the ideas within this time, and what terminals printed last where it is recorded.
const WRITE: Duration = Duration::from_secs(3);

/// The bounds of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at once.
    pub connections: usize,
    /// Beyond them, for health alone.
    pub reserve: usize,
    /// How long the first request of a connection is waited for.
    pub first_request: Duration,
    /// The same in the reserve, where no second one is waited for.
    pub in_reserve: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections: 16_384,
            reserve: 256,
            first_request: Duration::from_secs(15),
            in_reserve: Duration::from_secs(2),
        }
    }
}

/// Serves until `app.draining` is cancelled, then ends gracefully.
pub async fn serve(listener: TcpListener, app: App) {
    serve_within(ConnectionLimits::default(), listener, app).await;
}

/// As [`serve`], with other bounds.
pub async fn serve_within(limits: ConnectionLimits, listener: TcpListener, app: App) {
    let draining = app.draining.clone();
    let connections = TaskTracker::new();
    let ending = CancellationToken::new();
    let answers = Answers { all: routes(&app), in_reserve: routes_in_reserve(&app), app: Some(app.clone()) };
    let accepting = accept(limits, listener, answers, &connections, &ending);
    tokio::select! {
        () = accepting => {}
        () = async {
            draining.cancelled().await;
            tracing::info!(sockets = app.sockets.len(), "ending: open sockets are told, requests are finished");
            tokio::time::sleep(LINGER).await;
        } => {}
    }
    ending.cancel();
    connections.close();
    app.sockets.close();
    app.acts.close();
    // Runs go on without us; only our looking at them ends.
    app.runs.shut_down();
    let all = async {
        tokio::join!(connections.wait(), app.sockets.wait());
        app.acts.wait().await;
    };
    if tokio::time::timeout(FINISH, all).await.is_err() {
        tracing::warn!(connections = connections.len(), sockets = app.sockets.len(), "ended with connections open");
    }
    let (written, finished) = tokio::join!(
        tokio::time::timeout(WRITE, app.observer.write_all(&app.ideas)),
        tokio::time::timeout(WRITE, app.terminals.finish()),
    );
    if written != Ok(true) {
        tracing::warn!("ended before the state of every idea was written");
    }
    if finished.is_err() {
        tracing::warn!(terminals = app.terminals.open_now(), "ended before every terminal had");
    }
    app.remote.pool().close().await;
}

/// Serves /metrics until cancelled.
pub async fn serve_metrics(listener: TcpListener, app: App) {
    let until = app.draining.clone();
    let connections = TaskTracker::new();
    let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let router = Router::new().route(
        "/metrics",
        get(async move || {
            let (runs, terminals) = (app.runs.stats(), app.terminals.open_now());
            (text, app.metrics.render(app.remote.pool(), runs, terminals)).into_response()
        }),
    );
    let ending = CancellationToken::new();
    let answers = Answers { all: router.clone(), in_reserve: router, app: None };
    let limits = ConnectionLimits::default();
    until.run_until_cancelled(accept(limits, listener, answers, &connections, &ending)).await;
    ending.cancel();
}

/// What is answered to whom.
struct Answers {
    all: Router,
    in_reserve: Router,
    /// Whose health is answered first.
    app: Option<App>,
}

async fn accept(
    limits: ConnectionLimits,
    listener: TcpListener,
    answers: Answers,
    connections: &TaskTracker,
    ending: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let reserve = Arc::new(Semaphore::new(limits.reserve));
    let health = answers.app.clone().map(HealthAnswers::new);
    loop {
        let (place, reserved) = tokio::select! {
            biased;
            place = places.clone().acquire_owned() => (place, false),
            place = reserve.clone().acquire_owned() => (place, true),
        };
        let Ok(place) = place else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that went away: neither ends the server.
                tracing::warn!(cause = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // It may have been a long time since.
        let (place, reserved) = match places.clone().try_acquire_owned() {
            Ok(free) if reserved => (free, false),
            _ => (place, reserved),
        };
        let receiving = answers.app.as_ref().map(|app| app.receiving.clone()).unwrap_or_default();
        let place = Place { _held: Arc::new(place), meter: Meter::new(receiving) };
        let (app, health, ending) = (answers.app.clone(), health.clone(), ending.clone());
        let (router, patience) = match reserved {
            false => (answers.all.clone(), Patience { first: limits.first_request, next: Some(HEADERS_WITHIN) }),
            true => (answers.in_reserve.clone(), Patience { first: limits.in_reserve, next: None }),
        };
        connections.spawn(async move {
            let _open = app.as_ref().map(|app| app.metrics.connection());
            connection(stream, peer, place, router, health, patience, ending).await;
        });
    }
}

/// A connection's place among those that there may be. A WebSocket goes on when the connection's own task has ended, and
/// takes it along.
#[derive(Clone, Debug)]
pub struct Place {
    _held: Arc<OwnedSemaphorePermit>,
    /// Of what comes over the connection, for a WebSocket.
    pub meter: Arc<Meter>,
}

/// How long a connection's requests are waited for.
#[derive(Clone, Copy)]
struct Patience {
    first: Duration,
    /// None: the connection ends after the first.
    next: Option<Duration>,
}

/// With `health`, which is answered first.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    health: Option<Arc<HealthAnswers>>,
    patience: Patience,
    ending: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(cause = %error, "TCP_NODELAY cannot be set");
    }
    let stream = Metered::new(stream, place.meter.clone());
    let routed = Extension(place).layer(Extension(ConnectInfo(peer)).layer(router));
    let asked = Arc::new(AtomicBool::new(false));
    let service = HealthFirst::new(health, peer, asked.clone(), TowerToHyperService::new(routed));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    let headers_within = patience.next.unwrap_or(patience.first);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(headers_within).max_buf_size(HEADER_BYTES);
    builder.http1().keep_alive(patience.next.is_some());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    // Boxed, since most connections are past it for all of their time.
    let mut first = Some(Box::pin(tokio::time::sleep(patience.first)));
    let outcome = loop {
        let late = async {
            match &mut first {
                Some(first) => first.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            outcome = serving.as_mut() => break outcome,
            () = late => {
                if !asked.load(Ordering::Relaxed) {
                    tracing::debug!("a connection asked for nothing");
                    return;
                }
                first = None;
            }
            () = ending.cancelled() => {
                serving.as_mut().graceful_shutdown();
                break serving.await;
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(cause = %error, "connection ended");
    }
}
