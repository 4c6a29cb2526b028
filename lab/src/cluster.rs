//! What makes a node a cluster: control plane, DNS, ingress, and the port on the host that leads to it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use kube::Client;
use tokio::process::Command;

use crate::assignment::Assignment;
use crate::components::Plane;
use crate::daemon::{Daemon, words};
use crate::node::{Node, image_name, until};
use crate::parts::{Built, Part};
use crate::progress::Progress;
use crate::{command, folders, ingress, parts, readiness};

const COREDNS: &str = include_str!("../manifests/coredns.yaml");
pub(crate) const API_PORT: u16 = 6443;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// On the node's loopback.
const ETCD: SocketAddr = SocketAddr::new(LOOPBACK, 2379);
pub(crate) const CONTROLLER_MANAGER_PORT: u16 = 10257;
pub(crate) const SCHEDULER_PORT: u16 = 10259;

/// The programs of a cluster.
pub(crate) struct Programs {
    labtool: Built,
    kubelab: Built,
    kubectl: Built,
    coredns: Built,
    ingress: Built,
}

impl Programs {
    /// Builds what is not in the cache.
    pub(crate) async fn ensure(progress: &Progress) -> anyhow::Result<Programs> {
        Ok(Programs {
            labtool: parts::ensure(Part::Labtool, progress).await?,
            kubelab: parts::ensure(Part::Kubelab, progress).await?,
            kubectl: parts::ensure(Part::Kubectl, progress).await?,
            coredns: parts::ensure(Part::CoreDns, progress).await?,
            ingress: parts::ensure(Part::IngressNginx, progress).await?,
        })
    }
}

/// A lab's cluster, by its node.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) node: Node,
    pub(crate) plane: Plane,
}

impl Cluster {
    pub(crate) fn new(node: Node) -> Cluster {
        let api = SocketAddr::new(node.network.node, API_PORT);
        Cluster { plane: Plane { folder: node.state.join("plane"), etcd: ETCD, api }, node }
    }

    pub(crate) fn etcd(&self) -> Daemon {
        Daemon::new(&self.node.state, "etcd")
    }

    pub(crate) fn api_server(&self) -> Daemon {
        Daemon::new(&self.node.state, "kube-apiserver")
    }

    pub(crate) fn controller_manager(&self) -> Daemon {
        Daemon::new(&self.node.state, "kube-controller-manager")
    }

    pub(crate) fn scheduler(&self) -> Daemon {
        Daemon::new(&self.node.state, "kube-scheduler")
    }

    pub(crate) fn forwarder(&self) -> Daemon {
        Daemon::new(&self.node.state, "forwarder")
    }

    /// Starts what does not run, each part when what it needs is ready.
    pub(crate) async fn start(&self, programs: &Programs, progress: &Progress) -> anyhow::Result<()> {
        progress.step("etcd and the API server", self.start_api_server(programs)).await?;
        let client = readiness::client(&self.plane.kubeconfig()).await?;
        self.start_controllers(programs)?;
        let images = [&programs.labtool, &programs.coredns];
        progress.step("containerd and its images", self.node.start_containerd(&images)).await?;
        progress
            .step("kubelet and kube-proxy", self.node.start_kubelet(&self.plane, &programs.kubelab, &client))
            .await?;
        progress.step("DNS", self.start_dns(programs, &client)).await?;
        progress.step("the ingress", self.start_ingress(programs, &client)).await
    }

    async fn start_api_server(&self, programs: &Programs) -> anyhow::Result<()> {
        self.node.enter(&programs.labtool).await?;
        let certificates = self.plane.prepare()?;
        self.start_component(&self.etcd(), programs, self.plane.etcd())?;
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let api_server = self.api_server();
        self.start_component(&api_server, programs, self.plane.api_server(&certificates, any)?)?;
        let client = readiness::client(&self.plane.kubeconfig()).await?;
        until("the API server", &api_server, async || readiness::api_server(&client).await).await
    }

    fn start_controllers(&self, programs: &Programs) -> anyhow::Result<()> {
        let certificates = self.plane.certificates()?;
        let controllers = self.plane.controller_manager(&certificates, CONTROLLER_MANAGER_PORT);
        self.start_component(&self.controller_manager(), programs, controllers)?;
        self.start_component(&self.scheduler(), programs, self.plane.scheduler(SCHEDULER_PORT))
    }

    fn start_component(&self, daemon: &Daemon, programs: &Programs, arguments: Vec<String>) -> anyhow::Result<()> {
        if daemon.pid().is_some() {
            return Ok(());
        }
        let mut command: Vec<OsString> = words([programs.kubelab.program()]);
        command.extend(words(arguments));
        daemon.start(&self.node.groups, &self.node.place()?, &command).map(drop)
    }

    async fn start_dns(&self, programs: &Programs, client: &Client) -> anyhow::Result<()> {
        // Pods need an account that a controller makes.
        until("the controller manager", &self.controller_manager(), async || readiness::controllers(client).await)
            .await?;
        let vm = self.node.network.vm.to_string();
        let objects = COREDNS.replace("@IMAGE@", &image_name(Part::CoreDns)).replace("@VM@", &vm);
        self.apply(&programs.kubectl, &objects).await?;
        until("DNS", &self.node.kubelet(), async || self.dns_answers(client).await)
            .await
            .with_context(|| format!("CoreDNS is a pod; what it said itself is in {}", self.node.pod_logs().display()))
    }

    /// Whether CoreDNS runs.
    pub(crate) async fn dns_answers(&self, client: &Client) -> bool {
        readiness::deployment(client, "kube-system", "coredns").await
    }

    async fn start_ingress(&self, programs: &Programs, client: &Client) -> anyhow::Result<()> {
        self.apply(&programs.kubectl, &ingress::objects()).await?;
        let admission = ingress::start(&self.node, &self.plane, &programs.ingress, client).await?;
        self.apply(&programs.kubectl, &admission).await?;
        ingress::await_admission(&self.node, client).await
    }

    /// The port on the host; `assignment` says which.
    pub(crate) async fn start_forwarder(&self, programs: &Programs, assignment: Assignment) -> anyhow::Result<()> {
        let forwarder = self.forwarder();
        let listen = SocketAddr::new(LOOPBACK, assignment.ingress_port);
        if forwarder.pid().is_none() {
            let target = SocketAddr::new(self.node.network.node, 80);
            let labtool = programs.labtool.program().display().to_string();
            let command = [labtool, "forward".into(), listen.to_string(), target.to_string()];
            forwarder.start(&self.node.groups, &[], &words(command))?;
        }
        until("the forwarder", &forwarder, async || readiness::accepts(listen.ip(), listen.port()).await).await
    }

    async fn apply(&self, kubectl: &Built, objects: &str) -> anyhow::Result<()> {
        let mut command = self.kubectl(kubectl.program());
        command.args(["apply", "--server-side", "--force-conflicts", "--field-manager=catalyst-lab", "-f", "-"]);
        command::output(command, objects.as_bytes()).await.map(drop)
    }

    /// A kubectl that keeps its caches with the lab, not with the user.
    pub(crate) fn kubectl(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("KUBECACHEDIR", self.node.state.join("kubectl"))
            .env("NO_PROXY", format!("{},localhost,127.0.0.1", self.node.network.node));
        command
    }

    /// The folder of all logs, made.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        folders::make(&self.node.state.join("log")).context("make the folder of logs")
    }
}
