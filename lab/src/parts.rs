//! What a lab is built from: programs compiled from the Go module proxy, once a version, into the user's cache; and files of a
//! module that a test needs.
//!
//! A part is complete or not there: it is built aside and renamed, with a stamp of everything that it was built from. A
//! lock file keeps two builds of one part from running at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use aws_lc_rs::digest::{SHA256, digest};

use crate::progress::Progress;
use crate::{folders, golang};

/// Kubernetes' version; that of `go/kubelab/go.mod`.
pub const KUBERNETES: &str = "1.36.3";

/// Of the newest line whose modules go with those of Kubernetes: both are built from one module, which compiles what they share once. As in `go/kubelab/go.mod`.
const COREDNS: &str = "1.14.2";
/// The module's version of July 2024, the newest that the Go module proxy has with the controller in it.
const INGRESS_NGINX: &str = "0.0.0-20240708192948-52c50467d67d";
const LABTOOL: &str = "1";
const KWOK: &str = "0.8.0";
const HELM: &str = "3.22.0";
const GATEWAY_API: &str = "1.6.3";

/// One and a half times the slowest part's cold build on two slow cores.
const BUILD_DEADLINE: Duration = Duration::from_secs(40 * 60);

/// What is built for a lab, for a test, or for what is measured beside one: a program each, but where it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The lab's own small processes: pod sandbox, port forwarder, holder of test processes, test server.
    Labtool,
    /// etcd, all server parts of Kubernetes and the enforcer of NetworkPolicies.
    Kubelab,
    /// The command-line client, of the same version.
    Kubectl,
    /// The cluster's DNS server.
    CoreDns,
    /// The community's ingress controller; its nginx comes from Debian.
    IngressNginx,
    /// What plays the kubelets of nodes that are none. No lab has such; a control plane may.
    Kwok,
    /// Helm, which benchmarks compare with.
    Helm,
    /// The Gateway API's CRDs, which are files alone.
    GatewayApi,
}

enum Recipe {
    /// A module whose files are part of the lab; `package` is built in it.
    Own { files: &'static [(&'static str, &'static str)], package: &'static str },
    /// A module of the proxy, unpacked beside nothing else: `go install` refuses modules with replace lines. The folder `keep` of it is kept beside the program.
    Module { path: &'static str, package: &'static str, keep: Option<&'static str> },
    /// The folder `keep` of a module of the proxy, and nothing compiled.
    Files { path: &'static str, keep: &'static str },
}

const KUBELAB_FILES: &[(&str, &str)] = &[
    ("go.mod", include_str!("../go/kubelab/go.mod")),
    ("go.sum", include_str!("../go/kubelab/go.sum")),
    ("main.go", include_str!("../go/kubelab/main.go")),
    ("policies.go", include_str!("../go/kubelab/policies.go")),
    ("tools.go", include_str!("../go/kubelab/tools.go")),
    ("dns/main.go", include_str!("../go/kubelab/dns/main.go")),
];

const LABTOOL_FILES: &[(&str, &str)] = &[
    ("go.mod", include_str!("../go/labtool/go.mod")),
    ("main.go", include_str!("../go/labtool/main.go")),
    ("pause.go", include_str!("../go/labtool/pause.go")),
    ("hold.go", include_str!("../go/labtool/hold.go")),
    ("forward.go", include_str!("../go/labtool/forward.go")),
    ("serve.go", include_str!("../go/labtool/serve.go")),
];

impl Part {
    /// All parts of a lab, in the order in which it builds them.
    pub const ALL: [Part; 5] = [Part::Labtool, Part::Kubelab, Part::Kubectl, Part::CoreDns, Part::IngressNginx];

