//! What the real CLI asks, and what it makes of each kind of answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalyst_proxy::agent::{Decision, Event};
use catalyst_proxy::run::{Answer, Frame, Mode, Permissions, Position, Prompt, RunError, Runs, Subscription};

use crate::real;
use crate::stage::{Stage, bodies, eventually, text, until, until_results};

struct Asked {
    request: String,
    name: String,
    always: Vec<String>,
}

async fn asked(viewer: &mut Subscription) -> Asked {
    let frames = until(viewer, |frame| matches!(frame.event, Event::Permission { .. })).await;
    let Event::Permission { request_id, name, always, .. } = &frames.last().unwrap().event else { unreachable!() };
    Asked { request: request_id.clone(), name: name.clone(), always: always.clone() }
}

/// The rest of a turn in which nothing is asked.
async fn unasked(viewer: &mut Subscription) -> Vec<Arc<Frame>> {
    let frames = until_results(viewer, 1).await;
    let asks = frames.iter().any(|frame| matches!(frame.event, Event::Permission { .. }));
    assert!(!asks, "{:#?}", bodies(&frames));
    frames
}

async fn build(runs: &Arc<Runs>, stage: &Stage, permissions: Permissions, text: &str) -> u64 {
    let prompt = Prompt { permissions, ..Prompt::new(Mode::Build, text) };
    runs.send_prompt(&stage.idea, prompt, None).await.unwrap().run
}

fn project(stage: &Stage, file: &str) -> std::path::PathBuf {
    stage.sshd.home().join("ideas/an-idea/project").join(file)
}

