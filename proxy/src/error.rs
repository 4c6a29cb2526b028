//! Every refusal of the REST interface: [`ApiError`] is what handlers return; its envelope is `{ok:false, error}`,
//! with `reason` where the way to the VM is the cause. The text is for the person who sees it.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::revocation::NotEnded;
use crate::remote::RemoteError;
use crate::remote::ideas::{IdeasError, WithContent};
use crate::run::RunError;
use crate::terminal::TerminalError;

/// Why a request was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 401 without a session.
    #[error("Unauthorized")]
    Unauthorized,
    /// 401 at sign-in.
    #[error("Invalid secret")]
    InvalidSecret,
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 404 of the interface itself.
    #[error("Not found")]
    NotFound,
    /// 405.
    #[error("Method not allowed")]
    MethodNotAllowed,
    /// 412: somebody else edited the idea; it is sent along as it is now.
    #[error("Somebody else changed this idea meanwhile; nothing was written. Look at what it is now and try again")]
    Changed(Box<WithContent>),
    /// 413.
    #[error("The request is larger than {0} bytes")]
    TooLarge(usize),
    /// 415.
    #[error("Send JSON with Content-Type: application/json")]
    NotJson,
    /// 416, with the file's length.
    #[error("The file has {0} bytes; ask for a range within")]
    NoSuchRange(u64),
    /// 429.
    #[error("Too many failed sign-ins; try again in {} s", .0.as_secs().saturating_add(1))]
    TooMany(Duration),
    /// 500, after a panic that was caught and logged.
    #[error("The server failed on this request; its log says why")]
    Broken,
    /// 503 while the server ends.
    #[error("The server is restarting; try again in a moment")]
    Restarting,
    /// 503 where all connections are taken but those that are kept for health.
    #[error("Too many connections are open; try again in a moment")]
    Full,
    /// 504.
    #[error("The request took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Why not everybody could be signed out.
    #[error(transparent)]
    NotEnded(#[from] NotEnded),
    /// What the ideas say.
    #[error(transparent)]
    Ideas(#[from] IdeasError),
    /// What the runs say.
    #[error(transparent)]
    Run(#[from] RunError),
    /// What the terminals say.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// The envelope of a refusal.
#[derive(Serialize)]
struct Refusal {
    ok: bool,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<WithContent>>,
}

impl ApiError {
    /// The status code.
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::Unauthorized | ApiError::InvalidSecret => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::NotFound | ApiError::Ideas(IdeasError::NotFound) => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::Changed(_) => StatusCode::PRECONDITION_FAILED,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::NoSuchRange(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::NotEnded(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::Restarting | ApiError::Full => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            ApiError::Run(RunError::BadPosition | RunError::IdeaGone) => StatusCode::NOT_FOUND,
            ApiError::Run(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Terminal(TerminalError::NotFound) => StatusCode::NOT_FOUND,
            ApiError::Terminal(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Ideas(error) => match error {
                IdeasError::Damaged { .. } | IdeasError::Refused { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                IdeasError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The enumerated reason when the way to the VM is the cause.
    fn reason(&self) -> Option<&'static str> {
        match self {
            ApiError::Run(RunError::Ssh(failure)) => Some(failure.reason.as_str()),
            ApiError::Ideas(IdeasError::Ssh(failure)) => Some(failure.reason.as_str()),
            ApiError::NotEnded(NotEnded::Remote(RemoteError::Ssh(failure)))
            | ApiError::Ideas(IdeasError::Remote(RemoteError::Ssh(failure))) => Some(failure.reason.as_str()),
            ApiError::Terminal(error) => error.reason(),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), cause = %self, "request failed");
        }
        let (error, reason) = (self.to_string(), self.reason());
        let mut extra = HeaderMap::new();
        let data = match self {
            ApiError::TooMany(wait) => {
                extra.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
                None
            }
            ApiError::NoSuchRange(size) => {
                extra.extend(
                    HeaderValue::from_str(&format!("bytes */{size}")).map(|range| (header::CONTENT_RANGE, range)),
                );
                None
            }
            ApiError::Changed(now) => {
                extra.extend(HeaderValue::from_str(&now.tag()).map(|tag| (header::ETAG, tag)));
                Some(now)
            }
            _ => None,
        };
        (status, extra, Json(Refusal { ok: false, error, reason, data })).into_response()
    }
}
