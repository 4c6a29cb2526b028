//! What the operator and the user may do, asked of the API server itself.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};

use super::{Check, unseen};
use crate::{context::Context, report::Mark};

/// Group, resource (with subresource) and verbs.
type Right = (&'static str, &'static str, &'static [&'static str]);

/// Without any of these the operator cannot do its work.
const OPERATOR: [Right; 11] = [
    ("catalyst.dev", "catalystinstances", &["get", "list", "watch"]),
    ("catalyst.dev", "catalystinstances/status", &["patch"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "patch"]),
    ("", "services", &["get", "list", "watch", "create", "patch"]),
    ("", "configmaps", &["get", "list", "watch", "create", "patch"]),
    ("", "secrets", &["get", "list", "watch", "create"]),
    ("networking.k8s.io", "ingresses", &["get", "list", "watch", "create", "patch", "delete"]),
    ("networking.k8s.io", "networkpolicies", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "pods", &["list", "watch"]),
    ("", "pods/log", &["get"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// What the commands of this plugin need.
const USER: [Right; 5] = [
    ("catalyst.dev", "catalystinstances", &["get", "list", "create", "patch"]),
    ("apps", "deployments", &["get", "list", "patch"]),
    ("", "pods", &["list"]),
    ("", "pods/log", &["get"]),
    ("", "pods/portforward", &["create"]),
];
/// Questions that are open at the same time.
const CONCURRENT: usize = 8;

fn attributes((group, resource, _): &Right, verb: &str, namespace: Option<&String>) -> ResourceAttributes {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (*resource, None),
    };
    ResourceAttributes {
        group: Some((*group).to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: namespace.cloned(),
        ..ResourceAttributes::default()
    }
}

/// Each verb and resource.
fn each(rights: &'static [Right]) -> impl Iterator<Item = (&'static Right, &'static str)> {
    rights.iter().flat_map(|right| right.2.iter().map(move |verb| (right, *verb)))
}

/// The operator's service account, in the namespace that is looked at (or all).
pub(super) async fn of_operator(context: &Context, account: &str) -> anyhow::Result<Check> {
    const WHAT: &str = "operator's rights";
    let api: Api<SubjectAccessReview> = Api::all(context.cluster.client.clone());
    let user = format!("system:serviceaccount:{account}");
    let ask = |(right, verb): (&'static Right, &'static str)| {
        let spec = SubjectAccessReviewSpec {
            user: Some(user.clone()),
            resource_attributes: Some(attributes(right, verb, context.namespace.as_ref())),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api = api.clone();
        async move {
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok((format!("{verb} {}", right.1), answer.status.is_some_and(|status| status.allowed)))
        }
    };
    let remedy = "Apply what the release brings: kubectl apply --server-side -k config (or the Helm chart). An operator that watches \
                  only some namespaces needs its rights in those: look there with -n.";
    told(context, WHAT, asked(each(&OPERATOR).map(ask)).await, Mark::Bad, remedy)
}

/// The user's own, for the commands of this plugin.
pub(super) async fn of_user(context: &Context) -> anyhow::Result<Check> {
    const WHAT: &str = "your rights";
    let api: Api<SelfSubjectAccessReview> = Api::all(context.cluster.client.clone());
    let ask = |(right, verb): (&'static Right, &'static str)| {
        let attributes = attributes(right, verb, context.namespace.as_ref());
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api = api.clone();
        async move {
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok((format!("{verb} {}", right.1), answer.status.is_some_and(|status| status.allowed)))
        }
    };
    let remedy = "Some commands will be refused. The role edit, with catalyst-edit of config/rbac/users.yaml, grants all of them.";
    told(context, WHAT, asked(each(&USER).map(ask)).await, Mark::Warning, remedy)
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
