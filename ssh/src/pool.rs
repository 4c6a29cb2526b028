//! A few SSH connections to one VM, shared by many commands.
//!
//! Invariants: no connection carries more channels than its capacity (counted here, under sshd's MaxSessions); one dial
//! at a time per lane, and three in all, of which terminals leave one to the lanes; bulk transfers never share a connection with interactive work, which they would delay; a
//! connection that shows any sign of death gets no new channel.

mod core;
mod lane;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use russh::keys::PublicKey;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use self::core::Core;
pub use self::core::Lane;
use crate::connect::Connector;
use crate::connection::Connection;
use crate::exec::Exec;
use crate::failure::{Failure, Reason};
use crate::files::Files;
use crate::settings::Purpose;
use lane::Dial;
pub use lane::LaneStats;
use lease::Lease;
pub use lease::Sftp;

/// Connections that may break under one channel: the second is fresh, so a third would break too.
const BROKEN_CONNECTIONS: usize = 2;
/// The pause before a terminal's connection that was turned away is tried again.
const AGAIN: Duration = Duration::from_millis(300);

/// Makes the connector for each dial, so that a changed key or known_hosts file counts from the next connection on.
pub type ConnectorSource = Arc<dyn Fn() -> Result<Connector, Failure> + Send + Sync>;

/// The bounds of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Channels on one connection; sshd's MaxSessions is 10 by default, and two are left for what still closes.
    pub channels_per_connection: usize,
    /// Connections for interactive work.
    pub interactive_connections: usize,
    /// Connections for bulk work.
    pub bulk_connections: usize,
    /// Channels that interactive work has in any case: where the server allows so few on one connection that these do not fit, there
    /// are more connections.
    pub interactive_channels: usize,
    /// The same for bulk work.
    pub bulk_channels: usize,
    /// How long a command waits for a free channel.
    pub wait: Duration,
    /// How long a server that turns connections away is asked again before that counts as a failure.
    pub turned_away: Duration,
    /// How long a connection without channels is kept if it is not its lane's last.
    pub idle: Duration,
    /// The pause after a failed dial; doubled for each further one.
    pub backoff_first: Duration,
    /// The longest pause between failed dials.
    pub backoff_last: Duration,
}

impl Default for PoolLimits {
    fn default() -> PoolLimits {
        PoolLimits {
            channels_per_connection: 8,
            interactive_connections: 8,
            bulk_connections: 2,
            interactive_channels: 3,
            // One for the files of ideas, one for logs, and two for commands.
            bulk_channels: 4,
            wait: Duration::from_secs(30),
            turned_away: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            backoff_first: Duration::from_millis(250),
            backoff_last: Duration::from_secs(5),
        }
    }
}

impl PoolLimits {
    /// Connections of a lane at most. `allowed`: channels on one, if the server allows so few.
    fn connections(&self, lane: Lane, allowed: Option<usize>) -> usize {
        let (most, channels) = match lane {
            Lane::Interactive => (self.interactive_connections, self.interactive_channels),
            Lane::Bulk => (self.bulk_connections, self.bulk_channels),
        };
        most.max(allowed.map_or(0, |allowed| channels.div_ceil(allowed)))
    }
}

/// What a pool has at the moment, and has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// The interactive lane.
    pub interactive: LaneStats,
    /// The bulk lane.
    pub bulk: LaneStats,
}

/// Connections to one VM, opened on demand.
pub struct Pool {
    source: ConnectorSource,
    core: Arc<Core>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("limits", &self.core.limits).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool without connections; the first command opens one.
    pub fn new(source: ConnectorSource, limits: PoolLimits) -> Arc<Pool> {
        Arc::new(Pool { core: Arc::new(Core::new(limits)), source })
    }

    /// Runs a command; see [`Connection::exec`].
    ///
    /// # Errors
    /// As [`Connection::exec`] and [`Connector::connect`]; [`Reason::TimedOut`] if no channel became free in time.
    pub async fn exec(self: &Arc<Self>, lane: Lane, command: &str) -> Result<Exec, Failure> {
        let (channel, lease) = self.open(lane).await?;
        let mut exec =
            lease.connection().start_exec(channel, command).await.inspect_err(|failure| lease.judge_start(failure))?;
        exec.hold(Box::new(lease));
        Ok(exec)
    }

    /// Opens a file transfer session in the bulk lane; see [`Connection::sftp`].
    ///
    /// # Errors
    /// As [`Pool::exec`].
    pub async fn sftp(self: &Arc<Self>) -> Result<Sftp, Failure> {
        let (channel, lease) = self.open(Lane::Bulk).await?;
        let session = lease.connection().start_sftp(channel).await.inspect_err(|failure| lease.judge_start(failure))?;
        Ok(Sftp { session, _lease: lease })
    }

    /// Opens a channel through which files are read.
    ///
    /// # Errors
    /// As [`Pool::exec`].
    pub async fn files(self: &Arc<Self>, lane: Lane) -> Result<Files, Failure> {
        let (channel, lease) = self.open(lane).await?;
        let files = lease.connection().start_files(channel).await.inspect_err(|failure| lease.judge_start(failure))?;
        files.hold(Box::new(lease));
        Ok(files)
    }

