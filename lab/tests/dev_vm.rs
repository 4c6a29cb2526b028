//! The dev-VM, signed in to by the real ssh client: what a machine must do for the product, and how it fails when told to.
//! Needs root and openssh-server, like the lab.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use catalyst_lab::vm::{ApiKey, DevVm, Service, TemporaryVm, Uplink, VmNetwork};
use tokio::process::Command;

/// A VM, and a client that may sign in to it and knows its host key.
struct Signed {
    vm: TemporaryVm,
    client: tempfile::TempDir,
}

impl Signed {
    async fn in_to_a_vm() -> Signed {
        let vm = DevVm::temporary("lvdev").await.expect("start a dev-VM");
        let client = tempfile::tempdir().expect("make a folder");
        let key = client.path().join("key");
        let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().await;
        assert!(status.expect("run ssh-keygen").success());
        vm.authorize(&std::fs::read_to_string(client.path().join("key.pub")).expect("read the key"))
            .expect("authorize");
        let signed = Signed { vm, client };
        signed.trust_host();
        signed
    }

    fn trust_host(&self) {
        let line = format!("{} {}\n", self.vm.address(), self.vm.host_key().expect("host key"));
        std::fs::write(self.client.path().join("known_hosts"), line).expect("write known_hosts");
    }

    fn ssh(&self, script: &str) -> Command {
        let folder = self.client.path();
        let mut ssh = Command::new("ssh");
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "ConnectTimeout=5",
            "-o",
        ])
        .arg(format!("UserKnownHostsFile={}", folder.join("known_hosts").display()))
        .arg("-i")
        .arg(folder.join("key"))
        .arg(format!("{}@{}", self.vm.user(), self.vm.address()))
        .arg(script)
        .stdin(Stdio::null())
        .kill_on_drop(true);
        ssh
    }

    async fn try_run(&self, script: &str) -> Output {
        let output = tokio::time::timeout(Duration::from_secs(30), self.ssh(script).output()).await;
        output.expect("ssh ends").expect("run ssh")
    }

    async fn run(&self, script: &str) -> String {
        let output = self.try_run(script).await;
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
    }

    /// What ssh says when it cannot get in.
    async fn refusal(&self) -> String {
        let output = self.try_run("true").await;
        assert_eq!(output.status.code(), Some(255), "ssh got in");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

#[tokio::test]
async fn a_user_signs_in_to_a_machine_of_its_own() {
    let signed = Signed::in_to_a_vm().await;
    assert_eq!(signed.run("id -un; id -u; hostname; echo $HOME; pwd").await, "dev\n1000\ndev-vm\n/home/dev\n/home/dev");
    assert_eq!(signed.run("cat /proc/sys/kernel/random/boot_id").await, signed.vm.boot_id().unwrap());
    assert_eq!(signed.run("ls /usr/local/bin; command -v claude").await, "claude\n/usr/local/bin/claude");
    assert_eq!(signed.run("claude --version").await, format!("{} (Claude Code)", catalyst_lab::claude::VERSION));
    // The lab's processes are not seen, and what is the host's cannot be changed or read.
    assert_eq!(signed.run("ls /proc | grep -c '^[0-9]' | { read n; [ $n -lt 20 ] && echo few; }").await, "few");
    assert!(!signed.try_run("touch /usr/bin/x").await.status.success());
    assert!(!signed.try_run("cat /etc/shadow").await.status.success());
    assert_eq!(signed.run("echo kept >notes; cat notes; stat -c %U notes").await, "kept\ndev");
    assert_eq!(std::fs::read_to_string(signed.vm.home().join("notes")).unwrap(), "kept\n");
    let inside = signed.vm.command("sh").unwrap().args(["-c", "id -un; pwd; echo $PATH"]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout), "dev\n/home/dev\n/usr/local/bin:/usr/bin:/bin:/usr/games\n");
}

#[tokio::test]
async fn the_agent_on_it_answers_through_ssh() {
    let signed = Signed::in_to_a_vm().await;
    let script = "mkdir -p w && cd w && claude -p --verbose --output-format=stream-json --permission-mode=acceptEdits \
                  --allowedTools=Bash -- 'a page about kites'";
    let output = signed.run(script).await;
    let last: serde_json::Value = serde_json::from_str(output.lines().last().expect("output")).expect("JSON");
    assert_eq!((last["type"].as_str(), last["is_error"].as_bool()), (Some("result"), Some(false)), "{last}");
    let page = std::fs::read_to_string(signed.vm.home().join("w/index.html")).expect("the page that was built");
    assert!(page.contains("a page about kites"), "{page}");
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let signed = Signed::in_to_a_vm().await;
    signed.vm.authorize_nobody().unwrap();
    assert!(signed.refusal().await.contains("Permission denied (publickey)"));
}

