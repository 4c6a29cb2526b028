//! The one node: a network namespace, a mount namespace, containerd, kubelet, kube-proxy and an enforcer of NetworkPolicies.
//!
//! All that the node writes is below the lab's folder, whatever name it writes by (`mounts.sh`).

mod policies;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::cgroup::Cgroups;
use crate::components::{POD_CIDR, Plane};
use crate::daemon::{Daemon, words};
use crate::network::Network;
use crate::parts::{Built, Part};
use crate::{command, folders, image, links, readiness};

/// The node's name in the cluster.
pub(crate) const NAME: &str = "node";
pub(crate) const DNS_SERVICE: &str = "10.96.0.10";
const POD_SUBNET: &str = "10.244.0.0/24";
const MOUNTS: &str = include_str!("node/mounts.sh");
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// A lab's node, by its folder.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) state: PathBuf,
    pub(crate) network: Network,
    pub(crate) groups: Cgroups,
}

impl Node {
    /// Keeps the mount namespace.
    pub(crate) fn keeper(&self) -> Daemon {
        Daemon::new(&self.state, "node")
    }

    pub(crate) fn containerd(&self) -> Daemon {
        Daemon::new(&self.state, "containerd")
    }

    pub(crate) fn kubelet(&self) -> Daemon {
        Daemon::new(&self.state, "kubelet")
    }

    pub(crate) fn kube_proxy(&self) -> Daemon {
        Daemon::new(&self.state, "kube-proxy")
    }

    /// nginx's configuration folder on the node.
    pub(crate) fn nginx(&self) -> PathBuf {
        self.own().join("nginx")
    }

    /// What pods say, a folder a pod.
    pub(crate) fn pod_logs(&self) -> PathBuf {
        self.own().join("var-log/pods")
    }

    fn own(&self) -> PathBuf {
        self.state.join("node")
    }

    fn socket(&self) -> PathBuf {
        self.own().join("containerd.sock")
    }

    /// The image of a pod's sandbox, which also serves the tests.
    pub(crate) fn labtool_image() -> String {
        image_name(Part::Labtool)
    }

    /// The words before a command by which it runs on the node. Only the network namespace is entered by `nsenter`: `ip netns exec`
    /// would hide the control groups.
    pub(crate) fn place(&self) -> anyhow::Result<Vec<OsString>> {
        let keeper = self.keeper().pid().context("the node's keeper does not run")?;
        let mounts = format!("--mount=/proc/{keeper}/ns/mnt");
        Ok(words(["nsenter".as_ref(), mounts.as_ref(), self.net().as_os_str(), "--".as_ref()]))
    }

    fn net(&self) -> OsString {
        format!("--net={}", links::node_namespace(&self.network).display()).into()
    }

