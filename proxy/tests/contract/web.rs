use std::time::Duration;

use catalyst_proxy::settings::{Settings, TerminalMode};
use catalyst_ssh::Size;
use reqwest::Method;
use serde_json::json;

use crate::serving::{PATIENCE, Server, settings, vm};

#[tokio::test]
async fn every_path_that_is_no_interface_is_the_app_and_nothing_may_be_framed_or_injected() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    for path in ["/", "/ideas/my-idea", "/login"] {
        let response = server.call(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let tag = headers["etag"].clone();
        let again = server.call(Method::GET, path).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), 304);
    }
    assert_eq!(server.get("/assets/missing-12345678.js").await.0, 404);
    assert_eq!(server.json(Method::POST, "/ideas/x", None).await.0, 405);
    let answer = server.call(Method::GET, "/api/ideas").send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn the_app_is_sent_packed_to_those_who_take_it_so_and_each_form_is_known_again() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    // The page that says that the app is not built is not packed; it stands alone.
    let is_built = std::path::Path::new("../web/dist/sw.js").exists();
    let mut tags = Vec::new();
    for (encoding, packed) in [("identity", false), ("br, gzip", is_built)] {
        let asked = || server.call(Method::GET, "/ideas/my-idea").header("accept-encoding", encoding);
        let answer = asked().send().await.unwrap();
        let headers = answer.headers().clone();
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip"), packed);
        assert_eq!(headers.contains_key("vary"), is_built);
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.starts_with(&[0x1f, 0x8b]), packed);
        assert_eq!(asked().header("if-none-match", &headers["etag"]).send().await.unwrap().status(), 304);
        tags.push(headers["etag"].clone());
    }
    assert_eq!(tags[0] != tags[1], is_built);
}

/// What the server's metrics say now, by name and labels.
fn metric(server: &Server, name: &str) -> f64 {
    let app = &server.app;
    let text = app.metrics.render(app.remote.pool(), app.runs.stats(), app.terminals.open_now());
    let line =
        text.lines().find_map(|line| line.strip_prefix("catalyst_proxy_")?.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse().unwrap()
}

/// Waits until `holds`: the server's own follower may come a moment after a viewer that reads the log itself.
async fn counted(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not counted: {what}"));
}

#[tokio::test]
async fn metrics_count_what_was_asked() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.get("/api/ideas/unknown").await;
    let _socket = server.socket().await;
    let wrong = json!({"secret": "a-wrong-secret-of-length"});
    assert_eq!(server.json(Method::POST, "/api/login", Some(wrong)).await.0, 401);
    assert_eq!(metric(&server, r#"http_requests_total{method="GET",route="/api/ideas/{id}",status="404"}"#), 1.0);
    let sign_ins = ["succeeded", "failed"].map(|how| metric(&server, &format!("sign_ins_total{{outcome=\"{how}\"}}")));
    assert_eq!(sign_ins, [1.0, 1.0]);
    assert_eq!((metric(&server, "ideas_followed"), metric(&server, "ideas_lagging")), (0.0, 0.0));
    assert!(metric(&server, "http_connections") >= 1.0);
    assert!(metric(&server, "websockets") >= 1.0);
    assert!(metric(&server, "resident_memory_bytes") > 1e6);
}

#[tokio::test]
async fn metrics_count_runs_turns_events_requests_and_terminals() {
    let sshd = vm().await;
    let server = Server::start(&Settings { terminal: TerminalMode::Plain, ..settings(&sshd) }).await;
    let slug = server.idea("Counted").await;
    let mut socket = server.socket().await;
    let mut build = async |words: &str, until: &str| {
        socket.send(json!({"type": "build", "ideaId": slug, "instructions": words})).await;
        socket.until(until).await.pop().unwrap()
    };
    build("hello", "claude:result").await;
    let asked = build("ask", "claude:permission").await;
    counted("the request", || metric(&server, "approvals_open") > 0.0).await;
    let told = ["ideas_followed", "turns", "viewers", "approvals_open"].map(|name| metric(&server, name));
    assert_eq!(told, [1.0; 4]);
    let counters = || {
        let turns = ["succeeded", "failed", "stopped"].map(|how| format!("turns_ended_total{{outcome=\"{how}\"}}"));
        let runs = ["ended", "stopped"].map(|why| format!("runs_ended_total{{reason=\"{why}\"}}"));
        turns.into_iter().chain(runs).map(|name| metric(&server, &name)).collect::<Vec<f64>>()
    };
    // What the follower has read from here on counts.
    let (before, events_before) = (counters(), metric(&server, "events_total"));
    let answer = json!({"type": "answer", "ideaId": slug, "requestId": asked["requestId"], "decision": "allow"});
    socket.send(answer).await;
    socket.until("claude:result").await;
    counted("the answer", || metric(&server, "approvals_open") == 0.0).await;
    // A turn that fails with its process, which then is over.
    socket.send(json!({"type": "build", "ideaId": slug, "instructions": "die"})).await;
    socket.until("run:exit").await;
    counted("the end of the run", || counters()[3] > before[3]).await;
    let more: Vec<f64> = counters().iter().zip(&before).map(|(now, before)| now - before).collect();
    assert_eq!(more, [1.0, 1.0, 0.0, 1.0, 0.0]);
    let events = metric(&server, "events_total") - events_before;
    assert!(events >= 6.0, "{events} events");
    counted("all that the viewer took", || metric(&server, "viewer_behind_bytes") == 0.0).await;
    for name in ["ssh_connections", "ssh_channels", "ssh_dialed_total"] {
        assert!(metric(&server, &format!("{name}{{lane=\"interactive\"}}")) >= 1.0, "{name}");
    }
    assert_eq!(metric(&server, "terminals"), 0.0);
    let idea = server.app.ideas.get(&slug).await.unwrap();
    let size = Size { columns: 80, rows: 24 };
    let _terminal = server.app.terminals.open(&idea, "1".parse().unwrap(), size, None).await.unwrap();
    assert_eq!(metric(&server, "terminals"), 1.0);
}
