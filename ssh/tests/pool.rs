//! The pool against a real sshd: how many connections it takes, and what happens when they die.

#![expect(clippy::unwrap_used, reason = "the functions that tests share fail as tests do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{Connector, HostKeyCheck, KnownHosts, Lane, Output, Pool, PoolLimits, Reason};
use futures::FutureExt as _;
use futures::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

const LIMIT: usize = 1 << 20;
/// Longer than anything here takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn sshd() -> TestSshd {
    TestSshd::start(TestSshdOptions::default()).await
}

fn pool(sshd: &TestSshd) -> Arc<Pool> {
    Pool::new(sshd.source(), PoolLimits::default())
}

/// The path of a file on the VM that says "text".
fn file(sshd: &TestSshd) -> String {
    let path = sshd.home().join("file");
    std::fs::write(&path, "text").unwrap();
    path.to_str().unwrap().to_owned()
}

async fn run(pool: &Arc<Pool>, command: &str) -> Vec<u8> {
    pool.exec(Lane::Interactive, command).await.unwrap().finish(LIMIT).await.unwrap().stdout
}

#[tokio::test]
async fn thirty_commands_at_once_fit_on_four_connections() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    // Each waits until all thirty run at once, so that they truly need thirty channels.
    let command =
        "n=$(mktemp -p . started.XXXXXX); while [ $(ls started.* | wc -l) -lt 30 ]; do sleep 0.05; done; echo ok";
    let outputs = join_all((0..30).map(|_| run(&pool, command))).await;
    assert!(outputs.iter().all(|output| output == b"ok\n"));
    let stats = pool.stats().interactive;
    assert_eq!((stats.dialed, stats.failed), (4, 0));
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 4);
    assert_eq!(run(&pool, "echo again").await, b"again\n");
    assert_eq!(pool.stats().interactive.dialed, 4, "connections are used again");
}

#[tokio::test]
async fn a_smaller_max_sessions_is_learned() {
    let sshd = TestSshd::start(TestSshdOptions { max_sessions: 3, ..TestSshdOptions::default() }).await;
    let pool = pool(&sshd);
    let command =
        "n=$(mktemp -p . started.XXXXXX); while [ $(ls started.* | wc -l) -lt 9 ]; do sleep 0.05; done; echo ok";
    let outputs = join_all((0..9).map(|_| run(&pool, command))).await;
    assert!(outputs.iter().all(|output| output == b"ok\n"));
    let dialed = pool.stats().interactive.dialed;
    assert!((3..=4).contains(&dialed), "{dialed} connections for nine commands");
}

#[tokio::test]
async fn what_a_server_allows_is_told_when_it_is_for_good_and_when_it_is_more_again() {
    let sshd = TestSshd::start(TestSshdOptions { max_sessions: 3, ..TestSshdOptions::default() }).await;
    let limits = PoolLimits { interactive_connections: 1, interactive_channels: 1, ..PoolLimits::default() };
    let pool = Pool::new(sshd.source(), limits);
    let mut possible = pool.possible();
    assert_eq!(*possible.borrow(), 8);
    // Two whose channels are closed live on, and one is open: that is all the server allows.
    for _ in 0..2 {
        let lives_on = "echo; exec >&- 2>&- <&-; while [ ! -e done ]; do sleep 0.05; done";
        let mut exec = pool.exec(Lane::Interactive, lives_on).await.unwrap();
        assert_eq!(exec.next().await, Some(Output::Stdout("\n".into())));
        drop(exec);
    }
    let held = pool.exec(Lane::Interactive, "cat").await.unwrap();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { run(&pool, "echo ok").await }
    });
    let told = tokio::time::timeout(PATIENCE, possible.wait_for(|possible| *possible < 8)).await;
    assert_eq!(*told.expect("it is not told").unwrap(), 1);
    std::fs::write(sshd.home().join("done"), "").unwrap();
    assert_eq!(waiting.await.unwrap(), b"ok\n");
    // Two at once for a while are two.
    let held = (held, pool.exec(Lane::Interactive, "cat").await.unwrap());
    let begun = Instant::now();
    while *possible.borrow() < 2 {
        assert!(begun.elapsed() < PATIENCE, "more is never told");
        assert_eq!(run(&pool, "echo ok").await, b"ok\n");
    }
    drop(held);
}

