//! An instance that a person has paused: nothing of it is changed, and how it is, is told all the same.

use kube::ResourceExt;

use super::{Outcome, ReconcileError, Steps, judge::said_of_image};
use crate::{
    build::{Desired, build},
    crd::{CatalystInstance, PAUSED_ANNOTATION, pauses},
    fetch::Fetcher,
    live::{Kinded, Live},
    names::Target,
    observed::Fetched,
    reason::{Reason, Severity},
    status::{Circumstances, Facts, Verdict, diagnose, faulty_parts, parts, without},
    validate::validate,
    validated::ValidatedInstance,
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
        reads: &Fetcher,
        target: &Target,
    ) -> Result<Outcome, ReconcileError> {
        let (fetched, live) = self.fetch(instance, reads, target).await?;
        let valid = validate(instance, &fetched, &self.defaults);
        let (verdict, parts) = match &valid {
            Ok(_) if fetched.deployment.is_none() => (with_state("There is no Deployment."), Vec::new()),
            Ok(valid) => {
                let circumstances =
                    Circumstances { said_of_image: said_of_image(instance), ..Circumstances::default() };
                let absent = absent(valid, &fetched, &live);
                let parts = without(parts(valid, &fetched, &[], &circumstances), &absent);
                (lacking(&diagnose(valid, &fetched, &circumstances), &absent), parts)
            }
            Err(findings) => {
                let verdict = Verdict::of(findings).map_or_else(|| with_state(""), |verdict| left_alone(&verdict));
                (verdict, faulty_parts(findings))
            }
        };
        let facts =
            Facts { instance: valid.as_ref().ok(), deployment: fetched.deployment.as_ref(), parts, ..Facts::default() };
        self.report(instance, &verdict, facts, None).await
    }
}

/// What would be put back if the instance were not paused, each as `KIND NAME`; without its Secrets, of which the verdict tells.
fn absent(valid: &ValidatedInstance, fetched: &Fetched, live: &Live) -> Vec<String> {
    let Desired { deployment: _, service, ingress, http_route, disruption_budget, config, known_hosts, network_policy } =
        build(valid);
    let route = http_route.filter(|_| fetched.gateway_api != Some(false));
    [
        missing(live, Some(service)),
        missing(live, ingress),
        missing(live, route),
        missing(live, disruption_budget),
        missing(live, Some(config)),
        missing(live, Some(known_hosts)),
        missing(live, network_policy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn missing<K: Kinded>(live: &Live, wanted: Option<K>) -> Option<String> {
    let name = wanted?.name_any();
    live.get::<K>(&name).is_none().then(|| format!("{} {name}", K::KIND))
}

/// What is said where objects are missing, of which the rest would be said otherwise.
fn lacking(otherwise: &Verdict, absent: &[String]) -> Verdict {
    if absent.is_empty() {
        return left_alone(otherwise);
    }
    let missing: Vec<String> = absent.iter().map(|object| format!("{object} is not there.")).collect();
    let fine = matches!(otherwise.reason.severity(), Severity::Ready | Severity::Warning);
    let rest = if fine { otherwise.message.clone() } else { told(otherwise) };
    with_state(&format!("{} {rest}", missing.join(" ")))
}

/// What is said of a paused instance, of which this would be said otherwise.
pub(super) fn left_alone(otherwise: &Verdict) -> Verdict {
    with_state(&told(otherwise))
}

fn told(verdict: &Verdict) -> String {
    format!("{}: {}", verdict.reason, verdict.message)
}

fn with_state(state: &str) -> Verdict {
    let message = format!("Nothing is changed while there is an annotation {PAUSED_ANNOTATION}. As it is: {state}");
    Verdict::new(Reason::Paused, message)
}
