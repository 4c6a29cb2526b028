//! Which pages may write and open the WebSocket: an exact allowlist of origins. Comparing with the Host header is not
//! done, save for loopback names: a reverse proxy may rewrite it and a hostile name may point at us.

use axum::http::{HeaderMap, header};

/// Scheme, host and port of a page, in the form in which browsers send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin (a trailing slash is allowed); `None` for anything else.
    pub fn parse(text: &str) -> Option<Origin> {
        let text = text.trim().trim_end_matches('/').to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        // A port alone names nobody.
        if authority.is_empty() || authority.starts_with(':') || !authority.chars().all(allowed) {
            return None;
        }
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        // One port at the most; an IPv6 address stands in brackets.
        if authority.rsplit_once(']').map_or(authority, |(_, port)| port).matches(':').count() > 1
            || authority.ends_with(default_port)
        {
            return None;
        }
        Some(Origin(format!("{scheme}://{authority}")))
    }

    /// The origin of a URL.
    pub fn of_url(url: &str) -> Option<Origin> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Origin::parse(&format!("{scheme}://{authority}"))
    }

    /// Whether the page came by https.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether the page is on the reader's own machine, as with `kubectl port-forward`.
    pub fn is_loopback(&self) -> bool {
        let authority = self.authority();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
            _ => authority,
        };
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }

    /// As browsers send it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn authority(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, authority)| authority)
    }
}

/// Why a request was refused; the text is for the person who sees it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefused {
    /// The request's origin is not on the list.
    #[error("Origin {0} is not allowed; open the app at its own address, or add this origin to ALLOWED_ORIGINS")]
    NotAllowed(String),
    /// The request has no origin at all.
    #[error("Origin header missing; send the address of the app, as browsers do")]
    Missing,
    /// No list is configured, and the browser does not vouch for the request.
    #[error(
        "The server cannot tell whether this request is from its own page; set ALLOWED_ORIGINS to the app's address"
    )]
    Unvouched,
}

/// Decides on one request that writes or opens the WebSocket.
///
/// # Errors
/// When the request is not from an allowed page.
pub fn check(allowed: &[Origin], headers: &HeaderMap) -> Result<(), OriginRefused> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let sent = text(header::ORIGIN);
    let origin = sent.and_then(Origin::parse);
    // A page of localhost talking to that very localhost is the person's own port-forward: the name cannot be made to
    // point elsewhere, as other names can.
    if let (Some(origin), Some(host)) = (&origin, text(header::HOST))
        && origin.is_loopback()
        && origin.authority() == host.to_ascii_lowercase()
    {
        return Ok(());
    }
    if allowed.is_empty() {
        let vouched = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
        return if vouched { Ok(()) } else { Err(OriginRefused::Unvouched) };
    }
    match (origin, sent) {
        (Some(origin), _) if allowed.contains(&origin) => Ok(()),
        (_, Some(sent)) => Err(OriginRefused::NotAllowed(sent.chars().take(200).collect())),
        (_, None) => Err(OriginRefused::Missing),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn listed() -> Vec<Origin> {
        vec![Origin::parse("https://c.example.com").unwrap()]
    }

    fn with(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn an_origin_is_read_as_browsers_write_it() {
        assert_eq!(Origin::parse("https://C.example.com:443/").unwrap().as_str(), "https://c.example.com");
        assert_eq!(Origin::parse("http://c.example.com:8080").unwrap().as_str(), "http://c.example.com:8080");
        for bad in
            ["null", "c.example.com", "ftp://x", "https://", "https://:443", "https://x/path", "https://u@x", "*"]
        {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
        assert_eq!(Origin::of_url("https://x.example/a?b").unwrap().as_str(), "https://x.example");
        assert!(Origin::parse("http://[::1]:80").unwrap().is_loopback());
        assert!(!Origin::parse("http://localhost.evil.example").unwrap().is_loopback());
    }

    #[test]
    fn only_listed_origins_pass() {
        let allowed = listed();
        assert_eq!(check(&allowed, &with(&[("origin", "https://c.example.com")])), Ok(()));
        for bad in ["https://c.example.com.evil.example", "http://c.example.com", "https://c.example.com:8443", "null"]
        {
            assert_eq!(check(&allowed, &with(&[("origin", bad)])), Err(OriginRefused::NotAllowed(bad.into())));
        }
        assert_eq!(check(&allowed, &with(&[])), Err(OriginRefused::Missing));
    }

    #[test]
    fn a_port_forward_passes_but_a_foreign_name_that_points_at_us_does_not() {
        let allowed = listed();
        let forwarded = with(&[("origin", "http://localhost:8080"), ("host", "localhost:8080")]);
        assert_eq!(check(&allowed, &forwarded), Ok(()));
        let other_port = with(&[("origin", "http://localhost:9000"), ("host", "localhost:8080")]);
        assert!(check(&allowed, &other_port).is_err());
        let rebound = with(&[("origin", "http://evil.example:8080"), ("host", "evil.example:8080")]);
        assert!(check(&allowed, &rebound).is_err());
    }

    #[test]
    fn without_a_list_only_what_the_browser_vouches_for_passes() {
        assert_eq!(check(&[], &with(&[("sec-fetch-site", "same-origin")])), Ok(()));
        for bad in [&[("sec-fetch-site", "same-site")][..], &[("origin", "http://x.example")], &[]] {
            assert_eq!(check(&[], &with(bad)), Err(OriginRefused::Unvouched));
        }
    }
}
