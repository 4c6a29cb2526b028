//! A dev-VM by itself, plugged straight into the host: for tests that need a machine to sign in to and no cluster.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};

use super::{DevVm, Service, Uplink, VmNetwork};
use crate::{assignment, folders};

/// Numbers of networks (198.18.N.0/24) that VMs without a cluster take.
const NUMBERS: std::ops::Range<u8> = assignment::NUMBERS.end..255;

impl DevVm {
    /// A VM with a network of its own, reached from the host alone. One name is one VM, also among processes.
    ///
    /// # Errors
    /// When the name is not made of at most 20 letters, digits and `-`, or all networks are taken.
    pub fn standalone(name: &str) -> anyhow::Result<DevVm> {
        let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.is_empty() || name.len() > 20 || !name.chars().all(allowed) {
            bail!("{name:?} cannot name a dev-VM: at most 20 lower-case letters, digits and `-`");
        }
        let folder = vms_folder()?;
        let number = number_of(&folder, name)?;
        let address = |last| IpAddr::V4(Ipv4Addr::new(198, 18, number, last));
        let network = VmNetwork {
            namespace: format!("catalyst-{name}-vm"),
            link: format!("catvm{number}"),
            address: address(3),
            gateway: address(1),
            uplink: Uplink::Host,
        };
        Ok(DevVm::new(folder.join(name), network, Service::StandIn))
    }

    /// Like [`DevVm::standalone`], started, with a name of its own, and gone when dropped.
    ///
    /// # Errors
    /// As [`DevVm::standalone`] and [`DevVm::up`].
    pub async fn temporary(prefix: &str) -> anyhow::Result<TemporaryVm> {
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let suffix = suffix.get(..6).unwrap_or_default();
        let vm = TemporaryVm::of(DevVm::standalone(&format!("{prefix}-{suffix}"))?);
        vm.up().await?;
        Ok(vm)
    }
}

/// A VM that ends when this is dropped, also when a test panics.
pub struct TemporaryVm {
    vm: DevVm,
}

impl TemporaryVm {
    /// That VM, up or not.
    #[must_use]
    pub fn of(vm: DevVm) -> TemporaryVm {
        TemporaryVm { vm }
    }
}

impl Deref for TemporaryVm {
    type Target = DevVm;

    fn deref(&self) -> &DevVm {
        &self.vm
    }
}

impl Drop for TemporaryVm {
    fn drop(&mut self) {
        if let Err(error) = self.vm.machine.lock().and_then(|_lock| self.vm.machine.remove()) {
            tracing::error!(error = format!("{error:#}"), "a temporary dev-VM could not be removed");
        }
    }
}

/// Beside the labs' folders, under a name that no lab can have.
fn vms_folder() -> anyhow::Result<PathBuf> {
    let folder = folders::state()?.join(".vms");
    folders::make(&folder)?;
    Ok(folder)
}

/// The number of this name's network; kept in the VM's folder from the first call on.
fn number_of(folder: &Path, name: &str) -> anyhow::Result<u8> {
    let lock = fs::File::open(folder).with_context(|| format!("open {}", folder.display()))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("lock {}", folder.display()))?;
    let record = folder.join(name).join("network");
    if let Some(number) = recorded(&record) {
        return Ok(number);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let taken: Vec<u8> = entries.flatten().filter_map(|entry| recorded(&entry.path().join("network"))).collect();
    // All of the host's own addresses, those of labs among them.
    let addresses = fs::read_to_string("/proc/net/fib_trie").context("read the host's addresses")?;
    let is_free = |number: &u8| !taken.contains(number) && !addresses.contains(&format!(" 198.18.{number}."));
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let count = usize::from(NUMBERS.end - NUMBERS.start);
    let first = usize::try_from(hasher.finish() % 1024).unwrap_or_default() % count;
    let number = NUMBERS.cycle().skip(first).take(count).find(is_free);
    let number = number
        .with_context(|| format!("all {count} networks of dev-VMs are taken; remove some of {}", folder.display()))?;
    fs::create_dir_all(folder.join(name)).with_context(|| format!("create {}", folder.join(name).display()))?;
    fs::write(&record, number.to_string()).with_context(|| format!("write {}", record.display()))?;
    Ok(number)
}

/// Takes the number of `network` again for the VM in `folder`, whose record went with its last end.
pub(super) fn claim(folder: &Path, network: &VmNetwork) -> anyhow::Result<()> {
    let record = folder.join("network");
    match (&network.uplink, network.address) {
        (Uplink::Host, IpAddr::V4(address)) if !record.exists() => {
            let [_, _, number, _] = address.octets();
            fs::write(&record, number.to_string()).with_context(|| format!("write {}", record.display()))
        }
        _ => Ok(()),
    }
}

fn recorded(record: &Path) -> Option<u8> {
    fs::read_to_string(record).ok()?.trim().parse().ok()
}
