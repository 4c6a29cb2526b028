//! Flags of the commands that look and do not run the controller.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use crate::validate;

/// Which manifest, and what the operator's release adds to it.
#[derive(Clone, Debug, ClapArgs)]
pub struct RenderArgs {
    /// Manifest with one or several CatalystInstances; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub file: PathBuf,

    /// Namespace of instances that name none.
    #[arg(short = 'n', long, value_parser = namespace)]
    pub namespace: Option<String>,

    /// Image of the proxy for instances that name none; the proxy of this release when unset. Give what the operator has.
    #[arg(long, env = "PROXY_IMAGE")]
    pub proxy_image: Option<String>,
}

fn namespace(text: &str) -> Result<String, String> {
    if validate::is_namespace(text) {
        return Ok(text.to_owned());
    }
    Err(format!("no namespace has such a name: {}", validate::NAMESPACES))
}

/// Which cluster.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ClusterArgs {
    /// Kubeconfig to use instead of KUBECONFIG and ~/.kube/config.
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig; the current one when unset.
    #[arg(long, global = true)]
    pub context: Option<String>,
}

/// Settings of `diff`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DiffArgs {
    /// The manifest.
    #[command(flatten)]
    pub render: RenderArgs,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Settings of `upgrade-preview`.
#[derive(Clone, Debug, ClapArgs)]
pub struct UpgradeArgs {
    /// Only instances of this namespace; all when unset.
    #[arg(short = 'n', long, value_parser = namespace)]
    pub namespace: Option<String>,

    /// Image of the proxy for instances that name none; the proxy of this release when unset. Give what the operator will have.
    #[arg(long, env = "PROXY_IMAGE")]
    pub proxy_image: Option<String>,

    /// How to print it.
    #[arg(short = 'o', long, value_enum, default_value = "text")]
    pub output: Output,

    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Settings of `migrate`.
#[derive(Clone, Debug, ClapArgs)]
pub struct MigrateArgs {
    /// Values of the Helm release (`helm get values RELEASE --all -o yaml`); `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub values: PathBuf,

    /// Name of the instance; the release's Deployment, `fullnameOverride` or `catalyst` when unset.
    #[arg(long)]
    pub name: Option<String>,

    /// Namespace of the instance, and of the release; that of the context when unset.
    #[arg(short = 'n', long, value_parser = namespace)]
    pub namespace: Option<String>,

    /// Take the running objects of this Helm release over: prints the steps, and with --yes carries them out. May be run again
    /// after it was interrupted.
    #[arg(long, value_name = "RELEASE")]
    pub adopt: Option<String>,

    /// Carry the steps out.
    #[arg(long, requires = "adopt")]
    pub yes: bool,

    /// Seconds that one step may wait, such as for the new pods.
    #[arg(long, default_value_t = 600, requires = "adopt", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,

    /// Seconds that the old pods are kept after the Service leads to the new ones alone.
    #[arg(long, default_value_t = 15, requires = "adopt", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub drain: u64,
}
