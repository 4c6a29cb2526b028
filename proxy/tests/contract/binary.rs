//! The binary itself: how it refuses to start, ends, checks the way to the VM, and answers to the names of tools.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::Duration;

use catalyst_ssh::generate_ed25519;
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::serving::{ORIGIN, PATIENCE, SECRET, vm};

/// Answers, more than may wait for one idea.
const MANY: usize = 120;
const BINARY: &str = env!("CARGO_BIN_EXE_catalyst-proxy");

fn binary() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().env("LOG_FORMAT", "text").kill_on_drop(true).stdin(Stdio::null());
    command
}

fn leading_to(sshd: &TestSshd) -> Command {
    let known_hosts = sshd.home().join("known");
    std::fs::write(&known_hosts, sshd.known_hosts_text()).unwrap();
    let endpoint = sshd.endpoint();
    let mut command = binary();
    command
        .env("CATALYST_SECRET", SECRET)
        .env("COOKIE_SECRET", "the-cookie-secret-of-the-test")
        .env("SSH_HOST", endpoint.host)
        .env("SSH_PORT", endpoint.port.to_string())
        .env("SSH_USER", endpoint.user)
        .env("SSH_KEY_PATH", sshd.key_path())
        .env("SSH_KNOWN_HOSTS", known_hosts)
        .env("METRICS_PORT", "0");
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the binary hangs").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn without_sound_secrets_it_refuses_to_start_and_names_them() {
    let sshd = vm().await;
    for (variable, value, says) in [
        ("CATALYST_SECRET", "", "is not set"),
        ("CATALYST_SECRET", "CHANGE_ME", "CHANGE_ME"),
        ("COOKIE_SECRET", "tooshort-tooshr", "has 15 characters"),
    ] {
        let (code, text) = said(leading_to(&sshd).env(variable, value)).await;
        assert_eq!(code, Some(1));
        assert!(text.contains(&format!("cannot start: {variable} ")) && text.contains(says), "{text}");
        assert!(!text.contains("tooshort-tooshr") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let sshd = vm().await;
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, text) = said(leading_to(&sshd).env("PORT", port)).await;
    assert!(code == Some(1) && text.contains("Set PORT to a free port"), "{code:?} {text}");
}

#[tokio::test]
async fn check_goes_the_whole_way_and_says_where_it_ends() {
    let mut sshd = vm().await;
    let (_, text) = said(leading_to(&sshd).arg("check")).await;
    for step in ["settings", "key", "name", "tcp", "ssh", "sftp", "shell", "programs", "home", "ideas", "state", "disk"]
    {
        assert!(text.contains(&format!("ok   {step} ")), "{step} is missing in\n{text}");
    }
    let (code, text) = said(leading_to(&sshd).arg("check").env("CLAUDE_COMMAND", "no-such-claude")).await;
    assert!(code == Some(1) && text.contains("FAIL claude") && text.contains("CLAUDE_COMMAND"), "{text}");
    sshd.stop();
    let (code, text) = said(leading_to(&sshd).arg("check")).await;
    assert!(code == Some(1) && text.contains("FAIL tcp") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn check_tells_a_key_or_host_key_that_is_not_the_right_one() {
    let sshd = vm().await;
    let elsewhere = sshd.home().join("elsewhere");
    let (code, text) = said(leading_to(&sshd).arg("check").env("SSH_KEY_PATH", &elsewhere)).await;
    assert!(code == Some(1) && text.contains("FAIL key ") && text.contains("elsewhere"), "{text}");
    assert!(text.contains("FAIL ssh") && text.contains("KeyInvalid"), "{text}");

    let another = generate_ed25519("another").unwrap();
    std::fs::write(&elsewhere, &another.private_openssh).unwrap();
    let (code, text) = said(leading_to(&sshd).arg("check").env("SSH_KEY_PATH", &elsewhere)).await;
    assert!(code == Some(1) && text.contains("ok   key ") && text.contains("FAIL ssh         AuthRejected"), "{text}");

    let port = sshd.endpoint().port;
    for (known, mark, says) in [
        (format!("[127.0.0.1]:{port} {}\n", another.public_openssh), "ok   known hosts", "HostKeyChanged"),
        (String::new(), "warn known hosts", "HostKeyUnknown"),
    ] {
        std::fs::write(&elsewhere, known).unwrap();
        let (code, text) = said(leading_to(&sshd).arg("check").env("SSH_KNOWN_HOSTS", &elsewhere)).await;
        assert!(code == Some(1) && text.contains(mark) && text.contains(&format!("FAIL ssh         {says}")), "{text}");
    }
}

#[tokio::test]
async fn check_names_a_program_that_the_vm_lacks() {
    let bin = tempfile::tempdir().unwrap();
    for from in ["/usr/bin", "/bin"] {
        for program in std::fs::read_dir(from).unwrap().flatten().filter(|program| program.file_name() != "setsid") {
            // Both may be the same folder.
            let _there = symlink(program.path(), bin.path().join(program.file_name()));
        }
    }
    let environment = vec![("PATH".to_owned(), bin.path().display().to_string())];
    let sshd = TestSshd::start(TestSshdOptions { environment, ..TestSshdOptions::default() }).await;
    let (code, text) = said(leading_to(&sshd).arg("check")).await;
    let missing = "FAIL programs    missing: setsid. Install util-linux";
    assert!(code == Some(1) && text.contains(missing), "{text}");
}

#[tokio::test]
async fn check_finds_claude_where_runs_find_it_and_does_not_wait_for_one_that_hangs() {
    let sshd = vm().await;
    let bin = sshd.home().join(".local/bin");
    std::fs::create_dir_all(&bin).unwrap();
    for (name, script) in [("own-claude", "echo 9.9.9"), ("stuck-claude", "sleep 600")] {
        std::fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (code, text) = said(leading_to(&sshd).arg("check").env("CLAUDE_COMMAND", "own-claude")).await;
    assert!(code == Some(0) && text.contains("ok   claude") && text.contains(".local/bin/own-claude"), "{text}");
    let (code, text) = said(leading_to(&sshd).arg("check").env("CLAUDE_COMMAND", "stuck-claude")).await;
    assert!(code == Some(1) && text.contains("says nothing within 10 s"), "{text}");
}

#[tokio::test]
async fn it_serves_answers_as_curl_and_nc_and_ends_on_sigterm() {
    let sshd = vm().await;
    let (port, metrics) = (free_port().to_string(), free_port().to_string());
    let mut server = leading_to(&sshd).env("PORT", &port).env("METRICS_PORT", &metrics).spawn().unwrap();
    let tools = tempfile::tempdir().unwrap();
    let tool = |name: &str| {
        let path = tools.path().join(name);
        if !path.exists() {
            symlink(BINARY, &path).unwrap();
        }
        let mut command = Command::new(path);
        command.env_clear();
        command
    };
    let url = format!("localhost:{port}/api/health");
    let healthy = async {
        loop {
            let (code, text) = said(tool("curl").args(["-s", &url])).await;
            if code == Some(0) && text.contains(r#""status":"ok""#) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, healthy).await.expect("the server is not healthy");
    let (code, text) = said(tool("nc").args(["-zv", "127.0.0.1", &port])).await;
    assert!(code == Some(0) && text.contains("succeeded"), "{text}");
    let (code, text) = said(tool("curl").args(["-s", &format!("http://127.0.0.1:{metrics}/metrics")])).await;
    assert!(code == Some(0) && text.contains("catalyst_proxy_vm_reachable 1"), "{text}");

    let pid = server.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(10), server.wait()).await.expect("it does not end").unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test]
async fn the_log_tells_who_did_what_and_holds_no_secret_and_nothing_that_people_wrote() {
    let sshd = vm().await;
    let port = free_port();
    let mut command = leading_to(&sshd);
    command.env("LOG_FORMAT", "json").env("LISTEN_ADDRESS", "127.0.0.1").env("PORT", port.to_string());
    // Whoever wants something of Claude is named in the log, whatever comes of it.
    command.env("CLAUDE_COMMAND", "no-such-claude");
    let server = command.env("ALLOWED_ORIGINS", ORIGIN).stderr(Stdio::piped()).spawn().unwrap();
    let client = reqwest::Client::new();
    let call = async |method: Method, path: &str, cookie: &str, body: Value| {
        let call = client.request(method, format!("http://127.0.0.1:{port}{path}")).header("origin", ORIGIN);
        call.header("cookie", cookie).header("content-type", "application/json").body(body.to_string()).send().await
    };
    let listens = async {
        while call(Method::GET, "/livez", "", json!(null)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listens).await.expect("the server does not listen");
    let wrong = call(Method::POST, "/api/login", "", json!({"secret": "a-wrong-secret-of-length"})).await.unwrap();
    assert_eq!(wrong.status(), 401);
    let right = call(Method::POST, "/api/login", "", json!({"secret": SECRET})).await.unwrap();
    let cookie = right.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let idea = json!({"title": "Plain title", "content": "what-a-person-wrote"});
    assert_eq!(call(Method::POST, "/api/ideas", &cookie, idea).await.unwrap().status(), 201);
    let change = json!({"title": "Another title"});
    assert_eq!(call(Method::PATCH, "/api/ideas/plain-title", &cookie, change).await.unwrap().status(), 200);
    let mut socket = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
    socket.headers_mut().insert("cookie", cookie.parse().unwrap());
    socket.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(socket).await.unwrap();
    for (kind, words) in [("chat", "message"), ("build", "instructions")] {
        let message = json!({"type": kind, "ideaId": "plain-title", words: "what-a-person-wrote", "messageId": "m-1"});
        socket.send(Message::text(message.to_string())).await.unwrap();
        let told = tokio::time::timeout(PATIENCE, socket.next()).await.expect("no answer").unwrap().unwrap();
        assert!(told.to_text().unwrap().contains("Claude Code was not found"), "{told}");
    }
    let answer = json!({"type": "answer", "ideaId": "plain-title", "requestId": "ask-1", "decision": "deny", "message": "what-a-person-wrote"});
    socket.send(Message::text(answer.to_string())).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, socket.next()).await.expect("no answer").unwrap().unwrap();
    assert!(told.to_text().unwrap().contains("no longer open"), "{told}");
    // So many at once that some are turned away before they get anywhere.
    for at in 0..MANY {
        let answer =
            json!({"type": "answer", "ideaId": "plain-title", "requestId": format!("many-{at}"), "decision": "allow"});
        socket.send(Message::text(answer.to_string())).await.unwrap();
    }
    let mut answers = 0;
    while answers < MANY {
        let told = tokio::time::timeout(PATIENCE, socket.next()).await.expect("no answer").unwrap().unwrap();
        answers += usize::from(told.is_text() && told.to_text().unwrap().contains("many-"));
    }
    assert_eq!(call(Method::DELETE, "/api/ideas/plain-title", &cookie, json!(null)).await.unwrap().status(), 200);
    let pid = server.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let output = tokio::time::timeout(PATIENCE, server.wait_with_output()).await.expect("it does not end").unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    for secret in
        [SECRET, "a-wrong-secret", "the-cookie-secret", "what-a-person-wrote", &cookie["catalyst_session=".len()..]]
    {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    let audit: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .filter(|line| line["target"] == "audit")
        .collect();
    let acts: Vec<String> = audit
        .iter()
        .map(|line| [&line["act"], &line["outcome"], &line["on"]].map(|v| v.as_str().unwrap_or("-")).join(" "))
        .collect();
    let expected = [
        "sign-in failed -",
        "sign-in succeeded -",
        "create - plain-title",
        "change - plain-title",
        "chat - plain-title",
        "build - plain-title",
        // An answer is told with how it fared.
        "answer late plain-title",
    ];
    assert_eq!(acts[..7], expected, "{log}");
    assert_eq!((&audit[6]["request"], &audit[6]["decision"]), (&json!("ask-1"), &json!("deny")));
    let (answers, rest) = acts[7..].split_at(MANY);
    assert!(answers.iter().all(|act| act.starts_with("answer ")), "{answers:?}");
    assert!(answers.iter().any(|act| act == "answer failed plain-title"), "none was turned away: {answers:?}");
    assert!(rest.len() == 1 && rest[0].starts_with("delete - plain-title."), "{rest:?}");
    assert!(audit[1]["session"].is_string(), "{audit:?}");
    assert!(audit[4..].iter().all(|act| act["session"] == audit[1]["session"]), "{audit:?}");
}

#[tokio::test]
async fn a_low_limit_of_open_files_is_raised_as_far_as_it_goes_and_told() {
    let sshd = vm().await;
    for (limits, says) in [("-Sn 256", "before=256"), ("-n 256", "few files may be open")] {
        let port = free_port();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limits} && exec \"$0\""), BINARY]).env_clear().kill_on_drop(true);
        for (name, value) in leading_to(&sshd).as_std().get_envs() {
            command.env(name, value.unwrap());
        }
        command.env("LISTEN_ADDRESS", "127.0.0.1").env("PORT", port.to_string()).env("LOG_FORMAT", "text");
        let server = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let listens = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("the server does not listen");
        let sockets = join_all((0..400).map(|_| TcpStream::connect(("127.0.0.1", port)))).await;
        if limits == "-Sn 256" {
            let health = reqwest::get(format!("http://127.0.0.1:{port}/livez"));
            let answer = tokio::time::timeout(PATIENCE, health).await.expect("health is not answered").unwrap();
            assert_eq!(answer.status(), 200);
        }
        drop(sockets);
        let pid = server.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let output = tokio::time::timeout(PATIENCE, server.wait_with_output()).await.expect("it does not end").unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(says), "{limits}: {log}");
    }
}
