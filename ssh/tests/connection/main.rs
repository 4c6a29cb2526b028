//! Connections to a real sshd: commands, input and output, files, and every way in which connecting fails.

#![expect(clippy::unwrap_used, reason = "the functions that tests share fail as tests do")]

mod credentials;
mod jump;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{
    Connector, Deadlines, Endpoint, HostKeyCheck, KnownHosts, Output, Reason, generate_ed25519, known_hosts_line,
    parse_private_key, probe,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const LIMIT: usize = 16 << 20;

fn other_key() -> catalyst_ssh::PrivateKey {
    parse_private_key(generate_ed25519("other").unwrap().private_openssh.as_bytes()).unwrap()
}

/// Deadlines of a second, for servers that never answer.
fn short() -> Deadlines {
    let second = Duration::from_secs(1);
    Deadlines { resolve: second, connect: second, handshake: second, auth: second, channel: second }
}

#[tokio::test]
async fn a_command_gives_output_errors_and_status() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let exec = connection.exec("echo out; echo err >&2; pwd; echo \"$HOME\"; exit 3").await.unwrap();
    let finished = exec.finish(LIMIT).await.unwrap();
    let home = sshd.home().display().to_string();
    assert_eq!(String::from_utf8(finished.stdout).unwrap(), format!("out\n{home}\n{home}\n"));
    assert_eq!(finished.stderr, b"err\n");
    assert_eq!(finished.status, Some(3));
    assert_eq!(finished.signal, None);
    assert!(!finished.truncated);
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_command_that_a_signal_ends_says_which() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let finished = connection.exec("kill -TERM $$").await.unwrap().finish(LIMIT).await.unwrap();
    assert_eq!((finished.status, finished.signal.as_deref()), (None, Some("TERM")));
}

#[tokio::test]
async fn input_reaches_the_command_and_its_end_too() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let mut exec = connection.exec("cat; echo end").await.unwrap();
    exec.write(b"one ").await.unwrap();
    assert_eq!(exec.next().await, Some(Output::Stdout("one ".into())), "output comes while input is open");
    exec.write(b"two ").await.unwrap();
    exec.close_stdin().await.unwrap();
    let finished = exec.finish(LIMIT).await.unwrap();
    assert_eq!(finished.stdout, b"two end\n");
}

#[tokio::test]
async fn five_megabytes_go_through_and_come_back_unchanged() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let sent: Vec<u8> = (0..5u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut exec = connection.exec("cat").await.unwrap();
    exec.write(&sent).await.unwrap();
    exec.close_stdin().await.unwrap();
    let finished = exec.finish(LIMIT).await.unwrap();
    assert_eq!(finished.status, Some(0));
    assert!(finished.stdout == sent, "{} bytes came back", finished.stdout.len());
}

#[tokio::test]
async fn output_beyond_the_limit_is_dropped_and_said_so() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let exec = connection.exec("head -c 3000000 /dev/zero; exit 4").await.unwrap();
    let finished = exec.finish(1000).await.unwrap();
    assert_eq!((finished.stdout.len(), finished.truncated, finished.status), (1000, true, Some(4)));
}

#[tokio::test]
async fn writing_to_a_command_that_reads_nothing_ends_with_its_status() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let mut exec = connection.exec("exec 0<&-; exit 7").await.unwrap();
    exec.write(&vec![0; 5 << 20]).await.unwrap();
    exec.close_stdin().await.unwrap();
    assert_eq!(exec.finish(LIMIT).await.unwrap().status, Some(7));
}

#[tokio::test]
async fn a_dropped_command_loses_its_input_and_the_connection_goes_on() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connection = sshd.connector().connect().await.unwrap();
    let exec = connection.exec("cat; touch gone").await.unwrap();
    drop(exec);
    let finished = connection.exec("while ! test -e gone; do sleep 0.02; done; echo seen").await.unwrap();
    assert_eq!(finished.finish(LIMIT).await.unwrap().stdout, b"seen\n");
}

#[tokio::test]
async fn files_are_written_and_read_over_sftp() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let sftp = sshd.connector().connect().await.unwrap().sftp().await.unwrap();
    let text = "héllo\n".repeat(100_000);
    let mut file = sftp.create("note.txt").await.unwrap();
    file.write_all(text.as_bytes()).await.unwrap();
    file.shutdown().await.unwrap();
    assert_eq!(std::fs::read_to_string(sshd.home().join("note.txt")).unwrap(), text);
    assert_eq!(sftp.read("note.txt").await.unwrap(), text.as_bytes());
}

