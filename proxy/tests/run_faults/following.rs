//! How a replica hears of runs: the index, a log that is followed by a process on the VM, one that is read in turns.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use catalyst_proxy::agent::Event;
use catalyst_proxy::remote::Remote;
use catalyst_proxy::run::{IdeaRef, Mode, Position, RunObserver, Runs};
use catalyst_ssh::{Lane, Output, Pool, PoolLimits};

use crate::stage::{Stage, WAIT, assert_in_order, eventually, is_exit, text, ticks, until, until_results};
use crate::{has_text, kill};

#[tokio::test]
async fn a_replica_that_hears_nothing_of_the_index_still_finds_the_runs() {
    let stage = Stage::new().await;
    let state = stage.sshd.home().join(".local/state/catalyst");
    std::fs::create_dir_all(&state).unwrap();
    // Whatever is announced is lost.
    std::os::unix::fs::symlink("/dev/null", state.join("index")).unwrap();
    let (one, two) = (stage.replica(), stage.replica());
    let mut there = two.subscribe(&stage.idea, None).await.unwrap();
    one.send(&stage.idea, Mode::Chat, "first", None).await.unwrap();
    // Somebody else who comes tells the replica.
    let _other = two.subscribe(&stage.idea, None).await.unwrap();
    assert_eq!(text(&until_results(&mut there, 1).await), "you said: first");
    // Nobody comes: it asks by itself after a while.
    assert_eq!(one.send(&stage.idea, Mode::Build, "second", None).await.unwrap().run, 2);
    until(&mut there, is_exit).await;
    let frame = tokio::time::timeout(2 * WAIT, there.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.run, 2);
    assert_eq!(text(&until_results(&mut there, 1).await), "you said: second");
}

#[tokio::test]
async fn following_a_silent_log_writes_so_that_a_dead_connection_shows() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[("CATALYST_HEARTBEAT", "1")]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        let pool = Pool::new(stage.sshd.source(), PoolLimits::default());
        let end = std::fs::metadata(stage.log(1)).unwrap().len();
        let folder = stage.sshd.home().join("ideas/an-idea");
        let command =
            format!("sh ~/.local/state/catalyst/bin/*.sh follow {} {} 1 {end}", stage.idea.id, folder.display());
        let mut following = pool.exec(Lane::Interactive, &command).await.unwrap();
        for _ in 0..2 {
            let beat = tokio::time::timeout(WAIT, following.next()).await.unwrap();
            assert!(matches!(beat, Some(Output::Stderr(_))), "{shell}: {beat:?}");
        }
        let ours = format!("{}\0{}\0{}", stage.idea.id, folder.display(), 1);
        let followers = || {
            std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&ours)
            })
        };
        assert!(followers().count() > 0, "{shell}");
        drop(following);
        drop(viewer);
        runs.shut_down();
        eventually("nothing follows any more", || followers().count() == 0).await;
    }
}

/// Breaks at the end of the first turn.
#[derive(Default)]
struct Breaks(AtomicBool);

impl RunObserver for Breaks {
    fn session_started(&self, _: &IdeaRef, _: &str) {}

    fn turn_ended(&self, _: &IdeaRef, _: Mode, _: bool) {
        assert!(self.0.swap(true, Ordering::Relaxed), "broken on purpose");
    }
}

#[tokio::test]
async fn a_follower_that_breaks_ends_its_viewers_and_the_next_get_another() {
    let stage = Stage::new().await;
    let pool = Pool::new(stage.sshd.source(), PoolLimits::default());
    let runs = Runs::new(Remote::new(pool, "~/ideas"), stage.settings.clone(), Arc::new(Breaks::default()));
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let all = async {
        let mut frames = Vec::new();
        while let Some(frame) = viewer.next().await {
            frames.push(frame.unwrap());
        }
        frames
    };
    let mut frames = tokio::time::timeout(WAIT, all).await.expect("its viewers wait for ever");
    let beginning = Position { run: 1, seq: "0.0".parse().unwrap() };
    let after = frames.last().map_or(beginning, |frame| frame.position());
    let mut viewer = runs.subscribe(&stage.idea, Some(after)).await.unwrap();
    frames.extend(until_results(&mut viewer, 1).await);
    assert_in_order(&frames);
    assert_eq!(text(&frames), "you said: hello");
}

