//! A real OpenSSH server for tests: on a free port of 127.0.0.1, with its own host key, an authorised key and a home
//! directory of its own. All of its processes, and those that it started, end when it is dropped.
//!
//! It needs `/usr/sbin/sshd` and `ssh-keygen` (Debian: openssh-server) and says so when they are missing.

mod files;
mod processes;

use std::fs;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub use files::TestSshdOptions;
use files::{SFTP_SERVER, TAG, told, write, write_config};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Connector, ConnectorSource, Deadlines, Endpoint, HostKeyCheck, KnownHosts, PrivateKey, generate_ed25519,
    parse_private_key,
};

const SSHD: &str = "/usr/sbin/sshd";
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running sshd.
pub struct TestSshd {
    dir: TempDir,
    port: u16,
    user: String,
    key: Arc<PrivateKey>,
    options: TestSshdOptions,
    server: Option<Child>,
}

impl TestSshd {
    /// Starts an sshd and returns when it answers.
    ///
    /// # Panics
    /// With the cause, if it cannot be started.
    pub async fn start(options: TestSshdOptions) -> TestSshd {
        match TestSshd::try_start(options).await {
            Ok(sshd) => sshd,
            #[expect(clippy::panic, reason = "a test cannot go on without its server")]
            Err(problem) => panic!("the test's sshd cannot be started: {problem}"),
        }
    }

    /// As [`TestSshd::start`].
    ///
    /// # Errors
    /// Why it cannot be started.
    pub async fn try_start(options: TestSshdOptions) -> Result<TestSshd, String> {
        if !Path::new(SSHD).exists() || !Path::new(SFTP_SERVER).exists() {
            return Err(format!("{SSHD} or {SFTP_SERVER} is missing; install openssh-server"));
        }
        let dir = tempfile::Builder::new().prefix("catalyst-sshd-").tempdir().map_err(told("temporary directory"))?;
        let user = whoami()?;
        let generated = generate_ed25519("test").map_err(|problem| problem.to_string())?;
        let key = parse_private_key(generated.private_openssh.as_bytes()).map_err(|problem| problem.to_string())?;
        let options_before = if options.key_options.is_empty() { "" } else { " " };
        let authorized = format!("{}{options_before}{}\n", options.key_options, generated.public_openssh);
        fs::create_dir(dir.path().join("home")).map_err(told("home directory"))?;
        write(&dir.path().join("id_ed25519"), &generated.private_openssh, 0o600)?;
        write(&dir.path().join("authorized_keys"), &authorized, 0o600)?;
        let mut sshd = TestSshd { dir, port: 0, user, key: Arc::new(key), options, server: None };
        sshd.replace_host_key()?;
        let mut last = String::new();
        // Another process may take the free port before sshd does.
        for _ in 0..5 {
            sshd.port = free_port()?;
            match sshd.start_again().await {
                Ok(()) => return Ok(sshd),
                Err(problem) => last = problem,
            }
        }
        Err(last)
    }

