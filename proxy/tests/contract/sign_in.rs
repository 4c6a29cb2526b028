use std::time::Duration;

use catalyst_proxy::auth::limiter::BURST;
use catalyst_proxy::settings::Settings;
use reqwest::Method;
use serde_json::json;

use crate::serving::{ORIGIN, PATIENCE, SECRET, Server, Socket, read, settings, vm};

#[tokio::test]
async fn the_cookie_is_the_one_that_the_existing_client_expects() {
    let sshd = vm().await;
    let server = Server::start_signed_out(&settings(&sshd)).await;
    let response = server.call(Method::POST, "/api/login").body(json!({"secret": SECRET}).to_string()).send().await;
    let response = response.unwrap();
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert_eq!(read(response).await, (200, json!({"ok": true})));
    assert!(set.starts_with("catalyst_session="), "{set}");
    let attributes: Vec<&str> = set.split("; ").skip(1).collect();
    assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=2592000"]);
}

#[tokio::test]
async fn a_missing_or_wrong_secret_is_told_apart() {
    let sshd = vm().await;
    let server = Server::start_signed_out(&settings(&sshd)).await;
    for (body, status, error) in [
        (json!({}), 400, "Secret required"),
        (json!({"secret": ""}), 400, "Secret required"),
        (json!({"secret": 5}), 400, "Secret required"),
        (json!(null), 400, "Secret required"),
        (json!({"secret": "wrong"}), 401, "Invalid secret"),
    ] {
        let answer = server.json(Method::POST, "/api/login", Some(body.clone())).await;
        assert_eq!(answer, (status, json!({"ok": false, "error": error})), "{body}");
    }
}

#[tokio::test]
async fn who_is_not_signed_in_gets_401_and_is_told_so_by_auth_check() {
    let sshd = vm().await;
    let mut server = Server::start_signed_out(&settings(&sshd)).await;
    let unauthorized = (401, json!({"ok": false, "error": "Unauthorized"}));
    for cookie in ["", "catalyst_session=s%3Aabc", "catalyst_session=v1.AAAA.AAAA"] {
        server.cookie = cookie.to_owned();
        assert_eq!(server.get("/api/ideas").await, unauthorized);
        assert_eq!(server.json(Method::DELETE, "/api/ideas/x", None).await, unauthorized);
        assert_eq!(server.get("/api/auth/check").await, (200, json!({"ok": true, "data": {"authenticated": false}})));
        assert_eq!(server.try_socket(cookie, Some(ORIGIN)).await.err(), Some(401));
    }
    server.cookie = server.sign_in().await;
    assert_eq!(server.get("/api/auth/check").await, (200, json!({"ok": true, "data": {"authenticated": true}})));
}

#[tokio::test]
async fn signing_out_clears_the_cookie() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let response = server.call(Method::POST, "/api/logout").send().await.unwrap();
    let set = response.headers()["set-cookie"].to_str().unwrap();
    assert_eq!(set, "catalyst_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    assert_eq!(read(response).await, (200, json!({"ok": true})));
}

#[tokio::test]
async fn a_session_outlives_the_server_and_holds_at_another_replica() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let first = Server::start(&settings).await;
    let mut second = Server::start_signed_out(&settings).await;
    second.cookie = first.cookie.clone();
    assert_eq!(second.get("/api/ideas").await.0, 200);
    drop(first);
    assert_eq!(second.get("/api/ideas").await.0, 200);
    assert!(second.socket().await.next_is_open().await);
}

#[tokio::test]
async fn a_session_in_use_is_issued_anew_and_a_fresh_one_is_not() {
    let sshd = vm().await;
    let mut server = Server::start(&settings(&sshd)).await;
    let response = server.call(Method::GET, "/api/auth/check").send().await.unwrap();
    assert!(!response.headers().contains_key("set-cookie"));
    let now = catalyst_proxy::auth::cookie::now();
    let mut old = server.app.signer.sign_in(now - 2 * 3600);
    old.since -= 24 * 3600;
    server.cookie = server.app.signer.set_cookie(&old, now).split(';').next().unwrap().to_owned();
    let response = server.call(Method::GET, "/api/auth/check").send().await.unwrap();
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    let left = 2_592_000 - 26 * 3600;
    let told: u64 = set.rsplit("Max-Age=").next().unwrap().parse().unwrap();
    assert!(told <= left && told > left - 60, "{set}");
}