#[tokio::test]
async fn what_a_lane_needs_is_found_on_more_connections_where_one_carries_few() {
    let sshd = TestSshd::start(TestSshdOptions { max_sessions: 1, ..TestSshdOptions::default() }).await;
    let limits = PoolLimits { interactive_connections: 1, bulk_connections: 1, ..PoolLimits::default() };
    let pool = Pool::new(sshd.source(), limits);
    let possible = pool.possible();
    let three = |lane| join_all([(); 3].map(|()| pool.exec(lane, "cat")));
    let held = futures::join!(three(Lane::Interactive), three(Lane::Bulk));
    assert!(held.0.iter().chain(&held.1).all(Result::is_ok), "{held:?}");
    let stats = pool.stats();
    assert_eq!((stats.interactive.connections, stats.bulk.connections), (3, 3));
    assert_eq!(*possible.borrow(), 3);
}

#[tokio::test]
async fn commands_beyond_all_channels_wait_for_one() {
    let sshd = sshd().await;
    let limits = PoolLimits { channels_per_connection: 2, interactive_connections: 1, ..PoolLimits::default() };
    let pool = Pool::new(sshd.source(), limits);
    let outputs = join_all((0..12).map(|_| run(&pool, "echo ok"))).await;
    assert!(outputs.iter().all(|output| output == b"ok\n"));
    assert_eq!(pool.stats().interactive.dialed, 1);
    assert_eq!(pool.stats().interactive.channels, 0);
}

#[tokio::test]
async fn a_command_that_finds_no_channel_in_time_is_told() {
    let sshd = sshd().await;
    let limits = PoolLimits {
        channels_per_connection: 1,
        interactive_connections: 1,
        wait: Duration::from_secs(2),
        ..PoolLimits::default()
    };
    let pool = Pool::new(sshd.source(), limits);
    let mut holder = pool.exec(Lane::Interactive, "cat").await.unwrap();
    let failure = pool.exec(Lane::Interactive, "true").await.unwrap_err();
    assert_eq!(failure.reason, Reason::TimedOut, "{failure}");
    assert!(failure.to_string().contains("No session to the VM became free within 2 s: too many"), "{failure}");
    holder.close_stdin().await.unwrap();
    assert_eq!(holder.next().await, Some(Output::Exit(0)));
    drop(holder);
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
}

#[tokio::test]
async fn dropped_commands_give_their_channels_back() {
    let sshd = sshd().await;
    let limits = PoolLimits { channels_per_connection: 10, interactive_connections: 1, ..PoolLimits::default() };
    let pool = Pool::new(sshd.source(), limits);
    for _ in 0..3 {
        let running = join_all((0..10).map(|_| pool.exec(Lane::Interactive, "cat"))).await;
        assert!(running.iter().all(Result::is_ok));
        drop(running);
    }
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
    assert_eq!(pool.stats().interactive.failed, 0);
}

#[tokio::test]
async fn bulk_work_has_connections_of_its_own() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    run(&pool, "true").await;
    pool.exec(Lane::Bulk, "true").await.unwrap().finish(LIMIT).await.unwrap();
    let sftp = pool.sftp().await.unwrap();
    sftp.write("file", b"").await.unwrap_err();
    let stats = pool.stats();
    assert_eq!((stats.interactive.dialed, stats.bulk.dialed), (1, 1));
    assert_eq!((stats.interactive.channels, stats.bulk.channels), (0, 1));
    drop(sftp);
    assert_eq!(pool.stats().bulk.channels, 0);
}

#[tokio::test]
async fn files_beyond_those_that_a_server_can_name_are_read_all_the_same() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let path = file(&sshd);
    let files = pool.files(Lane::Bulk).await.unwrap();
    let texts = join_all((0..400).map(|_| async { files.open(&path).await?.unwrap().read(0, 10).await })).await;
    assert!(texts.iter().all(|text| text.as_ref().is_ok_and(|text| text == b"text")), "{texts:?}");
}

#[tokio::test]
async fn openings_that_nobody_awaits_leave_no_file_open() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let path = file(&sshd);
    let files = pool.files(Lane::Bulk).await.unwrap();
    for _ in 0..400 {
        assert!(files.open(&path).now_or_never().is_none(), "it was opened at once, so that this shows nothing");
        tokio::task::yield_now().await;
    }
    let opened = join_all((0..catalyst_ssh::OPEN_FILES).map(|_| files.open(&path))).await;
    for reader in opened {
        assert_eq!(reader.unwrap().unwrap().read(0, 10).await.unwrap(), b"text");
    }
}

