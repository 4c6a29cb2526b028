//! What the operator and the user may do, asked of the API server itself.

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    rbac::v1::ClusterRole,
};
use kube::{Api, api::PostParams};
use serde::Deserialize;

use super::{Check, checks::Account, unseen};
use crate::{context::Context, hints::Hints, report::Mark};

/// What the operator's account is granted; without any of it the operator cannot do all of its work.
const OPERATOR: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/rbac/operator.yaml"));
/// What is in no namespace. An operator that watches only some namespaces has no right to these, and works without.
const OF_THE_CLUSTER: [&str; 3] = ["ingressclasses", "servicecidrs", "nodes"];

/// A verb and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    group: String,
    /// With the subresource.
    resource: String,
    verb: String,
}

/// The rights in the operator's role.
fn of_role() -> anyhow::Result<Vec<Right>> {
    let document = serde_yaml::Deserializer::from_str(OPERATOR).next().context("the operator's role is empty")?;
    let role = ClusterRole::deserialize(document).context("the operator's role cannot be read")?;
    let mut rights = Vec::new();
    for rule in role.rules.into_iter().flatten() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                }));
            }
        }
    }
    Ok(rights)
}

/// What the commands of this plugin need.
const USER: [(&str, &str, &[&str]); 5] = [
    ("catalyst.dev", "catalystinstances", &["get", "list", "create", "patch"]),
    ("apps", "deployments", &["get", "list", "patch"]),
    ("", "pods", &["list"]),
    ("", "pods/log", &["get"]),
    ("", "pods/portforward", &["create"]),
];
/// Questions that are open at the same time.
const CONCURRENT: usize = 8;

fn of_commands() -> Vec<Right> {
    let each = |(group, resource, verbs): &(&str, &str, &[&str])| {
        let right = |verb: &&str| Right {
            group: (*group).to_owned(),
            resource: (*resource).to_owned(),
            verb: (*verb).to_owned(),
        };
        verbs.iter().map(right).collect::<Vec<_>>()
    };
    USER.iter().flat_map(each).collect()
}

impl Right {
    fn is_of_the_cluster(&self) -> bool {
        OF_THE_CLUSTER.contains(&self.resource.as_str())
    }

    fn attributes(&self, namespace: Option<&String>) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource.as_str(), None),
        };
        ResourceAttributes {
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(self.verb.clone()),
            namespace: namespace.filter(|_| !self.is_of_the_cluster()).cloned(),
            ..ResourceAttributes::default()
        }
    }

    fn words(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }
}

