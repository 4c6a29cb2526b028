//! Reports as text: the headline, what is wrong, conditions, the tree of objects, how to go on. Pure.

use crate::{
    paint::Paint,
    report::{InstanceReport, Mark, ObjectReport},
};

/// All instances, those with which something is wrong first.
pub(crate) fn text(reports: &[InstanceReport], paint: Paint) -> String {
    let mut sorted: Vec<&InstanceReport> = reports.iter().collect();
    sorted.sort_by_key(|report| report.mark);
    sorted.into_iter().map(|report| instance(report, paint)).collect::<Vec<_>>().join("\n")
}

fn instance(report: &InstanceReport, paint: Paint) -> String {
    let InstanceReport { namespace, name, mark, reason, message, remedy, next, url: _, conditions, objects, notes } =
        report;
    let mut text = format!("{} {}  {reason}\n", paint.sign(*mark), paint.bold(&format!("{namespace}/{name}")));
    for line in [message, remedy].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(next) = next {
        text.push_str(&format!("  Next: {}\n", paint.bold(next)));
    }
    if !conditions.is_empty() {
        text.push_str(&format!("{}\n", paint.dim("  Conditions")));
    }
    for condition in conditions {
        let mut line = format!(
            "    {} {}={}  {}",
            paint.sign(condition.mark),
            condition.type_,
            condition.status,
            condition.reason
        );
        if condition.mark != Mark::Good && !message.contains(&condition.message) {
            line.push_str(&format!(": {}", condition.message));
        }
        text.push_str(&format!("{line}\n"));
    }
    if !objects.is_empty() {
        text.push_str(&format!("{}\n", paint.dim("  Objects")));
    }
    branch(objects, "    ", paint, &mut text);
    if !notes.is_empty() {
        text.push_str(&format!("{}\n", paint.dim("  Notes")));
    }
    notes.iter().for_each(|note| text.push_str(&format!("    {note}\n")));
    text
}

fn branch(objects: &[ObjectReport], indent: &str, paint: Paint, text: &mut String) {
    for (index, object) in objects.iter().enumerate() {
        let last = index + 1 == objects.len();
        let (twig, below) = if last { ("└─", "   ") } else { ("├─", "│  ") };
        let ObjectReport { kind, name, mark, detail, below: children } = object;
        let detail = if detail.is_empty() { String::new() } else { format!("  {detail}") };
        text.push_str(&format!("{indent}{} {} {kind} {name}{detail}\n", paint.dim(twig), paint.sign(*mark)));
        branch(children, &format!("{indent}{below}"), paint, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, mark: Mark) -> InstanceReport {
        let pod = ObjectReport {
            kind: "Pod".into(),
            name: "p".into(),
            mark: Mark::Bad,
            detail: "Pending".into(),
            below: vec![],
        };
        let deployment = ObjectReport {
            kind: "Deployment".into(),
            name: name.into(),
            mark: Mark::Good,
            detail: String::new(),
            below: vec![pod],
        };
        let service = ObjectReport {
            kind: "Service".into(),
            name: name.into(),
            mark: Mark::Good,
            detail: String::new(),
            below: vec![],
        };
        InstanceReport {
            namespace: "n".into(),
            name: name.into(),
            mark,
            reason: "Reason".into(),
            message: "It is so.".into(),
            remedy: "Do this.".into(),
            next: None,
            url: None,
            conditions: vec![],
            objects: vec![deployment, service],
            notes: vec!["Go on.".into()],
        }
    }

    #[test]
    fn what_is_wrong_comes_first_and_objects_hang_below_one_another() {
        let text = text(&[report("good", Mark::Good), report("bad", Mark::Bad)], Paint::when(false));
        assert!(text.starts_with("✗ n/bad  Reason\n  It is so.\n  Do this.\n  Objects\n"), "{text}");
        let tree = "    ├─ ✓ Deployment bad\n    │  └─ ✗ Pod p  Pending\n    └─ ✓ Service bad\n  Notes\n    Go on.\n";
        assert!(text.contains(tree), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
