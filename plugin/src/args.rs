//! The only reader of flags.

use catalyst_operator::args::{ClusterArgs, MigrateArgs, Output};
use clap::{Args as ClapArgs, Parser, Subcommand};

/// What people do with CatalystInstances.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-catalyst",
    bin_name = "kubectl catalyst",
    version,
    about,
    after_help = "Exit codes: 0 all is well; 1 something is wrong with what was looked at (an instance is not ready, doctor found \
                  something), or a question was answered with no; 2 the command failed.\nThe name of the instance may be left out where the namespace has only one."
)]
pub(crate) struct Args {
    /// Where.
    #[command(flatten)]
    pub(crate) scope: Scope,

    /// What.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster and namespace, and how to print.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Scope {
    /// The cluster.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    /// Namespace; that of the context when unset.
    #[arg(short = 'n', long, global = true)]
    pub(crate) namespace: Option<String>,

    /// All namespaces (status and doctor).
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,

    /// How to print (status and doctor).
    #[arg(short = 'o', long, value_enum, default_value = "text", global = true)]
    pub(crate) output: Output,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show instances with their conditions, objects and pods; what is wrong, and what to do about it, first.
    Status(Which),
    /// Forward a port of this machine to the app and open it in the browser, without an ingress.
    Open(Open),
    /// Print the logs of an instance's pods.
    Logs(Logs),
    /// Replace the pods one by one, without an interruption.
    Restart(Which),
    /// Print the line that the VM's authorized_keys needs, or put it there with your own ssh.
    Authorize(Authorize),
    /// Have the generated SSH key replaced; the old one is used until the VM accepts the new.
    RotateKey(Which),
    /// Have the generated secret to sign in with replaced, which signs everyone out; or, with --cookie, the one that signs cookies.
    RotateSecret(RotateSecret),
    /// Show a VM's changed host key beside the recorded one, and trust it if you say so.
    TrustHost(TrustHost),
    /// Turn the values of a Helm release into a CatalystInstance, and with --adopt take its running objects over.
    Migrate(MigrateArgs),
    /// Check the cluster, the operator, its rights and yours, and every instance or one; say what to do about what is wrong.
    Doctor(Which),
}

/// Which instance.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Which {
    /// Name of the instance; may be left out where there is only one.
    pub(crate) name: Option<String>,
}

/// Flags of `open`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Open {
    /// The instance.
    #[command(flatten)]
    pub(crate) which: Which,

    /// Port of this machine; a free one when unset.
    #[arg(short = 'p', long, default_value_t = 0)]
    pub(crate) port: u16,

    /// Only print the URL.
    #[arg(long)]
    pub(crate) no_browser: bool,
}

/// Flags of `logs`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Logs {
    /// The instance.
    #[command(flatten)]
    pub(crate) which: Which,

    /// Go on until interrupted.
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,

    /// Lines of each pod; all when negative.
    #[arg(long, default_value_t = 100, allow_negative_numbers = true)]
    pub(crate) tail: i64,

    /// Of the container before the present one: what it said before it died.
    #[arg(long, conflicts_with = "follow")]
    pub(crate) previous: bool,
}

/// Flags of `authorize`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Authorize {
    /// The instance.
    #[command(flatten)]
    pub(crate) which: Which,

    /// Put the line into authorized_keys on the VM with your own ssh and rights, unless it is there.
    #[arg(long)]
    pub(crate) install: bool,

    /// Sign in there instead of at the instance's own user and host, such as admin@bastion-side-name.
    #[arg(long, requires = "install", value_name = "[USER@]HOST")]
    pub(crate) destination: Option<String>,

    /// Further arguments for ssh, after `--`, such as -- -i KEY -J JUMP.
    #[arg(last = true, requires = "install", value_name = "SSH ARGUMENTS")]
    pub(crate) ssh: Vec<String>,
}

/// Flags of `rotate-secret`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct RotateSecret {
    /// The instance.
    #[command(flatten)]
    pub(crate) which: Which,

    /// COOKIE_SECRET in place of CATALYST_SECRET: nobody is signed out.
    #[arg(long)]
    pub(crate) cookie: bool,
}

/// Flags of `trust-host`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct TrustHost {
    /// The instance.
    #[command(flatten)]
    pub(crate) which: Which,

    /// The fingerprint that you have compared (`SHA256:…`, as `ssh-keygen -lf` prints it on the VM's console); another one is refused.
    #[arg(long)]
    pub(crate) fingerprint: Option<String>,

    /// Do not ask.
    #[arg(long, requires = "fingerprint")]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn scope_may_stand_before_and_after_the_command() {
        for line in [["k", "-n", "a", "status", "x"], ["k", "status", "x", "-n", "a"], ["k", "status", "-n", "a", "x"]]
        {
            let args = Args::try_parse_from(line).unwrap();
            assert_eq!(args.scope.namespace.as_deref(), Some("a"));
        }
        let Command::Migrate(migrate) =
            Args::try_parse_from(["k", "migrate", "--values", "v", "-n", "a"]).unwrap().command
        else {
            panic!("not migrate")
        };
        assert_eq!(migrate.namespace.as_deref(), Some("a"));
    }

    #[test]
    fn a_key_is_not_trusted_unasked_without_naming_it() {
        assert!(Args::try_parse_from(["k", "trust-host", "--yes"]).is_err());
        assert!(Args::try_parse_from(["k", "authorize", "--", "-i", "k"]).is_err(), "ssh arguments without --install");
    }
}
