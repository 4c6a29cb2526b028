//! `open`: forwards a port of this machine to the pods, by the API server, and opens the browser there. The server accepts a
//! page whose origin is the loopback address that it was opened at, whatever the port.

use std::{io::IsTerminal, net::Ipv4Addr, process::Stdio, sync::Arc};

use anyhow::{Context as _, bail};
use catalyst_operator::{container::HTTP_PORT, crd::CatalystInstance, names::INSTANCE_LABEL};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
    sync::Semaphore,
};

use crate::{
    args,
    context::{Context, place},
    report,
};

/// Connections that are forwarded at the same time; a browser opens about ten.
const CONNECTIONS: usize = 64;

/// Forwards until interrupted.
pub(crate) async fn run(context: &Context, args: &args::Open) -> anyhow::Result<bool> {
    let instance = context.instance(&args.which).await?;
    let pods: Api<Pod> = context.beside(&instance);
    let selector = format!("{INSTANCE_LABEL}={}", instance.name_any());
    let Some(pod) = context.answered(ready(&pods, &selector).await, "list pods")? else {
        bail!(not_ready(context, &instance));
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .with_context(|| format!("port {} of this machine is taken; leave --port out to have a free one", args.port))?;
    let url = format!("http://localhost:{}/", listener.local_addr()?.port());
    println!("{url} leads to {} (pod {pod}) until you press Ctrl-C.", place(&instance));
    if !args.no_browser && std::io::stdout().is_terminal() && !browse(&url) {
        println!("Open it in your browser: no program was found that does it.");
    }
    let status = context.hints.ours("status", &instance);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.context("the port can no longer be listened on")?,
            _ = tokio::signal::ctrl_c() => return Ok(true),
        };
        let (pods, selector, status) = (pods.clone(), selector.clone(), status.clone());
        let Ok(held) = Arc::clone(&places).acquire_owned().await else { return Ok(true) };
        tokio::spawn(async move {
            if let Err(error) = forward(&pods, &selector, stream, &status).await {
                eprintln!("A connection broke off: {error:#}");
            }
            drop(held);
        });
    }
}

/// One connection, to a pod that is ready now: the pods may be others than a moment ago. `status`: the command that says more.
async fn forward(pods: &Api<Pod>, selector: &str, mut stream: TcpStream, status: &str) -> anyhow::Result<()> {
    let pod = ready(pods, selector).await?.with_context(|| format!("no pod is ready; `{status}` says why"))?;
    let mut forwarder = pods.portforward(&pod, &[HTTP_PORT]).await?;
    let mut upstream = forwarder.take_stream(HTTP_PORT).context("the API server opened no stream")?;
    let copied = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    drop(upstream);
    forwarder.join().await?;
    // A browser that goes away in the midst of an answer is no failure.
    drop(copied);
    Ok(())
}

/// The name of a pod that is ready, the newest first.
async fn ready(pods: &Api<Pod>, selector: &str) -> Result<Option<String>, kube::Error> {
    let mut found = pods.list(&ListParams::default().labels(selector)).await?.items;
    found.sort_by(|one, other| other.metadata.creation_timestamp.cmp(&one.metadata.creation_timestamp));
    Ok(found.iter().find(|pod| serves(pod)).map(ResourceExt::name_any))
}

fn serves(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn not_ready(context: &Context, instance: &CatalystInstance) -> String {
    let report = report::of(instance, &context.hints);
    let next = report.next.map_or_else(String::new, |next| format!(" Next: {next}"));
    let told = format!("{}: {} {}", report.reason, report.message, report.remedy);
    format!("no pod of {} is ready. {}{next}", place(instance), told.trim_end())
}

/// Whether a program was started that opens the URL.
fn browse(url: &str) -> bool {
    ["xdg-open", "open"].iter().any(|program| {
        Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
    })
}
