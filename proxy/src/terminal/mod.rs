//! Terminals: shells on the VM in the ideas' folders, kept by tmux or screen there, or by this process.
//!
//! Each attachment to one that the VM keeps has a task and an SSH connection of its own, and so has each plain one, which
//! has at most one viewer. A terminal's connection is never shared: a viewer that reads slowly holds up nobody else.
//! Identifiers that reach the VM are of a strict alphabet; what is typed goes to the terminal and nowhere else.

mod cast;
mod error;
pub mod protocol;
mod recorder;
mod replies;
mod ring;
mod session;
mod shell;
mod sweep;
mod viewer;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use catalyst_ssh::{Lane, Size};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::remote::Remote;
use crate::remote::ideas::Idea;
use crate::settings::TerminalMode;
use protocol::{Keeper, Place};
use session::{Act, Command, Looks, Patience, Session};
use shell::Wanted;
use viewer::Newcomer;

pub use error::TerminalError;
pub use viewer::Event;

const LIST: &str = include_str!("list.sh");
const CLOSE: &str = include_str!("close.sh");
/// Terminals of one replica, each with an SSH connection.
const AT_ONCE: usize = 64;
/// What a viewer is told and has not taken; output is bounded by credit besides.
const EVENTS: usize = 16;

/// How terminals behave.
#[derive(Clone, Debug)]
pub struct TerminalSettings {
    /// Whether there are terminals, and what may keep them.
    pub mode: TerminalMode,
    /// How long a plain one stays without viewer.
    pub grace: Duration,
    /// How long one stays that nobody types into and that prints nothing.
    pub idle: Duration,
    /// If they are recorded, bytes of one recording at most.
    pub recording: Option<u64>,
}

impl Default for TerminalSettings {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        TerminalSettings { mode: TerminalMode::Auto, grace: hour / 2, idle: hour * 24, recording: None }
    }
}

/// A terminal's number within its idea, 1 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number(u8);

impl std::str::FromStr for Number {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.as_bytes() {
            [digit @ b'1'..=b'9'] => Ok(Number(digit - b'0')),
            _ => Err(()),
        }
    }
}

/// A terminal as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its number.
    pub terminal: u8,
    /// What keeps it.
    pub keeper: Keeper,
    /// How many look at it.
    pub attached: usize,
    /// When it began, where known.
    pub created_at: Option<Timestamp>,
    /// When something was typed or printed last, where known.
    pub active_at: Option<Timestamp>,
}

/// All terminals of this replica, and the way to those that the VM keeps.
pub struct Terminals {
    remote: Arc<Remote>,
    settings: TerminalSettings,
    places: Mutex<HashMap<(String, Number), Arc<Slot>>>,
    room: Arc<Semaphore>,
    viewers: AtomicU64,
    tasks: TaskTracker,
}

/// One idea's terminal of one number.
#[derive(Default)]
struct Slot {
    /// Held while one is opened, so that two who come at once do not start two plain ones.
    opening: tokio::sync::Mutex<()>,
    live: Mutex<Vec<Live>>,
}

/// A task that serves a terminal.
#[derive(Clone)]
struct Live {
    commands: mpsc::Sender<Command>,
    keeper: Keeper,
    created_at: Timestamp,
    looks: Arc<Looks>,
}

/// A viewer's end of a terminal; dropping it detaches.
pub struct Attachment {
    viewer: u64,
    commands: mpsc::Sender<Command>,
    /// What the viewer is told; ends with an [`Event`] that says why, or without when the task is gone.
    pub events: mpsc::Receiver<Event>,
}

impl Attachment {
    /// What was typed.
    pub async fn input(&self, bytes: Bytes) {
        self.act(Act::Input(bytes)).await;
    }

    /// The emulator's new size.
    pub async fn resize(&self, size: Size) {
        self.act(Act::Resize(size)).await;
    }

    /// So many more bytes of output were consumed.
    pub async fn credit(&self, bytes: u64) {
        self.act(Act::Credit(bytes)).await;
    }

    async fn act(&self, act: Act) {
        // Where the task has ended, the events tell.
        let _over = self.commands.send(Command::From(self.viewer, act)).await;
    }
}

impl Terminals {
    /// None is open yet.
    pub fn new(remote: Arc<Remote>, settings: TerminalSettings) -> Arc<Terminals> {
        Arc::new(Terminals {
            remote,
            settings,
            places: Mutex::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
            viewers: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        })
    }