    /// The part's name, which is also the file name of its program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Labtool => "labtool",
            Part::Kubelab => "kubelab",
            Part::Kubectl => "kubectl",
            Part::CoreDns => "coredns",
            Part::IngressNginx => "ingress-nginx",
            Part::Kwok => "kwok",
            Part::Helm => "helm",
            Part::GatewayApi => "gateway-api",
        }
    }

    /// The version that is built, without a leading `v`.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Part::Labtool => LABTOOL,
            Part::Kubelab | Part::Kubectl => KUBERNETES,
            Part::CoreDns => COREDNS,
            Part::IngressNginx => INGRESS_NGINX,
            Part::Kwok => KWOK,
            Part::Helm => HELM,
            Part::GatewayApi => GATEWAY_API,
        }
    }

    fn recipe(self) -> Recipe {
        match self {
            Part::Labtool => Recipe::Own { files: LABTOOL_FILES, package: "." },
            Part::Kubelab => Recipe::Own { files: KUBELAB_FILES, package: "." },
            Part::Kubectl => Recipe::Own { files: KUBELAB_FILES, package: "k8s.io/kubernetes/cmd/kubectl" },
            Part::CoreDns => Recipe::Own { files: KUBELAB_FILES, package: "./dns" },
            Part::IngressNginx => {
                Recipe::Module { path: "k8s.io/ingress-nginx", package: "./cmd/nginx", keep: Some("rootfs/etc/nginx") }
            }
            Part::Kwok => {
                Recipe::Module { path: "sigs.k8s.io/kwok", package: "./cmd/kwok", keep: Some("kustomize/stage") }
            }
            Part::Helm => Recipe::Module { path: "helm.sh/helm/v3", package: "./cmd/helm", keep: None },
            Part::GatewayApi => Recipe::Files { path: "sigs.k8s.io/gateway-api", keep: "config/crd/standard" },
        }
    }

    fn linker_flags(self) -> String {
        let mut flags = "-s -w".to_owned();
        if let Part::Kubelab | Part::Kubectl = self {
            let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
            for (variable, value) in
                [("gitVersion", format!("v{KUBERNETES}")), ("gitMajor", "1".into()), ("gitMinor", minor.into())]
            {
                flags += &format!(" -X k8s.io/component-base/version.{variable}={value}");
            }
            flags += &format!(" -X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}");
        }
        flags
    }

    /// What the part is made of: a build with another stamp is not this one.
    fn stamp(self) -> String {
        let mut inputs = format!("{} {} {}", self.name(), self.version(), self.linker_flags());
        if let Recipe::Own { files, .. } = self.recipe() {
            for (name, text) in files {
                inputs += &format!("\n{name} {}\n{text}", text.len());
            }
        }
        digest(&SHA256, inputs.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A part in the cache.
#[derive(Clone, Debug)]
pub struct Built {
    folder: PathBuf,
    part: Part,
}

impl Built {
    /// The program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.folder.join(self.part.name())
    }

    /// Which part it is.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// What the build kept of its module's files, if it keeps any.
    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Whether what was built is there still.
    fn exists(&self) -> bool {
        match self.part.recipe() {
            Recipe::Files { .. } => self.kept().exists(),
            Recipe::Own { .. } | Recipe::Module { .. } => self.program().exists(),
        }
    }
}

/// The part in the cache, if it has been built.
///
/// # Errors
/// When there is no cache folder to look in.
pub fn find(part: Part) -> anyhow::Result<Option<Built>> {
    let built = Built { folder: folders::cache()?.join(format!("{}-{}", part.name(), part.version())), part };
    let stamped = std::fs::read_to_string(built.folder.join("stamp")).is_ok_and(|stamp| stamp == part.stamp());
    Ok((stamped && built.exists()).then_some(built))
}

/// The part, built now if it is not in the cache. Dropping the future ends the build.
///
/// # Errors
/// When Go is missing or the build fails; the error names the build's log.
pub async fn ensure(part: Part, progress: &Progress) -> anyhow::Result<Built> {
    if let Some(built) = find(part)? {
        return Ok(built);
    }
    let cache = folders::cache()?;
    folders::make(&cache)?;
    let what = format!("{} {}", part.name(), part.version());
    let _lock = lock(&cache.join(format!("{}.lock", part.name())), &what, progress).await?;
    if let Some(built) = find(part)? {
        return Ok(built);
    }
    let place = cache.join(format!("{}-{}", part.name(), part.version()));
    let log = cache.join(format!("{}-{}.log", part.name(), part.version()));
    let aside = tempfile::Builder::new()
        .prefix(&format!("{}.building-", part.name()))
        .tempdir_in(&cache)
        .with_context(|| format!("make a folder in {}", cache.display()))?;
    progress.say(&format!("building {what} from the Go module proxy (log: {})", log.display()));
    let work = tokio::time::timeout(BUILD_DEADLINE, build(part, aside.path(), &log));
    let flat =
        async { work.await.unwrap_or_else(|_| bail!("not built within {} minutes", BUILD_DEADLINE.as_secs() / 60)) };
    progress
        .step(&format!("building {what}"), flat)
        .await
        .with_context(|| format!("building {what} failed; its log is {}", log.display()))?;
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("remove the outdated {}", place.display()))?;
    }
    std::fs::rename(aside.path().join("out"), &place)
        .with_context(|| format!("move the build to {}", place.display()))?;
    Ok(Built { folder: place, part })
}

async fn build(part: Part, aside: &Path, log: &Path) -> anyhow::Result<()> {
    let (source, out) = (aside.join("source"), aside.join("out"));
    folders::make(&out)?;
    let log = golang::Log::create(log)?;
    let package = match part.recipe() {
        Recipe::Own { files, package } => {
            folders::make(&source)?;
            for (name, text) in files {
                let file = source.join(name);
                folders::make(file.parent().unwrap_or(&source))?;
                std::fs::write(file, text).with_context(|| format!("write {name}"))?;
            }
            Some(package)
        }
        Recipe::Module { path, package, keep } => {
            let module = golang::download(&format!("{path}@v{}", part.version()), aside, &log).await?;
            golang::copy_writable(&module, &source)?;
            if let Some(keep) = keep {
                golang::copy_writable(&source.join(keep), &out.join("files"))?;
            }
            Some(package)
        }
        Recipe::Files { path, keep } => {
            let module = golang::download(&format!("{path}@v{}", part.version()), aside, &log).await?;
            golang::copy_writable(&module.join(keep), &out.join("files"))?;
            None
        }
    };
    if let Some(package) = package {
        golang::build(&source, package, &part.linker_flags(), &out.join(part.name()), &log).await?;
    }
    // Last, since it says that all the rest is there.
    std::fs::write(out.join("stamp"), part.stamp()).context("write the build's stamp")
}

async fn lock(path: &Path, what: &str, progress: &Progress) -> anyhow::Result<std::fs::File> {
    let file = std::fs::File::create(path).with_context(|| format!("open {}", path.display()))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.say(&format!("waiting for another build of {what} to end"));
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    waiting.await?.with_context(|| format!("lock {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_kubernetes_is_that_of_its_go_module() {
        let (_, manifest) = KUBELAB_FILES.iter().find(|(name, _)| *name == "go.mod").unwrap();
        assert!(manifest.contains(&format!("k8s.io/kubernetes v{KUBERNETES}\n")));
    }

    #[test]
    fn stamps_tell_parts_of_the_same_sources_apart() {
        assert_ne!(Part::Kubelab.stamp(), Part::Kubectl.stamp());
        assert_eq!(Part::Kubelab.stamp().len(), 64);
    }
}
