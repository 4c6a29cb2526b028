//! One terminal's task: it alone touches the SSH channel, keeps the latest output and serves the viewer.
//!
//! Output goes VM → ring → viewer, and never further ahead of the viewer than the ring and the viewer's credit allow:
//! then reading from the network pauses, and what runs on the VM waits. Without a viewer a terminal that tmux or screen
//! keeps lets go at once; a plain one runs on for a while and its output turns over in the ring.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use catalyst_ssh::{Connection, Failure, Output, Size, TerminalReader, TerminalWriter};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::protocol::{Exit, ExitReason, Keeper, Opened};
use super::recorder::Recorder;
use super::ring::Ring;
use super::shell::Shell;
use super::viewer::{Event, Newcomer, OUTPUT_WINDOW, Viewer};

/// Commands that wait for the task.
pub(super) const COMMANDS: usize = 64;
/// Exit status of the script when tmux or screen go on without us.
const DETACHED: u32 = 75;
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// After this much silence the VM is asked whether it is there, and so long it has to answer. With [`LOOK_EVERY`] these are less than the
/// 15 s within which a VM that stands still is told.
const QUIET: Duration = Duration::from_secs(4);
const ANSWER_WITHIN: Duration = Duration::from_secs(7);

/// What is asked of a terminal.
#[derive(Debug)]
pub(super) enum Command {
    /// Look at it, in place of whoever looked before.
    Attach(Newcomer),
    /// By the viewer of this id.
    From(u64, Act),
    /// End it.
    Close,
}

/// What a viewer does.
#[derive(Debug)]
pub(super) enum Act {
    Input(Bytes),
    Resize(Size),
    Credit(u64),
}

/// What others may know of a terminal without asking it.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Seconds since the epoch.
    pub(super) active_at: AtomicI64,
    pub(super) viewers: AtomicUsize,
}

/// How long a terminal stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A plain one without viewer.
    pub(super) grace: Duration,
    /// A plain one that nobody types into and that prints nothing. Of one that the VM keeps, `sweep` decides.
    pub(super) idle: Duration,
}

enum Typed {
    Keys(Bytes),
    Size(Size),
}

enum Ending {
    Exit(Exit),
    Failed(Failure),
}

/// The state of the task.
pub(super) struct Session {
    connection: Connection,
    reader: TerminalReader,
    keeper: Keeper,
    opened: Opened,
    patience: Patience,
    looks: Arc<Looks>,
    ring: Ring,
    recorder: Option<Recorder>,
    viewer: Option<Viewer>,
    keys: BytesMut,
    sizes: Vec<Size>,
    to_type: mpsc::Sender<Typed>,
    taken: mpsc::Receiver<usize>,
    _typist: AbortOnDropHandle<()>,
    ending: Option<Ending>,
    active: Instant,
    heard: Instant,
    alone_since: Instant,
    paused_since_asked: bool,
}

