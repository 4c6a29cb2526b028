//! Two replicas of the proxy: processes of the real binary, on ports of their own. One is killed, ended and started anew; the other lives
//! through all of it, so that its memory tells of the whole time.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use catalyst_ssh::testing::TestSshd;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

const SECRET: &str = "the-shared-secret-of-the-test";
pub(crate) const ORIGIN: &str = "https://catalyst.example.com";

/// The one that is killed.
pub(crate) const MORTAL: usize = 1;
const LASTING: usize = 0;

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) most: f64,
}

pub(crate) struct Replicas {
    ports: [u16; 2],
    environment: Vec<(&'static str, String)>,
    processes: Mutex<Vec<Child>>,
    pub(crate) cookie: String,
    http: Client,
}

impl Replicas {
    pub(crate) async fn start(sshd: &TestSshd) -> Replicas {
        let known_hosts = sshd.home().join("known_hosts-of-the-proxy");
        std::fs::write(&known_hosts, sshd.known_hosts_text()).unwrap();
        std::fs::create_dir(sshd.home().join("ideas")).unwrap();
        let endpoint = sshd.endpoint();
        // Both at once, or they might be the same.
        let taken = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = taken.map(|listener| listener.local_addr().unwrap().port());
        let environment = vec![
            ("CATALYST_SECRET", SECRET.to_owned()),
            ("COOKIE_SECRET", "the-cookie-secret-of-the-test".to_owned()),
            ("LISTEN_ADDRESS", "127.0.0.1".to_owned()),
            ("METRICS_PORT", "0".to_owned()),
            ("SSH_HOST", endpoint.host),
            ("SSH_PORT", endpoint.port.to_string()),
            ("SSH_USER", endpoint.user),
            ("SSH_KEY_PATH", sshd.key_path().display().to_string()),
            ("SSH_KNOWN_HOSTS", known_hosts.display().to_string()),
            ("IDEAS_BASE_PATH", "~/ideas".to_owned()),
            ("ALLOWED_ORIGINS", ORIGIN.to_owned()),
            ("LOG_LEVEL", "error".to_owned()),
        ];
        let mut replicas =
            Replicas { ports, environment, processes: Mutex::default(), cookie: String::new(), http: Client::new() };
        let processes = [0, 1].map(|which| replicas.spawn(which));
        replicas.processes.lock().unwrap().extend(processes);
        for which in [0, 1] {
            replicas.until_ready(which).await;
        }
        let signed_in = replicas.call(Method::POST, 0, "/api/login").json(&json!({"secret": SECRET})).send().await;
        let cookie = signed_in.unwrap().headers()["set-cookie"].to_str().unwrap().to_owned();
        replicas.cookie = cookie.split(';').next().unwrap().to_owned();
        replicas
    }

    fn spawn(&self, which: usize) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_catalyst-proxy"));
        command.env_clear().envs(self.environment.clone()).env("PORT", self.ports[which].to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    async fn until_ready(&self, which: usize) {
        let ready = async {
            loop {
                let asked = self.call(Method::GET, which, "/readyz").send().await;
                if asked.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(super::WAIT, ready).await.expect("the proxy is not ready");
    }

    pub(crate) fn port(&self, which: usize) -> u16 {
        self.ports[which]
    }

    /// Ends the one by this signal and starts it anew; returns when it is ready.
    pub(crate) async fn replace(&self, signal: &str) {
        let mut old = self.processes.lock().unwrap().remove(MORTAL);
        signal_to(old.id(), signal);
        tokio::task::spawn_blocking(move || old.wait()).await.unwrap().unwrap();
        let fresh = self.spawn(MORTAL);
        self.processes.lock().unwrap().push(fresh);
        self.until_ready(MORTAL).await;
    }

    /// Of the other.
    pub(crate) fn memory(&self) -> Memory {
        let process = self.processes.lock().unwrap()[LASTING].id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
        };
        Memory { now: mebibytes("VmRSS:"), most: mebibytes("VmHWM:") }
    }

    fn call(&self, method: Method, which: usize, path: &str) -> RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[which]);
        self.http.request(method, url).header("origin", ORIGIN).header("cookie", &self.cookie).timeout(super::WAIT)
    }

    pub(crate) async fn idea(&self, title: &str) -> String {
        let body = json!({"title": title, "content": "Some text."});
        let made = self.call(Method::POST, 0, "/api/ideas").json(&body).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        made["data"]["slug"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn delete(&self, slug: &str) {
        for which in [0, 1] {
            self.until_ready(which).await;
        }
        let gone = self.call(Method::DELETE, 0, &format!("/api/ideas/{slug}")).send().await.unwrap();
        assert!(gone.status().is_success(), "{}", gone.text().await.unwrap());
    }

    /// Has both end as a rollout does.
    pub(crate) async fn end(&self) {
        let processes = std::mem::take(&mut *self.processes.lock().unwrap());
        for mut process in processes {
            signal_to(process.id(), "-TERM");
            let ended = tokio::task::spawn_blocking(move || process.wait());
            let ended = tokio::time::timeout(super::WAIT, ended).await.expect("the proxy does not end");
            assert!(ended.unwrap().unwrap().success());
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for process in self.processes.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _gone = process.kill();
            let _gone = process.wait();
        }
    }
}

fn signal_to(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}
