//! The order of messages that the existing client depends on, and what ours may ask beyond it.

use catalyst_ssh::testing::TestSshd;
use serde_json::{Value, json};

use crate::frames::text;
use crate::serving::{PATIENCE, Server, Socket, settings, vm};

fn kinds(messages: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<&str> = messages.iter().map(|message| message["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

fn meta(sshd: &TestSshd, slug: &str) -> Value {
    let path = sshd.home().join(format!("catalyst/ideas/{slug}/meta.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn until_status(sshd: &TestSshd, slug: &str, status: &str) {
    let waiting = async {
        while meta(sshd, slug)["status"] != status {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("the status is not {status}: {}", meta(sshd, slug)));
}

async fn subscribe(socket: &mut Socket, request: Value) -> Value {
    socket.send(request).await;
    let answer = socket.next().await.unwrap();
    assert_eq!(answer["type"], "subscribed", "{answer}");
    answer
}

#[tokio::test]
async fn a_client_that_only_chats_gets_its_turn_in_the_order_it_expects() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Chat with me").await;
    let mut socket = server.socket().await;
    for word in ["one", "two"] {
        socket.send(json!({"type": "chat", "ideaId": slug, "message": word})).await;
        let turn = socket.until("claude:result").await;
        assert!(turn.iter().all(|message| message["ideaId"] == json!(slug)), "{turn:#?}");
        let known: Vec<&str> = kinds(&turn).into_iter().filter(|kind| *kind != "claude:user").collect();
        assert_eq!(known, ["claude:system", "claude:text", "claude:result"], "{turn:#?}");
        assert_eq!(text(&turn), format!("you said: {word}"));
        let result = turn.last().unwrap();
        assert_eq!(result["result"], json!(format!("you said: {word}")));
        assert!(result["costUsd"].is_number() && result["durationMs"].is_number() && result["turns"].is_number());
        assert!(result["sessionId"].is_string() && result.get("error").is_none_or(Value::is_null), "{result}");
    }
    until_status(&sshd, &slug, "chatting").await;
    let session = async {
        while meta(&sshd, &slug)["sessionId"] != "5e551017-0000-4000-8000-000000000001" {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    };
    tokio::time::timeout(PATIENCE, session).await.expect("the session is not written to meta.json");
}

#[tokio::test]
async fn every_frame_of_a_turn_has_the_members_that_the_existing_client_reads() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Tools").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "build", "ideaId": slug, "instructions": "tool"})).await;
    let mut turn = socket.until("claude:result").await;
    for frame in &mut turn {
        let members = frame.as_object_mut().unwrap();
        assert!(members.remove("run").unwrap().is_number() && members.remove("seq").unwrap().is_string());
        assert_eq!(members.remove("ideaId"), Some(json!(slug)));
        members.remove("messageId");
    }
    turn.sort_by_key(|frame| frame["type"] != "claude:user");
    let session = "5e551017-0000-4000-8000-000000000001";
    let expected = [
        json!({"type": "claude:user", "text": "tool", "mode": "build", "buildMode": "acceptEdits"}),
        json!({"type": "claude:system", "sessionId": session, "model": "stand-in"}),
        json!({"type": "claude:tool_use", "toolUseId": "toolu_1", "name": "Bash", "input": {"command": "ls -l", "n": [1, null]}}),
        json!({"type": "claude:tool_result", "toolUseId": "toolu_1", "content": "total 0\n"}),
        json!({"type": "claude:text", "text": "seen"}),
        json!({"type": "claude:result", "result": "seen", "sessionId": session, "costUsd": 0.01, "durationMs": 5, "turns": 1}),
    ];
    assert_eq!(turn, expected);
}

#[tokio::test]
async fn a_message_of_two_megabytes_is_answered_and_one_of_ten_is_shown_and_a_larger_one_is_refused_by_its_size() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Much text").await;
    let mut socket = server.socket().await;
    let long = |bytes: usize| format!("say \u{e9}{}", "x".repeat(bytes));
    socket.send(json!({"type": "chat", "ideaId": slug, "message": long(2_000_000)})).await;
    let turn = socket.until("claude:result").await;
    let shown = turn.iter().find(|frame| frame["type"] == "claude:user").unwrap()["text"].as_str().unwrap();
    assert!(shown.starts_with("say \u{e9}xxx") && shown.contains("2.0 MB"), "{}", &shown[shown.len() - 50..]);
    assert!(text(&turn).starts_with("you said: say "), "{}", text(&turn));
    let message = json!({"type": "chat", "ideaId": slug, "message": long(10_000_000), "messageId": "m-10"});
    socket.send(message).await;
    let shown = socket.until("claude:user").await.pop().unwrap();
    assert_eq!(shown["messageId"], "m-10");
    let message = json!({"type": "chat", "ideaId": slug, "message": long(11_000_000), "messageId": "m-11"});
    socket.send(message).await;
    let refused = socket.until("claude:error").await.pop().unwrap();
    let sentence = refused["error"].as_str().unwrap();
    assert!(sentence.contains("11.0 MB") && sentence.contains("10.5 MB"), "{sentence}");
    assert_eq!(refused["messageId"], "m-11");
}

#[tokio::test]
async fn a_client_that_comes_later_and_only_chats_does_not_get_the_past() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Past").await;
    let mut first = server.socket().await;
    first.send(json!({"type": "chat", "ideaId": slug, "message": "before"})).await;
    first.until("claude:result").await;
    let mut second = server.socket().await;
    second.send(json!({"type": "chat", "ideaId": slug, "message": "now"})).await;
    let turn = second.until("claude:result").await;
    assert_eq!(text(&turn), "you said: now", "{turn:#?}");
    assert_eq!(turn.iter().filter(|message| message["type"] == "claude:system").count(), 1, "{turn:#?}");
    // The first client is still told what happens.
    assert_eq!(text(&first.until("claude:result").await), "you said: now");
}

#[tokio::test]
async fn a_build_moves_the_idea_to_building_and_done() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Build it").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "build", "ideaId": slug, "instructions": "ticks 20 0.05", "messageId": "m-1"})).await;
    let accepted = socket.next().await.unwrap();
    assert_eq!(accepted, json!({"type": "accepted", "ideaId": slug, "messageId": "m-1", "run": 1}));
    until_status(&sshd, &slug, "building").await;
    socket.until("claude:result").await;
    until_status(&sshd, &slug, "done").await;
}

#[tokio::test]
async fn cancel_ends_the_turn_and_tells_so() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Stop me").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "ticks 1000 0.05"})).await;
    socket.until("claude:text").await;
    socket.send(json!({"type": "cancel", "ideaId": slug})).await;
    let rest = socket.until("claude:result").await;
    let result = rest.last().unwrap();
    assert_eq!((&result["result"], &result["error"]), (&json!("Stopped."), &json!("Stopped.")), "{rest:#?}");
    assert_eq!(result["interrupted"], json!(true), "{rest:#?}");
    assert!(!text(&rest).contains("tick999"), "{rest:#?}");
    // The process has stayed, and nothing of that turn comes later.
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "and then"})).await;
    let next = socket.until("claude:result").await;
    assert_eq!((text(&next).as_str(), &next.last().unwrap()["run"]), ("you said: and then", &json!(1)), "{next:#?}");
}

