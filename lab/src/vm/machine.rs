//! Power on and off: the VM's first process and what is started under it.
//!
//! All that runs in the VM hangs on its first process; when that is killed, the kernel ends the rest and drops every mount.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::disk::Disk;
use super::network::{VmNetwork, run};
use super::processes::{self, Process};
use super::{API_PORT, HOME, USER};

const BOOT: &str = include_str!("boot.sh");
/// A start takes 0.2 s; a busy machine may need much longer.
const START_DEADLINE: Duration = Duration::from_secs(30);
const END_DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// sshd's processes: the listener that takes new connections, and one or two for each session.
pub(super) struct Sshd {
    pub(super) listener: Option<Process>,
    pub(super) sessions: Vec<Process>,
}

pub(super) fn init(disk: &Disk) -> Option<Process> {
    processes::init_of(&disk.root).filter(|init| init.path("/run/booted").exists() && init.path("/home/dev").exists())
}

/// The first process of a VM that is up.
pub(super) fn running(disk: &Disk) -> anyhow::Result<Process> {
    init(disk).context("the dev-VM is not up")
}

/// Starts the VM on its network, which is there: first process, stand-in of the Messages API, sshd.
pub(super) fn boot(disk: &Disk, network: &VmNetwork, claude: &Path) -> anyhow::Result<()> {
    disk.new_boot_id()?;
    let script = disk.root.join("boot.sh");
    fs::write(&script, BOOT).with_context(|| format!("write {}", script.display()))?;
    let log_path = disk.root.join("boot.log");
    let log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
    let errors = log.try_clone().context("share the boot log")?;
    let status = Command::new("setsid")
        .arg("--fork")
        .arg("nsenter")
        .arg(format!("--net={}", network.namespace_path().display()))
        .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child=KILL", "/bin/sh"])
        .arg(&script)
        .arg(&disk.root)
        .arg(claude.parent().context("the claude binary has no folder")?)
        .arg(lab_binary()?)
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .status()
        .context("cannot run setsid (util-linux)")?;
    anyhow::ensure!(status.success(), "setsid failed: {status}");
    await_that(START_DEADLINE, || init(disk).is_some()).with_context(|| {
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        format!("the dev-VM did not start; {} says: {}", log_path.display(), said.trim())
    })?;
    start_services(disk)
}

/// Starts what is not running; nothing is disturbed that runs.
pub(super) fn start_services(disk: &Disk) -> anyhow::Result<()> {
    if !disk.has_real_service() {
        start_api(disk)?;
    }
    start_sshd(disk)
}

