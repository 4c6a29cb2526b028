//! The dev-VM: a machine of its own as far as SSH can tell, made of namespaces.
//!
//! Its own network, host name, processes, mounts, accounts, boot id and a real OpenSSH sshd; programs are the host's, read-only.
//! It can be cut off, frozen, killed and rebooted like a real one. It belongs to a folder, not to the process that started it: any
//! process that names that folder can go on with it, and [`DevVm::up`] mends what a killed one left. Nothing of it stays after
//! [`DevVm::down`].

mod disk;
mod machine;
mod network;
mod processes;
mod standalone;
mod way_out;
mod weather;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use tokio::process::Command;

use self::disk::Disk;
pub use self::network::{Uplink, VmNetwork};
pub use self::standalone::TemporaryVm;
pub use self::weather::Weather;
use crate::claude;

/// The port that sshd listens on.
const SSH_PORT: u16 = 22;
/// Where the stand-in of the Messages API listens, on the VM's loopback.
const API_PORT: u16 = 8462;
const HOST_NAME: &str = "dev-vm";
const USER: &str = "dev";
const HOME: &str = "/home/dev";

/// A dev-VM; a handle that can be cloned, and dropped without effect on the VM.
#[derive(Clone)]
pub struct DevVm {
    machine: Arc<Machine>,
}

impl fmt::Debug for DevVm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { disk, network, service } = &*self.machine;
        let mut fields = formatter.debug_struct("DevVm");
        fields.field("folder", &disk.root).field("network", network).field("service", service).finish()
    }
}

struct Machine {
    disk: Disk,
    network: VmNetwork,
    service: Service,
}

/// What answers the agent.
#[derive(Clone, Debug, Default)]
pub enum Service {
    /// The lab's stand-in, inside the VM; the VM has no way out.
    #[default]
    StandIn,
    /// The real service; the VM gets a way out by NAT. Untried where there is no network.
    Real(ApiKey),
}

/// A key of the real service; never shown.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key as it came, without surrounding space.
    #[must_use]
    pub fn new(key: &str) -> ApiKey {
        ApiKey(key.trim().to_owned())
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ApiKey(…)")
    }
}

impl Service {
    /// The real service when `ANTHROPIC_API_KEY` is set, else the stand-in.
    #[must_use]
    pub fn from_environment() -> Service {
        match std::env::var("ANTHROPIC_API_KEY") {
            Ok(key) if !key.trim().is_empty() => Service::Real(ApiKey::new(&key)),
            _ => Service::StandIn,
        }
    }
}

impl DevVm {
    /// The VM that keeps its state in `folder` and is connected by `network`. Nothing is started.
    #[must_use]
    pub fn new(folder: PathBuf, network: VmNetwork, service: Service) -> DevVm {
        DevVm { machine: Arc::new(Machine { disk: Disk { root: folder }, network, service }) }
    }

    /// The same VM with another service behind its agent, from the next [`DevVm::up`] on.
    #[must_use]
    pub fn with_service(&self, service: Service) -> DevVm {
        let Machine { disk, network, service: _ } = &*self.machine;
        DevVm::new(disk.root.clone(), network.clone(), service)
    }

