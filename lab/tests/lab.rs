//! A lab from nothing to a page served through the ingress, and back to nothing; killed in between; two at once.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails in a test ends it")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use catalyst_lab::{Lab, Progress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, SemaphorePermit};

const PROGRAM: &str = env!("CARGO_BIN_EXE_catalyst-lab");

/// A lab of a test's own: taken down when the test ends, however it ends.
struct Trial(Lab, #[expect(dead_code, reason = "held until the lab is down")] SemaphorePermit<'static>);

/// As many as two processors bear without a part of one waiting too long.
static LABS: Semaphore = Semaphore::const_new(3);

impl Trial {
    /// What an earlier run of the test left is taken down first.
    async fn named(name: &str) -> Trial {
        Trial::in_room(name, LABS.acquire().await.unwrap()).await
    }

    /// Two at a time, for which there is room at once or not at all: of two that each had one place and awaited another neither would go on.
    async fn two(one: &str, other: &str) -> (Trial, Trial) {
        let mut room = LABS.acquire_many(2).await.unwrap();
        let half = room.split(1).unwrap();
        (Trial::in_room(one, room).await, Trial::in_room(other, half).await)
    }

    async fn in_room(name: &str, room: SemaphorePermit<'static>) -> Trial {
        let trial = Trial(Lab::named(name).unwrap(), room);
        trial.0.down().await.unwrap();
        assert_eq!(trial.traces(), BTreeSet::new());
        trial
    }

    /// All that is on the machine because of this lab.
    fn traces(&self) -> BTreeSet<String> {
        let name = self.0.name();
        let network = self.0.network();
        let mut traces = BTreeSet::new();
        let further = format!("{}1", network.vm_link);
        let links = [&network.bridge, &network.node_link, &network.vm_link, &further];
        for path in std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name()) {
            if links.iter().any(|link| path.to_str() == Some(link)) {
                traces.insert(format!("link {path:?}"));
            }
        }
        let state = catalyst_lab::folders::state().unwrap().join(name);
        let own = [state.to_str().unwrap().to_owned(), format!("catalyst-{name}-"), format!("catalyst-lab-{name}")];
        let is_own = |text: &str| own.iter().any(|own| text.contains(own));
        if state.exists() {
            traces.insert(format!("folder {}", state.display()));
        }
        for path in [&network.node_netns, &network.vm_netns, &format!("{}1", network.vm_netns)] {
            if Path::new("/run/netns").join(path).exists() {
                traces.insert(format!("netns {path}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        traces.extend(mounts.lines().filter(|line| is_own(line)).map(|line| format!("mount {line}")));
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| std::fs::read(process.path().join(file)).unwrap_or_default();
            // One that has ended and waits for the machine's init to take note is not the lab's any more.
            if String::from_utf8_lossy(&read("stat")).contains(") Z ") {
                continue;
            }
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            if is_own(&command) || is_own(&String::from_utf8_lossy(&read("cgroup"))) {
                traces.insert(format!("process {:?} {command}", process.file_name()));
            }
        }
        let mut folders = vec!["/sys/fs/cgroup".into()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir::<std::path::PathBuf>(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    if is_own(&entry.path().to_string_lossy()) {
                        traces.insert(format!("control group {}", entry.path().display()));
                    } else {
                        folders.push(entry.path());
                    }
                }
            }
        }
        traces
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let down = Command::new(PROGRAM).args(["--name", self.0.name(), "down"]).status();
        eprintln!("took {} down: {down:?}", self.0.name());
    }
}

/// What a node writes by fixed names: none of it may be the host's; and the host's rules of packet filters that are about this lab.
fn host(lab: &Lab) -> Vec<String> {
    const FOLDERS: [&str; 13] = [
        "/etc/cni",
        "/etc/nginx",
        "/etc/ingress-controller",
        "/mnt",
        "/opt/cni",
        "/run/containerd",
        "/tmp/nginx",
        "/var/lib/cni",
        "/var/lib/containerd",
        "/var/lib/kubelet",
        "/var/log/containers",
        "/var/log/nginx",
        "/var/log/pods",
    ];
    const SETTINGS: [&str; 5] =
        ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"];
    let mut host = Vec::new();
    for folder in FOLDERS {
        let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.file_name()));
        let mut names: Vec<_> = entries.into_iter().flatten().collect();
        names.sort();
        host.push(format!("{folder} {}: {names:?}", Path::new(folder).exists()));
    }
    for setting in SETTINGS {
        host.push(format!("{setting}: {}", std::fs::read_to_string(Path::new("/proc/sys").join(setting)).unwrap()));
    }
    let rules = String::from_utf8(Command::new("iptables-save").output().unwrap().stdout).unwrap();
    let vm = lab.vm().address().to_string();
    let own = [&lab.network().bridge, "KUBE", "CNI", vm.trim_end_matches(|letter| letter != '.')];
    let of_this_lab = |rule: &&str| own.iter().any(|word| rule.contains(word));
    host.extend(rules.lines().filter(of_this_lab).map(str::to_owned));
    host
}

