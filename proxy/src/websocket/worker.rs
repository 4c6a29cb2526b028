//! One idea on one socket: its commands in order, and the one viewer that sends its frames.
//!
//! When the socket goes, looking ends; what acts on the VM (a message, a stop, an answer) is still carried out.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::incoming::Room;
use super::outgoing::Outgoing;
use crate::app::App;
use crate::audit;
use crate::auth::cookie::Session;
use crate::observer::reference;
use crate::protocol::{self, About, Command, Frames, Notice, Prefix};
use crate::remote::ideas::IdeasError;
use crate::run::{IdeaRef, Mode, Position, Prompt, RunError, Runs};
use crate::websocket::viewer::FromTurn;

/// Frames are put together up to about this many bytes.
const BATCH: usize = 64 * 1024;

/// A command, who gave it, and the room that it takes until it is carried out.
pub(super) struct Order {
    pub(super) command: Command,
    pub(super) by: Arc<Session>,
    pub(super) room: Room,
}

/// A running worker; ends by itself when there is nothing left to do, or when it is dropped and what acts is done.
pub(super) struct Worker {
    pub(super) orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
    _here: DropGuard,
}

impl Worker {
    /// Starts it; `waiting` is the other end of `orders`.
    pub(super) fn start(
        app: App,
        idea_id: String,
        orders: mpsc::Sender<Order>,
        mut waiting: mpsc::Receiver<Order>,
        outgoing: Outgoing,
    ) -> Worker {
        let gone = CancellationToken::new();
        let here = gone.clone().drop_guard();
        let tracker = app.acts.clone();
        let mut work = Work { app, idea_id, outgoing, viewer: None };
        let task = tracker.spawn(async move {
            loop {
                let order = match waiting.try_recv() {
                    Ok(order) => order,
                    Err(_) if work.is_watched() => match waiting.recv().await {
                        Some(order) => order,
                        None => return,
                    },
                    Err(_) => {
                        // From here on a sender is refused and starts a new worker; what came before is still done.
                        waiting.close();
                        match waiting.recv().await {
                            Some(order) => order,
                            None => return,
                        }
                    }
                };
                let Order { command, by, room } = order;
                if command.acts() {
                    work.carry_out(command, &by).await;
                } else if gone.run_until_cancelled(work.carry_out(command, &by)).await.is_none() {
                    work.viewer = None;
                }
                drop(room);
            }
        });
        Worker { orders, task, _here: here }
    }

    /// Whether it has ended.
    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }
}

struct Work {
    app: App,
    idea_id: String,
    outgoing: Outgoing,
    viewer: Option<AbortOnDropHandle<()>>,
}

impl Work {
    fn is_watched(&self) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| !viewer.is_finished())
    }

    async fn carry_out(&mut self, command: Command, by: &Session) {
        if matches!(command, Command::Unsubscribe) {
            self.viewer = None;
            return;
        }
        let (about, said) = (command.about(), command.said());
        let outcome = self.try_to_carry_out(command, by.user.as_deref()).await;
        if let (Some(said), Some(request)) = (said, &about.request_id) {
            audit::answer(by, &self.idea_id, request, said, outcome_word(&outcome));
        }
        if let Err(failed) = outcome {
            self.error(&failed.to_string(), &about).await;
        }
    }

    async fn try_to_carry_out(&mut self, command: Command, by: Option<&str>) -> Result<(), Failed> {
        let idea = match self.app.ideas.get(&self.idea_id).await {
            Ok(idea) => reference(&idea),
            Err(IdeasError::NotFound) => return Err(Failed::Idea(format!("Idea not found: {}", self.idea_id))),
            Err(error) => return Err(Failed::Idea(error.to_string())),
        };
        match command {
            Command::Chat { message, message_id } => {
                self.send(&idea, Prompt { by, ..Prompt::new(Mode::Chat, &message) }, message_id).await
            }
            Command::Build { instructions, message_id, permissions } => {
                let prompt = Prompt { permissions, by, ..Prompt::new(Mode::Build, &instructions) };
                self.send(&idea, prompt, message_id).await
            }
            Command::Cancel => self.app.runs.stop(&idea).await,
            Command::Subscribe { after } => {
                self.viewer = None;
                self.watch(idea, after).await;
                Ok(())
            }
            Command::Unsubscribe => Ok(()),
            Command::Page { before } => match self.app.runs.page(&idea, before).await {
                Ok(page) => {
                    self.outgoing.text(protocol::history(&self.idea_id, &page.frames, page.before)).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Command::Answer { request_id, answer } => self.app.runs.answer(&idea, &request_id, answer).await,
            Command::Permissions => self.tell_rules(self.app.runs.allowances(&idea).await).await,
            Command::Revoke { rule } => {
                tracing::info!(idea = idea.slug, "a standing permission is revoked");
                self.tell_rules(self.app.runs.revoke(&idea, &rule).await).await
            }
            Command::Runs { before } => self.tell_runs(&idea, before).await,
            Command::Trim { keep } => match self.app.runs.trim(&idea, keep).await {
                Ok(()) => {
                    tracing::info!(idea = idea.slug, keep, "old runs are removed");
                    self.tell_runs(&idea, None).await
                }
                Err(error) => Err(error),
            },
        }
        .map_err(Failed::Run)
    }

    async fn tell_rules(&self, rules: Result<Vec<String>, RunError>) -> Result<(), RunError> {
        self.outgoing.text(Notice::Permissions { rules: &rules? }.encode(&self.idea_id)).await;
        Ok(())
    }

    async fn tell_runs(&self, idea: &IdeaRef, before: Option<u64>) -> Result<(), RunError> {
        let list = self.app.runs.list(idea, before).await?;
        self.outgoing.text(Notice::runs(&list).encode(&self.idea_id)).await;
        Ok(())
    }

    async fn send(&mut self, idea: &IdeaRef, prompt: Prompt<'_>, message_id: Option<String>) -> Result<(), RunError> {
        let mode = prompt.mode;
        let id = message_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let accepted = self.app.runs.send_prompt(idea, prompt, Some(&id)).await?;
        self.app.observer.turn_accepted(idea, mode);
        tracing::info!(idea = idea.slug, run = accepted.run, mode = ?mode, "message taken");
        if let Some(message_id) = &message_id {
            let notice = Notice::Accepted { message_id, run: accepted.run };
            self.outgoing.text(notice.encode(&self.idea_id)).await;
        }
        if !self.is_watched() {
            // The existing client never subscribes: it gets what its own message brings.
            let viewer = Viewer::new(self, idea.clone());
            self.viewer = Some(spawn(viewer.only_from(FromTurn::new(accepted.run, id))));
        }
        Ok(())
    }

    async fn watch(&mut self, idea: IdeaRef, after: Option<Position>) {
        let viewer = Viewer::new(self, idea);
        self.viewer = Some(spawn(viewer.all_after(after)));
    }

    async fn error(&self, error: &str, about: &About) {
        self.outgoing.failure(&self.idea_id, error, about).await;
    }
}

/// Why a command was not carried out; a sentence for the user.
#[derive(thiserror::Error, Debug)]
enum Failed {
    #[error("{0}")]
    Idea(String),
    #[error(transparent)]
    Run(RunError),
}

/// How an answer fared, in a word.
fn outcome_word(outcome: &Result<(), Failed>) -> &'static str {
    match outcome {
        Ok(()) => "taken",
        Err(Failed::Run(RunError::AlreadyAnswered | RunError::RequestGone)) => "late",
        Err(_) => "failed",
    }
}

