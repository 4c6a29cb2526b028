//! Leader election by a Lease. Invariant: an operator that may write has renewed its Lease less than two thirds of the
//! Lease's duration ago, measured on its own monotonic clock; another takes the Lease only after four fifths without any
//! sign on *its* clock, so that wrong clocks on nodes do no harm. Two thirds and four fifths leave the loser time to notice,
//! and let the next one lead before the whole duration is over.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

/// Which Lease, who asks for it, and how long it holds.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who asks; unique among the operators that share the Lease.
    pub identity: String,
    /// Without renewal for this long, another may take it.
    pub duration: Duration,
}

/// One candidate's view of the Lease.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    settings: LeaseSettings,
    seen: Option<Seen>,
    /// When the attempt began that last took or renewed the Lease: another may have seen that no earlier.
    renewed: Instant,
}

/// The last change of the Lease that this candidate saw, and when on its own clock.
#[derive(Debug)]
struct Seen {
    resource_version: Option<String>,
    at: Instant,
    /// Without another change for this long, it is free.
    valid: Duration,
}

impl Seen {
    /// For how long its holder may still be alive.
    fn left(&self) -> Duration {
        self.valid.saturating_sub(self.at.elapsed())
    }
}

/// Why one attempt did not end with the Lease held.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    #[error("another operator holds the Lease")]
    Held,
    #[error("the Lease was written meanwhile")]
    Raced,
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    TimedOut,
}

impl Election {
    /// A candidate for the Lease.
    #[must_use]
    pub fn new(client: Client, settings: LeaseSettings) -> Self {
        Self { api: Api::namespaced(client, &settings.namespace), settings, seen: None, renewed: Instant::now() }
    }

    /// Waits until this operator holds the Lease. `standing_by` is called once, as soon as the Lease has been read or
    /// taken: from then on this operator can take over.
    pub async fn acquire(&mut self, standing_by: impl FnOnce()) {
        let mut standing_by = Some(standing_by);
        let mut standing_by = move || {
            if let Some(call) = standing_by.take() {
                call();
            }
        };
        loop {
            let mut wait = self.settings.duration / 10;
            match self.attempt().await {
                Ok(()) => {
                    info!(lease = %self.settings.name, identity = %self.settings.identity, "leading");
                    return standing_by();
                }
                Err(Attempt::Raced) => debug!(lease = %self.settings.name, "the Lease was written meanwhile"),
                Err(Attempt::Held) => {
                    debug!(lease = %self.settings.name, "standing by");
                    standing_by();
                    wait = wait.min(self.seen.as_ref().map_or(wait, Seen::left));
                }
                Err(error) => warn!(%error, lease = %self.settings.name, "the Lease cannot be read or taken"),
            }
            sleep(wait).await;
        }
    }

    /// Renews the Lease and returns only when it is lost: taken by another, or not renewed in time.
    pub async fn keep(&mut self) {
        loop {
            sleep_until(self.renewed + self.settings.duration / 3).await;
            let deadline = self.renewed + self.settings.duration * 2 / 3;
            loop {
                let attempt = tokio::select! {
                    attempt = self.attempt() => attempt,
                    () = sleep_until(deadline) => Err(Attempt::TimedOut),
                };
                match attempt {
                    Ok(()) => break,
                    Err(Attempt::Held) => return warn!(lease = %self.settings.name, "another operator took the Lease"),
                    Err(error) => warn!(%error, lease = %self.settings.name, "the Lease could not be renewed"),
                }
                if Instant::now() >= deadline {
                    return;
                }
                sleep(self.settings.duration / 10).await;
            }
        }
    }

    /// Gives the Lease up, if it is held, so that a standby takes over at once.
    pub async fn release(&mut self) {
        let release = async {
            let Some(mut lease) = self.api.get_opt(&self.settings.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.settings.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(now());
            self.api.replace(&self.settings.name, &PostParams::default(), &lease).await?;
            Ok::<_, kube::Error>(())
        };
        match timeout(self.settings.duration / 3, release).await {
            Ok(Ok(())) => info!(lease = %self.settings.name, "Lease released"),
            Ok(Err(error)) => warn!(%error, "the Lease was not released; it expires by itself"),
            Err(_) => warn!("the Lease was not released in time; it expires by itself"),
        }
    }

    /// Takes or renews the Lease once. The resource version makes two simultaneous takers exclude each other.
    async fn attempt(&mut self) -> Result<(), Attempt> {
        let began = Instant::now();
        timeout(self.settings.duration / 3, self.attempt_unbounded()).await.map_err(|_| Attempt::TimedOut)??;
        self.renewed = began;
        Ok(())
    }

    async fn attempt_unbounded(&mut self) -> Result<(), Attempt> {
        let name = self.settings.name.clone();
        let Some(lease) = self.api.get_opt(&name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                spec: Some(self.held(None)),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        if !self.may_take(&lease) {
            return Err(Attempt::Held);
        }
        let spec = self.held(lease.spec.as_ref());
        let lease = Lease { spec: Some(spec), ..lease };
        won(self.api.replace(&name, &PostParams::default(), &lease).await)
    }

    /// Whether the Lease is ours, free, or without a sign of its holder for four fifths of its duration.
    fn may_take(&mut self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.settings.identity {
            return true;
        }
        let version = lease.metadata.resource_version.clone();
        match &self.seen {
            Some(seen) if seen.resource_version == version => seen.left().is_zero(),
            _ => {
                let told = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                let valid = told.map_or(self.settings.duration, Duration::from_secs) * 4 / 5;
                self.seen = Some(Seen { resource_version: version, at: Instant::now(), valid });
                false
            }
        }
    }

    /// The Lease as this operator holds it, given how it was before.
    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let same = before.filter(|spec| spec.holder_identity.as_deref() == Some(&self.settings.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
            acquire_time: same.and_then(|spec| spec.acquire_time.clone()).or_else(|| Some(now())),
            renew_time: Some(now()),
            lease_transitions: Some(if same.is_some() { transitions } else { transitions.saturating_add(1) }),
            ..before.cloned().unwrap_or_default()
        }
    }
}

fn won(answer: Result<Lease, kube::Error>) -> Result<(), Attempt> {
    match answer {
        Ok(_) => Ok(()),
        // It exists already, or has another resource version now: another was quicker, or a write of ours that we had given up.
        Err(kube::Error::Api(status)) if status.code == 409 => Err(Attempt::Raced),
        Err(error) => Err(error.into()),
    }
}

fn now() -> MicroTime {
    MicroTime(k8s_openapi::jiff::Timestamp::now())
}
