//! The commands of the program on the VM, typed.

mod courier;
mod permissions;
mod runs;

pub use runs::{RunList, RunSummary};

use courier::{Courier, Message};

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::{Finished, Lane, Reason};

use super::{IdeaRef, Mode, RunError, RunSettings};
use crate::agent::input::{self, Permissions, Prompt};
use crate::remote::ideas::Slug;
use crate::remote::{Remote, RemoteError, Stream};

const DEADLINE: Duration = Duration::from_secs(60);

/// How an idea's latest run stands.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    /// 0 if there was none.
    pub(super) run: u64,
    pub(super) live: bool,
    pub(super) mode: Mode,
    pub(super) size: u64,
    pub(super) answered: HashSet<String>,
}

impl Latest {
    /// The latest run, if there was one.
    pub(super) fn run(&self) -> Option<u64> {
        Some(self.run).filter(|run| *run > 0)
    }

    /// Whether this run is over. That is not known where neither it nor a later one is seen: their folders are out of sight (a home
    /// that is not mounted yet) or gone.
    pub(super) fn is_over(&self, run: u64) -> bool {
        self.run > run || self.run == run && !self.live
    }
}

/// A range of a log.
pub(super) struct Range {
    /// What the lines that begin before the range mean to a decoder, as lines; empty unless it was asked for.
    pub(super) before: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// How a turn was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// None ran.
    Idle,
    /// Claude ended it and goes on waiting.
    Interrupted,
    /// Claude did not; the process is gone.
    Killed,
}

pub(super) struct Vm {
    remote: Arc<Remote>,
    courier: Courier,
}