#[tokio::test]
async fn sshd_stopped_refuses_frozen_hangs_and_each_comes_back() {
    let signed = Signed::in_to_a_vm().await;
    signed.vm.stop_sshd().await.unwrap();
    assert!(signed.refusal().await.contains("Connection refused"));
    assert!(!signed.vm.is_up());
    signed.vm.start_sshd().await.unwrap();
    signed.run("true").await;

    signed.vm.freeze().await.unwrap();
    let refusal = signed.refusal().await;
    assert!(refusal.contains("timed out"), "{refusal}");
    signed.vm.thaw().await.unwrap();
    signed.run("true").await;
}

#[tokio::test]
async fn cut_off_it_cannot_be_reached_and_its_processes_go_on() {
    let signed = Signed::in_to_a_vm().await;
    signed.run("nohup sh -c 'sleep 300' >/dev/null 2>&1 & echo $! >pid").await;
    signed.vm.cut().await.unwrap();
    let refusal = signed.refusal().await;
    assert!(refusal.contains("No route to host") || refusal.contains("timed out"), "{refusal}");
    signed.vm.mend().await.unwrap();
    signed.run("kill -0 $(cat pid)").await;
}

/// Whatever somebody tried on it, the next start is the way back; what runs on it is not disturbed.
#[tokio::test]
async fn a_start_mends_a_vm_that_was_cut_off_frozen_or_lost_its_sshd() {
    let signed = Signed::in_to_a_vm().await;
    signed.run("nohup sh -c 'sleep 300' >/dev/null 2>&1 & echo $! >pid").await;
    let vm = &signed.vm;
    for broken in ["cut", "frozen", "stopped", "all of it"] {
        if ["stopped", "all of it"].contains(&broken) {
            vm.stop_sshd().await.unwrap();
        }
        if ["frozen", "all of it"].contains(&broken) {
            vm.freeze().await.unwrap();
        }
        if ["cut", "all of it"].contains(&broken) {
            vm.cut().await.unwrap();
        }
        signed.refusal().await;
        vm.up().await.unwrap();
        signed.run("kill -0 $(cat pid)").await;
    }
}

#[tokio::test]
async fn killed_sessions_end_at_the_client_and_the_listener_stays() {
    let signed = Signed::in_to_a_vm().await;
    let mut session = signed.ssh("echo in; exec sleep 300").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = tokio::io::BufReader::new(session.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut line).await.unwrap();
    assert_eq!(line, "in\n");
    signed.vm.kill_sessions().await.unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), session.wait()).await.expect("ssh ends").unwrap();
    assert_eq!(status.code(), Some(255));
    signed.run("true").await;
}

#[tokio::test]
async fn a_reboot_ends_processes_changes_the_boot_id_and_keeps_the_home() {
    let signed = Signed::in_to_a_vm().await;
    signed.run("echo kept >notes; echo gone >/tmp/notes; nohup sleep 300 >/dev/null 2>&1 &").await;
    let before = signed.run("cat /proc/sys/kernel/random/boot_id").await;
    signed.vm.reboot().await.unwrap();
    let after = signed.run("cat /proc/sys/kernel/random/boot_id").await;
    assert_ne!(before, after);
    assert_eq!(after, signed.vm.boot_id().unwrap());
    assert_eq!(signed.run("cat notes; ls /tmp; pgrep -u dev -xc sleep || true").await, "kept\n0");
}

#[tokio::test]
async fn another_host_key_is_noticed() {
    let signed = Signed::in_to_a_vm().await;
    signed.vm.replace_host_key().await.unwrap();
    assert!(signed.refusal().await.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"));
    signed.trust_host();
    signed.run("true").await;
}

#[tokio::test]
async fn orphans_are_reaped() {
    let signed = Signed::in_to_a_vm().await;
    signed.run("for i in 1 2 3 4 5; do setsid sh -c 'true' & done; (setsid sleep 0.2 &) ; wait").await;
    let zombies = "ps -eo stat= | grep -c '^Z' || true";
    let mut count = signed.run(zombies).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while count != "0" {
        assert!(tokio::time::Instant::now() < deadline, "{count} zombies stay");
        count = signed.run(zombies).await;
    }
}

#[tokio::test]
async fn what_a_killed_lab_left_is_mended_and_down_leaves_nothing() {
    let vm = TemporaryVm::of(DevVm::standalone(&format!("lvdev-m{}", std::process::id() % 100_000)).unwrap());
    vm.up().await.unwrap();
    let (key, boot_id) = (vm.host_key().unwrap(), vm.boot_id().unwrap());
    // Up again changes nothing; a handle of its own finds the same VM.
    vm.up().await.unwrap();
    assert_eq!(vm.boot_id().unwrap(), boot_id);
    // The network goes under the running VM, as when a lab was killed between two steps.
    let namespace = format!("catalyst-lvdev-m{}-vm", std::process::id() % 100_000);
    let status = Command::new("ip").args(["netns", "delete", &namespace]).status().await.unwrap();
    assert!(status.success());
    vm.up().await.unwrap();
    assert!(vm.is_up());
    assert_eq!(vm.host_key().unwrap(), key);
    let folder = vm.home().parent().unwrap().to_owned();
    for _ in 0..2 {
        vm.down().await.unwrap();
        assert!(!folder.exists() && !Path::new("/run/netns").join(&namespace).exists());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&*folder.to_string_lossy()), "{mounts}");
    }
    // And it can be had again.
    vm.up().await.unwrap();
    vm.down().await.unwrap();
}