type Asked = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Session {
    pub(super) fn new(shell: Shell, number: u8, name: String, patience: Patience, looks: Arc<Looks>) -> Session {
        let Shell { connection, reader, writer, keeper, resumed, output, mut recorder } = shell;
        let (to_type, typed) = mpsc::channel(1);
        let (tell, taken) = mpsc::channel(16);
        let typist = AbortOnDropHandle::new(tokio::spawn(type_in(writer, typed, tell)));
        let opened = Opened {
            terminal: number,
            keeper,
            session: name,
            resumed,
            lost: false,
            offset: 0,
            replay: 0,
            window: OUTPUT_WINDOW,
            recorded: recorder.is_some(),
        };
        let mut ring = Ring::default();
        ring.push(&output, None);
        if let Some(recorder) = &mut recorder {
            recorder.output(&output);
        }
        let now = Instant::now();
        Session {
            connection,
            reader,
            keeper,
            opened,
            patience,
            looks,
            ring,
            recorder,
            viewer: None,
            keys: BytesMut::new(),
            sizes: Vec::new(),
            to_type,
            taken,
            _typist: typist,
            ending: None,
            active: now,
            heard: now,
            alone_since: now,
            paused_since_asked: false,
        }
    }

    /// Runs until the terminal is over, or is kept by the VM and nobody looks.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked: Option<Asked> = None;
        while !self.is_over() {
            self.balance();
            let events = self.viewer.as_ref().map(|viewer| viewer.events.clone());
            let has_news = self.viewer.as_ref().is_some_and(|viewer| viewer.has_news(&self.ring));
            let has_typed = !self.keys.is_empty() || !self.sizes.is_empty();
            tokio::select! {
                // In this order: what a viewer typed before it left still counts, and it is told before more is read.
                biased;
                _ = looks.tick() => {
                    self.look_at_the_clock();
                    if asked.is_none() && self.heard.elapsed() > QUIET && !self.reader.is_paused() {
                        let connection = self.connection.clone();
                        self.paused_since_asked = false;
                        asked = Some(Box::pin(async move { connection.answers(ANSWER_WITHIN).await }));
                    }
                }
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => self.ending = Some(Ending::Exit(Exit::because(ExitReason::Closed))),
                },
                answered = answer(&mut asked) => {
                    asked = None;
                    if answered || self.paused_since_asked {
                        self.heard = Instant::now();
                    } else if self.ending.is_none() {
                        self.ending = Some(Ending::Failed(self.reader.lost()));
                    }
                }
                Some(bytes) = self.taken.recv() => {
                    if let Some(viewer) = &mut self.viewer {
                        viewer.was_taken(bytes);
                    }
                }
                permit = self.to_type.clone().reserve_owned(), if has_typed => match permit {
                    Ok(permit) => {
                        permit.send(self.next_typed());
                    }
                    // The channel's end tells why.
                    Err(_) => {
                        self.keys.clear();
                        self.sizes.clear();
                    }
                },
                permit = reserve(events.clone()), if has_news => self.tell(permit),
                output = self.reader.next(), if self.ending.is_none() => self.hear(output),
                () = gone(events) => self.leave(),
            }
        }
        self.say_goodbye(commands).await;
    }

    /// Over is over when the viewer, if there is one, has seen everything.
    fn is_over(&self) -> bool {
        match (&self.ending, &self.viewer) {
            (Some(Ending::Exit(exit)), Some(viewer)) if exit.reason == ExitReason::Ended => viewer.is_done(&self.ring),
            (Some(_), _) => true,
            (None, Some(_)) => false,
            (None, None) => self.keeper != Keeper::Plain && self.alone_since.elapsed() > LOOK_EVERY,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(newcomer) => self.welcome(newcomer),
            Command::Close => self.ending = Some(Ending::Exit(Exit::because(ExitReason::Closed))),
            Command::From(id, act) => {
                let Some(viewer) = self.viewer.as_mut().filter(|viewer| viewer.id == id) else { return };
                match act {
                    Act::Credit(bytes) => viewer.credit(bytes),
                    Act::Resize(size) => self.take_size(vec![size]),
                    Act::Input(input) => match viewer.typed(input) {
                        Some(input) => {
                            self.keys.extend_from_slice(&input);
                            self.be_active();
                        }
                        None => {
                            let refused = "More was typed or pasted than the terminal takes; send smaller parts";
                            let _gone = viewer.events.try_send(Event::Refused(refused));
                            self.leave();
                        }
                    },
                }
            }
        }
    }

    fn welcome(&mut self, newcomer: Newcomer) {
        if let Some(before) = self.viewer.take() {
            let _gone = before.events.try_send(Event::Exit(Exit::because(ExitReason::Taken)));
        }
        let size = newcomer.size;
        let viewer = Viewer::attach(newcomer, &self.ring, self.opened.clone());
        // From now on the shell is one that was there before.
        self.opened.resumed = true;
        // A program that fills the screen draws it anew when the size changes: what was lost is then whole again.
        let nudge = Size { rows: size.rows.saturating_sub(1).max(1), ..size };
        let sizes = if viewer.has_lost() { vec![nudge, size] } else { vec![size] };
        self.take_size(sizes);
        self.viewer = Some(viewer);
        self.looks.viewers.store(1, Ordering::Relaxed);
        self.be_active();
    }

    /// Gives the terminal these sizes, one after another.
    fn take_size(&mut self, sizes: Vec<Size>) {
        if let (Some(recorder), Some(size)) = (&mut self.recorder, sizes.last()) {
            recorder.resize(*size);
        }
        self.sizes = sizes;
    }

    fn leave(&mut self) {
        self.viewer = None;
        self.looks.viewers.store(0, Ordering::Relaxed);
        self.alone_since = Instant::now();
        if self.keeper != Keeper::Plain && self.ending.is_none() {
            self.ending = Some(Ending::Exit(Exit::because(ExitReason::Detached)));
        }
    }

    fn hear(&mut self, output: Option<Output>) {
        self.heard = Instant::now();
        match output {
            Some(Output::Stdout(bytes) | Output::Stderr(bytes)) => {
                self.ring.push(&bytes, self.viewer.as_ref().map(Viewer::position));
                if let Some(recorder) = &mut self.recorder {
                    recorder.output(&bytes);
                }
                self.be_active();
            }
            Some(Output::Exit(DETACHED)) if self.keeper != Keeper::Plain => {
                self.ending = Some(Ending::Exit(Exit::because(ExitReason::Detached)));
            }
            Some(Output::Exit(code)) => {
                // tmux and screen tell nothing of how the shell ended.
                let code = (self.keeper == Keeper::Plain).then_some(code);
                self.ending = Some(Ending::Exit(Exit { reason: ExitReason::Ended, code, signal: None }));
            }
            Some(Output::Signal(signal)) => {
                self.ending = Some(Ending::Exit(Exit { reason: ExitReason::Ended, code: None, signal: Some(signal) }));
            }
            None => self.ending = Some(Ending::Failed(self.reader.lost())),
        }
    }

    fn tell(&mut self, permit: Option<mpsc::OwnedPermit<Event>>) {
        let Some(permit) = permit else { return self.leave() };
        if let Some(event) = self.viewer.as_mut().and_then(|viewer| viewer.next(&self.ring)) {
            permit.send(event);
        }
    }

    fn next_typed(&mut self) -> Typed {
        if self.sizes.is_empty() { Typed::Keys(self.keys.split().freeze()) } else { Typed::Size(self.sizes.remove(0)) }
    }

    /// Reading from the VM follows the viewer.
    fn balance(&mut self) {
        if self.viewer.as_ref().is_some_and(|viewer| viewer.lags(&self.ring)) {
            self.reader.pause();
            self.paused_since_asked = true;
        } else {
            self.reader.resume();
        }
    }

    fn be_active(&mut self) {
        self.active = Instant::now();
        self.looks.active_at.store(jiff::Timestamp::now().as_second(), Ordering::Relaxed);
    }

    fn look_at_the_clock(&mut self) {
        let abandoned = self.viewer.is_none() && self.alone_since.elapsed() > self.patience.grace;
        let unused = self.keeper == Keeper::Plain && self.active.elapsed() > self.patience.idle;
        if self.ending.is_none() && (abandoned || unused) {
            self.ending = Some(Ending::Exit(Exit::because(ExitReason::Idle)));
        }
    }

    async fn say_goodbye(self, commands: mpsc::Receiver<Command>) {
        let Session { viewer, ending, connection, reader, recorder, .. } = self;
        if let (Some(viewer), Some(ending)) = (viewer, ending) {
            let event = match ending {
                Ending::Exit(exit) => Event::Exit(exit),
                Ending::Failed(failure) => Event::Failed(failure),
            };
            // A viewer that takes nothing has no place for it; the end of its events tells as much.
            let _slow = tokio::time::timeout(LOOK_EVERY, viewer.events.send(event)).await;
        }
        // Whoever opens the terminal from now on gets another.
        drop(commands);
        drop(reader);
        if let Some(recorder) = recorder {
            recorder.finish().await;
        }
        connection.close().await;
    }
}

async fn type_in(mut writer: TerminalWriter, mut typed: mpsc::Receiver<Typed>, taken: mpsc::Sender<usize>) {
    while let Some(next) = typed.recv().await {
        let written = match next {
            Typed::Keys(keys) => {
                let length = keys.len();
                let written = writer.write(keys).await;
                let _over = taken.send(length).await;
                written
            }
            Typed::Size(size) => writer.resize(size).await,
        };
        if written.is_err() {
            return;
        }
    }
}

async fn reserve(events: Option<mpsc::Sender<Event>>) -> Option<mpsc::OwnedPermit<Event>> {
    events?.reserve_owned().await.ok()
}

async fn gone(events: Option<mpsc::Sender<Event>>) {
    match events {
        Some(events) => events.closed().await,
        None => std::future::pending().await,
    }
}

async fn answer(asked: &mut Option<Asked>) -> bool {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}
