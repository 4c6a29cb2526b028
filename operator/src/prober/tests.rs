use catalyst_ssh::Reason as SshReason;

use super::*;

/// A prober that may look at one VM at a time, and where the ends of looks are told. This machine is none that it looks at,
/// so that a look ends without a connection.
fn prober() -> (Prober<()>, mpsc::Receiver<()>) {
    let (ended, looks) = mpsc::channel(8);
    let addresses = AddressPolicy::refusing(Vec::new());
    let settings = ProberSettings { concurrent: 1, deadline: Duration::from_secs(5), addresses };
    (Prober::new(settings, Arc::default(), ended), looks)
}

fn question() -> Question {
    let endpoint = Endpoint { host: "127.0.0.1".into(), port: 22, user: "dev".into() };
    Question { endpoint, known_hosts: String::new(), first_contact: true, key: None }
}

fn seen(outcome: Result<(), SshReason>) -> Look {
    let outcome = outcome.map_err(|reason| SshFailure { reason, message: "It failed.".into() });
    let observation = Some(SshObservation { confirmed: false, host_key: None, outcome });
    Look { observation, addresses: Vec::new(), forbidden: None }
}

fn confirmed(entry: &Entry) -> bool {
    entry.look.as_ref().unwrap().observation.as_ref().unwrap().confirmed
}

#[tokio::test]
async fn a_look_from_before_the_pods_served_is_no_answer_any_more_but_its_addresses_stay() {
    let (prober, mut looks) = prober();
    assert!(matches!(prober.ask("u", question(), ()), Answer::Pending { .. }));
    looks.recv().await.unwrap();
    assert!(matches!(prober.ask("u", question(), ()), Answer::Known { .. }));
    prober.outdate("u");
    assert_eq!(prober.addresses("u", "127.0.0.1").len(), 1);
    assert!(matches!(prober.ask("u", question(), ()), Answer::Pending { .. }), "an old look was taken for today's");
    looks.recv().await.unwrap();
    assert!(matches!(prober.ask("u", question(), ()), Answer::Known { .. }));
}

#[tokio::test]
async fn a_look_that_runs_calls_for_no_pass_before_its_end() {
    let (prober, mut looks) = prober();
    prober.ask("u", question(), ());
    looks.recv().await.unwrap();
    let slot = Arc::clone(&prober.slots).acquire_owned().await.unwrap();
    lock(&prober.entries).get_mut("u").unwrap().due = Instant::now();
    let Answer::Known { again, .. } = prober.ask("u", question(), ()) else { panic!("the look is gone") };
    assert_eq!(again, AGAIN_WHEN_GOOD);
    drop(slot);
    looks.recv().await.unwrap();
    let Answer::Known { again, .. } = prober.ask("u", question(), ()) else { panic!("the look is gone") };
    assert!(again < AGAIN_WHEN_GOOD, "{again:?}");
}

#[tokio::test]
async fn a_look_is_under_way_from_when_it_is_asked_for_until_its_end_is_told() {
    let (prober, mut looks) = prober();
    let under_way = |count: usize| prober.metrics.text().contains(&format!("_ssh_checks_running {count}\n"));
    let slot = Arc::clone(&prober.slots).acquire_owned().await.unwrap();
    prober.ask("u", question(), ());
    prober.ask("u", question(), ());
    assert!(under_way(1), "{}", prober.metrics.text());
    drop(slot);
    looks.recv().await.unwrap();
    assert!(under_way(0), "{}", prober.metrics.text());
}

#[test]
fn only_the_second_good_look_in_a_row_is_confirmed() {
    let mut entry = Entry::new(&question(), Instant::now());
    let mut take = |outcome, outdated| {
        entry.outdated |= outdated;
        entry.take(seen(outcome));
        confirmed(&entry)
    };
    assert!(!take(Ok(()), false));
    assert!(take(Ok(()), false));
    assert!(!take(Err(SshReason::TimedOut), false));
    assert!(!take(Ok(()), false));
    assert!(!take(Ok(()), true), "a look from before the pods served counted");
    assert!(take(Ok(()), false));
}
