//! Which steps are left to take a Helm release over. Pure: a function of what is in the cluster, so a run that was killed
//! anywhere goes on where it was, and a dry run tells just what a run would do.
//!
//! The way, and why nobody notices: the Helm Deployment is deleted without its pods; these get the label by which the
//! operator's Service selects, so they serve on while the operator makes its own pods beside them. When those are ready, the
//! label is taken away again, and the old pods go when no endpoint leads to them any more.

use super::{
    adoption::ADOPTING_ANNOTATION,
    seen::{InstanceSeen, ObjectSeen, Observed, OfRelease, Old},
    step::Step,
};

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// Nothing of the release is there.
    #[error(
        "there is no Helm release {release} in this namespace{}; `helm list -A` shows those of all namespaces",
        among(.others)
    )]
    NoRelease {
        /// What was named.
        release: String,
        /// Those that there are.
        others: Vec<String>,
    },
    /// The release is there, and what has to be replaced is not.
    #[error(
        "the Helm release {release} is in namespace {namespace}, but no Deployment of it, so nothing says which pods are to be \
         replaced. If it is Catalyst, have Helm make it again: helm rollback {release} -n {namespace}"
    )]
    NoDeployment {
        /// The release.
        release: String,
        /// Its namespace.
        namespace: String,
    },
    /// Another instance is on the way to take the release over.
    #[error("the CatalystInstance {0} is taking that release over; finish that first (--name {0})")]
    OtherInstance(String),
    /// Several instances are on that way.
    #[error(
        "the CatalystInstances {} are all noted as taking that release over; remove the annotation {note} from all but one, and go \
         on with that one (--name)",
        .0.join(", "),
        note = ADOPTING_ANNOTATION
    )]
    SeveralInstances(Vec<String>),
    /// The instance was made by somebody else.
    #[error(
        "the CatalystInstance exists and was not made by this migration. Delete it (it owns nothing of the release), or give \
         another --name"
    )]
    InstanceExists,
    /// The instance has taken one of that name over, and Helm has made another.
    #[error(
        "the CatalystInstance has taken a release {0} over before, and Helm has one of that name again. To take that one over too, \
         give another --name; before a helm uninstall look at helm get manifest {0}: it deletes by name, what is the instance's as well"
    )]
    InstalledAnew(String),
    /// It takes another release over.
    #[error("the CatalystInstance is taking over the release {0}; finish that first (--adopt {0})")]
    OtherRelease(String),
    /// Names are taken.
    #[error(
        "{0} exists and belongs to somebody else than the release and the instance; rename or remove it, or give another --name"
    )]
    Foreign(ObjectSeen),
    /// The Deployment has to be replaced and may not be deleted.
    #[error(
        "the chart asks to keep {kept} (helm.sh/resource-policy: keep), but its selector cannot be changed, so it has to be \
         replaced. If that is what you want: kubectl annotate deployment -n {namespace} {name} helm.sh/resource-policy-",
        name = .kept.name
    )]
    Kept {
        /// The Deployment.
        kept: ObjectSeen,
        /// Its namespace.
        namespace: String,
    },
}

fn among(others: &[String]) -> String {
    if others.is_empty() { ", nor any other".to_owned() } else { format!(". Here are: {}", others.join(", ")) }
}

/// The steps that are left, in order; none when all is done.
///
/// # Errors
/// See [`NoWay`]; nothing has to be undone.
pub fn plan(release: &str, observed: &Observed) -> Result<Vec<Step>, NoWay> {
    let deployment = observed.marked.iter().find(|one| one.object.kind == "Deployment");
    if all_is_done(release, observed, deployment)? {
        return Ok(Vec::new());
    }
    if let Some(object) = observed.foreign.first() {
        return Err(NoWay::Foreign(object.clone()));
    }
    if let Some(kept) = deployment.filter(|deployment| deployment.keep) {
        return Err(NoWay::Kept { kept: kept.object.clone(), namespace: observed.namespace.clone() });
    }
    let mut steps = begin(observed);
    steps.extend(deployment.map(|deployment| Step::Detach(deployment.object.clone())));
    steps.extend(replace_pods(observed, deployment.is_some()));
    steps.extend(observed.marked.iter().filter(|one| fate(one, observed) == Fate::Unneeded).map(|one| {
        let step = if one.keep { Step::Leave } else { Step::Remove };
        step(one.object.clone())
    }));
    if !observed.records.is_empty() {
        steps.push(Step::Forget(observed.records.clone()));
    }
    steps.push(Step::Finish);
    Ok(steps)
}

/// The name of the instance that takes the release over; else that of the release's Deployment; else of the instance that has
/// taken it over before: what Helm has installed under that name since is another matter. `None`: there is none of these.
///
/// # Errors
/// Several instances take it over.
pub(super) fn name(
    adopting: Vec<String>,
    deployment: Option<String>,
    adopted: Option<String>,
) -> Result<Option<String>, NoWay> {
    match <[String; 1]>::try_from(adopting) {
        Ok([name]) => Ok(Some(name)),
        Err(several) if !several.is_empty() => Err(NoWay::SeveralInstances(several)),
        Err(_) => Ok(deployment.or(adopted)),
    }
}

