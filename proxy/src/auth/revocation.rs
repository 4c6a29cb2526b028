//! "Sign out everywhere": the moment is kept on the VM, where everything is that a session opens, and every replica asks
//! for it. A replica that has not reached the VM yet lets older sessions in, and they find nothing to open.

use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::Lane;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cookie::{self, Session};
use crate::health::Health;
use crate::remote::{Remote, RemoteError};

const READ: &str = r#"cat "$HOME/.local/state/catalyst/signed-out" 2>/dev/null; exit 0"#;
const WRITE: &str = r#"umask 077
state=$HOME/.local/state/catalyst
mkdir -p "$state" && printf '%s\n' "$1" >"$state/.signed-out.$$" && mv -f "$state/.signed-out.$$" "$state/signed-out""#;
/// A moment further ahead than clocks differ was not written by us, and would shut everybody out.
const CLOCKS_DIFFER: u64 = 60;

/// Which sessions were ended for everybody.
pub struct Revocation {
    remote: Arc<Remote>,
    at: watch::Sender<u64>,
}

/// Why not everybody could be signed out; the text is for the person who wanted it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotEnded {
    /// The VM could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The VM refused to write.
    #[error("The dev-VM could not write ~/.local/state/catalyst; look at its owner, mode and free space")]
    NotWritten,
}

impl Revocation {
    /// Starts asking the VM; ends with `until`.
    pub fn watch(
        remote: Arc<Remote>,
        health: Arc<Health>,
        every: Duration,
        until: CancellationToken,
    ) -> Arc<Revocation> {
        let revocation = Arc::new(Revocation { remote, at: watch::Sender::new(0) });
        let watching = revocation.clone();
        tokio::spawn(async move {
            until
                .run_until_cancelled(async {
                    loop {
                        // A VM that is away is dialled by its check alone.
                        if health.now().problem().is_none() {
                            watching.look().await;
                            tokio::time::sleep(every).await;
                        } else {
                            tokio::time::sleep(every / 10).await;
                        }
                    }
                })
                .await;
        });
        revocation
    }

    /// Whether the session has come to its end, by itself or with all others. A session that a proxy in front vouches
    /// for ends there.
    pub fn is_over(&self, session: &Session, now: u64) -> bool {
        session.is_over(now) || (session.user.is_none() && session.since <= *self.at.borrow())
    }

    /// When a session begins that somebody signs in for now: after everything that was ended, though in the same second.
    pub fn begins(&self, now: u64) -> u64 {
        now.max(self.at.borrow().saturating_add(1))
    }

    /// Ends every session that began until now, here at once and on other replicas when they next ask.
    ///
    /// # Errors
    /// When the VM could not keep it; then nothing has ended.
    pub async fn end_all(&self) -> Result<(), NotEnded> {
        let now = cookie::now();
        let done = self.remote.sh(Lane::Interactive, WRITE, &[&now.to_string()], b"").await?;
        if done.status != Some(0) {
            return Err(NotEnded::NotWritten);
        }
        self.ended_at(now);
        Ok(())
    }

    /// Tells those who keep a session open when it is time to ask again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.at.subscribe()
    }

    fn ended_at(&self, moment: u64) {
        self.at.send_if_modified(|at| std::mem::replace(at, moment.max(*at)) < moment);
    }

    async fn look(&self) {
        let Ok(read) = self.remote.sh(Lane::Interactive, READ, &[], b"").await else { return };
        let at = str::from_utf8(&read.stdout).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if let Some(at) = at.filter(|at| *at <= cookie::now().saturating_add(CLOCKS_DIFFER)) {
            self.ended_at(at);
        }
    }
}