#[tokio::test]
async fn a_reconnecting_client_gets_what_it_missed_once_and_in_order_also_from_another_replica() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let server = Server::start(&settings).await;
    let slug = server.idea("Replay").await;
    let mut socket = server.socket().await;
    let start = subscribe(&mut socket, json!({"type": "subscribe", "ideaId": slug})).await;
    assert_eq!(
        start,
        json!({"type": "subscribed", "ideaId": slug, "run": null, "after": null, "before": null, "live": false})
    );
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "ticks 40 0.05", "messageId": "m-1"})).await;
    let mut seen = socket.until("claude:text").await;
    seen.retain(|message| message.get("seq").is_some());
    let last = seen.last().unwrap().clone();
    drop(socket);
    drop(server);

    let other = Server::start(&settings).await;
    let mut socket = other.socket().await;
    let again = json!({"type": "subscribe", "ideaId": slug, "run": last["run"], "after": last["seq"]});
    let start = subscribe(&mut socket, again).await;
    assert_eq!((&start["run"], &start["after"]), (&json!(1), &last["seq"]));
    seen.extend(socket.until("claude:result").await);
    let expected: String = (0..40).map(|n| format!("tick{n} ")).collect();
    assert_eq!(text(&seen), expected);

    // Whoever comes new gets the whole of it.
    let mut late = other.socket().await;
    let start = subscribe(&mut late, json!({"type": "subscribe", "ideaId": slug})).await;
    assert_eq!(start["live"], json!(false));
    assert_eq!(text(&late.until("claude:result").await), expected);
    late.send(json!({"type": "page", "ideaId": slug, "before": {"run": 1, "seq": last["seq"]}})).await;
    let history = late.until("history").await.pop().unwrap();
    let frames = history["frames"].as_array().unwrap();
    assert!(frames.iter().all(|frame| frame["ideaId"] == json!(slug)), "{history}");
    assert!(kinds(frames).contains(&"claude:system"), "{history}");
}

