//! An instance that a person has paused: nothing of it is changed, and how it is, is told all the same.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::{
    Outcome, ReconcileError, Steps,
    judge::{RETRY, said_of_image},
};
use crate::{
    build::{Desired, build},
    crd::{CatalystInstance, PAUSED_ANNOTATION, pauses},
    live::{Kinded, Live},
    names::Target,
    observed::Fetched,
    reason::{Reason, Severity},
    status::{Absent, Circumstances, Facts, Verdict, diagnose, faulty_parts, parts, without},
    validate::validate,
    validated::{MissingSecret, ValidatedInstance},
};

/// Whether a person has told us to keep our hands off.
pub(super) fn is_paused(instance: &CatalystInstance) -> bool {
    instance.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| pauses(value))
}

impl Steps {
    /// Tells how a paused instance is.
    pub(super) async fn report_paused(
        &self,
        instance: &CatalystInstance,
        target: &Target,
    ) -> Result<Outcome, ReconcileError> {
        // Of what is not there it is told that it is not, so it is looked for.
        let (fetched, live) = self.fetch(instance, &self.fetcher, None, target).await?;
        let valid = validate(instance, &fetched, &self.defaults);
        let (verdict, parts) = match &valid {
            Ok(valid) => {
                let circumstances =
                    Circumstances { said_of_image: said_of_image(instance), paused: true, ..Circumstances::default() };
                let absent = absent(valid, &fetched, &live);
                let parts = without(parts(valid, &fetched, &[], &circumstances), &absent);
                // Without a Deployment there is nothing else to be said.
                let otherwise = fetched.deployment.as_ref().map(|_| diagnose(valid, &fetched, &circumstances));
                (lacking(otherwise.as_ref(), &absent), parts)
            }
            Err(findings) => {
                let verdict = Verdict::of(findings).map_or_else(|| with_state(""), |verdict| left_alone(&verdict));
                (verdict, faulty_parts(findings))
            }
        };
        // Of a crash nobody tells when it is long past.
        let again = parts.iter().any(|part| part.reason == Reason::PodCrashing).then_some(RETRY);
        let (instance_now, deployment) = (valid.as_ref().ok(), fetched.deployment.as_ref());
        let facts = Facts { instance: instance_now, paused: true, deployment, parts, ..Facts::default() };
        self.report(instance, &verdict, facts, again).await
    }
}

/// What would be made if the instance were not paused.
fn absent(valid: &ValidatedInstance, fetched: &Fetched, live: &Live) -> Vec<Absent> {
    let secrets = valid.missing_secrets().into_iter().map(|which| match which {
        MissingSecret::App => Absent { kind: Secret::KIND, name: valid.app_secret.secret.clone() },
        MissingSecret::SshKey => Absent { kind: Secret::KIND, name: valid.ssh.key.secret.clone() },
    });
    let Desired { deployment, service, ingress, http_route, disruption_budget, config, known_hosts, network_policy } =
        build(valid);
    let route = http_route.filter(|_| fetched.gateway_api != Some(false));
    let others = [
        missing(live, Some(deployment)),
        missing(live, Some(service)),
        missing(live, ingress),
        missing(live, route),
        missing(live, disruption_budget),
        missing(live, Some(config)),
        missing(live, Some(known_hosts)),
        missing(live, network_policy),
    ];
    others.into_iter().flatten().chain(secrets).collect()
}

fn missing<K: Kinded>(live: &Live, wanted: Option<K>) -> Option<Absent> {
    let name = wanted?.name_any();
    live.get::<K>(&name).is_none().then_some(Absent { kind: K::KIND, name })
}

/// What is said where objects are missing, of which the rest would be said otherwise.
fn lacking(otherwise: Option<&Verdict>, absent: &[Absent]) -> Verdict {
    let missing = absent.iter().map(|Absent { kind, name }| format!("{kind} {name} is not there."));
    let rest = otherwise.map(|verdict| {
        let fine = matches!(verdict.reason.severity(), Severity::Ready | Severity::Warning);
        if fine && !absent.is_empty() { verdict.message.clone() } else { told(verdict) }
    });
    with_state(&missing.chain(rest).collect::<Vec<_>>().join(" "))
}

/// What is said of a paused instance, of which this would be said otherwise.
pub(super) fn left_alone(otherwise: &Verdict) -> Verdict {
    with_state(&told(otherwise))
}

fn told(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.reason, verdict.message)
}

fn with_state(state: &str) -> Verdict {
    let message = format!(
        "Nothing is changed while there is an annotation {PAUSED_ANNOTATION}: remove it to go on. As it is: {state}"
    );
    Verdict::new(Reason::Paused, message)
}
