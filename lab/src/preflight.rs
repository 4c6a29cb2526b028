//! What the lab needs of the machine, and how to get it: every error names the thing and the command that brings it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::bridge_filter::{self, Filter};
use crate::folders;
use crate::parts::{self, Part};
use crate::progress::Progress;

/// Free space that the builds take in the cache, Go's own caches included.
const BUILD_BYTES: u64 = 8_000_000_000;
/// Free space that a running lab takes in the state folder.
const RUN_BYTES: u64 = 2_000_000_000;
const APT_DEADLINE: Duration = Duration::from_secs(15 * 60);
const OLDEST_GO: (u32, u32) = (1, 21);
/// Folders of programs, also where a user's PATH leaves the last ones out.
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// A program (by its name) or file (by its path) and the Debian package that has it.
type Need = (&'static str, &'static str);

const NEEDS: [Need; 22] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("awk", "mawk"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("conntrack", "conntrack"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("nginx", "nginx"),
    ("/usr/lib/nginx/modules/ngx_http_lua_module.so", "libnginx-mod-http-lua"),
    ("/usr/lib/nginx/modules/ndk_http_module.so", "libnginx-mod-http-ndk"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    ("/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so", "libnginx-mod-http-headers-more-filter"),
    ("/usr/share/lua/5.1/resty/core.lua", "lua-resty-core"),
    ("/usr/share/lua/5.1/resty/lrucache.lua", "lua-resty-lrucache"),
    ("/usr/share/lua/5.1/cjson", "lua-cjson"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("buildah", "buildah"),
];

/// Services that some of the packages start for the whole machine, which the lab does not want.
const SERVICES: [(&str, &str); 3] = [("containerd", "containerd"), ("nginx", "nginx"), ("openssh-server", "ssh")];

/// Says all that is missing at once.
///
/// # Errors
/// When anything is missing; the error is a list with the remedies.
pub fn check() -> anyhow::Result<()> {
    check_also(&[])
}

/// As [`check`], with further programs: (program or path, package).
///
/// # Errors
/// When anything is missing; the error is a list with the remedies.
pub fn check_also(also: &[(String, String)]) -> anyhow::Result<()> {
    let missing = Machine::look(also)?.lacks();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine lacks\n  - {}", missing.join("\n  - "))
}

/// What was found of that which a lab needs.
struct Machine {
    root: bool,
    /// Debian packages that are missing.
    packages: Vec<String>,
    filter: Filter,
    /// What is wrong with Go, where it is needed.
    go: Option<String>,
    npm: bool,
    spaces: [Space; 2],
}

/// Room on a disk, in bytes.
struct Space {
    what: &'static str,
    folder: PathBuf,
    needed: u64,
    /// `None` where it cannot be told.
    free: Option<u64>,
}

impl Machine {
    fn look(also: &[(String, String)]) -> anyhow::Result<Machine> {
        let built = is_built();
        let space = |what, folder: PathBuf, needed| Space { what, needed, free: free_bytes(&folder), folder };
        Ok(Machine {
            root: is_root(),
            packages: missing_packages(also),
            filter: bridge_filter::look(),
            go: if built { None } else { check_go() },
            npm: find_program("npm").is_some(),
            spaces: [
                space("builds", folders::cache()?, if built { 0 } else { BUILD_BYTES }),
                space("a running lab", folders::state()?, RUN_BYTES),
            ],
        })
    }

    /// Each thing with the command or the place that brings it.
    fn lacks(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.root {
            missing.push(
                "root: namespaces, mounts and control groups take it; run the same command with sudo -E".to_owned(),
            );
        }
        if !self.packages.is_empty() {
            missing.push(format!(
                "programs of Debian packages: apt-get install -y --no-install-recommends {}",
                self.packages.join(" ")
            ));
        }
        if self.filter == Filter::LacksModule {
            missing.push(
                "the kernel's br_netfilter, by which NetworkPolicies between pods are enforced: the running kernel has it neither built in nor as a module \
                 here; in a container run `modprobe br_netfilter` on the host, else boot a kernel of Debian's (apt-get install linux-image-amd64)"
                    .to_owned(),
            );
        }
        missing.extend(self.go.clone());
        if !self.npm {
            missing.push(
                "npm, which brings the Claude Code CLI: install Node.js 22 or later from https://nodejs.org/en/download"
                    .to_owned(),
            );
        }
        for Space { what, folder, needed, free } in &self.spaces {
            if let Some(free) = free
                && free < needed
            {
                let (free, needed) = (free / 1_000_000, needed / 1_000_000);
                missing.push(format!(
                    "disk space for {what}: {needed} MB at {}, where {free} MB are free",
                    folder.display()
                ));
            }
        }
        missing
    }
}

/// Installs the Debian packages that are missing, saying which, if this is root on a machine with apt. Else nothing: [`check`] says it.
///
/// # Errors
/// When apt fails; the error has its words.
pub async fn install(progress: &Progress) -> anyhow::Result<()> {
    install_also(&[], progress).await
}

/// As [`install`], with the packages of further programs: (program or path, package).
///
/// # Errors
/// When apt fails; the error has its words.
pub async fn install_also(also: &[(String, String)], progress: &Progress) -> anyhow::Result<()> {
    let packages = missing_packages(also);
    if packages.is_empty() || !is_root() || find_program("apt-get").is_none() {
        return Ok(());
    }
    progress.say(&format!("installing Debian packages: {}", packages.join(" ")));
    progress.step("installing Debian packages", apt(&packages)).await
}

async fn apt(packages: &[String]) -> anyhow::Result<()> {
    // Without it, a package's service would start for the whole machine: an sshd and an nginx that listen to everyone.
    let _policy = NoServices::declare()?;
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages.iter().map(String::as_str));
    if apt_get(&install).await.is_err() {
        // A machine without package lists, or with old ones.
        apt_get(&["update"]).await.context("fetch the lists of Debian packages")?;
        apt_get(&install).await?;
    }
    if Path::new("/run/systemd/system").exists() {
        for (package, service) in SERVICES {
            if packages.iter().any(|installed| installed == package) {
                crate::command::run("systemctl", ["disable", "--now", service]).await?;
            }
        }
    }
    Ok(())
}

async fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(APT_DEADLINE, command.output()).await;
    let output = output
        .with_context(|| format!("apt-get did not end within {} min", APT_DEADLINE.as_secs() / 60))?
        .context("run apt-get")?;
    if !output.status.success() {
        bail!("`apt-get {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// What the file says, and by which one of an earlier run that was interrupted is known.
const POLICY: &str = "#!/bin/sh\n# Made by catalyst-lab while it installs packages.\nexit 101\n";

/// While it lives, Debian's packages start no services (`invoke-rc.d` asks this file). A policy of somebody else that is there already stays.
struct NoServices {
    made: Option<PathBuf>,
}

impl NoServices {
    fn declare() -> anyhow::Result<NoServices> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path) {
            Ok(mut file) => {
                std::io::Write::write_all(&mut file, POLICY.as_bytes()).context("write /usr/sbin/policy-rc.d")?;
                Ok(NoServices { made: Some(path) })
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let ours = std::fs::read(&path).is_ok_and(|policy| policy == POLICY.as_bytes());
                Ok(NoServices { made: ours.then_some(path) })
            }
            Err(error) => Err(error).context("write /usr/sbin/policy-rc.d"),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn missing_packages(also: &[(String, String)]) -> Vec<String> {
    let own = NEEDS.iter().map(|(need, package)| (*need, *package));
    let also = also.iter().map(|(need, package)| (need.as_str(), package.as_str()));
    let modprobe = (bridge_filter::look() == Filter::LacksModprobe).then_some(("modprobe", "kmod"));
    let needs = own.chain(modprobe).chain(also);
    let missing = needs.filter(|(need, _)| !is_there(need)).map(|(_, package)| package.to_owned());
    let mut packages: Vec<String> = missing.collect();
    packages.sort();
    packages.dedup();
    packages
}

fn is_there(need: &str) -> bool {
    if need.starts_with('/') { Path::new(need).exists() } else { find_program(need).is_some() }
}

/// A program by its name, where root would find it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(PROGRAMS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn is_built() -> bool {
    Part::ALL.iter().all(|part| parts::find(*part).is_ok_and(|built| built.is_some()))
}

/// What is wrong with the Go on the PATH.
fn check_go() -> Option<String> {
    let said = find_program("go").map(|go| {
        let output = std::process::Command::new(go).arg("version").stdin(Stdio::null()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    });
    go_problem(said.as_deref())
}

/// What is wrong with a Go that says this of its version. An old one fetches the one that a module asks for, from 1.21 on.
fn go_problem(said: Option<&str>) -> Option<String> {
    let remedy = "install Go from https://go.dev/dl (Debian 12's own is too old)";
    let Some(said) = said else { return Some(format!("Go, which builds Kubernetes: {remedy}")) };
    match go_version(said) {
        Some(version) if version >= OLDEST_GO => None,
        _ => Some(format!("Go {}.{} or later, found {:?}: {remedy}", OLDEST_GO.0, OLDEST_GO.1, said.trim())),
    }
}

fn go_version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Free space for this user where the folder is or will be.
fn free_bytes(folder: &Path) -> Option<u64> {
    let there = folder.ancestors().find(|ancestor| ancestor.exists())?;
    let space = nix::sys::statvfs::statvfs(there).ok()?;
    Some(space.blocks_available().saturating_mul(space.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_by_its_package_once() {
        let also = [("no-such-program", "p"), ("/no/such/file", "p"), ("sh", "dash")];
        let also = also.map(|(need, package)| (need.to_owned(), package.to_owned()));
        let missing = missing_packages(&also);
        assert_eq!(missing.iter().filter(|package| *package == "p").count(), 1);
        assert!(!missing.contains(&"dash".to_owned()));
    }

    /// A machine that lacks nothing, on which `spoil` takes something away.
    fn lacks(spoil: impl FnOnce(&mut Machine)) -> Vec<String> {
        let space = |what, folder| Space { what, folder: PathBuf::from(folder), needed: 8_000_000_000, free: None };
        let mut machine = Machine {
            root: true,
            packages: vec![],
            filter: Filter::There,
            go: None,
            npm: true,
            spaces: [space("builds", "/cache"), space("a running lab", "/state")],
        };
        spoil(&mut machine);
        machine.lacks()
    }

    #[test]
    fn each_thing_that_is_missing_is_named_with_its_remedy() {
        assert_eq!(lacks(|_| {}), Vec::<String>::new());
        let cases: [(Vec<String>, &[&str]); 6] = [
            (lacks(|machine| machine.root = false), &["root", "sudo -E"]),
            (
                lacks(|machine| machine.packages = vec!["ipset".to_owned(), "runc".to_owned()]),
                &["apt-get install", " ipset runc"],
            ),
            (lacks(|machine| machine.filter = Filter::LacksModule), &["br_netfilter", "modprobe", "linux-image-amd64"]),
            (lacks(|machine| machine.go = Some("Go: https://go.dev/dl".to_owned())), &["https://go.dev/dl"]),
            (lacks(|machine| machine.npm = false), &["npm", "https://nodejs.org"]),
            (
                lacks(|machine| machine.spaces[0].free = Some(1_000_000_000)),
                &["builds", "8000 MB", "/cache", "1000 MB are free"],
            ),
        ];
        for (missing, words) in cases {
            assert_eq!(missing.len(), 1, "{missing:?}");
            assert!(words.iter().all(|word| missing[0].contains(word)), "{words:?} in {missing:?}");
        }
        let enough = lacks(|machine| machine.spaces[1].free = Some(8_000_000_000));
        assert_eq!(enough, Vec::<String>::new());
        let both = lacks(|machine| (machine.root, machine.npm) = (false, false));
        assert_eq!(both.len(), 2, "all are said at once: {both:?}");
    }

    #[test]
    fn a_go_that_is_missing_or_too_old_is_said_with_what_was_found() {
        assert!(go_problem(None).unwrap().contains("https://go.dev/dl"));
        let old = go_problem(Some("go version go1.19.8 linux/amd64\n")).unwrap();
        assert!(
            old.contains("1.21 or later") && old.contains("go1.19.8") && old.contains("https://go.dev/dl"),
            "{old}"
        );
        assert_eq!(go_problem(Some("go version go1.26.8 linux/amd64")), None);
    }

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert!(go_version("go version go1.9.1 linux/amd64").unwrap() < OLDEST_GO);
        assert_eq!(go_version("devel"), None);
    }

    #[test]
    fn space_is_measured_where_the_folder_will_be() {
        assert!(free_bytes(Path::new("/tmp/not/there/yet")).unwrap() > 0);
    }
}
