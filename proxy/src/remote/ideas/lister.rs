//! Reads every `meta.json` of a folder in one round trip: a small loop that stays on the VM answers each request anew.
//!
//! Nothing is remembered on the VM and no time stamp is believed: what comes back are the files as they are after the
//! request arrived there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalyst_ssh::{Exec, Lane, Output};
use tokio::time::{Instant, timeout_at};

use super::IdeasError;
use crate::remote::command::{self, MARKER};
use crate::remote::{Remote, RemoteError, Standing};

const LIST: &str = include_str!("../vm/list.sh");
/// As for every operation on ideas: longer than any healthy VM needs, shorter than the browser waits.
const DEADLINE: Duration = Duration::from_secs(15);
/// Tens of thousands of ideas.
const LIMIT: usize = 64 * 1024 * 1024;
const MISSING: &str = "3";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The folder of the ideas.
    Ideas,
    /// The trash in it.
    Trash,
}

impl Place {
    /// Where it is in the folder of the ideas; no slug begins with a dot.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Place::Ideas => "",
            Place::Trash => ".trash",
        }
    }
}

/// The loop on the VM, started when first needed and again when it broke; it stays while there are channels enough.
pub(super) struct Lister {
    remote: Arc<Remote>,
    running: Standing<Exec>,
}

/// How an attempt failed that may go well with a new loop.
enum Attempt {
    Broken(RemoteError),
    Failed(IdeasError),
}

impl Lister {
    /// Nothing is started yet.
    pub(super) fn new(remote: Arc<Remote>) -> Lister {
        Lister { running: Standing::new(remote.channels()), remote }
    }

    /// Names and files as `list.sh` prints them; empty where there is no such folder.
    ///
    /// # Errors
    /// When the VM cannot be reached or does not answer in time, or the folder cannot be read.
    pub(super) async fn ask(&self, place: Place) -> Result<Bytes, IdeasError> {
        let deadline = Instant::now() + DEADLINE;
        let late = || IdeasError::TimedOut { what: "list the ideas".to_owned() };
        let mut running = timeout_at(deadline, self.running.hold()).await.map_err(|_| late())?;
        for last in [false, true] {
            // Out of its place while in use: who is cancelled leaves no half-read answer to the next.
            let (held, fresh) = match running.take() {
                Some(held) => (held, false),
                None => (timeout_at(deadline, self.start()).await.map_err(|_| late())??, true),
            };
            match timeout_at(deadline, exchange(held, fresh, place)).await.map_err(|_| late())? {
                Ok((held, answer)) => {
                    self.running.leave(&mut running, held);
                    return Ok(answer);
                }
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Broken(error)) if last || fresh => return Err(error.into()),
                Err(Attempt::Broken(_)) => {}
            }
        }
        Err(IdeasError::Broken { what: "list the ideas".to_owned() })
    }

    async fn start(&self) -> Result<Exec, IdeasError> {
        let base = self.remote.base().await?;
        Ok(self
            .remote
            .pool()
            .exec(Lane::Interactive, &command::shell(LIST, &[&base]))
            .await
            .map_err(RemoteError::Ssh)?)
    }
}

async fn exchange(mut exec: Exec, fresh: bool, place: Place) -> Result<(Exec, Bytes), Attempt> {
    let broken = |failure| Attempt::Broken(RemoteError::Ssh(failure));
    let nonce = format!("{:032x}", rand::random::<u128>());
    let folder = place.folder();
    exec.write(format!("{nonce} {folder}\n").as_bytes()).await.map_err(broken)?;
    let end = format!("\n--{nonce}-");
    let mut answer: Vec<u8> = Vec::new();
    loop {
        match exec.next().await {
            Some(Output::Stdout(bytes)) => answer.extend_from_slice(&bytes),
            Some(Output::Stderr(_)) => continue,
            Some(Output::Exit(_) | Output::Signal(_)) if fresh && !has_marker(&answer) => {
                return Err(Attempt::Broken(RemoteError::NoShell("it ended at once".to_owned())));
            }
            Some(Output::Exit(_) | Output::Signal(_)) | None => return Err(broken(exec.lost())),
        }
        if answer.len() > LIMIT {
            return Err(Attempt::Failed(IdeasError::refused("list the ideas", "there are too many")));
        }
        // The end is the last that comes: `\n--NONCE-STATUS--\n`, and a status has three digits at most.
        let tail = answer.len().saturating_sub(end.len() + 6);
        let Some(found) = answer.get(tail..).and_then(|tail| memchr::memmem::find(tail, end.as_bytes())) else {
            continue;
        };
        let status = String::from_utf8_lossy(answer.get(tail + found + end.len()..).unwrap_or_default()).into_owned();
        let Some(status) = status.strip_suffix("--\n") else { continue };
        let head = if fresh { after_marker(&answer).map_err(Attempt::Failed)? } else { 0 };
        let listed = answer.get(head..tail + found).unwrap_or_default();
        return match status {
            // head says 1 and xargs 123 when one file could not be read: its name without a text tells.
            "0" | "1" | "123" => Ok((exec, Bytes::copy_from_slice(listed))),
            MISSING => Ok((exec, Bytes::new())),
            "4" => Err(Attempt::Failed(IdeasError::refused(
                "list the ideas",
                "the ideas folder (IDEAS_BASE_PATH) is no folder or may not be read; correct the path, its owner or mode",
            ))),
            other => Err(Attempt::Failed(IdeasError::refused("list the ideas", &format!("its sh ended with {other}")))),
        };
    }
}

fn has_marker(output: &[u8]) -> bool {
    command::after_marker(output).is_some()
}

/// Where the output of our script begins.
fn after_marker(output: &[u8]) -> Result<usize, IdeasError> {
    memchr::memmem::find(output, MARKER)
        .map(|at| at + MARKER.len())
        .ok_or_else(|| RemoteError::NoShell("it did not start our script".to_owned()).into())
}
