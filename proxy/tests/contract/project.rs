use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use catalyst_proxy::remote::Remote;
use catalyst_proxy::remote::ideas::{Ideas, IdeasError, ProjectPath};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{Pool, PoolLimits, Reason};
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
async fn of_a_folder_with_very_many_entries_no_more_is_read_than_is_shown() {
    let notes = tempfile::tempdir().unwrap();
    let asked = notes.path().join("asked");
    // The server for files notes every request.
    let subsystem = format!("Subsystem sftp exec /usr/lib/openssh/sftp-server -e -l DEBUG 2>>{}", asked.display());
    let options = TestSshdOptions { sftp: false, config: vec![subsystem], ..TestSshdOptions::default() };
    let sshd = TestSshd::start(options).await;
    let server = Server::start(&settings(&sshd)).await;
    let project = sshd.home().join("catalyst/ideas").join(server.idea("Timer").await).join("project");
    let many = project.join("many");
    fs::create_dir_all(many.join("a folder")).unwrap();
    let make =
        |numbers: std::ops::Range<u32>| numbers.for_each(|n| fs::write(many.join(format!("{n:06}")), "").unwrap());
    let list = async || {
        let before = fs::read_to_string(&asked).unwrap().matches(" readdir ").count();
        let (status, folder) = server.get("/api/ideas/timer/project?path=many").await;
        assert_eq!(status, 200, "{folder}");
        let reads = fs::read_to_string(&asked).unwrap().matches(" readdir ").count() - before;
        (names(&folder), folder["data"]["truncated"].as_bool().unwrap(), reads)
    };
    make(1..2000);
    let (whole, truncated, _) = list().await;
    let expected: Vec<String> = (1..2000).map(|n| format!("file {n:06}")).collect();
    assert!(!truncated && whole[0] == "folder a folder" && whole[1..] == expected, "{} entries", whole.len());
    make(2000..20_000);
    let (cut, truncated, reads) = list().await;
    assert!(truncated && cut.len() == 2000 && (21..=22).contains(&reads), "{} entries in {reads} reads", cut.len());
    assert!(cut.is_sorted_by_key(|name| !name.starts_with("folder")), "folders come first");
    assert!(cut.iter().filter(|name| name.starts_with("file")).is_sorted(), "then by name");
    // It is closed again, so that a server that may have few open is not used up.
    let said = fs::read_to_string(&asked).unwrap();
    assert_eq!(said.matches("opendir").count(), said.matches("closedir").count(), "{said}");
}