#[tokio::test]
async fn a_server_without_sftp_is_a_refused_channel() {
    let options = TestSshdOptions { sftp: false, ..TestSshdOptions::default() };
    let sshd = TestSshd::start(options).await;
    let failure = sshd.connector().connect().await.unwrap().sftp().await.err().unwrap();
    assert_eq!(failure.reason, Reason::ChannelRefused, "{failure}");
}

#[tokio::test]
async fn a_key_that_is_not_authorised_is_rejected() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let connector = Connector { key: Arc::new(other_key()), ..sshd.connector() };
    let failure = connector.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRejected, "{failure}");
    assert!(failure.message.contains("authorized_keys"), "{failure}");
}

#[tokio::test]
async fn a_server_that_hangs_up_after_the_first_wrong_key_is_a_rejection_too() {
    let options = TestSshdOptions { config: vec!["MaxAuthTries 1".into()], ..TestSshdOptions::default() };
    let sshd = TestSshd::start(options).await;
    let connector = Connector { key: Arc::new(other_key()), ..sshd.connector() };
    let failure = connector.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRejected, "{failure}");
}

#[tokio::test]
async fn a_host_that_is_not_recorded_is_unknown_and_never_signed_in_to() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let host_keys = HostKeyCheck::Strict(Arc::new(KnownHosts::empty()));
    let failure = Connector { host_keys, ..sshd.connector() }.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::HostKeyUnknown, "{failure}");
    assert!(failure.message.contains("SHA256:"), "{failure}");
    assert!(!sshd.log().contains("Accepted publickey"), "{}", sshd.log());
}

#[tokio::test]
async fn a_changed_host_key_is_refused_also_where_new_ones_are_accepted() {
    let mut sshd = TestSshd::start(TestSshdOptions::default()).await;
    let before = Arc::new(sshd.known_hosts());
    sshd.stop();
    sshd.replace_host_key().unwrap();
    sshd.start_again().await.unwrap();
    for host_keys in [HostKeyCheck::Strict(before.clone()), HostKeyCheck::AcceptNew(before.clone())] {
        let failure = Connector { host_keys, ..sshd.connector() }.connect().await.unwrap_err();
        assert_eq!(failure.reason, Reason::HostKeyChanged, "{failure}");
        assert_eq!(failure.message.matches("SHA256:").count(), 2, "{failure}");
    }
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let text = format!("{0}@revoked {0}", sshd.known_hosts_text());
    let host_keys = HostKeyCheck::AcceptNew(Arc::new(KnownHosts::parse(&text).unwrap()));
    let failure = Connector { host_keys, ..sshd.connector() }.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::HostKeyRevoked, "{failure}");
}

#[tokio::test]
async fn a_new_host_is_accepted_where_that_is_asked_for() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let host_keys = HostKeyCheck::AcceptNew(Arc::new(KnownHosts::empty()));
    let connection = Connector { host_keys, ..sshd.connector() }.connect().await.unwrap();
    let endpoint = sshd.endpoint();
    let line = known_hosts_line(&endpoint.host, endpoint.port, connection.host_key().unwrap());
    assert!(sshd.known_hosts_text().starts_with(&line), "{line}");
}

#[tokio::test]
async fn a_host_with_two_keys_is_asked_for_the_recorded_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host_ecdsa");
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    let options = TestSshdOptions { config: vec![format!("HostKey {}", path.display())], ..TestSshdOptions::default() };
    let sshd = TestSshd::start(options).await;
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    let known = KnownHosts::parse(&format!("[127.0.0.1]:{} {public}", sshd.endpoint().port)).unwrap();
    let host_keys = HostKeyCheck::Strict(Arc::new(known));
    let connection = Connector { host_keys, ..sshd.connector() }.connect().await.unwrap();
    assert!(connection.host_key().unwrap().algorithm().is_ecdsa());
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let mut sshd = TestSshd::start(TestSshdOptions::default()).await;
    sshd.stop();
    let failure = sshd.connector().connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::ConnectionRefused, "{failure}");
}

#[tokio::test]
async fn a_silent_listener_times_out() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    sshd.freeze();
    let begun = Instant::now();
    let failure = Connector { deadlines: short(), ..sshd.connector() }.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::TimedOut, "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(6));
}

/// Answers each connection with these bytes and, if so asked, hangs up.
async fn listener(answer: &'static [u8], hang_up: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer).await;
            if !hang_up {
                open.push(stream);
            }
        }
    });
    port
}