#[tokio::test]
async fn a_channel_on_which_a_file_may_be_left_open_is_given_back_and_another_is_used() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let path = file(&sshd);
    let files = pool.files(Lane::Bulk).await.unwrap();
    let (weak, reader) = (files.downgrade(), files.open(&path).await.unwrap().unwrap());
    assert!(weak.upgrade().is_some() && !reader.is_wanted_back());
    let server = sftp_server(&sshd);
    signal("STOP", &server);
    let failure = files.open(&path).await.unwrap_err();
    signal("CONT", &server);
    assert_eq!(failure.reason, Reason::TimedOut, "{failure}");
    assert!(weak.upgrade().is_none() && reader.is_wanted_back());
    assert_eq!(reader.read(0, 10).await.unwrap(), b"text", "what is open can be read to its end");
    drop((files, reader));
    let begun = Instant::now();
    while pool.stats().bulk.channels > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The process on the VM that serves files.
fn sftp_server(sshd: &TestSshd) -> String {
    let home = format!("HOME={}", sshd.home().display());
    let is = |process: &std::path::Path| {
        let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
        let environment = std::fs::read_to_string(process.join("environ")).unwrap_or_default();
        name == "sftp-server\n" && environment.split('\0').any(|variable| variable == home)
    };
    let found = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(|process| is(process));
    found.unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

fn signal(name: &str, process: &str) {
    assert!(std::process::Command::new("kill").args(["-s", name, process]).status().unwrap().success());
}

#[tokio::test]
async fn a_killed_session_is_an_error_at_once_and_the_next_command_runs() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let mut exec = pool.exec(Lane::Interactive, "echo begun; exec sleep 1000").await.unwrap();
    assert_eq!(exec.next().await, Some(Output::Stdout("begun\n".into())));
    assert!(sshd.kill_sessions() > 0);
    let begun = Instant::now();
    let failure = exec.finish(LIMIT).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ConnectionLost, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
    assert_eq!(pool.stats().interactive.dialed, 2);
}

#[tokio::test]
async fn a_frozen_server_is_noticed_within_fifteen_seconds() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let mut exec = pool.exec(Lane::Interactive, "echo begun; exec sleep 1000").await.unwrap();
    assert_eq!(exec.next().await, Some(Output::Stdout("begun\n".into())));
    sshd.freeze();
    let begun = Instant::now();
    assert_eq!(exec.next().await, None);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(exec.lost().reason, Reason::ConnectionLost);
    assert!(exec.lost().message.contains("stopped answering"), "{}", exec.lost());
    sshd.thaw();
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
}