    /// The VM's address, reachable from the host and from what is plugged into the same bridge.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.machine.network.address
    }

    /// sshd's port, 22.
    #[must_use]
    pub fn port(&self) -> u16 {
        SSH_PORT
    }

    /// The user that signs in.
    #[must_use]
    pub fn user(&self) -> &str {
        USER
    }

    /// The user's home as seen from the host; inside it is `/home/dev`.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.machine.disk.home()
    }

    /// The folder of the VM's logs as seen from the host (`sshd.log` …).
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.machine.disk.log()
    }

    /// sshd's host key, `ssh-ed25519 AAAA…`.
    ///
    /// # Errors
    /// Before the first [`DevVm::up`].
    pub fn host_key(&self) -> anyhow::Result<String> {
        self.machine.disk.public_host_key()
    }

    /// The boot id that processes in the VM read.
    ///
    /// # Errors
    /// Before the first [`DevVm::up`].
    pub fn boot_id(&self) -> anyhow::Result<String> {
        self.machine.disk.boot_id()
    }

    /// Whether the VM is started and its sshd takes connections (cut off or not).
    #[must_use]
    pub fn is_up(&self) -> bool {
        let init = machine::init(&self.machine.disk);
        self.machine.network.exists() && init.is_some_and(|init| machine::sshd(&init).listener.is_some())
    }

    /// Starts the VM, or only what of it does not run; one that was cut off or frozen is connected and goes on. Returns when sshd
    /// listens. Installs the CLI when it is not cached. Home, keys and host key of an earlier start are kept.
    ///
    /// # Errors
    /// When the host lacks something (named with its remedy), or a part does not start (with the log to read).
    pub async fn up(&self) -> anyhow::Result<()> {
        let claude = claude::install().await?;
        self.blocking(move |machine| {
            machine::check_host()?;
            let Machine { disk, network, service } = machine;
            standalone::claim(&disk.root, network)?;
            let was_real = disk.has_real_service();
            disk.prepare(network, service)?;
            let wants_real = disk.has_real_service();
            if machine::init(disk).is_some() && network.exists() && was_real == wants_real {
                network.plug()?;
                machine::signal_sshd(disk, Signal::SIGCONT)?;
                return machine::start_services(disk);
            }
            machine::kill(disk)?;
            network.create()?;
            if wants_real {
                network.open_way_out()?
            } else {
                network.close_way_out()?
            }
            machine::boot(disk, network, &claude)
        })
        .await
        .context("start the dev-VM")
    }

    /// Ends the VM and removes all of it, the user's home included.
    ///
    /// # Errors
    /// When something of it cannot be ended or removed.
    pub async fn down(&self) -> anyhow::Result<()> {
        self.blocking(Machine::remove).await.context("end the dev-VM")
    }

    /// Lets the holder of a key sign in; `line` is one of authorized_keys. Possible before the first [`DevVm::up`].
    ///
    /// # Errors
    /// When the line is none, or the home cannot be written.
    pub fn authorize(&self, line: &str) -> anyhow::Result<()> {
        let _lock = self.machine.lock()?;
        self.machine.disk.authorize(line)
    }

    /// Forgets all keys: every later sign-in is refused.
    ///
    /// # Errors
    /// When the home cannot be written.
    pub fn authorize_nobody(&self) -> anyhow::Result<()> {
        let _lock = self.machine.lock()?;
        self.machine.disk.authorize_nobody()
    }

    /// Ends sshd's listener: new connections are refused, sessions live on.
    ///
    /// # Errors
    /// When the VM is not up, or sshd does not end.
    pub async fn stop_sshd(&self) -> anyhow::Result<()> {
        self.blocking(|machine| {
            let init = machine::running(&machine.disk)?;
            let listener: Vec<_> = machine::sshd(&init).listener.into_iter().collect();
            machine::end(&listener, Signal::SIGKILL)
        })
        .await
        .context("stop sshd")
    }

    /// Starts sshd's listener, if it does not run; returns when it listens.
    ///
    /// # Errors
    /// When the VM is not up, or sshd does not start.
    pub async fn start_sshd(&self) -> anyhow::Result<()> {
        self.blocking(|machine| machine::start_sshd(&machine.disk)).await.context("start sshd")
    }

    /// Ends every SSH session and leaves the listener: what a client sees as a lost connection.
    ///
    /// # Errors
    /// When the VM is not up, or a session does not end.
    pub async fn kill_sessions(&self) -> anyhow::Result<()> {
        self.blocking(|machine| {
            let init = machine::running(&machine.disk)?;
            machine::end(&machine::sshd(&init).sessions, Signal::SIGKILL)
        })
        .await
        .context("end the SSH sessions")
    }

    /// Stops sshd and its sessions in their tracks (SIGSTOP): connections are taken by the kernel, and nobody answers.
    ///
    /// # Errors
    /// When the VM is not up.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.blocking(|machine| machine::signal_sshd(&machine.disk, Signal::SIGSTOP)).await.context("freeze sshd")
    }

    /// Undoes [`DevVm::freeze`].
    ///
    /// # Errors
    /// When the VM is not up.
    pub async fn thaw(&self) -> anyhow::Result<()> {
        self.blocking(|machine| machine::signal_sshd(&machine.disk, Signal::SIGCONT)).await.context("thaw sshd")
    }

    /// Takes the network cable out: nothing arrives, nothing is refused; the VM's processes go on.
    ///
    /// # Errors
    /// When the VM has no network (it is not up).
    pub async fn cut(&self) -> anyhow::Result<()> {
        self.blocking(|machine| machine.network.unplug()).await.context("cut the dev-VM off")
    }

    /// Puts the cable back.
    ///
    /// # Errors
    /// When the VM has no network (it is not up).
    pub async fn mend(&self) -> anyhow::Result<()> {
        self.blocking(|machine| machine.network.plug()).await.context("connect the dev-VM again")
    }

    /// Lets packets be lost or held up on the way from now on; [`Weather::Fair`] ends it, and so does the end of the VM.
    ///
    /// # Errors
    /// When the VM has no network (it is not up), or the host lacks iptables or iproute2's `tc`.
    pub async fn weather(&self, weather: Weather) -> anyhow::Result<()> {
        self.blocking(move |machine| machine.network.weather(weather)).await.context("change the dev-VM's weather")
    }

    /// Ends everything in the VM and starts it with another boot id; the disk (home, host key) stays. A VM that is cut off stays so;
    /// then peers do not hear of the end, as when the power goes.
    ///
    /// # Errors
    /// When the VM is not up, or does not start again.
    pub async fn reboot(&self) -> anyhow::Result<()> {
        let claude = claude::install().await?;
        self.blocking(move |machine| {
            let Machine { disk, network, service: _ } = machine;
            machine::running(disk)?;
            machine::kill(disk)?;
            machine::boot(disk, network, &claude)
        })
        .await
        .context("reboot the dev-VM")
    }

    /// Gives the VM another host key, as a reinstallation does; shown to new connections at once.
    ///
    /// # Errors
    /// When the VM is not up, or sshd does not start again.
    pub async fn replace_host_key(&self) -> anyhow::Result<()> {
        self.blocking(|machine| {
            let disk = &machine.disk;
            let init = machine::running(disk)?;
            disk.replace_host_key()?;
            for name in ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
                let (from, to) = (disk.root.join("etc/ssh").join(name), init.path("/etc/ssh").join(name));
                fs::copy(&from, &to).with_context(|| format!("copy {} into the VM", from.display()))?;
            }
            let listener: Vec<_> = machine::sshd(&init).listener.into_iter().collect();
            machine::end(&listener, Signal::SIGKILL)?;
            machine::start_sshd(disk)
        })
        .await
        .context("replace the host key")
    }

    /// A command that runs in the VM as its user, in its home, with the PATH that sshd gives. The program is looked up inside.
    /// Ending the returned command's process does not end what it started inside.
    ///
    /// # Errors
    /// When the VM is not up.
    pub fn command(&self, program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
        let init = machine::running(&self.machine.disk)?;
        let mut command = machine::enter(&init);
        command.args(machine::as_user(program.as_ref()));
        Ok(Command::from(command))
    }

    /// Runs what needs the VM for itself: one at a time, also among processes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Machine) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let machine = Arc::clone(&self.machine);
        tokio::task::spawn_blocking(move || {
            let _lock = machine.lock()?;
            work(&machine)
        })
        .await
        .context("a step of the dev-VM panicked")?
    }
}

impl Machine {
    /// The folder itself is what is locked, so that the lock leaves nothing behind either.
    fn lock(&self) -> anyhow::Result<Flock<File>> {
        let folder = &self.disk.root;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let file = File::open(folder).with_context(|| format!("open {}", folder.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("lock {}", folder.display()))
    }

    fn remove(&self) -> anyhow::Result<()> {
        machine::kill(&self.disk)?;
        self.network.close_way_out()?;
        self.network.remove()?;
        let folder = &self.disk.root;
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
    }
}
