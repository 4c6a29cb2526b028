//! Health is asked for more often than anything else, by probes and balancers: it is answered before the router, for no
//! more than a look at the clock. An answer is put together once for each second and outcome.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::Either;
use hyper::body::Incoming;
use hyper::service::Service;
use prometheus_client::metrics::counter::Counter;

use super::{guard, layers};
use crate::api::health;
use crate::app::App;
use crate::error::ApiError;

/// What health is answered with.
pub(super) struct HealthAnswers {
    app: App,
    kept: RwLock<Arc<Kept>>,
}

/// The answers of one second and one outcome.
struct Kept {
    second: u64,
    outcome: u64,
    anybody: Answer,
    /// Where those who are signed in are told more.
    signed_in: Option<Answer>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    get: Counter,
    head: Counter,
}

impl HealthAnswers {
    pub(super) fn new(app: App) -> Arc<HealthAnswers> {
        let kept = RwLock::new(Arc::new(Kept::now(&app, 0)));
        Arc::new(HealthAnswers { app, kept })
    }

    /// hyper leaves out the body where HEAD was asked.
    fn answer(&self, method: &Method, peer: SocketAddr, headers: &HeaderMap) -> Response {
        let is_head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return self.refuse(method),
        };
        let kept = self.kept();
        // Whose request it is costs more than all the rest: it is asked only where it matters.
        let answer = match &kept.signed_in {
            Some(told) if guard::who(&self.app, peer, headers).is_some() => told,
            _ => &kept.anybody,
        };
        if is_head { &answer.head } else { &answer.get }.inc();
        let mut response = Response::new(Body::from(answer.body.clone()));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers.clone();
        response
    }

    fn kept(&self) -> Arc<Kept> {
        let second = self.app.started.elapsed().as_secs();
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        if kept.second == second && kept.outcome == self.app.health.outcomes() {
            return kept;
        }
        let kept = Arc::new(Kept::now(&self.app, second));
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = kept.clone();
        kept
    }

    fn refuse(&self, method: &Method) -> Response {
        let mut response = ApiError::MethodNotAllowed.into_response();
        layers::add_security(&self.app, response.headers_mut());
        self.app.metrics.requests(layers::method_name(method), health::PATH, response.status().as_u16()).inc();
        response
    }
}

impl Kept {
    fn now(app: &App, second: u64) -> Kept {
        // Read before the outcome itself, so that a newer one is never taken for this one.
        let outcome = app.health.outcomes();
        let anybody = Answer::now(app, second, false);
        let told = Answer::now(app, second, true);
        let signed_in = (told.body != anybody.body).then_some(told);
        Kept { second, outcome, anybody, signed_in }
    }
}

impl Answer {
    fn now(app: &App, second: u64, signed_in: bool) -> Answer {
        let (status, body) = health::answer(app, second, signed_in);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        layers::add_security(app, &mut headers);
        let counter = |method| app.metrics.requests(layers::method_name(&method), health::PATH, status.as_u16());
        Answer { status, headers, body, get: counter(Method::GET), head: counter(Method::HEAD) }
    }
}

/// One connection's requests: those for health are answered here, all others by `inner`.
pub(super) struct HealthFirst<S> {
    answers: Option<Arc<HealthAnswers>>,
    peer: SocketAddr,
    /// A request has come.
    asked: Arc<AtomicBool>,
    inner: S,
}

impl<S> HealthFirst<S> {
    /// Without `answers`, everything is for `inner`. `asked` becomes true with the first request.
    pub(super) fn new(
        answers: Option<Arc<HealthAnswers>>,
        peer: SocketAddr,
        asked: Arc<AtomicBool>,
        inner: S,
    ) -> HealthFirst<S> {
        HealthFirst { answers, peer, asked, inner }
    }
}

impl<S: Service<Request<Incoming>, Response = Response, Error = Infallible>> Service<Request<Incoming>>
    for HealthFirst<S>
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        match &self.answers {
            Some(answers) if request.uri().path() == health::PATH => {
                Either::Left(ready(Ok(answers.answer(request.method(), self.peer, request.headers()))))
            }
            _ => Either::Right(self.inner.call(request)),
        }
    }
}