#[tokio::test]
async fn a_frozen_server_is_noticed_while_much_is_written_to_it() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let mut exec = pool.exec(Lane::Interactive, "exec cat >/dev/null").await.unwrap();
    exec.write(b"begun").await.unwrap();
    sshd.freeze();
    let begun = Instant::now();
    let data = vec![0; 1 << 20];
    let failure = loop {
        if let Err(failure) = exec.write(&data).await {
            break failure;
        }
    };
    assert_eq!(failure.reason, Reason::ConnectionLost, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_is_away_fails_fast_with_the_cause_and_is_found_when_it_is_back() {
    let mut sshd = sshd().await;
    let pool = pool(&sshd);
    run(&pool, "true").await;
    sshd.stop();
    let begun = Instant::now();
    for _ in 0..20 {
        let failure = pool.exec(Lane::Interactive, "true").await.unwrap_err();
        assert_eq!(failure.reason, Reason::ConnectionRefused, "{failure}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(pool.stats().interactive.failed < 5, "dials are spaced: {:?}", pool.stats());
    sshd.start_again().await.unwrap();
    let back = Instant::now();
    while pool.exec(Lane::Interactive, "true").await.is_err() {
        assert!(back.elapsed() < Duration::from_secs(10), "{:?}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A server in front of `sshd` that closes the first `turned_away` connections at once, as sshd does beyond MaxStartups.
async fn turning_away(sshd: &TestSshd, turned_away: usize) -> Arc<Pool> {
    let (behind, listener) = (sshd.endpoint(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for _ in 0..turned_away {
            listener.accept().await.unwrap().0.write_all(b"Exceeded MaxStartups\r\n").await.unwrap();
        }
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect((behind.host.as_str(), behind.port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let mut connector = sshd.connector();
    connector.endpoint.port = port;
    connector.host_keys = HostKeyCheck::AcceptNew(Arc::new(KnownHosts::empty()));
    Pool::new(Arc::new(move || Ok(connector.clone())), PoolLimits::default())
}

#[tokio::test]
async fn whoever_is_turned_away_for_a_moment_waits_and_is_served() {
    let sshd = sshd().await;
    let pool = turning_away(&sshd, 3).await;
    let outputs = join_all((0..20).map(|_| run(&pool, "echo ok"))).await;
    assert!(outputs.iter().all(|output| output == b"ok\n"));
    let pool = turning_away(&sshd, 3).await;
    let terminals = join_all((0..4).map(|_| pool.connect_for_terminal())).await;
    assert!(terminals.iter().all(Result::is_ok), "{terminals:?}");
}

#[tokio::test]
async fn a_server_that_turns_everybody_away_is_told_after_a_while() {
    let sshd = sshd().await;
    let pool = turning_away(&sshd, usize::MAX).await;
    let begun = Instant::now();
    let failure = pool.exec(Lane::Interactive, "true").await.unwrap_err();
    assert!(failure.turned_away && failure.message.contains("MaxStartups"), "{failure}");
    assert!((4..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_burst_on_a_cold_pool_meets_no_refusal_of_an_sshd_that_takes_few() {
    let sshd =
        TestSshd::start(TestSshdOptions { max_startups: "2:100:3".to_owned(), ..TestSshdOptions::default() }).await;
    let pool = pool(&sshd);
    let (commands, terminals) = futures::join!(
        join_all((0..20).map(|_| run(&pool, "sleep 0.3; echo ok"))),
        join_all((0..6).map(|_| pool.connect_for_terminal())),
    );
    assert!(commands.iter().all(|output| output == b"ok\n"));
    assert!(terminals.iter().all(Result::is_ok), "{terminals:?}");
}

#[tokio::test]
async fn terminals_whose_dials_hang_do_not_keep_commands_waiting() {
    let sshd = sshd().await;
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (hangs, connector) = (Arc::new(AtomicBool::new(true)), sshd.connector());
    let mut hanging = connector.clone();
    hanging.endpoint.port = silent.local_addr().unwrap().port();
    let now_hanging = hangs.clone();
    let source = move || Ok(if now_hanging.load(Ordering::SeqCst) { hanging.clone() } else { connector.clone() });
    let pool = Pool::new(Arc::new(source), PoolLimits::default());
    let terminals: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let pool = pool.clone();
                async move { pool.connect_for_terminal().await }
            })
        })
        .collect();
    let _dialed = (silent.accept().await.unwrap(), silent.accept().await.unwrap());
    hangs.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    terminals.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_host_key_accepted_once_is_the_only_one_for_this_process() {
    let mut sshd = sshd().await;
    let connector = Connector { host_keys: HostKeyCheck::AcceptNew(Arc::new(KnownHosts::empty())), ..sshd.connector() };
    let pool = Pool::new(Arc::new(move || Ok(connector.clone())), PoolLimits::default());
    run(&pool, "true").await;
    sshd.stop();
    sshd.replace_host_key().unwrap();
    sshd.start_again().await.unwrap();
    let failure = pool.exec(Lane::Interactive, "true").await.unwrap_err();
    assert_eq!(failure.reason, Reason::HostKeyChanged, "{failure}");
}

#[tokio::test]
async fn a_connection_that_is_idle_goes_if_it_is_not_the_last() {
    let sshd = sshd().await;
    let limits = PoolLimits { channels_per_connection: 1, idle: Duration::from_millis(100), ..PoolLimits::default() };
    let pool = Pool::new(sshd.source(), limits);
    let running = join_all((0..3).map(|_| pool.exec(Lane::Interactive, "cat"))).await;
    assert_eq!(pool.stats().interactive.connections, 3);
    drop(running);
    let begun = Instant::now();
    while pool.stats().interactive.connections > 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(run(&pool, "echo ok").await, b"ok\n");
    assert_eq!(pool.stats().interactive.dialed, 3);
}

#[tokio::test]
async fn a_closed_pool_ends_commands_and_starts_none() {
    let sshd = sshd().await;
    let pool = pool(&sshd);
    let mut exec = pool.exec(Lane::Interactive, "exec sleep 1000").await.unwrap();
    pool.close().await;
    assert_eq!(exec.next().await, None);
    let failure = pool.exec(Lane::Interactive, "true").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ConnectionLost, "{failure}");
}
