use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::serving::{Server, read, settings, vm};

/// Status, ETag and body of an edit.
async fn edit(server: &Server, slug: &str, tag: Option<&str>, body: &Value) -> (u16, String, Value) {
    let mut call = server.call(Method::PATCH, &format!("/api/ideas/{slug}")).body(body.to_string());
    if let Some(tag) = tag {
        call = call.header("if-match", tag);
    }
    let response = call.send().await.unwrap();
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
    let (status, body) = read(response).await;
    (status, tag, body)
}

async fn tag_of(server: &Server, slug: &str) -> String {
    let response = server.call(Method::GET, &format!("/api/ideas/{slug}")).send().await.unwrap();
    response.headers()["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_edits_what_another_has_changed_is_told_what_it_is_now_and_overwrites_nothing() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let (one, two) = (Server::start(&settings).await, Server::start(&settings).await);
    let slug = one.idea("Shared").await;
    let tag = tag_of(&one, &slug).await;
    assert_eq!(tag, tag_of(&two, &slug).await);

    let (status, newer, body) = edit(&one, &slug, Some(&tag), &json!({"content": "First.\n"})).await;
    assert_eq!((status, &body["data"]["content"]), (200, &json!("First.")), "{body}");
    assert!(newer != tag && newer == tag_of(&two, &slug).await, "{newer}");

    let (status, shown, body) = edit(&two, &slug, Some(&tag), &json!({"content": "Second."})).await;
    assert_eq!((status, &body["ok"], &body["data"]["content"]), (412, &json!(false), &json!("First.")), "{body}");
    assert_eq!(shown, newer);
    let (status, ..) = edit(&two, &slug, Some(&shown), &json!({"title": "Ours", "content": "Both."})).await;
    assert_eq!(status, 200);
    let folder = sshd.home().join("catalyst/ideas").join(&slug);
    assert_eq!(fs::read_to_string(folder.join("idea.md")).unwrap(), "Both.");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["idea.md", "meta.json", "project"]);
}

#[tokio::test]
async fn a_tag_that_was_made_weak_on_its_way_or_stands_in_a_list_still_counts() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Behind nginx").await;
    for (before, after) in [("W/", ""), ("\"other\", W/", ""), ("", " , \"other\"")] {
        let tag = format!("{before}{}{after}", tag_of(&server, &slug).await);
        let (status, ..) = edit(&server, &slug, Some(&tag), &json!({"content": tag})).await;
        assert_eq!(status, 200, "{tag}");
        let (status, ..) = edit(&server, &slug, Some(&tag), &json!({"content": "Too late."})).await;
        assert_eq!(status, 412, "{tag}");
    }
}

#[tokio::test]
async fn what_runs_set_is_no_conflict_for_a_person_who_edits() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Busy").await;
    let tag = tag_of(&server, &slug).await;
    edit(&server, &slug, None, &json!({"status": "chatting", "sessionId": "s-1"})).await;
    let (status, _, body) = edit(&server, &slug, Some(&tag), &json!({"title": "Still mine"})).await;
    assert_eq!((status, &body["data"]["status"], &body["data"]["sessionId"]), (200, &json!("chatting"), &json!("s-1")));
}

#[tokio::test]
async fn of_many_who_edit_at_once_on_two_replicas_one_wins_and_no_change_of_another_kind_is_lost() {
    let sshd = vm().await;
    let settings = settings(&sshd);
    let replicas = [Server::start(&settings).await, Server::start(&settings).await];
    let slug = replicas[0].idea("Race").await;
    let tag = tag_of(&replicas[0], &slug).await;
    let (slug, tag) = (slug.as_str(), tag.as_str());
    let edits = (0..6).map(async |n: usize| {
        let body = json!({"content": format!("Text {n}")});
        (n, edit(&replicas[n % 2], slug, Some(tag), &body).await.0)
    });
    // Meanwhile a run writes its own members, without a tag.
    let building = json!({"status": "building"});
    let status = edit(&replicas[1], slug, None, &building);
    let (all, (status, ..)) = futures::join!(futures::future::join_all(edits), status);
    assert_eq!(status, 200);
    let won: Vec<usize> = all.iter().filter(|(_, status)| *status == 200).map(|(n, _)| *n).collect();
    let lost = all.iter().filter(|(_, status)| *status == 412).count();
    assert_eq!((won.len(), lost), (1, 5), "{all:?}");
    let (_, now) = replicas[0].get(&format!("/api/ideas/{slug}")).await;
    assert_eq!(
        (&now["data"]["content"], &now["data"]["status"]),
        (&json!(format!("Text {}", won[0])), &json!("building"))
    );
}

#[tokio::test]
async fn a_writer_that_died_holds_up_the_next_one_for_a_while_only() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Held").await;
    let held = sshd.home().join("catalyst/ideas").join(&slug).join(".edit");
    fs::create_dir(&held).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(300);
    fs::File::open(&held).unwrap().set_modified(long_ago).unwrap();
    let (status, _, body) = edit(&server, &slug, None, &json!({"title": "Free again"})).await;
    assert_eq!((status, &body["data"]["title"]), (200, &json!("Free again")), "{body}");
}
