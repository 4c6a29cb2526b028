//! Sign in, sign out, and the question whether one is signed in.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde_json::json;

use super::{Body, data, done};
use crate::app::App;
use crate::audit;
use crate::auth::address;
use crate::auth::cookie::{self, Session};
use crate::error::ApiError;

/// POST /api/login `{secret}`.
///
/// # Errors
/// 400 without a secret, 401 for a wrong one, 429 after too many wrong ones.
pub async fn login(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, ApiError> {
    let secret = body.text("secret").filter(|secret| !secret.is_empty());
    let secret = secret.ok_or_else(|| ApiError::BadRequest("Secret required".to_owned()))?;
    let client = address::client(peer, &headers, &app.web.trusted_proxies);
    if let Err(wait) = app.limiter.admit(client).await {
        app.metrics.sign_ins("limited");
        audit::sign_in("limited", client.address, None);
        return Err(ApiError::TooMany(wait.0));
    }
    if !app.signer.is_the_secret(secret) {
        app.limiter.failed(client);
        app.metrics.sign_ins("failed");
        audit::sign_in("failed", client.address, None);
        return Err(ApiError::InvalidSecret);
    }
    let now = cookie::now();
    let session = app.signer.sign_in(app.revocation.begins(now));
    app.metrics.sign_ins("succeeded");
    audit::sign_in("succeeded", client.address, Some(&session));
    Ok(([(header::SET_COOKIE, app.signer.set_cookie(&session, now))], done()))
}

/// POST /api/logout.
pub async fn logout(State(app): State<App>) -> impl IntoResponse {
    ([(header::SET_COOKIE, app.signer.clear_cookie())], done())
}

/// POST /api/logout/everywhere: every session of everybody ends.
///
/// # Errors
/// 503 when the VM, which keeps it, cannot.
pub async fn logout_everywhere(
    State(app): State<App>,
    Extension(session): Extension<Session>,
) -> Result<impl IntoResponse, ApiError> {
    app.revocation.end_all().await?;
    audit::act(&session, "sign-out-everywhere", "");
    Ok(([(header::SET_COOKIE, app.signer.clear_cookie())], done()))
}

/// GET /api/auth/check: 200 always.
pub async fn check(session: Option<Extension<Session>>) -> Json<super::Envelope<serde_json::Value>> {
    let mut answer = json!({"authenticated": session.is_some()});
    if let (Some(Extension(Session { user: Some(user), .. })), Some(members)) = (session, answer.as_object_mut()) {
        members.insert("user".to_owned(), user.into());
    }
    data(answer)
}
