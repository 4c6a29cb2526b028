//! The web app, embedded in the binary. Files with a hash in their name never change; everything that is not a file is
//! the app's page, which finds its way by the path.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::ApiError;

#[derive(RustEmbed)]
#[folder = "../web/dist/"]
struct Web;

const PAGE: &str = "index.html";

/// Answers every path that is no interface.
pub async fn serve(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::MethodNotAllowed.into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    let (name, file) = match Web::get(path) {
        Some(file) => (path, Some(file)),
        // A missing asset must not be answered by the page: a browser would take it for a script.
        None if path.starts_with("assets/") => return ApiError::NotFound.into_response(),
        None => (PAGE, Web::get(PAGE)),
    };
    match file {
        Some(file) => answer(name, file, request.headers()),
        None => ApiError::NotFound.into_response(),
    }
}

fn answer(name: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash()));
    let cache =
        if name.starts_with("assets/") && is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| known.split(',').any(|each| each.trim().trim_start_matches("W/") == tag));
    let kind = file.metadata.mimetype().to_owned();
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(file.data.into_owned()));
        if let Ok(kind) = HeaderValue::from_str(&with_charset(&kind)) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn with_charset(kind: &str) -> String {
    if kind.starts_with("text/") { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

/// `index-BhX3d9Qz.js`: what Vite writes, a name, a dash, eight or more characters of a hash.
fn is_hashed(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.split('.').next().unwrap_or(file);
    let hash_of = |stem: &str| stem.len() >= 9 && stem.as_bytes().iter().rev().nth(8) == Some(&b'-');
    hash_of(stem) || stem.rsplit_once('-').is_some_and(|(_, hash)| hash.len() >= 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_hash_may_be_kept_for_ever() {
        assert!(is_hashed("assets/index-BhX3d9Qz.js"));
        assert!(is_hashed("assets/index-B_X-d9Qz.css"));
        assert!(!is_hashed("assets/logo.svg"));
        assert!(!is_hashed("assets/icon-192.png"));
    }
}
