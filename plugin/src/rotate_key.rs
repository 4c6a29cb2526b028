//! `rotate-key`: asks the operator, by an annotation, for another SSH key.

use anyhow::bail;
use catalyst_operator::crd::ROTATE_SSH_KEY_ANNOTATION;

use crate::{
    args::Which,
    context::{Context, place},
    rotate_secret::events,
};

/// Asks for it.
pub(crate) async fn run(context: &Context, which: &Which) -> anyhow::Result<bool> {
    let instance = context.instance(which).await?;
    if let Some(secret) = &instance.spec.ssh.existing_key_secret {
        bail!(
            "the key of {} is yours (Secret {secret}, which spec.ssh.existingKeySecret names): put another one into that Secret, and \
             authorise it on the VM first",
            place(&instance)
        );
    }
    if instance.spec.ssh.jump.is_some() {
        bail!(
            "{} goes through spec.ssh.jump, where the operator cannot ask the VM whether it accepts a new key. Delete the Secret of the \
             key instead: another one is generated, and the VM is out of reach until you authorise its line",
            place(&instance)
        );
    }
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    context.annotate(&instance, ROTATE_SSH_KEY_ANNOTATION, &now).await?;
    println!(
        "A new key is being made for {}. Until the VM accepts it the old one is used; its line, as soon as it is there: {}\n\
         Where the operator refuses, an event says why: {}",
        place(&instance),
        context.hints.ours("authorize", &instance),
        events(context, &instance)
    );
    Ok(true)
}
