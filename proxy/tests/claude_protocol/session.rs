//! The real CLI, started as the product starts it, against the lab's stand-in for the Messages API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use catalyst_lab::claude;
use catalyst_lab::messages_api::StandIn;
use catalyst_proxy::agent::Mode;
use catalyst_proxy::agent::input::{self, Permissions, STREAMING};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const DEADLINE: Duration = Duration::from_secs(60);

/// A machine's worth of the CLI: a home, a working directory, and an API.
pub(crate) struct Cli {
    pub(crate) api: StandIn,
    home: tempfile::TempDir,
    binary: PathBuf,
}

impl Cli {
    pub(crate) async fn installed() -> Cli {
        let api = StandIn::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("start the stand-in");
        let binary = claude::install().await.expect("install the CLI");
        let home = tempfile::tempdir().expect("make a home");
        std::fs::create_dir(home.path().join("project")).expect("make a working directory");
        Cli { api, home, binary }
    }

    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// The working directory of runs.
    pub(crate) fn project(&self, path: &str) -> PathBuf {
        self.home("project").join(path)
    }

    pub(crate) fn plant(&self, path: &str, content: &str) {
        let path = self.home(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        std::fs::write(path, content).expect("plant a file");
    }

    /// The CLI with just these arguments, in the working directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(self.home("project"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("ANTHROPIC_BASE_URL", format!("http://{}", self.api.address()))
            .env("ANTHROPIC_API_KEY", "lab-stand-in")
            .envs(claude::QUIET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// A run as the product starts it.
    pub(crate) fn start(&self, mode: Mode) -> Session {
        self.run(&input::arguments(mode, Permissions::default()))
    }

    /// A build with these permissions.
    pub(crate) fn build(&self, permissions: Permissions) -> Session {
        self.run(&input::arguments(Mode::Build, permissions))
    }

    /// A run of the product's, resumed.
    pub(crate) fn resume(&self, mode: Mode, session: &str) -> Session {
        let resume = format!("--resume={session}");
        self.run(&[input::arguments(mode, Permissions::default()).as_slice(), &[&resume]].concat())
    }

    /// A run that talks stream-json both ways and has these flags beside.
    pub(crate) fn start_with(&self, flags: &[&str]) -> Session {
        self.run(&[STREAMING, flags].concat())
    }

    /// The same, without one of the flags that the product always gives.
    pub(crate) fn start_without(&self, flag: &str, flags: &[&str]) -> Session {
        assert!(STREAMING.contains(&flag), "{flag} is none of them");
        let rest: Vec<&str> = STREAMING.iter().copied().filter(|other| *other != flag).collect();
        self.run(&[rest.as_slice(), flags].concat())
    }

    fn run(&self, arguments: &[&str]) -> Session {
        let mut child = self.command(arguments).spawn().expect("start the CLI");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Session { child, stdin, stdout }
    }
}

pub(crate) struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Session {
    pub(crate) async fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("write to the CLI");
        stdin.flush().await.expect("flush");
    }

    pub(crate) async fn turn(&mut self, text: &str) {
        self.turn_named(text, &uuid::Uuid::new_v4().to_string()).await;
    }

    pub(crate) async fn turn_named(&mut self, text: &str, uuid: &str) {
        let message = json!({ "role": "user", "content": [{ "type": "text", "text": text }] });
        self.line(&json!({ "type": "user", "uuid": uuid, "message": message, "parent_tool_use_id": null }).to_string())
            .await;
    }

    pub(crate) async fn interrupt(&mut self, id: &str) {
        let request = json!({ "type": "control_request", "request_id": id, "request": { "subtype": "interrupt" } });
        self.line(&request.to_string()).await;
    }

    pub(crate) async fn answer(&mut self, request: &Value, response: Value) {
        let response = json!({ "subtype": "success", "request_id": request["request_id"], "response": response });
        self.line(&json!({ "type": "control_response", "response": response }).to_string()).await;
    }

    pub(crate) async fn allow(&mut self, request: &Value) {
        self.answer(request, json!({ "behavior": "allow", "updatedInput": request["request"]["input"] })).await;
    }

    /// The next line; `None` at the end of output.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line =
            tokio::time::timeout(DEADLINE, self.stdout.next_line()).await.expect("the CLI is silent").expect("read");
        line.map(|line| serde_json::from_str(&line).expect("every line is JSON"))
    }

    /// All lines up to and with the first that fits.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Events {
        let mut seen = Vec::new();
        loop {
            let Some(event) = self.next().await else {
                let error = self.stderr().await;
                panic!("the output ended; stderr: {error}; seen: {seen:#?}");
            };
            seen.push(event);
            if fits(&seen[seen.len() - 1]) {
                return Events(seen);
            }
        }
    }

    pub(crate) async fn result(&mut self) -> Events {
        self.until(|event| event["type"] == "result").await
    }

    pub(crate) async fn permission_request(&mut self) -> Value {
        self.until(is_permission_request).await.last().clone()
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id().expect("it runs")).expect("a pid")
    }

    /// What is still printed, and how it ends.
    pub(crate) async fn rest(&mut self) -> (Events, ExitStatus) {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the CLI ends").expect("wait");
        (Events(rest), status)
    }

    pub(crate) async fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).await.expect("read stderr");
        }
        text
    }

    /// Ends it as the product does and holds it to have ended well.
    pub(crate) async fn end(mut self) {
        self.close_stdin();
        let (_, status) = self.rest().await;
        assert_eq!(status.code(), Some(0), "{}", self.stderr().await);
    }
}

pub(crate) fn is_permission_request(event: &Value) -> bool {
    event["type"] == "control_request" && event["request"]["subtype"] == "can_use_tool"
}

#[derive(Debug)]
pub(crate) struct Events(pub(crate) Vec<Value>);

impl Events {
    pub(crate) fn last(&self) -> &Value {
        self.0.last().expect("an event")
    }

    pub(crate) fn of_type(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|event| event["type"] == kind).collect()
    }

    pub(crate) fn init(&self) -> &Value {
        self.0.iter().find(|event| event["type"] == "system" && event["subtype"] == "init").expect("an init event")
    }

    /// The text of all deltas.
    pub(crate) fn streamed(&self) -> String {
        let deltas = self.of_type("stream_event").into_iter().map(|event| &event["event"]["delta"]);
        deltas.filter(|delta| delta["type"] == "text_delta").filter_map(|delta| delta["text"].as_str()).collect()
    }

    /// The text of all closing assistant messages.
    pub(crate) fn closing(&self) -> String {
        let blocks = self.blocks("assistant").into_iter().filter(|block| block["type"] == "text");
        blocks.filter_map(|block| block["text"].as_str()).collect()
    }

    pub(crate) fn blocks(&self, kind: &str) -> Vec<&Value> {
        self.of_type(kind).into_iter().filter_map(|event| event["message"]["content"].as_array()).flatten().collect()
    }

    pub(crate) fn tool_results(&self) -> Vec<&Value> {
        self.blocks("user").into_iter().filter(|block| block["type"] == "tool_result").collect()
    }

    pub(crate) fn replays(&self) -> Vec<&Value> {
        self.of_type("user").into_iter().filter(|event| event["isReplay"] == true).collect()
    }
}
