//! Health is asked for more often than anything else, by probes and balancers: it is answered before the router, for no
//! more than reading the latest outcome. What is answered is the same.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request};
use axum::response::Response;
use futures::future::Either;
use tower::Service;

use super::{guard, layers};
use crate::api::health;
use crate::app::App;

/// One connection's requests: those for health are answered here, all others by `inner`.
#[derive(Clone)]
pub(super) struct HealthFirst<S> {
    app: Option<App>,
    peer: SocketAddr,
    inner: S,
}

impl<S> HealthFirst<S> {
    /// Without `app`, everything is for `inner`.
    pub(super) fn new(app: Option<App>, peer: SocketAddr, inner: S) -> HealthFirst<S> {
        HealthFirst { app, peer, inner }
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
        let is_ours = request.method() == Method::GET && request.uri().path() == health::PATH;
        let Some(app) = self.app.as_ref().filter(|_| is_ours) else {
            return Either::Right(self.inner.call(request));
        };
        let began = Instant::now();
        let mut response = health::answer(app, || guard::who(app, self.peer, request.headers()).is_some());
        layers::add_security(app, response.headers_mut());
        app.metrics.request("GET", health::PATH, response.status().as_u16(), began.elapsed());
        Either::Left(ready(Ok(response)))
    }
}
