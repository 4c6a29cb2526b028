//! Conditions as kstatus reads them: `Ready`, and `Reconciling` and `Stalled`, of which at most one is True; and one for
//! each part, which kstatus leaves alone.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::{Part, PartState, Verdict};
use crate::{
    crd::CatalystInstanceStatus,
    reason::{Reason, Severity},
};

/// Whether the instance can be used.
pub const READY: &str = "Ready";
/// True while something is going on that may pass by itself.
pub const RECONCILING: &str = "Reconciling";
/// True while a person must act.
pub const STALLED: &str = "Stalled";

/// The conditions, and how long until they change by themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// All three and those of the parts, in a fixed order, and those of others as they were.
    pub conditions: Vec<Condition>,
    /// After this long the reason's patience ends and it is Stalled.
    pub patience: Option<Duration>,
}

/// The conditions for a verdict and what is known of the parts. Times of transition are kept while the status of a condition stays; that of `Reconciling`
/// begins anew with a generation.
#[must_use]
pub fn conditions(
    before: Option<&CatalystInstanceStatus>,
    verdict: &Verdict,
    parts: &[PartState],
    generation: i64,
    now: Timestamp,
) -> Conditions {
    let old =
        |kind: &str| before.iter().flat_map(|status| &status.conditions).find(|condition| condition.type_ == kind);
    let (severity, patience) = settle(verdict.reason, generation, old(RECONCILING), old(STALLED), now);
    let ready = matches!(severity, Severity::Ready | Severity::Warning | Severity::Event);
    let make = |kind: &str, is: bool| {
        let status = if is { "True" } else { "False" };
        // A wait is counted for its generation, so that of a new one begins with it.
        let same = |old: &&Condition| {
            old.status == status && (kind != RECONCILING || !is || old.observed_generation == Some(generation))
        };
        let since = old(kind).filter(same).map(|old| old.last_transition_time.clone());
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.as_str().to_owned(),
            message: if is || kind == READY { verdict.message.clone() } else { String::new() },
            observed_generation: Some(generation),
            last_transition_time: since.unwrap_or(Time(now)),
        }
    };
    let mut conditions = vec![
        make(READY, ready),
        make(RECONCILING, severity == Severity::Reconciling),
        make(STALLED, severity == Severity::Stalled),
    ];
    conditions.extend(Part::ALL.into_iter().filter_map(|part| {
        let told = parts.iter().find(|told| told.part == part);
        of_part(told, old(part.condition()), generation, now)
    }));
    let own = |kind: &str| [READY, RECONCILING, STALLED].contains(&kind) || of_a_part(kind);
    let others = before.iter().flat_map(|status| &status.conditions);
    conditions.extend(others.filter(|old| !own(&old.type_)).cloned());
    Conditions { conditions, patience }
}

fn of_a_part(kind: &str) -> bool {
    Part::ALL.iter().any(|part| part.condition() == kind)
}

