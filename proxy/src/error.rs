//! Every refusal of the REST interface: [`ApiError`] is what handlers return; its envelope is `{ok:false, error}`,
//! with `reason` where the way to the VM is the cause. The text is for the person who sees it.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::remote::RemoteError;
use crate::remote::ideas::IdeasError;
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
    /// 413.
    #[error("The request is larger than {0} bytes")]
    TooLarge(usize),
    /// 415.
    #[error("Send JSON with Content-Type: application/json")]
    NotJson,
    /// 429.
    #[error("Too many failed sign-ins; try again in {} s", .0.as_secs().saturating_add(1))]
    TooMany(Duration),
    /// 500, after a panic that was caught and logged.
    #[error("The server failed on this request; its log says why")]
    Broken,
    /// 503 while the server ends.
    #[error("The server is restarting; try again in a moment")]
    Restarting,
    /// 504.
    #[error("The request took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    /// What the ideas say.
    #[error(transparent)]
    Ideas(#[from] IdeasError),
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
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::Restarting => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
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
            ApiError::Ideas(IdeasError::Ssh(failure)) => Some(failure.reason.as_str()),
            ApiError::Ideas(IdeasError::Remote(RemoteError::Ssh(failure))) => Some(failure.reason.as_str()),
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
        let body = Refusal { ok: false, error: self.to_string(), reason: self.reason() };
        let mut response = (status, Json(body)).into_response();
        if let ApiError::TooMany(wait) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().saturating_add(1)));
        }
        response
    }
}
