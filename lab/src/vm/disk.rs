//! What the VM keeps on disk: one folder on the host, from which [`super::machine`] builds its root file system.
//!
//! | path | what |
//! |---|---|
//! | `home/` | home of the user `dev`, owned by it; survives a reboot |
//! | `etc/` | accounts, names, sshd's configuration and host key |
//! | `bin/` | the VM's /usr/local/bin: `claude` alone |
//! | `log/` | the VM's /var/log: sshd; beside it what the VM's start said |
//! | `boot_id` | another one after each start |
//! | `root/` | where the root file system is built; empty when seen from the host |

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::network::run;
use super::{API_PORT, HOST_NAME, Service, USER, VmNetwork};
use crate::claude;

/// The user's number and that of its group, inside the VM. No such user is needed on the host.
pub(super) const UID: u32 = 1000;

const KEY_FILE: &str = ".config/anthropic/api-key";

/// sshd as Debian sets it up, but for: keys alone, one user, no PAM (its session modules want rights that a container may lack,
/// and the accounts here have no passwords anyway). MaxSessions and MaxStartups are sshd's own defaults, on purpose.
const SSHD_CONFIG: &str = "\
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
AllowUsers dev
UsePAM no
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_*
SetEnv LANG=C.UTF-8
Subsystem sftp /usr/lib/openssh/sftp-server
";

pub(super) struct Disk {
    pub(super) root: PathBuf,
}

impl Disk {
    pub(super) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Lays out what is missing and writes anew what follows from settings; home and host key stay.
    pub(super) fn prepare(&self, network: &VmNetwork, service: &Service) -> anyhow::Result<()> {
        for folder in ["home", "etc/ssh", "bin", "log", "root"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        }
        own(&self.home(), 0o750)?;
        self.write("etc/passwd", 0o644, PASSWD)?;
        self.write("etc/group", 0o644, GROUP)?;
        self.write("etc/shadow", 0o600, SHADOW)?;
        self.write("etc/hostname", 0o644, &format!("{HOST_NAME}\n"))?;
        let address = network.address;
        self.write("etc/hosts", 0o644, &format!("127.0.0.1 localhost\n::1 localhost\n{address} {HOST_NAME}\n"))?;
        self.write("etc/ssh/sshd_config", 0o644, SSHD_CONFIG)?;
        self.host_key()?;
        self.set_service(service)
    }

    /// Another boot id, as a machine has after each start.
    pub(super) fn new_boot_id(&self) -> anyhow::Result<()> {
        // Written in place: the file may be what a mount refers to.
        self.write("boot_id", 0o444, &format!("{}\n", uuid::Uuid::new_v4()))
    }

    pub(super) fn boot_id(&self) -> anyhow::Result<String> {
        let path = self.root.join("boot_id");
        Ok(fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?.trim().to_owned())
    }

