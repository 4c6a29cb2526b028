//! `logs`: what the pods of an instance say; with several of them each line begins with the pod's name.

use anyhow::bail;
use catalyst_operator::names::CONTAINER;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::LogParams};

use crate::{
    args,
    context::{Context, place},
};

/// Prints them; all is well when every pod's could be had.
pub(crate) async fn run(context: &Context, args: &args::Logs) -> anyhow::Result<bool> {
    let instance = context.instance(&args.which).await?;
    let pods = context.labelled::<Pod>(&instance).await?.unwrap_or_default();
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    if names.is_empty() {
        bail!("{} has no pods; `{}` says why", place(&instance), context.hints.ours("status", &instance));
    }
    let params = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: args.follow,
        previous: args.previous,
        tail_lines: (args.tail >= 0).then_some(args.tail),
        ..LogParams::default()
    };
    let api: Api<Pod> = context.beside(&instance);
    let mut printing: FuturesUnordered<_> = names
        .iter()
        .map(|name| {
            let prefix = if names.len() > 1 { format!("{name}: ") } else { String::new() };
            let (api, params) = (api.clone(), params.clone());
            async move { (name, print(&api, name, &params, &prefix).await) }
        })
        .collect();
    let mut had = true;
    while let Some((name, outcome)) = printing.next().await {
        if let Err(error) = context.answered(outcome, &format!("read the log of pod {name}")) {
            eprintln!("{error:#}");
            had = false;
        }
    }
    Ok(had)
}

async fn print(api: &Api<Pod>, name: &str, params: &LogParams, prefix: &str) -> Result<(), kube::Error> {
    let mut lines = api.log_stream(name, params).await?.lines();
    while let Some(line) = lines.try_next().await.map_err(kube::Error::ReadEvents)? {
        println!("{prefix}{line}");
    }
    Ok(())
}
