//! Short messages into runs that are there: the shell on the VM that stays brings them, and may die at any moment.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use catalyst_proxy::agent::{Event, input};
use catalyst_proxy::run::{Mode, Prompt, Runs, Subscription};

use crate::stage::{Stage, bodies, eventually, text, until, until_results};
use crate::{SHELLS, lives};

#[tokio::test]
async fn a_short_message_into_a_live_run_is_carried_without_a_command_of_its_own_and_once() {
    for shell in SHELLS {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        let id = until_carried(&stage, &runs, &mut viewer, "short $(id) 'it'").await;
        // Again, by this replica and another: it is there already.
        for replica in [&runs, &stage.replica()] {
            assert_eq!(replica.send(&stage.idea, Mode::Chat, "short", Some(&id)).await.unwrap().run, 1, "{shell}");
        }
        // What is not for this run, or too long to be read byte by byte, goes the other way.
        let long = format!("size {}", "x".repeat(20_000));
        runs.send(&stage.idea, Mode::Chat, &long, Some("m-long")).await.unwrap();
        until_results(&mut viewer, 1).await;
        assert!(!carried(&stage, "m-long"), "{shell}");
        assert_eq!(runs.send(&stage.idea, Mode::Build, "build", Some("m-build")).await.unwrap().run, 2, "{shell}");
        until(&mut viewer, |frame| frame.run == 2 && matches!(frame.event, Event::Result(_))).await;
        assert_eq!((stage.delivered(&id), stage.delivered("m-build")), (1, 1), "{shell}");
        let left = std::fs::read_dir(stage.message("m-build").join("../../inbox")).unwrap().count();
        assert_eq!(left, 0, "{shell}");
    }
}

/// Whether the shell that stays brought a message: it is named as its carrier.
fn carried(stage: &Stage, id: &str) -> bool {
    let Ok(carrier) = std::fs::read(stage.message(id).join("carrier")) else { return false };
    let state = std::fs::read_dir(stage.sshd.home().join(".local/state/catalyst")).unwrap().flatten();
    let mut couriers = state.filter(|entry| entry.file_name().to_string_lossy().starts_with("courier."));
    couriers.any(|courier| std::fs::read(courier.path()).unwrap() == carrier)
}

#[tokio::test]
async fn who_looks_has_the_shell_that_stays_for_the_first_message_and_another_when_it_dies() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    let mut first = 0;
    while !carried(&stage, &format!("m-{first}")) {
        // Where the machine is so slow that the message came before the proxy has heard of the shell.
        first += 1;
        assert!(first < 10, "no first message is carried");
        let known = couriers(&stage);
        let other = stage.replica();
        let _looks = other.subscribe(&stage.idea, None).await.unwrap();
        eventually("there is a shell for who looks", || couriers(&stage).iter().any(|pid| !known.contains(pid))).await;
        other.allowances(&stage.idea).await.unwrap();
        let id = format!("m-{first}");
        assert_eq!(other.send(&stage.idea, Mode::Chat, "first", Some(&id)).await.unwrap().run, 1);
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: first");
    }
    // The shells of others are gone with them, some time.
    until_carried(&stage, &runs, &mut viewer, "short").await;
    let known = couriers(&stage);
    for pid in &known {
        let _gone = std::process::Command::new("kill").args(["-KILL", pid]).status().unwrap();
    }
    eventually("the shells are gone", || known.iter().all(|pid| !lives(pid.parse().unwrap()))).await;
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "slow", Some("m-slow")).await.unwrap().run, 1);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: slow");
    eventually("there is another", || couriers(&stage).iter().any(|pid| !known.contains(pid))).await;
}

/// Sends the words until the shell that stays, which comes up beside the first messages, brings them; that message's id.
async fn until_carried(stage: &Stage, runs: &Arc<Runs>, viewer: &mut Subscription, words: &str) -> String {
    for number in 0..50 {
        let id = format!("m-{number}");
        assert_eq!(runs.send(&stage.idea, Mode::Chat, words, Some(&id)).await.unwrap().run, 1);
        assert_eq!(text(&until_results(viewer, 1).await), format!("you said: {words}"));
        if carried(stage, &id) {
            return id;
        }
    }
    panic!("the shell that stays carries nothing");
}

