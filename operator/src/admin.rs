//! Health, readiness and metrics over HTTP. Holds no client: liveness must not depend on the API server.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether this operator works, or could at once: its caches are filled, and it has taken or seen the Lease if it needs one.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Conditions>);

#[derive(Debug)]
struct Conditions {
    caches: AtomicBool,
    lease: AtomicBool,
}

/// Of an operator that needs no Lease.
impl Default for Readiness {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Readiness {
    /// Of an operator that needs the Lease.
    #[must_use]
    pub fn with_lease() -> Self {
        Self::new(false)
    }

    fn new(lease: bool) -> Self {
        Self(Arc::new(Conditions { caches: AtomicBool::new(false), lease: AtomicBool::new(lease) }))
    }

    /// What is watched has been listed.
    pub fn caches_filled(&self) {
        self.0.caches.store(true, Ordering::Relaxed);
    }

    /// The Lease has been taken, or read while another holds it.
    pub fn lease_seen(&self) {
        self.0.lease.store(true, Ordering::Relaxed);
    }

    /// Whether all is there.
    #[must_use]
    pub fn get(&self) -> bool {
        self.awaited().is_empty()
    }

    /// What is not there yet.
    fn awaited(&self) -> Vec<&'static str> {
        let there = |condition: &AtomicBool| condition.load(Ordering::Relaxed);
        let conditions = [(there(&self.0.caches), "the caches"), (there(&self.0.lease), "the Lease")];
        conditions.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

/// Serves `/livez`, `/readyz` and `/metrics` until `stop` resolves.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(Shared { metrics, readiness });
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.readiness.awaited().as_slice() {
        [] => (StatusCode::OK, "ok\n".to_owned()),
        awaited => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", awaited.join(" and "))),
    }
}

async fn scrape(State(shared): State<Shared>) -> impl IntoResponse {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], shared.metrics.text())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_is_who_has_both_caches_and_lease_alive_is_everyone_and_the_server_stops_when_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let readiness = Readiness::with_lease();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, Arc::default(), readiness.clone(), async {
            let _ = stopped.await;
        }));
        assert!(ask(address, "/readyz").await.ends_with("waiting for the caches and the Lease\n"));
        readiness.lease_seen();
        let unready = ask(address, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.ends_with("waiting for the caches\n"), "{unready}");
        assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
        readiness.caches_filled();
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask(address, "/metrics").await;
        assert!(metrics.contains("openmetrics-text") && metrics.contains("# EOF"), "{metrics}");
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