/// As in a lab, where the node is plugged into the same bridge.
#[tokio::test]
async fn on_a_bridge_it_is_reached_by_its_neighbours() {
    let bridge = format!("lvdev{}", std::process::id() % 1_000_000);
    let ip = async |line: &str| {
        let status = Command::new("ip").args(line.split(' ')).status().await.expect("run ip");
        assert!(status.success(), "ip {line}");
    };
    struct Bridge(String);
    impl Drop for Bridge {
        fn drop(&mut self) {
            let _ = std::process::Command::new("ip").args(["link", "delete", &self.0]).status();
        }
    }
    ip(&format!("link add {bridge} type bridge")).await;
    let _gone_with_the_test = Bridge(bridge.clone());
    ip(&format!("addr add 198.18.255.1/24 dev {bridge}")).await;
    ip(&format!("link set {bridge} up")).await;
    let folder = tempfile::tempdir().unwrap();
    let network = VmNetwork {
        namespace: format!("{bridge}-vm"),
        link: format!("{bridge}v"),
        address: [198, 18, 255, 3].into(),
        gateway: [198, 18, 255, 1].into(),
        uplink: Uplink::Bridge(bridge.clone()),
    };
    let vm = TemporaryVm::of(DevVm::new(folder.path().join("vm"), network, Service::StandIn));
    vm.up().await.unwrap();
    let banner = async || {
        let mut stream = tokio::net::TcpStream::connect((vm.address(), vm.port())).await?;
        let mut banner = [0; 8];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut banner).await?;
        std::io::Result::Ok(banner)
    };
    assert_eq!(&banner().await.unwrap(), b"SSH-2.0-");
    vm.cut().await.unwrap();
    let reached = tokio::time::timeout(Duration::from_secs(2), banner()).await;
    assert!(!matches!(reached, Ok(Ok(_))), "reached while cut off");
    vm.mend().await.unwrap();
    let mended = tokio::time::timeout(Duration::from_secs(20), async {
        while banner().await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    mended.await.expect("reached again");
}

/// Only what can be seen without the network: the service itself is not asked anything.
#[tokio::test]
async fn with_a_key_the_vm_gets_a_way_out_and_the_key_is_the_users_alone() {
    let name = format!("lvdev-k{}", std::process::id() % 100_000);
    let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let before = forwarding();
    let service = Service::Real(ApiKey::new("sk-planted-key\n"));
    let vm = TemporaryVm::of(DevVm::standalone(&name).unwrap().with_service(service));
    vm.up().await.unwrap();
    let inside = async |script: &str| {
        let output = vm.command("sh").unwrap().args(["-c", script]).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    assert_eq!(
        inside("stat -c '%a %U' ~/.config/anthropic/api-key; cat ~/.config/anthropic/api-key").await,
        "600 dev\nsk-planted-key"
    );
    assert_eq!(inside("grep -c planted /usr/local/bin/claude").await, "0");
    assert_eq!(inside("ip route show default").await.split_whitespace().nth(2), Some(&*gateway_of(&vm)));
    assert_eq!(inside("grep -c ^nameserver /etc/resolv.conf").await, "1");
    assert!(format!("{:?}", *vm).find("planted").is_none());
    assert_eq!((rules_of(&name).await, forwarding().trim()), (3, "1"));
    vm.down().await.unwrap();
    assert_eq!((rules_of(&name).await, forwarding()), (0, before));
}

fn gateway_of(vm: &DevVm) -> String {
    vm.address().to_string().rsplit_once('.').map(|(network, _)| format!("{network}.1")).unwrap()
}

async fn rules_of(name: &str) -> usize {
    let mut rules = String::new();
    for table in ["nat", "filter"] {
        let output = Command::new("iptables").args(["-t", table, "-S"]).output().await.expect("run iptables");
        rules.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    rules.lines().filter(|rule| rule.contains(name)).count()
}
