//! Requests for permission: what they ask, which standing rules would cover them, and the line that answers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

/// Asks the person questions; the answers travel in its input.
const QUESTION: &str = "AskUserQuestion";
/// Asks the person to approve a plan.
pub const PLAN: &str = "ExitPlanMode";
/// The most rules that one answer may make standing.
const RULES_LIMIT: usize = 16;
/// Longest rule, in bytes as written.
const RULE_LENGTH: usize = 4096;

/// The user's word on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may run.
    Allow,
    /// It may run, and so may whatever its rules cover.
    Always,
    /// The answers to its questions, by question.
    Answers(BTreeMap<String, String>),
    /// It may not; Claude is told why.
    Deny {
        /// The reason.
        message: String,
    },
}

impl Answer {
    /// For the log: the word, without what was written.
    pub fn said(&self) -> &'static str {
        match self {
            Answer::Allow => "allow",
            Answer::Always => "always",
            Answer::Answers(_) => "answers",
            Answer::Deny { .. } => "deny",
        }
    }

    /// What it comes down to.
    pub fn decision(&self) -> Decision {
        match self {
            Answer::Allow | Answer::Always | Answer::Answers(_) => Decision::Allow,
            Answer::Deny { .. } => Decision::Deny,
        }
    }
}

/// What an answer comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may run.
    Allow,
    /// It may not.
    Deny,
}

impl Decision {
    /// The one that is called so.
    pub fn named(word: &str) -> Option<Decision> {
        [Decision::Allow, Decision::Deny].into_iter().find(|decision| decision.as_str() == word)
    }

    /// As the CLI, the scripts and the browsers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
        }
    }
}

/// A rule of the CLI: a tool, and which of its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    tool_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule_content: Option<String>,
}

impl Rule {
    fn new(tool_name: &str, rule_content: String) -> Rule {
        Rule { tool_name: tool_name.to_owned(), rule_content: Some(rule_content) }
    }
}

/// As the CLI's settings write it: `Tool` or `Tool(content)`, with backslashes before backslashes and parentheses.
impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.tool_name)?;
        let Some(content) = &self.rule_content else { return Ok(()) };
        formatter.write_str("(")?;
        for letter in content.chars() {
            if matches!(letter, '\\' | '(' | ')') {
                formatter.write_str("\\")?;
            }
            fmt::Write::write_char(formatter, letter)?;
        }
        formatter.write_str(")")
    }
}

/// What the CLI offers to do so that it need not ask again.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Suggestion {
    AddRules {
        rules: Vec<Rule>,
        behavior: String,
    },
    SetMode {
        mode: String,
    },
    AddDirectories {
        directories: Vec<String>,
    },
    #[serde(other)]
    Unknown,
}

/// The `request` of a `control_request` for a tool.
#[derive(Debug, Deserialize)]
pub struct CanUseTool<'a> {
    /// `can_use_tool`.
    #[serde(default)]
    pub subtype: String,
    /// The tool.
    #[serde(default)]
    pub tool_name: String,
    /// The call that waits.
    #[serde(default)]
    pub tool_use_id: String,
    /// Its input.
    #[serde(borrow, default)]
    pub input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    permission_suggestions: Option<&'a RawValue>,
}

