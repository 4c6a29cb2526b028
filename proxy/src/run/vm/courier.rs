//! Brings short messages to runs that are there through a shell on the VM that stays, so that the first event comes soon.
//!
//! It never decides what becomes of a message: whatever it cannot or does not do, and every doubt, is left to the command
//! `send`, which finds out by the message's id what was done.

use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::Lane;
use tokio::time::timeout;

use crate::remote::{Piece, Remote, Standing, Stream};

/// Longest line that is carried, in bytes: a shell reads byte by byte, and writes pieces of 4,096 at once.
const LIMIT: usize = 4000;
/// After this, `send` has to find out.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
const START_WITHIN: Duration = Duration::from_secs(10);

/// A message on its way.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) idea: &'a str,
    pub(super) folder: &'a str,
    pub(super) id: &'a str,
    pub(super) mode: &'a str,
    /// Claude's line and the log's, each with its newline.
    pub(super) lines: &'a str,
}

pub(super) struct Courier {
    remote: Arc<Remote>,
    shell: Arc<Standing<Stream>>,
}

impl Courier {
    pub(super) fn new(remote: Arc<Remote>) -> Courier {
        Courier { shell: Arc::new(Standing::new(remote.channels())), remote }
    }

    /// The run that has the message now; none if it has to be sent otherwise.
    pub(super) async fn carry(&self, message: Message<'_>) -> Option<u64> {
        // One at a time: who finds it busy does not wait.
        let mut held = self.shell.try_hold()?;
        // A caller that goes away in the midst of it leaves no half-read answer behind.
        let Some(mut stream) = held.take() else {
            drop(held);
            self.start();
            return None;
        };
        if message.lines.lines().any(|line| line.len() > LIMIT) || message.folder.contains('\n') {
            self.shell.leave(&mut held, stream);
            return None;
        }
        let Message { idea, folder, id, mode, lines } = message;
        let asked = format!("{idea}\n{folder}\n{id}\n{mode}\n{lines}");
        let answer = timeout(ANSWER_WITHIN, async {
            stream.write(asked.as_bytes()).await.ok()?;
            next_line(&mut stream).await
        });
        let answer = answer.await.ok().flatten().unwrap_or_default();
        let words: Vec<&str> = answer.split(' ').collect();
        let run = match words.as_slice() {
            ["accepted", of, run] if *of == id => run.parse().ok(),
            ["no", of] if *of == id => None,
            // None, or not to this: it is not used any more, and the next message finds another.
            _ => {
                drop(held);
                self.start();
                return None;
            }
        };
        self.shell.leave(&mut held, stream);
        run
    }

    /// Has the shell there for the next message, if it may stay.
    pub(super) fn start(&self) {
        if !self.shell.may_stay() {
            return;
        }
        let (remote, shell) = (Arc::clone(&self.remote), Arc::clone(&self.shell));
        let Some(mut held) = shell.try_hold().filter(|held| held.is_none()) else { return };
        tokio::spawn(async move {
            let starting = timeout(START_WITHIN, async {
                let mut stream = remote.stream(Lane::Interactive, &["courier"]).await.ok()?;
                (next_line(&mut stream).await? == "ready").then_some(stream)
            });
            match starting.await {
                Ok(Some(stream)) => shell.leave(&mut held, stream),
                _ => tracing::debug!("the courier on the VM did not start"),
            }
        });
    }
}

/// The next line of its output; none if there is not to be one.
async fn next_line(stream: &mut Stream) -> Option<String> {
    let mut said = Vec::new();
    loop {
        match stream.next().await {
            Ok(Piece::Output(bytes)) => said.extend_from_slice(&bytes),
            _ => return None,
        }
        if let Some(line) = said.strip_suffix(b"\n") {
            return String::from_utf8(line.to_vec()).ok();
        }
    }
}
