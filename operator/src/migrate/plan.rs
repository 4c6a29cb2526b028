//! Which steps are left to take a Helm release over. Pure: a function of what is in the cluster, so a run that was killed
//! anywhere goes on where it was, and a dry run tells just what a run would do.
//!
//! The way, and why nobody notices: the Helm Deployment is deleted without its pods; these get the label by which the
//! operator's Service selects, so they serve on while the operator makes its own pods beside them. When those are ready, the
//! label is taken away again, and the old pods go when no endpoint leads to them any more.

use std::fmt;

/// What is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The instance, if it exists.
    pub instance: Option<InstanceSeen>,
    /// Objects that carry the release's marks.
    pub marked: Vec<ObjectSeen>,
    /// Objects whose ownership is on its way to the instance.
    pub unfinished: Vec<ObjectSeen>,
    /// What of the above the instance's objects are called like (and its Secrets): kind and name.
    pub wanted: Vec<ObjectSeen>,
    /// Secrets that the instance reads.
    pub secrets: Vec<String>,
    /// Objects with a name that the instance needs, that belong neither to it nor to the release.
    pub foreign: Vec<ObjectSeen>,
    /// Whether the operator's own Deployment serves: up to date and available.
    pub new_ready: bool,
    /// ReplicaSets of the release's Deployment, and whether their pods get the instance's label.
    pub sets: Vec<Marked>,
    /// Their pods, and whether they have the label.
    pub pods: Vec<Marked>,
    /// Which of these pods the Service still leads to.
    pub serving: Vec<String>,
    /// Helm's records of the release (Secrets `sh.helm.release.v1.…`).
    pub records: Vec<String>,
}

/// The instance as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceSeen {
    /// The release that it is taking over, if it is.
    pub adopting: Option<String>,
    /// Whether the operator keeps its hands off.
    pub paused: bool,
    /// Whether the operator has said that it does, which shows that it runs.
    pub acknowledged: bool,
}

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectSeen {
    /// As in `kind:`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectSeen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

/// Something that may have the instance's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its name.
    pub name: String,
    /// Whether it has.
    pub marked: bool,
}

/// One step. Each may be carried out again after it was cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the instance, paused.
    Create,
    /// Await that the operator sees it.
    AwaitOperator,
    /// Take Helm's marks off a Secret that the instance reads.
    KeepSecret(String),
    /// Make an object the instance's own.
    TakeOver(ObjectSeen),
    /// Delete the release's Deployment and leave its pods.
    Detach(String),
    /// Give the label to what the old ReplicaSets will make.
    MarkSets(Vec<String>),
    /// Give the label to the old pods.
    MarkPods(Vec<String>),
    /// Let the operator work.
    Resume,
    /// Await the operator's pods.
    AwaitReady,
    /// Take the label away from what the old ReplicaSets will make.
    UnmarkSets(Vec<String>),
    /// Take the label away from the old pods: requests go to the new ones alone.
    UnmarkPods(Vec<String>),
    /// Await that no endpoint is an old pod.
    AwaitDrained,
    /// Delete the old ReplicaSets with their pods.
    RemoveSets(Vec<String>),
    /// Delete an object of the release that nothing needs any more.
    Remove(ObjectSeen),
    /// Delete Helm's records.
    Forget(Vec<String>),
    /// Take the notes of this way off the instance.
    Finish,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |names: &[String]| names.join(", ");
        match self {
            Step::Create => formatter.write_str("create the CatalystInstance, paused"),
            Step::AwaitOperator => formatter.write_str("await that the operator sees it"),
            Step::KeepSecret(name) => write!(formatter, "keep Secret {name} as yours: take Helm's marks off it"),
            Step::TakeOver(object) => write!(formatter, "hand {object} over from Helm to the instance"),
            Step::Detach(name) => write!(formatter, "delete Deployment {name} without its pods, which go on serving"),
            Step::MarkSets(names) => {
                write!(formatter, "label what ReplicaSets make, so that the Service finds it: {}", many(names))
            }
            Step::MarkPods(names) => {
                write!(formatter, "label pods, so that the Service goes on finding them: {}", many(names))
            }
            Step::Resume => {
                formatter.write_str("let the operator work: it makes its own Deployment beside the old pods")
            }
            Step::AwaitReady => formatter.write_str("await that the new pods are ready"),
            Step::UnmarkSets(names) => write!(formatter, "take the label off again from ReplicaSets: {}", many(names)),
            Step::UnmarkPods(names) => {
                write!(formatter, "switch the Service to the new pods alone, away from: {}", many(names))
            }
            Step::AwaitDrained => formatter.write_str("await that no request goes to an old pod"),
            Step::RemoveSets(names) => write!(formatter, "delete the old pods with their ReplicaSets: {}", many(names)),
            Step::Remove(object) => write!(formatter, "delete {object} of the release, which nothing needs any more"),
            Step::Forget(names) => write!(formatter, "delete Helm's records of the release: {}", many(names)),
            Step::Finish => formatter.write_str("take the notes of this migration off the instance"),
        }
    }
}

