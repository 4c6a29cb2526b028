//! A VM (a real sshd), the proxy in a process of its own, and a signed-in client.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};

use crate::limits::Limits;

const SECRET: &str = "the-secret-of-the-benchmark";
const START_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    pub(crate) sshd: TestSshd,
    proxy: Child,
    port: u16,
    cookie: String,
    client: reqwest::Client,
    /// With the agent, known_hosts and the proxy's log.
    folder: tempfile::TempDir,
}

/// An idea as the benchmark needs it.
#[derive(Clone, Debug)]
pub(crate) struct Idea {
    pub(crate) id: String,
    pub(crate) slug: String,
}

impl Stage {
    pub(crate) async fn start(proxy: &Path, agent: &Path, limits: Option<&Limits>) -> anyhow::Result<Stage> {
        let folder = tempfile::tempdir()?;
        symlink(agent, folder.path().join("claude")).context("bench-agent")?;
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let options = TestSshdOptions {
            environment: vec![("PATH".to_owned(), path)],
            // What sshd has when nothing is set.
            max_startups: "10:30:100".to_owned(),
            max_sessions: 10,
            ..TestSshdOptions::default()
        };
        let sshd = TestSshd::try_start(options).await.map_err(|problem| anyhow!(problem))?;
        std::fs::create_dir_all(sshd.home().join("ideas"))?;
        let known_hosts = folder.path().join("known_hosts");
        std::fs::write(&known_hosts, sshd.known_hosts_text())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let endpoint = sshd.endpoint();
        let log = std::fs::File::create(folder.path().join("log"))?;
        let proxy = limits
            .map_or_else(|| Command::new(proxy), |limits| limits.command(proxy))
            .env_clear()
            .envs([
                ("CATALYST_SECRET", SECRET),
                ("COOKIE_SECRET", "the-cookie-secret-of-the-benchmark"),
                ("LISTEN_ADDRESS", "127.0.0.1"),
                ("PORT", &port.to_string()),
                ("METRICS_PORT", "0"),
                ("SSH_HOST", &endpoint.host),
                ("SSH_PORT", &endpoint.port.to_string()),
                ("SSH_USER", &endpoint.user),
                ("SSH_KEY_PATH", &sshd.key_path().display().to_string()),
                ("SSH_KNOWN_HOSTS", &known_hosts.display().to_string()),
                ("IDEAS_BASE_PATH", &sshd.home().join("ideas").display().to_string()),
                ("ALLOWED_ORIGINS", &format!("http://127.0.0.1:{port}")),
                ("LOG_FORMAT", "text"),
                // tmux shows the screen now and then, not every byte.
                ("TERMINAL", "plain"),
                ("LOG_LEVEL", "warn"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} (build it with --release)", proxy.display()))?;
        let client = reqwest::Client::new();
        let mut stage = Stage { sshd, proxy, port, cookie: String::new(), client, folder };
        stage.cookie = tokio::time::timeout(START_WITHIN, stage.sign_in())
            .await
            .map_err(|_| anyhow!("the proxy does not answer; its log: {}", stage.log()))??;
        Ok(stage)
    }

    async fn sign_in(&self) -> anyhow::Result<String> {
        while self.client.get(self.url("/readyz")).send().await.map_or(true, |answer| !answer.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = self
            .client
            .post(self.url("/api/login"))
            .header("Origin", self.origin())
            .json(&serde_json::json!({"secret": SECRET}))
            .send()
            .await?
            .error_for_status()?;
        let cookie = answer.headers().get("set-cookie").context("no cookie")?.to_str()?;
        Ok(cookie.split(';').next().unwrap_or_default().to_owned())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.proxy.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The end of what the proxy has logged.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.chars().skip(log.chars().count().saturating_sub(2000)).collect()
    }

    pub(crate) async fn idea(&self, title: &str) -> anyhow::Result<Idea> {
        let answer = self
            .client
            .post(self.url("/api/ideas"))
            .header("Cookie", &self.cookie)
            .header("Origin", self.origin())
            .json(&serde_json::json!({"title": title, "content": "A benchmark's."}))
            .send()
            .await?
            .error_for_status()?;
        let idea: serde_json::Value = answer.json().await?;
        let member = |name: &str| {
            let idea = idea.get("data").unwrap_or(&idea);
            idea.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        let id = member("id").context("the idea has no id")?;
        Ok(Idea { slug: member("slug").unwrap_or_else(|| id.clone()), id })
    }

    /// The log of a run, on the VM.
    pub(crate) fn log_of(&self, idea: &Idea, run: u64) -> PathBuf {
        self.sshd.home().join("ideas").join(&idea.slug).join(format!("runs/{run}/log.jsonl"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _gone = self.proxy.kill();
        let _gone = self.proxy.wait();
    }
}
