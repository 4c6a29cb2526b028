//! The steps by which a release is taken over. Each names the very objects that it is about, so what is carried out is what
//! was planned; each may be carried out again after it was cut short.

use std::fmt;

use super::seen::ObjectSeen;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the instance, paused, with a note of the selector of the release's Deployment.
    Create(String),
    /// Await that the operator sees it.
    AwaitOperator,
    /// Take Helm's marks off a Secret that the instance reads.
    KeepSecret(ObjectSeen),
    /// Make an object the instance's own.
    TakeOver(ObjectSeen),
    /// Delete the release's Deployment and leave its pods.
    Detach(ObjectSeen),
    /// Give the label to what the old ReplicaSets will make.
    MarkSets(Vec<ObjectSeen>),
    /// Give the label to the old pods.
    MarkPods(Vec<ObjectSeen>),
    /// Let the operator work.
    Resume,
    /// Await the operator's pods.
    AwaitReady,
    /// Take the label away from what the old ReplicaSets will make.
    UnmarkSets(Vec<ObjectSeen>),
    /// Take the label away from the old pods: requests go to the new ones alone.
    UnmarkPods(Vec<ObjectSeen>),
    /// Await that no endpoint is an old pod.
    AwaitDrained,
    /// Delete the old ReplicaSets with their pods.
    RemoveSets(Vec<ObjectSeen>),
    /// Delete an object of the release that nothing needs any more.
    Remove(ObjectSeen),
    /// Leave an object that the chart asks to keep, without Helm's marks.
    Leave(ObjectSeen),
    /// Delete Helm's records.
    Forget(Vec<ObjectSeen>),
    /// Take the notes of this way off the instance, and leave that of its end.
    Finish,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many =
            |objects: &[ObjectSeen]| objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>().join(", ");
        match self {
            Step::Create(_) => formatter.write_str("create the CatalystInstance, paused"),
            Step::AwaitOperator => formatter.write_str("await that the operator sees it"),
            Step::KeepSecret(secret) => write!(formatter, "keep {secret} as yours: take Helm's marks off it"),
            Step::TakeOver(object) => write!(formatter, "hand {object} over from Helm to the instance"),
            Step::Detach(object) => write!(formatter, "delete {object} without its pods, which go on serving"),
            Step::MarkSets(sets) => {
                write!(formatter, "label what ReplicaSets make, so that the Service finds it: {}", many(sets))
            }
            Step::MarkPods(pods) => {
                write!(formatter, "label pods, so that the Service goes on finding them: {}", many(pods))
            }
            Step::Resume => {
                formatter.write_str("let the operator work: it makes its own Deployment beside the old pods")
            }
            Step::AwaitReady => formatter.write_str("await that the new pods are ready"),
            Step::UnmarkSets(sets) => write!(formatter, "take the label off again from ReplicaSets: {}", many(sets)),
            Step::UnmarkPods(pods) => {
                write!(formatter, "switch the Service to the new pods alone, away from: {}", many(pods))
            }
            Step::AwaitDrained => formatter.write_str("await that no request goes to an old pod"),
            Step::RemoveSets(sets) => write!(formatter, "delete the old pods with their ReplicaSets: {}", many(sets)),
            Step::Remove(object) => write!(formatter, "delete {object} of the release, which nothing needs any more"),
            Step::Leave(object) => {
                write!(formatter, "leave {object}, as helm.sh/resource-policy: keep asks: take Helm's marks off it")
            }
            Step::Forget(records) => write!(formatter, "delete Helm's records of the release: {}", many(records)),
            Step::Finish => formatter.write_str("note on the instance that the release has been taken over"),
        }
    }
}
