//! Hears what other replicas do: one stream of the VM's index for all ideas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::hub::Hub;
use super::vm::{self, Vm};
use super::{RunError, Runs};
use crate::agent::{Decision, Line, Lines};
use crate::remote::Piece;

const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// Without any hub for this long, nobody needs to hear anything.
const LINGER: Duration = Duration::from_secs(60);

pub(super) type Hubs = Mutex<HashMap<String, Arc<Hub>>>;

pub(super) struct Index {
    listening: watch::Sender<Listening>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Off,
    /// The first attempt is under way: worth waiting for.
    Starting,
    On,
    /// It is tried again and again; whoever waited for that would wait as long as the outage.
    Failing,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { listening: watch::Sender::new(Listening::Off) }
    }

    /// Starts to listen if that is not done, and returns when it is: what another replica does from then on is heard.
    /// Gives up after a while; the caller's own way to the VM will tell why.
    pub(super) async fn listen(&self, runs: &Arc<Runs>) {
        let mut listening = self.listening.subscribe();
        let start = self.listening.send_if_modified(|listening| {
            let off = *listening == Listening::Off;
            if off {
                *listening = Listening::Starting;
            }
            off
        });
        if start {
            tokio::spawn(listen(Arc::downgrade(runs)));
        }
        let ready = listening.wait_for(|listening| *listening != Listening::Starting);
        let _ = tokio::time::timeout(Duration::from_secs(3), ready).await;
    }
}

async fn listen(runs: Weak<Runs>) {
    let mut place = None;
    let mut pause = BACKOFF_FIRST;
    loop {
        let Some(strong) = runs.upgrade() else { return };
        let vm = strong.vm();
        drop(strong);
        let heard = stream(&runs, &vm, &mut place, &mut pause).await;
        let Some(strong) = runs.upgrade() else { return };
        match heard {
            Ok(Heard::Unneeded) => {
                strong.index().listening.send_replace(Listening::Off);
                return;
            }
            Ok(Heard::Delivered) => continue,
            Ok(Heard::Ended) => {}
            Err(error) => tracing::debug!(%error, "the index of runs cannot be followed"),
        }
        // Whoever waits for it meets the same trouble by himself.
        strong.index().listening.send_replace(Listening::Failing);
        drop(strong);
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF_LAST);
    }
}

enum Heard {
    Ended,
    /// The program is on the VM now.
    Delivered,
    Unneeded,
}

async fn stream(runs: &Weak<Runs>, vm: &Vm, place: &mut Option<u64>, pause: &mut Duration) -> Result<Heard, RunError> {
    let mut stream = vm.index(*place).await?;
    let mut lines = Lines::new(0);
    loop {
        let piece = match tokio::time::timeout(LINGER, stream.next()).await {
            Ok(piece) => piece?,
            Err(_) => match runs.upgrade() {
                Some(strong) if strong.has_hubs() => continue,
                _ => return Ok(Heard::Unneeded),
            },
        };
        match piece {
            Piece::Output(bytes) if bytes.is_empty() => {}
            Piece::Output(bytes) => {
                let Some(strong) = runs.upgrade() else { return Ok(Heard::Unneeded) };
                lines.feed(&bytes, |line| hear(&strong, line, place));
                *pause = BACKOFF_FIRST;
            }
            Piece::NotDelivered => {
                vm.remote().deliver().await?.map_err(|finished| vm::failure_of(&finished))?;
                return Ok(Heard::Delivered);
            }
            Piece::Ended(_) => return Ok(Heard::Ended),
        }
    }
}

fn hear(runs: &Arc<Runs>, line: Line<'_>, place: &mut Option<u64>) {
    let text = String::from_utf8_lossy(line.bytes);
    let words: Vec<&str> = text.split(' ').collect();
    if let ["at", offset] = words.as_slice() {
        if let Ok(offset) = offset.parse() {
            *place = Some(offset);
            runs.index().listening.send_replace(Listening::On);
        }
        return;
    }
    if let Some(place) = place {
        *place += line.end - line.start;
    }
    match words.as_slice() {
        ["run", idea, run] => {
            if let (Some(hub), Ok(run)) = (runs.hub(idea), run.parse()) {
                hub.know(run);
            }
        }
        ["answer", idea, _run, request, decision] => {
            if let Some(hub) = runs.hub(idea) {
                hub.answered(request, Decision::named(decision).unwrap_or(Decision::Deny));
            }
        }
        _ => {}
    }
}

/// The hub of an idea, if there is one.
pub(super) fn look_up(hubs: &Hubs, idea: &str) -> Option<Arc<Hub>> {
    hubs.lock().unwrap_or_else(PoisonError::into_inner).get(idea).cloned()
}
