//! What breaks, and when: one thing at a time, at random moments, each kind as often as every other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalyst_ssh::testing::TestSshd;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::replica::{MORTAL, Replicas};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// sshd's processes of all sessions are killed.
    SessionsKilled,
    /// sshd is killed with its sessions, and comes back.
    SshdRestarted,
    /// sshd and its sessions stop, and go on.
    SshdFrozen,
    /// The proxy that the viewer is at is killed and started anew.
    ProxyKilled,
    /// It is told to end, as in a rollout, and started anew.
    ProxyEnded,
    /// The viewer's connection is cut.
    SocketCut,
    /// The viewer goes to the other replica.
    OtherReplica,
    /// The viewer reads nothing for a while.
    ReaderStopped,
}

pub(crate) const KINDS: &[Fault] = &[
    Fault::SessionsKilled,
    Fault::SshdRestarted,
    Fault::SshdFrozen,
    Fault::ProxyKilled,
    Fault::ProxyEnded,
    Fault::SocketCut,
    Fault::OtherReplica,
    Fault::ReaderStopped,
];

/// What is left for the viewer to do.
pub(crate) enum Act {
    Cut,
    Leave,
    Stop(Duration),
}

pub(crate) struct Faults {
    random: StdRng,
    kinds: &'static [Fault],
    /// Nothing more happens when each has happened so often.
    enough: Option<u32>,
    /// Those that come next, the last one first; filled with one of each kind when it is empty.
    next: Vec<Fault>,
    not_before: Instant,
    pub(crate) happened: BTreeMap<Fault, u32>,
    running: Option<JoinHandle<()>>,
    sshd: Arc<Mutex<TestSshd>>,
    replicas: Arc<Replicas>,
}

impl Faults {
    /// Of these kinds, each so often or for as long as it is asked.
    pub(crate) fn new(
        seed: u64,
        kinds: &'static [Fault],
        enough: Option<u32>,
        sshd: &Arc<Mutex<TestSshd>>,
        replicas: &Arc<Replicas>,
    ) -> Faults {
        Faults {
            random: StdRng::seed_from_u64(seed),
            kinds,
            enough,
            next: Vec::new(),
            not_before: Instant::now(),
            happened: BTreeMap::new(),
            running: None,
            sshd: Arc::clone(sshd),
            replicas: Arc::clone(replicas),
        }
    }

    /// Lets happen what is due while the viewer is at replica `at`, but nothing before the last one is over.
    pub(crate) fn due(&mut self, at: usize) -> Option<Act> {
        if self.enough.is_some_and(|enough| self.each_happened(enough)) {
            return None;
        }
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) || Instant::now() < self.not_before {
            return None;
        }
        if self.next.is_empty() {
            self.next.extend(self.kinds);
            self.next.shuffle(&mut self.random);
        }
        let fault = self.next.pop()?;
        if matches!(fault, Fault::ProxyKilled | Fault::ProxyEnded) && at != MORTAL {
            self.next.push(fault);
            return Some(Act::Leave);
        }
        *self.happened.entry(fault).or_default() += 1;
        let (sshd, replicas) = (Arc::clone(&self.sshd), Arc::clone(&self.replicas));
        let mut lasts = |least, most| Duration::from_millis(self.random.random_range(least..most));
        self.not_before = Instant::now() + lasts(300, 3000);
        match fault {
            Fault::SocketCut => return Some(Act::Cut),
            Fault::OtherReplica => return Some(Act::Leave),
            Fault::ReaderStopped => return Some(Act::Stop(lasts(200, 1500))),
            Fault::SessionsKilled => {
                self.running = Some(tokio::spawn(async move {
                    sshd.lock().await.kill_sessions();
                }));
            }
            Fault::SshdRestarted => {
                let away = lasts(0, 1500);
                self.running = Some(tokio::spawn(async move {
                    let mut sshd = sshd.lock().await;
                    sshd.stop();
                    sleep(away).await;
                    sshd.start_again().await.unwrap();
                }));
            }
            Fault::SshdFrozen => {
                let frozen = lasts(200, 2000);
                self.running = Some(tokio::spawn(async move {
                    let sshd = sshd.lock().await;
                    sshd.freeze();
                    sleep(frozen).await;
                    sshd.thaw();
                }));
            }
            Fault::ProxyKilled | Fault::ProxyEnded => {
                let signal = if fault == Fault::ProxyKilled { "-KILL" } else { "-TERM" };
                self.running = Some(tokio::spawn(async move { replicas.replace(signal).await }));
            }
        }
        None
    }

    /// Whether each kind has happened so often.
    pub(crate) fn each_happened(&self, times: u32) -> bool {
        self.kinds.iter().all(|kind| self.happened.get(kind).is_some_and(|happened| *happened >= times))
    }

    /// Waits for what is under way.
    pub(crate) async fn over(&mut self) {
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} faults: {:?}", self.happened.values().sum::<u32>(), self.happened)
    }
}