fn kubectl(lab: &Lab, arguments: &[&str], input: &str) -> String {
    let mut command = lab.kubectl().into_std();
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A pod that serves tests, behind a Service and an Ingress for HOST.localhost.
fn publish(lab: &Lab, host: &str) {
    let objects = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": host}, "spec": {
            "selector": {"matchLabels": {"app": host}},
            "template": {"metadata": {"labels": {"app": host}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                "name": "serve", "image": lab.test_image(), "imagePullPolicy": "Never", "args": ["serve", ":8080"],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": host}, "spec": {
            "selector": {"app": host}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": host}, "spec": {
            "ingressClassName": "nginx", "rules": [{"host": format!("{host}.localhost"), "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": host, "port": {"number": 80}}}}]}}]}},
    ]});
    kubectl(lab, &["apply", "-f", "-"], &objects.to_string());
}

async fn get(lab: &Lab, host: &str, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(lab.ingress_addr()).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}.localhost:{}\r\nConnection: close\r\n\r\n",
        lab.ingress_addr().port()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The first answer through the ingress that has `expected` in it.
async fn answer(lab: &Lab, host: &str, path: &str, expected: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = get(lab, host, path).await;
        match answer {
            Ok(answer) if answer.contains(expected) => return answer,
            other => assert!(Instant::now() < deadline, "no {expected:?} from {host}{path} within 60 s: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn pid(status: &catalyst_lab::Status, part: &str) -> i32 {
    status.parts.iter().find(|other| other.name == part).unwrap().pid.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_reached_through_the_ingress_and_nothing_is_left_after_down() {
    let trial = Trial::named("t-whole").await;
    let lab = &trial.0;
    let before = host(lab);
    lab.up(&Progress::stderr()).await.unwrap();
    publish(lab, "web");
    answer(lab, "web", "/hello", "got /hello for web.localhost").await;

    // A pod reaches the dev-VM, by address and by name, and the cluster's own services.
    let vm = format!("/dial?to={}:22", lab.vm().address());
    answer(lab, "web", &vm, "reached").await;
    answer(lab, "web", "/dial?to=dev-vm.lab:22", "reached").await;
    answer(lab, "web", "/dial?to=kubernetes.default.svc.cluster.local:443", "reached").await;
    answer(lab, "web", "/resolve?name=no-such-name.example", "no such host").await;

    // The webhook refuses what the controller would not serve.
    let snippet =
        serde_json::json!({"metadata": {"annotations": {"nginx.ingress.kubernetes.io/configuration-snippet": "x;"}}});
    let patched = lab.kubectl().args(["patch", "ingress", "web", "-p", &snippet.to_string()]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&patched.stderr).contains("denied the request"), "{patched:?}");

    // A second start does nothing; one that finds a part killed starts that one alone.
    let first = lab.status().await.unwrap();
    assert!(first.is_up(), "{first}");
    lab.up(&Progress::stderr()).await.unwrap();
    assert_eq!(
        lab.status().await.unwrap().parts.iter().map(|part| part.pid).collect::<Vec<_>>(),
        first.parts.iter().map(|part| part.pid).collect::<Vec<_>>()
    );
    for part in ["kube-scheduler", "ingress-nginx", "forwarder"] {
        assert!(Command::new("kill").args(["-9", &pid(&first, part).to_string()]).status().unwrap().success());
    }
    lab.up(&Progress::stderr()).await.unwrap();
    let second = lab.status().await.unwrap();
    assert!(second.is_up(), "{second}");
    assert_eq!(pid(&second, "kube-apiserver"), pid(&first, "kube-apiserver"));
    assert_ne!(pid(&second, "ingress-nginx"), pid(&first, "ingress-nginx"));
    answer(lab, "web", "/again", "got /again").await;

    let writes = lab.writes().unwrap();
    assert!(writes.iter().any(|write| write.user == "admin" && write.resource == "ingresses" && write.name == "web"));

    // A further VM stands beside the lab's own, and goes with the lab.
    lab.further_vm(1).up().await.unwrap();
    answer(lab, "web", &format!("/dial?to={}:22", lab.further_vm(1).address()), "reached").await;

    let kept = tempfile::tempdir().unwrap();
    lab.keep_logs(kept.path()).await.unwrap();
    for log in ["parts/kubelet.log", "vm/sshd.log", "pods"] {
        assert!(kept.path().join(log).exists(), "no {log} was kept");
    }
    assert!(std::fs::read_dir(kept.path().join("pods")).unwrap().count() > 0);

    let traces = trial.traces();
    for kind in ["link", "netns", "mount", "process", "control group", "folder"] {
        assert!(
            traces.iter().any(|trace| trace.starts_with(kind)),
            "the test would not see a {kind} that is left: {traces:#?}"
        );
    }
    lab.down().await.unwrap();
    assert_eq!(trial.traces(), BTreeSet::new());
    assert_eq!(host(lab), before);
    lab.down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_that_was_killed_at_any_moment_is_mended_by_the_next_start() {
    let trial = Trial::named("t-killed").await;
    let lab = &trial.0;
    // The start itself is killed, in the middle of one step after another; the last time, with all that it started.
    for (moment, everything) in
        [("the dev-VM: done", false), ("etcd and the API server: done", false), ("kubelet and kube-proxy: done", true)]
    {
        let mut up = Command::new(PROGRAM)
            .args(["--name", "t-killed", "up"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = std::io::BufReader::new(up.stderr.take().unwrap());
        let reached = std::io::BufRead::lines(said).map(Result::unwrap).any(|line| {
            eprintln!("to be killed: {line}");
            line.contains(moment)
        });
        assert!(reached, "never came to {moment:?}");
        up.kill().unwrap();
        up.wait().unwrap();
        if everything {
            let pids: Vec<_> = trial
                .traces()
                .iter()
                .filter_map(|trace| Some(trace.strip_prefix("process \"")?.split_once('"')?.0.to_owned()))
                .collect();
            assert!(pids.len() > 8, "{pids:?}");
            let _ = Command::new("kill").arg("-9").args(pids).status().unwrap();
        }
    }
    lab.up(&Progress::stderr()).await.unwrap();
    publish(lab, "web");
    answer(lab, "web", "/", "pod web-").await;

    // After a kill of everything, objects and images are there again, as after a reboot.
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter(|process| {
        std::fs::read_to_string(process.path().join("cgroup"))
            .is_ok_and(|group| group.contains("/catalyst-lab-t-killed/"))
    });
    let pids: Vec<_> = processes.map(|process| process.file_name()).collect();
    let _ = Command::new("kill").arg("-9").args(pids).status().unwrap();
    assert!(!lab.status().await.unwrap().is_up());
    lab.up(&Progress::stderr()).await.unwrap();
    answer(lab, "web", "/", "pod web-").await;
    lab.down().await.unwrap();
    assert_eq!(trial.traces(), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_labs_stand_side_by_side_and_one_does_not_notice_the_end_of_the_other() {
    let (one, two) = Trial::two("t-left", "t-right").await;
    let progress = Progress::stderr();
    tokio::try_join!(one.0.up(&progress), two.0.up(&progress)).unwrap();
    assert_ne!(one.0.ingress_addr(), two.0.ingress_addr());
    publish(&one.0, "left");
    publish(&two.0, "right");
    answer(&one.0, "left", "/", "pod left-").await;
    answer(&two.0, "right", "/", "pod right-").await;
    assert!(get(&two.0, "left", "/").await.unwrap().contains("404"));

    one.0.down().await.unwrap();
    assert_eq!(one.traces(), BTreeSet::new());
    let status = two.0.status().await.unwrap();
    assert!(status.is_up(), "{status}");
    answer(&two.0, "right", "/", "pod right-").await;
    kubectl(&two.0, &["rollout", "restart", "deployment/right"], "");
    kubectl(&two.0, &["rollout", "status", "deployment/right", "--timeout=60s"], "");
    two.0.down().await.unwrap();
    assert_eq!(two.traces(), BTreeSet::new());
}
