//! Which Ingress claims which host, in all namespaces that are watched: kept as a few words for each, so that a host that
//! somebody else had first is seen without reading every Ingress in every pass.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::{names::Target, shown::ShownIngress};

/// The annotation that named the class before `spec.ingressClassName` did.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// A claim on a host as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Namespace of the Ingress.
    pub namespace: String,
    /// Its name.
    pub name: String,
    class: Option<String>,
    since: Option<Time>,
}

/// What is known; one for the process.
#[derive(Clone, Debug, Default)]
pub struct HostClaims(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Whether only Ingresses of some namespaces are seen.
    partial: bool,
    /// Host → claims.
    claims: HashMap<String, Vec<Claim>>,
    /// (namespace, Ingress) → the hosts that it claims.
    hosts: HashMap<(String, String), Vec<String>>,
    /// Host → the instances that want it.
    wanted: HashMap<String, HashSet<Target>>,
    /// Instance → the host that it wants.
    wants: HashMap<Target, String>,
}

impl HostClaims {
    /// For an operator that watches these namespaces; none: all.
    #[must_use]
    pub fn of(namespaces: &[String]) -> Self {
        Self(Arc::new(Mutex::new(Known { partial: !namespaces.is_empty(), ..Known::default() })))
    }

    /// Whether an Ingress that is not seen may have a host.
    #[must_use]
    pub fn are_partial(&self) -> bool {
        self.known().partial
    }

    /// Notes an Ingress as it is; the instances that it may matter to.
    pub fn note(&self, ingress: &ShownIngress) -> Vec<Target> {
        let claim = Claim {
            namespace: ingress.namespace().unwrap_or_default(),
            name: ingress.name_any(),
            class: class(ingress),
            since: ingress.creation_timestamp(),
        };
        self.set(&claim.namespace.clone(), &claim.name.clone(), hosts(ingress), Some(&claim))
    }

    /// Notes that an Ingress is gone; the instances that it may matter to.
    pub fn forget(&self, ingress: &ShownIngress) -> Vec<Target> {
        self.set(&ingress.namespace().unwrap_or_default(), &ingress.name_any(), Vec::new(), None)
    }

    /// Forgets the Ingresses in this namespace (`None`: in all) that a whole list (namespace and name of each) does not have: a watch
    /// that had to begin anew tells no deletions. Gives the instances that it may matter to.
    pub fn keep(&self, namespace: Option<&str>, listed: &HashSet<(String, String)>) -> Vec<Target> {
        let is_gone = |place: &&(String, String)| namespace.is_none_or(|it| it == place.0) && !listed.contains(*place);
        let gone: Vec<(String, String)> = self.known().hosts.keys().filter(is_gone).cloned().collect();
        gone.iter().flat_map(|(namespace, name)| self.set(namespace, name, Vec::new(), None)).collect()
    }

    /// Whether somebody else claims a host of this Ingress too.
    #[must_use]
    pub fn is_contested(&self, ingress: &ShownIngress) -> bool {
        let known = self.known();
        hosts(ingress).iter().any(|host| known.claims.get(host).is_some_and(|claims| claims.len() > 1))
    }

    /// Notes the host that an instance wants now.
    pub fn want(&self, instance: &Target, host: Option<&str>) {
        let mut known = self.known();
        if known.wants.get(instance).map(String::as_str) == host {
            return;
        }
        if let Some(old) = known.wants.remove(instance)
            && let Some(others) = known.wanted.get_mut(&old)
        {
            others.remove(instance);
            if others.is_empty() {
                known.wanted.remove(&old);
            }
        }
        if let Some(host) = host {
            known.wanted.entry(host.to_owned()).or_default().insert(instance.clone());
            known.wants.insert(instance.clone(), host.to_owned());
        }
    }

    /// The claim on a host, among Ingresses of this class, that was there before that of this instance (`since`: when its own
    /// Ingress was created, if it was).
    #[must_use]
    pub fn earlier(&self, instance: &Target, host: &str, of_class: &str, since: Option<&Time>) -> Option<Claim> {
        let known = self.known();
        let others = known.claims.get(host)?.iter().filter(|claim| {
            let own = claim.namespace == instance.namespace && claim.name == instance.name;
            !own && claim.class.as_deref() == Some(of_class)
        });
        let before = |claim: &&Claim| match (since, &claim.since) {
            (None, _) | (Some(_), None) => true,
            (Some(ours), Some(theirs)) => {
                let place = |claim: &Claim| (claim.namespace.clone(), claim.name.clone());
                let tie = place(claim) < (instance.namespace.clone(), instance.name.clone());
                theirs.0 < ours.0 || theirs.0 == ours.0 && tie
            }
        };
        others.filter(before).min_by_key(|claim| (claim.namespace.clone(), claim.name.clone())).cloned()
    }

