//! The application Secret: there, complete and safe, or to be generated.

use aws_lc_rs::hmac;

use super::findings::Findings;
use super::text;
use crate::container::{CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS};
use crate::crd::SecretsSpec;
use crate::names::InstanceName;
use crate::observed::{AppSecret, Ownership, Referenced, SecretText};
use crate::reason::Reason;
use crate::validated::{AppSecretState, AppSecretUse};

/// The shortest secret that is accepted, in characters.
const MIN_SECRET_LENGTH: usize = 16;
/// What the chart's values hold until somebody changes them.
const PLACEHOLDER: &str = "CHANGE_ME";

/// `None` if anything stops it; `findings` says what.
pub(super) fn validate(
    spec: Option<&SecretsSpec>,
    secret: &Referenced<AppSecret>,
    name: &InstanceName,
    namespace: &str,
    findings: &mut Findings,
) -> Option<AppSecretUse> {
    let existing = spec.and_then(|spec| spec.existing_secret.as_deref());
    let use_existing = spec.is_some_and(SecretsSpec::are_given);
    if existing.is_some() && !use_existing {
        return findings.invalid(
            "secrets.existingSecret",
            "names a Secret while secrets.useExisting is false; remove one of the two",
        );
    }
    if existing.is_some_and(|secret| !text::is_dns_subdomain(secret)) {
        return findings.invalid("secrets.existingSecret", "must be the name of a Secret");
    }
    let secret_name = existing.map_or_else(|| name.app_secret(), str::to_owned);
    let state = match secret {
        Referenced::Missing if use_existing => {
            return findings.stop(
                Reason::SecretMissing,
                Some("secrets"),
                format!(
                    "Secret {secret_name} does not exist. Create it (kubectl create secret generic {secret_name} -n {namespace} \
                     --from-literal={CATALYST_SECRET}=\"$(openssl rand -hex 32)\" --from-literal={COOKIE_SECRET}=\"$(openssl rand -hex \
                     32)\"), or remove spec.secrets to have it generated."
                ),
            );
        }
        Referenced::Missing => AppSecretState::ToGenerate,
        Referenced::Found { owner, .. } if !use_existing && owner.is_predecessors(name.as_str()) => {
            return findings.predecessors("Secret", &secret_name);
        }
        Referenced::Found { owner: Ownership::Foreign(_), .. } if !use_existing => {
            return findings.stop(
                Reason::NameConflict,
                Some("secrets"),
                format!(
                    "Secret {secret_name} exists and was not made by the operator. To use it, set secrets.useExisting: true; to \
                     have one generated, delete it."
                ),
            );
        }
        Referenced::Found { value, owner } => {
            AppSecretState::Present { checksum: checked(value, &secret_name, owner, findings)? }
        }
    };
    Some(AppSecretUse { secret: secret_name, generation: spec.and_then(|spec| spec.generation), state })
}

fn checked(secret: &AppSecret, secret_name: &str, owner: &Ownership, findings: &mut Findings) -> Option<String> {
    let catalyst = entry(secret.catalyst_secret.as_ref(), CATALYST_SECRET, secret_name, owner, findings);
    let cookie = entry(secret.cookie_secret.as_ref(), COOKIE_SECRET, secret_name, owner, findings);
    // One that is missing or empty is none.
    let previous = secret.cookie_secret_previous.as_ref().filter(|value| !value.expose().trim_ascii().is_empty());
    if let Some(previous) = previous {
        entry(Some(previous), COOKIE_SECRET_PREVIOUS, secret_name, owner, findings)?;
    }
    Some(checksum(catalyst?, cookie?, previous.map(SecretText::expose)))
}

fn entry<'a>(
    value: Option<&'a SecretText>,
    entry: &str,
    secret_name: &str,
    owner: &Ownership,
    findings: &mut Findings,
) -> Option<&'a [u8]> {
    let value = value.map(SecretText::expose).unwrap_or_default();
    let Some(problem) = problem(value) else { return Some(value) };
    let remedy = match owner {
        Ownership::Ours => "Delete the Secret to have it generated anew.",
        Ownership::Foreign(_) => "Set it to a random value, for example from `openssl rand -hex 32`.",
    };
    findings.stop(
        Reason::SecretInvalid,
        Some("secrets"),
        format!("Secret {secret_name}: entry {entry} {problem}. {remedy}"),
    )
}

/// The server's own rule for a secret: what passes here, it starts with.
pub(crate) fn problem(value: &[u8]) -> Option<&'static str> {
    let Ok(text) = std::str::from_utf8(value) else { return Some("is no UTF-8 text") };
    let text = text.trim();
    if text.is_empty() {
        Some("is missing")
    } else if text.to_ascii_uppercase().contains(PLACEHOLDER) {
        Some("still has the placeholder CHANGE_ME")
    } else if text.chars().count() < MIN_SECRET_LENGTH {
        Some("is shorter than 16 characters")
    } else if text.contains('\0') {
        Some("contains a zero byte, which no environment variable can hold")
    } else {
        None
    }
}

/// Keyed by one of the values itself, so that somebody who may read Deployments cannot try out guesses of a weak
/// CATALYST_SECRET against it. Length-prefixed, so that no two pairs share an input.
fn checksum(catalyst_secret: &[u8], cookie_secret: &[u8], previous: Option<&[u8]>) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie_secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(&(catalyst_secret.len() as u64).to_be_bytes());
    context.update(catalyst_secret);
    context.update(cookie_secret);
    if let Some(previous) = previous {
        context.update(&(previous.len() as u64).to_be_bytes());
        context.update(previous);
    }
    crate::hex::hex(context.sign().as_ref())
}
