//! Health is asked for more often than anything else, by probes and balancers: it is answered before the router, for no
//! more than reading the latest outcome.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use futures::future::Either;
use tower::Service;

use super::{guard, layers};
use crate::api::health;
use crate::app::App;
use crate::error::ApiError;

/// One connection's requests: those for health are answered here (hyper leaves out the body where HEAD was asked), all
/// others by `inner`.
#[derive(Clone)]
pub(super) struct HealthFirst<S> {
    app: Option<App>,
    peer: SocketAddr,
    /// A request has come.
    asked: Arc<AtomicBool>,
    inner: S,
}

impl<S> HealthFirst<S> {
    /// Without `app`, everything is for `inner`. `asked` becomes true with the first request.
    pub(super) fn new(app: Option<App>, peer: SocketAddr, asked: Arc<AtomicBool>, inner: S) -> HealthFirst<S> {
        HealthFirst { app, peer, asked, inner }
    }
}

impl<B, S: Service<Request<B>, Response = Response, Error = Infallible>> Service<Request<B>> for HealthFirst<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        let is_ours = request.uri().path() == health::PATH;
        let Some(app) = self.app.as_ref().filter(|_| is_ours) else {
            return Either::Right(self.inner.call(request));
        };
        let began = Instant::now();
        let mut response = match *request.method() {
            Method::GET | Method::HEAD => {
                health::answer(app, || guard::who(app, self.peer, request.headers()).is_some())
            }
            _ => ApiError::MethodNotAllowed.into_response(),
        };
        layers::add_security(app, response.headers_mut());
        app.metrics.request(
            layers::method_name(request.method()),
            health::PATH,
            response.status().as_u16(),
            began.elapsed(),
        );
        Either::Left(ready(Ok(response)))
    }
}
