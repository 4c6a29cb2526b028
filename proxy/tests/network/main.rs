//! The way between the proxy and a VM with a network of its own: packets lost and held up, connections that are open at one end
//! only, the cable out, the power off. After each nothing is lost or doubled, and whoever looks was told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "a part of contract/main.rs")]
#[path = "../contract/frames.rs"]
mod frames;
#[path = "../stage/said.rs"]
mod said;
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "as in contract/main.rs, of which this is a part")]
#[path = "../contract/serving.rs"]
mod serving;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use catalyst_lab::vm::{DevVm, TemporaryVm, Weather};
use catalyst_proxy::settings::{KeySource, Secret, Settings, SshSettings, TerminalMode, WebSettings};
use frames::{chat, place, text, ticks};
use serde_json::Value;
use serving::{ORIGIN, SECRET, Server};

struct Site {
    vm: TemporaryVm,
    server: Server,
    slug: String,
    settings: Settings,
    _files: tempfile::TempDir,
}

impl Site {
    async fn new() -> Site {
        let vm = DevVm::temporary("netw").await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let key = catalyst_ssh::generate_ed25519("test").unwrap();
        vm.authorize(&key.public_openssh).unwrap();
        let (key_path, known_hosts) = (files.path().join("key"), files.path().join("known_hosts"));
        std::fs::write(&key_path, &key.private_openssh).unwrap();
        std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&known_hosts, format!("{} {}\n", vm.address(), vm.host_key().unwrap())).unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stage/claude");
        std::fs::copy(stand_in, vm.home().join("stand-in")).unwrap();
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics: None,
            web: WebSettings {
                catalyst_secret: Secret::new(SECRET),
                cookie_secret: Secret::new("the-cookie-secret-of-the-test"),
                cookie_secret_previous: None,
                session_generation: 0,
                secure_cookie: false,
                allowed_origins: vec![catalyst_proxy::origin::Origin::parse(ORIGIN).unwrap()],
                trusted_proxies: Vec::new(),
                identity_header: None,
            },
            ssh: SshSettings {
                host: vm.address().to_string(),
                port: vm.port(),
                user: vm.user().to_owned(),
                jump: None,
                key: KeySource::File(key_path),
                known_hosts: Some(known_hosts),
                strict: true,
                max_connections: 3,
            },
            ideas_base_path: "~/ideas".to_owned(),
            claude_command: "/home/dev/stand-in".to_owned(),
            claude_silence: Duration::from_secs(120),
            claude_turn: None,
            approval: Duration::from_secs(3600),
            terminal: TerminalMode::Off,
            terminal_recording: None,
        };
        let server = Server::start(&settings).await;
        server.until_health(200).await;
        let slug = server.idea("Far away").await;
        Site { vm, server, slug, settings, _files: files }
    }

    /// What one viewer saw is what is in the log on the VM, as it is there and as a fresh replica reads it from its beginning.
    async fn assert_nothing_lost_or_doubled(&self, seen: &[Value], turns: usize) {
        let log = std::fs::read(self.vm.home().join(format!("ideas/{}/runs/1/log.jsonl", self.slug))).unwrap();
        said::assert_said_by_the_log(&log, 1, seen.iter().cloned());
        let frames = |all: &[Value]| all.iter().filter(|frame| frame["seq"].is_string()).cloned().collect::<Vec<_>>();
        let fresh = Server::start(&self.settings).await;
        let mut socket = fresh.watching(&self.slug).await;
        let mut all = Vec::new();
        for _ in 0..turns {
            all.extend(socket.until("claude:result").await);
        }
        let (seen, all) = (frames(seen), frames(&all));
        assert_eq!(text(&seen), text(&all));
        let others = |frames: &[Value]| {
            frames.iter().filter(|frame| frame["type"] != "claude:text").cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(&seen), others(&all));
        let offsets: Vec<(u64, u64)> = seen.iter().map(place).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    }

    /// Ends the run, and the server: nothing is left of them on the VM.
    async fn assert_leaves_nothing(self) {
        let Site { vm, server, slug, .. } = self;
        // A connection that was begun while the way was broken may take its 10 s to give up.
        let deadline = tokio::time::Instant::now() + serving::PATIENCE;
        loop {
            let (status, body) = server.json(reqwest::Method::DELETE, &format!("/api/ideas/{slug}"), None).await;
            if status == 200 {
                break;
            }
            assert!(status == 503 && tokio::time::Instant::now() < deadline, "{status} {body}");
        }
        drop(server);
        let left = async || {
            let mut look = vm.command("sh").unwrap();
            // Not the one that looks.
            look.args(["-c", "grep -lsz '^SSH_CONNECTION=\\|^CATALYST_RUN=' /proc/[0-9]*/environ"]);
            String::from_utf8(look.output().await.unwrap().stdout).unwrap()
        };
        let deadline = tokio::time::Instant::now() + serving::PATIENCE;
        loop {
            let left = left().await;
            if left.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "left on the VM: {left}");
            // There may be none at the moment.
            let _ended = vm.kill_sessions().await;
        }
    }

    /// One answer in this weather.
    async fn through(&self, weather: Weather, message: &str, expected: &str) {
        let mut socket = self.server.watching(&self.slug).await;
        self.vm.weather(weather).await.unwrap();
        chat(&mut socket, &self.slug, message).await;
        let turn = socket.until("claude:result").await;
        self.vm.weather(Weather::Fair).await.unwrap();
        assert_eq!(text(&turn), expected);
        self.assert_nothing_lost_or_doubled(&turn, 1).await;
    }

    /// An answer in the middle of which the way breaks, without the cable or in this weather, until that was told.
    async fn interrupted(&self, weather: Option<Weather>) {
        let mut socket = self.server.watching(&self.slug).await;
        chat(&mut socket, &self.slug, "ticks 400 0.05").await;
        let mut turn = socket.until("claude:text").await;
        match weather {
            None => self.vm.cut().await.unwrap(),
            Some(weather) => self.vm.weather(weather).await.unwrap(),
        }
        let health = self.server.until_health(503).await;
        assert!(["TimedOut", "HostUnreachable"].contains(&health["reason"].as_str().unwrap()), "{health}");
        assert!(health["message"].as_str().unwrap().contains(&self.vm.address().to_string()), "{health}");
        turn.extend(socket.until("claude:error").await);
        let told = turn.pop().unwrap();
        println!("{weather:?}: {}; health: {} {}", told["error"], health["reason"], health["message"]);
        assert!(told["error"].as_str().unwrap().contains(&self.vm.address().to_string()), "{told}");
        assert!(told.get("seq").is_none(), "an outage is no part of the log: {told}");
        match weather {
            None => self.vm.mend().await.unwrap(),
            Some(_) => self.vm.weather(Weather::Fair).await.unwrap(),
        }
        turn.extend(socket.until("claude:result").await);
        assert_eq!(text(&turn), ticks(400));
        self.server.until_health(200).await;
        self.assert_nothing_lost_or_doubled(&turn, 1).await;
    }
}

