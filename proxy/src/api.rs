//! REST: JSON in, `{ok, data?, error?}` out; one handler group a file.

pub mod health;
pub mod ideas;
pub mod log;
pub mod project;
pub mod session;
pub mod terminals;
pub mod trash;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::remote::ideas::IdeasError;

/// The largest request body, in bytes; an idea's text is the largest that people send.
pub const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// The envelope of an answer.
#[derive(Debug, Serialize)]
pub struct Envelope<T> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

/// An answer with data.
pub fn data<T: Serialize>(data: T) -> Json<Envelope<T>> {
    Json(Envelope { ok: true, data: Some(data) })
}

/// An answer that only says that it is done.
pub fn done() -> Json<Envelope<()>> {
    Json(Envelope { ok: true, data: None })
}

/// A request's JSON object; refused in the envelope when it is malformed or too large. Members are looked at one by
/// one, so that a wrong type counts as missing, as it does in the existing server.
#[derive(Debug)]
pub struct Body(Value);

impl Body {
    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A member, whatever it is.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let Json(value) = Json::<Value>::from_request(request, state).await?;
        Ok(Body(value))
    }
}

/// The id or slug in a path, unchecked; what is not even text cannot be one.
#[derive(Debug)]
pub struct IdeaId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdeaId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(IdeaId(id)),
            Err(_) => Err(ApiError::Ideas(IdeasError::NotFound)),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => ApiError::NotJson,
            rejection if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge(BODY_LIMIT),
            rejection => ApiError::BadRequest(format!("Malformed JSON: {}", cause(&rejection))),
        }
    }
}

/// The innermost cause: the position in the text, without the framework's words around it.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
