//! A look into an idea's project: folders, files, what changed.
//!
//! What Claude wrote is not ours: a file is always an attachment without a type that a browser would show, and sandboxed
//! should one try.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use jiff::Timestamp;
use serde::Deserialize;

use super::{IdeaId, data};
use crate::app::App;
use crate::error::ApiError;
use crate::remote::ideas::{FileHead, IdeasError, PIECE, ProjectPath};

/// The path that is asked for; `project/` itself without one.
#[derive(Debug)]
pub struct At(ProjectPath);

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Ok(Query(asked)) = Query::<Asked>::from_request_parts(parts, state).await else {
            return Err(ApiError::BadRequest("Give one path, as in ?path=src/main.rs".to_owned()));
        };
        ProjectPath::accept(&asked.path).map(At).map_err(ApiError::BadRequest)
    }
}

/// GET /api/ideas/:idOrSlug/project?path=.
///
/// # Errors
/// 400 for a path that cannot be, 404, or when the VM cannot be asked.
pub async fn folder(State(app): State<App>, IdeaId(id): IdeaId, At(path): At) -> Result<impl IntoResponse, ApiError> {
    let idea = app.ideas.get(&id).await?;
    Ok(data(app.ideas.project_folder(&idea, &path).await?))
}

/// The times between which changes are asked for.
#[derive(Debug, Deserialize)]
pub struct Between {
    since: Option<String>,
    until: Option<String>,
}

/// GET /api/ideas/:idOrSlug/changes?since=&until=.
///
/// # Errors
/// 400 for what is no time, or an end without a beginning before it; 404, or when the VM cannot be asked.
pub async fn changes(
    State(app): State<App>,
    IdeaId(id): IdeaId,
    asked: Result<Query<Between>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let no_time = || ApiError::BadRequest("since and until must be times such as 2026-01-02T03:04:05Z".to_owned());
    let Query(Between { since, until }) = asked.map_err(|_| no_time())?;
    let time = |text: Option<String>| text.map(|text| text.parse::<Timestamp>().map_err(|_| no_time())).transpose();
    let (since, until) = (time(since)?, time(until)?);
    if until.is_some_and(|until| since.is_none_or(|since| since > until)) {
        return Err(ApiError::BadRequest("until needs a since that is not after it".to_owned()));
    }
    let idea = app.ideas.get(&id).await?;
    Ok(data(app.ideas.project_changes(&idea, since, until).await?))
}

/// GET /api/ideas/:idOrSlug/project/file?path=, with `Range: bytes=A-B`.
///
/// # Errors
/// 400 for a path that cannot be, 404, 416, or when the VM cannot be asked.
pub async fn file(
    State(app): State<App>,
    IdeaId(id): IdeaId,
    At(path): At,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let idea = app.ideas.get(&id).await?;
    let file = app.ideas.project_file(&idea, &path).await?;
    let asked =
        headers.get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(|range| wanted(range, file.size));
    let (status, from, to) = match asked {
        None => (StatusCode::OK, 0, file.size),
        Some(Wanted::Part(from, to)) => (StatusCode::PARTIAL_CONTENT, from, to),
        Some(Wanted::Nothing) => return Err(ApiError::NoSuchRange(file.size)),
    };
    let size = file.size;
    // The first piece now, so that what is wrong is told by a status.
    let first = app.ideas.project_piece(&file, from, (to - from).min(PIECE)).await?;
    let mut response = Response::new(pieces(app, file, first, from, to));
    *response.status_mut() = status;
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    set.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    set.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    set.insert(header::CONTENT_DISPOSITION, attachment(path.name()));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!("bytes {from}-{}/{size}", to.saturating_sub(1)))
    {
        set.insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// The next piece is fetched when the reader has taken the one before: memory is bounded, and nobody else waits.
fn pieces(app: App, file: FileHead, first: Vec<u8>, from: u64, to: u64) -> Body {
    Body::from_stream(stream::try_unfold((app, file, Some(first), from), move |(app, file, first, at)| async move {
        if at >= to {
            return Ok(None);
        }
        let piece = match first {
            Some(first) => first,
            None => app.ideas.project_piece(&file, at, (to - at).min(PIECE)).await?,
        };
        if piece.is_empty() {
            // The file has become shorter: the length that was announced is not kept, and the reader is to see so.
            return Err(IdeasError::Broken { what: "read the file".to_owned() });
        }
        let next = at + piece.len() as u64;
        Ok(Some((piece, (app, file, None, next))))
    }))
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// From the first byte to before the last.
    Part(u64, u64),
    /// None of it is in the file.
    Nothing,
}

/// One range of bytes; anything else counts as none, as HTTP allows.
fn wanted(range: &str, size: u64) -> Option<Wanted> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.trim(), to.trim()) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (from, "") => (from.parse().ok()?, size),
        (from, to) => {
            let (from, to) = (from.parse().ok()?, to.parse::<u64>().ok()?);
            if to < from {
                return None;
            }
            (from, to.saturating_add(1).min(size))
        }
    };
    Some(if from < to { Wanted::Part(from, to) } else { Wanted::Nothing })
}

/// The name in both forms: plain for old readers, and whole.
fn attachment(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let whole: String = name
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{whole}"))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_is_there_of_it() {
        assert_eq!(wanted("bytes=0-99", 50), Some(Wanted::Part(0, 50)));
        assert_eq!(wanted("bytes=10-", 50), Some(Wanted::Part(10, 50)));
        assert_eq!(wanted("bytes=-10", 50), Some(Wanted::Part(40, 50)));
        assert_eq!(wanted("bytes=-100", 50), Some(Wanted::Part(0, 50)));
        assert_eq!(wanted("bytes=50-60", 50), Some(Wanted::Nothing));
        assert_eq!(wanted("bytes=0-0", 0), Some(Wanted::Nothing));
        for none in ["bytes=5-1", "bytes=0-1,5-6", "lines=0-1", "bytes=a-b", "bytes="] {
            assert_eq!(wanted(none, 50), None, "{none}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_header() {
        let value = attachment("a\"; x=\r\nü.txt");
        assert_eq!(value, "attachment; filename=\"a___x____.txt\"; filename*=UTF-8''a%22%3B%20x%3D%0D%0A%C3%BC.txt");
    }
}
