//! A VM's way out to the world through the host: address translation, and the host's forwarding while any VM needs it.
//!
//! Who needs forwarding is kept as a file for each VM in one folder, beside what the host's setting was before the first: the last
//! one to leave puts it back.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

use super::network::{VmNetwork, run};
use crate::folders;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const BEFORE: &str = "before";

impl VmNetwork {
    /// Opens the way out; what a killed lab left of it is removed first.
    pub(super) fn open_way_out(&self) -> anyhow::Result<()> {
        self.close_way_out()?;
        let users = Users::lock()?;
        users.join(&self.namespace)?;
        for rule in self.rules() {
            let words = rule.with("-I");
            run("iptables", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Closes the way out, if it is open.
    pub(super) fn close_way_out(&self) -> anyhow::Result<()> {
        let users = Users::lock()?;
        if !users.has(&self.namespace) {
            return users.tidy();
        }
        for rule in self.rules() {
            while succeeds("iptables", &rule.with("-C")) {
                let words = rule.with("-D");
                run("iptables", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
            }
        }
        users.leave(&self.namespace)
    }

    fn rules(&self) -> [Rule; 3] {
        let address = self.address.to_string();
        let network = format!("{}/24", self.gateway);
        let rule = |table, chain, matches: &[&str], target: &str| {
            let comment = format!("catalyst-lab {}", self.namespace);
            let tail = ["-m", "comment", "--comment", &comment, "-j", target];
            Rule { table, chain, rest: matches.iter().chain(&tail).map(|word| (*word).to_owned()).collect() }
        };
        [
            rule("nat", "POSTROUTING", &["-s", &address, "!", "-d", &network], "MASQUERADE"),
            rule("filter", "FORWARD", &["-s", &address], "ACCEPT"),
            rule("filter", "FORWARD", &["-d", &address], "ACCEPT"),
        ]
    }
}

struct Rule {
    table: &'static str,
    chain: &'static str,
    rest: Vec<String>,
}

impl Rule {
    /// iptables' arguments to add, look for or delete it.
    fn with(&self, action: &str) -> Vec<String> {
        let head = ["-w", "-t", self.table, action, self.chain].map(str::to_owned);
        head.into_iter().chain(self.rest.iter().cloned()).collect()
    }
}

/// The VMs that need forwarding, held for one change.
struct Users {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Users {
    fn lock() -> anyhow::Result<Users> {
        let state = folders::state()?;
        folders::make(&state)?;
        let file = File::open(&state).with_context(|| format!("open {}", state.display()))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("lock {}", state.display()))?;
        Ok(Users { folder: state.join(".forwarding"), _lock: lock })
    }

    fn has(&self, user: &str) -> bool {
        self.folder.join(user).exists()
    }

    fn join(&self, user: &str) -> anyhow::Result<()> {
        folders::make(&self.folder)?;
        let before = self.folder.join(BEFORE);
        if !before.exists() {
            let setting = fs::read_to_string(FORWARDING).with_context(|| format!("read {FORWARDING}"))?;
            folders::write_whole(&before, setting)?;
        }
        folders::write_whole(&self.folder.join(user), "")?;
        fs::write(FORWARDING, "1").with_context(|| format!("write {FORWARDING}"))
    }

    fn leave(&self, user: &str) -> anyhow::Result<()> {
        let file = self.folder.join(user);
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        self.tidy()
    }

    /// Puts the host's setting back when nobody is left.
    fn tidy(&self) -> anyhow::Result<()> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Ok(()) };
        if entries.flatten().any(|entry| entry.file_name() != BEFORE) {
            return Ok(());
        }
        if let Ok(setting) = fs::read_to_string(self.folder.join(BEFORE)) {
            fs::write(FORWARDING, setting.trim()).with_context(|| format!("write {FORWARDING}"))?;
        }
        fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))
    }
}

fn succeeds(program: &str, arguments: &[String]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
