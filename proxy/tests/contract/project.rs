use std::fs;
use std::path::PathBuf;
use std::process::Command;

use catalyst_ssh::testing::TestSshd;
use reqwest::Method;
use serde_json::{Value, json};

use crate::serving::{Server, settings, vm};

async fn stage() -> (TestSshd, Server, PathBuf) {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Timer").await;
    let project = sshd.home().join("catalyst/ideas").join(slug).join("project");
    (sshd, server, project)
}

fn names(folder: &Value) -> Vec<String> {
    let entries = folder["data"]["entries"].as_array().unwrap();
    entries.iter().map(|e| format!("{} {}", e["kind"].as_str().unwrap(), e["name"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn folders_of_the_project_are_listed_and_links_are_shown_but_not_followed() {
    let (sshd, server, project) = stage().await;
    assert_eq!(server.get("/api/ideas/timer/project").await.1["data"]["entries"], json!([]));
    fs::create_dir_all(project.join("src/ü ø")).unwrap();
    fs::write(project.join("README.md"), "12345").unwrap();
    fs::create_dir(sshd.home().join("secret")).unwrap();
    fs::write(sshd.home().join("secret/key"), "k").unwrap();
    std::os::unix::fs::symlink(sshd.home().join("secret"), project.join("away")).unwrap();
    let (status, folder) = server.get("/api/ideas/timer/project").await;
    assert_eq!((status, names(&folder)), (200, vec!["folder src".into(), "file README.md".into(), "link away".into()]));
    assert_eq!(folder["data"]["entries"][1]["size"], 5);
    let (_, folder) = server.get("/api/ideas/timer/project?path=src").await;
    assert_eq!((names(&folder), &folder["data"]["path"]), (vec!["folder ü ø".to_owned()], &json!("src")));
    for (path, expected) in [
        ("away", 404),
        ("away%2fkey", 404),
        ("none", 404),
        ("README.md", 404),
        ("..", 400),
        ("src%2f..%2f..", 400),
        ("%2fetc", 400),
        ("src%00", 400),
        ("a&path=b", 400),
    ] {
        let (status, answer) = server.get(&format!("/api/ideas/timer/project?path={path}")).await;
        assert_eq!(status, expected, "{path} {answer}");
    }
    for path in ["away", "away%2fkey", "src", "none"] {
        assert_eq!(server.get(&format!("/api/ideas/timer/project/file?path={path}")).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_file_comes_whole_or_in_part_and_is_never_shown_as_a_page_of_ours() {
    let (_sshd, server, project) = stage().await;
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    fs::write(project.join("it's big ☃.html"), &bytes).unwrap();
    fs::write(project.join("-n"), "dash").unwrap();
    fs::write(project.join("empty"), "").unwrap();
    let path = "/api/ideas/timer/project/file?path=it's%20big%20%E2%98%83.html";
    let response = server.call(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    assert_eq!(headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(
        (&headers["x-content-type-options"], &headers["content-type"]),
        (&"nosniff".parse().unwrap(), &"application/octet-stream".parse().unwrap())
    );
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("attachment;") && disposition.ends_with("it%27s%20big%20%E2%98%83.html"),
        "{disposition}"
    );
    assert!(response.bytes().await.unwrap() == bytes, "the bytes differ");
    let part = server.call(Method::GET, path).header("range", "bytes=2097000-4194400").send().await.unwrap();
    assert_eq!(
        (part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()),
        (206, "bytes 2097000-4194400/5000000")
    );
    assert!(part.bytes().await.unwrap() == bytes[2_097_000..=4_194_400], "the bytes differ");
    let beyond = server.call(Method::GET, path).header("range", "bytes=5000000-").send().await.unwrap();
    assert_eq!(
        (beyond.status().as_u16(), beyond.headers()["content-range"].to_str().unwrap()),
        (416, "bytes */5000000")
    );
    for (name, text) in [("-n", "dash"), ("empty", "")] {
        let response =
            server.call(Method::GET, &format!("/api/ideas/timer/project/file?path={name}")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, text), "{name}");
    }
}

#[tokio::test]
async fn what_differs_from_the_last_commit_is_told_without_running_what_the_repository_names() {
    let (sshd, server, project) = stage().await;
    assert_eq!(server.get("/api/ideas/timer/changes").await.1["data"]["git"], false);
    let git = |args: &[&str]| {
        let home = sshd.home();
        let mut git = Command::new("git");
        git.current_dir(&project).env("HOME", home).env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z").args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
        ]);
        assert!(git.args(args).output().unwrap().status.success(), "{args:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    fs::write(project.join("new.txt"), "new\n").unwrap();
    let (_, first) = server.get("/api/ideas/timer/changes").await;
    assert_eq!(first["data"]["files"], json!([{"path": "new.txt", "change": "untracked"}]), "{first}");
    fs::write(project.join("kept.txt"), "one\n").unwrap();
    fs::write(project.join("gone.txt"), "gone\n").unwrap();
    git(&["add", "kept.txt", "gone.txt"]);
    git(&["commit", "-q", "-m", "first"]);
    fs::write(project.join("kept.txt"), "two\n").unwrap();
    fs::remove_file(project.join("gone.txt")).unwrap();
    let trap = sshd.home().join("trap");
    fs::write(&trap, format!("#!/bin/sh\ntouch {}\n", sshd.home().join("sprung").display())).unwrap();
    fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for key in ["core.fsmonitor", "diff.external", "core.pager"] {
        git(&["config", key, trap.to_str().unwrap()]);
    }
    let (status, changes) = server.get("/api/ideas/timer/changes").await;
    let data = &changes["data"];
    assert_eq!((status, &data["git"], &data["branch"]), (200, &json!(true), &json!("main")), "{changes}");
    let mut told: Vec<String> =
        data["files"].as_array().unwrap().iter().map(|f| format!("{} {}", f["change"], f["path"])).collect();
    told.sort();
    assert_eq!(told, [r#""deleted" "gone.txt""#, r#""modified" "kept.txt""#, r#""untracked" "new.txt""#]);
    let diff = data["diff"].as_str().unwrap();
    assert!(diff.contains("-one\n+two\n") && diff.contains("-gone\n"), "{diff}");
    assert!(!sshd.home().join("sprung").exists(), "git ran what the repository names");

    // A run that began after the first commit and made the second: both its commit and what it left are its changes.
    for key in ["core.fsmonitor", "diff.external", "core.pager"] {
        git(&["config", "--unset", key]);
    }
    let mut second = Command::new("git");
    second.current_dir(&project).env("HOME", sshd.home()).env("GIT_COMMITTER_DATE", "2026-01-02T05:00:00Z");
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
    assert!(second.args(identity).args(["commit", "-q", "-a", "-m", "second"]).output().unwrap().status.success());
    let paths = async |query: &str| {
        let (_, changes) = server.get(&format!("/api/ideas/timer/changes{query}")).await;
        let files = changes["data"]["files"].as_array().unwrap().clone();
        files.iter().map(|f| f["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths("").await, ["new.txt"]);
    assert_eq!(paths("?since=2026-01-02T04:00:00Z").await, ["gone.txt", "kept.txt", "new.txt"]);
    assert_eq!(paths("?since=2026-01-02T06:00:00.123Z").await, ["new.txt"]);
    assert_eq!(paths("?since=2026-01-01T00:00:00Z").await, ["kept.txt", "new.txt"], "all is new");
    assert_eq!(server.get("/api/ideas/timer/changes?since=yesterday").await.0, 400);
}