#[tokio::test]
async fn a_permission_is_asked_answered_and_an_answer_to_nothing_is_an_error() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Ask me").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "build", "ideaId": slug, "instructions": "ask"})).await;
    let request = socket.until("claude:permission").await.pop().unwrap();
    assert_eq!((&request["name"], &request["input"]), (&json!("Write"), &json!({"file_path": "a.txt"})));
    let answer = json!({"type": "answer", "ideaId": slug, "requestId": request["requestId"], "decision": "deny", "message": "no"});
    socket.send(answer.clone()).await;
    let rest = socket.until("claude:result").await;
    assert_eq!(text(&rest), "denied", "{rest:#?}");
    // The same again is what a client sends that lost its connection meanwhile; another answer comes too late.
    socket.send(answer).await;
    for (request, decision) in [(request["requestId"].as_str().unwrap(), "allow"), ("ask-9", "deny")] {
        socket
            .send(json!({"type": "answer", "ideaId": slug, "requestId": request, "decision": decision, "message": ""}))
            .await;
        let error = socket.until("claude:error").await.pop().unwrap();
        assert!(error["error"].as_str().unwrap().contains("permission"), "{error}");
        assert_eq!(error["requestId"], request, "{error}");
    }
}

#[tokio::test]
async fn a_standing_permission_is_kept_told_and_revoked_and_runs_are_told_and_trimmed() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Allow me").await;
    let mut socket = server.socket().await;
    let ask = |more: Value| {
        let mut message = json!({"ideaId": slug});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    };
    socket.send(ask(json!({"type": "build", "instructions": "asks 1", "mode": "ask"}))).await;
    let asked = socket.until("claude:permission").await;
    let turn = asked.iter().find(|message| message["type"] == "claude:user").unwrap();
    assert_eq!((&turn["mode"], &turn["buildMode"]), (&json!("build"), &json!("ask")));
    let request = asked.last().unwrap();
    assert_eq!(request["always"], json!(["Bash(make *)"]));
    socket
        .send(ask(
            json!({"type": "answer", "requestId": request["requestId"], "decision": "allow", "answers": {"A?": "x"}}),
        ))
        .await;
    let refused = socket.until("claude:error").await.pop().unwrap();
    assert_eq!(refused["requestId"], request["requestId"], "{refused}");
    socket.send(ask(json!({"type": "answer", "requestId": request["requestId"], "decision": "always"}))).await;
    let rest = socket.until("claude:result").await;
    assert!(text(&rest).contains(":allow"), "{rest:#?}");

    // Another browser, another replica.
    let other = Server::start(&settings(&sshd)).await;
    let mut socket = other.socket().await;
    socket.send(ask(json!({"type": "permissions"}))).await;
    let told = json!({"type": "permissions", "ideaId": slug, "rules": ["Bash(make *)"]});
    assert_eq!(socket.until("permissions").await.pop().unwrap(), told);
    socket.send(ask(json!({"type": "revoke", "rule": "Bash(make *)"}))).await;
    assert_eq!(socket.until("permissions").await.pop().unwrap()["rules"], json!([]));

    socket.send(ask(json!({"type": "chat", "message": "hello"}))).await;
    socket.until("claude:result").await;
    socket.send(ask(json!({"type": "runs"}))).await;
    let runs = socket.until("runs").await.pop().unwrap();
    assert_eq!(runs["before"], Value::Null);
    let of = |at: usize, name: &str| runs["runs"][at][name].clone();
    assert_eq!((of(0, "run"), of(0, "mode"), of(0, "live")), (json!(2), json!("chat"), json!(true)));
    assert_eq!((of(1, "mode"), of(1, "reason"), of(1, "turns")), (json!("ask"), json!("revoked"), json!(1)), "{runs}");
    assert!(of(1, "costUsd").is_number() && of(1, "startedAt").is_number(), "{runs}");
    socket.send(ask(json!({"type": "trim", "keep": 1}))).await;
    let runs = socket.until("runs").await.pop().unwrap();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "{runs}");
}

#[tokio::test]
async fn a_claude_that_dies_or_is_not_there_is_told_and_the_server_stays() {
    let sshd = vm().await;
    let mut settings = settings(&sshd);
    let server = Server::start(&settings).await;
    let slug = server.idea("Trouble").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "die"})).await;
    let error = socket.until("claude:error").await.pop().unwrap();
    assert!(error["error"].as_str().unwrap().contains("wrong"), "{error}");
    let result = socket.next().await.unwrap();
    assert_eq!((&result["type"], &result["error"]), (&json!("claude:result"), &error["error"]));
    assert_eq!((&result["result"], result.get("interrupted")), (&error["error"], None), "{result}");

    settings.claude_command = "no-such-claude".to_owned();
    let server = Server::start(&settings).await;
    let slug = server.idea("Missing").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "hi"})).await;
    let error = socket.until("claude:error").await.pop().unwrap();
    assert!(error["error"].as_str().unwrap().contains("CLAUDE_COMMAND"), "{error}");
    assert!(socket.next_is_open().await);
}