impl CanUseTool<'_> {
    /// The rules that "always" would make standing; none where the CLI suggests nothing that holds beyond this process.
    pub fn rules(&self) -> Vec<Rule> {
        let suggestions: Vec<Suggestion> =
            self.permission_suggestions.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
        let beside = suggestions.iter().any(|suggestion| matches!(suggestion, Suggestion::AddDirectories { .. }));
        let covers = |suggestion: &Suggestion| !(beside && matches!(suggestion, Suggestion::SetMode { .. }));
        let suggestions = suggestions.into_iter().filter(covers);
        let mut rules: Vec<Rule> = suggestions.flat_map(|suggestion| self.standing(suggestion)).collect();
        rules.dedup();
        if rules.len() > RULES_LIMIT || rules.iter().any(|rule| rule.to_string().len() > RULE_LENGTH) {
            rules.clear();
        }
        rules
    }

    fn standing(&self, suggestion: Suggestion) -> Vec<Rule> {
        match suggestion {
            Suggestion::AddRules { rules, behavior } if behavior == "allow" => rules,
            // As a rule it holds for the project alone, as the mode does.
            Suggestion::SetMode { mode } if mode == "acceptEdits" => vec![Rule::new("Edit", "./**".to_owned())],
            Suggestion::AddDirectories { directories }
                if ["Read", "Glob", "Grep"].contains(&self.tool_name.as_str()) =>
            {
                let absolute = directories.iter().filter(|directory| directory.starts_with('/'));
                absolute
                    .map(|directory| Rule::new("Read", format!("/{}/**", directory.trim_end_matches('/'))))
                    .collect()
            }
            // A folder in which everything may be changed is more than was asked for.
            Suggestion::AddDirectories { .. }
            | Suggestion::AddRules { .. }
            | Suggestion::SetMode { .. }
            | Suggestion::Unknown => Vec::new(),
        }
    }

    /// The questions that an answer has to answer.
    pub fn questions(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Input {
            questions: Vec<Question>,
        }
        #[derive(Deserialize)]
        struct Question {
            question: String,
        }
        let input = self.input.filter(|_| self.tool_name == QUESTION);
        let input: Option<Input> = input.and_then(|input| serde_json::from_str(input.get()).ok());
        input.map_or_else(Vec::new, |input| input.questions.into_iter().map(|question| question.question).collect())
    }

    /// Why this answer does not fit the request, in a sentence for the user.
    pub fn refuses(&self, answer: &Answer) -> Option<String> {
        match answer {
            Answer::Deny { .. } => None,
            Answer::Always if self.rules().is_empty() => {
                Some("This request cannot be allowed for good; allow it once.".to_owned())
            }
            Answer::Answers(answers) => {
                if self.tool_name != QUESTION {
                    return Some("This request asks no question; allow or deny it.".to_owned());
                }
                let missing = self.questions().into_iter().find(|question| !answers.contains_key(question));
                missing.map(|question| format!("The question “{question}” has no answer yet."))
            }
            Answer::Allow | Answer::Always if self.tool_name == QUESTION => {
                Some("These questions want answers: send them in `answers`, by question.".to_owned())
            }
            Answer::Allow | Answer::Always => None,
        }
    }

    /// The line that answers it, with its newline.
    pub fn answer(&self, request_id: &str, answer: &Answer) -> String {
        let mut permissions = Vec::new();
        let mut input = json!(self.input);
        match answer {
            Answer::Deny { message } => {
                let message = if message.trim().is_empty() { "The user said no." } else { message };
                return response(request_id, &json!({"behavior": "deny", "message": message, "interrupt": false}));
            }
            Answer::Allow => {}
            Answer::Always => permissions.push(json!({
                "type": "addRules", "behavior": "allow", "destination": "session", "rules": self.rules(),
            })),
            Answer::Answers(answers) => {
                if let Some(members) = input.as_object_mut() {
                    members.insert("answers".to_owned(), json!(answers));
                }
            }
        }
        if self.tool_name == PLAN {
            permissions.push(json!({"type": "setMode", "mode": "acceptEdits", "destination": "session"}));
        }
        if permissions.is_empty() {
            return response(request_id, &json!({"behavior": "allow", "updatedInput": input}));
        }
        response(request_id, &json!({"behavior": "allow", "updatedInput": input, "updatedPermissions": permissions}))
    }
}

