//! What a person does in the browser: Chromium → ingress → Service → pod → SSH → the real claude CLI, and back.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use catalyst_e2e::browser::Browser;
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use serde_json::json;

use crate::turn;

const TURN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_person_signs_in_captures_an_idea_chats_sees_text_arrive_in_pieces_and_tool_calls() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "conversation", json!({})).await?;
    let browser = Browser::start().await?;
    browser.open(&instance.url()).await?;
    browser.find("sign-in-secret").await?;
    browser.screenshot("1-sign-in").await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.new_idea("A garden of forking paths", "A small page that tells a story with choices.").await?;

    // The stand-in paces SLOW: between the first tick and the last the page must have shown less than all of them.
    browser.say("SLOW 30").await?;
    let early = browser.ticks_reach(3).await?;
    ensure!(early.len() < 30, "all 30 ticks came at once");
    browser.results_reach(1).await?;
    ensure!(browser.ticks().await? == (0..30).collect::<Vec<_>>(), "{:?}", browser.ticks().await?);

    browser.say("Please read the idea").await?;
    browser.results_reach(2).await?;
    // Claude was told where the idea is, and may read it without asking.
    let said = browser.said().await?;
    ensure!(said.contains("a story with choices"), "the idea was not read: {said}");
    ensure!(browser.count("[data-testid='tool-call']").await? >= 1, "no tool call: {}", browser.text().await?);
    browser.screenshot("2-chat").await?;

    browser.click("mode-build").await?;
    browser.say("Build a first version").await?;
    eventually("the build ends", TURN, || async {
        // Whatever the build asks permission for, this person allows.
        if browser.count("[data-testid='permission-allow']").await? > 0 {
            browser.click("permission-allow").await?;
        }
        if browser.count("[data-testid='run-result']").await? >= 3 {
            Ok(())
        } else {
            Err(anyhow!("{}", browser.text().await?))
        }
    })
    .await?;
    browser.screenshot("3-build").await?;
    let project = instance.folder().join("ideas/a-garden-of-forking-paths/project");
    ensure!(std::fs::read_dir(&project)?.count() > 0, "the build wrote nothing into {}", project.display());

    browser.resize(390, 844).await?;
    browser.screenshot("4-phone").await?;
    browser.close().await?;
    instance.delete().await
}

#[tokio::test]
async fn a_closed_browser_and_a_deleted_pod_lose_nothing_of_an_answer() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "resume", json!({})).await?;
    let secret = instance.secret().await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &secret).await?;
    browser.new_idea("Long story", "Told slowly.").await?;
    browser.say("SLOW 60").await?;
    browser.ticks_reach(5).await?;
    ensure!(browser.ticks().await?.len() < 60, "the answer was over before the browser could be closed in it");
    browser.close().await?;
    instance.replace_pods().await?;

    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &secret).await?;
    browser.open_idea("long-story").await?;
    browser.results_reach(1).await?;
    let all: Vec<u32> = (0..60).collect();
    ensure!(browser.ticks().await? == all, "not once, whole and in order: {:?}", browser.ticks().await?);
    browser.screenshot("5-resumed").await?;

    // A reload shows the same again, from the log alone.
    browser.reload().await?;
    browser.results_reach(1).await?;
    ensure!(browser.ticks().await? == all, "after a reload: {:?}", browser.ticks().await?);
    browser.close().await?;
    instance.delete().await
}

#[tokio::test]
async fn a_pod_deleted_under_an_open_page_costs_nothing_of_the_answer() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "open-page", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.new_idea("Stay open", "The page stays open while the pod goes.").await?;
    browser.say("SLOW 60").await?;
    browser.ticks_reach(5).await?;
    ensure!(browser.ticks().await?.len() < 60, "the answer was over before the pod could be deleted in it");
    instance.kubectl(&["delete", "pod", "--all", "--wait=false"]).await?;
    browser.results_reach(1).await?;
    ensure!(browser.ticks().await? == (0..60).collect::<Vec<_>>(), "{:?}", browser.ticks().await?);
    browser.close().await?;
    instance.delete().await
}

#[tokio::test]
async fn stop_ends_a_turn_and_the_next_message_is_answered() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "stopping", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.new_idea("Stop me", "An answer too long to wait for.").await?;
    browser.say("SLOW 600").await?;
    browser.ticks_reach(3).await?;
    browser.click("stop").await?;
    browser.results_reach(1).await?;
    let said = browser.ticks().await?.len();
    ensure!(said < 600, "it was not stopped");
    browser.say("SLOW 3").await?;
    browser.results_reach(2).await?;
    ensure!(browser.ticks().await?.len() == said + 3, "{:?}", browser.ticks().await?);
    browser.close().await?;
    instance.delete().await
}