/// Whether the instance has the release already; an error where it may not have it.
fn all_is_done(release: &str, observed: &Observed, deployment: Option<&OfRelease>) -> Result<bool, NoWay> {
    let no_release = || NoWay::NoRelease { release: release.to_owned(), others: observed.others.clone() };
    let adopted = observed.instance.as_ref().is_some_and(|instance| instance.adopted.as_deref() == Some(release));
    match observed.instance.as_ref().map(|instance| instance.adopting.as_deref()) {
        None => match (&observed.taken_by, deployment) {
            (Some(other), _) => Err(NoWay::OtherInstance(other.clone())),
            (None, Some(_)) => Ok(false),
            (None, None) if observed.marked.is_empty() && observed.records.is_empty() => Err(no_release()),
            (None, None) => {
                Err(NoWay::NoDeployment { release: release.to_owned(), namespace: observed.namespace.clone() })
            }
        },
        Some(None) if observed.marked.is_empty() && observed.records.is_empty() => {
            if adopted {
                Ok(true)
            } else {
                Err(no_release())
            }
        }
        Some(None) if adopted => Err(NoWay::InstalledAnew(release.to_owned())),
        Some(None) => Err(NoWay::InstanceExists),
        Some(Some(other)) if other != release => Err(NoWay::OtherRelease(other.to_owned())),
        Some(Some(_)) => Ok(false),
    }
}

/// What becomes of an object of the release.
#[derive(PartialEq)]
enum Fate {
    /// The operator makes another one.
    Replaced,
    /// The instance reads it: it is the user's.
    Read,
    /// The instance has one of that name: it is the instance's.
    TakenOver,
    /// Nothing under the operator corresponds to it.
    Unneeded,
}

fn fate(one: &OfRelease, observed: &Observed) -> Fate {
    let object = &one.object;
    match object.kind.as_str() {
        "Deployment" => Fate::Replaced,
        "Secret" if observed.secrets.contains(&object.name) => Fate::Read,
        _ if observed.wanted.iter().any(|wanted| object.is(wanted)) => Fate::TakenOver,
        _ => Fate::Unneeded,
    }
}

/// The instance, and what it takes over as it is.
fn begin(observed: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    if observed.instance.is_none() {
        steps.push(Step::Create(observed.selector.clone()));
    }
    if paused(observed) && observed.instance.as_ref().is_none_or(|instance| !instance.acknowledged) {
        steps.push(Step::AwaitOperator);
    }
    let with = |wanted: Fate| observed.marked.iter().filter(move |one| fate(one, observed) == wanted);
    steps.extend(with(Fate::Read).map(|one| Step::KeepSecret(one.object.clone())));
    let mut taken: Vec<_> = with(Fate::TakenOver).map(|one| &one.object).chain(&observed.unfinished).cloned().collect();
    taken.sort();
    taken.dedup();
    steps.extend(taken.into_iter().map(Step::TakeOver));
    steps
}

/// The old pods serve until the new ones do, and then go.
fn replace_pods(observed: &Observed, helms_is_there: bool) -> Vec<Step> {
    let Observed { sets, pods, serving, new_ready, .. } = observed;
    let mut steps = Vec::new();
    let serves = *new_ready && !paused(observed) && !helms_is_there;
    if !serves {
        push(&mut steps, Step::MarkSets, these(sets, Some(false)));
        push(&mut steps, Step::MarkPods, these(pods, Some(false)));
        if paused(observed) {
            steps.push(Step::Resume);
        }
        steps.push(Step::AwaitReady);
    }
    // Before the new pods serve, all of them will have had the label.
    push(&mut steps, Step::UnmarkSets, these(sets, serves.then_some(true)));
    push(&mut steps, Step::UnmarkPods, these(pods, serves.then_some(true)));
    if !pods.is_empty() && (!serves || !serving.is_empty() || pods.iter().any(|pod| pod.labelled)) {
        steps.push(Step::AwaitDrained);
    }
    push(&mut steps, Step::RemoveSets, these(sets, None));
    steps
}

/// It will be created so, if it is not there.
fn paused(observed: &Observed) -> bool {
    observed.instance.as_ref().is_none_or(|InstanceSeen { paused, .. }| *paused)
}

fn these(all: &[Old], labelled: Option<bool>) -> Vec<ObjectSeen> {
    let these = all.iter().filter(|one| labelled.is_none_or(|labelled| one.labelled == labelled));
    these.map(|one| one.object.clone()).collect()
}

fn push(steps: &mut Vec<Step>, step: fn(Vec<ObjectSeen>) -> Step, objects: Vec<ObjectSeen>) {
    if !objects.is_empty() {
        steps.push(step(objects));
    }
}

#[cfg(test)]
mod tests;
