//! A client between the operator and the real API server that loses, refuses or delays what a test says.

#![allow(unreachable_pub, missing_docs, reason = "a module of tests")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{Method, Request, Response},
};
use futures::{StreamExt, future::BoxFuture, stream};
use kube::{Client, Config, client::ClientBuilder, config::Kubeconfig};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, layer::layer_fn};

use crate::world::plane;

/// What happens to one request.
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is carried out, and its answer never comes: so it looks to whoever dies meanwhile.
    Lose,
    /// It never reaches the server, and nothing ever comes.
    Swallow,
    /// The server is made to say this instead of carrying it out: code and reason.
    Refuse(u16, &'static str),
    /// It is carried out, and its answer comes late.
    Late(Duration),
    /// Of the answer of a watch only so many pieces come, and then this.
    Watch(usize, End),
}

/// How a watch ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// As the server ends it from time to time.
    Closed,
    /// In the middle of the stream.
    Torn,
    /// The server says that what was seen is too long ago.
    Expired,
}

/// Says what happens to a request.
pub type Decide = Arc<dyn Fn(&Request<kube::client::Body>) -> Fault + Send + Sync>;

/// A client of `account`, an administrator, through which the faults come.
pub async fn client(account: &str, decide: Decide) -> Client {
    let path = plane().kubeconfig_for(account, Some("system:masters")).unwrap();
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let layer = layer_fn(|inner| Faulty { inner, decide: Arc::clone(&decide) });
    ClientBuilder::try_from(config).unwrap().with_layer(&layer).build()
}

/// Whether a request writes an object; events are none.
pub fn writes(request: &Request<kube::client::Body>) -> bool {
    request.method() != Method::GET && !request.uri().path().contains("/events")
}

/// Lets `allowed` writes through, of which the answer to the last is lost; nothing after it reaches the server.
pub struct Death {
    left: AtomicUsize,
    /// Cancelled when the last write was sent.
    pub dead: CancellationToken,
}

impl Death {
    pub fn after(allowed: usize) -> Arc<Death> {
        Arc::new(Death { left: AtomicUsize::new(allowed), dead: CancellationToken::new() })
    }

    pub fn decide(self: &Arc<Self>) -> Decide {
        let death = Arc::clone(self);
        Arc::new(move |request| {
            if death.dead.is_cancelled() {
                return Fault::Swallow;
            }
            if !writes(request) {
                return Fault::Pass;
            }
            if death.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                death.dead.cancel();
                return Fault::Lose;
            }
            Fault::Pass
        })
    }
}

/// Refuses each request the first time that it is made, whatever version it asks for: with each of these codes in turn.
pub fn refuse_first(kinds: &'static [(u16, &'static str)]) -> Decide {
    let seen = Mutex::new(std::collections::HashSet::new());
    Arc::new(move |request| {
        let mut seen = seen.lock().unwrap();
        let watches = request.uri().query().is_some_and(|query| query.contains("watch="));
        let name = format!("{} {} {watches}", request.method(), request.uri().path());
        let turn = seen.len();
        if !seen.insert(name) {
            return Fault::Pass;
        }
        let (code, reason) = kinds[turn % kinds.len()];
        Fault::Refuse(code, reason)
    })
}

/// Ends the first watches of each kind: each in one of these ways after one piece, in turn.
pub fn end_watches(ends: &'static [End]) -> Decide {
    let seen = Mutex::new(std::collections::HashMap::<String, usize>::new());
    Arc::new(move |request| {
        if !request.uri().query().is_some_and(|query| query.contains("watch=")) {
            return Fault::Pass;
        }
        let mut seen = seen.lock().unwrap();
        let turn = seen.entry(request.uri().path().to_owned()).or_default();
        *turn += 1;
        ends.get(*turn - 1).map_or(Fault::Pass, |end| Fault::Watch(1, *end))
    })
}

/// The first pieces of an answer, and an end.
fn cut<B>(answer: Response<B>, pieces: usize, end: End) -> Response<Body>
where
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let pieces = Body::new(body).into_data_stream().take(pieces).map(|piece| piece.map_err(BoxError::from));
    let last: Option<Result<axum::body::Bytes, BoxError>> = match end {
        End::Closed => None,
        End::Torn => Some(Err("the test tears the stream".into())),
        End::Expired => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410});
            Some(Ok(format!("{}\n", json!({"type": "ERROR", "object": status})).into()))
        }
    };
    Response::from_parts(head, Body::from_stream(pieces.chain(stream::iter(last))))
}

struct Faulty<S> {
    inner: S,
    decide: Decide,
}

impl<S, B> Service<Request<kube::client::Body>> for Faulty<S>
where
    S: Service<Request<kube::client::Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: axum::body::HttpBody<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        match (self.decide)(&request) {
            Fault::Pass => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(answer.await?.map(Body::new)) })
            }
            Fault::Lose => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    let _lost = answer.await;
                    std::future::pending().await
                })
            }
            Fault::Swallow => Box::pin(std::future::pending()),
            Fault::Late(by) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    tokio::time::sleep(by).await;
                    Ok(answer.await?.map(Body::new))
                })
            }
            Fault::Watch(pieces, end) => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(cut(answer.await?, pieces, end)) })
            }
            Fault::Refuse(code, reason) => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": reason, "message": format!("the test says {code}")});
                let answer = Response::builder().status(code).header("content-type", "application/json");
                Box::pin(async move { Ok(answer.body(Body::from(status.to_string()))?) })
            }
        }
    }
}
