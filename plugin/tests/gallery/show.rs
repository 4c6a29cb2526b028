//! What people see of a situation, taken from kubectl and the plugin.

use std::collections::BTreeMap;

use catalyst_operator::reason::{Reason, Severity};
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Api, api::ListParams};

use crate::{
    form::{settled, without_age},
    situations::{EVENTS, NAMESPACE, SITUATIONS, Situation},
    stage::Stage,
    world::{plane, plugin, until},
};

/// How often in a row a section that the document does not have yet has to be seen the same.
const OFTEN: usize = 4;

/// The sections of these as they are seen, by name, when all have come to what they are to show. What the document says already
/// may be believed at once; anything else has to stay so for a while.
pub(crate) async fn sections(
    stage: &Stage,
    which: impl Fn(&Situation) -> bool,
    before: &str,
) -> BTreeMap<&'static str, String> {
    let (mut done, mut last) = (BTreeMap::new(), BTreeMap::<&str, (String, usize)>::new());
    let wanted: Vec<&Situation> = SITUATIONS.iter().filter(|situation| which(situation)).collect();
    // Many are looked at, each many times.
    for _ in 0..400 {
        for situation in &wanted {
            if done.contains_key(situation.name) {
                continue;
            }
            let Some(seen) = section(stage, situation).await else {
                last.remove(situation.name);
                continue;
            };
            let same = last.get(situation.name).filter(|(before, _)| *before == seen).map_or(1, |(_, times)| times + 1);
            if same >= OFTEN || before.contains(&seen) {
                done.insert(situation.name, seen);
            } else {
                last.insert(situation.name, (seen, same));
            }
        }
        if done.len() == wanted.len() {
            return done;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let missing = wanted.iter().filter(|situation| !done.contains_key(situation.name));
    panic!("not seen: {:?}", missing.map(|situation| situation.name).collect::<Vec<_>>());
}

/// The section of a situation as it is seen now; `None`: it has not come to it yet.
async fn section(stage: &Stage, situation: &Situation) -> Option<String> {
    let Situation { namespace, name, title, reason, whole, .. } = *situation;
    let instance = stage.world(namespace).instances().get(name).await.unwrap();
    let conditions = instance.status?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let of_reason = |condition: &&Condition| condition.reason == reason.as_str();
    // A warning takes nothing from Ready: it stands at a part.
    let told = if reason.severity() == Severity::Warning { conditions.iter().find(of_reason)? } else { ready };
    if told.reason != reason.as_str() {
        return None;
    }
    let mut kubectl = plane().kubectl().await.unwrap();
    let table = kubectl.args(["get", "cati", "-n", namespace, name]).output().await.unwrap();
    let table = without_age(&String::from_utf8(table.stdout).unwrap());
    let asked = tokio::task::spawn_blocking(move || plugin(&["status", "-n", namespace, name]));
    let (_, status, errors) = asked.await.unwrap();
    assert_eq!(errors, "");
    let times = status.matches(&ready.message).count();
    // It may have changed between the two looks.
    if times == 0 || !status.contains(&told.message) {
        return None;
    }
    assert_eq!(times, 1, "it is told once, at the top: {status}");
    if is_told(reason) {
        let events: Api<Event> = Api::namespaced(stage.world(namespace).client.clone(), namespace);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let told = |event: &Event| {
            event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(name))
                && event.reason.as_deref() == Some(reason.as_str())
        };
        let event = events.iter().find(|event| told(event))?;
        assert_eq!(event.type_.as_deref(), Some("Warning"), "{event:?}");
    }
    let heading = if whole { format!("## {title}") } else { format!("### {reason}: {title}") };
    let status = if whole { status } else { headline(&status, reason) };
    let seen = format!(
        "{heading}\n\n```console\n$ kubectl get cati -n {namespace} {name}\n{table}\n$ kubectl catalyst status -n {namespace} {name}\n{status}```\n"
    );
    Some(settled(&seen, name, &stage.forms))
}

/// What asks for somebody is a Warning among the events as well; what is only a step on the way is no news.
fn is_told(reason: Reason) -> bool {
    let step =
        matches!(reason, Reason::Progressing | Reason::RolloutInProgress | Reason::PodStarting | Reason::PodNotReady);
    matches!(reason.severity(), Severity::Stalled | Severity::Reconciling) && !step
}

/// What the plugin says before it comes to the parts; and of these the one that carries a reason which is not the whole's.
fn headline(status: &str, reason: Reason) -> String {
    let (head, parts) = status.split_once("  Conditions\n").unwrap();
    if reason.severity() != Severity::Warning {
        return head.to_owned();
    }
    let told = parts.lines().find(|line| line.contains(&format!("  {reason}"))).unwrap();
    format!("{head}  Conditions\n{told}\n")
}

/// The events, as kubectl tells them, one of each reason.
pub(crate) async fn events(stage: &Stage) -> String {
    let mut rows = vec![["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned).to_vec()];
    for (reason, instance) in EVENTS {
        let row = until(&format!("{reason} of {instance}"), || async {
            let mut kubectl = plane().kubectl().await.unwrap();
            let told = kubectl.args(["events", "-n", NAMESPACE, "--for", &format!("cati/{instance}")]);
            let told = String::from_utf8(told.output().await.unwrap().stdout).unwrap();
            let rows = told.lines().map(columns).collect::<Vec<_>>();
            rows.into_iter().rfind(|row| row.get(2).map(String::as_str) == Some(reason.as_str()))
        })
        .await;
        let mut row: Vec<String> = row.iter().map(|column| settled(column, instance, &stage.forms)).collect();
        row[0] = "5m".to_owned();
        rows.push(row);
    }
    let widths: Vec<usize> =
        (0..4).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap() + 3).collect();
    let lines = rows.iter().map(|row| {
        let before = row.iter().zip(&widths).map(|(column, width)| format!("{column:<width$}")).collect::<String>();
        format!("{before}{}\n", row[4])
    });
    lines.collect()
}

/// The columns of a row of kubectl, between which there are at least two spaces.
fn columns(row: &str) -> Vec<String> {
    let mut columns = Vec::new();
    let mut rest = row.trim();
    while let Some((column, after)) = rest.split_once("  ").filter(|_| columns.len() < 4) {
        columns.push(column.to_owned());
        rest = after.trim_start();
    }
    columns.push(rest.to_owned());
    columns
}