    pub(super) fn public_host_key(&self) -> anyhow::Result<String> {
        let path = self.root.join("etc/ssh/ssh_host_ed25519_key.pub");
        let line = fs::read_to_string(&path).with_context(|| {
            format!("read {}; the dev-VM gets its host key when it is first started", path.display())
        })?;
        Ok(line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// Another host key, as after a reinstallation; sshd shows it from its next start on.
    pub(super) fn replace_host_key(&self) -> anyhow::Result<()> {
        for name in ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"] {
            remove_file(&self.root.join("etc/ssh").join(name))?;
        }
        self.host_key()
    }

    fn host_key(&self) -> anyhow::Result<()> {
        let key = self.root.join("etc/ssh/ssh_host_ed25519_key");
        if key.exists() && key.with_extension("pub").exists() {
            return Ok(());
        }
        remove_file(&key)?;
        let path = key.to_str().context("the lab's state folder has a path that is not UTF-8")?;
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", &format!("root@{HOST_NAME}"), "-f", path])
    }

    /// Adds a line to the user's authorized_keys, once.
    pub(super) fn authorize(&self, line: &str) -> anyhow::Result<()> {
        let line = line.trim();
        anyhow::ensure!(!line.is_empty() && !line.contains('\n'), "an authorized_keys entry is one line");
        let folder = self.home().join(".ssh");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        own(&folder, 0o700)?;
        let path = folder.join("authorized_keys");
        let present = match fs::read_to_string(&path) {
            Ok(present) => present,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        if !present.lines().any(|known| known == line) {
            let separator = if present.is_empty() || present.ends_with('\n') { "" } else { "\n" };
            replace(&path, 0o600, &format!("{present}{separator}{line}\n"))?;
        }
        own(&path, 0o600)
    }

    /// Takes every key away, so that the next sign-in is refused.
    pub(super) fn authorize_nobody(&self) -> anyhow::Result<()> {
        remove_file(&self.home().join(".ssh/authorized_keys"))
    }

    pub(super) fn has_real_service(&self) -> bool {
        self.home().join(KEY_FILE).exists()
    }

    fn set_service(&self, service: &Service) -> anyhow::Result<()> {
        let key_file = self.home().join(KEY_FILE);
        match service {
            Service::StandIn => {
                remove_file(&key_file)?;
                self.write("etc/resolv.conf", 0o644, "# This machine has no way out.\n")?;
            }
            Service::Real(key) => {
                for folder in [".config", ".config/anthropic"] {
                    let folder = self.home().join(folder);
                    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
                    own(&folder, 0o700)?;
                }
                replace(&key_file, 0o600, key.expose())?;
                own(&key_file, 0o600)?;
                self.write("etc/resolv.conf", 0o644, &host_resolvers()?)?;
            }
        }
        self.write("bin/claude", 0o755, &wrapper(service))
    }

    fn write(&self, path: &str, mode: u32, content: &str) -> anyhow::Result<()> {
        let path = self.root.join(path);
        // A file that a running VM may be reading is left alone where it says the same.
        if fs::read(&path).is_ok_and(|present| present == content.as_bytes()) {
            return set_mode(&path, mode);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .with_context(|| format!("write {}", path.display()))?;
        file.write_all(content.as_bytes()).with_context(|| format!("write {}", path.display()))?;
        set_mode(&path, mode)
    }
}

/// The CLI as it is on the VM's PATH. The key stands in a file and reaches the CLI by the environment, never by a command line.
fn wrapper(service: &Service) -> String {
    let quiet: String = claude::QUIET.iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
    let key = match service {
        Service::StandIn => format!(
            "# Talks to the lab's stand-in for the Messages API on this machine; the key is a dummy.\n\
             export ANTHROPIC_BASE_URL=http://127.0.0.1:{API_PORT} ANTHROPIC_API_KEY=lab-stand-in\n"
        ),
        Service::Real(_) => {
            format!("ANTHROPIC_API_KEY=$(cat \"/home/{USER}/{KEY_FILE}\") || exit 1\nexport ANTHROPIC_API_KEY\n")
        }
    };
    format!("#!/bin/sh\n{key}{quiet}exec /opt/claude/claude \"$@\"\n")
}

/// The host's name servers that the VM can reach: one on the host's loopback is of no use to it.
fn host_resolvers() -> anyhow::Result<String> {
    let candidates = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
    let texts = candidates.iter().filter_map(|path| fs::read_to_string(path).ok());
    let mut reachable = texts.filter(|text| text.lines().any(|line| names_server(line) && !line.contains(" 127.")));
    reachable
        .next()
        .context("no name server in /etc/resolv.conf that the dev-VM could reach; the real service needs one")
}

fn names_server(line: &str) -> bool {
    line.trim_start().starts_with("nameserver")
}

/// Writes aside and renames, so that a reader never sees half of it and the mode holds from the first byte.
fn replace(path: &Path, mode: u32, content: &str) -> anyhow::Result<()> {
    let aside = path.with_extension("aside");
    remove_file(&aside)?;
    let attempt = || -> std::io::Result<()> {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(content.as_bytes())?;
        chown(&aside, Some(UID), Some(UID))?;
        fs::rename(&aside, path)
    };
    attempt().with_context(|| format!("write {}", path.display()))
}

fn own(path: &Path, mode: u32) -> anyhow::Result<()> {
    chown(path, Some(UID), Some(UID))
        .with_context(|| format!("give {} to the VM's user; are you root?", path.display()))?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

fn remove_file(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
dev:x:1000:1000:Developer:/home/dev:/bin/bash
";
const GROUP: &str = "\
root:x:0:
tty:x:5:
utmp:x:43:
nogroup:x:65534:
dev:x:1000:
";
/// `*` where a password would be: no password fits, yet the account is not locked, which sshd would refuse.
const SHADOW: &str = "\
root:*:19000:0:99999:7:::
sshd:!:19000::::::
nobody:*:19000:0:99999:7:::
dev:*:19000:0:99999:7:::
";