async fn failure_of(answer: &'static [u8], hang_up: bool) -> catalyst_ssh::Failure {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let mut connector = Connector { deadlines: short(), ..sshd.connector() };
    connector.endpoint.port = listener(answer, hang_up).await;
    connector.connect().await.unwrap_err()
}

#[tokio::test]
async fn an_http_server_is_not_ssh_and_its_words_are_not_repeated() {
    for hang_up in [true, false] {
        let failure = failure_of(b"HTTP/1.1 400 Bad Request\r\nServer: marker\r\n\r\n", hang_up).await;
        assert_eq!(failure.reason, Reason::NotSsh, "{failure}");
        assert!(!failure.message.contains("marker") && !failure.message.contains("HTTP"), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections_is_no_foreign_protocol() {
    let failure = failure_of(b"Exceeded MaxStartups\r\n", true).await;
    assert_eq!(failure.reason, Reason::ConnectionLost, "{failure}");
    assert!(failure.message.contains("MaxStartups"), "{failure}");
}

#[tokio::test]
async fn a_connection_that_is_closed_at_once_is_lost() {
    let failure = failure_of(b"", true).await;
    assert_eq!(failure.reason, Reason::ConnectionLost, "{failure}");
}

#[tokio::test]
async fn servers_without_a_common_algorithm_fail_in_negotiation() {
    let options = TestSshdOptions { config: vec!["Ciphers aes128-cbc".into()], ..TestSshdOptions::default() };
    let sshd = TestSshd::start(options).await;
    let failure = sshd.connector().connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::NegotiationFailed, "{failure}");
    assert!(failure.message.contains("cipher") && !failure.message.contains("cbc"), "{failure}");
}

#[tokio::test]
async fn a_server_without_room_for_a_session_refuses_the_channel() {
    let sshd = TestSshd::start(TestSshdOptions { max_sessions: 0, ..TestSshdOptions::default() }).await;
    let connection = sshd.connector().connect().await.unwrap();
    let failure = connection.exec("true").await.unwrap_err();
    assert_eq!(failure.reason, Reason::ChannelRefused, "{failure}");
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.host.parse().unwrap(), endpoint.port)
}

#[tokio::test]
async fn a_probe_connects_to_the_addresses_that_it_is_given_whatever_the_name_means_by_now() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let at = [address(&sshd.endpoint())];
    let endpoint = Endpoint { host: "no-such-host.invalid".into(), ..sshd.endpoint() };
    let deadline = Duration::from_secs(10);
    let unknown = probe(&endpoint, &at, &KnownHosts::empty(), None, deadline).await;
    assert_eq!(unknown.outcome.unwrap_err().reason, Reason::HostKeyUnknown);
    let line = known_hosts_line(&endpoint.host, endpoint.port, &unknown.host_key.unwrap());
    let known = KnownHosts::parse(&line).unwrap();
    assert_eq!(probe(&endpoint, &at, &known, Some(&sshd.key()), deadline).await.outcome, Ok(()));
}

#[tokio::test]
async fn a_probe_tells_the_host_key_and_how_far_it_came() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let (endpoint, known, deadline) = (sshd.endpoint(), sshd.known_hosts(), Duration::from_secs(10));
    let at = [address(&endpoint)];
    let good = probe(&endpoint, &at, &known, Some(&sshd.key()), deadline).await;
    assert_eq!(good.outcome, Ok(()));
    let keyless = probe(&endpoint, &at, &known, None, deadline).await;
    assert_eq!(keyless.outcome, Ok(()));
    let rejected = probe(&endpoint, &at, &known, Some(&other_key()), deadline).await;
    assert_eq!(rejected.outcome.unwrap_err().reason, Reason::AuthRejected);
    let unknown = probe(&endpoint, &at, &KnownHosts::empty(), Some(&sshd.key()), deadline).await;
    assert_eq!(unknown.outcome.unwrap_err().reason, Reason::HostKeyUnknown);
    assert!(good.host_key.is_some());
    assert_eq!(unknown.host_key, good.host_key, "an untrusted key is shown too");
    sshd.freeze();
    let begun = Instant::now();
    let frozen = probe(&endpoint, &at, &known, Some(&sshd.key()), Duration::from_secs(1)).await;
    assert_eq!(frozen.outcome.unwrap_err().reason, Reason::TimedOut);
    assert_eq!(frozen.host_key, None);
    assert!(begun.elapsed() < Duration::from_secs(5));
}
