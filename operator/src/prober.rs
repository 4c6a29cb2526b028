//! The operator's own look at a VM over SSH: bounded in number, in time and by backoff, and never in a reconcile's way.
//!
//! A reconcile asks and gets the latest answer or none yet; the attempt runs beside it and calls for another reconcile when
//! it has ended. Addresses that are no VM's (loopback, link-local, the cluster's own) are never connected to, so that a
//! resource cannot make the operator scan what only it can reach: a name is resolved once, and what is judged is connected to.

mod address;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use catalyst_ssh::{Endpoint, Failure, KnownHosts, Observation, PrivateKey, Reason as SshReason};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

pub use self::address::AddressPolicy;
use crate::{
    backoff::Backoff,
    metrics::Metrics,
    observed::{ShownHostKey, SshFailure, SshObservation},
    reason::Reason,
};

/// How often a VM is looked at again while its pods are not ready, though the last look was good.
const AGAIN_WHEN_GOOD: Duration = Duration::from_secs(30);

/// Limits of the looks at VMs.
#[derive(Clone, Debug)]
pub struct ProberSettings {
    /// Attempts at the same time.
    pub concurrent: usize,
    /// How long one attempt may take, name resolution aside (which may take as long again).
    pub deadline: Duration,
    /// Which addresses are connected to.
    pub addresses: AddressPolicy,
}

/// What is to be found out.
#[derive(Clone)]
pub struct Question {
    /// Where and as whom.
    pub endpoint: Endpoint,
    /// Host keys to accept, as known_hosts text.
    pub known_hosts: String,
    /// Whether the first key seen counts as known for the rest of the attempt (there is no record yet).
    pub first_contact: bool,
    /// The key to sign in with; without one only the host key is looked at.
    pub key: Option<Arc<PrivateKey>>,
}

impl Question {
    /// Equal for questions that have the same answer.
    fn identity(&self) -> String {
        let key = self.key.as_ref().map(|key| catalyst_ssh::fingerprint(key.public_key())).unwrap_or_default();
        format!("{}\n{}\n{key}\n{}", self.endpoint, self.endpoint.user, self.known_hosts)
    }
}

/// What is known so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What the attempt showed; `None`: none was made, because every address is refused.
    pub observation: Option<SshObservation>,
    /// What the host resolved to, sorted.
    pub addresses: Vec<IpAddr>,
    /// The address that is refused, if one is.
    pub forbidden: Option<IpAddr>,
}

impl Look {
    /// Whether it came to being signed in.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(&self.observation, Some(SshObservation { outcome: Ok(()), .. }))
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The first attempt at this question is under way.
    Pending {
        /// For how long the answer has been waited for.
        since: Duration,
    },
    /// The latest look, and when the next one is due.
    Known {
        /// What was seen.
        look: Look,
        /// Ask again after this long.
        again: Duration,
    },
}

/// Makes the attempts. One for the process; instances are told apart by UID.
pub struct Prober<T> {
    settings: ProberSettings,
    slots: Arc<Semaphore>,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    ended: mpsc::Sender<T>,
    metrics: Arc<Metrics>,
}

struct Entry {
    identity: String,
    question: Question,
    look: Option<Look>,
    /// The pods have served since: the look is of use for what the host is, not for why pods are not ready now.
    outdated: bool,
    running: bool,
    backoff: Backoff,
    asked: Instant,
    due: Instant,
}

