//! Answers to requests for permission, and what is always allowed.

use super::{IdeaRef, Vm, identifier, run_mode, unexpected};
use crate::agent::input::Permissions;
use crate::agent::{Answer, CanUseTool, Mode, PLAN, Rule};
use crate::run::RunError;

impl Vm {
    pub(in crate::run) async fn answer(
        &self,
        idea: &IdeaRef,
        request_id: &str,
        answer: &Answer,
    ) -> Result<(), RunError> {
        #[derive(serde::Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            request: CanUseTool<'a>,
        }
        identifier(request_id, "The request's id")?;
        let folder = self.folder(idea).await?;
        let decision = answer.decision().as_str();
        let asked = self.call(&["request", &idea.id, &folder, request_id, decision], b"").await?;
        if asked == b"answered\n" {
            return Ok(());
        }
        let Line { request } = serde_json::from_slice(&asked).map_err(|_| RunError::RequestGone)?;
        if let Some(why) = request.refuses(answer) {
            return Err(RunError::BadMessage(why));
        }
        let mut lines = request.answer(request_id, answer);
        if *answer == Answer::Always {
            for rule in request.rules().iter().map(Rule::to_string) {
                lines.push_str(&format!("{} {}\n", name_of(&rule), serde_json::json!(rule)));
            }
        }
        // Claude leaves the plan mode with the approval, and the process serves other messages from then on.
        let approved = request.tool_name == PLAN && *answer == Answer::Allow;
        let mode = if approved { run_mode(Mode::Build, Permissions::AcceptEdits) } else { String::new() };
        let args = ["answer", &idea.id, &folder, request_id, decision, &mode];
        self.call(&args, lines.as_bytes()).await.map(drop)
    }

    pub(in crate::run) async fn allowances(&self, idea: &IdeaRef) -> Result<Vec<String>, RunError> {
        let folder = self.folder(idea).await?;
        rules(&self.call(&["allowances", &idea.id, &folder], b"").await?)
    }

    pub(in crate::run) async fn revoke(&self, idea: &IdeaRef, rule: &str) -> Result<Vec<String>, RunError> {
        let folder = self.folder(idea).await?;
        rules(&self.call(&["revoke", &idea.id, &folder, &name_of(rule)], b"").await?)
    }
}

fn rules(output: &[u8]) -> Result<Vec<String>, RunError> {
    let text = String::from_utf8_lossy(output);
    let rules: Result<Vec<String>, _> = text.lines().map(serde_json::from_str).collect();
    let mut rules = rules.map_err(|_| unexpected("a standing rule that is no JSON string"))?;
    rules.sort();
    Ok(rules)
}

/// The name of the file that holds a rule: a rule is a user's text and so never part of a command line.
fn name_of(rule: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, rule.as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