#[tokio::test]
async fn writes_and_sockets_from_another_page_are_refused() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    for origin in ["https://evil.example", "null", "https://catalyst.example.com.evil.example"] {
        let call = server.call(Method::POST, "/api/ideas").header("origin", origin);
        // reqwest appends: send it alone.
        let mut request = call.body(r#"{"title":"t","content":"c"}"#).build().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        let (status, body) = read(reqwest::Client::new().execute(request).await.unwrap()).await;
        assert_eq!(status, 403, "{body}");
        assert!(body["error"].as_str().unwrap().contains("ALLOWED_ORIGINS"), "{body}");
        assert_eq!(server.try_socket(&server.cookie, Some(origin)).await.err(), Some(403));
    }
    assert_eq!(server.try_socket(&server.cookie, None).await.err(), Some(403));
    assert_eq!(server.get("/api/ideas").await.1["data"], json!([]));
}

#[tokio::test]
async fn after_ten_wrong_secrets_the_address_waits_and_another_does_not() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    settings.web.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let server = Server::start_signed_out(&settings).await;
    let attempt = async |address: &str, secret: &str| {
        let call = server.call(Method::POST, "/api/login").header("x-forwarded-for", address);
        call.body(json!({"secret": secret}).to_string()).send().await.unwrap()
    };
    for _ in 0..BURST {
        assert_eq!(attempt("198.51.100.1", "wrong").await.status(), 401);
    }
    let refused = attempt("198.51.100.1", SECRET).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (status, body) = read(refused).await;
    assert_eq!(status, 429);
    assert!(body["error"].as_str().unwrap().contains("try again in"), "{body}");
    assert!((1..=31).contains(&wait), "{wait}");
    assert_eq!(attempt("198.51.100.2", SECRET).await.status(), 200);
    // What a client writes in front of its own address changes nothing.
    assert_eq!(attempt("1.1.1.1, 198.51.100.1", SECRET).await.status(), 429);
}