impl Vm {
    pub(super) fn new(remote: Arc<Remote>) -> Vm {
        Vm { courier: Courier::new(Arc::clone(&remote)), remote }
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Somebody looks, who may say something soon.
    pub(super) fn expect_messages(&self) {
        self.courier.start();
    }

    async fn folder(&self, idea: &IdeaRef) -> Result<String, RunError> {
        identifier(&idea.id, "The idea's id")?;
        // A folder that the existing application made may have a longer name than an identifier.
        Slug::accept(&idea.slug).ok_or(RunError::BadIdentifier("The idea's slug"))?;
        Ok(format!("{}/{}", self.remote.base().await?, idea.slug))
    }

    /// The absolute path of a run's log.
    pub(super) async fn log(&self, idea: &IdeaRef, run: u64) -> Result<String, RunError> {
        Ok(format!("{}/runs/{run}/log.jsonl", self.folder(idea).await?))
    }

    pub(super) async fn state(&self, idea: &IdeaRef) -> Result<Latest, RunError> {
        let folder = self.folder(idea).await?;
        let output = self.call(&["state", &idea.id, &folder], b"").await?;
        let text = String::from_utf8_lossy(&output);
        let mut latest = None;
        let mut answered = HashSet::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["run", run, live, mode, size] => {
                    latest = Some(Latest {
                        run: run.parse().map_err(|_| unexpected(line))?,
                        live: *live == "live",
                        mode: mode_of(mode),
                        size: size.parse().map_err(|_| unexpected(line))?,
                        answered: HashSet::new(),
                    });
                }
                ["answered", request] => {
                    answered.insert((*request).to_owned());
                }
                _ => {}
            }
        }
        latest.map(|latest| Latest { answered, ..latest }).ok_or_else(|| unexpected(&text))
    }

    pub(super) async fn send(
        &self,
        idea: &IdeaRef,
        message_id: &str,
        prompt: &Prompt<'_>,
        settings: &RunSettings,
    ) -> Result<u64, RunError> {
        let folder = self.folder(idea).await?;
        let lines = input::turn(message_id, prompt);
        let length = lines.len().to_string();
        let limits = [settings.silence, settings.idle, settings.approval].map(seconds).join(" ");
        let limits = format!("{limits} {}", settings.turn.map_or_else(|| "0".to_owned(), seconds));
        let session = idea.session_id.as_deref().filter(|id| identifier(id, "").is_ok()).unwrap_or("-");
        let mode_word = run_mode(prompt.mode, prompt.permissions);
        let short = Message { idea: &idea.id, folder: &folder, id: message_id, mode: &mode_word, lines: &lines };
        if let Some(run) = self.courier.carry(short).await {
            return Ok(run);
        }
        let mut args = vec!["send", &idea.id, &folder, message_id, &mode_word, &length, session, &limits];
        args.push(&settings.claude_command);
        args.extend_from_slice(&input::arguments(prompt.mode, prompt.permissions));
        let output = self.call(&args, lines.as_bytes()).await?;
        let text = String::from_utf8_lossy(&output);
        let run = text.lines().find_map(|line| line.strip_prefix("accepted ")?.parse().ok());
        run.ok_or_else(|| unexpected(&text))
    }

    pub(super) async fn stop(&self, idea: &IdeaRef, grace: Duration) -> Result<Stopped, RunError> {
        let folder = self.folder(idea).await?;
        let request = format!("stop-{}", uuid::Uuid::new_v4());
        let tenths = (grace.as_millis() / 100).max(1).to_string();
        let args = ["stop", &idea.id, &folder, &request, &tenths];
        let output = self.call_within(DEADLINE + grace, &args, input::interrupt(&request).as_bytes()).await?;
        match String::from_utf8_lossy(&output).trim_end() {
            "idle" => Ok(Stopped::Idle),
            "interrupted" => Ok(Stopped::Interrupted),
            "killed" => Ok(Stopped::Killed),
            other => Err(unexpected(other)),
        }
    }

    pub(super) async fn end(&self, idea: &IdeaRef) -> Result<(), RunError> {
        let folder = self.folder(idea).await?;
        self.call(&["end", &idea.id, &folder], b"").await.map(drop)
    }

    /// Up to `length` bytes of a run's log from `start` on; None if there is no such log.
    pub(super) async fn read(
        &self,
        idea: &IdeaRef,
        run: u64,
        start: u64,
        length: u64,
        before: bool,
    ) -> Result<Option<Range>, RunError> {
        let log = self.log(idea, run).await?;
        let (start, length) = (start.to_string(), length.to_string());
        let args = ["read", &log, &start, &length, if before { "1" } else { "0" }];
        let mut output = match self.call_in(DEADLINE, Lane::Bulk, &args, b"").await {
            Ok(output) => output,
            Err(RunError::BadPosition) => return Ok(None),
            Err(error) => return Err(error),
        };
        let head_end = memchr::memchr(b'\n', &output).ok_or_else(|| unexpected("no head"))?;
        let head = String::from_utf8_lossy(output.get(..head_end).unwrap_or_default()).into_owned();
        let (_, before) = head.split_once(' ').ok_or_else(|| unexpected(&head))?;
        let before: usize = before.parse().map_err(|_| unexpected(&head))?;
        let rest = output.get(head_end + 1..).unwrap_or_default();
        let before = rest.get(..before).ok_or_else(|| unexpected(&head))?.to_vec();
        // Not copied: it may be megabytes, and several viewers read at once.
        output.drain(..head_end + 1 + before.len());
        Ok(Some(Range { before, bytes: output }))
    }

    /// Where the line of a request for permission begins and ends in a run's log; none if it is not there.
    pub(super) async fn place(
        &self,
        idea: &IdeaRef,
        run: u64,
        request_id: &str,
    ) -> Result<Option<(u64, u64)>, RunError> {
        identifier(request_id, "The request's id")?;
        let log = self.log(idea, run).await?;
        let output = self.call_in(DEADLINE, Lane::Bulk, &["place", &log, request_id], b"").await?;
        let text = String::from_utf8_lossy(&output);
        let Some((start, end)) = text.trim_end().split_once(' ') else { return Ok(None) };
        Ok(start.parse().ok().zip(end.parse().ok()))
    }

    pub(super) async fn follow(&self, idea: &IdeaRef, run: u64, offset: u64) -> Result<Stream, RunError> {
        let folder = self.folder(idea).await?;
        let (run, offset) = (run.to_string(), offset.to_string());
        Ok(self.remote.stream(Lane::Interactive, &["follow", &idea.id, &folder, &run, &offset]).await?)
    }

    pub(super) async fn index(&self, from: Option<u64>) -> Result<Stream, RunError> {
        let from = from.map_or_else(|| "end".to_owned(), |offset| offset.to_string());
        Ok(self.remote.stream(Lane::Interactive, &["index", &from]).await?)
    }

    async fn call(&self, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, RunError> {
        self.call_within(DEADLINE, args, stdin).await
    }

    async fn call_within(&self, deadline: Duration, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, RunError> {
        self.call_in(deadline, Lane::Interactive, args, stdin).await
    }

    /// Every command may be said twice, so one lost connection is not yet a failure.
    async fn call_in(&self, deadline: Duration, lane: Lane, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, RunError> {
        let finished = match self.remote.call(deadline, lane, args, stdin).await {
            Err(RemoteError::Ssh(failure)) if failure.reason == Reason::ConnectionLost => {
                self.remote.call(deadline, lane, args, stdin).await?
            }
            other => other?,
        };
        if finished.status == Some(0) { Ok(finished.stdout) } else { Err(failure_of(&finished)) }
    }
}

/// What a command that failed means.
pub(super) fn failure_of(finished: &Finished) -> RunError {
    let stdout = String::from_utf8_lossy(&finished.stdout);
    let stderr = String::from_utf8_lossy(&finished.stderr);
    let line = stdout.lines().find_map(|line| line.strip_prefix("error ")).unwrap_or_default();
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let full = stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded");
    match word {
        "claude_missing" => RunError::ClaudeMissing,
        "setsid_missing" => RunError::SetsidMissing,
        "idea_gone" => RunError::IdeaGone,
        "request_gone" => RunError::RequestGone,
        "already_answered" => RunError::AlreadyAnswered,
        "log_gone" => RunError::BadPosition,
        "not_started" => RunError::NotStarted(words(rest)),
        "not_stopped" => RunError::NotStopped(words(rest)),
        _ if full => RunError::DiskFull,
        "storage" => RunError::NotWritable(rest.to_owned()),
        "storage_or_cut" => RunError::BadMessage("The message did not arrive whole. Send it again.".to_owned()),
        _ if stderr.contains("Read-only file system") || stderr.contains("Permission denied") => {
            RunError::NotWritable("its home folder".to_owned())
        }
        _ => unexpected(stderr.trim().lines().last().unwrap_or("the program on the VM failed")),
    }
}

fn words(text: &str) -> String {
    let text = text.replace("\\n", " ").trim().to_owned();
    if text.is_empty() { "it did not say why".to_owned() } else { text }
}

pub(super) fn unexpected(what: &str) -> RunError {
    let short: String = what.chars().take(200).collect();
    RunError::Remote(RemoteError::NoShell(short))
}

fn seconds(duration: Duration) -> String {
    duration.as_millis().div_ceil(1000).max(1).to_string()
}

/// What a run is started for, as the VM knows it: runs that differ in it are different processes.
fn run_mode(mode: Mode, permissions: Permissions) -> String {
    match mode {
        Mode::Chat => mode.as_str().to_owned(),
        Mode::Build => format!("{}:{}", mode.as_str(), permissions.as_str()),
    }
}

fn mode_of(word: &str) -> Mode {
    if word == "build" { Mode::Build } else { Mode::Chat }
}

/// Whether a text may be part of a path or travel through the FIFO.
pub(super) fn identifier(text: &str, what: &'static str) -> Result<(), RunError> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if fits { Ok(()) } else { Err(RunError::BadIdentifier(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_is_out_of_sight_is_not_over() {
        let latest = |run, live| Latest { run, live, mode: Mode::Chat, size: 0, answered: HashSet::new() };
        let over = [(2, false), (3, true), (3, false)].map(|(run, live)| latest(run, live).is_over(2));
        assert_eq!(over, [true; 3]);
        let on = [(2, true), (0, false), (1, false)].map(|(run, live)| latest(run, live).is_over(2));
        assert_eq!(on, [false; 3]);
    }
}
