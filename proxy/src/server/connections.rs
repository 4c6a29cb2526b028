//! Accepts connections, bounds them, and ends them gracefully: sockets are told, requests under way are finished.

use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Layer;

use super::probe::HealthFirst;
use super::routes;
use crate::app::App;

const CONNECTIONS: usize = 16_384;
/// Longer than nginx keeps an idle connection to us (60 s), so that we never close one that it is about to use.
const HEADERS_WITHIN: Duration = Duration::from_secs(75);
const HEADER_BYTES: usize = 64 * 1024;
/// While the Service still sends us connections after we were told to end, they are answered.
const LINGER: Duration = Duration::from_millis(1500);
/// Requests under way get this long to finish, sockets to be closed by their clients.
const FINISH: Duration = Duration::from_secs(5);

/// What runs told of last is written into the ideas within this time.
const WRITE: Duration = Duration::from_secs(3);

/// Serves until `app.draining` is cancelled, then ends gracefully.
pub async fn serve(listener: TcpListener, app: App) {
    let draining = app.draining.clone();
    let connections = TaskTracker::new();
    let ending = CancellationToken::new();
    let accepting = accept(listener, routes(&app), Some(app.clone()), &connections, &ending);
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
    if tokio::time::timeout(WRITE, app.observer.write_all(&app.ideas)).await != Ok(true) {
        tracing::warn!("ended before the state of every idea was written");
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
        get(async move || (text, app.metrics.render(app.remote.pool(), app.runs.stats())).into_response()),
    );
    let ending = CancellationToken::new();
    until.run_until_cancelled(accept(listener, router, None, &connections, &ending)).await;
    ending.cancel();
}

async fn accept(
    listener: TcpListener,
    router: Router,
    app: Option<App>,
    connections: &TaskTracker,
    ending: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a connection that went away: neither ends the server.
                tracing::warn!(cause = %error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, router, ending) = (app.clone(), router.clone(), ending.clone());
        connections.spawn(async move {
            let _open = app.as_ref().map(|app| app.metrics.connection());
            connection(stream, peer, router, app, ending).await;
            drop(place);
        });
    }
}

/// With `app`, whose health is answered first.
async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, app: Option<App>, ending: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(cause = %error, "TCP_NODELAY cannot be set");
    }
    let routed = Extension(ConnectInfo(peer)).layer(router);
    let service = TowerToHyperService::new(HealthFirst::new(app, peer, routed));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(HEADER_BYTES);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = ending.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(cause = %error, "connection ended");
    }
}
