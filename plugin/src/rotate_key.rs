//! `rotate-key`: asks the operator, by an annotation, for another SSH key.

use anyhow::bail;

use crate::{
    args::Which,
    context::{Context, place},
};

/// Annotation on an instance: a new value has the generated SSH key replaced.
const ROTATE_ANNOTATION: &str = "catalyst.dev/rotate-ssh-key";

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
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    context.annotate(&instance, ROTATE_ANNOTATION, &now).await?;
    println!(
        "A new key is being made for {}. Until the VM accepts it the old one is used; its line, as soon as it is there: kubectl \
         catalyst authorize",
        place(&instance)
    );
    Ok(true)
}