    /// Where it listens, and the user that runs the test.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port: self.port, user: self.user.clone() }
    }

    /// A known_hosts that has its host key.
    pub fn known_hosts(&self) -> KnownHosts {
        KnownHosts::parse(&self.known_hosts_text()).unwrap_or_default()
    }

    /// The same as text.
    pub fn known_hosts_text(&self) -> String {
        let public = fs::read_to_string(self.host_key_path().with_extension("pub")).unwrap_or_default();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    /// The key that is authorised.
    pub fn key(&self) -> Arc<PrivateKey> {
        self.key.clone()
    }

    /// That key's file, mode 0600.
    pub fn key_path(&self) -> PathBuf {
        self.dir.path().join("id_ed25519")
    }

    /// The home directory (`$HOME` and the working directory) of all commands.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The server's authorized_keys file.
    pub fn authorized_keys_path(&self) -> PathBuf {
        self.dir.path().join("authorized_keys")
    }

    /// What sshd has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A connector with the right host key and key, and the default deadlines.
    pub fn connector(&self) -> Connector {
        Connector {
            endpoint: self.endpoint(),
            jump: None,
            host_keys: HostKeyCheck::Strict(Arc::new(self.known_hosts())),
            key: self.key(),
            certificate: None,
            deadlines: Deadlines::default(),
        }
    }

    /// The same as source for a pool.
    pub fn source(&self) -> ConnectorSource {
        let connector = self.connector();
        Arc::new(move || Ok(connector.clone()))
    }

    /// Ends the server and all sessions; what the sessions' commands left running goes on.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let sessions = processes::sshd_descendants(server.id());
        let _ = server.kill();
        let _ = server.wait();
        processes::signal(&sessions, Signal::SIGKILL);
    }

    /// Starts a stopped server on the same port.
    ///
    /// # Errors
    /// What sshd says, if it does not answer in time.
    pub async fn start_again(&mut self) -> Result<(), String> {
        write_config(self.dir.path(), self.port, &self.options)?;
        let log = fs::File::create(self.dir.path().join("log")).map_err(told("log"))?;
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(self.dir.path().join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(told(SSHD))?;
        let server = self.server.insert(child);
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if answers(self.port).await {
                return Ok(());
            }
            if server.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > deadline {
                self.stop();
                return Err(format!("sshd does not answer; it says: {}", self.log()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops server and sessions with SIGSTOP: the port accepts, nobody answers. Commands go on.
    pub fn freeze(&self) {
        processes::signal(&self.server_and_sessions(), Signal::SIGSTOP);
    }

    /// Ends [`TestSshd::freeze`].
    pub fn thaw(&self) {
        // By tag too, because a session may have become a command between being found and being stopped.
        processes::signal(&processes::tagged(&self.tag()), Signal::SIGCONT);
        processes::signal(&self.server_and_sessions(), Signal::SIGCONT);
    }

    /// Kills the processes of all sessions, as when they crash; the server goes on. Says how many there were.
    pub fn kill_sessions(&self) -> usize {
        let Some(server) = &self.server else { return 0 };
        let sessions = processes::sshd_descendants(server.id());
        processes::signal(&sessions, Signal::SIGKILL);
        sessions.len()
    }

    /// Gives the server a new host key; it shows it after [`TestSshd::stop`] and [`TestSshd::start_again`].
    ///
    /// # Errors
    /// If the key cannot be made.
    pub fn replace_host_key(&self) -> Result<(), String> {
        let generated = generate_ed25519("host").map_err(|problem| problem.to_string())?;
        write(&self.host_key_path(), &generated.private_openssh, 0o600)?;
        write(&self.host_key_path().with_extension("pub"), &format!("{}\n", generated.public_openssh), 0o644)
    }

    fn server_and_sessions(&self) -> Vec<i32> {
        let Some(server) = &self.server else { return Vec::new() };
        let mut all = processes::sshd_descendants(server.id());
        all.extend(i32::try_from(server.id()));
        all
    }

    /// The variable that all processes of this server have.
    fn tag(&self) -> String {
        format!("{TAG}={}", self.dir.path().display())
    }

    fn host_key_path(&self) -> PathBuf {
        self.dir.path().join("host_ed25519")
    }
}

impl Drop for TestSshd {
    fn drop(&mut self) {
        self.stop();
        processes::kill_tagged(&self.tag());
    }
}

async fn answers(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).await.ok()?;
        Some(start == *b"SSH-")
    };
    timeout(Duration::from_secs(5), greeting).await == Ok(Some(true))
}

fn free_port() -> Result<u16, String> {
    let listener = StdListener::bind("127.0.0.1:0").map_err(told("a free port"))?;
    Ok(listener.local_addr().map_err(told("a free port"))?.port())
}

fn whoami() -> Result<String, String> {
    match nix::unistd::User::from_uid(nix::unistd::geteuid()) {
        Ok(Some(user)) => Ok(user.name),
        _ => Err("the user that runs the test has no name".to_owned()),
    }
}
