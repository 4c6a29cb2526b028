//! A control plane for one test: etcd, API server and controller manager on loopback, ready in about three seconds.
//!
//! It belongs to the value: all of it ends when the value is dropped, and when the test's process ends or is killed, which
//! drops no static. Then its folder goes too: a shell that holds nothing but that process's pipe removes it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::Rng;
use tokio::process::{ChildStdin, Command};
use tokio::sync::Mutex;

use crate::audit::{Log, Request};
use crate::components::Plane;
use crate::held::{Held, Launcher, log_end};
use crate::parts::{self, Part};
use crate::progress::Progress;
use crate::{fake_nodes, readiness};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Many times what it takes on a machine that does nothing else.
const READY_DEADLINE: Duration = Duration::from_secs(90);
/// How often a port that another process took meanwhile is replaced by another.
const ATTEMPTS: u32 = 5;

/// Of the temporary folders; the process id of their owner follows.
const FOLDER_PREFIX: &str = "catalyst-plane-";

/// What a test wants of its control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneOptions {
    /// Whether the controllers run: garbage collection of owned objects, namespaces, Deployments to Pods. Default: they do.
    pub controllers: bool,
    /// Whether pods are given to nodes, of which there are none until [`ControlPlane::add_fake_nodes`]. Default: they stay pending.
    pub scheduler: bool,
    /// Flags for the API server beside (and after) the lab's own.
    pub api_server_flags: Vec<String>,
}

impl Default for ControlPlaneOptions {
    fn default() -> Self {
        ControlPlaneOptions { controllers: true, scheduler: false, api_server_flags: Vec::new() }
    }
}

/// etcd, an API server, and controllers, with no node: what is created is stored, watched and collected, pods stay pending
/// (but see [`ControlPlane::add_fake_nodes`]).
pub struct ControlPlane {
    plane: Plane,
    kubeconfig: PathBuf,
    audit_log: Log,
    api_server_command: Vec<String>,
    launcher: Launcher,
    // Dropped in this order: the clients before what they talk to.
    fake_nodes: Option<Held>,
    scheduler: Option<Held>,
    controllers: Option<Held>,
    api_server: Mutex<Option<Held>>,
    etcd: Held,
    _folder: tempfile::TempDir,
    // Last: when it looks, the folder is gone already.
    _sweeper: Sweeper,
}

