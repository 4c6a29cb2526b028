//! What following does while the VM is away; virtual time, a way to the VM that always fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use catalyst_ssh::{ConnectorSource, Failure, Pool, PoolLimits, Reason};

use super::super::{IdeaRef, RunSettings, Runs};
use super::*;
use crate::remote::Remote;

struct Deaf;

impl RunObserver for Deaf {
    fn session_started(&self, _: &IdeaRef, _: &str) {}
    fn turn_ended(&self, _: &IdeaRef, _: Mode, _: bool) {}
}

fn idea() -> IdeaRef {
    IdeaRef { id: "an-id".to_owned(), slug: "an-idea".to_owned(), session_id: None }
}

/// A VM that refuses every connection, and how often it was tried. The pool itself never pauses.
fn away() -> (Arc<Remote>, Arc<AtomicUsize>) {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let source: ConnectorSource = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Err(Failure::new(Reason::ConnectionRefused, "nobody is there"))
    });
    let limits = PoolLimits { backoff_first: Duration::ZERO, backoff_last: Duration::ZERO, ..PoolLimits::default() };
    (Remote::new(Pool::new(source, limits), "/ideas"), tries)
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_met_with_attempts_that_come_less_and_less_often() {
    let (remote, tries) = away();
    let hub = Arc::new(Hub::new(idea()));
    assert!(hub.enter());
    let follower = Follower {
        hub: Arc::clone(&hub),
        vm: Arc::new(Vm::new(remote)),
        observer: Arc::new(Deaf),
        counts: Arc::default(),
    };
    let task = tokio::spawn(follower.run());
    sleep(Duration::from_secs(1)).await;
    let at_first = tries.load(Ordering::Relaxed);
    assert!((3..=5).contains(&at_first), "soon at first: {at_first}");
    sleep(Duration::from_secs(59)).await;
    let in_all = tries.load(Ordering::Relaxed);
    assert!((12..=25).contains(&in_all), "then every few seconds: {in_all}");
    assert!(hub.news(0).is_some(), "viewers hear of an outage that lasts");
    hub.end();
    tokio::time::timeout(2 * BACKOFF_LAST, task).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_index_is_tried_less_and_less_often_too() {
    let (remote, tries) = away();
    let runs = Runs::new(remote, RunSettings::default(), Arc::new(Deaf));
    runs.index().listen(&runs).await;
    sleep(Duration::from_secs(120)).await;
    let in_all = tries.load(Ordering::Relaxed);
    assert!((10..=25).contains(&in_all), "{in_all}");
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_could_not_subscribe_is_no_reason_to_go_on() {
    let (remote, _) = away();
    let runs = Runs::new(remote, RunSettings::default(), Arc::new(Deaf));
    assert!(runs.subscribe(&idea(), None).await.is_err());
    // One that goes away while it is answered.
    let _gone = tokio::time::timeout(Duration::ZERO, runs.subscribe(&idea(), None)).await;
    assert!(runs.has_hubs());
    sleep(super::super::hub::LINGER + 2 * BACKOFF_LAST).await;
    assert!(!runs.has_hubs());
}
