//! The state that all handlers share, and how its parts are put together. It knows nothing of routes or handlers.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::cookie::Signer;
use crate::auth::limiter::Limiter;
use crate::auth::revocation::Revocation;
use crate::dial::Dial;
use crate::health::{Health, Timing};
use crate::inbound::Inbound;
use crate::metrics::Metrics;
use crate::observer::Observer;
use crate::receiving::Receiving;
use crate::remote::Remote;
use crate::remote::ideas::Ideas;
use crate::run::{RunSettings, Runs};
use crate::settings::{Settings, WebSettings};
use crate::terminal::{TerminalSettings, Terminals};

/// Whether everybody was signed out is asked once in so many checks of the VM.
const SIGNED_OUT_EVERY: u32 = 3;

/// What all handlers share.
pub type App = Arc<AppState>;

/// The parts of the server.
pub struct AppState {
    /// Who may come in.
    pub web: WebSettings,
    /// Sessions.
    pub signer: Signer,
    /// Sessions that were ended for everybody.
    pub revocation: Arc<Revocation>,
    /// Failed sign-ins.
    pub limiter: Limiter,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether the VM can be reached.
    pub health: Arc<Health>,
    /// The ideas on the VM.
    pub ideas: Arc<Ideas>,
    /// The runs on the VM.
    pub runs: Arc<Runs>,
    /// The terminals on the VM.
    pub terminals: Arc<Terminals>,
    /// Writes what runs tell into the ideas.
    pub observer: Arc<Observer>,
    /// The way to the VM.
    pub remote: Arc<Remote>,
    /// When the server started.
    pub started: Instant,
    /// Cancelled when the server is ending.
    pub draining: CancellationToken,
    /// Open WebSockets.
    pub sockets: TaskTracker,
    /// Room for what they have sent, in bytes.
    pub inbound: Arc<Inbound>,
    /// What they are sending.
    pub receiving: Arc<Receiving>,
    /// What sockets have under way; a message is brought to the VM though its socket has gone.
    pub acts: TaskTracker,
}

impl AppState {
    /// Puts the parts together and starts the tasks beside the requests; they end with `draining`. Nothing waits for
    /// the VM.
    pub fn start(settings: &Settings, timing: Timing, draining: CancellationToken) -> App {
        let dial = Dial::new(settings.ssh.clone());
        let pool = catalyst_ssh::Pool::new(dial.source(), dial.limits());
        let remote = Remote::new(pool, &settings.ideas_base_path);
        let metrics = Metrics::new();
        let ideas = Ideas::new(remote.clone());
        let health = Health::watch(dial, ideas.clone(), timing, metrics.clone(), draining.clone());
        let revocation =
            Revocation::watch(remote.clone(), health.clone(), timing.interval * SIGNED_OUT_EVERY, draining.clone());
        let observer = Arc::new(Observer::default());
        tokio::spawn(observer.clone().keep_writing(ideas.clone(), draining.clone()));
        let run_settings = RunSettings {
            claude_command: settings.claude_command.clone(),
            silence: settings.claude_silence,
            turn: settings.claude_turn,
            approval: settings.approval,
            ..RunSettings::default()
        };
        let runs = Runs::new(remote.clone(), run_settings, observer.clone());
        let terminal_settings = TerminalSettings {
            mode: settings.terminal,
            recording: settings.terminal_recording,
            ..TerminalSettings::default()
        };
        let terminals = Terminals::new(remote.clone(), terminal_settings);
        tokio::spawn(terminals.clone().keep_sweeping(draining.clone()));
        if settings.web.allowed_origins.is_empty() {
            tracing::warn!(
                "neither ALLOWED_ORIGINS nor PUBLIC_URL is set: only requests that a browser marks as same-origin may \
                 write, which browsers do on https and localhost alone"
            );
        }
        Arc::new(AppState {
            signer: Signer::new(&settings.web),
            web: settings.web.clone(),
            revocation,
            limiter: Limiter::default(),
            metrics,
            health,
            ideas,
            runs,
            terminals,
            observer,
            remote,
            started: Instant::now(),
            draining,
            sockets: TaskTracker::new(),
            inbound: Arc::default(),
            receiving: Arc::default(),
            acts: TaskTracker::new(),
        })
    }
}
