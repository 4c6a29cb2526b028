//! The only reader of flags and environment. Everything else receives values.

mod offline;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use self::offline::{ClusterArgs, DiffArgs, MigrateArgs, Output, RenderArgs, UpgradeArgs};

/// Reconciles `CatalystInstance` resources into running Catalyst installations.
#[derive(Debug, Parser)]
#[command(name = "catalyst-operator", version, about, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; `run` when nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Settings of `run`, so that a bare `catalyst-operator --flag` works as well.
    #[command(flatten)]
    pub run: RunArgs,
}

impl Args {
    /// The command to carry out: the one named, or `run` with the flags given without a name.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Run(Box::new(self.run)))
    }
}

/// The operator's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller (default).
    Run(Box<RunArgs>),
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the reference documentation of the resource as Markdown.
    Docs,
    /// Print every status reason with its severity and remedy as Markdown.
    Reasons,
    /// Print the objects that become of a manifest, as YAML. Asks no cluster; Secrets hold placeholders. Exit code 2: bad input.
    Render(RenderArgs),
    /// Show what applying a manifest would change in the cluster, by a server-side dry run. Exit code 0: nothing, 1: something,
    /// 2: it could not be told.
    Diff(DiffArgs),
    /// Show which pods would restart if this version of the operator took over the cluster's instances. Exit code 0: none,
    /// 1: some, 2: it could not be told.
    UpgradePreview(UpgradeArgs),
    /// Turn the values of a Helm release into a CatalystInstance, and with --adopt take its running objects over. The manifest is
    /// printed; what could not be taken over is told on standard error. Exit code 2: it failed.
    Migrate(MigrateCommand),
}

/// `migrate`, with the cluster.
#[derive(Clone, Debug, ClapArgs)]
pub struct MigrateCommand {
    /// What is migrated.
    #[command(flatten)]
    pub migrate: MigrateArgs,

    /// The cluster, with --adopt.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Settings of the controller.
#[derive(Clone, Debug, ClapArgs)]
pub struct RunArgs {
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "ADMIN_ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_address: SocketAddr,

    /// Namespaces to watch, comma-separated; all when empty.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,

    /// Image of the proxy for instances that name none; the proxy of this release when unset.
    #[arg(long, env = "PROXY_IMAGE")]
    pub proxy_image: Option<String>,

    /// Instances reconciled at the same time.
    #[arg(long, env = "CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// SSH checks of dev-VMs made at the same time.
    #[arg(long, env = "SSH_CHECKS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub ssh_checks: u16,

    /// Networks in which the operator itself never opens SSH connections, comma-separated CIDRs: those of pods, where the
    /// network's plugin takes them from elsewhere than the nodes. Loopback and link-local addresses are always refused, and so
    /// are the ranges of Services and those of the nodes' pods, which the cluster tells.
    #[arg(long, env = "CLUSTER_CIDRS", value_delimiter = ',')]
    pub cluster_cidrs: Vec<ipnet::IpNet>,

    /// Whether to wait for the Lease before reconciling. Switch it off only where a single operator is certain.
    #[arg(long, env = "LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,

    /// Name of the Lease.
    #[arg(long, env = "LEASE_NAME", default_value = "catalyst-operator")]
    pub lease_name: String,

    /// Namespace of the Lease; the pod's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "catalyst-system")]
    pub lease_namespace: String,

    /// This operator's name in the Lease and in events; the pod's name.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Seconds that a Lease is valid without renewal.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub lease_seconds: u64,

    /// Log format.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// Log filter as in tracing's EnvFilter, e.g. `info,catalyst_operator=debug`.
    #[arg(long, env = "LOG", default_value = "info,kube=warn")]
    pub log: String,
}

impl RunArgs {
    /// The namespaces to watch, each once; empty: all.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let named = self.watch_namespaces.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        named.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
    }

    /// How long a Lease is valid without renewal.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_the_default_and_takes_flags_with_and_without_its_name() {
        for line in
            [vec!["catalyst-operator", "--concurrency", "3"], vec!["catalyst-operator", "run", "--concurrency", "3"]]
        {
            let Command::Run(run) = Args::parse_from(line).into_command() else { panic!("not run") };
            assert_eq!(run.concurrency, 3);
        }
    }

    #[test]
    fn zero_concurrency_is_refused_because_it_would_mean_unbounded() {
        assert!(Args::try_parse_from(["catalyst-operator", "--concurrency", "0"]).is_err());
    }

    #[test]
    fn namespaces_are_a_comma_separated_list_of_names_each_of_which_counts_once() {
        for (list, namespaces) in [("a,b", vec!["a", "b"]), (" b , a,,b,", vec!["a", "b"]), ("", vec![]), (" ", vec![])]
        {
            let parsed = Args::parse_from(["catalyst-operator", "--watch-namespaces", list]).into_command();
            let Command::Run(run) = parsed else { panic!("not run") };
            assert_eq!(run.namespaces(), namespaces, "{list:?}");
        }
    }
}