#[tokio::test]
async fn packets_lost_by_chance_cost_no_event() {
    let site = Site::new().await;
    site.through(Weather::Losing(10), "ticks 150 0.02", &ticks(150)).await;
    site.assert_leaves_nothing().await;
}

#[tokio::test]
async fn a_narrow_line_that_holds_packets_up_costs_no_event() {
    let site = Site::new().await;
    let flood: String = (0..1500).map(|n| format!("{n} ")).collect();
    site.through(Weather::Slow(400), "flood 1500", &flood).await;
    site.assert_leaves_nothing().await;
}

#[tokio::test]
async fn a_cable_that_is_out_in_mid_answer_is_told_and_the_answer_goes_on_without_a_gap() {
    let site = Site::new().await;
    site.interrupted(None).await;
    site.assert_leaves_nothing().await;
}

#[tokio::test]
async fn a_way_that_swallows_everything_is_told_and_the_answer_goes_on_without_a_gap() {
    let site = Site::new().await;
    site.interrupted(Some(Weather::Silent)).await;
    site.assert_leaves_nothing().await;
}

#[tokio::test]
async fn a_way_that_leads_in_one_direction_only_is_told_and_the_answer_goes_on_without_a_gap() {
    for weather in [Weather::Mute, Weather::Deaf] {
        let site = Site::new().await;
        site.interrupted(Some(weather)).await;
        site.assert_leaves_nothing().await;
    }
}

#[tokio::test]
async fn a_vm_that_loses_its_power_in_mid_answer_is_told_and_takes_the_next_message() {
    let site = Site::new().await;
    let mut socket = site.server.watching(&site.slug).await;
    chat(&mut socket, &site.slug, "ticks 10000 0.05").await;
    let mut seen = socket.until("claude:text").await;
    // With the cable out nobody hears that the connections ended.
    site.vm.cut().await.unwrap();
    let before = site.vm.boot_id().unwrap();
    site.vm.reboot().await.unwrap();
    assert_ne!(site.vm.boot_id().unwrap(), before);
    site.vm.mend().await.unwrap();
    seen.extend(socket.until("run:exit").await);
    assert_eq!(seen.last().unwrap()["reason"], "rebooted", "{seen:#?}");
    let told =
        |frame: &Value| frame["type"] == "claude:error" && frame["error"].as_str().unwrap().contains("restarted");
    assert!(seen.iter().any(told), "{seen:#?}");
    let given = text(&seen);
    assert!(ticks(10_000).starts_with(&given) && !given.is_empty(), "{given}");
    site.assert_nothing_lost_or_doubled(&seen[..seen.len() - 1], 1).await;
    chat(&mut socket, &site.slug, "still there").await;
    let next = socket.until("claude:result").await;
    assert_eq!(text(&next), "you said: still there");
    assert_eq!(next.last().unwrap()["run"], 2);
    site.assert_leaves_nothing().await;
}
