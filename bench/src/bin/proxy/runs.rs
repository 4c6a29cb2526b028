//! Many runs at once, and many who look.

use std::time::Instant;

use catalyst_bench::event::Counter;
use catalyst_bench::table::{Table, Wanted};
use futures::future::join_all;

use crate::process;
use crate::socket::Socket;
use crate::stage::{Idea, Stage};

/// Events of one run, and the milliseconds between two.
const EVENTS: u64 = 50;
const EVERY: u64 = 100;

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let most = if small { 10 } else { 100 };
    let ideas = join_all((0..most).map(async |number| stage.idea(&format!("run {number}")).await)).await;
    let ideas: Vec<Idea> = ideas.into_iter().collect::<Result<_, _>>()?;
    for count in [1, 3, 10, 50, 100] {
        let Some(chosen) = ideas.get(..count) else { continue };
        let begin = Instant::now();
        let done = join_all(chosen.iter().map(|idea| whole(stage, idea, count))).await;
        let whole = done.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
        let problem = done.into_iter().find_map(Result::err).map(|error| format!("; {error:#}")).unwrap_or_default();
        let took = begin.elapsed().as_secs_f64();
        let rss = process::rss(stage.pid())?;
        let remark = format!("{took:.1} s for {EVENTS} events at {EVERY} ms each; {rss:.0} MiB{problem}");
        table.add(&format!("{count} runs at once, complete"), whole as f64, "", Wanted::AtLeast(count as f64), remark);
    }
    viewers(stage, table, &ideas, if small { 20 } else { 1_000 }).await
}

/// A turn on each idea, and viewers spread over them who see it all.
async fn viewers(stage: &Stage, table: &mut Table, ideas: &[Idea], count: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut sockets = Vec::new();
    for (at, idea) in (0..count).zip(ideas.iter().cycle()) {
        let mut socket = Socket::open(stage).await?;
        socket.send(serde_json::json!({"type": "subscribe", "ideaId": idea.id})).await?;
        sockets.push((at, socket));
    }
    let subscribed =
        join_all(sockets.iter_mut().map(|(_, socket)| socket.until(|told| Ok(told.kind == "subscribed")))).await;
    let attached = begin.elapsed().as_secs_f64();
    let lost = subscribed.iter().filter(|outcome| outcome.is_err()).count();
    let viewed = format!("ticks {EVENTS} {EVERY} viewers");
    let mut speakers = Vec::new();
    let begin = Instant::now();
    for idea in ideas {
        let mut socket = Socket::open(stage).await?;
        socket.chat(idea, &viewed).await?;
        speakers.push(socket);
    }
    // Whoever is not attached sees nothing, and need not be waited for.
    let attached_ones = sockets.iter_mut().zip(&subscribed).filter(|(_, outcome)| outcome.is_ok());
    let done = join_all(attached_ones.map(|((_, socket), _)| complete(socket, &viewed))).await;
    let whole = done.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
    let problem = subscribed.into_iter().find_map(Result::err).or_else(|| done.into_iter().find_map(Result::err));
    let problem = problem.map(|error| format!("; {error:#}")).unwrap_or_default();
    let remark = format!(
        "on {} runs; attached in {attached:.1} s ({lost} not), served in {:.1} s; {:.0} MiB{problem}",
        ideas.len(),
        begin.elapsed().as_secs_f64(),
        process::rss(stage.pid())?
    );
    table.add(&format!("{count} viewers, complete"), whole as f64, "", Wanted::AtLeast(count as f64), remark);
    Ok(())
}

/// Sends a turn and sees all of it.
async fn whole(stage: &Stage, idea: &Idea, round: usize) -> anyhow::Result<bool> {
    let mut socket = Socket::open(stage).await?;
    socket.subscribe(idea).await?;
    let message = format!("ticks {EVENTS} {EVERY} {round}");
    socket.chat(idea, &message).await?;
    complete(&mut socket, &message).await
}

/// Whether all events of the turn of `message` come, in order. Earlier turns may be told before.
async fn complete(socket: &mut Socket, message: &str) -> anyhow::Result<bool> {
    let mut counter = Counter::default();
    let mut ours = false;
    socket
        .until(|told| {
            match &*told.kind {
                "claude:user" => ours = told.text == message,
                "claude:text" if ours => counter.text(&told.text),
                _ => {}
            }
            Ok(told.kind == "claude:result" && ours && counter.count == EVENTS)
        })
        .await?;
    Ok(counter.wrong == 0)
}