/// Puts a script before a program of the VM: shell code that has the program as `$real`.
pub(crate) fn before(stage: &Stage, program: &str, code: &str) {
    let (script, path) = (format!("#!/bin/sh\nreal=/bin/{program}\n{code}\n"), stage.bin.path().join(program));
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_short_message_into_a_live_run_costs_four_processes() {
    for shell in ["dash", "bash"] {
        let stage = Stage::with_shell(shell, &[]).await;
        // Before anything runs: shells remember where programs are.
        let made = stage.bin.path().join("made");
        let programs = [
            "cat", "cp", "cut", "date", "dd", "grep", "head", "ln", "ls", "mkdir", "mv", "rm", "sed", "sleep", "tail",
            "touch", "tr", "wc",
        ];
        for program in programs {
            before(&stage, program, &format!("echo $PPID {program} >>{}\nexec $real \"$@\"", made.display()));
        }
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        until_carried(&stage, &runs, &mut viewer, "short").await;
        // Of those two; others go on beside the run.
        let (courier, feeder) = (courier(&stage), feeder(&stage));
        let ours = || -> Vec<String> {
            let made = std::fs::read_to_string(&made).unwrap();
            let of = made.lines().filter_map(|line| line.split_once(' '));
            of.filter(|(by, _)| [&courier, &feeder].contains(&&by.to_string()))
                .map(|(_, program)| program.to_owned())
                .collect()
        };
        let is_clear = || ours().last().is_some_and(|last: &String| last == "rm");
        eventually("what came before is cleared away", is_clear).await;
        std::fs::write(&made, "").unwrap();
        // Every byte that the shells use inside, too.
        let words = "Ё łąę \u{81}\u{88} $(id) 'it' %s \\ \u{1f980}";
        runs.send(&stage.idea, Mode::Chat, words, Some("m-x")).await.unwrap();
        assert_eq!(
            text(&until_results(&mut viewer, 1).await),
            format!("you said: {}", words.replace('\\', "")),
            "{shell}"
        );
        assert!(carried(&stage, "m-x"), "{shell}");
        eventually("the feeder has cleared away", is_clear).await;
        assert_eq!(ours(), ["mkdir", "ln", "tail", "rm"], "{shell}");
    }
}

#[tokio::test]
async fn a_message_whose_courier_dies_in_the_midst_of_it_is_delivered_once() {
    // Busybox has programs of its own, which nothing can be put before.
    for (shell, program, done) in [
        ("dash", "mkdir", false),
        ("dash", "mkdir", true),
        ("dash", "ln", false),
        ("dash", "ln", true),
        ("bash", "mkdir", true),
        ("bash", "ln", true),
    ] {
        let case = format!("{shell} {program} {done}");
        let stage = Stage::with_shell(shell, &[]).await;
        let died = stage.bin.path().join("died");
        let first = if done { "$real \"$@\"" } else { ":" };
        let dies = format!("/bin/mkdir {} && {{ {first}; kill -KILL $PPID; exit; }}", died.display());
        let code = format!("case $1:$2 in */m-x: | *:*/m-x/carrier) {dies} ;; esac\nexec $real \"$@\"");
        before(&stage, program, &code);
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        until_carried(&stage, &runs, &mut viewer, "short").await;
        let sent = runs.send(&stage.idea, Mode::Chat, "once", Some("m-x")).await.unwrap();
        assert!(died.exists(), "{case}: the courier lives");
        assert_eq!(sent.run, 1, "{case}");
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: once", "{case}");
        delivered_once(&stage, &runs, &mut viewer, &case).await;
    }
}

/// What else was queued has come by the end of another message; the one was delivered once and nothing of it is left.
async fn delivered_once(stage: &Stage, runs: &Arc<Runs>, viewer: &mut Subscription, case: &str) {
    runs.send(&stage.idea, Mode::Chat, "and then", None).await.unwrap();
    assert_eq!(text(&until_results(viewer, 1).await), "you said: and then", "{case}");
    assert_eq!(stage.delivered("m-x"), 1, "{case}");
    for folder in
        [stage.message("m-x").join("../../inbox"), stage.control(1).join("brief"), stage.control(1).join("spool")]
    {
        let left = || std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
        eventually(&format!("{case}: {} is empty", folder.display()), || left().is_empty()).await;
    }
}

/// A message as a courier leaves it that died with it.
pub(crate) fn left_by_a_courier(stage: &Stage, words: &str, part: bool) {
    std::fs::create_dir_all(stage.message("m-x")).unwrap();
    std::fs::write(stage.message("m-x").join("carrier"), "another-boot 1 1\n").unwrap();
    let lines = input::turn("m-x", &Prompt::new(Mode::Chat, words));
    let (turn, said) = lines.trim_end().split_once('\n').unwrap();
    let brief = if part { said.to_owned() } else { format!("{said}\n{turn}\n") };
    std::fs::write(stage.control(1).join("brief/m-x"), brief).unwrap();
}

#[tokio::test]
async fn what_a_courier_left_that_died_is_taken_if_it_is_whole_and_once() {
    for shell in SHELLS {
        for (case, part, told) in
            [("a part of it", true, false), ("all, and nobody was told", false, false), ("all, and told", false, true)]
        {
            let case = format!("{shell}: {case}");
            let stage = Stage::with_shell(shell, &[]).await;
            let runs = stage.replica();
            let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
            runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
            until_results(&mut viewer, 1).await;
            left_by_a_courier(&stage, "once", part);
            if told {
                tell_the_feeder(&stage, "m-x");
            }
            assert_eq!(runs.send(&stage.idea, Mode::Chat, "once", Some("m-x")).await.unwrap().run, 1, "{case}");
            assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: once", "{case}");
            delivered_once(&stage, &runs, &mut viewer, &case).await;
        }
    }
}

/// The shell that stays.
fn courier(stage: &Stage) -> String {
    couriers(stage).pop().unwrap()
}

/// Those of all replicas.
fn couriers(stage: &Stage) -> Vec<String> {
    let state = std::fs::read_dir(stage.sshd.home().join(".local/state/catalyst")).unwrap().flatten();
    let names = state.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_prefix("courier.").filter(|pid| !pid.contains('.')).map(str::to_owned)).collect()
}