fn response(request_id: &str, response: &serde_json::Value) -> String {
    let response = json!({"subtype": "success", "request_id": request_id, "response": response});
    format!("{}\n", json!({"type": "control_response", "response": response}))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rules(request: &str) -> Vec<String> {
        serde_json::from_str::<CanUseTool<'_>>(request).unwrap().rules().iter().map(Rule::to_string).collect()
    }

    fn answered(request: &str, answer: &Answer) -> Value {
        let request: CanUseTool<'_> = serde_json::from_str(request).unwrap();
        assert_eq!(request.refuses(answer), None);
        serde_json::from_str::<Value>(&request.answer("r1", answer)).unwrap()["response"]["response"].take()
    }

    const BASH: &str = r#"{"tool_name":"Bash","input":{"command":"ls \"a\""},"permission_suggestions":[{"type":"addRules",
        "rules":[{"toolName":"Bash","ruleContent":"make (x) \\n"},{"toolName":"mcp__a__b"}],"behavior":"allow",
        "destination":"localSettings"}]}"#;

    #[test]
    fn rules_are_those_that_the_cli_suggests_written_as_its_settings_do() {
        assert_eq!(rules(BASH), [r"Bash(make \(x\) \\n)", "mcp__a__b"]);
        let edit = r#"{"tool_name":"Write","permission_suggestions":[{"type":"setMode","mode":"acceptEdits","destination":"session"}]}"#;
        assert_eq!(rules(edit), ["Edit(./**)"]);
        let outside = r#"{"type":"addDirectories","directories":["/home/x"],"destination":"session"}"#;
        let asked = |tool: &str| format!(r#"{{"tool_name":"{tool}","permission_suggestions":[{outside}]}}"#);
        assert_eq!(rules(&asked("Read")), ["Read(//home/x/**)"]);
        assert_eq!(rules(&asked("Write")), [""; 0], "a folder is more than the file that was asked for");
        let both = asked("Write").replace(outside, &format!(r#"{{"type":"setMode","mode":"acceptEdits"}},{outside}"#));
        assert_eq!(rules(&both), [""; 0], "edits of the project do not cover what lies beside it");
        for nothing in [r#"{"tool_name":"X"}"#, r#"{"tool_name":"X","permission_suggestions":[{"type":"new"},1]}"#] {
            assert_eq!(rules(nothing), [""; 0]);
        }
        assert_eq!(rules(&BASH.replace("\"allow\"", "\"deny\"")), [""; 0]);
        assert_eq!(rules(&BASH.replace("make", &"m".repeat(5000))), [""; 0]);
    }

    #[test]
    fn an_allowed_call_runs_with_the_input_that_was_asked_for() {
        let once = answered(BASH, &Answer::Allow);
        assert_eq!(once["updatedInput"]["command"], "ls \"a\"");
        assert_eq!(once.get("updatedPermissions"), None);
        let always = answered(BASH, &Answer::Always);
        assert_eq!(always["updatedPermissions"][0]["rules"][0]["ruleContent"], "make (x) \\n");
        assert_eq!(always["updatedPermissions"][0]["destination"], "session", "nothing is written where the agent can");
        assert_eq!(answered(BASH, &Answer::Deny { message: " ".into() })["message"], "The user said no.");
    }

    #[test]
    fn questions_are_answered_all_or_not_at_all() {
        let asked = r#"{"tool_name":"AskUserQuestion","input":{"questions":[{"question":"A?"},{"question":"B?"}]}}"#;
        let answers = |of: &[(&str, &str)]| {
            Answer::Answers(
                of.iter().map(|(question, answer)| ((*question).to_owned(), (*answer).to_owned())).collect(),
            )
        };
        let whole = answered(asked, &answers(&[("A?", "x"), ("B?", "y, z")]));
        assert_eq!(whole["updatedInput"]["answers"], json!({"A?": "x", "B?": "y, z"}));
        assert_eq!(whole["updatedInput"]["questions"][0]["question"], "A?");
        let request: CanUseTool<'_> = serde_json::from_str(asked).unwrap();
        assert!(request.refuses(&answers(&[("A?", "x")])).unwrap().contains("B?"));
        assert!(request.refuses(&Answer::Allow).is_some());
        let bash: CanUseTool<'_> = serde_json::from_str(BASH).unwrap();
        assert!(bash.refuses(&answers(&[])).is_some());
        assert!(request.refuses(&Answer::Always).is_some());
    }

    #[test]
    fn an_approved_plan_goes_on_with_edits_accepted() {
        let plan = r#"{"tool_name":"ExitPlanMode","input":{"plan":"1."}}"#;
        assert_eq!(answered(plan, &Answer::Allow)["updatedPermissions"][0]["mode"], "acceptEdits");
        assert_eq!(answered(plan, &Answer::Deny { message: "no".into() }).get("updatedPermissions"), None);
    }
}
