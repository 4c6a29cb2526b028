//! The health check for Argo CD, run by the Lua interpreter that Argo CD itself uses.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use catalyst_operator::reason::{Reason, Severity};
use catalyst_operator::status::{Facts, Verdict, status};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

/// Argo CD's interpreter.
const INTERPRETER: &str = "github.com/yuin/gopher-lua/cmd/glua@v1.1.1";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/argocd")
}

/// An object, and the health and message that are expected of it; `None`: any message.
struct Case {
    what: String,
    object: Value,
    health: String,
    message: Option<String>,
}

#[test]
fn argo_cd_takes_every_reason_for_what_it_is() {
    let text = std::fs::read_to_string(folder().join("health_test.yaml")).unwrap();
    let tests: Value = serde_yaml::from_str(&text).unwrap();
    let mut cases: Vec<Case> = tests["tests"].as_array().unwrap().iter().map(written_case).collect();
    assert_eq!(cases.len(), std::fs::read_dir(folder().join("testdata")).unwrap().count(), "a file without a test");
    cases.extend(
        Reason::ALL.iter().filter(|reason| reason.severity() != Severity::Event).map(|reason| case_of(*reason)),
    );

    let answers = healths(&cases);
    assert_eq!(answers.len(), cases.len());
    for (case, (health, message)) in cases.iter().zip(answers) {
        assert_eq!(health, case.health, "{}: {message}", case.what);
        if let Some(expected) = &case.message {
            assert_eq!(message, *expected, "{}", case.what);
        }
    }
}

fn written_case(test: &Value) -> Case {
    let path = test["inputPath"].as_str().unwrap();
    let expected = |name: &str| test["healthStatus"][name].as_str().unwrap().to_owned();
    Case {
        what: path.to_owned(),
        object: serde_yaml::from_str(&std::fs::read_to_string(folder().join(path)).unwrap()).unwrap(),
        health: expected("status"),
        message: Some(expected("message")),
    }
}

/// The status that the operator writes for a reason.
fn case_of(reason: Reason) -> Case {
    let verdict = Verdict::new(reason, reason.title());
    let facts = Facts { generation: 7, ..Facts::default() };
    let (status, _) = status(None, &verdict, facts, Timestamp::now());
    let health = match (reason, reason.severity()) {
        (Reason::Suspended | Reason::Paused, _) => "Suspended",
        (_, Severity::Stalled) => "Degraded",
        (_, Severity::Reconciling) => "Progressing",
        (_, Severity::Warning | Severity::Ready | Severity::Event) => "Healthy",
    };
    Case {
        what: reason.to_string(),
        object: json!({"metadata": {"name": "x", "generation": 7}, "status": status}),
        health: health.to_owned(),
        message: None,
    }
}

/// Health and message of each case, all by one run of the interpreter.
fn healths(cases: &[Case]) -> Vec<(String, String)> {
    let mut script = String::new();
    let check = folder().join("health.lua");
    for case in cases {
        let _ = writeln!(script, "obj = {}", lua(&case.object));
        let _ = writeln!(script, "hs = dofile({:?})\nprint(hs.status)\nprint(hs.message)", check.to_str().unwrap());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let output = Command::new("go").args(["run", INTERPRETER]).arg(file.path()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = told.lines().collect();
    lines.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| format!("[{name:?}] = {}", lua(member)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
        other => other.to_string(),
    }
}