impl ControlPlane {
    /// Starts one, and awaits that it serves (and that its controllers do their work, if it has them). Builds what is missing first.
    ///
    /// # Errors
    /// When a part cannot be built or does not get ready; the error carries the end of its log.
    pub async fn start(options: ControlPlaneOptions) -> anyhow::Result<ControlPlane> {
        let progress = Progress::stderr();
        let launcher = Launcher {
            labtool: parts::ensure(Part::Labtool, &progress).await?,
            kubelab: parts::ensure(Part::Kubelab, &progress).await?,
        };
        let mut attempt = 1;
        loop {
            match ControlPlane::attempt(&options, launcher.clone()).await {
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("address already in use") => {
                    attempt += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(options: &ControlPlaneOptions, launcher: Launcher) -> anyhow::Result<ControlPlane> {
        sweep();
        let prefix = format!("{FOLDER_PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().context("make a temporary folder")?;
        let sweeper = Sweeper::start(folder.path())?;
        let plane = Plane { folder: folder.path().to_owned(), etcd: free_address()?, api: free_address()? };
        let certificates = plane.prepare()?;
        let mut command = plane.api_server(&certificates, LOOPBACK)?;
        if !options.controllers {
            // Nothing makes the service account that this plugin waits for.
            command.push("--disable-admission-plugins=ServiceAccount".to_owned());
        }
        command.extend(options.api_server_flags.iter().cloned());
        let etcd = launcher.start("etcd", &plane.etcd(), &plane)?;
        let api_server = launcher.start("kube-apiserver", &command, &plane)?;
        let mut started = ControlPlane {
            kubeconfig: plane.kubeconfig(),
            audit_log: Log::at(plane.audit_log()),
            api_server_command: command,
            api_server: Mutex::new(Some(api_server)),
            fake_nodes: None,
            scheduler: None,
            controllers: None,
            etcd,
            launcher,
            plane,
            _folder: folder,
            _sweeper: sweeper,
        };
        started.await_api_server().await?;
        if options.controllers {
            let command = started.plane.controller_manager(&certificates, 0);
            started.controllers = Some(started.launcher.start("kube-controller-manager", &command, &started.plane)?);
            started.await_controllers().await?;
        }
        if options.scheduler {
            let command = started.plane.scheduler(0);
            started.scheduler = Some(started.launcher.start("kube-scheduler", &command, &started.plane)?);
        }
        Ok(started)
    }

    /// Adds as many nodes, on each of which there is room for `pods` pods that become Ready at once and run nothing, and awaits
    /// that they are Ready. To be called once. What plays their kubelets is built first if it is not there.
    ///
    /// # Errors
    /// When it cannot be built, or the nodes do not get ready; the error carries the end of its log.
    pub async fn add_fake_nodes(&mut self, many: usize, pods: usize) -> anyhow::Result<()> {
        let kwok = parts::ensure(Part::Kwok, &Progress::stderr()).await?;
        let client = self.client().await?;
        let held = self.fake_nodes.insert(fake_nodes::start(&kwok, &self.launcher, &self.plane)?);
        fake_nodes::create(&client, many, pods).await?;
        let deadline = Instant::now() + READY_DEADLINE;
        while fake_nodes::ready(&client).await < many {
            held.still_runs(&self.plane)?;
            if Instant::now() > deadline {
                let (seconds, log) = (READY_DEADLINE.as_secs(), log_end(fake_nodes::NAME, &self.plane));
                bail!("the fake nodes were not ready in {seconds} s:\n{log}");
            }
            tokio::time::sleep(readiness::INTERVAL).await;
        }
        Ok(())
    }

    /// The kubeconfig of cluster-admin. It holds its certificates, so a copy of it works.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new kubeconfig for `user` in `group`, who may do what RBAC grants them.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        self.plane.kubeconfig_for(user, group)
    }

    /// A client with the rights of cluster-admin.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self) -> anyhow::Result<kube::Client> {
        readiness::client(&self.kubeconfig).await
    }

    /// A client for `user` in `group`.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub async fn client_for(&self, user: &str, group: Option<&str>) -> anyhow::Result<kube::Client> {
        readiness::client(&self.kubeconfig_for(user, group)?).await
    }

    /// `kubectl` with this control plane's kubeconfig; built first if it is not there.
    ///
    /// # Errors
    /// When it cannot be built.
    pub async fn kubectl(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(parts::ensure(Part::Kubectl, &Progress::stderr()).await?.program());
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.plane.folder.join("kubectl"))
            .kill_on_drop(true);
        Ok(command)
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.plane.server()
    }

    /// The audit log's file; [`ControlPlane::writes`] reads it.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        self.audit_log.path()
    }