    fn set(&self, namespace: &str, name: &str, hosts: Vec<String>, claim: Option<&Claim>) -> Vec<Target> {
        let mut known = self.known();
        let place = (namespace.to_owned(), name.to_owned());
        let before = known.hosts.remove(&place).unwrap_or_default();
        let same = |other: &Claim| other.namespace == namespace && other.name == name;
        let as_before = before == hosts
            && hosts.iter().all(|host| known.claims.get(host).into_iter().flatten().find(|other| same(other)) == claim);
        for host in &before {
            if let Some(claims) = known.claims.get_mut(host) {
                claims.retain(|other| !same(other));
                if claims.is_empty() {
                    known.claims.remove(host);
                }
            }
        }
        if let Some(claim) = claim {
            for host in &hosts {
                known.claims.entry(host.clone()).or_default().push(claim.clone());
            }
        }
        let touched: HashSet<String> = before.into_iter().chain(hosts.iter().cloned()).collect();
        if !hosts.is_empty() {
            known.hosts.insert(place, hosts);
        }
        if as_before {
            return Vec::new();
        }
        let concerned = touched.iter().filter_map(|host| known.wanted.get(host)).flatten();
        concerned.filter(|instance| instance.namespace != namespace || instance.name != name).cloned().collect()
    }

    /// A panic while the maps were held cannot leave them half changed: nothing between two of their changes can panic.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn class(ingress: &ShownIngress) -> Option<String> {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.clone());
    named.or_else(|| ingress.annotations().get(OLD_CLASS).cloned())
}

/// The hosts whose root it claims: one that claims a path below it lives beside ours.
fn hosts(ingress: &ShownIngress) -> Vec<String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let whole = rules.filter(|rule| {
        let paths = rule.http.as_ref().map(|http| http.paths.as_slice()).unwrap_or_default();
        paths.iter().any(|path| matches!(path.path.as_deref(), None | Some("" | "/")))
    });
    let mut hosts: Vec<String> = whole.filter_map(|rule| rule.host.clone()).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingress(namespace: &str, second: u32, host: &str, path: &str) -> ShownIngress {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": "i", "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [
                {"path": path, "pathType": "Prefix", "backend": {}}]}}]}}))
        .unwrap()
    }

    fn ours() -> Target {
        Target { namespace: "ours".to_owned(), name: "x".to_owned() }
    }

    #[test]
    fn only_a_claim_on_the_whole_host_in_our_class_that_was_there_before_ours_counts() {
        let claims = HostClaims::default();
        let since = |second| ingress("ours", second, "h", "/").creation_timestamp();
        let earlier = |class: &str, second| {
            claims.earlier(&ours(), "h", class, since(second).as_ref()).map(|claim| claim.namespace)
        };
        claims.note(&ingress("theirs", 10, "h", "/below"));
        assert_eq!(earlier("nginx", 20), None);
        claims.note(&ingress("theirs", 10, "h", "/"));
        assert_eq!(earlier("nginx", 20).as_deref(), Some("theirs"));
        assert_eq!((earlier("nginx", 5), earlier("other", 20)), (None, None));
        assert!(claims.earlier(&ours(), "h", "nginx", None).is_some(), "ours is not there yet");
        claims.forget(&ingress("theirs", 10, "h", "/"));
        assert_eq!(earlier("nginx", 20), None);
        assert!(claims.known().claims.is_empty() && claims.known().hosts.is_empty());
    }

    #[test]
    fn what_a_whole_list_does_not_have_claims_nothing_any_more() {
        let claims = HostClaims::default();
        claims.want(&ours(), Some("h"));
        let named = |namespace: &str| (namespace.to_owned(), "i".to_owned());
        let claim = || claims.earlier(&ours(), "h", "nginx", None).map(|claim| claim.namespace);
        claims.note(&ingress("a", 1, "h", "/"));
        claims.note(&ingress("b", 2, "h", "/"));
        assert!(claims.keep(Some("c"), &HashSet::new()).is_empty(), "of another namespace nothing was told");
        assert_eq!(claims.keep(Some("a"), &HashSet::new()), [ours()]);
        assert_eq!(claim().as_deref(), Some("b"));
        assert!(claims.keep(None, &HashSet::from([named("b")])).is_empty());
        assert_eq!(claims.keep(None, &HashSet::new()), [ours()]);
        assert_eq!(claim(), None);
    }

    #[test]
    fn those_who_want_a_host_are_told_of_each_change_and_of_nothing_else() {
        let claims = HostClaims::default();
        claims.want(&ours(), Some("h"));
        assert_eq!(claims.note(&ingress("theirs", 1, "h", "/")), [ours()]);
        assert!(claims.note(&ingress("theirs", 1, "h", "/")).is_empty(), "nothing changed");
        assert_eq!(claims.note(&ingress("theirs", 1, "other", "/")), [ours()]);
        claims.want(&ours(), None);
        assert!(claims.note(&ingress("theirs", 1, "h", "/")).is_empty());
        assert!(claims.known().wanted.is_empty() && claims.known().wants.is_empty());
    }
}