fn start_api(disk: &Disk) -> anyhow::Result<()> {
    let init = running(disk)?;
    let serves = |process: &Process| process.arguments.iter().any(|argument| argument == "messages-api");
    if !processes::inside(&init).iter().any(serves) {
        let log_path = disk.root.join("messages-api.log");
        let log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
        let errors = log.try_clone().context("share the log of the stand-in")?;
        // As a user that owns nothing: it reads what the agent sends.
        let status = enter(&init)
            .args(["setsid", "--fork", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(["/opt/catalyst-lab", "messages-api", "--listen"])
            .arg(format!("127.0.0.1:{API_PORT}"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .status()
            .context("start the stand-in of the Messages API")?;
        anyhow::ensure!(status.success(), "the stand-in of the Messages API did not start: {status}");
        await_that(START_DEADLINE, || listens(&init, API_PORT)).with_context(|| {
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            format!("the stand-in of the Messages API does not listen; {} says: {}", log_path.display(), said.trim())
        })?;
    }
    Ok(())
}

pub(super) fn start_sshd(disk: &Disk) -> anyhow::Result<()> {
    let init = running(disk)?;
    if sshd(&init).listener.is_some() {
        return Ok(());
    }
    // sshd writes it after it listens, so its return is the sign to wait for.
    let pid_file = init.path("/run/sshd.pid");
    if pid_file.exists() {
        fs::remove_file(&pid_file).with_context(|| format!("remove {}", pid_file.display()))?;
    }
    let output = enter(&init)
        .args(["/usr/sbin/sshd", "-E", "/var/log/sshd.log"])
        .stdin(Stdio::null())
        .output()
        .context("start sshd")?;
    if !output.status.success() {
        bail!("sshd did not start: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    await_that(START_DEADLINE, || sshd(&init).listener.is_some())
        .with_context(|| format!("sshd does not listen; see {}", disk.log().join("sshd.log").display()))
}

pub(super) fn sshd(init: &Process) -> Sshd {
    let recorded = fs::read_to_string(init.path("/run/sshd.pid")).ok().and_then(|pid| pid.trim().parse::<i32>().ok());
    let processes = processes::inside(init).into_iter().filter(|process| process.name.starts_with("sshd"));
    let (listeners, sessions): (Vec<_>, Vec<_>) = processes.partition(|process| Some(process.inner_pid) == recorded);
    Sshd { listener: listeners.into_iter().next(), sessions }
}

/// Sends a signal to sshd's listener, if it runs, and to all sessions.
pub(super) fn signal_sshd(disk: &Disk, signal: Signal) -> anyhow::Result<()> {
    let sshd = sshd(&running(disk)?);
    sshd.listener.iter().chain(&sshd.sessions).try_for_each(|process| process.signal(signal))
}

/// Sends a signal that ends, and waits until all are gone.
pub(super) fn end(processes: &[Process], signal: Signal) -> anyhow::Result<()> {
    for process in processes {
        process.signal(signal)?;
    }
    await_that(END_DEADLINE, || !processes.iter().any(Process::is_alive)).context("processes of the dev-VM do not end")
}

/// Power off, at once and without asking anybody. A VM that is half started is ended too.
pub(super) fn kill(disk: &Disk) -> anyhow::Result<()> {
    while let Some(init) = processes::init_of(&disk.root) {
        let all = processes::inside(&init);
        init.signal(Signal::SIGKILL)?;
        await_that(END_DEADLINE, || !init.is_alive() && !all.iter().any(Process::is_alive))
            .context("the dev-VM's processes do not end")?;
    }
    Ok(())
}

/// A command in the VM as root, with nothing of the host's environment.
pub(super) fn enter(init: &Process) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--target={}", init.pid))
        .args(["--mount", "--pid", "--uts", "--ipc", "--net", "--"])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// What makes [`enter`]'s command the user's: its identity, its home, and the PATH that sshd gives.
pub(super) fn as_user(program: &OsStr) -> Vec<&OsStr> {
    const WORDS: [&str; 14] = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "--inh-caps=-all",
        "env",
        "-i",
        "LANG=C.UTF-8",
        "SHELL=/bin/bash",
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/games",
        "/bin/sh",
        "-c",
        "export HOME=\"$0\" USER=\"$1\" LOGNAME=\"$1\" && cd && shift && exec \"$@\"",
        HOME,
    ];
    WORDS.iter().map(OsStr::new).chain([OsStr::new(USER), program]).collect()
}

fn listens(init: &Process, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", init.pid)).unwrap_or_default();
    let local = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|address| address.ends_with(&local)) && words.nth(1) == Some("0A")
    })
}

pub(super) fn await_that(deadline: Duration, condition: impl Fn() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > deadline {
            bail!("not within {} s", deadline.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The lab's own binary, which serves the stand-in inside the VM. A test is another binary, with the lab's beside it.
fn lab_binary() -> anyhow::Result<PathBuf> {
    const NAME: &str = "catalyst-lab";
    if let Some(path) = std::env::var_os("CATALYST_LAB_BINARY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        anyhow::ensure!(is_program(&path), "CATALYST_LAB_BINARY is {}, which is no program", path.display());
        return Ok(path);
    }
    let current = std::env::current_exe().context("find the path of this program")?;
    let beside = current.ancestors().skip(1).take(2).map(|folder| folder.join(NAME));
    let found = beside.into_iter().find(|path| is_program(path));
    found.with_context(|| {
        format!(
            "no {NAME} beside {}; build it with `cargo build -p {NAME}` or name it in CATALYST_LAB_BINARY",
            current.display()
        )
    })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Fails early, with the remedy, where the VM cannot be.
pub(super) fn check_host() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the dev-VM has namespaces of its own, which takes root; run as root");
    }
    if !Path::new("/usr/sbin/sshd").exists() {
        bail!("/usr/sbin/sshd is missing; install it with `apt-get install openssh-server`");
    }
    for (program, package) in [("ip", "iproute2"), ("unshare", "util-linux"), ("setpriv", "util-linux")] {
        run(program, &["--version"])
            .or_else(|_| run(program, &["-V"]))
            .with_context(|| format!("install {package}"))?;
    }
    Ok(())
}
