//! `rotate-secret`: asks the operator, by an annotation, for other values in the generated application Secret.

use anyhow::bail;
use catalyst_operator::{
    crd::{CatalystInstance, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION},
    names::References,
};
use kube::ResourceExt;

use crate::{
    args::RotateSecret,
    context::{Context, place},
};

/// Asks for them.
pub(crate) async fn run(context: &Context, flags: &RotateSecret) -> anyhow::Result<bool> {
    let instance = context.instance(&flags.which).await?;
    if References::of(&instance).app_is_given {
        bail!(
            "the secrets of {} are yours (spec.secrets): put other values into that Secret, and the pods are replaced. Nobody is signed \
             out if COOKIE_SECRET_PREVIOUS in it is the COOKIE_SECRET so far",
            place(&instance)
        );
    }
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (annotation, means) = if flags.cookie {
        (ROTATE_COOKIE_SECRET_ANNOTATION, "Sessions go on.".to_owned())
    } else {
        let status = context.hints.ours("status", &instance);
        (
            ROTATE_CATALYST_SECRET_ANNOTATION,
            format!("Everyone is signed out. How the new secret is read, tells: {status}"),
        )
    };
    context.annotate(&instance, annotation, &now).await?;
    println!(
        "Other values are being made for {}, and its pods are replaced. {means}\nWhere the operator refuses, an event says why: {}",
        place(&instance),
        events(context, &instance)
    );
    Ok(true)
}

/// The command that shows what the operator says of an instance.
pub(crate) fn events(context: &Context, instance: &CatalystInstance) -> String {
    context.hints.beside(&format!("events --for=catalystinstance/{}", instance.name_any()), instance)
}
