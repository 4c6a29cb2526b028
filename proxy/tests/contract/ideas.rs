use std::fs;

use catalyst_ssh::testing::TestSshd;
use futures::FutureExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::serving::{Server, read, settings, vm};

fn base(sshd: &TestSshd) -> std::path::PathBuf {
    sshd.home().join("catalyst/ideas")
}

fn plant(sshd: &TestSshd, slug: &str, meta: &str) {
    fs::create_dir_all(base(sshd).join(slug)).unwrap();
    fs::write(base(sshd).join(slug).join("meta.json"), meta).unwrap();
}

#[tokio::test]
async fn an_idea_is_created_read_changed_listed_and_deleted_in_the_shapes_of_the_existing_server() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    assert_eq!(server.get("/api/ideas").await, (200, json!({"ok": true, "data": []})));

    let new = json!({"title": "My first idea!", "content": "  Line one\n\nLine two ☃\n\n"});
    let (status, created) = server.json(Method::POST, "/api/ideas", Some(new)).await;
    assert_eq!(status, 201);
    let idea = &created["data"];
    let id = idea["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(idea["slug"], "my-first-idea");
    assert_eq!(idea["status"], "captured");
    assert_eq!(idea["content"], "Line one\n\nLine two ☃");
    assert_eq!(idea["createdAt"], idea["updatedAt"]);
    assert!(idea.get("sessionId").is_none());

    for name in [id, "my-first-idea"] {
        let (status, read) = server.get(&format!("/api/ideas/{name}")).await;
        assert_eq!((status, &read["data"]), (200, idea));
    }
    let change = json!({"title": "Renamed", "status": "chatting", "sessionId": "abc-1"});
    let (status, changed) = server.json(Method::PATCH, "/api/ideas/my-first-idea", Some(change)).await;
    assert_eq!(status, 200);
    let changed = &changed["data"];
    assert_eq!((&changed["title"], &changed["status"]), (&json!("Renamed"), &json!("chatting")));
    assert_eq!((&changed["slug"], &changed["sessionId"]), (&json!("my-first-idea"), &json!("abc-1")));
    assert!(changed["updatedAt"].as_str() > idea["updatedAt"].as_str());

    let (_, list) = server.get("/api/ideas").await;
    assert_eq!(list["data"], json!([changed]));
    assert!(list["data"][0].get("content").is_none());

    let (status, deleted) = server.json(Method::DELETE, &format!("/api/ideas/{id}"), None).await;
    assert_eq!((status, &deleted["ok"]), (200, &json!(true)));
    let gone = (404, json!({"ok": false, "error": "Idea not found"}));
    assert_eq!(server.get("/api/ideas/my-first-idea").await, gone);
    assert_eq!(server.json(Method::DELETE, "/api/ideas/my-first-idea", None).await, gone);
    let trashed = base(&sshd).join(".trash").join(deleted["data"]["trash"].as_str().unwrap());
    assert_eq!(fs::read_to_string(trashed.join("idea.md")).unwrap(), "Line one\n\nLine two ☃");
}

#[tokio::test]
async fn on_the_vm_an_idea_is_the_folder_that_the_existing_server_makes() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.idea("Tea timer").await;
    let folder = base(&sshd).join("tea-timer");
    let meta = fs::read_to_string(folder.join("meta.json")).unwrap();
    assert_eq!(meta.lines().count(), 1);
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(meta["title"], "Tea timer");
    assert!(meta.get("content").is_none());
    assert!(folder.join("project").is_dir());
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["idea.md", "meta.json", "project"]);
}

#[tokio::test]
async fn folders_of_the_existing_server_open_unchanged() {
    let sshd = vm().await;
    let meta = r#"{"id":"0b4bb9ce-5d0a-4a53-8a25-9a2d5e8a2c11","slug":"old","title":"Old","status":"done","createdAt":"2024-01-02T03:04:05.678Z","updatedAt":"2024-01-02T03:04:05.678Z","stars":3}"#;
    plant(&sshd, "old", meta);
    fs::write(base(&sshd).join("old/idea.md"), "Content\n").unwrap();
    let server = Server::start(&settings(&sshd)).await;
    let (status, read) = server.get("/api/ideas/0b4bb9ce-5d0a-4a53-8a25-9a2d5e8a2c11").await;
    assert_eq!(status, 200);
    assert_eq!((&read["data"]["content"], &read["data"]["status"]), (&json!("Content"), &json!("done")));
    assert_eq!(fs::read_to_string(base(&sshd).join("old/meta.json")).unwrap(), meta);
    server.json(Method::PATCH, "/api/ideas/old", Some(json!({"title": "New"}))).await;
    let kept: Value = serde_json::from_slice(&fs::read(base(&sshd).join("old/meta.json")).unwrap()).unwrap();
    assert_eq!((&kept["stars"], &kept["title"]), (&json!(3), &json!("New")));
}

