//! `doctor`: looks at everything that has to be right for instances to work, and says what to do about what is not.

mod checks;
mod rights;

use catalyst_operator::args::Output;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    args::Which,
    context::{Context, place},
    report::{self, Mark},
};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) mark: Mark,
    pub(crate) found: String,
    /// Empty where nothing is to be done.
    pub(crate) remedy: String,
}

impl Check {
    fn new(what: &str, mark: Mark, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { what: what.to_owned(), mark, found: found.into(), remedy: remedy.into() }
    }
}

/// Whether nothing was found that is to be done. What could not be looked at is no finding.
pub(crate) async fn run(context: &Context, which: &Which) -> anyhow::Result<bool> {
    let mut found = vec![checks::api_server(context).await?, checks::crd(context).await?];
    let operator = checks::operator(context).await?;
    found.push(operator.check);
    if let Some(account) = operator.account {
        found.extend(rights::of_operator(context, &account).await?);
    }
    found.push(rights::of_user(context).await?);
    // Without the CRD there is nothing to list, and it was said.
    if found.iter().all(|check| check.what != checks::CRD || check.mark != Mark::Bad) {
        let instances = match which.name {
            Some(_) => vec![context.instance(which).await?],
            None => context.instances().await?,
        };
        found.extend(checks::ingress_classes(context, &instances).await?);
        for instance in &instances {
            let report = report::of(instance, &context.hints);
            let next = report.next.map_or_else(String::new, |next| format!(" Next: {next}"));
            let what = format!("instance {}", place(instance));
            let words = format!("{}: {}", report.reason, report.message);
            found.push(Check::new(&what, report.mark, words, format!("{}{next}", report.remedy).trim()));
        }
        if instances.is_empty() {
            let none = match context.namespace {
                Some(_) => "there are none in this namespace; -A looks at all",
                None => "there are none",
            };
            found.push(Check::new("instances", Mark::Good, none, ""));
        }
    }
    match context.output {
        Output::Text => print!("{}", text(&found, context)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({"checks": found}))?),
    }
    Ok(well(&found))
}

fn well(checks: &[Check]) -> bool {
    checks.iter().all(|check| matches!(check.mark, Mark::Good | Mark::Unknown))
}

fn text(checks: &[Check], context: &Context) -> String {
    let mut text = String::new();
    for Check { what, mark, found, remedy } in checks {
        text.push_str(&format!("{} {}: {found}\n", context.paint.sign(*mark), context.paint.bold(what)));
        if !remedy.is_empty() && *mark != Mark::Good {
            text.push_str(&format!("    {remedy}\n"));
        }
    }
    text
}

/// What a failed look says: forbidden is no finding, only unknown.
fn unseen<T>(context: &Context, what: &str, answer: Result<T, kube::Error>) -> anyhow::Result<Result<T, Check>> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let remedy = "Ask somebody who may look at it, such as an administrator.";
            Ok(Err(Check::new(what, Mark::Unknown, "you have no right to look at it", remedy)))
        }
        Err(error) => context.answered(Err(error), &format!("look at {what}")),
    }
}

fn names(objects: &[impl ResourceExt]) -> String {
    objects.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_to_be_done_is_a_finding_and_what_could_not_be_looked_at_is_none() {
        let is_well = |mark| well(&[Check::new("a", Mark::Good, "", ""), Check::new("b", mark, "", "")]);
        assert!(is_well(Mark::Good) && is_well(Mark::Unknown));
        assert!(!is_well(Mark::Bad) && !is_well(Mark::Warning) && !is_well(Mark::Waiting));
    }
}
