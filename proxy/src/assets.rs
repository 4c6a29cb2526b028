//! The web app, embedded in the binary and answered from there. Files with a hash in their name never change; everything that is
//! not a file is the app's page, which finds its way by the path. What the app's build has packed is sent so to whoever takes it.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
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
    let packed = Web::get(&format!("{name}.gz"));
    let varies = packed.is_some();
    let packed = packed.filter(|_| takes_gzip(headers));
    let encoding = packed.is_some().then_some("gzip");
    // Each form has a tag of its own.
    let hash = URL_SAFE_NO_PAD.encode(file.metadata.sha256_hash());
    let tag = encoding.map_or_else(|| format!("\"{hash}\""), |encoding| format!("\"{hash}-{encoding}\""));
    let cache =
        if name.starts_with("assets/") && is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let unchanged = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|known| known.split(',').any(|each| each.trim().trim_start_matches("W/") == tag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let data = packed.map_or(file.data, |packed| packed.data);
        let mut response = Response::new(Body::from(match data {
            // In the binary it lies as it is sent.
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        }));
        if let Ok(kind) = HeaderValue::from_str(&with_charset(file.metadata.mimetype())) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        if let Some(encoding) = encoding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if varies {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether gzip is named, and not with a weight of 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|each| each.trim().strip_prefix("gzip"))
        .any(|after| match after.trim_start().strip_prefix(';') {
            None => after.trim().is_empty(),
            Some(weight) => weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0)),
        })
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
    fn gzip_is_for_those_who_name_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        for yes in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", "deflate , gzip ; q=1"] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0, br", "gzipped", "x-gzip", "gzip;level=9"] {
            assert!(!takes(no), "{no}");
        }
    }

    #[test]
    fn what_is_packed_is_the_same_file() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        // The page that says that the app is not built is not packed.
        let is_built = Web::get("sw.js").is_some();
        assert!(!is_built || Web::get(&format!("{PAGE}.gz")).is_some(), "the app's build packs nothing");
        for name in Web::iter().filter(|name| name.ends_with(".gz")) {
            let mut gzip =
                Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let packed = Web::get(&name).unwrap().data;
            let mut stdin = gzip.stdin.take().unwrap();
            let writing = std::thread::spawn(move || stdin.write_all(&packed).unwrap());
            let unpacked = gzip.wait_with_output().unwrap().stdout;
            writing.join().unwrap();
            assert!(unpacked == *Web::get(name.trim_end_matches(".gz")).unwrap().data, "{name}");
        }
    }

    #[test]
    fn only_names_with_a_hash_may_be_kept_for_ever() {
        assert!(is_hashed("assets/index-BhX3d9Qz.js"));
        assert!(is_hashed("assets/index-B_X-d9Qz.css"));
        assert!(!is_hashed("assets/logo.svg"));
        assert!(!is_hashed("assets/icon-192.png"));
    }
}
