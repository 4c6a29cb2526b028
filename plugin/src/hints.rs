//! Commands that are printed for people to paste: with the namespace and the name, and with the cluster where one was named.

use catalyst_operator::{crd::CatalystInstance, offline::cluster};
use kube::ResourceExt;

use crate::args::Scope;

/// How a command of kubectl begins.
const KUBECTL: &str = "kubectl ";
/// How one of this plugin goes on.
const PLUGIN: &str = "catalyst ";
/// How others do: what else follows the word is prose.
const VERBS: [&str; 15] = [
    "annotate", "apply", "create", "delete", "describe", "exec", "explain", "get", "label", "logs", "patch", "replace",
    "rollout", "scale", "wait",
];

/// How commands are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    /// The flags by which the cluster was named, each after a space; empty where none was. kubectl has them too.
    cluster: String,
}

impl Hints {
    /// For whoever called us so.
    pub(crate) fn of(scope: &Scope) -> Hints {
        Hints { cluster: cluster::flags(scope.cluster.kubeconfig.as_deref(), scope.cluster.context.as_deref()) }
    }

    /// A command of this plugin for one instance; `verb` with its flags.
    pub(crate) fn ours(&self, verb: &str, instance: &CatalystInstance) -> String {
        let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
        self.anywhere(&format!("catalyst {verb} -n {namespace} {name}"))
    }

    /// A command of kubectl in the namespace of an instance.
    pub(crate) fn beside(&self, words: &str, instance: &CatalystInstance) -> String {
        self.anywhere(&format!("{words} -n {}", instance.namespace().unwrap_or_default()))
    }

    /// A command of kubectl.
    pub(crate) fn anywhere(&self, words: &str) -> String {
        format!("kubectl {words}{}", self.cluster)
    }

    /// What the operator says, whose commands name the namespace and cannot know the cluster, with the cluster. The flags come
    /// first: after them there may be a `--` or a pipe.
    pub(crate) fn of_operator(&self, text: &str) -> String {
        let mut parts = text.split(KUBECTL);
        let mut told = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            told.push_str(KUBECTL.trim_end());
            let (plugin, rest) = part.strip_prefix(PLUGIN).map_or(("", part), |rest| (PLUGIN, rest));
            if !plugin.is_empty() {
                told.push_str(&format!(" {}", PLUGIN.trim_end()));
            }
            let verb = rest.split(' ').next().unwrap_or_default();
            if !plugin.is_empty() || VERBS.contains(&verb) {
                told.push_str(&self.cluster);
            }
            told.push_str(&format!(" {rest}"));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::Args;

    #[test]
    fn a_command_names_the_instance_and_the_cluster_that_was_named() {
        let instance: CatalystInstance = serde_json::from_value(
            json!({"metadata": {"name": "x", "namespace": "n"}, "spec": {"ssh": {"host": "h", "user": "u"}}}),
        )
        .unwrap();
        let hints = |line: &[&str]| Hints::of(&Args::try_parse_from(line).unwrap().scope);
        let bare = hints(&["k", "status"]);
        assert_eq!(bare.ours("authorize --install", &instance), "kubectl catalyst authorize --install -n n x");
        let named = hints(&["k", "status", "--context", "it's", "--kubeconfig", "/a b"]);
        assert_eq!(
            named.beside("get events", &instance),
            "kubectl get events -n n --kubeconfig '/a b' --context 'it'\\''s'"
        );
        let told = "kubectl runs. Ask it: kubectl exec -n n p -- curl -s x, or `kubectl catalyst doctor`; a | kubectl replace -f -";
        assert_eq!(bare.of_operator(told), told);
        assert_eq!(
            hints(&["k", "status", "--context", "c"]).of_operator(told),
            "kubectl runs. Ask it: kubectl --context c exec -n n p -- curl -s x, or `kubectl catalyst --context c doctor`; a | kubectl \
             --context c replace -f -"
        );
    }
}
