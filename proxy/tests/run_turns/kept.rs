//! What is kept beside a log of the turns in it: whatever becomes of that, whoever pages back sees what the log says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Frame, IdeaRef, Runs};

use crate::machine::SmallDisk;
use crate::stage::{Stage, is_exit, until};

/// The last line of a log.
pub(crate) const EXIT: &str = "{\"type\":\"catalyst_exit\",\"code\":0,\"reason\":\"idle\",\"stderr\":\"\"}\n";

/// A log of so many turns, each with an answer of so many bytes, and each for the price of 1.
pub(crate) fn turns_of(count: usize, bytes: usize) -> String {
    let mut log = String::from("{\"type\":\"catalyst_start\",\"mode\":\"chat\"}\n");
    for turn in 0..count {
        let text = format!("turn {turn} {}", "x".repeat(bytes));
        let lines = [
            format!(r#"{{"type":"catalyst_turn","id":"m-{turn}","mode":"chat","text":"do {turn}"}}"#),
            r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#.to_owned(),
            r#"{"type":"user","message":{"role":"user","content":[]},"isReplay":true}"#.to_owned(),
            format!(
                r#"{{"type":"assistant","message":{{"id":"msg-{turn}","content":[{{"type":"text","text":"{text}"}}]}}}}"#
            ),
            format!(
                r#"{{"type":"result","subtype":"success","result":"done","session_id":"s","total_cost_usd":{}}}"#,
                turn + 1
            ),
        ];
        lines.iter().for_each(|line| writeln!(log, "{line}").unwrap());
    }
    log
}

/// Lines that are no turns.
fn others(count: usize) -> String {
    format!("{{\"type\":\"something_new\",\"text\":\"{}\"}}\n", "y".repeat(1000)).repeat(count)
}

/// All frames of an idea whose run is over, as who comes late sees them, and in how many pages.
pub(crate) async fn all_of(runs: &Arc<Runs>, idea: &IdeaRef) -> (Vec<Arc<Frame>>, usize) {
    let mut viewer = runs.subscribe(idea, None).await.unwrap();
    let mut shown = until(&mut viewer, is_exit).await;
    let (mut before, mut pages) = (viewer.start.before, 0);
    while let Some(at) = before {
        let page = runs.page(idea, at).await.unwrap();
        shown.splice(0..0, page.frames);
        (before, pages) = (page.before, pages + 1);
    }
    (shown, pages)
}

/// Each turn is there, with its own cost, wherever it was read from.
pub(crate) fn assert_has_turns(shown: &[Arc<Frame>], count: usize) {
    let asked =
        |frame: &Arc<Frame>| if let Event::User { text, .. } = &frame.event { Some(text.clone()) } else { None };
    let cost = |frame: &Arc<Frame>| if let Event::Result(turn) = &frame.event { Some(turn.cost_usd) } else { None };
    let turns: Vec<String> = shown.iter().filter_map(asked).collect();
    assert_eq!(turns, (0..count).map(|turn| format!("do {turn}")).collect::<Vec<_>>());
    let costs: Vec<f64> = shown.iter().filter_map(cost).collect();
    assert_eq!(costs, vec![1.0; count]);
}

fn kept(stage: &Stage) -> PathBuf {
    stage.log(1).with_file_name(".turns")
}

/// A log of one run, which is over.
pub(crate) fn write_log(stage: &Stage, log: &str) {
    std::fs::create_dir_all(stage.log(1).parent().unwrap()).unwrap();
    std::fs::write(stage.log(1), log).unwrap();
}

#[tokio::test]
async fn a_disk_that_is_full_while_turns_are_kept_leaves_nothing_wrong() {
    // Busybox's grep tells no places: nothing is kept there.
    for shell in ["dash", "bash"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let disk = SmallDisk::under(stage.sshd.home().join("ideas"));
        let log = turns_of(90, 10_000);
        write_log(&stage, &(log.clone() + EXIT));
        let (shown, _) = all_of(&stage.replica(), &stage.idea).await;
        assert_has_turns(&shown, 90);
        let before = std::fs::read_to_string(kept(&stage)).unwrap();
        assert!(before.len() > 2 * 4096, "{} bytes are no more than what is left below", before.len());
        // It goes on, and there is room for some of what is kept but not for all of it.
        write_log(&stage, &(log + &others(300) + EXIT));
        let filling = disk.fill();
        let full = std::fs::metadata(&filling).unwrap().len();
        std::fs::File::options().write(true).open(&filling).unwrap().set_len((full - 1) / 4096 * 4096 - 4096).unwrap();
        let (shown, _) = all_of(&stage.replica(), &stage.idea).await;
        assert_has_turns(&shown, 90);
        assert_eq!(std::fs::read_to_string(kept(&stage)).unwrap(), before, "{shell}");
        let left = std::fs::read_dir(stage.log(1).parent().unwrap()).unwrap().count();
        assert_eq!(left, 2, "{shell}: what was not written whole stays there");
        std::fs::remove_file(filling).unwrap();
        let (shown, _) = all_of(&stage.replica(), &stage.idea).await;
        assert_has_turns(&shown, 90);
        assert_ne!(std::fs::read_to_string(kept(&stage)).unwrap(), before, "{shell}: nothing is kept any more");
    }
}

#[tokio::test]
async fn what_is_kept_of_turns_counts_only_if_it_is_whole_and_of_this_log() {
    let stage = Stage::new().await;
    let log = turns_of(60, 10_000) + &others(300) + EXIT;
    write_log(&stage, &log);
    all_of(&stage.replica(), &stage.idea).await;
    let whole = std::fs::read_to_string(kept(&stage)).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let (first, last) = (lines[0], lines.last().unwrap());
    assert!(lines.len() > 100, "{whole}");
    let of_another_log = format!("{first}\n17 {{\"type\":\"result\",\"total_cost_usd\":7}}\n{last}\n");
    let beyond = whole.replace(first, &log.len().saturating_add(1).to_string());
    // One that ends within a line: it was of a log that is not there any more.
    let within = of_another_log.replace(first, &(first.parse::<usize>().unwrap() - 1).to_string());
    for (what, damaged) in [
        ("nothing", String::new()),
        ("its beginning", whole[..whole.len() / 2].to_owned()),
        ("all but its end", lines[..lines.len() - 1].join("\n") + "\n"),
        ("as it was kept before", lines[..20].join("\n") + "\n"),
        ("zeros", "\0".repeat(whole.len())),
        ("of a longer log", beyond),
        ("of another log", within),
    ] {
        std::fs::write(kept(&stage), damaged).unwrap();
        let (shown, _) = all_of(&stage.replica(), &stage.idea).await;
        assert_has_turns(&shown, 60);
        assert_eq!(std::fs::read_to_string(kept(&stage)).unwrap(), whole, "{what}");
    }
}
