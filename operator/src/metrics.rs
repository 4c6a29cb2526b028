//! What the operator counts. Labels are enumerated values only, never names of objects: the number of series is bounded.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

/// Label of a reconcile's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

/// Label of an error's class.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    reason: &'static str,
}

/// Labels of a write to the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: &'static str,
}

/// Label of an instance's phase.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InPhase {
    phase: &'static str,
}

/// The coarse state of an instance, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Ready is True.
    Ready,
    /// On its way.
    Reconciling,
    /// A person must act.
    Stalled,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Ready, Self::Reconciling, Self::Stalled];

    const fn label(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Reconciling => "reconciling",
            Self::Stalled => "stalled",
        }
    }
}

/// Every metric of the operator; one for each process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    errors: Family<Cause, Counter>,
    duration: Histogram,
    writes: Family<Write, Counter>,
    instances: Family<InPhase, Gauge>,
    running: Gauge,
    waiting: Gauge,
    leader: Gauge,
    ssh_checks: Family<Outcome, Counter<u64, AtomicU64>>,
    ssh_checks_running: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("catalyst_operator");
        let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        Self {
            reconciles: registered(&mut registry, "reconciles", "Reconciles by result", Family::default()),
            errors: registered(&mut registry, "reconcile_errors", "Failed reconciles by reason", Family::default()),
            duration: registered(
                &mut registry,
                "reconcile_duration_seconds",
                "Duration of a reconcile",
                Histogram::new(seconds),
            ),
            writes: registered(
                &mut registry,
                "api_writes",
                "Writes to the API server by kind and verb",
                Family::default(),
            ),
            instances: registered(&mut registry, "instances", "Instances by phase", Family::default()),
            running: registered(&mut registry, "reconciles_running", "Reconciles running now", Gauge::default()),
            waiting: registered(
                &mut registry,
                "queue_depth",
                "Instances that wait for their reconcile",
                Gauge::default(),
            ),
            leader: registered(&mut registry, "leader", "1 while this operator holds the Lease", Gauge::default()),
            ssh_checks: registered(&mut registry, "ssh_checks", "SSH checks of dev-VMs by result", Family::default()),
            ssh_checks_running: registered(
                &mut registry,
                "ssh_checks_running",
                "SSH checks of dev-VMs that run now or wait for their turn",
                Gauge::default(),
            ),
            registry,
        }
    }
}

/// A metric, and the same one in the registry: what is made is also shown.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// The text that a Prometheus server scrapes (OpenMetrics).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Encoding into a String cannot fail; an empty page would show as a failed scrape.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }

    /// A reconcile begins; drop the guard when it ends.
    #[must_use]
    pub fn reconcile_begins(&self) -> Running {
        Running::one_of(&self.running)
    }

    /// A reconcile ended well.
    pub fn reconciled(&self, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        self.reconciles.get_or_create(&Outcome { result: "success" }).inc();
    }

    /// A reconcile failed for an enumerated reason.
    pub fn failed(&self, took: Duration, reason: &'static str) {
        self.duration.observe(took.as_secs_f64());
        self.reconciles.get_or_create(&Outcome { result: "error" }).inc();
        self.errors.get_or_create(&Cause { reason }).inc();
    }

    /// A write was sent.
    pub fn wrote(&self, kind: &str, verb: &'static str) {
        self.writes.get_or_create(&Write { kind: kind.to_owned(), verb }).inc();
    }

    /// An SSH check is asked for; drop the guard when its end has been told.
    #[must_use]
    pub fn ssh_check_begins(&self) -> Running {
        Running::one_of(&self.ssh_checks_running)
    }

    /// An SSH check ended.
    pub fn ssh_checked(&self, result: &'static str) {
        self.ssh_checks.get_or_create(&Outcome { result }).inc();
    }

    /// An instance went from one phase (none: it is new) to another (none: it is gone).
    pub fn phase_changed(&self, from: Option<Phase>, to: Option<Phase>) {
        if from == to {
            return;
        }
        // All three series exist from the first instance on, so that "no stalled instance" is 0 and not absent.
        for phase in Phase::ALL {
            drop(self.instances.get_or_create(&InPhase { phase: phase.label() }));
        }
        if let Some(from) = from {
            self.instances.get_or_create(&InPhase { phase: from.label() }).dec();
        }
        if let Some(to) = to {
            self.instances.get_or_create(&InPhase { phase: to.label() }).inc();
        }
    }

    /// How many instances wait for their reconcile.
    pub fn waiting(&self, instances: usize) {
        self.waiting.set(i64::try_from(instances).unwrap_or(i64::MAX));
    }

    /// Whether this operator leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }
}

/// Counts a reconcile or an SSH check as running until dropped.
#[derive(Debug)]
pub struct Running(Gauge);

impl Running {
    fn one_of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_writes_by_kind_and_instances_by_phase() {
        let metrics = Metrics::default();
        metrics.wrote("Deployment", "apply");
        metrics.phase_changed(None, Some(Phase::Reconciling));
        metrics.phase_changed(Some(Phase::Reconciling), Some(Phase::Ready));
        let text = metrics.text();
        assert!(text.contains(r#"catalyst_operator_api_writes_total{kind="Deployment",verb="apply"} 1"#), "{text}");
        assert!(text.contains(r#"catalyst_operator_instances{phase="ready"} 1"#), "{text}");
        assert!(text.contains(r#"catalyst_operator_instances{phase="reconciling"} 0"#), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_reconcile_counts_as_running_until_its_guard_is_dropped() {
        let metrics = Metrics::default();
        let guard = metrics.reconcile_begins();
        assert!(metrics.text().contains("catalyst_operator_reconciles_running 1"));
        drop(guard);
        assert!(metrics.text().contains("catalyst_operator_reconciles_running 0"));
    }
}
