//! Replaces generated values of the application Secret on request. Nobody has to accept the new ones, so one pass goes the
//! whole way; whoever dies in the midst of it leaves what tells the next step.

use std::time::Duration;

use kube::ResourceExt;

use super::{
    ReconcileError, Steps,
    rotate::{RETRY, STEPS, requested},
};
use crate::{
    build::secret::AppValues,
    container::{CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS},
    crd::{
        CatalystInstance, CatalystInstanceStatus, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION,
    },
    observed::{Answers, AppSecret, Fetched, Ownership, Referenced, SecretText},
    reason::Reason,
    rotation::{Asked, Step, values_step},
    secrets::{next_values, promoted_values},
    validated::ValidatedInstance,
};

impl Steps {
    /// Carries a rotation out; tells when to look again. The values in use may be others afterwards.
    pub(super) async fn rotate_secrets(
        &self,
        instance: &mut CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &mut Fetched,
    ) -> Result<Option<Duration>, ReconcileError> {
        let asked = asked(instance, &Answers::new());
        // Values are missing of what has no status yet because none were ever made: nothing can have been begun.
        let began = matches!(fetched.app_secret, Referenced::Missing) && instance.status.is_some();
        if !asked.any() && !began {
            return Ok(None);
        }
        let (name, next_name) = (valid.app_secret.secret.clone(), valid.name.next_app_secret());
        if let Referenced::Found { owner: Ownership::Foreign(_), .. } = &fetched.app_secret {
            let why = format!(
                "The values in Secret {name} are yours to replace. Put others into it: the pods are replaced. Nobody is signed out \
                 if {COOKIE_SECRET_PREVIOUS} in it is the {COOKIE_SECRET} so far."
            );
            return self.refuse_new_secrets(instance, &why).await;
        }
        let uid = instance.uid().unwrap_or_default();
        for _ in 0..STEPS {
            let next = self.fetcher.app_secret(&valid.namespace, &next_name, &uid).await?;
            if let Referenced::Found { owner: owner @ Ownership::Foreign(_), .. } = &next {
                if owner.is_predecessors(valid.name.as_str()) {
                    return Ok(Some(RETRY));
                }
                let why = format!(
                    "Secret {next_name}, in which the new values would lie, was not made for this instance and is left as it is. \
                     Remove or rename it, then set the annotation to another value."
                );
                return self.refuse_new_secrets(instance, &why).await;
            }
            let (current, new) = (values_of(&fetched.app_secret), values_of(&next));
            // Whoever died before it was noted has left values that say which requests they answer.
            let (answered, prepared) = (answers_of(&fetched.app_secret), answers_of(&next));
            let left = self::asked(instance, &answered);
            match values_step(left, current.as_ref(), new.as_ref()) {
                Step::Rest | Step::Ask => {
                    // What is missing altogether is generated now, which is as good as replaced.
                    if asked.any() {
                        self.note_new_secrets(instance).await?;
                    }
                    if asked.any() && current.is_some() {
                        self.announcer
                            .tell(instance, Reason::SecretRotated, &told(asked, &valid.namespace, &name))
                            .await;
                    }
                    return Ok(None);
                }
                Step::Prepare => {
                    if let Some(current) = &current {
                        let mut answers = answered;
                        answers.extend(requests(instance));
                        next_values(&self.applier, valid, current, left, answers).await?;
                    }
                }
                Step::RemoveCurrent => {
                    self.applier.remove_secret(&valid.namespace, &name, &uid).await?;
                    fetched.app_secret = Referenced::Missing;
                }
                Step::Promote => {
                    if let Some(new) = new {
                        promoted_values(&self.applier, valid, new, prepared).await?;
                    }
                    fetched.app_secret = self.fetcher.app_secret(&valid.namespace, &name, &uid).await?;
                }
                Step::Cancel => self.applier.remove_secret(&valid.namespace, &next_name, &uid).await?,
                Step::Finish => {
                    self.applier.remove_secret(&valid.namespace, &next_name, &uid).await?;
                    // Something more may have been asked for meanwhile.
                    if left.any() {
                        continue;
                    }
                    self.note_new_secrets(instance).await?;
                    self.announcer.tell(instance, Reason::SecretRotated, &told(asked, &valid.namespace, &name)).await;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Says why a request is not carried out, once for each.
    async fn refuse_new_secrets(
        &self,
        instance: &mut CatalystInstance,
        why: &str,
    ) -> Result<Option<Duration>, ReconcileError> {
        if asked(instance, &Answers::new()).any() {
            self.announcer.tell(instance, Reason::SecretRotationRefused, why).await;
            self.note_new_secrets(instance).await?;
        }
        Ok(None)
    }

    /// What is asked for now counts as answered.
    async fn note_new_secrets(&self, instance: &mut CatalystInstance) -> Result<(), ReconcileError> {
        let before = instance.status.clone().unwrap_or_default();
        let mut requests = requests(instance);
        let mut kept = |annotation, before: &Option<String>| requests.remove(annotation).or_else(|| before.clone());
        let after = CatalystInstanceStatus {
            catalyst_secret_rotation: kept(ROTATE_CATALYST_SECRET_ANNOTATION, &before.catalyst_secret_rotation),
            cookie_secret_rotation: kept(ROTATE_COOKIE_SECRET_ANNOTATION, &before.cookie_secret_rotation),
            ..before.clone()
        };
        self.publisher.publish(&instance.metadata, Some(&before), &after).await?;
        instance.status = Some(after);
        Ok(())
    }
}

/// What is requested, by annotation.
fn requests(instance: &CatalystInstance) -> Answers {
    let annotations = [ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION];
    annotations.into_iter().filter_map(|name| Some((name.to_owned(), requested(instance, name)?))).collect()
}

/// What is requested and was neither noted as carried out or refused, nor is it answered by the values in use.
fn asked(instance: &CatalystInstance, answered: &Answers) -> Asked {
    let (status, requests) = (instance.status.as_ref(), requests(instance));
    let new = |annotation, done: Option<&String>| {
        let request = requests.get(annotation);
        request.is_some() && request != done && request != answered.get(annotation)
    };
    Asked {
        catalyst_secret: new(
            ROTATE_CATALYST_SECRET_ANNOTATION,
            status.and_then(|status| status.catalyst_secret_rotation.as_ref()),
        ),
        cookie_secret: new(
            ROTATE_COOKIE_SECRET_ANNOTATION,
            status.and_then(|status| status.cookie_secret_rotation.as_ref()),
        ),
    }
}

fn values_of(secret: &Referenced<AppSecret>) -> Option<AppValues> {
    let Referenced::Found { value, .. } = secret else { return None };
    let text = |value: &Option<SecretText>| {
        String::from_utf8(value.as_ref().map(SecretText::expose).unwrap_or_default().to_vec()).ok()
    };
    Some(AppValues {
        catalyst_secret: text(&value.catalyst_secret)?,
        cookie_secret: text(&value.cookie_secret)?,
        cookie_secret_previous: text(&value.cookie_secret_previous).filter(|value| !value.is_empty()),
    })
}

/// The requests that values answer.
fn answers_of(secret: &Referenced<AppSecret>) -> Answers {
    match secret {
        Referenced::Found { value, .. } => value.answers.clone(),
        _ => Answers::new(),
    }
}

fn told(asked: Asked, namespace: &str, name: &str) -> String {
    if asked.catalyst_secret {
        format!(
            "The secret to sign in with is another, and everyone is signed out. It is read by: kubectl get secret -n {namespace} {name} \
             -o jsonpath='{{.data.{CATALYST_SECRET}}}' | base64 -d"
        )
    } else {
        format!(
            "{COOKIE_SECRET} in Secret {name} is another. Sessions that the one before has signed stay valid until they end."
        )
    }
}
