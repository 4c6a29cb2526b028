//! A lab as a whole: brought up, mended, looked at and taken down by its name, from any process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::assignment::{self, Assignment};
use crate::audit::{Log, Request};
use crate::cgroup::Cgroups;
use crate::cluster::{Cluster, Programs};
use crate::network::Network;
use crate::node::Node;
use crate::parts::{self, Part};
use crate::progress::Progress;
use crate::status::Status;
use crate::vm::{DevVm, Service, VmNetwork};
use crate::{command, folders, inspect, links, preflight, readiness};

const NAME_LENGTH: usize = 20;
const FURTHER_VMS: std::ops::RangeInclusive<u8> = 1..=9;

/// A lab by its name. Cheap to clone; what it stands for lives on when it is dropped, until [`Lab::down`].
#[derive(Clone)]
pub struct Lab {
    name: String,
    /// The folder of all labs.
    labs: PathBuf,
    groups: Cgroups,
    assignment: Arc<RwLock<Assignment>>,
    service: Service,
}

impl Lab {
    /// The lab of this name, whether there is one yet or not. The dev-VM's agent talks to the lab's stand-in, or to the real service
    /// if `ANTHROPIC_API_KEY` is set.
    ///
    /// # Errors
    /// When the name is not 1 to 20 of a–z, 0–9 and -, or the machine has no control groups or no free network.
    pub fn named(name: &str) -> anyhow::Result<Lab> {
        let fits = (1..=NAME_LENGTH).contains(&name.len()) && !name.starts_with('-');
        if !fits || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            bail!("{name:?} is no name for a lab: give 1 to {NAME_LENGTH} of a-z, 0-9 and -, not beginning with -");
        }
        let labs = folders::state()?;
        let assignment = match Assignment::of(&labs.join(name)) {
            Some(kept) => kept,
            None => Assignment::choose(&labs, name)?,
        };
        Ok(Lab {
            name: name.to_owned(),
            groups: Cgroups::of(name)?,
            labs,
            assignment: Arc::new(RwLock::new(assignment)),
            service: Service::from_environment(),
        })
    }

    /// Names of the labs that there are on this machine, up or not.
    ///
    /// # Errors
    /// When there is no state folder to look in.
    pub fn all() -> anyhow::Result<Vec<String>> {
        Ok(assignment::names(&folders::state()?))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts what of the lab does not run, and mends what a killed one left. Installs packages and builds parts first if they are
    /// missing. Done when every part answers; a second call finds that and does nothing.
    ///
    /// # Errors
    /// When the machine lacks something (with how to get it), or a part does not start (with its log's name and end).
    pub async fn up(&self, progress: &Progress) -> anyhow::Result<()> {
        preflight::install(progress).await?;
        preflight::check()?;
        folders::make(&self.state())?;
        let _lock = self.lock(progress).await?;
        let kept = Assignment::keep(&self.labs, &self.name)?;
        self.assign(kept);
        if self.status().await?.is_up() {
            // It may be asked to use the other service of its agent.
            self.vm().up().await?;
            progress.say(&format!("the lab {} is up already", self.name));
            return Ok(());
        }
        let programs = Programs::ensure(progress).await?;
        let cluster = self.cluster();
        if cluster.node.keeper().pid().is_none() || !links::exist(&self.network()) {
            self.mend(progress).await?;
        }
        self.groups.create()?;
        links::create(&self.network()).await.context("make the lab's network")?;
        cluster.prepare()?;
        let vm = self.vm();
        let vm = async { progress.step("the dev-VM", vm.up()).await };
        tokio::try_join!(cluster.start(&programs, progress), vm)?;
        let assignment = self.free_port(&cluster)?;
        cluster.start_forwarder(&programs, assignment).await?;
        progress.say(&format!("the lab {} is up", self.name));
        Ok(())
    }

    /// Ends all of the lab and removes all that it left on the machine; only builds stay in the cache. Nothing happens if there is none.
    ///
    /// # Errors
    /// When something cannot be ended or removed; a second call goes on from there.
    pub async fn down(&self) -> anyhow::Result<()> {
        if !self.state().exists() && !self.groups.exist() {
            return Ok(());
        }
        folders::make(&self.state())?;
        let _lock = self.lock(&Progress::silent()).await?;
        self.vm().down().await?;
        for number in FURTHER_VMS.filter(|number| self.further_vm_folder(*number).exists()) {
            self.further_vm(number).down().await?;
        }
        self.end_node().await?;
        remove_tree(&self.state())
    }

    /// What runs and answers, now.
    ///
    /// # Errors
    /// When the lab's own files cannot be read.
    pub async fn status(&self) -> anyhow::Result<Status> {
        let parts = inspect::parts(&self.cluster(), &self.vm(), self.ingress_addr()).await;
        let ingress = format!("http://{}", self.ingress_addr());
        Ok(Status { lab: self.name.clone(), parts, ingress, kubeconfig: self.kubeconfig() })
    }

    /// The kubeconfig of cluster-admin; it holds its certificates, so a copy of it works on this machine.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.cluster().plane.kubeconfig()
    }

    /// A kubeconfig for `user` in `group`, who may do what RBAC grants them.
    ///
    /// # Errors
    /// Before the first [`Lab::up`].
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        self.cluster().plane.kubeconfig_for(user, group)
    }

    /// A client with the rights of cluster-admin.
    ///
    /// # Errors
    /// Before the first [`Lab::up`].
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        readiness::client(&self.kubeconfig()).await
    }

    /// `kubectl` for this lab, from the cache; before the first [`Lab::up`], the one on the PATH.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let built = parts::find(Part::Kubectl).ok().flatten();
        self.cluster().kubectl(built.map_or_else(|| PathBuf::from("kubectl"), |built| built.program()))
    }

    /// Loads an image's archive (`docker save`, or `buildah push NAME docker-archive:FILE:NAME`) into the node.
    ///
    /// # Errors
    /// When the lab is not up or the archive is none.
    pub async fn load_image(&self, archive: &Path) -> anyhow::Result<()> {
        self.cluster().node.load(archive).await
    }

    /// Makes an image `reference` of one static program and loads it into the node.
    ///
    /// # Errors
    /// When the lab is not up or the program cannot be read.
    pub async fn load_program(&self, program: &Path, reference: &str) -> anyhow::Result<()> {
        self.cluster().node.load_program(program, &[], reference).await
    }

    /// The reference of an image in the node that serves tests: `labtool serve ADDRESS` answers with its pod's name, `/dial?to=HOST:PORT`
    /// and `/resolve?name=NAME` say what a pod reaches.
    #[must_use]
    pub fn test_image(&self) -> String {
        Node::labtool_image()
    }

    /// 127.0.0.1 and the port that leads to the ingress: `http://NAME.localhost:PORT` reaches the host `NAME.localhost`.
    #[must_use]
    pub fn ingress_addr(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.assignment().ingress_port)
    }

    /// The API server's audit log: all writes, by whom.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.cluster().plane.audit_log()
    }

    /// All writes that the audit log still has, by anyone, oldest first.
    ///
    /// # Errors
    /// When there is no audit log.
    pub fn writes(&self) -> anyhow::Result<Vec<Arc<Request>>> {
        Log::at(self.audit_log()).writes()
    }

    /// Addresses and names of the lab's network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network::new(&self.name, self.assignment().number)
    }

    /// The dev-VM.
    #[must_use]
    pub fn vm(&self) -> DevVm {
        DevVm::new(self.state().join("vm"), VmNetwork::from(&self.network()), self.service.clone())
    }

    /// A dev-VM beside the lab's own on its network, by its `number` from 1 to 9. Nothing is started; [`Lab::down`] takes it along.
    #[must_use]
    pub fn further_vm(&self, number: u8) -> DevVm {
        let network = VmNetwork::further(&self.network(), number);
        DevVm::new(self.further_vm_folder(number), network, self.service.clone())
    }

    fn further_vm_folder(&self, number: u8) -> PathBuf {
        self.state().join(format!("vm-{number}"))
    }

    /// The folder of the parts' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state().join("log")
    }

    /// Copies what all parts, pods and the dev-VM have said into the folder `to`, made if it is missing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub async fn keep_logs(&self, to: &Path) -> anyhow::Result<()> {
        for (kind, from) in [("parts", self.logs()), ("pods", self.cluster().node.pod_logs()), ("vm", self.vm().log())]
        {
            if from.exists() {
                let to = to.join(kind);
                folders::make(&to)?;
                command::run("cp", ["-RL".as_ref(), from.join(".").as_os_str(), to.as_os_str()]).await?;
            }
        }
        Ok(())
    }

    fn state(&self) -> PathBuf {
        self.labs.join(&self.name)
    }

    fn cluster(&self) -> Cluster {
        Cluster::new(Node { state: self.state(), network: self.network(), groups: self.groups.clone() })
    }

    /// What the lab was given, perhaps by another process meanwhile.
    fn assignment(&self) -> Assignment {
        if let Some(kept) = Assignment::of(&self.state()) {
            return kept;
        }
        *self.assignment.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, assignment: Assignment) {
        *self.assignment.write().unwrap_or_else(PoisonError::into_inner) = assignment;
    }

    /// The port that the lab was given, or another one if something else has taken it meanwhile.
    fn free_port(&self, cluster: &Cluster) -> anyhow::Result<Assignment> {
        let given = self.assignment();
        if cluster.forwarder().pid().is_some() || std::net::TcpListener::bind(self.ingress_addr()).is_ok() {
            return Ok(given);
        }
        let other = given.with_another_port(&self.labs, &self.name)?;
        self.assign(other);
        Ok(other)
    }

    /// One process at a time changes a lab. The lock goes with the lab's folder, so it is taken on the folder that is there now.
    async fn lock(&self, progress: &Progress) -> anyhow::Result<std::fs::File> {
        use std::os::unix::fs::MetadataExt;
        loop {
            let state = self.state();
            folders::make(&state)?;
            let folder = std::fs::File::open(&state).with_context(|| format!("open {}", state.display()))?;
            if folder.try_lock().is_err() {
                progress.say(&format!("waiting for another process that is at the lab {}", self.name));
            }
            let waiting = tokio::task::spawn_blocking(move || folder.lock().map(|()| folder));
            let folder = waiting.await?.with_context(|| format!("lock {}", state.display()))?;
            let identity = |data: std::fs::Metadata| (data.dev(), data.ino());
            if std::fs::metadata(&state).map(identity).ok() == folder.metadata().map(identity).ok() {
                return Ok(folder);
            }
        }
    }

    /// Takes away what a killed lab left. Its objects, volumes and images stay, as they would over a reboot.
    async fn mend(&self, progress: &Progress) -> anyhow::Result<()> {
        let left = self.groups.exist() || links::exist(&self.network());
        let processes = self.groups.processes().len();
        self.end_node().await.context("take away what a killed lab left")?;
        if left {
            progress.say(&format!("took away what a killed lab left: {processes} processes, control groups, network"));
        }
        Ok(())
    }

    async fn end_node(&self) -> anyhow::Result<()> {
        self.groups.kill().await?;
        self.groups.remove().await?;
        links::remove(&self.network()).await.context("remove the lab's network")
    }
}

fn remove_tree(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
