//! What an idea's runs were: read from their logs, newest first.

use serde::{Deserialize, Serialize};

use super::{IdeaRef, Vm, unexpected};
use crate::run::RunError;

/// Runs that are told of at once.
const RUNS_AT_ONCE: &str = "50";

/// One run, as its log tells. What a log does not say is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Its number.
    pub run: u64,
    /// Whether its process lives.
    pub live: bool,
    /// `chat`, or how much a build might do: `ask`, `acceptEdits`, `all`, `plan`.
    pub mode: Option<String>,
    /// Milliseconds since 1970.
    pub started_at: Option<u64>,
    /// Milliseconds since 1970.
    pub ended_at: Option<u64>,
    /// Messages that were answered.
    pub turns: u64,
    /// US dollars.
    pub cost_usd: f64,
    /// The time that answering took, in milliseconds.
    pub duration_ms: u64,
    /// Tokens read, those from the cache included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Exit status of the process.
    pub code: Option<i64>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Size of the log.
    pub bytes: u64,
}

/// A part of the list of runs, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Ask for those below this one for more; none if these are all.
    pub before: Option<u64>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    mode: Option<String>,
    permissions: Option<String>,
    at: Option<u64>,
    code: Option<i64>,
    reason: Option<String>,
    total_cost_usd: Option<f64>,
    duration_ms: Option<f64>,
    usage: Option<Usage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

impl Vm {
    pub(in crate::run) async fn runs(&self, idea: &IdeaRef, before: Option<u64>) -> Result<RunList, RunError> {
        let folder = self.folder(idea).await?;
        let before = before.unwrap_or(0).to_string();
        let output = self.call(&["runs", &idea.id, &folder, &before, RUNS_AT_ONCE], b"").await?;
        list(&String::from_utf8_lossy(&output))
    }

    pub(in crate::run) async fn trim(&self, idea: &IdeaRef, keep: u64) -> Result<(), RunError> {
        let folder = self.folder(idea).await?;
        self.call(&["trim", &idea.id, &folder, &keep.max(1).to_string()], b"").await.map(drop)
    }
}

fn list(output: &str) -> Result<RunList, RunError> {
    let mut list = RunList::default();
    for line in output.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match (words.as_slice(), list.runs.last_mut()) {
            (["run", run, live, bytes], _) => {
                let number = |word: &str| word.parse().map_err(|_| unexpected(line));
                let (run, bytes) = (number(run)?, number(bytes)?);
                list.runs.push(RunSummary { run, bytes, live: *live == "live", ..RunSummary::default() });
            }
            (["more", before], _) => list.before = before.parse().ok(),
            (_, Some(summary)) => {
                // A line that was cut says nothing.
                if let Ok(line) = serde_json::from_str::<Line>(line) {
                    add(summary, line);
                }
            }
            (_, None) => {}
        }
    }
    Ok(list)
}

fn add(summary: &mut RunSummary, line: Line) {
    let milliseconds = line.at.map(|seconds| seconds * 1000);
    match line.kind.as_str() {
        "catalyst_start" => {
            summary.mode = line.permissions.or(line.mode);
            summary.started_at = milliseconds;
        }
        "catalyst_exit" => {
            (summary.code, summary.reason, summary.ended_at) = (line.code, line.reason, milliseconds);
        }
        "result" => {
            let usage = line.usage.unwrap_or_default();
            summary.turns += 1;
            summary.duration_ms += line.duration_ms.unwrap_or(0.0).max(0.0) as u64;
            // The CLI counts the cost up; the tokens are each turn's own.
            summary.cost_usd = line.total_cost_usd.unwrap_or(summary.cost_usd);
            summary.input_tokens +=
                usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens;
            summary.output_tokens += usage.output_tokens;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_by_its_first_line_its_results_and_its_last() {
        let output = r#"run 3 live 120
{"type":"catalyst_start","mode":"build","permissions":"ask","at":100}

{"type":"result","duration_ms":5,"total_cost_usd":0.5,"usage":{"input_tokens":1,"cache_read_input_tokens":2,"output_tokens":3}}
{"type":"result","duration_ms":6,"total_cost_usd":0.75,"usage":{"input_tokens":1,"output_tokens":1}}
run 2 over 50
{"type":"catalyst_start","mode":"chat"}
{"type":"catalyst_exit","code":143,"reason":"stopped","at":200,"stderr":""}
run 1 over 0
more 1
"#;
        let told = list(output).unwrap();
        let third = RunSummary {
            run: 3,
            live: true,
            mode: Some("ask".into()),
            started_at: Some(100_000),
            turns: 2,
            cost_usd: 0.75,
            duration_ms: 11,
            input_tokens: 4,
            output_tokens: 4,
            bytes: 120,
            ..RunSummary::default()
        };
        let second = RunSummary {
            run: 2,
            mode: Some("chat".into()),
            ended_at: Some(200_000),
            code: Some(143),
            reason: Some("stopped".into()),
            bytes: 50,
            ..RunSummary::default()
        };
        assert_eq!(told.runs, [third, second, RunSummary { run: 1, ..RunSummary::default() }]);
        assert_eq!(told.before, Some(1));
        assert!(list("run x over 1\n").is_err());
    }
}
