//! Who gets through to the handlers: the session of a request, and the page that a write comes from.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::auth::cookie::{self, Session};
use crate::error::ApiError;
use crate::origin;

/// Finds the session of a request, and issues it anew while it is in use.
pub(super) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let session = session(&app, request.headers());
    if let Some(session) = &session {
        request.extensions_mut().insert(session.clone());
    }
    let mut response = next.run(request).await;
    let now = cookie::now();
    if let Some(anew) = session.and_then(|session| app.signer.reissue(&session, now))
        && !response.headers().contains_key(header::SET_COOKIE)
        && let Ok(value) = HeaderValue::from_str(&app.signer.set_cookie(&anew, now))
    {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Lets a request through only with a valid session (found by [`identify`]).
///
/// # Errors
/// 401 in the JSON envelope.
pub(super) async fn require_session(request: Request, next: Next) -> Result<Response, ApiError> {
    match request.extensions().get::<Session>() {
        Some(_) => Ok(next.run(request).await),
        None => Err(ApiError::Unauthorized),
    }
}

/// Refuses writes that do not come from an allowed page.
pub(super) async fn require_origin(State(app): State<App>, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && let Err(refused) = origin::check(&app.web.allowed_origins, request.headers())
    {
        let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        tracing::warn!(path, cause = %refused, "write refused");
        return ApiError::Forbidden(refused.to_string()).into_response();
    }
    next.run(request).await
}

/// The session of a request, if it has one.
fn session(app: &App, headers: &HeaderMap) -> Option<Session> {
    let now = cookie::now();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| app.signer.verify(value, now))
}