impl<T: Send + 'static> Prober<T> {
    /// A prober that sends the target of each ended attempt to `ended`.
    #[must_use]
    pub fn new(settings: ProberSettings, metrics: Arc<Metrics>, ended: mpsc::Sender<T>) -> Self {
        let slots = Arc::new(Semaphore::new(settings.concurrent));
        Self { settings, slots, entries: Arc::default(), ended, metrics }
    }

    /// The host key that was last seen at this host and port, for this instance.
    #[must_use]
    pub fn shown_key(&self, uid: &str, host: &str, port: u16) -> Option<ShownHostKey> {
        let entries = lock(&self.entries);
        let entry = entries.get(uid).filter(|entry| entry.question.endpoint.host == host)?;
        let same_port = entry.question.endpoint.port == port;
        entry.look.as_ref().filter(|_| same_port)?.observation.as_ref()?.host_key.clone()
    }

    /// Answers from what is known, and begins an attempt if one is due.
    pub fn ask(&self, uid: &str, question: Question, target: T) -> Answer {
        let identity = question.identity();
        let now = Instant::now();
        let mut entries = lock(&self.entries);
        let entry = entries.entry(uid.to_owned()).or_insert_with(|| Entry::new(&question, now));
        if entry.identity != identity {
            let running = entry.running;
            *entry = Entry { running, ..Entry::new(&question, now) };
        }
        if !entry.running && entry.due <= now {
            entry.running = true;
            self.begin(uid.to_owned(), identity, question, target);
        }
        match &entry.look {
            Some(look) if !entry.outdated => {
                // The end of a look that runs calls for a pass by itself.
                let due = entry.due.saturating_duration_since(now).max(Duration::from_secs(1));
                Answer::Known { look: look.clone(), again: if entry.running { AGAIN_WHEN_GOOD } else { due } }
            }
            _ => Answer::Pending { since: entry.asked.elapsed() },
        }
    }

    /// The pods serve: what was seen before is no cause of a failure that comes later. The next question is looked into at
    /// once.
    pub fn outdate(&self, uid: &str) {
        if let Some(entry) = lock(&self.entries).get_mut(uid) {
            let now = Instant::now();
            entry.outdated = true;
            entry.backoff.reset();
            entry.asked = now;
            entry.due = now;
        }
    }

    /// What was last seen for this instance; begins another attempt at the same question if one is due. For passes that do
    /// not come to ask a question, because what was seen already says that a person must act.
    pub fn renew(&self, uid: &str, target: T) -> Option<Look> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(uid)?;
        if !entry.running && entry.due <= Instant::now() {
            entry.running = true;
            self.begin(uid.to_owned(), entry.identity.clone(), entry.question.clone(), target);
        }
        entry.look.clone()
    }

    /// The addresses that the host was last seen to have, for this instance.
    #[must_use]
    pub fn addresses(&self, uid: &str, host: &str) -> Vec<IpAddr> {
        let entries = lock(&self.entries);
        let look = entries.get(uid).filter(|entry| entry.question.endpoint.host.eq_ignore_ascii_case(host));
        look.and_then(|entry| entry.look.as_ref()).map(|look| look.addresses.clone()).unwrap_or_default()
    }

    /// Forgets an instance that is gone, with all that was asked for it (`UID/…`); or one such question.
    pub fn forget(&self, uid: &str) {
        let of_it = |key: &str| key.strip_prefix(uid).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        lock(&self.entries).retain(|key, _| !of_it(key));
    }

    fn begin(&self, uid: String, identity: String, question: Question, target: T) {
        let (slots, entries, ended) = (Arc::clone(&self.slots), Arc::clone(&self.entries), self.ended.clone());
        let (metrics, settings) = (Arc::clone(&self.metrics), self.settings.clone());
        let running = metrics.ssh_check_begins();
        tokio::spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else { return };
            let look = look(&question, &settings).await;
            metrics.ssh_checked(match &look.observation {
                Some(SshObservation { outcome: Ok(()), .. }) => "ok",
                Some(SshObservation { outcome: Err(failure), .. }) => Reason::from(failure.reason).as_str(),
                None => Reason::HostForbidden.as_str(),
            });
            {
                let mut entries = lock(&entries);
                if let Some(entry) = entries.get_mut(&uid) {
                    entry.running = false;
                    // Meanwhile the question may have become another: then this answer is of no use, but ends the wait.
                    if entry.identity == identity {
                        entry.take(look);
                    }
                }
            }
            // The receiver is gone only when the controller ends.
            let _ = ended.send(target).await;
            drop(running);
        });
    }
}