/// The condition of a part. What is only waited for stays as it was known for this generation.
fn of_part(told: Option<&PartState>, old: Option<&Condition>, generation: i64, now: Timestamp) -> Option<Condition> {
    let Some(told) = told else { return old.cloned() };
    let awaited = told.ready.is_none() && told.reason == Reason::Progressing;
    let known = old.filter(|old| awaited && old.observed_generation == Some(generation));
    if let Some(known) = known.filter(|known| known.status != "Unknown") {
        return Some(known.clone());
    }
    let status = match told.ready {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = old.filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    Some(Condition {
        type_: told.part.condition().to_owned(),
        status: status.to_owned(),
        reason: told.reason.as_str().to_owned(),
        message: told.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or(Time(now)),
    })
}

/// The severity now: what may pass by itself becomes Stalled when it has lasted longer than its patience, counted from
/// when `Reconciling` became True for this generation's wait; and stays Stalled until something else is the matter.
fn settle(
    reason: Reason,
    generation: i64,
    reconciling: Option<&Condition>,
    stalled: Option<&Condition>,
    now: Timestamp,
) -> (Severity, Option<Duration>) {
    let severity = reason.severity();
    let (Severity::Reconciling, Some(patience)) = (severity, reason.patience()) else { return (severity, None) };
    let waited_out = |old: &&Condition| {
        let impatient = Reason::ALL.iter().any(|known| known.as_str() == old.reason && known.patience().is_some());
        old.status == "True" && old.observed_generation == Some(generation) && impatient
    };
    if stalled.filter(waited_out).is_some() {
        return (Severity::Stalled, None);
    }
    let since = reconciling
        .filter(|old| old.status == "True" && old.observed_generation == Some(generation))
        .map_or(now, |old| old.last_transition_time.0);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    match patience.checked_sub(waited) {
        Some(left) if !left.is_zero() => (Severity::Reconciling, Some(left)),
        _ => (Severity::Stalled, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn apply(
        before: Option<&CatalystInstanceStatus>,
        reason: Reason,
        second: i64,
    ) -> (CatalystInstanceStatus, Option<Duration>) {
        let Conditions { conditions, patience } = conditions(before, &Verdict::new(reason, "m"), &[], 1, at(second));
        (CatalystInstanceStatus { conditions, ..CatalystInstanceStatus::default() }, patience)
    }

    fn true_ones(status: &CatalystInstanceStatus) -> Vec<&str> {
        status.conditions.iter().filter(|c| c.status == "True").map(|c| c.type_.as_str()).collect()
    }

    #[test]
    fn every_reason_makes_exactly_one_condition_true() {
        for reason in Reason::ALL {
            let (status, _) = apply(None, *reason, 0);
            assert_eq!(true_ones(&status).len(), 1, "{reason}");
        }
    }

    #[test]
    fn an_unreachable_host_is_waited_for_ten_minutes_then_a_person_must_act_and_it_stays_so() {
        let (first, patience) = apply(None, Reason::HostUnreachable, 0);
        assert_eq!((true_ones(&first), patience), (vec![RECONCILING], Some(Duration::from_secs(600))));
        let (second, patience) = apply(Some(&first), Reason::SSHTimedOut, 400);
        assert_eq!((true_ones(&second), patience), (vec![RECONCILING], Some(Duration::from_secs(200))));
        let (third, patience) = apply(Some(&second), Reason::HostUnreachable, 600);
        assert_eq!((true_ones(&third), patience), (vec![STALLED], None));
        let (fourth, _) = apply(Some(&third), Reason::HostUnreachable, 601);
        assert_eq!(fourth, third);
        let (fifth, _) = apply(Some(&fourth), Reason::Available, 700);
        assert_eq!(true_ones(&fifth), [READY]);
        let (sixth, patience) = apply(Some(&fifth), Reason::HostUnreachable, 800);
        assert_eq!((true_ones(&sixth), patience), (vec![RECONCILING], Some(Duration::from_secs(600))));
    }

    #[test]
    fn a_new_generation_is_waited_for_anew() {
        let (first, _) = apply(None, Reason::HostUnreachable, 0);
        let (stalled, _) = apply(Some(&first), Reason::HostUnreachable, 600);
        assert_eq!(true_ones(&stalled), [STALLED]);
        let verdict = Verdict::new(Reason::HostUnreachable, "m");
        let anew = conditions(Some(&stalled), &verdict, &[], 2, at(700));
        assert_eq!(anew.patience, Some(Duration::from_secs(600)));
        // And one that comes in the midst of the wait, through to its own end.
        let after = |before: &CatalystInstanceStatus, second| {
            let Conditions { conditions, patience } = conditions(Some(before), &verdict, &[], 2, at(second));
            (CatalystInstanceStatus { conditions, ..CatalystInstanceStatus::default() }, patience)
        };
        let (second, patience) = after(&first, 500);
        assert_eq!(patience, Some(Duration::from_secs(600)));
        assert_eq!(after(&second, 900).1, Some(Duration::from_secs(200)));
    }

    /// Who wrote the status may have had another clock: a replica that led before, or this one before it was set.
    #[test]
    fn a_clock_that_goes_back_begins_the_wait_anew_at_worst_and_one_that_goes_ahead_ends_it_until_the_cause_is_gone() {
        let (first, _) = apply(None, Reason::HostUnreachable, 100_000);
        let (back, patience) = apply(Some(&first), Reason::HostUnreachable, 10_000);
        assert_eq!((&back, patience), (&first, Some(Duration::from_secs(600))));
        let (right, patience) = apply(Some(&back), Reason::HostUnreachable, 100_500);
        assert_eq!((&right, patience), (&first, Some(Duration::from_secs(100))));

        let (ahead, patience) = apply(Some(&first), Reason::HostUnreachable, 200_000);
        assert_eq!((true_ones(&ahead), patience), (vec![STALLED], None));
        let (right, patience) = apply(Some(&ahead), Reason::HostUnreachable, 100_001);
        assert_eq!((&right, patience), (&ahead, None));
        let (well, _) = apply(Some(&right), Reason::Available, 100_002);
        assert_eq!(true_ones(&well), [READY]);
        let (anew, patience) = apply(Some(&well), Reason::HostUnreachable, 100_003);
        assert_eq!((true_ones(&anew), patience), (vec![RECONCILING], Some(Duration::from_secs(600))));
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let (first, _) = apply(None, Reason::SecretMissing, 0);
        let (second, _) = apply(Some(&first), Reason::SSHKeyInvalid, 100);
        assert!(second.conditions.iter().all(|c| c.last_transition_time.0 == at(0)), "{second:?}");
        let (third, _) = apply(Some(&second), Reason::Available, 200);
        let times: Vec<_> = third.conditions.iter().map(|c| c.last_transition_time.0.as_second()).collect();
        assert_eq!(times, [200, 0, 200]);
    }

    #[test]
    fn a_part_keeps_what_is_known_while_nobody_knows_anew_and_its_time_moves_with_its_status_alone() {
        let verdict = Verdict::new(Reason::PodNotReady, "m");
        let ssh =
            |ready, reason, message: &str| PartState { part: Part::Ssh, ready, reason, message: message.to_owned() };
        let after = |before: &CatalystInstanceStatus, part: PartState, generation, second| {
            let Conditions { conditions, .. } = conditions(Some(before), &verdict, &[part], generation, at(second));
            CatalystInstanceStatus { conditions, ..CatalystInstanceStatus::default() }
        };
        let shown = |status: &CatalystInstanceStatus| {
            let ssh = status.conditions.iter().find(|condition| condition.type_ == "SSHReady").unwrap();
            (ssh.status.clone(), ssh.reason.clone(), ssh.last_transition_time.0.as_second())
        };
        let is = |status: &str, reason: &str, since| (status.to_owned(), reason.to_owned(), since);
        let unknown = || ssh(None, Reason::Progressing, "?");
        let first = after(&CatalystInstanceStatus::default(), unknown(), 1, 0);
        assert_eq!(shown(&first), is("Unknown", "Progressing", 0));
        let second = after(&first, ssh(Some(false), Reason::SSHTimedOut, "a"), 1, 10);
        let third = after(&second, ssh(Some(false), Reason::SSHAuthRejected, "b"), 1, 20);
        assert_eq!(shown(&third), is("False", "SSHAuthRejected", 10));
        assert_eq!(shown(&after(&third, unknown(), 1, 30)), shown(&third));
        // Of another generation nothing is known yet.
        assert_eq!(shown(&after(&third, unknown(), 2, 40)), is("Unknown", "Progressing", 40));
        // A pass that says nothing of it leaves it as it is.
        let Conditions { conditions, .. } = conditions(Some(&third), &verdict, &[], 2, at(50));
        assert_eq!(shown(&CatalystInstanceStatus { conditions, ..CatalystInstanceStatus::default() }), shown(&third));
    }

    #[test]
    fn the_conditions_of_others_stay() {
        let (mut first, _) = apply(None, Reason::Available, 0);
        first.conditions.push(Condition { type_: "Theirs".into(), ..first.conditions[0].clone() });
        let (second, _) = apply(Some(&first), Reason::Available, 1);
        assert_eq!(second, first);
    }
}