#[tokio::test]
async fn runs_beyond_the_channels_for_following_lose_nothing_either() {
    let stage = Stage::new().await;
    // One connection: two of its channels follow, the third run is read through a shared one.
    let limits = PoolLimits { interactive_connections: 1, ..PoolLimits::default() };
    let remote = Remote::new(Pool::new(stage.sshd.source(), limits), "~/ideas");
    let runs = Runs::new(remote, stage.settings.clone(), stage.observed.clone());
    let mut others = Vec::new();
    for name in ["first", "second"] {
        let idea = IdeaRef { id: uuid::Uuid::new_v4().to_string(), slug: name.to_owned(), session_id: None };
        std::fs::create_dir_all(stage.sshd.home().join("ideas").join(name)).unwrap();
        let mut viewer = runs.subscribe(&idea, None).await.unwrap();
        runs.send(&idea, Mode::Chat, "ticks 1000 0.1", None).await.unwrap();
        until(&mut viewer, has_text).await;
        others.push(idea);
    }
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "flood 20000", None).await.unwrap();
    let flood = until_results(&mut viewer, 1).await;
    assert_eq!(text(&flood), (0..20_000).map(|n| format!("{n} ")).collect::<String>());
    stage.assert_said_by_the_log(1, &flood);
    // That a silent run's supervisor is gone, nobody tells: it has to be asked.
    kill(stage.supervisor(1), "-KILL");
    let frames = until(&mut viewer, is_exit).await;
    assert!(matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "lost"));
    runs.send(&stage.idea, Mode::Chat, "ticks 60 0.05", None).await.unwrap();
    let mut frames = until(&mut viewer, has_text).await;
    eventually("a session is there to be killed", || stage.sshd.kill_sessions() > 0).await;
    frames.extend(until_results(&mut viewer, 1).await);
    assert_eq!(text(&frames), ticks(60));
    stage.assert_said_by_the_log(2, &frames);
    drop(viewer);
    for idea in &others {
        runs.end(idea).await.unwrap();
    }
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn a_log_that_says_something_gets_the_channel_of_one_that_says_nothing() {
    let stage = Stage::new().await;
    // As above: two channels follow, and both have a run that waits for a message.
    let limits = PoolLimits { interactive_connections: 1, ..PoolLimits::default() };
    let remote = Remote::new(Pool::new(stage.sshd.source(), limits), "~/ideas");
    let runs = Runs::new(remote, stage.settings.clone(), stage.observed.clone());
    let mut idle = Vec::new();
    for name in ["first", "second"] {
        let idea = IdeaRef { id: uuid::Uuid::new_v4().to_string(), slug: name.to_owned(), session_id: None };
        std::fs::create_dir_all(stage.sshd.home().join("ideas").join(name)).unwrap();
        let mut viewer = runs.subscribe(&idea, None).await.unwrap();
        runs.send(&idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        idle.push((idea, viewer));
    }
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 2000 0.1", None).await.unwrap();
    let mut frames = until(&mut viewer, has_text).await;
    let log = stage.log(1).display().to_string();
    let follows =
        |command: &String| command.starts_with("tail\0") && command.contains(&log) && command.contains("\0-f\0");
    eventually("its log is followed", || stage.left().iter().any(follows)).await;
    runs.stop(&stage.idea).await.unwrap();
    frames.extend(until_results(&mut viewer, 1).await);
    stage.assert_said_by_the_log(1, &frames);
    // One of those is read in turns now.
    for (idea, viewer) in &mut idle {
        runs.send(idea, Mode::Chat, "again", None).await.unwrap();
        assert_eq!(text(&until_results(viewer, 1).await), "you said: again");
    }
    drop(viewer);
    for (idea, viewer) in idle {
        drop(viewer);
        runs.end(&idea).await.unwrap();
    }
    stage.assert_leaves_nothing(runs).await;
}

/// Our part on the VM, which is there once something was asked of it.
fn program(stage: &Stage) -> PathBuf {
    let delivered = std::fs::read_dir(stage.sshd.home().join(".local/state/catalyst/bin")).unwrap();
    delivered.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|is| is == "sh")).unwrap()
}

/// In a world of process numbers of its own, where the next one can be chosen: a follower's shell is killed, and the follower's number
/// becomes another process's.
const NUMBER_IS_ANOTHERS: &str = r#"
cd "$HOME" && mkfifo in err || exit
CATALYST_HEARTBEAT=1 "$1" "$2" index end <in >/dev/null 2>err &
shell=$!
exec 8>in 9<err
# Its heart beats, so all of it is there.
read -r beat <&9
follower=$(pgrep -P $shell -x tail) || exit
kill -KILL $shell
exec 8>&-
while [ -e /proc/$follower ]; do sleep 0.05; done
another=
until [ "$another" = "$follower" ]; do
  [ -z "$another" ] || kill -KILL $another
  echo $((follower - 1)) >/proc/sys/kernel/ns_last_pid || exit
  sleep 1000 9<&- &
  another=$!
done
# Now the heart hears that nobody is there.
exec 9<&-
while pgrep -f "$2 index" >/dev/null; do sleep 0.05; done
grep '^State:' /proc/$another/status | grep -qv Z && echo lives
"#;

#[tokio::test]
async fn what_is_left_of_a_killed_follower_ends_no_process_that_has_its_number_now() {
    for shell in ["dash", "bash"] {
        let stage = Stage::new().await;
        stage.replica().allowances(&stage.idea).await.unwrap();
        let mut world = tokio::process::Command::new("unshare");
        world.args(["--pid", "--fork", "--kill-child", "--mount-proc", shell, "-c", NUMBER_IS_ANOTHERS, shell, shell]);
        world.arg(program(&stage)).env("HOME", stage.sshd.home()).kill_on_drop(true);
        let said = tokio::time::timeout(WAIT, world.output()).await.expect("it does not end").unwrap();
        let [out, err] = [said.stdout, said.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert_eq!(out, "lives\n", "{shell}: {err}");
    }
}

#[tokio::test]
async fn a_run_of_which_the_kernel_cannot_tell_is_not_taken_for_dead() {
    for shell in ["dash", "bash", "busybox sh"] {
        let stage = Stage::new().await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        // In a world of mounts of its own, where the boot's id cannot be read.
        let without = format!("mount --bind /dev/null /proc/sys/kernel/random/boot_id && exec {shell} \"$@\"");
        let state = Command::new("unshare")
            .args(["--mount", "sh", "-c", &without, "sh"])
            .arg(program(&stage))
            .args(["state", &stage.idea.id])
            .arg(stage.sshd.home().join("ideas/an-idea"))
            .env("HOME", stage.sshd.home())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&state.stdout).into_owned();
        assert!(said.starts_with("run 1 live chat "), "{shell}: {said} {}", String::from_utf8_lossy(&state.stderr));
        assert_eq!(runs.send(&stage.idea, Mode::Chat, "and then", None).await.unwrap().run, 1, "{shell}");
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: and then", "{shell}");
        drop(viewer);
        stage.assert_leaves_nothing(runs).await;
    }
}