/// Puts a word before the feeder of run 1.
pub(crate) fn tell_the_feeder(stage: &Stage, word: &str) {
    let mut told = std::fs::OpenOptions::new().write(true).open(stage.control(1).join("ctl")).unwrap();
    told.write_all(format!("{word}\n").as_bytes()).unwrap();
}

/// The process of run 1 that hands messages over: it alone of the supervisor's children holds claude's input open.
pub(crate) fn feeder(stage: &Stage) -> String {
    let supervisor = stage.supervisor(1).to_string();
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    let feeds = |child: &&str| std::fs::read_link(format!("/proc/{child}/fd/4")).is_ok_and(|to| to.ends_with("in"));
    children.split_whitespace().find(feeds).unwrap().to_owned()
}

#[tokio::test]
async fn a_message_that_the_closing_run_has_not_taken_is_withdrawn_and_goes_to_the_next() {
    for shell in ["dash", "bash"] {
        let stage = Stage::with_shell(shell, &[]).await;
        // The run closes after the courier has looked, and its feeder does not come to take anything.
        let (named, closed) = (stage.bin.path().join("feeder"), stage.control(1).join("closed"));
        let closes = format!("kill -STOP $(/bin/cat {}); /bin/mkdir {}", named.display(), closed.display());
        before(
            &stage,
            "ln",
            &format!("$real \"$@\" || exit\ncase $2 in */m-x/carrier) {closes} 2>/dev/null ;; esac; :"),
        );
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        until_carried(&stage, &runs, &mut viewer, "short").await;
        let feeder = feeder(&stage);
        std::fs::write(&named, &feeder).unwrap();
        assert_eq!(runs.send(&stage.idea, Mode::Chat, "once", Some("m-x")).await.unwrap().run, 2, "{shell}");
        assert_eq!(std::fs::read_dir(stage.control(1).join("brief")).unwrap().count(), 0, "{shell}");
        tell_the_feeder(&stage, "close");
        assert!(std::process::Command::new("kill").args(["-CONT", &feeder]).status().unwrap().success());
        let frames = until(&mut viewer, |frame| frame.run == 2 && matches!(frame.event, Event::Result(_))).await;
        assert!(text(&frames).ends_with("you said: once"), "{shell}: {:#?}", bodies(&frames));
        assert_eq!(stage.delivered("m-x"), 1, "{shell}");
    }
}