/// Why there is no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// Nothing of the release is there.
    #[error(
        "no Deployment of the Helm release {0} is in this namespace; `helm list -A` shows releases and their namespaces"
    )]
    NoRelease(String),
    /// The instance was made by somebody else.
    #[error(
        "the CatalystInstance exists and was not made by this migration. Delete it (it owns nothing of the release), or give \
         another --name"
    )]
    InstanceExists,
    /// It takes another release over.
    #[error("the CatalystInstance is taking over the release {0}; finish that first (--adopt {0})")]
    OtherRelease(String),
    /// Names are taken.
    #[error(
        "{0} exists and belongs neither to the release nor to the instance; rename or remove it, or give another --name"
    )]
    Foreign(ObjectSeen),
}

/// The steps that are left, in order; none when all is done.
///
/// # Errors
/// See [`NoWay`]; nothing has to be undone.
pub fn plan(release: &str, observed: &Observed) -> Result<Vec<Step>, NoWay> {
    let Observed { instance, marked, unfinished, wanted, secrets, foreign, new_ready, sets, pods, serving, records } =
        observed;
    let deployment = marked.iter().find(|object| object.kind == "Deployment");
    match instance {
        None if deployment.is_none() => return Err(NoWay::NoRelease(release.to_owned())),
        Some(InstanceSeen { adopting: None, .. }) if marked.is_empty() && records.is_empty() => return Ok(Vec::new()),
        Some(InstanceSeen { adopting: None, .. }) => return Err(NoWay::InstanceExists),
        Some(InstanceSeen { adopting: Some(other), .. }) if other != release => {
            return Err(NoWay::OtherRelease(other.clone()));
        }
        _ => {}
    }
    if let Some(object) = foreign.first() {
        return Err(NoWay::Foreign(object.clone()));
    }
    let mut steps = Vec::new();
    let paused = instance.as_ref().is_none_or(|instance| instance.paused);
    if instance.is_none() {
        steps.push(Step::Create);
    }
    if paused && instance.as_ref().is_none_or(|instance| !instance.acknowledged) {
        steps.push(Step::AwaitOperator);
    }
    let kept = |object: &&ObjectSeen| object.kind == "Secret" && secrets.contains(&object.name);
    steps.extend(marked.iter().filter(kept).map(|object| Step::KeepSecret(object.name.clone())));
    let needed = |object: &&ObjectSeen| object.kind != "Deployment" && !kept(object) && wanted.contains(object);
    let mut taken: Vec<_> = marked.iter().filter(needed).chain(unfinished).cloned().collect();
    taken.sort();
    taken.dedup();
    steps.extend(taken.into_iter().map(Step::TakeOver));
    steps.extend(deployment.map(|deployment| Step::Detach(deployment.name.clone())));

    let names = |all: &[Marked], wanted: Option<bool>| -> Vec<String> {
        let these = all.iter().filter(|one| wanted.is_none_or(|wanted| one.marked == wanted));
        these.map(|one| one.name.clone()).collect()
    };
    let mut push = |step: fn(Vec<String>) -> Step, names: Vec<String>| {
        if !names.is_empty() {
            steps.push(step(names));
        }
    };
    let serves = *new_ready && !paused && deployment.is_none();
    if !serves {
        push(Step::MarkSets, names(sets, Some(false)));
        push(Step::MarkPods, names(pods, Some(false)));
        if paused {
            steps.push(Step::Resume);
        }
        steps.push(Step::AwaitReady);
    }
    let mut push = |step: fn(Vec<String>) -> Step, names: Vec<String>| {
        if !names.is_empty() {
            steps.push(step(names));
        }
    };
    // Before the new pods serve, all of them will have had the label.
    push(Step::UnmarkSets, names(sets, serves.then_some(true)));
    push(Step::UnmarkPods, names(pods, serves.then_some(true)));
    if !pods.is_empty() && (!serves || !serving.is_empty() || pods.iter().any(|pod| pod.marked)) {
        steps.push(Step::AwaitDrained);
    }
    if !sets.is_empty() {
        steps.push(Step::RemoveSets(names(sets, None)));
    }
    let leftover = |object: &&ObjectSeen| object.kind != "Deployment" && !kept(object) && !wanted.contains(object);
    steps.extend(marked.iter().filter(leftover).cloned().map(Step::Remove));
    if !records.is_empty() {
        steps.push(Step::Forget(records.clone()));
    }
    steps.push(Step::Finish);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str) -> ObjectSeen {
        ObjectSeen { kind: kind.into(), name: name.into() }
    }

    fn one(name: &str, marked: bool) -> Vec<Marked> {
        vec![Marked { name: name.into(), marked }]
    }

    /// A release as Helm leaves it.
    fn release() -> Observed {
        Observed {
            marked: vec![
                object("ConfigMap", "catalyst-extra"),
                object("Deployment", "catalyst"),
                object("Secret", "catalyst-secrets"),
                object("Service", "catalyst"),
            ],
            wanted: vec![object("Deployment", "catalyst"), object("Service", "catalyst")],
            secrets: vec!["catalyst-secrets".into()],
            sets: one("catalyst-1", false),
            pods: one("catalyst-1-a", false),
            serving: vec!["catalyst-1-a".into()],
            records: vec!["sh.helm.release.v1.catalyst.v1".into()],
            ..Observed::default()
        }
    }

    fn taking(paused: bool) -> Option<InstanceSeen> {
        Some(InstanceSeen { adopting: Some("catalyst".into()), paused, acknowledged: true })
    }

    #[test]
    fn the_whole_way_of_a_release() {
        let set = || vec!["catalyst-1".to_owned()];
        let pod = || vec!["catalyst-1-a".to_owned()];
        assert_eq!(
            plan("catalyst", &release()).unwrap(),
            [
                Step::Create,
                Step::AwaitOperator,
                Step::KeepSecret("catalyst-secrets".into()),
                Step::TakeOver(object("Service", "catalyst")),
                Step::Detach("catalyst".into()),
                Step::MarkSets(set()),
                Step::MarkPods(pod()),
                Step::Resume,
                Step::AwaitReady,
                Step::UnmarkSets(set()),
                Step::UnmarkPods(pod()),
                Step::AwaitDrained,
                Step::RemoveSets(set()),
                Step::Remove(object("ConfigMap", "catalyst-extra")),
                Step::Forget(vec!["sh.helm.release.v1.catalyst.v1".into()]),
                Step::Finish,
            ]
        );
    }

    #[test]
    fn the_operator_is_let_to_work_only_when_every_old_pod_has_the_label_and_they_go_only_when_the_new_ones_serve() {
        let detached = Observed { instance: taking(true), marked: vec![], ..release() };
        let steps = plan("catalyst", &detached).unwrap();
        let at = |wanted: &Step| steps.iter().position(|step| step == wanted);
        assert!(at(&Step::MarkPods(vec!["catalyst-1-a".into()])) < at(&Step::Resume), "{steps:?}");
        // A pod that came meanwhile without it is labelled too, before anything else.
        let late = Observed {
            instance: taking(false),
            pods: one("late", false),
            sets: one("catalyst-1", true),
            marked: vec![],
            ..release()
        };
        assert_eq!(plan("catalyst", &late).unwrap()[0], Step::MarkPods(vec!["late".into()]));
        let waiting = Observed { pods: one("late", true), ..late };
        assert_eq!(plan("catalyst", &waiting).unwrap()[0], Step::AwaitReady);
        let serving = Observed { new_ready: true, ..waiting };
        assert_eq!(plan("catalyst", &serving).unwrap()[0], Step::UnmarkSets(vec!["catalyst-1".into()]));
        let drained = Observed { pods: one("late", false), sets: one("catalyst-1", false), serving: vec![], ..serving };
        assert_eq!(plan("catalyst", &drained).unwrap()[0], Step::RemoveSets(vec!["catalyst-1".into()]));
    }

    #[test]
    fn a_deployment_that_is_ready_is_not_ours_while_helms_is_there() {
        let early = Observed { instance: taking(false), new_ready: true, ..release() };
        assert!(plan("catalyst", &early).unwrap().contains(&Step::AwaitReady));
    }

    #[test]
    fn what_was_done_is_done_and_what_is_not_ours_to_take_is_refused() {
        let done = Observed { instance: Some(InstanceSeen::default()), ..Observed::default() };
        assert_eq!(plan("catalyst", &done), Ok(vec![]));
        assert_eq!(plan("catalyst", &Observed::default()), Err(NoWay::NoRelease("catalyst".into())));
        let exists = Observed { instance: Some(InstanceSeen::default()), ..release() };
        assert_eq!(plan("catalyst", &exists), Err(NoWay::InstanceExists));
        let other = Observed { instance: taking(true), ..release() };
        assert_eq!(plan("another", &other), Err(NoWay::OtherRelease("catalyst".into())));
        let foreign = Observed { foreign: vec![object("Ingress", "catalyst")], ..release() };
        assert_eq!(plan("catalyst", &foreign), Err(NoWay::Foreign(object("Ingress", "catalyst"))));
    }
}
