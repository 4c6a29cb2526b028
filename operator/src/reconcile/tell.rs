//! Events for what was done, beside the reason of the whole.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ObjectReference};
use kube::ResourceExt;

use super::{
    Steps,
    steps::{AppliedNow, rolled_out, same_generation},
};
use crate::{
    apply::Act,
    crd::CatalystInstance,
    events::LONGEST_NOTE,
    live::Kinded as _,
    reason::Reason,
    secrets::Generated,
    validated::{MissingSecret, ValidatedInstance},
};

impl Steps {
    /// What was generated, with what a person needs of it: in one event if there is room, since an event costs as much as any other write.
    pub(super) async fn tell_generated(
        &self,
        instance: &CatalystInstance,
        valid: &ValidatedInstance,
        generated: impl Iterator<Item = &Generated>,
    ) {
        let notes = generated.map(|Generated { which, name, reference, public_line }| match which {
            MissingSecret::App => (Reason::SecretGenerated, reference.clone(), how_to_sign_in(valid, name)),
            MissingSecret::SshKey => {
                let line = public_line.as_deref().unwrap_or_default();
                (Reason::SSHKeyGenerated, reference.clone(), what_to_authorize(valid, name, line))
            }
        });
        for (reason, object, note) in joined(notes.collect()) {
            self.announcer.tell_of(instance, Some(object), reason, &note).await;
        }
    }

    /// What was changed or deleted by hand and put back; and a rollout of pods that served before.
    pub(super) async fn tell_repairs(&self, instance: &CatalystInstance, now: &AppliedNow) {
        // Until the first pods exist, what is missing is missing because it has not been made yet.
        let settled = same_generation(instance) && rolled_out(instance);
        for change in &now.applied.changes {
            let was = match change.act {
                Act::Repaired => "changed",
                Act::Created if settled => "missing",
                Act::Created | Act::Updated | Act::Removed => continue,
            };
            let mut note = format!("{} {} was {was} and has been put back.", change.kind, change.name);
            if change.act == Act::Repaired && change.kind == Deployment::KIND {
                let instance = instance.name_any();
                note.push_str(&format!(
                    " What its pods are is said in CatalystInstance {instance} alone: to go back to an earlier image, as `kubectl rollout \
                     undo` would, set image.tag there."
                ));
            }
            let object = ObjectReference {
                kind: Some(change.kind.to_owned()),
                namespace: instance.namespace(),
                name: Some(change.name.clone()),
                ..ObjectReference::default()
            };
            self.announcer.tell_of(instance, Some(object), Reason::ObjectRepaired, &note).await;
        }
        if let Some(cause) = now.rollout.as_ref().filter(|_| rolled_out(instance)) {
            let note = format!("The pods are being replaced: {cause}");
            self.announcer.tell(instance, Reason::RolloutStarted, &note).await;
        }
    }
}

type Note = (Reason, ObjectReference, String);

/// Both as one, if there are two and one event holds them.
fn joined(notes: Vec<Note>) -> Vec<Note> {
    match notes.as_slice() {
        [(_, object, first), (_, _, second)] if first.len() + 1 + second.len() <= LONGEST_NOTE => {
            vec![(Reason::SecretsGenerated, object.clone(), format!("{first} {second}"))]
        }
        _ => notes,
    }
}

fn how_to_sign_in(valid: &ValidatedInstance, secret: &str) -> String {
    format!(
        "Secret {secret} was generated. The secret to sign in with: `kubectl get secret -n {} {secret} -o jsonpath='{{.data.{}}}' | \
         base64 -d`.",
        valid.namespace,
        crate::container::CATALYST_SECRET
    )
}

fn what_to_authorize(valid: &ValidatedInstance, secret: &str, public_line: &str) -> String {
    format!(
        "An SSH key was generated in Secret {secret}. Add this line to ~/.ssh/authorized_keys of {} on {}: {} {public_line}",
        valid.ssh.user,
        valid.ssh.host,
        crate::status::KEY_OPTIONS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_notes_are_one_unless_the_second_would_be_cut() {
        let note = |reason, long| (reason, ObjectReference::default(), "a".repeat(long));
        let reasons = |long| {
            let notes = joined(vec![note(Reason::SecretGenerated, 500), note(Reason::SSHKeyGenerated, long)]);
            notes.into_iter().map(|(reason, _, _)| reason).collect::<Vec<_>>()
        };
        assert_eq!(reasons(LONGEST_NOTE - 501), [Reason::SecretsGenerated]);
        assert_eq!(reasons(LONGEST_NOTE - 500), [Reason::SecretGenerated, Reason::SSHKeyGenerated]);
        assert_eq!(joined(vec![note(Reason::SSHKeyGenerated, 5)])[0].0, Reason::SSHKeyGenerated);
    }
}