#[tokio::test]
async fn behind_an_unknown_proxy_everybody_is_slowed_and_nobody_locked_out() {
    let sshd = vm().await;
    let server = Server::start_signed_out(&settings(&sshd)).await;
    let attempt = async |secret: &str| {
        let call = server.call(Method::POST, "/api/login").header("x-forwarded-for", "198.51.100.1");
        call.body(json!({"secret": secret}).to_string()).send().await.unwrap().status().as_u16()
    };
    for _ in 0..BURST {
        assert_eq!(attempt("wrong").await, 401);
    }
    let began = std::time::Instant::now();
    assert_eq!(attempt(SECRET).await, 200);
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_on_every_replica_and_after_a_restart() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let (mut one, two) = (Server::start(&settings).await, Server::start(&settings).await);
    let mut socket = two.socket().await;
    assert_eq!(one.json(Method::POST, "/api/logout/everywhere", None).await, (200, json!({"ok": true})));
    assert_eq!(one.get("/api/ideas").await.0, 401);
    let ended = async |server: &Server| {
        let waiting = async {
            while server.get("/api/ideas").await.0 != 401 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the session goes on");
    };
    ended(&two).await;
    let mut third = Server::start_signed_out(&settings).await;
    third.cookie = two.cookie.clone();
    ended(&third).await;
    assert_eq!(socket.next().await, None, "an open socket is closed when it is next looked at");
    // Who signs in again is in: where it is known already, within the same second.
    for server in [&mut one, &mut third] {
        server.cookie = server.sign_in().await;
        assert_eq!(server.get("/api/ideas").await.0, 200);
    }
    assert_eq!(one.json(Method::POST, "/api/logout/everywhere", None).await.0, 200);
    one.cookie = one.sign_in().await;
    assert_eq!(one.get("/api/ideas").await.0, 200);
}

#[tokio::test]
async fn a_person_whom_a_trusted_proxy_names_is_in_and_nobody_else_can_name_himself() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    settings.web.identity_header = Some("x-forwarded-user".parse().unwrap());
    settings.web.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
    let behind = Server::start_signed_out(&settings).await;
    settings.web.trusted_proxies = vec!["192.0.2.1".parse::<std::net::IpAddr>().unwrap().into()];
    let direct = Server::start_signed_out(&settings).await;
    let asked = async |server: &Server, names: &[&str]| {
        let mut call = server.call(Method::GET, "/api/auth/check");
        for name in names {
            call = call.header("x-forwarded-user", *name);
        }
        let response = call.send().await.unwrap();
        assert!(!response.headers().contains_key("set-cookie"), "such a session lives at the proxy");
        read(response).await.1["data"].clone()
    };
    let longest = "ö".repeat(100);
    for name in ["ada", "Zoë O'Neil <zoë@example.com>", &longest] {
        assert_eq!(asked(&behind, &[name]).await, json!({"authenticated": true, "user": name}));
    }
    let longer = "a".repeat(201);
    for names in [&[][..], &["ada", "root"], &[""], &["a\tb"], &["\u{85}"], &[&longer]] {
        assert_eq!(asked(&behind, names).await, json!({"authenticated": false}), "{names:?}");
    }
    assert_eq!(asked(&direct, &["ada"]).await, json!({"authenticated": false}));
    let ideas = behind.call(Method::GET, "/api/ideas").header("x-forwarded-user", "ada").send().await.unwrap();
    assert_eq!(ideas.status(), 200);
    // A page elsewhere still cannot write in ada's name.
    let mut request = behind.call(Method::POST, "/api/ideas").header("x-forwarded-user", "ada");
    request = request.body(r#"{"title":"t","content":"c"}"#);
    let mut request = request.build().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(reqwest::Client::new().execute(request).await.unwrap().status(), 403);
}

#[tokio::test]
async fn who_said_a_message_is_kept_with_it_and_told_to_everybody_who_reads_it() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    let shared = Server::start(&settings).await;
    settings.web.identity_header = Some("remote-user".parse().unwrap());
    settings.web.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
    let behind = Server::start_signed_out(&settings).await;
    let slug = shared.idea("Who says so").await;
    let name = "Zoe \"Z\" O'Neil; $(id) \\";
    let mut named = behind.try_socket_with(&[("remote-user", name), ("origin", ORIGIN)]).await.unwrap();
    let mut nameless = shared.socket().await;
    let who = async |socket: &mut Socket| {
        let turn = socket.until("claude:result").await;
        let said = turn.iter().find(|frame| frame["type"] == "claude:user").expect("nobody said anything").clone();
        (said["text"].as_str().unwrap().to_owned(), said.get("by").cloned())
    };
    // The first starts a run, the next is brought to it, and a long one takes another way.
    let long = "long ".repeat(2000);
    for text in ["one", "two", &long] {
        let chat = json!({"type": "chat", "ideaId": slug, "message": text, "by": "somebody else"});
        named.send(chat).await;
        assert_eq!(who(&mut named).await, (text.to_owned(), Some(json!(name))));
    }
    nameless.send(json!({"type": "build", "ideaId": slug, "instructions": "three"})).await;
    assert_eq!(who(&mut nameless).await, ("three".to_owned(), None));
    // A later reader, of a server that knows nobody's name.
    let fresh = Server::start(&Settings { web: shared.app.web.clone(), ..settings }).await;
    let mut later = fresh.socket().await;
    later.send(json!({"type": "subscribe", "ideaId": slug, "run": 1})).await;
    for text in ["one", "two", &long] {
        assert_eq!(who(&mut later).await, (text.to_owned(), Some(json!(name))));
    }
    assert_eq!(who(&mut later).await, ("three".to_owned(), None));
}