impl Entry {
    fn new(question: &Question, now: Instant) -> Self {
        Self {
            identity: question.identity(),
            question: question.clone(),
            look: None,
            outdated: false,
            running: false,
            backoff: Backoff::new(Duration::from_secs(5), Duration::from_secs(60)),
            asked: now,
            due: now,
        }
    }

    fn take(&mut self, mut look: Look) {
        let good = look.is_good();
        let good_before = !self.outdated && self.look.as_ref().is_some_and(Look::is_good);
        if let Some(observation) = &mut look.observation {
            observation.confirmed = good && good_before;
        }
        let wait = if good {
            self.backoff.reset();
            AGAIN_WHEN_GOOD
        } else {
            self.backoff.next_delay()
        };
        self.due = Instant::now() + wait;
        self.look = Some(look);
        self.outdated = false;
    }
}

/// One attempt.
async fn look(question: &Question, settings: &ProberSettings) -> Look {
    let endpoint = &question.endpoint;
    let failed = |failure: Failure| Some(observation(None, Err(failure)));
    let found = match address::resolve(&endpoint.host, endpoint.port, settings.deadline).await {
        Ok(found) => found,
        Err(failure) => return Look { observation: failed(failure), addresses: Vec::new(), forbidden: None },
    };
    let at: Vec<SocketAddr> = found.iter().map(|address| SocketAddr::new(*address, endpoint.port)).collect();
    let mut addresses = found;
    addresses.sort_unstable();
    let forbidden = addresses.iter().copied().find(|address| settings.addresses.refuses(*address));
    if forbidden.is_some() {
        return Look { observation: None, addresses, forbidden };
    }
    let seen = attempt(question, &at, settings.deadline).await;
    let shown = seen.host_key.as_ref().and_then(shown);
    Look { observation: Some(observation(shown, seen.outcome)), addresses, forbidden }
}

async fn attempt(question: &Question, at: &[SocketAddr], deadline: Duration) -> Observation {
    let key = question.key.as_deref();
    let known = match KnownHosts::parse(&question.known_hosts) {
        Ok(known) => known,
        Err(error) => return Observation { host_key: None, outcome: Err(error.into()) },
    };
    let first = catalyst_ssh::probe(&question.endpoint, at, &known, key, deadline).await;
    let unknown = matches!(&first.outcome, Err(failure) if failure.reason == SshReason::HostKeyUnknown);
    let (true, true, Some(host_key)) = (question.first_contact, unknown, first.host_key.as_ref()) else { return first };
    // First contact: the key just seen will be the record. Going on with it tells at once whether the sign-in works.
    let line = catalyst_ssh::known_hosts_line(&question.endpoint.host, question.endpoint.port, host_key);
    match KnownHosts::parse(&line) {
        Ok(known) => catalyst_ssh::probe(&question.endpoint, at, &known, key, deadline).await,
        Err(_) => first,
    }
}

fn observation(host_key: Option<ShownHostKey>, outcome: Result<(), Failure>) -> SshObservation {
    SshObservation { confirmed: false, host_key, outcome: outcome.map_err(SshFailure::from) }
}

fn shown(key: &catalyst_ssh::PublicKey) -> Option<ShownHostKey> {
    // A comment is no part of the key.
    let openssh = key.to_openssh().ok()?;
    let mut words = openssh.split_whitespace();
    let (kind, base64) = (words.next()?, words.next()?);
    Some(ShownHostKey { key: format!("{kind} {base64}"), fingerprint: catalyst_ssh::fingerprint(key) })
}

/// A panic while the map was held cannot leave it half changed: nothing between two of its changes can panic.
fn lock<K>(map: &Mutex<K>) -> MutexGuard<'_, K> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