/// The operator's service account, in the namespace that is looked at (or all).
pub(super) async fn of_operator(context: &Context, account: &Account) -> anyhow::Result<Vec<Check>> {
    const WHAT: &str = "operator's rights";
    const CLUSTER: &str = "operator's view of the cluster";
    let api: Api<SubjectAccessReview> = Api::all(context.cluster.client.clone());
    let user = format!("system:serviceaccount:{}", account.user);
    let ask = |right: Right| {
        let spec = SubjectAccessReviewSpec {
            user: Some(user.clone()),
            resource_attributes: Some(right.attributes(context.namespace.as_ref())),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api = api.clone();
        async move {
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok((right.words(), answer.status.is_some_and(|status| status.allowed)))
        }
    };
    let (cluster, namespaced): (Vec<_>, Vec<_>) = of_role()?.into_iter().partition(Right::is_of_the_cluster);
    let missing = asked(namespaced.into_iter().map(ask)).await;
    let remedy = remedy_of(account, context.namespace.as_deref(), &context.hints);
    let mut checks = vec![told(context, WHAT, missing, Mark::Bad, &remedy)?];
    let remedy = "Without, the operator cannot tell whether an IngressClass exists, and the networks of pods and Services have to be \
                  named in its CLUSTER_CIDRS (clusterCidrs of the chart), or an instance can have it open SSH connections into \
                  them.";
    // One that is told to watch some namespaces only is meant to see no more; but then its networks have to be told too.
    let mark = if account.watched.is_some() && account.networks_given { Mark::Good } else { Mark::Warning };
    checks.push(told(context, CLUSTER, asked(cluster.into_iter().map(ask)).await, mark, remedy)?);
    Ok(checks)
}

/// What to do where the operator lacks rights in `namespace` (or all): have them granted, or look where it needs them.
fn remedy_of(account: &Account, namespace: Option<&str>, hints: &Hints) -> String {
    let Some(watched) = &account.watched else {
        let apply = hints.anywhere("apply --server-side -k config");
        return format!("Apply what the release brings, in a checkout of it: {apply} (or the Helm chart).");
    };
    let own = watched.iter().all(|name| *name == account.namespace) && !watched.is_empty();
    let doctor = |name: &String| hints.anywhere(&format!("catalyst doctor -n {name}"));
    match watched.first() {
        Some(first) if !watched.iter().any(|name| Some(name.as_str()) == namespace) => {
            format!("It is told to watch {} only, and needs its rights there: {}", watched.join(", "), doctor(first))
        }
        _ if own => {
            let apply = hints.anywhere("apply --server-side -k config/namespaced");
            format!(
                "Apply what the release brings for one namespace, in a checkout of it: {apply} (or the Helm chart)."
            )
        }
        _ => {
            let bind = format!(
                "create rolebinding catalyst-operator{} --clusterrole=catalyst-operator --serviceaccount={}",
                namespace.map_or_else(String::new, |name| format!(" -n {name}")),
                account.user
            );
            format!("Bind its role there, or use the Helm chart's watchNamespaces: {}", hints.anywhere(&bind))
        }
    }
}

/// The user's own, for the commands of this plugin.
pub(super) async fn of_user(context: &Context) -> anyhow::Result<Check> {
    const WHAT: &str = "your rights";
    let api: Api<SelfSubjectAccessReview> = Api::all(context.cluster.client.clone());
    let ask = |right: Right| {
        let attributes = right.attributes(context.namespace.as_ref());
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api = api.clone();
        async move {
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok((right.words(), answer.status.is_some_and(|status| status.allowed)))
        }
    };
    let remedy = "Some commands will be refused. The role edit, with catalyst-edit of config/rbac/users.yaml, grants all of them.";
    told(context, WHAT, asked(of_commands().into_iter().map(ask)).await, Mark::Warning, remedy)
}

/// What is not allowed, in the order asked.
async fn asked<F>(questions: impl Iterator<Item = F>) -> Result<Vec<String>, kube::Error>
where
    F: Future<Output = Result<(String, bool), kube::Error>>,
{
    let answers: Vec<(String, bool)> = futures::stream::iter(questions).buffered(CONCURRENT).try_collect().await?;
    Ok(answers.into_iter().filter(|(_, allowed)| !allowed).map(|(right, _)| right).collect())
}

fn told(
    context: &Context,
    what: &str,
    missing: Result<Vec<String>, kube::Error>,
    mark: Mark,
    remedy: &str,
) -> anyhow::Result<Check> {
    Ok(match unseen(context, what, missing)? {
        Err(check) => check,
        Ok(missing) if missing.is_empty() => Check::new(what, Mark::Good, "all that is needed", ""),
        Ok(missing) => Check::new(what, mark, format!("missing: {}", missing.join(", ")), remedy),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    #[test]
    fn the_remedy_for_missing_rights_is_a_command_for_this_cluster_and_for_where_the_operator_works() {
        let hints = Hints::of(&Args::try_parse_from(["k", "doctor", "--context", "c"]).unwrap().scope);
        let remedy = |watched: Option<&[&str]>, namespace: Option<&str>| {
            let watched = watched.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let (user, own) = ("system:op".to_owned(), "system".to_owned());
            remedy_of(&Account { user, watched, namespace: own, networks_given: false }, namespace, &hints)
        };
        let everywhere = remedy(None, Some("n"));
        assert!(everywhere.contains("kubectl apply --server-side -k config --context c (or"), "{everywhere}");
        let elsewhere = remedy(Some(&["a", "b"]), Some("n"));
        let words =
            "It is told to watch a, b only, and needs its rights there: kubectl catalyst doctor -n a --context c";
        assert_eq!(elsewhere, words);
        assert_eq!(remedy(Some(&["a", "b"]), None), words);
        let own = remedy(Some(&["system"]), Some("system"));
        assert!(own.contains("kubectl apply --server-side -k config/namespaced --context c (or"), "{own}");
        let bound = "kubectl create rolebinding catalyst-operator -n a --clusterrole=catalyst-operator --serviceaccount=system:op --context c";
        let here = remedy(Some(&["a", "b"]), Some("a"));
        assert!(here.ends_with(bound), "{here}");
    }

    #[test]
    fn what_the_operator_needs_is_what_its_role_grants() {
        let words: Vec<String> = of_role().unwrap().iter().map(Right::words).collect();
        for right in
            ["delete poddisruptionbudgets", "patch catalystinstances/status", "list ingressclasses", "patch pods"]
        {
            assert!(words.iter().any(|word| word == right), "{right}: {words:?}");
        }
        let of_namespace = Right { group: String::new(), resource: "pods/log".into(), verb: "get".into() };
        let attributes = of_namespace.attributes(Some(&"n".to_owned()));
        assert_eq!((attributes.resource.as_deref(), attributes.subresource.as_deref()), (Some("pods"), Some("log")));
        assert_eq!(attributes.namespace.as_deref(), Some("n"));
        let of_cluster = Right { resource: "nodes".into(), ..of_namespace };
        assert_eq!(
            of_cluster.attributes(Some(&"n".to_owned())).namespace,
            None,
            "a RoleBinding would seem to grant it"
        );
    }
}
