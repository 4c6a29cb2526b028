//! Carries out the steps of [`crate::rotation`]: one pass goes as far as the VM lets it.

use std::{sync::Arc, time::Duration};

use catalyst_ssh::PrivateKey;
use kube::ResourceExt;

use super::{ReconcileError, Steps};
use crate::{
    crd::{CatalystInstance, CatalystInstanceStatus, ROTATE_SSH_KEY_ANNOTATION},
    names::Target,
    observed::{Fetched, Ownership, Referenced, SshKeySecret},
    prober::Answer,
    reason::Reason,
    rotation::{Situation, Step, step},
    secrets::{next_key, promoted_key},
    validated::ValidatedInstance,
};

/// Of steps there are fewer than this from any point to the end.
pub(super) const STEPS: usize = 8;

/// How often it is looked whether what the instance before left is gone.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// Why a request cannot be carried out. Each would otherwise be waited out for ever, in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A person's own key is theirs to replace.
    OwnKey,
    /// Only the pods go through a jump host, and they have the key in use.
    Jump,
    /// The operator connects to none of the VM's addresses.
    Forbidden,
    /// The Secret in which the new key would lie is somebody else's.
    NoPlace,
}

impl Refusal {
    fn words(self, valid: &ValidatedInstance) -> String {
        let (key, next) = (&valid.ssh.key.secret, valid.name.next_ssh_key());
        let by_hand = format!(
            "so it cannot tell when the VM accepts a new key, and the one in use stays. To replace it, delete Secret {key}: \
             another key is generated, and the VM is out of reach until you authorise its line. Or name a key of yours in \
             ssh.existingKeySecret."
        );
        match self {
            Self::OwnKey => format!(
                "The key in Secret {key} is yours to replace. Put another one into that Secret; the server reads it anew by itself."
            ),
            Self::Jump => format!("The operator does not go through ssh.jump, {by_hand}"),
            Self::Forbidden => format!(
                "The operator does not connect to the address of ssh.host (loopback, link-local or within the cluster), {by_hand}"
            ),
            Self::NoPlace => format!(
                "Secret {next}, in which the new key would lie, was not made for this instance and is left as it is. Remove or \
                 rename it, then set {ROTATE_SSH_KEY_ANNOTATION} to another value."
            ),
        }
    }
}