#[tokio::test]
async fn what_is_allowed_for_good_is_not_asked_again_until_it_is_revoked() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    // What a rule has to be escaped for.
    let command = r#"BASH dash -c "echo '(a)\t' >>made.txt""#;
    let lines = || std::fs::read_to_string(project(&stage, "made.txt")).unwrap_or_default().lines().count();
    build(&runs, &stage, Permissions::AcceptEdits, command).await;
    let first = asked(&mut viewer).await;
    assert!(first.always.iter().all(|rule| rule.starts_with("Bash(dash -c")), "{:?}", first.always);
    assert_eq!(runs.allowances(&stage.idea).await.unwrap(), [""; 0]);
    runs.answer(&stage.idea, &first.request, Answer::Always).await.unwrap();
    until_results(&mut viewer, 1).await;
    // Whoever comes later reads in the log how it was answered.
    let beginning = Position { run: 1, seq: "0.0".parse().unwrap() };
    let mut late = stage.replica().subscribe(&stage.idea, Some(beginning)).await.unwrap();
    let frames = until_results(&mut late, 1).await;
    let allowed =
        |frame: &Frame| matches!(frame.event, Event::PermissionClosed { decision: Some(Decision::Allow), .. });
    assert!(frames.iter().any(|frame| allowed(frame)), "{:#?}", bodies(&frames));
    assert_eq!(runs.allowances(&stage.idea).await.unwrap(), first.always);

    assert_eq!(build(&runs, &stage, Permissions::AcceptEdits, command).await, 1);
    unasked(&mut viewer).await;
    runs.end(&stage.idea).await.unwrap();
    assert_eq!(build(&runs, &stage, Permissions::AcceptEdits, command).await, 2, "another process");
    let frames = unasked(&mut viewer).await;
    assert_eq!(lines(), 3, "{:#?}", bodies(&frames));
    // The rule is for that command alone.
    build(&runs, &stage, Permissions::AcceptEdits, "BASH dash -c \"touch other\"").await;
    let other = asked(&mut viewer).await;
    runs.answer(&stage.idea, &other.request, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;

    // Nor can the agent give itself a rule: where they are kept, it has to ask like everywhere beside the project.
    let kept = stage.control(1).join("../../allowances/mine");
    build(&runs, &stage, Permissions::AcceptEdits, &format!("WRITE {} \"Bash\"", kept.display())).await;
    let own = asked(&mut viewer).await;
    assert!(own.always.is_empty(), "{:?}", own.always);
    runs.answer(&stage.idea, &own.request, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;

    for rule in &first.always {
        stage.replica().revoke(&stage.idea, rule).await.unwrap();
    }
    assert_eq!(runs.allowances(&stage.idea).await.unwrap(), [""; 0]);
    assert_eq!(build(&runs, &stage, Permissions::AcceptEdits, command).await, 3, "the process that knew it is ended");
    let again = asked(&mut viewer).await;
    runs.answer(&stage.idea, &again.request, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert_eq!(lines(), 3);
}

#[tokio::test]
async fn questions_get_the_answers_that_were_chosen() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    let option = |label: &str| serde_json::json!({"label": label, "description": label});
    let questions = serde_json::json!({"questions": [
        {"question": "Which colour?", "header": "Colour", "options": [option("Red"), option("Blue")], "multiSelect": false},
        {"question": "Which sizes?", "header": "Sizes", "options": [option("S"), option("L")], "multiSelect": true},
    ]});
    build(&runs, &stage, Permissions::AcceptEdits, &format!("TOOL AskUserQuestion {questions}\nSAY over")).await;
    let question = asked(&mut viewer).await;
    assert_eq!((question.name.as_str(), question.always.len()), ("AskUserQuestion", 0));
    let mut answers = BTreeMap::from([("Which colour?".to_owned(), "Blue".to_owned())]);
    for incomplete in [Answer::Allow, Answer::Always, Answer::Answers(answers.clone())] {
        let refused = runs.answer(&stage.idea, &question.request, incomplete).await;
        assert!(matches!(refused, Err(RunError::BadMessage(_))), "{refused:?}");
    }
    answers.insert("Which sizes?".to_owned(), "S, L".to_owned());
    runs.answer(&stage.idea, &question.request, Answer::Answers(answers)).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    let told = frames.iter().any(|frame| {
        matches!(&frame.event, Event::ToolResult { content, .. }
            if content.contains(r#""Which colour?"="Blue""#) && content.contains(r#""Which sizes?"="S, L""#))
    });
    assert!(told, "{:#?}", bodies(&frames));
}

#[tokio::test]
async fn nothing_is_changed_before_a_plan_is_approved() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    let script = "TOOL ExitPlanMode {\"plan\":\"1. Write it.\"}\nWRITE made.txt x\nSAY over";
    assert_eq!(build(&runs, &stage, Permissions::Plan, script).await, 1);
    let plan = asked(&mut viewer).await;
    assert_eq!(plan.name, "ExitPlanMode");
    runs.answer(&stage.idea, &plan.request, Answer::Deny { message: "Think again".into() }).await.unwrap();
    let write = asked(&mut viewer).await;
    assert_eq!(write.name, "Write", "still planning, so a change is asked for");
    runs.answer(&stage.idea, &write.request, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(!project(&stage, "made.txt").exists());

    assert_eq!(build(&runs, &stage, Permissions::Plan, script).await, 1);
    let plan = asked(&mut viewer).await;
    runs.answer(&stage.idea, &plan.request, Answer::Allow).await.unwrap();
    unasked(&mut viewer).await;
    assert!(project(&stage, "made.txt").exists());
    // From then on it is a process that accepts edits; planning again takes another.
    assert_eq!(build(&runs, &stage, Permissions::AcceptEdits, "SAY over").await, 1);
    until_results(&mut viewer, 1).await;
    assert_eq!(build(&runs, &stage, Permissions::Plan, "SAY over").await, 2);
    assert_eq!(text(&unasked(&mut viewer).await), "over");
}

#[tokio::test]
async fn a_build_asks_for_as_much_as_was_chosen() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    build(&runs, &stage, Permissions::Ask, "WRITE made.txt x\nSAY over").await;
    let write = asked(&mut viewer).await;
    assert_eq!((write.name.as_str(), write.always.as_slice()), ("Write", &["Edit(./**)".to_owned()][..]));
    assert!(!project(&stage, "made.txt").exists());
    runs.answer(&stage.idea, &write.request, Answer::Always).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(project(&stage, "made.txt").exists());
    build(&runs, &stage, Permissions::Ask, "WRITE more/other.txt x\nSAY over").await;
    unasked(&mut viewer).await;
    // Also in the next process; what is beside the project is still asked for.
    runs.end(&stage.idea).await.unwrap();
    build(&runs, &stage, Permissions::Ask, "WRITE third.txt x\nWRITE ../beside.txt x\nSAY over").await;
    let beside = asked(&mut viewer).await;
    assert!(project(&stage, "third.txt").exists());
    assert!(beside.always.is_empty(), "{:?}", beside.always);
    runs.answer(&stage.idea, &beside.request, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(!project(&stage, "../beside.txt").exists());

    build(&runs, &stage, Permissions::All, "BASH dash -c \"touch touched\"\nSAY over").await;
    unasked(&mut viewer).await;
    assert!(project(&stage, "touched").exists());
}

#[tokio::test]
async fn a_killed_tool_is_told_and_the_turn_goes_on() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    build(&runs, &stage, Permissions::All, "BASH dash -c 'echo $$ >pid; exec sleep 600'\nSAY over").await;
    let mut pid = String::new();
    eventually("the tool runs", || {
        pid = std::fs::read_to_string(project(&stage, "pid")).unwrap_or_default();
        pid.ends_with('\n')
    })
    .await;
    assert!(std::process::Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    let frames = unasked(&mut viewer).await;
    let failed = |frame: &Frame| matches!(frame.event, Event::ToolResult { is_error: true, .. });
    assert!(frames.iter().any(|frame| failed(frame)), "{:#?}", bodies(&frames));
    assert_eq!(text(&frames), "over");
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}
