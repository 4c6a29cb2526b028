use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::serving::{Server, settings, vm};

async fn delete(server: &Server, slug: &str) -> String {
    let (status, answer) = server.json(Method::DELETE, &format!("/api/ideas/{slug}"), None).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["trash"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_deleted_is_listed_and_comes_back_as_it_was() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    assert_eq!(server.get("/api/trash").await, (200, json!({"ok": true, "data": []})));
    let slug = server.idea("Tea timer").await;
    let (_, before) = server.get(&format!("/api/ideas/{slug}")).await;
    let name = delete(&server, &slug).await;
    let (_, trash) = server.get("/api/trash").await;
    let [trashed] = trash["data"].as_array().unwrap().as_slice() else { panic!("{trash}") };
    assert_eq!((&trashed["name"], &trashed["slug"]), (&json!(name), &json!("tea-timer")));
    assert_eq!((&trashed["title"], &trashed["id"]), (&json!("Tea timer"), &before["data"]["id"]));
    assert!(trashed["deletedAt"].as_str().unwrap().ends_with('Z'), "{trashed}");

    let (status, back) = server.json(Method::POST, &format!("/api/trash/{name}/restore"), None).await;
    assert_eq!((status, &back["data"]["slug"]), (200, &json!("tea-timer")), "{back}");
    assert_eq!(server.get(&format!("/api/ideas/{slug}")).await.1, before);
    assert_eq!(server.get("/api/trash").await.1["data"], json!([]));
    let (status, _) = server.json(Method::POST, &format!("/api/trash/{name}/restore"), None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_comes_back_to_a_taken_name_gets_another_and_overwrites_nothing() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let name = delete(&server, &server.idea("Same").await).await;
    server.idea("Same").await;
    let (status, back) = server.json(Method::POST, &format!("/api/trash/{name}/restore"), None).await;
    assert_eq!((status, &back["data"]["slug"]), (200, &json!("same-2")), "{back}");
    assert_eq!(server.get("/api/ideas").await.1["data"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_is_removed_for_good_leaves_nothing_of_its_runs_unless_another_idea_claims_them() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let state = sshd.home().join(".local/state/catalyst");
    for (title, is_copied) in [("Private", false), ("Copied", true)] {
        let slug = server.idea(title).await;
        let id = server.get(&format!("/api/ideas/{slug}")).await.1["data"]["id"].as_str().unwrap().to_owned();
        let mut socket = server.socket().await;
        socket.send(json!({"type": "chat", "ideaId": id, "message": "a secret"})).await;
        while socket.next().await.unwrap()["type"] != "claude:result" {}
        assert!(state.join(&id).join("runs/1").exists());
        let name = delete(&server, &slug).await;
        if is_copied {
            let copy = sshd.home().join("catalyst/ideas/the-copy");
            fs::create_dir_all(&copy).unwrap();
            let from = sshd.home().join("catalyst/ideas/.trash").join(&name);
            for file in ["meta.json", "idea.md"] {
                fs::copy(from.join(file), copy.join(file)).unwrap();
            }
        }
        let path = format!("/api/trash/{name}");
        assert_eq!(server.json(Method::DELETE, &path, None).await, (200, json!({"ok": true})));
        assert_eq!(state.join(&id).exists(), is_copied, "{title}");
    }
    assert!(state.join("index").exists());
}

#[tokio::test]
async fn only_what_is_in_the_trash_can_be_removed_for_good() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    server.idea("Kept").await;
    let name = delete(&server, &server.idea("Rubbish").await).await;
    let trash = sshd.home().join("catalyst/ideas/.trash");
    fs::write(trash.join(&name).join("meta.json"), "{").unwrap();
    let outside = sshd.home().join("outside");
    fs::create_dir_all(outside.join("project")).unwrap();
    std::os::unix::fs::symlink(&outside, trash.join("link.20260102T030405.a")).unwrap();
    let problem = |list: &Value| list["data"][0]["problem"].is_string() && list["data"].as_array().unwrap().len() == 1;
    let (_, list) = server.get("/api/trash").await;
    assert!(problem(&list), "{list}");
    for bad in
        ["..", "kept", "..%2fkept", "..%2f..%2foutside", "link.20260102T030405.a", "%2fetc.20260102T030405.a", "%ff"]
    {
        for (method, path) in [(Method::DELETE, ""), (Method::POST, "/restore")] {
            let status = server.json(method, &format!("/api/trash/{bad}{path}"), None).await.0;
            assert!(matches!(status, 404 | 405), "{bad} {status}");
        }
    }
    assert!(outside.join("project").exists());
    assert_eq!(server.json(Method::DELETE, &format!("/api/trash/{name}"), None).await, (200, json!({"ok": true})));
    assert!(!trash.join(&name).exists());
    assert_eq!(server.get("/api/ideas").await.1["data"][0]["slug"], "kept");
}