#[tokio::test]
async fn the_list_is_newest_change_first_and_a_writer_sees_its_own_write_on_every_replica() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let server = Server::start(&settings).await;
    let other = Server::start(&settings).await;
    for title in ["One", "Two", "Three"] {
        server.idea(title).await;
    }
    for n in 0..10 {
        let title = format!("One {n}");
        server.json(Method::PATCH, "/api/ideas/one", Some(json!({"title": title}))).await;
        let (_, list) = other.get("/api/ideas").await;
        let titles: Vec<&str> = list["data"].as_array().unwrap().iter().map(|i| i["title"].as_str().unwrap()).collect();
        assert_eq!(titles, [&title, "Three", "Two"]);
    }
}

#[tokio::test]
async fn the_same_title_at_once_gives_every_idea_its_own_folder() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let titles = ["Same", "same!", "日本語", "💥", "SAME"];
    let slugs = futures::future::join_all(titles.map(|title| server.idea(title))).await;
    let distinct: std::collections::BTreeSet<&String> = slugs.iter().collect();
    assert_eq!(distinct.len(), titles.len(), "{slugs:?}");
    let (_, list) = server.get("/api/ideas").await;
    assert_eq!(list["data"].as_array().unwrap().len(), titles.len());
}

#[tokio::test]
async fn no_id_leads_out_of_the_folder() {
    let sshd = vm().await;
    fs::create_dir_all(sshd.home().join("x/project")).unwrap();
    fs::write(
        sshd.home().join("x/meta.json"),
        r#"{"id":"x","title":"t","status":"done","createdAt":"","updatedAt":""}"#,
    )
    .unwrap();
    plant(&sshd, "inside", r#"{"id":"i","title":"t","status":"done","createdAt":"","updatedAt":""}"#);
    std::os::unix::fs::symlink(sshd.home().join("x"), base(&sshd).join("link")).unwrap();
    let server = Server::start(&settings(&sshd)).await;
    let gone = (404, json!({"ok": false, "error": "Idea not found"}));
    for id in [
        "..%2f..%2fx",
        "%2e%2e%2f%2e%2e%2fx",
        "..%5cx",
        "inside%00",
        "inside%0a",
        "inside%2f",
        "%2fetc",
        ".trash",
        "inside%2f..%2finside",
        "%24(id)",
        "link",
        "%ff",
    ] {
        for method in [Method::GET, Method::DELETE, Method::PATCH] {
            let answer = server.json(method.clone(), &format!("/api/ideas/{id}"), Some(json!({"title": "n"}))).await;
            assert_eq!(answer, gone, "{method} {id}");
        }
    }
    assert!(sshd.home().join("x/meta.json").exists());
    assert_eq!(server.get("/api/ideas").await.1["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_meta_is_left_alone_and_named() {
    let sshd = vm().await;
    plant(&sshd, "broken", "{\"id\":");
    plant(&sshd, "good", r#"{"id":"g","title":"Good","status":"done","createdAt":"","updatedAt":""}"#);
    fs::create_dir_all(base(&sshd).join("empty")).unwrap();
    let server = Server::start(&settings(&sshd)).await;
    let (status, list) = server.get("/api/ideas").await;
    assert_eq!((status, list["data"].as_array().unwrap().len()), (200, 1));
    assert_eq!(list["damaged"][0]["slug"], "broken");
    assert!(list["damaged"][0]["problem"].as_str().unwrap().contains("EOF"), "{list}");
    let (status, body) = server.get("/api/ideas/broken").await;
    let error = body["error"].as_str().unwrap();
    assert!(status == 500 && error.contains("broken/meta.json") && error.contains("damaged"), "{status} {error}");
    assert_eq!(server.get("/api/ideas/empty").await.0, 404);
    assert_eq!(fs::read_to_string(base(&sshd).join("broken/meta.json")).unwrap(), "{\"id\":");
}

#[tokio::test]
async fn bad_requests_are_refused_in_the_envelope() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.idea("There").await;
    let required = json!("Title and content required");
    for body in [
        json!({}),
        json!({"title": "t"}),
        json!({"title": " ", "content": "c"}),
        json!([]),
        json!({"title": 1, "content": 2}),
    ] {
        let (status, answer) = server.json(Method::POST, "/api/ideas", Some(body)).await;
        assert_eq!((status, &answer["error"]), (400, &required));
    }
    for body in [
        json!({"status": "flying"}),
        json!({"title": ""}),
        json!({"sessionId": "a b"}),
        json!({"title": "x".repeat(501)}),
    ] {
        let (status, answer) = server.json(Method::PATCH, "/api/ideas/there", Some(body)).await;
        assert_eq!((status, &answer["ok"]), (400, &json!(false)), "{answer}");
    }
    for nothing in [json!({}), json!([]), json!({"slug": "other"}), json!(null)] {
        let (status, answer) = server.json(Method::PATCH, "/api/ideas/there", Some(nothing)).await;
        assert_eq!(
            (status, &answer["error"]),
            (400, &json!("Nothing to change: send title, content, status or sessionId"))
        );
    }
    for body in [json!({"title": "a\u{0}b", "content": "c"}), json!({"title": "a\u{1b}[2J", "content": "c"})] {
        let (status, answer) = server.json(Method::POST, "/api/ideas", Some(body)).await;
        assert!(status == 400 && answer["error"].as_str().unwrap().contains("control character"), "{answer}");
    }
    let (_, answer) = server.json(Method::PATCH, "/api/ideas/there", Some(json!({"title": "Two\nlines"}))).await;
    assert_eq!(answer["data"]["title"], "Two lines");
    let post = |body: String| server.call(Method::POST, "/api/ideas").body(body);
    let (status, answer) = read(post("{\"title\":".into()).send().await.unwrap()).await;
    assert!(status == 400 && answer["error"].as_str().unwrap().starts_with("Malformed JSON"), "{answer}");
    let (status, answer) = read(post(format!("{:?}", "x".repeat(3 << 20))).send().await.unwrap()).await;
    assert_eq!((status, &answer["ok"]), (413, &json!(false)));
    let (status, _) = server.json(Method::PUT, "/api/ideas", None).await;
    assert_eq!(status, 405);
    assert_eq!(server.get("/api/nothing").await, (404, json!({"ok": false, "error": "Not found"})));
    assert_eq!(server.get("/api").await.0, 404);
}

#[tokio::test]
async fn what_is_listed_can_be_opened_however_long_its_name() {
    let sshd = vm().await;
    let long = "a-long-name-".repeat(21) + "abc";
    assert_eq!(long.len(), 255);
    plant(&sshd, &long, r#"{"id":"l","title":"Long","status":"done","createdAt":"","updatedAt":""}"#);
    let server = Server::start(&settings(&sshd)).await;
    assert_eq!(server.get("/api/ideas").await.1["data"][0]["slug"], json!(long));
    for name in [&long, "l"] {
        let (status, read) = server.get(&format!("/api/ideas/{name}")).await;
        assert_eq!((status, &read["data"]["title"]), (200, &json!("Long")), "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_named_and_hides_no_other() {
    let sshd = vm().await;
    plant(&sshd, "good", r#"{"id":"g","title":"Good","status":"done","createdAt":"","updatedAt":""}"#);
    fs::create_dir_all(base(&sshd).join("odd/meta.json")).unwrap();
    let server = Server::start(&settings(&sshd)).await;
    let (status, list) = server.get("/api/ideas").await;
    assert_eq!((status, list["data"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
    assert_eq!(list["damaged"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["damaged"][0]["slug"], "odd");
}

#[tokio::test]
async fn hundreds_who_open_ideas_at_once_are_served_as_are_those_who_come_after_hundreds_who_went_away() {
    let sshd = vm().await;
    plant(&sshd, "there", r#"{"id":"t","title":"There","status":"done","createdAt":"","updatedAt":""}"#);
    let server = Server::start(&settings(&sshd)).await;
    let ideas = &server.app.ideas;
    let all = futures::future::join_all((0..400).map(|_| ideas.get("there"))).await;
    assert!(all.iter().all(Result::is_ok), "{:?}", all.iter().find(|idea| idea.is_err()));
    for _ in 0..400 {
        assert!(ideas.get("there").now_or_never().is_none(), "it was answered at once, so that this shows nothing");
        // What was asked for is on its way.
        tokio::task::yield_now().await;
    }
    assert_eq!(ideas.get("there").await.unwrap().title, "There");
}