#[tokio::test]
async fn deleting_an_idea_ends_its_run() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Delete me").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "ticks 1000 0.1"})).await;
    socket.until("claude:text").await;
    let path = format!("/api/ideas/{slug}");
    assert_eq!(server.json(reqwest::Method::DELETE, &path, None).await.0, 200);
    assert_eq!(server.get(&path).await.0, 404);
    let trash = std::fs::read_dir(sshd.home().join("catalyst/ideas/.trash")).unwrap().next().unwrap().unwrap().path();
    let log = std::fs::read_to_string(trash.join("runs/1/log.jsonl")).unwrap();
    assert!(log.contains("catalyst_exit"), "{log}");
}

#[tokio::test]
async fn a_message_is_delivered_though_its_sender_closes_the_page_at_once() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Sent and gone").await;
    let mut socket = server.socket().await;
    // Nothing is answered by the VM before the socket has gone.
    sshd.freeze();
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "still here"})).await;
    drop(socket);
    let gone = async {
        while !server.app.sockets.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the socket does not end");
    sshd.thaw();
    let mut other = server.socket().await;
    subscribe(&mut other, json!({"type": "subscribe", "ideaId": slug})).await;
    assert_eq!(text(&other.until("claude:result").await), "you said: still here");
}

#[tokio::test]
async fn a_client_that_remembers_more_than_there_is_starts_afresh() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Restored").await;
    let mut socket = server.socket().await;
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "one"})).await;
    let turn = socket.until("claude:result").await;
    for (run, seq) in [(7, "120.0"), (1, "999999999.0")] {
        // Another server: this one still holds the run in its memory.
        let other = Server::start(&settings(&sshd)).await;
        let mut socket = other.socket().await;
        let start =
            subscribe(&mut socket, json!({"type": "subscribe", "ideaId": slug, "run": run, "after": seq})).await;
        assert_eq!((&start["run"], &start["after"]), (&json!(1), &Value::Null), "{start}");
        assert_eq!(text(&socket.until("claude:result").await), text(&turn));
    }
}

#[tokio::test]
async fn a_line_too_long_for_an_event_is_named_by_its_place_and_fetched_from_there() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Long lines").await;
    let line = format!(
        "{{\"type\":\"user\",\"message\":{{\"role\":\"user\",\"content\":\"{}\"}}}}\n",
        "l\u{e4}ng".repeat(500_000)
    );
    let end = "{\"type\":\"result\",\"subtype\":\"success\",\"result\":\"done\"}\n{\"type\":\"catalyst_exit\",\"code\":0,\"reason\":\"ended\",\"stderr\":\"\"}\n";
    let runs = sshd.home().join(format!("catalyst/ideas/{slug}/runs/1"));
    std::fs::create_dir_all(&runs).unwrap();
    let log = format!("{{\"type\":\"catalyst_start\",\"mode\":\"chat\"}}\n{line}{end}");
    std::fs::write(runs.join("log.jsonl"), &log).unwrap();

    let mut socket = server.socket().await;
    subscribe(&mut socket, json!({"type": "subscribe", "ideaId": slug, "run": 1})).await;
    let frames = socket.until("run:exit").await;
    let large = frames.iter().find(|frame| frame["type"] == "claude:large").unwrap();
    assert_eq!((&large["kind"], large["length"].as_u64()), (&json!("user"), Some(line.len() as u64)));
    let head = large["head"].as_str().unwrap();
    assert!((1020..=1024).contains(&head.len()) && line.starts_with(head), "{head}");
    let place = format!("start={}&length={}", large["start"], large["length"]);
    let path = format!("/api/ideas/{slug}/runs/1/log");
    let get = async |asked: &str| server.call(reqwest::Method::GET, &format!("{path}{asked}")).send().await.unwrap();
    let piece = get(&format!("?{place}")).await;
    assert_eq!(piece.status(), 200);
    assert_eq!(piece.headers()["x-content-type-options"], "nosniff");
    assert!(piece.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert!(piece.text().await.unwrap() == line, "it is not the line");
    assert!(get("").await.text().await.unwrap() == log, "it is not the log");
    assert_eq!(get("?start=99999999").await.text().await.unwrap(), "");
    assert_eq!(get("?start=-1").await.status(), 400);
    for missing in ["2", "0", "x"] {
        let (status, body) = server.get(&format!("/api/ideas/{slug}/runs/{missing}/log")).await;
        assert_eq!((status, body["ok"].as_bool()), (404, Some(false)), "{missing}: {body}");
    }
    let out = reqwest::get(format!("http://{}{path}", server.address)).await.unwrap();
    assert_eq!(out.status(), 401);
}