#[tokio::test]
async fn a_folder_for_which_there_is_no_channel_is_told_with_the_reason_and_the_ideas_keep_theirs() {
    let sshd = vm().await;
    let wait = Duration::from_secs(1);
    let limits =
        PoolLimits { channels_per_connection: 1, bulk_connections: 1, bulk_channels: 1, wait, ..PoolLimits::default() };
    let ideas = Ideas::new(Remote::new(Pool::new(sshd.source(), limits), "~/catalyst/ideas"));
    let idea = ideas.create("Looked into", "With the one channel that there is").await.unwrap();
    let started = || sshd.log().matches("Starting session").count();
    let before = started();
    let failed = ideas.project_folder(&idea, &ProjectPath::accept("").unwrap()).await.unwrap_err();
    assert!(matches!(&failed, IdeasError::Ssh(failure) if failure.reason == Reason::TimedOut), "{failed}");
    ideas.get(&idea.id).await.unwrap();
    assert_eq!(started(), before, "{}", sshd.log());
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
async fn what_differs_from_the_last_commit_or_from_that_of_a_time_is_told() {
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
    let (status, changes) = server.get("/api/ideas/timer/changes").await;
    let data = &changes["data"];
    assert_eq!((status, &data["git"], &data["branch"]), (200, &json!(true), &json!("main")), "{changes}");
    let mut told: Vec<String> =
        data["files"].as_array().unwrap().iter().map(|f| format!("{} {}", f["change"], f["path"])).collect();
    told.sort();
    assert_eq!(told, [r#""deleted" "gone.txt""#, r#""modified" "kept.txt""#, r#""untracked" "new.txt""#]);
    let diff = data["diff"].as_str().unwrap();
    assert!(diff.contains("-one\n+two\n") && diff.contains("-gone\n"), "{diff}");

    // A run that began after the first commit and made the second: both its commit and what it left are its changes.
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
    // What a third commit brought later is not of that run, and what lies uncommitted is of nobody's.
    fs::write(project.join("later.txt"), "later\n").unwrap();
    for args in [&["add", "later.txt"] as &[&str], &["commit", "-q", "-m", "third"]] {
        let mut third = Command::new("git");
        third.current_dir(&project).env("HOME", sshd.home()).env("GIT_COMMITTER_DATE", "2026-01-02T07:00:00Z");
        assert!(third.args(identity).args(args).output().unwrap().status.success(), "{args:?}");
    }
    let second = "?since=2026-01-02T04:00:00Z&until=2026-01-02T05:00:00.999Z";
    assert_eq!(paths(second).await, ["gone.txt", "kept.txt"]);
    let (_, of_second) = server.get(&format!("/api/ideas/timer/changes{second}")).await;
    let diff = of_second["data"]["diff"].as_str().unwrap();
    assert!(diff.contains("-one\n+two\n") && !diff.contains("later"), "{diff}");
    assert_eq!(paths("?since=2026-01-02T05:30:00Z&until=2026-01-02T06:00:00Z").await, [""; 0]);
    assert_eq!(paths("?since=2026-01-01T00:00:00Z&until=2026-01-02T04:00:00Z").await, ["gone.txt", "kept.txt"]);
    assert_eq!(paths("?since=2026-01-02T04:00:00Z").await, ["gone.txt", "kept.txt", "later.txt", "new.txt"]);
    for bad in ["until=2026-01-02T04:00:00Z", "since=2026-01-02T04:00:00Z&until=2026-01-02T03:00:00Z"] {
        assert_eq!(server.get(&format!("/api/ideas/timer/changes?{bad}")).await.0, 400, "{bad}");
    }
    assert_eq!(server.get("/api/ideas/timer/changes?since=yesterday").await.0, 400);
}

/// A way in which files in a project make git run something: what a shell writes there (`$TRAP` is the program), and what
/// a person would then ask of git in vain.
struct Snare {
    name: &'static str,
    script: &'static str,
    plain: &'static [&'static str],
    is_repository: bool,
}

const SNARES: &[Snare] = &[
    Snare {
        name: "a missing object is fetched into the project itself, which looks like a repository",
        script: "git init -q --bare seed && cp -R seed/objects seed/refs . && rm -rf seed && echo 'ref: refs/heads/main' >HEAD
                 echo 1111111111111111111111111111111111111111 >refs/heads/main
                 printf '[core]\nrepositoryformatversion = 1\nbare = false\nworktree = .\n[extensions]\npartialClone = o\n' >config
                 printf '[remote \"o\"]\nurl = .\npromisor = true\nuploadpack = \"%s;false\"\n' \"$TRAP\" >>config",
        plain: &["diff", "HEAD", "--"],
        is_repository: false,
    },
    Snare {
        name: "a missing object is fetched, by a transport that the configuration allows",
        script: "git init -q -b main && echo 1111111111111111111111111111111111111111 >.git/refs/heads/main
                 git config core.repositoryFormatVersion 1 && git config extensions.partialClone o
                 git config remote.o.url . && git config remote.o.promisor true && git config protocol.file.allow always
                 git config remote.o.uploadpack \"$TRAP;false\"",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "a filter, of any name",
        script: "git init -q -b main && git config 'filter.a=b c.clean' \"$TRAP\" && echo '* filter=a=b' >.gitattributes
                 git config filter.x.clean \"$TRAP\" && echo '* filter=x' >>.gitattributes
                 GIT_CONFIG_COUNT=0 git -c filter.x.clean= add . && git -c filter.x.clean= commit -q -m one && echo two >>a",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "a filter's process",
        script: "git init -q -b main && git add . && git commit -q -m one && echo two >>a
                 git config filter.x.process \"$TRAP\" && echo '* filter=x' >.git/info/attributes",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "the monitor, the pager and the program for differences",
        script: "git init -q -b main && git add . && git commit -q -m one && echo two >>a
                 for key in core.fsmonitor diff.external core.pager; do git config $key \"$TRAP\"; done",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "the conversion to text, included from another file",
        script: "git init -q -b main && git add . && git commit -q -m one && echo two >>a
                 git config -f .git/more diff.x.textconv \"$TRAP\" && git config include.path more && echo '* diff=x' >.gitattributes",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "the program that checks signatures",
        script: "git init -q -b main && git add . && tree=$(git write-tree)
                 { printf 'tree %s\nauthor t <t> 1700000000 +0000\ncommitter t <t> 1700000000 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n' $tree
                   printf ' x\n -----END PGP SIGNATURE-----\n\nm\n'; } >signed
                 commit=$(git hash-object -t commit -w signed) && rm signed && git update-ref -m one HEAD $commit && echo two >>a
                 git config log.showSignature true && git config gpg.program \"$TRAP\"",
        plain: &["log", "-g"],
        is_repository: true,
    },
    Snare {
        name: "the monitor of a submodule",
        script: "git init -q -b main sub && git -C sub commit -q --allow-empty -m one && git init -q -b main
                 git add . 2>/dev/null && git commit -q -m one && echo two >>a && git -C sub config core.fsmonitor \"$TRAP\"",
        plain: &["diff", "HEAD", "--"],
        is_repository: true,
    },
    Snare {
        name: "a repository elsewhere",
        script: "git init -q -b main --separate-git-dir=there && git add a && git commit -q -m one && echo two >>a
                 git config core.fsmonitor \"$TRAP\"",
        plain: &["diff", "HEAD", "--"],
        is_repository: false,
    },
    Snare {
        name: "a link to a repository",
        script: "git init -q -b main && git add a && git commit -q -m one && echo two >>a && mv .git there && ln -s there .git
                 git config core.fsmonitor \"$TRAP\"",
        plain: &["diff", "HEAD", "--"],
        is_repository: false,
    },
];

#[tokio::test]
async fn looking_at_what_differs_runs_nothing_that_the_project_names() {
    let temporary = tempfile::tempdir().unwrap();
    let environment = vec![("TMPDIR".to_owned(), temporary.path().display().to_string())];
    let sshd = TestSshd::start(TestSshdOptions { environment, ..TestSshdOptions::default() }).await;
    let server = Server::start(&settings(&sshd)).await;
    let project = sshd.home().join("catalyst/ideas").join(server.idea("Timer").await).join("project");
    let (trap, sprung) = (sshd.home().join("trap"), sshd.home().join("sprung"));
    fs::write(&trap, format!("#!/bin/sh\ntouch {}\n", sprung.display())).unwrap();
    fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let command = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(&project).args(args).env("HOME", sshd.home()).env("TRAP", &trap);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "t").env(format!("GIT_{role}_EMAIL"), "t@example.com");
        }
        command.output().unwrap()
    };
    for snare in SNARES {
        let _first_time = fs::remove_dir_all(&project);
        fs::create_dir_all(&project).unwrap();
        fs::write(project.join("a"), "one\n").unwrap();
        let laid = command("sh", &["-ec", snare.script]);
        assert!(laid.status.success(), "{}: {}", snare.name, String::from_utf8_lossy(&laid.stderr));
        let _unsprung_yet = fs::remove_file(&sprung);
        let both = "?since=2000-01-01T00:00:00Z&until=2099-01-01T00:00:00Z";
        for since in ["", "?since=2099-01-01T00:00:00Z", both] {
            let (status, changes) = server.get(&format!("/api/ideas/timer/changes{since}")).await;
            assert_eq!(
                (status, &changes["data"]["git"]),
                (200, &json!(snare.is_repository)),
                "{}: {changes}",
                snare.name
            );
            assert!(!sprung.exists(), "{}{since}: git ran it", snare.name);
        }
        // It is one: git by itself goes into it.
        command("git", snare.plain);
        assert!(sprung.exists(), "{}: this shows nothing, for git by itself does not run it either", snare.name);
    }
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