    /// A connection beside the pool's, for one terminal; see [`Connector::connect_for_terminal`]. It lives for as long as it is
    /// held.
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn connect_for_terminal(&self) -> Result<Connection, Failure> {
        let accepted = {
            let state = self.core.lock();
            if state.closed {
                return Err(shutting_down());
            }
            state.accepted.clone()
        };
        let until = Instant::now() + self.core.limits.turned_away;
        let connection = loop {
            match self.connect(accepted.clone(), Purpose::Terminal).await {
                Err(failure) if failure.turned_away && Instant::now() + AGAIN < until => sleep(AGAIN).await,
                outcome => break outcome?,
            }
        };
        self.core.lock().accepted = connection.host_key().cloned();
        Ok(connection)
    }

    /// The bounds that it was made with.
    pub fn limits(&self) -> &PoolLimits {
        &self.core.limits
    }

    /// How many channels the interactive lane can have at once, as far as the server has shown: fewer once it has refused more for
    /// longer than a moment.
    pub fn possible(&self) -> watch::Receiver<usize> {
        self.core.possible.subscribe()
    }

    /// What the pool has at the moment.
    pub fn stats(&self) -> PoolStats {
        let state = self.core.lock();
        PoolStats { interactive: state.interactive.stats(), bulk: state.bulk.stats() }
    }

    /// Closes all connections; commands in flight end, and no new ones start.
    pub async fn close(&self) {
        let connections = {
            let mut state = self.core.lock();
            state.closed = true;
            let mut connections = state.interactive.take_all();
            connections.extend(state.bulk.take_all());
            connections
        };
        self.core.changed.notify_waiters();
        futures::future::join_all(connections.iter().map(Connection::close)).await;
    }

    /// A channel with its slot. Opening one starts nothing on the VM, so it is tried again elsewhere when it fails.
    async fn open(self: &Arc<Self>, lane: Lane) -> Result<(Channel<Msg>, Lease), Failure> {
        let deadline = Instant::now() + self.core.limits.wait;
        let mut broken = 0;
        loop {
            let mut lease = self.acquire(lane, deadline).await?;
            let failure = match lease.connection().open_channel().await {
                Ok(channel) => {
                    lease.opened();
                    return Ok((channel, lease));
                }
                Err(failure) => failure,
            };
            let another = lease.judge(&failure);
            drop(lease);
            // A refusal closes its connection to new channels for a while, so that this cannot spin.
            broken += usize::from(failure.reason != Reason::ChannelRefused);
            if !another || broken >= BROKEN_CONNECTIONS || Instant::now() >= deadline {
                return Err(failure);
            }
        }
    }

    async fn acquire(self: &Arc<Self>, lane: Lane, deadline: Instant) -> Result<Lease, Failure> {
        let failed_before = self.core.lock().lane(lane).stats().failed;
        let patient_until = Instant::now() + self.core.limits.turned_away;
        loop {
            let changed = self.core.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let wake = {
                let mut state = self.core.lock();
                if state.closed {
                    return Err(shutting_down());
                }
                let lane_state = state.lane(lane);
                if let Some(slot) = lane_state.take_slot(self.core.limits.channels_per_connection) {
                    return Ok(Lease::new(self.core.clone(), lane, slot));
                }
                let now = Instant::now();
                let patience = lane_state.turned_away().map(|failure| (patient_until, failure.clone()));
                if let Some((_, failure)) = patience.clone().filter(|(until, _)| *until <= now) {
                    return Err(failure);
                }
                let limit = self.core.limits.connections(lane, lane_state.allowed());
                let wake = match lane_state.may_dial(limit, failed_before, now) {
                    Dial::Now => {
                        let pool = self.clone();
                        tokio::spawn(async move { pool.dial(lane).await });
                        deadline
                    }
                    Dial::Later(until) => deadline.min(until),
                    Dial::No => deadline,
                    Dial::Failed(failure) => return Err(failure),
                };
                let wake = patience.map_or(wake, |(until, _)| wake.min(until));
                lane_state.room_after(now).map_or(wake, |room| wake.min(room))
            };
            if timeout_at(wake, changed).await.is_err() && wake >= deadline {
                return Err(Failure::new(
                    Reason::TimedOut,
                    format!(
                        "No session to the VM became free within {} s: too many commands run there at once; try again.",
                        self.core.limits.wait.as_secs()
                    ),
                ));
            }
        }
    }

    /// Runs in a task of its own, so that a caller that goes away does not break the dial that others wait for.
    async fn dial(self: Arc<Self>, lane: Lane) {
        let accepted = self.core.lock().accepted.clone();
        let dialed = self.connect(accepted, Purpose::Shared).await;
        let mut late = None;
        {
            let mut state = self.core.lock();
            if let Ok(connection) = &dialed {
                state.accepted = connection.host_key().cloned();
                if state.closed {
                    late = Some(connection.clone());
                }
            }
            let limits = &self.core.limits;
            state.lane(lane).dialed(dialed, limits.backoff_first, limits.backoff_last);
            if late.is_some() {
                state.lane(lane).take_all();
            }
        }
        self.core.changed.notify_waiters();
        if let Some(connection) = late {
            connection.close().await;
        }
    }

    /// A new connection, when not too many are under way.
    async fn connect(&self, accepted: Option<PublicKey>, purpose: Purpose) -> Result<Connection, Failure> {
        let _turn_of_terminals = match purpose {
            Purpose::Terminal => Some(self.core.terminals_dials.acquire().await),
            Purpose::Shared => None,
        };
        let _turn = self.core.dials.acquire().await;
        (self.source)()?.connect_after(accepted, purpose).await
    }
}

fn shutting_down() -> Failure {
    Failure::new(Reason::ConnectionLost, "The server is shutting down.")
}
