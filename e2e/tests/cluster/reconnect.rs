//! A pod is deleted under what a person has there: a question, a terminal, an answer that two replicas show. All of it is there again, once, and
//! goes on.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use catalyst_e2e::browser::Browser;
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_e2e::seat::Seat;
use serde_json::json;

use crate::turn;

/// How long Claude may take to ask, and a replica to tell what it serves.
const SOON: Duration = Duration::from_secs(30);
const QUESTION: &str = "[data-testid='permission']";

#[tokio::test]
async fn an_approval_that_is_asked_for_while_nobody_looks_is_there_after_the_pod_was_deleted() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::ready(turn.stage, "approval", json!({})).await?;
    let secret = instance.secret().await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &secret).await?;
    browser.new_idea("Ask me first", "Nothing is done here without a yes.").await?;
    browser.click("mode-build").await?;
    browser.choose("build-mode", "ask").await?;
    browser.say("SLOW 20\nBASH sh -c 'date >asked.txt && wc -l asked.txt'").await?;
    browser.ticks_reach(1).await?;
    browser.close().await?;

    let idea = instance.folder().join("ideas/ask-me-first");
    let asked = || {
        let log = std::fs::read_to_string(idea.join("runs/1/log.jsonl"))?;
        ensure!(log.contains("can_use_tool"), "{log}");
        anyhow::Ok(())
    };
    ensure!(asked().is_err(), "it was asked while somebody looked");
    instance.replace_pods().await?;
    eventually("Claude asks", SOON, || async { asked() }).await?;

    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &secret).await?;
    browser.open_idea("ask-me-first").await?;
    browser.find("permission-allow").await?;
    browser.screenshot("9-approval-after-reconnect").await?;
    let questions = browser.count(QUESTION).await?;
    ensure!(questions == 1, "{questions} questions: {}", browser.text().await?);
    ensure!(!idea.join("project/asked.txt").exists(), "it was done before anybody allowed it");
    browser.click("permission-allow").await?;
    browser.results_reach(1).await?;
    let said = browser.said().await?;
    ensure!(said.contains("The tool answered: 1 asked.txt"), "{said}");
    let done = browser.count("[data-testid='tool-call'][data-state='done']").await?;
    ensure!((done, browser.count(QUESTION).await?) == (1, 0), "{done} done: {}", browser.text().await?);
    browser.close().await?;
    instance.delete().await
}

#[tokio::test]
async fn a_terminal_is_as_it_was_after_the_pod_was_deleted() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::ready(turn.stage, "terminal", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.new_idea("A shell to come back to", "What runs in it goes on.").await?;
    browser.click("view-terminal").await?;
    browser.terminal_is_open(true).await?;
    // What the command prints is not what was typed, and cat runs when it is seen.
    browser.type_keys("echo $((6 * 7)) is the answer; cat\n").await?;
    browser.screen_has("42 is the answer", 1).await?;
    browser.type_keys("the terminal and cat say this\n").await?;
    browser.screen_has("the terminal and cat say this", 2).await?;
    let before = browser.screen().await?;

    instance.kubectl(&["delete", "pod", "--all", "--wait=false"]).await?;
    browser.terminal_is_open(false).await?;
    let away = browser.terminal_is_open(true).await?;
    println!("the terminal was away for {:.1} s", away.as_secs_f64());
    eventually("the screen of before", SOON, || async {
        let now = browser.screen().await?;
        ensure!(now == before, "it was\n{}\nand is\n{}", before.join("\n"), now.join("\n"));
        Ok(())
    })
    .await?;
    // The same cat, and the keyboard is still in the terminal.
    browser.type_keys("and this\n").await?;
    browser.screen_has("and this", 2).await?;
    browser.screenshot("10-terminal-after-reconnect").await?;
    browser.close().await?;
    instance.delete().await
}

#[tokio::test]
async fn two_replicas_show_the_same_answer_though_one_is_deleted_in_the_middle_of_it() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let spec = json!({"replicas": 2, "networkPolicy": {"enabled": false}});
    let instance = Instance::ready(stage, "replicas", spec).await?;
    instance.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"]).await?;
    let pods = instance.pods().await?;
    let [(first, _), (second, _)] = pods.as_slice() else { bail!("not two pods: {pods:?}") };
    let ways = [Seat::at(stage, &instance, "one", first).await?, Seat::at(stage, &instance, "two", second).await?];
    let one = Browser::start_by(&instance, ways[0].address()).await?;
    let two = Browser::start_by(&instance, ways[1].address()).await?;
    let secret = instance.secret().await?;
    one.sign_in(&instance.url(), &secret).await?;
    one.new_idea("Two readers", "The same story for both.").await?;
    two.sign_in(&instance.url(), &secret).await?;
    two.open_idea("two-readers").await?;

    // Asked for through the replica that goes.
    one.say("SLOW 60").await?;
    tokio::try_join!(one.ticks_reach(5), two.ticks_reach(5))?;
    for pod in [first, second] {
        let metrics = instance.kubectl(&["exec", pod, "--", "curl", "-s", "localhost:9090/metrics"]).await?;
        ensure!(metrics.contains("\ncatalyst_proxy_websockets 1\n"), "{pod} does not serve one page: {metrics}");
    }
    ensure!(one.ticks().await?.len() < 60, "the answer was over before a pod could be deleted in it");
    instance.kubectl(&["delete", "pod", first, "--wait=false"]).await?;
    ways[0].lead_to(second).await?;

    tokio::try_join!(one.results_reach(1), two.results_reach(1))?;
    let all: Vec<u32> = (0..60).collect();
    let (left, right) = (one.ticks().await?, two.ticks().await?);
    ensure!(left == all && right == all, "not once, whole and in order: {left:?}, {right:?}");
    ensure!(one.said().await? == two.said().await?, "the pages differ");
    tokio::try_join!(one.close(), two.close())?;
    instance.delete().await
}