    /// All writes so far, by anyone, oldest first.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn writes(&self) -> anyhow::Result<Vec<Arc<Request>>> {
        self.audit_log.writes()
    }

    /// All writes so far, and the reads of those in [`AUDITED_GROUP`](crate::AUDITED_GROUP), oldest first.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn requests(&self) -> anyhow::Result<Vec<Arc<Request>>> {
        self.audit_log.requests()
    }

    /// Kills the API server, as a crash would; clients see refused connections until [`ControlPlane::start_api_server`].
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn stop_api_server(&self) -> anyhow::Result<()> {
        match self.api_server.lock().await.take() {
            Some(held) => held.end().await,
            None => Ok(()),
        }
    }

    /// Ends all of it and returns when no process is left; dropping it only begins that.
    ///
    /// # Errors
    /// When a part cannot be ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for client in [self.fake_nodes.take(), self.scheduler.take(), self.controllers.take()].into_iter().flatten() {
            client.end().await?;
        }
        self.stop_api_server().await?;
        self.etcd.end().await
    }

    /// Starts the API server again on its port and awaits that it serves; nothing if it runs.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_api_server(&self) -> anyhow::Result<()> {
        {
            let mut api_server = self.api_server.lock().await;
            if api_server.is_some() {
                return Ok(());
            }
            *api_server = Some(self.launcher.start("kube-apiserver", &self.api_server_command, &self.plane)?);
        }
        self.await_api_server().await
    }

    /// Process ids of the processes that hold the parts; with them the parts end.
    #[must_use]
    pub fn holders(&self) -> Vec<u32> {
        let api_server = self.api_server.try_lock().ok().and_then(|held| held.as_ref().and_then(Held::id));
        let clients = [&self.controllers, &self.scheduler, &self.fake_nodes];
        let clients = clients.into_iter().filter_map(|held| held.as_ref()?.id());
        [self.etcd.id(), api_server].into_iter().flatten().chain(clients).collect()
    }

    /// Processor time that each part has taken so far, by its name.
    ///
    /// # Errors
    /// When a part has ended.
    pub fn processor_time(&self) -> anyhow::Result<Vec<(&'static str, Duration)>> {
        let api_server = self.api_server.try_lock().context("the API server is being started or ended")?;
        let parts = [Some(&self.etcd), api_server.as_ref(), self.controllers.as_ref(), self.scheduler.as_ref()];
        parts.into_iter().flatten().map(Held::processor_time).collect()
    }

    async fn await_api_server(&self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + READY_DEADLINE;
        while !readiness::api_server(&client).await {
            if let Some(held) = self.api_server.lock().await.as_mut() {
                held.still_runs(&self.plane)?;
            }
            if Instant::now() > deadline {
                bail!(
                    "the API server was not ready in {} s:\n{}",
                    READY_DEADLINE.as_secs(),
                    log_end("kube-apiserver", &self.plane)
                );
            }
            tokio::time::sleep(readiness::INTERVAL).await;
        }
        Ok(())
    }

    async fn await_controllers(&mut self) -> anyhow::Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + READY_DEADLINE;
        while !readiness::controllers(&client).await {
            if let Some(held) = self.controllers.as_mut() {
                held.still_runs(&self.plane)?;
            }
            if Instant::now() > deadline {
                bail!(
                    "the controllers did nothing in {} s:\n{}",
                    READY_DEADLINE.as_secs(),
                    log_end("kube-controller-manager", &self.plane)
                );
            }
            tokio::time::sleep(readiness::INTERVAL).await;
        }
        Ok(())
    }
}

/// Removes folders of processes that were killed before they could do it themselves.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)?.split_once('-')).map(|(owner, _)| owner);
        if owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists()) {
            // Another test may do the same at this moment.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Waits for the end of its input, and removes the folder: at once or, while what wrote to it still ends, within 10 s.
const SWEEP: &str = "read -r _; n=0; while [ -e \"$FOLDER\" ] && [ $n -lt 100 ]; do rm -rf \"$FOLDER\" 2>/dev/null || sleep 0.1; n=$((n+1)); done";

/// Removes the folder when this process ends in a way that drops nothing.
struct Sweeper {
    _pipe: ChildStdin,
}

impl Sweeper {
    fn start(folder: &Path) -> anyhow::Result<Sweeper> {
        // A group of its own: what interrupts the test must not interrupt this.
        let mut shell = Command::new("sh")
            .args(["-c", SWEEP])
            .env("FOLDER", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start sh, which removes the folder of the control plane")?;
        let pipe = shell.stdin.take().context("hold the sweeper's pipe")?;
        tokio::spawn(async move { shell.wait().await });
        Ok(Sweeper { _pipe: pipe })
    }
}

/// An address that was free a moment ago, below the range that the kernel takes for outgoing connections.
fn free_address() -> anyhow::Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::new(LOOPBACK, rand::rng().random_range(20_000..32_000));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port on loopback between 20000 and 32000")
}
