use reqwest::Method;

use crate::serving::{Server, settings, vm};

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
async fn metrics_count_what_was_asked() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.get("/api/ideas/unknown").await;
    let _socket = server.socket().await;
    let text = server.app.metrics.render(server.app.remote.pool(), server.app.runs.stats());
    let line = r#"catalyst_proxy_http_requests_total{method="GET",route="/api/ideas/{id}",status="404"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains(r#"catalyst_proxy_sign_ins_total{outcome="succeeded"} 1"#), "{text}");
    assert!(text.contains("catalyst_proxy_ssh_connections{lane=\"interactive\"}"), "{text}");
    assert!(
        text.contains("catalyst_proxy_ideas_followed 0") && text.contains("catalyst_proxy_ideas_lagging 0"),
        "{text}"
    );
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse::<f64>().unwrap()
    };
    assert!(value("catalyst_proxy_http_connections") >= 1.0);
    assert!(value("catalyst_proxy_websockets") >= 1.0);
    assert!(value("catalyst_proxy_resident_memory_bytes") > 1e6);
}
