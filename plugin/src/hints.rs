//! Commands that are printed for people to paste: with the namespace and the name, and with the cluster where one was named.

use catalyst_operator::crd::CatalystInstance;
use kube::ResourceExt;

use crate::args::Scope;

/// How commands are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    /// The flags by which the cluster was named, each after a space; empty where none was. kubectl has them too.
    cluster: String,
}

impl Hints {
    /// For whoever called us so.
    pub(crate) fn of(scope: &Scope) -> Hints {
        let file = scope.cluster.kubeconfig.as_ref().map(|file| ("kubeconfig", file.display().to_string()));
        let context = scope.cluster.context.clone().map(|context| ("context", context));
        let flags = [file, context].into_iter().flatten();
        Hints { cluster: flags.map(|(flag, value)| format!(" --{flag} {}", quoted(&value))).collect() }
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
}

/// As one word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
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
    }
}
