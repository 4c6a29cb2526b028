//! What there is of a release and of the instance that takes it over, as far as the plan needs it. Data alone.

use std::fmt;

/// What is in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The namespace that was looked at.
    pub namespace: String,
    /// The instance, if it exists.
    pub instance: Option<InstanceSeen>,
    /// Where it does not: another one that is noted as taking the release over.
    pub taken_by: Option<String>,
    /// Objects that carry the release's marks.
    pub marked: Vec<OfRelease>,
    /// Objects whose ownership is on its way to the instance.
    pub unfinished: Vec<ObjectSeen>,
    /// What the instance's objects are called, the Secrets that are generated for it among them.
    pub wanted: Vec<ObjectName>,
    /// Secrets that the instance only reads.
    pub secrets: Vec<String>,
    /// Objects with a name that the instance needs, that are neither its own nor the release's alone.
    pub foreign: Vec<ObjectSeen>,
    /// By what the release's Deployment selects its pods, as `kubectl -l` takes it; empty: there is no Deployment and no note of it.
    pub selector: String,
    /// Whether the operator's own Deployment serves: up to date and available.
    pub new_ready: bool,
    /// ReplicaSets of the release's Deployment.
    pub sets: Vec<Old>,
    /// Their pods.
    pub pods: Vec<Old>,
    /// Names of those pods that the Service still leads to.
    pub serving: Vec<String>,
    /// Helm's records of the release (Secrets `sh.helm.release.v1.…`).
    pub records: Vec<ObjectSeen>,
    /// Names of the other releases of which Helm has records in the namespace.
    pub others: Vec<String>,
}

/// The instance as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceSeen {
    /// Its UID.
    pub uid: String,
    /// The release that it is taking over, if it is.
    pub adopting: Option<String>,
    /// The release that it has taken over, if it has.
    pub adopted: Option<String>,
    /// Whether the operator keeps its hands off.
    pub paused: bool,
    /// Whether the operator has said that it does, which shows that it runs.
    pub acknowledged: bool,
    /// What the operator says is the matter with it, if anything is.
    pub trouble: Option<String>,
}

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// As in `kind:`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The very object that was seen: whatever has taken its place since is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectSeen {
    /// As in `kind:`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl ObjectSeen {
    /// Whether it has that kind and name.
    #[must_use]
    pub fn is(&self, name: &ObjectName) -> bool {
        self.kind == name.kind && self.name == name.name
    }
}

impl fmt::Display for ObjectSeen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

/// An object of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfRelease {
    /// The object.
    pub object: ObjectSeen,
    /// Whether the chart asks that it is never deleted (`helm.sh/resource-policy: keep`).
    pub keep: bool,
}

/// A ReplicaSet or pod of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// The object.
    pub object: ObjectSeen,
    /// Whether it (of a ReplicaSet: what it makes) has the label by which the operator's Service selects.
    pub labelled: bool,
}