    /// The keeper of the node's namespaces, started if it does not run.
    pub(crate) async fn enter(&self, labtool: &Built) -> anyhow::Result<()> {
        let keeper = self.keeper();
        if keeper.pid().is_none() {
            folders::make(&self.nginx())?;
            let script = self.own().join("mounts.sh");
            folders::write_whole(&script, MOUNTS)?;
            let place = words(["nsenter".as_ref(), self.net().as_os_str(), "--".as_ref()]);
            let mut command = words(["unshare", "--mount", "--propagation", "slave", "sh"]);
            command.extend(words([script.as_path(), &self.state, &folders::cache()?, &labtool.program()]));
            keeper.start(&self.groups, &place, &command)?;
        }
        // The script ends by becoming the keeper; until then the mounts are not all there.
        let becomes = labtool.program();
        until("the node's mounts", &keeper, async || {
            let program = keeper.pid().and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok());
            program.is_some_and(|program| program == becomes)
        })
        .await
    }

    /// containerd, with the images that the node itself needs.
    pub(crate) async fn start_containerd(&self, parts: &[&Built]) -> anyhow::Result<()> {
        let daemon = self.containerd();
        if daemon.pid().is_none() {
            let config = self.own().join("containerd.toml");
            folders::make(&self.own().join("cni"))?;
            folders::write_whole(&config, self.containerd_config())?;
            folders::write_whole(&self.own().join("cni/10-lab.conflist"), cni_config()?)?;
            daemon.start(
                &self.groups,
                &self.place()?,
                &words(["containerd".as_ref(), "--config".as_ref(), config.as_os_str()]),
            )?;
        }
        until("containerd", &daemon, async || self.containerd_answers().await).await?;
        let loaded = self.images().await?;
        for built in parts {
            let name = image_name(built.part());
            if !loaded.contains(&name) {
                let arguments: &[&str] = if built.part() == Part::Labtool { &["pause"] } else { &[] };
                self.load_program(&built.program(), arguments, &name).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn containerd_answers(&self) -> bool {
        self.socket().exists() && command::output(self.ctr(["version"]), b"").await.is_ok()
    }

    /// References of the images that pods can use.
    pub(crate) async fn images(&self) -> anyhow::Result<Vec<String>> {
        let listed =
            command::output(self.ctr(["images", "list", "-q"]), b"").await.context("list the node's images")?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Makes an image of a static program and loads it.
    pub(crate) async fn load_program(&self, program: &Path, arguments: &[&str], reference: &str) -> anyhow::Result<()> {
        let archive =
            tempfile::Builder::new().suffix(".tar").tempfile_in(&self.state).context("make a temporary file")?;
        image::archive(program, arguments, reference, archive.path())?;
        self.load(archive.path()).await
    }

    /// Loads an archive as `docker save` or `buildah push … docker-archive:` writes it.
    pub(crate) async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        let mut import = self.ctr(["images", "import"]);
        import.arg(archive);
        command::output(import, b"").await.map(drop).with_context(|| format!("load the image {}", archive.display()))
    }

    fn ctr<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]).args(arguments);
        command
    }

    /// kubelet, kube-proxy and the enforcer of NetworkPolicies; returns when the cluster takes the node for ready.
    pub(crate) async fn start_kubelet(
        &self,
        plane: &Plane,
        kubelab: &Built,
        client: &kube::Client,
    ) -> anyhow::Result<()> {
        let certificates = plane.certificates()?;
        let (kubelet, kube_proxy) = (self.kubelet(), self.kube_proxy());
        if kubelet.pid().is_none() {
            let kubeconfig = plane.kubelet_kubeconfig(&certificates, NAME)?;
            let config = self.own().join("kubelet.yaml");
            folders::write_whole(&self.own().join("resolv.conf"), "")?;
            folders::write_whole(&config, self.kubelet_config(&certificates.ca_certificate())?)?;
            let command = [
                kubelab.program().display().to_string(),
                "kubelet".into(),
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--config={}", config.display()),
                format!("--hostname-override={NAME}"),
                format!("--node-ip={}", self.network.node),
            ];
            kubelet.start(&self.groups, &self.place()?, &words(command))?;
        }
        if kube_proxy.pid().is_none() {
            let config = self.own().join("kube-proxy.yaml");
            folders::write_whole(&config, kube_proxy_config(&plane.kubeconfig())?)?;
            let command = [
                kubelab.program().display().to_string(),
                "kube-proxy".into(),
                format!("--config={}", config.display()),
            ];
            kube_proxy.start(&self.groups, &self.place()?, &words(command))?;
        }
        until("the node", &kubelet, async || readiness::node(client, NAME).await).await?;
        until("kube-proxy", &kube_proxy, async || self.kube_proxy_answers().await).await?;
        self.enforce_policies(plane, kubelab).await
    }

    pub(crate) async fn kube_proxy_answers(&self) -> bool {
        readiness::http(self.network.node, 10256, "/healthz").await.is_some_and(|status| status == 200)
    }

    fn containerd_config(&self) -> String {
        let own = self.own();
        let own = own.display();
        let pause = Node::labtool_image();
        format!(
            r#"version = 2
root = "{own}/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{own}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Lowering a score needs a capability that containers of CI systems lack.
  restrict_oom_score_adj = true
  # Its profile would be loaded into the host's kernel, and stay there.
  disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{own}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"#
        )
    }

    fn kubelet_config(&self, ca: &Path) -> anyhow::Result<String> {
        let config = serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": false}, "webhook": {"enabled": true}, "x509": {"clientCAFile": ca}},
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": format!("unix://{}", self.socket().display()),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.groups.kubelet_root(),
            // Machines with the first version of control groups serve too.
            "failCgroupV1": false,
            "failSwapOn": false,
            "oomScoreAdj": 0,
            "localStorageCapacityIsolation": true,
            "enforceNodeAllocatable": [],
            "clusterDNS": [DNS_SERVICE],
            "clusterDomain": "cluster.local",
            "resolvConf": self.own().join("resolv.conf"),
            "evictionHard": {
                "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
            // Images come by hand, so none may be collected to make room.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
        });
        Ok(serde_yaml::to_string(&config)?)
    }
}

fn cni_config() -> anyhow::Result<String> {
    // Leases of addresses are kept under the network's name: it must not change while a lab lives.
    let config = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": POD_SUBNET}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

fn kube_proxy_config(kubeconfig: &Path) -> anyhow::Result<String> {
    let config = serde_json::json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": NAME,
        "oomScoreAdj": 0,
        "healthzBindAddress": "0.0.0.0:10256",
        // These would be set for the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "0s"},
    });
    Ok(serde_yaml::to_string(&config)?)
}

/// The reference under which a part's image is known to the node.
pub(crate) fn image_name(part: Part) -> String {
    format!("docker.io/catalyst-lab/{}:{}", part.name(), part.version())
}

/// Awaits that a part is ready; ends early, with the end of its log, when its process does.
pub(crate) async fn until(what: &str, daemon: &Daemon, mut ready: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while !ready().await {
        daemon.still_runs()?;
        if Instant::now() > deadline {
            bail!(
                "{what} was not ready within {} s; the end of its log {}:\n{}",
                READY_DEADLINE.as_secs(),
                daemon.log.display(),
                daemon.log_end()
            );
        }
        tokio::time::sleep(readiness::INTERVAL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_that_ends_is_told_at_once_with_its_log_and_the_end_of_it() {
        let state = tempfile::tempdir().unwrap();
        let daemon = Daemon::new(state.path(), "part");
        std::fs::create_dir(state.path().join("log")).unwrap();
        std::fs::write(&daemon.log, "first\nout of memory\n").unwrap();
        let start = Instant::now();
        let error = until("the part", &daemon, async || false).await.unwrap_err().to_string();
        assert!(start.elapsed() < READY_DEADLINE / 10, "it was waited for");
        assert!(error.contains("part ended") && error.contains("out of memory"), "{error}");
        assert!(error.contains(&daemon.log.display().to_string()), "{error}");
    }

    #[test]
    fn containerd_loads_nothing_into_the_hosts_kernel() {
        let state = PathBuf::from("/labs/x");
        let node = Node { state, network: Network::new("x", 1), groups: Cgroups::of("x").unwrap() };
        assert!(node.containerd_config().contains("\n  disable_apparmor = true\n"));
    }
}