fn spawn(viewer: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(viewer))
}

struct Viewer {
    runs: Arc<Runs>,
    idea: IdeaRef,
    idea_id: String,
    prefix: Prefix,
    outgoing: Outgoing,
}

impl Viewer {
    fn new(work: &Work, idea: IdeaRef) -> Viewer {
        Viewer {
            runs: work.app.runs.clone(),
            idea,
            idea_id: work.idea_id.clone(),
            prefix: Prefix::new(&work.idea_id),
            outgoing: work.outgoing.clone(),
        }
    }

    /// Answers `subscribe`, then sends every frame.
    async fn all_after(self, mut after: Option<Position>) {
        let mut subscribed = self.runs.subscribe(&self.idea, after).await;
        if matches!(subscribed, Err(RunError::BadPosition)) && after.is_some() {
            // The log is not the one that the client remembers (a restored VM, a removed run): it starts afresh.
            after = None;
            subscribed = self.runs.subscribe(&self.idea, None).await;
        }
        let mut subscription = match subscribed {
            Ok(subscription) => subscription,
            Err(error) => return self.error(&error.to_string()).await,
        };
        if !self.outgoing.text(Notice::subscribed(&subscription.start, after).encode(&self.idea_id)).await {
            return;
        }
        // An error is an outage that is told once; the frames go on when it is over.
        while let Some(next) = subscription.next().await {
            match next {
                Ok(frame) => {
                    let mut frames = Frames::new(&self.prefix);
                    frames.push(&frame.body);
                    // What else is there goes with it, in one write.
                    while frames.size() < BATCH
                        && let Some(frame) = subscription.try_next()
                    {
                        frames.push(&frame.body);
                    }
                    if !self.outgoing.all(frames.into_texts()).await {
                        return;
                    }
                }
                Err(error) => self.error(&error.to_string()).await,
            }
        }
    }

    /// Sends the frames of a turn that was just taken and all that follow.
    async fn only_from(self, mut turn: FromTurn) {
        let mut subscription = match self.runs.subscribe(&self.idea, None).await {
            Ok(subscription) => subscription,
            Err(error) => return self.error(&error.to_string()).await,
        };
        while let Some(next) = subscription.next().await {
            match next {
                Ok(frame) => {
                    let mut frames = Frames::new(&self.prefix);
                    turn.pass(frame).iter().for_each(|frame| frames.push(&frame.body));
                    while frames.size() < BATCH
                        && let Some(frame) = subscription.try_next()
                    {
                        turn.pass(frame).iter().for_each(|frame| frames.push(&frame.body));
                    }
                    if frames.size() > 0 && !self.outgoing.all(frames.into_texts()).await {
                        return;
                    }
                }
                Err(error) => self.error(&error.to_string()).await,
            }
        }
    }

    async fn error(&self, error: &str) {
        self.outgoing.notice(&self.idea_id, error).await;
    }
}