impl Steps {
    /// Brings a rotation as far as it goes now; tells when to look again. The key in use may be another one afterwards.
    pub(super) async fn rotate(
        &self,
        instance: &mut CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &mut Fetched,
        target: &Target,
    ) -> Result<Option<Duration>, ReconcileError> {
        let requested = requested(instance, ROTATE_SSH_KEY_ANNOTATION);
        let status = instance.status.as_ref();
        let done = status.and_then(|status| status.ssh_key_rotation.clone());
        let waiting = status.is_some_and(|status| status.next_authorized_keys_line.is_some());
        let missing = matches!(fetched.ssh_key, Referenced::Missing);
        // A key is missing of what has no status yet because none was ever made: nothing can have been begun.
        let began = missing && status.is_some();
        if (requested.is_none() || requested == done) && !waiting && !began {
            return Ok(None);
        }
        if valid.ssh.key.secret != valid.name.ssh_key() {
            return self.refuse_rotation(instance, valid, Refusal::OwnKey).await;
        }
        let (uid, namespace, next_name) =
            (instance.uid().unwrap_or_default(), &valid.namespace, valid.name.next_ssh_key());
        let mut accepted = false;
        for _ in 0..STEPS {
            let next = self.fetcher.ssh_key(namespace, &next_name, &uid).await?;
            if let Referenced::Found { owner: owner @ Ownership::Foreign(_), .. } = &next {
                if owner.is_predecessors(valid.name.as_str()) {
                    return Ok(Some(RETRY));
                }
                return self.refuse_rotation(instance, valid, Refusal::NoPlace).await;
            }
            let (current, new) = (key_of(&fetched.ssh_key, valid), key_of(&next, valid));
            // Whoever died before it was noted has left a key that says which request it answers.
            let answered =
                requested.as_ref().filter(|requested| answer_of(&fetched.ssh_key) == Some(requested.as_str()));
            let lines = [&current, &new].map(|key| key.as_ref().map(|key| catalyst_ssh::public_line(key, "")));
            let noted = instance.status.as_ref().and_then(|status| status.ssh_key_rotation.as_ref());
            let situation = Situation {
                requested: requested.as_deref(),
                done: answered.or(noted).map(String::as_str),
                current: lines[0].as_deref(),
                next: lines[1].as_deref(),
                accepted,
            };
            match step(situation) {
                Step::Rest if answered.is_none() || answered == noted => return Ok(None),
                Step::Prepare | Step::Ask if valid.ssh.jump.is_some() => {
                    return self.refuse_rotation(instance, valid, Refusal::Jump).await;
                }
                Step::Prepare => {
                    let line =
                        next_key(&self.applier, valid, requested.as_deref().map(answer).into_iter().collect()).await?;
                    if let Some(line) = line {
                        let note = format!("{} The line: {line}", Reason::SSHKeyPrepared.remedy());
                        self.announcer.tell(instance, Reason::SSHKeyPrepared, &note).await;
                    }
                }
                Step::Ask => {
                    let line = new.as_ref().map(|key| self.line(valid, key));
                    self.note_rotation(instance, line, done.clone()).await?;
                    let Some(question) = self.question(valid, new.map(Arc::new)) else { return Ok(None) };
                    match self.prober.ask(&rotation_of(&uid), question, target.clone()) {
                        Answer::Pending { .. } => return Ok(None),
                        Answer::Known { look, .. } if look.observation.is_none() && look.forbidden.is_some() => {
                            return self.refuse_rotation(instance, valid, Refusal::Forbidden).await;
                        }
                        Answer::Known { look, again } if !look.is_good() => return Ok(Some(again)),
                        Answer::Known { .. } => accepted = true,
                    }
                }
                Step::RemoveCurrent => {
                    self.applier.remove_secret(namespace, &valid.ssh.key.secret, &uid).await?;
                    fetched.ssh_key = Referenced::Missing;
                }
                Step::Promote => {
                    if let Referenced::Found { value, .. } = &next {
                        let mut answers = value.answers.clone();
                        // It answers what is asked for now, which may have changed while the VM was asked.
                        answers.extend(requested.as_deref().map(answer));
                        promoted_key(&self.applier, valid, value, answers).await?;
                    }
                    fetched.ssh_key = self.fetcher.ssh_key(namespace, &valid.ssh.key.secret, &uid).await?;
                }
                Step::Rest | Step::Finish => {
                    self.applier.remove_secret(namespace, &next_name, &uid).await?;
                    self.note_rotation(instance, None, requested.clone()).await?;
                    // A pod that has not read it yet would be locked out by whoever takes the old line away.
                    let line = lines[0].as_deref().unwrap_or_default();
                    self.applier.hasten_ssh_key(&valid.name, namespace, line).await;
                    self.prober.forget(&rotation_of(&uid));
                    let note = format!("The new SSH key is in use. {}", Reason::SSHKeyRotated.remedy());
                    self.announcer.tell(instance, Reason::SSHKeyRotated, &note).await;
                    return Ok(None);
                }
                Step::Cancel => {
                    self.applier.remove_secret(namespace, &next_name, &uid).await?;
                    self.note_rotation(instance, None, done.clone()).await?;
                    self.prober.forget(&rotation_of(&uid));
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Says why a request is not carried out, once for each, and takes back what was begun: a key that nobody is going to
    /// use is no longer kept.
    async fn refuse_rotation(
        &self,
        instance: &mut CatalystInstance,
        valid: &ValidatedInstance,
        why: Refusal,
    ) -> Result<Option<Duration>, ReconcileError> {
        let uid = instance.uid().unwrap_or_default();
        self.applier.remove_secret(&valid.namespace, &valid.name.next_ssh_key(), &uid).await?;
        self.prober.forget(&rotation_of(&uid));
        let status = instance.status.as_ref();
        let done = status.and_then(|status| status.ssh_key_rotation.clone());
        let waiting = status.is_some_and(|status| status.next_authorized_keys_line.is_some());
        let asked = requested(instance, ROTATE_SSH_KEY_ANNOTATION).filter(|asked| Some(asked) != done.as_ref());
        if asked.is_some() {
            self.announcer.tell(instance, Reason::SSHKeyRotationRefused, &why.words(valid)).await;
        }
        if asked.is_some() || waiting {
            self.note_rotation(instance, None, asked.or(done)).await?;
        }
        Ok(None)
    }

    async fn note_rotation(
        &self,
        instance: &mut CatalystInstance,
        next_line: Option<String>,
        done: Option<String>,
    ) -> Result<(), ReconcileError> {
        let before = instance.status.clone().unwrap_or_default();
        let after =
            CatalystInstanceStatus { next_authorized_keys_line: next_line, ssh_key_rotation: done, ..before.clone() };
        self.publisher.publish(&instance.metadata, Some(&before), &after).await?;
        instance.status = Some(after);
        Ok(())
    }

    fn line(&self, valid: &ValidatedInstance, key: &PrivateKey) -> String {
        let comment = format!("catalyst-{}-{}", valid.namespace, valid.name);
        format!("{} {}", crate::status::KEY_OPTIONS, catalyst_ssh::public_line(key, &comment))
    }
}

/// The value of an annotation that asks for something, if it has one.
pub(super) fn requested(instance: &CatalystInstance, annotation: &str) -> Option<String> {
    let value = instance.annotations().get(annotation)?.trim();
    (!value.is_empty()).then(|| value.chars().take(256).collect())
}

fn key_of(secret: &Referenced<SshKeySecret>, valid: &ValidatedInstance) -> Option<PrivateKey> {
    let Referenced::Found { value, .. } = secret else { return None };
    catalyst_ssh::parse_private_key(value.entries.get(&valid.ssh.key.entry)?.expose()).ok()
}

/// What a key says of the request that it answers.
fn answer(request: &str) -> (String, String) {
    (ROTATE_SSH_KEY_ANNOTATION.to_owned(), request.to_owned())
}

/// The request that a key answers.
fn answer_of(secret: &Referenced<SshKeySecret>) -> Option<&str> {
    let Referenced::Found { value, .. } = secret else { return None };
    value.answers.get(ROTATE_SSH_KEY_ANNOTATION).map(String::as_str)
}

/// Under what the prober keeps the look with the new key.
fn rotation_of(uid: &str) -> String {
    format!("{uid}/next-key")
}
