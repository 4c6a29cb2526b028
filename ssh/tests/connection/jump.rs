//! Through a jump host: two real sshds, of which only the first is dialled.

use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{Connector, Endpoint, HostKeyCheck, KnownHosts, Output, Reason, Size, probe_as};

struct Way {
    jump: TestSshd,
    vm: TestSshd,
}

async fn way(jump: TestSshdOptions) -> Way {
    let way = Way { jump: TestSshd::start(jump).await, vm: TestSshd::start(TestSshdOptions::default()).await };
    let both = std::fs::read_to_string(way.jump.authorized_keys_path()).unwrap()
        + &std::fs::read_to_string(way.vm.authorized_keys_path()).unwrap();
    std::fs::write(way.jump.authorized_keys_path(), both).unwrap();
    way
}

impl Way {
    fn connector(&self) -> Connector {
        let known = format!("{}\n{}", self.jump.known_hosts_text(), self.vm.known_hosts_text());
        self.trusting(&known)
    }

    fn trusting(&self, known_hosts: &str) -> Connector {
        let host_keys = HostKeyCheck::Strict(Arc::new(KnownHosts::parse(known_hosts).unwrap()));
        Connector { jump: Some(self.jump.endpoint()), host_keys, ..self.vm.connector() }
    }
}

#[tokio::test]
async fn commands_and_much_data_go_through_a_jump_host() {
    let way = way(TestSshdOptions::default()).await;
    let connection = way.connector().connect().await.unwrap();
    let finished = connection.exec("echo $SSH_CONNECTION; pwd").await.unwrap().finish(1000).await.unwrap();
    let text = String::from_utf8(finished.stdout).unwrap();
    assert!(text.contains(&format!(" {}\n", way.vm.endpoint().port)), "{text}");
    assert!(text.contains(way.vm.home().to_str().unwrap()), "{text}");
    let much = connection.exec("head -c 20000000 /dev/zero").await.unwrap().finish(32 << 20).await.unwrap();
    assert_eq!(much.stdout.len(), 20_000_000);
    assert!(probe_as(&way.connector(), Duration::from_secs(10)).await.outcome.is_ok());
}

#[tokio::test]
async fn both_host_keys_are_checked() {
    let way = way(TestSshdOptions::default()).await;
    for (known, unknown) in [(&way.jump, &way.vm), (&way.vm, &way.jump)] {
        let failure = way.trusting(&known.known_hosts_text()).connect().await.unwrap_err();
        assert_eq!(failure.reason, Reason::HostKeyUnknown);
        assert!(failure.message.contains(&unknown.endpoint().to_string()), "{failure}");
    }
    // Where new keys are accepted, the jump host's still has to be known.
    let host_keys = HostKeyCheck::AcceptNew(Arc::new(KnownHosts::empty()));
    let failure = Connector { host_keys, ..way.connector() }.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::HostKeyUnknown);
    assert!(failure.message.contains(&way.jump.endpoint().to_string()), "{failure}");
}

#[tokio::test]
async fn what_fails_on_the_way_names_the_host_that_it_is_about() {
    let way = way(TestSshdOptions::default()).await;
    let jump = way.jump.endpoint().to_string();
    // Nothing listens behind the jump host.
    let endpoint = Endpoint { port: 1, ..way.vm.endpoint() };
    let failure = Connector { endpoint, ..way.connector() }.connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::HostUnreachable);
    assert!(failure.message.contains(&format!("jump host {jump}")), "{failure}");
    // It does not know our key.
    std::fs::write(way.jump.authorized_keys_path(), "").unwrap();
    let failure = way.connector().connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRejected);
    assert!(failure.message.starts_with(&jump), "{failure}");
}

#[tokio::test]
async fn a_jump_host_that_forwards_nothing_says_so() {
    let config = vec!["AllowTcpForwarding no".to_owned()];
    let way = way(TestSshdOptions { config, ..TestSshdOptions::default() }).await;
    let failure = way.connector().connect().await.unwrap_err();
    assert_eq!(failure.reason, Reason::ChannelRefused);
    assert!(failure.message.contains("AllowTcpForwarding"), "{failure}");
}

#[tokio::test]
async fn a_terminal_pauses_through_a_jump_host_too() {
    let way = way(TestSshdOptions::default()).await;
    let connection = way.connector().connect_for_terminal().await.unwrap();
    let size = Size { columns: 80, rows: 24 };
    let count = way.vm.home().join("count");
    let command =
        "trap 'touch interrupted; exit' INT; n=0; while :; do n=$((n+1)); printf '%01000d\\n' $n; echo $n >count; done";
    let (mut reader, mut writer) = connection.terminal("xterm", size, command).await.unwrap();
    assert!(matches!(reader.next().await, Some(Output::Stdout(_))));
    reader.pause();
    let read = || std::fs::read_to_string(&count).unwrap_or_default();
    let still = async {
        loop {
            let before = read();
            // What was read before the pause still comes.
            while tokio::time::timeout(Duration::from_millis(500), reader.next()).await.is_ok() {}
            if !before.is_empty() && before == read() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), still).await.expect("it goes on though nobody reads");
    writer.write("\x03".into()).await.unwrap();
    let heard = async {
        while !way.vm.home().join("interrupted").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("Ctrl-C does not reach it");
    reader.resume();
    while reader.next().await.is_some() {}
}
