use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::serving::{PATIENCE, Server, settings, vm};

#[tokio::test]
async fn health_tells_a_stopped_vm_and_its_return() {
    let mut sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let body = server.until_health(200).await;
    assert_eq!((&body["status"], &body["ssh"]), (&json!("ok"), &json!(true)));
    assert!(body["uptime"].is_u64());
    for (method, status) in [(Method::HEAD, 200), (Method::POST, 405)] {
        let answer = server.call(method.clone(), "/api/health").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method}");
        assert_eq!(answer.text().await.unwrap().is_empty(), method == Method::HEAD);
    }

    sshd.stop();
    let body = server.until_health(503).await;
    assert_eq!((&body["status"], &body["ssh"]), (&json!("degraded"), &json!(false)));
    assert_eq!(body["reason"], "ConnectionRefused");
    assert!(body["message"].as_str().unwrap().contains("127.0.0.1"), "{body}");

    sshd.start_again().await.unwrap();
    server.until_health(200).await;
}

#[tokio::test]
async fn health_tells_a_frozen_vm_though_its_old_connections_live_and_never_waits_for_it() {
    let sshd = vm().await;
    let mut server = Server::start(&settings(&sshd)).await;
    server.idea("Keeps a connection").await;
    server.until_health(200).await;
    sshd.freeze();
    let began = Instant::now();
    let body = server.until_health(503).await;
    assert_eq!(body["reason"], "TimedOut");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.cookie.clear();
    let asked = Instant::now();
    let (_, body) = server.get("/api/health").await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(body.get("message").is_none(), "details are for those who are signed in: {body}");
    sshd.thaw();
    server.until_health(200).await;
}

#[tokio::test]
async fn a_vm_that_is_away_gives_a_clear_error_and_the_server_recovers_with_it() {
    let mut sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Before").await;
    sshd.stop();
    for (method, path) in
        [(Method::GET, "/api/ideas"), (Method::GET, "/api/ideas/before"), (Method::DELETE, "/api/ideas/before")]
    {
        let (status, body) = server.json(method, path, None).await;
        assert_eq!((status, &body["ok"]), (503, &json!(false)), "{body}");
        assert!(body["reason"].is_string() && !body["error"].as_str().unwrap().is_empty(), "{body}");
    }
    assert_eq!(server.get("/livez").await.0, 200);
    sshd.start_again().await.unwrap();
    server.until_health(200).await;
    let back = async {
        while server.get(&format!("/api/ideas/{slug}")).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), back).await.expect("ideas are not back with the VM");
}

