//! Who gets through to the handlers: the session of a request, and the page that a write comes from.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::auth::cookie::{self, Session};
use crate::error::ApiError;
use crate::origin;

/// Longest name of a person, in bytes.
const LONGEST_NAME: usize = 200;

/// Finds the session of a request, and issues it anew while it is in use. A header that names people goes no further,
/// whoever sent it.
pub(super) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    let session = peer.and_then(|peer| who(&app, peer, request.headers()));
    if let Some(header) = &app.web.identity_header {
        request.headers_mut().remove(header);
    }
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

/// Whose request it is: of the person whom a trusted proxy names, or of the session in its cookie.
pub(super) fn who(app: &App, peer: SocketAddr, headers: &HeaderMap) -> Option<Session> {
    named(app, peer, headers).or_else(|| session(app, headers))
}

fn named(app: &App, peer: SocketAddr, headers: &HeaderMap) -> Option<Session> {
    let header = app.web.identity_header.as_ref()?;
    let peer = peer.ip().to_canonical();
    if !app.web.trusted_proxies.iter().any(|net| net.contains(&peer)) {
        return None;
    }
    let mut names = headers.get_all(header).iter();
    let (Some(name), None) = (names.next(), names.next()) else {
        return None; // two names are one too many to believe either
    };
    let name = std::str::from_utf8(name.as_bytes()).ok().map(str::trim).filter(|name| is_a_name(name))?;
    Some(Session::of_user(name, cookie::now()))
}

/// A name goes into logs and to everybody's page: it is one line of bounded length.
fn is_a_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control)
}

/// The session in a request's cookie, if it has one that holds.
fn session(app: &App, headers: &HeaderMap) -> Option<Session> {
    let now = cookie::now();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| app.signer.verify(value, now))
        .filter(|session| !app.revocation.is_over(session, now))
}
