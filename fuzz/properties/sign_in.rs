//! Headers of strangers: no cookie but a genuine one opens, and an address is believed only from whom it may be.

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue};
use catalyst_proxy::auth::address::client;
use catalyst_proxy::auth::cookie::{Session, Signer};
use catalyst_proxy::origin::Origin;
use catalyst_proxy::settings::{Secret, WebSettings};
use ipnet::IpNet;

const NOW: u64 = 1_800_000_000;

struct Gate {
    signer: Signer,
    session: Session,
    cookie: String,
    trusted: Vec<IpNet>,
}

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let signer = Signer::new(&WebSettings {
        catalyst_secret: Secret::new("the-shared-secret-of-the-target"),
        cookie_secret: Secret::new("the-cookie-secret-of-the-target"),
        cookie_secret_previous: Some(Secret::new("the-previous-secret-of-the-target")),
        session_generation: 0,
        secure_cookie: false,
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        identity_header: None,
    });
    let session = signer.sign_in(NOW);
    let cookie = signer.set_cookie(&session, NOW).split(';').next().unwrap_or_default().to_owned();
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a network")).to_vec();
    Gate { signer, session, cookie, trusted }
});

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let gate = &*GATE;
    let text = String::from_utf8_lossy(bytes);
    // Nobody knows the session's cookie, so nothing that is made up opens anything.
    assert_eq!(gate.signer.verify(&text, NOW), None);
    // Beside whatever other cookies it is found.
    assert_eq!(gate.signer.verify(&format!("{text};{}", gate.cookie), NOW).as_ref(), Some(&gate.session));
    // And changed anywhere it is none.
    if let [at, with, ..] = bytes {
        let mut changed = gate.cookie.clone().into_bytes();
        let at = usize::from(*at) % changed.len();
        changed[at] = *with;
        if changed != gate.cookie.as_bytes() {
            assert_eq!(gate.signer.verify(&String::from_utf8_lossy(&changed), NOW), None, "byte {at}: {with}");
        }
    }

    if let Some(origin) = Origin::parse(&text) {
        assert_eq!(Origin::parse(origin.as_str()).as_ref(), Some(&origin), "{origin:?} is not its own");
        assert_eq!(Origin::of_url(&format!("{}/a?b#c", origin.as_str())), Some(origin));
    }

    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", value);
        }
    }
    let is_trusted = |address: &std::net::IpAddr| gate.trusted.iter().any(|net| net.contains(address));
    let stranger: SocketAddr = "203.0.113.9:1".parse().expect("an address");
    let found = client(stranger, &headers, &gate.trusted);
    assert_eq!((found.address, found.shared), (stranger.ip(), !headers.is_empty()), "a stranger was believed");
    let proxy: SocketAddr = "[::ffff:10.0.0.1]:1".parse().expect("an address");
    let found = client(proxy, &headers, &gate.trusted);
    assert_eq!(found.address, found.address.to_canonical());
    if !is_trusted(&found.address) {
        // Somebody named him, and all to the right of that are trusted.
        let named = headers.values().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let parsed = named.filter_map(|entry| {
            let entry = entry.trim();
            entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        });
        let last = parsed.map(|address: std::net::IpAddr| address.to_canonical()).filter(|a| !is_trusted(a)).last();
        assert_eq!(Some(found.address), last);
    }
}