    /// Attaches to a terminal; starts it where it does not run.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn open(
        &self,
        idea: &Idea,
        number: Number,
        size: Size,
        resume: Option<Place>,
    ) -> Result<Attachment, TerminalError> {
        if self.settings.mode == TerminalMode::Off {
            return Err(TerminalError::Off);
        }
        let slot = self.slot(idea, number);
        let _opening = slot.opening.lock().await;
        let (events, told) = mpsc::channel(EVENTS);
        let viewer = self.viewers.fetch_add(1, Ordering::Relaxed);
        let mut newcomer = Newcomer { id: viewer, size, resume, events };
        if let Some(live) = slot.plain() {
            match live.commands.send(Command::Attach(newcomer)).await {
                Ok(()) => return Ok(Attachment { viewer, commands: live.commands, events: told }),
                // It ended in this moment.
                Err(mpsc::error::SendError(Command::Attach(back))) => newcomer = back,
                Err(_) => return Err(TerminalError::NotFound),
            }
        }
        let Ok(room) = self.room.clone().try_acquire_owned() else { return Err(TerminalError::TooMany(AT_ONCE)) };
        let name = name(idea, number);
        let shell = shell::start(
            &self.remote,
            &Wanted {
                slug: &idea.slug,
                id: &idea.id,
                number: number.0,
                name: &name,
                kept: self.settings.mode == TerminalMode::Auto,
                size,
                recording: self.settings.recording,
            },
        )
        .await?;
        tracing::info!(idea = idea.slug, terminal = number.0, keeper = ?shell.keeper, resumed = shell.resumed, "terminal opened");
        let live = self.begin(&slot, number, shell, room);
        let _starts = live.commands.send(Command::Attach(newcomer)).await;
        Ok(Attachment { viewer, commands: live.commands, events: told })
    }

    fn begin(&self, slot: &Arc<Slot>, number: Number, shell: shell::Shell, room: OwnedSemaphorePermit) -> Live {
        let (commands, waiting) = mpsc::channel(session::COMMANDS);
        let looks = Arc::new(Looks::default());
        let live = Live { commands, keeper: shell.keeper, created_at: Timestamp::now(), looks: looks.clone() };
        slot.lock().push(live.clone());
        let patience = Patience { grace: self.settings.grace, idle: self.settings.idle };
        let session_id = uuid::Uuid::new_v4().simple().to_string();
        let session = Session::new(shell, number.0, session_id, patience, looks);
        self.tasks.spawn(async move {
            session.run(waiting).await;
            drop(room);
        });
        live
    }

    /// How many this replica serves or keeps at the moment.
    pub fn open_now(&self) -> usize {
        AT_ONCE.saturating_sub(self.room.available_permits())
    }

    /// The idea's terminals, by number.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn list(&self, idea: &Idea) -> Result<Vec<Listed>, TerminalError> {
        let mut listed = Vec::new();
        let finished = self.remote.sh(Lane::Interactive, LIST, &[&prefix(idea)], b"").await?;
        listed.extend(String::from_utf8_lossy(&finished.stdout).lines().filter_map(parse_listed));
        for number in 1..=9 {
            if let Some(live) = self.known(idea, Number(number)).and_then(|slot| slot.plain()) {
                let active = live.looks.active_at.load(Ordering::Relaxed);
                listed.push(Listed {
                    terminal: number,
                    keeper: Keeper::Plain,
                    attached: live.looks.viewers.load(Ordering::Relaxed),
                    created_at: Some(live.created_at),
                    active_at: Timestamp::from_second(active).ok(),
                });
            }
        }
        listed.sort_by_key(|listed| listed.terminal);
        Ok(listed)
    }

    /// Ends a terminal and what runs in it, whoever looks at it.
    ///
    /// # Errors
    /// [`TerminalError::NotFound`], or why the VM cannot be asked.
    pub async fn close(&self, idea: &Idea, number: Number) -> Result<(), TerminalError> {
        let mut found = false;
        if let Some(slot) = self.known(idea, number) {
            let all = std::mem::take(&mut *slot.lock());
            for live in all {
                found |= live.commands.send(Command::Close).await.is_ok() && live.keeper == Keeper::Plain;
            }
        }
        let finished = self.remote.sh(Lane::Interactive, CLOSE, &[&name(idea, number)], b"").await?;
        if found || finished.stdout.starts_with(b"closed") {
            tracing::info!(idea = idea.slug, terminal = number.0, "terminal closed");
            return Ok(());
        }
        Err(TerminalError::NotFound)
    }

    /// Ends all terminals of an idea.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn close_all(&self, idea: &Idea) -> Result<(), TerminalError> {
        for listed in self.list(idea).await? {
            match self.close(idea, Number(listed.terminal)).await {
                // It ended by itself meanwhile.
                Ok(()) | Err(TerminalError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends what this process serves, as it ends itself, and waits until what was recorded is written. What tmux and screen keep goes on.
    pub async fn finish(&self) {
        let all: Vec<Live> = {
            let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.values().flat_map(|slot| slot.lock().clone()).collect()
        };
        for live in all {
            let _over = live.commands.send(Command::Close).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn slot(&self, idea: &Idea, number: Number) -> Arc<Slot> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever opens one holds its slot, so none is taken away under anybody's hands.
        places.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.lock().is_empty());
        places.entry((idea.id.clone(), number)).or_default().clone()
    }

    fn known(&self, idea: &Idea, number: Number) -> Option<Arc<Slot>> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&(idea.id.clone(), number)).cloned()
    }
}

impl Slot {
    /// The tasks that live.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Live>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|live| !live.commands.is_closed());
        live
    }

    fn plain(&self) -> Option<Live> {
        self.lock().iter().find(|live| live.keeper == Keeper::Plain).cloned()
    }
}

/// What the names of an idea's terminals on the VM begin with. An idea's id is of letters, digits, `-` and `_`.
fn prefix(idea: &Idea) -> String {
    format!("catalyst-{}-", idea.id)
}

fn name(idea: &Idea, number: Number) -> String {
    format!("{}{}", prefix(idea), number.0)
}

fn parse_listed(line: &str) -> Option<Listed> {
    let mut words = line.split(' ');
    let keeper = match words.next()? {
        "tmux" => Keeper::Tmux,
        "screen" => Keeper::Screen,
        _ => return None,
    };
    let terminal = words.next()?.rsplit_once('-')?.1.parse().ok()?;
    let attached = words.next()?.parse().ok()?;
    let mut time = || Timestamp::from_second(words.next()?.parse().ok().filter(|second| *second > 0)?).ok();
    Some(Listed { terminal, keeper, attached, created_at: time(), active_at: time() })
}