#[tokio::test]
async fn killed_sessions_are_replaced_without_the_client_noticing() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.idea("Kept").await;
    assert!(sshd.kill_sessions() > 0);
    let (status, list) = server.get("/api/ideas").await;
    assert_eq!((status, list["data"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
}

#[tokio::test]
async fn a_key_or_host_key_in_trouble_is_a_reason_and_mended_without_a_restart() {
    let sshd = vm().await;
    let good = fs::read(sshd.key_path()).unwrap();
    let settings = settings(&sshd);
    fs::remove_file(sshd.key_path()).unwrap();
    let server = Server::start(&settings).await;
    let body = server.until_health(503).await;
    assert_eq!(body["reason"], "KeyInvalid");
    assert!(body["message"].as_str().unwrap().contains("SSH_KEY_PATH"), "{body}");
    fs::write(sshd.key_path(), "ssh-ed25519 AAAA not a private key").unwrap();
    let told = async {
        loop {
            let now = server.until_health(503).await;
            if now["message"] != body["message"] {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let body = tokio::time::timeout(PATIENCE, told).await.expect("a key that is none is not told");
    assert_eq!(body["reason"], "KeyInvalid", "{body}");
    fs::write(sshd.key_path(), good).unwrap();
    server.until_health(200).await;

    let known = settings.ssh.known_hosts.as_ref().unwrap();
    let right = fs::read_to_string(known).unwrap();
    fs::write(known, "").unwrap();
    assert_eq!(server.until_health(503).await["reason"], "HostKeyUnknown");
    fs::write(known, right).unwrap();
    server.until_health(200).await;
}

#[tokio::test]
async fn a_changed_host_key_is_refused_also_when_new_ones_are_accepted() {
    let mut sshd = vm().await;
    let mut settings = settings(&sshd);
    settings.ssh.known_hosts = None;
    settings.ssh.strict = false;
    let server = Server::start(&settings).await;
    server.until_health(200).await;
    sshd.stop();
    server.until_health(503).await;
    sshd.replace_host_key().unwrap();
    sshd.start_again().await.unwrap();
    let changed = async {
        while server.get("/api/health").await.1["reason"] != "HostKeyChanged" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), changed).await.expect("a changed host key is not told");
}

#[tokio::test]
async fn one_connection_turned_away_does_not_make_the_vm_unusable() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    let behind = format!("{}:{}", settings.ssh.host, settings.ssh.port);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    // As sshd does with too many that have not signed in yet (MaxStartups): now and then a connection is closed, never
    // the one that asks again.
    let relay = tokio::spawn(async move {
        let mut turned_away: Option<Instant> = None;
        let mut asks_again = false;
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            if !asks_again && turned_away.is_none_or(|at| at.elapsed() > Duration::from_millis(600)) {
                (turned_away, asks_again) = (Some(Instant::now()), true);
                continue;
            }
            asks_again = false;
            let mut far = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let known = settings.ssh.known_hosts.clone().unwrap();
    let key = fs::read_to_string(&known).unwrap();
    let key = key.lines().next().unwrap().split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    fs::write(&known, format!("[127.0.0.1]:{} {key}\n", front.port())).unwrap();
    (settings.ssh.host, settings.ssh.port) = ("127.0.0.1".to_owned(), front.port());
    let server = Server::start(&settings).await;
    let until = Instant::now() + Duration::from_secs(3);
    let mut fine = 0;
    while Instant::now() < until {
        let (status, body) = server.get("/api/health").await;
        if body["reason"] != "Checking" {
            assert_eq!(status, 200, "{body}");
            fine += 1;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(fine > 10);
    // Those that have no connection yet, so that their own way is through the relay.
    for _ in 0..6 {
        let (status, body) = Server::start(&settings).await.get("/api/ideas").await;
        assert_eq!(status, 200, "{body}");
    }
    relay.abort();
}

#[tokio::test]
async fn a_frozen_vm_is_told_before_the_browser_gives_up() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.idea("Frozen").await;
    let fresh = Server::start(&settings(&sshd)).await;
    sshd.freeze();
    let ask = async |server: &Server| {
        let began = Instant::now();
        let (status, body) = server.get("/api/ideas/frozen").await;
        (status, body["error"].as_str().unwrap().to_owned(), began.elapsed())
    };
    let (known, new) = futures::join!(ask(&server), ask(&fresh));
    sshd.thaw();
    for (status, error, took) in [&known, &new] {
        assert!([503, 504].contains(status), "{status} {error}");
        assert!(took < &Duration::from_secs(18), "{took:?} {error}");
    }
    assert!(new.2 < Duration::from_secs(9), "{new:?}");
    assert!(!known.1.contains("not frozen in"), "{known:?}");
}

#[tokio::test]
async fn an_ideas_folder_that_cannot_be_used_is_a_warning_with_the_remedy_and_goes_when_it_is_mended() {
    let sshd = vm().await;
    fs::write(sshd.home().join("catalyst"), "in the way").unwrap();
    let mut server = Server::start(&settings(&sshd)).await;
    let warned = async |server: &Server, wanted: bool| {
        let waiting = async {
            loop {
                let (status, body) = server.get("/api/health").await;
                if status == 200 && body.get("warning").is_some() == wanted {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("health never told of the folder")
    };
    let body = warned(&server, true).await;
    assert_eq!((&body["status"], &body["ssh"]), (&json!("ok"), &json!(true)));
    assert_eq!(body["warning"]["reason"], "IdeasPathUnwritable");
    let message = body["warning"]["message"].as_str().unwrap();
    assert!(message.contains("catalyst is not a folder") && message.contains("IDEAS_BASE_PATH"), "{message}");
    let cookie = std::mem::take(&mut server.cookie);
    assert!(warned(&server, true).await["warning"].get("message").is_none(), "details are for those who are signed in");
    server.cookie = cookie;
    fs::remove_file(sshd.home().join("catalyst")).unwrap();
    warned(&server, false).await;
    assert!(!sshd.home().join("catalyst").exists(), "looking must write nothing");
}

#[tokio::test]
async fn asking_for_health_never_dials_however_often_and_also_while_the_vm_is_away() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.ssh.port = listener.local_addr().unwrap().port();
    let dials = Arc::new(AtomicU32::new(0));
    let counted = dials.clone();
    let away = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let server = Server::start(&settings).await;
    server.until_health(503).await;
    let (began, before) = (Instant::now(), dials.load(Ordering::Relaxed));
    let asking = (0..8).map(async |_| {
        for _ in 0..100 {
            assert_eq!(server.get("/api/health").await.0, 503);
        }
    });
    futures::future::join_all(asking).await;
    // The check itself dials every 250 ms here, and once more where it was turned away.
    let most = 2 * (began.elapsed().as_millis() / 250 + 2);
    let dialled = dials.load(Ordering::Relaxed) - before;
    assert!(u128::from(dialled) <= most, "{dialled} dials in {:?}", began.elapsed());
    away.abort();
}
