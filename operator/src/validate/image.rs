//! The image reference: what the spec gives, completed from the operator's own release.

use super::findings::Findings;
use super::text;
use crate::crd::ImageSpec;
use crate::validated::{Defaults, Image};

/// `None` if anything stops it; `findings` says what.
pub(super) fn validate(spec: Option<&ImageSpec>, defaults: &Defaults, findings: &mut Findings) -> Option<Image> {
    let unset = ImageSpec::default();
    let spec = spec.unwrap_or(&unset);
    let (default_repository, default_version) = split_reference(&defaults.proxy_image);
    let repository = match spec.repository.as_deref() {
        None => Some(default_repository),
        Some(repository) if text::is_repository(repository) => Some(repository),
        Some(_) => findings.invalid(
            "image.repository",
            "must be an image name without tag or digest, such as ghcr.io/your-org/catalyst",
        ),
    };
    let version = match (spec.tag.as_deref(), spec.digest.as_deref()) {
        (Some(_), Some(_)) => {
            findings.invalid("image.digest", "and image.tag exclude each other: a digest already names one image")
        }
        (Some(tag), None) if text::is_tag(tag) => Some(format!(":{tag}")),
        (Some(_), None) => findings.invalid("image.tag", "must be of letters, digits and _ . -, such as v1.2.3"),
        (None, Some(digest)) if text::is_digest(digest) => Some(format!("@{digest}")),
        (None, Some(_)) => findings.invalid("image.digest", "must be sha256: and 64 hexadecimal digits"),
        (None, None) => Some(default_version.to_owned()),
    };
    let pull_secrets: Vec<String> = spec.pull_secrets.iter().flatten().map(|secret| secret.name.clone()).collect();
    if pull_secrets.iter().any(|name| !text::is_dns_subdomain(name)) {
        return findings.invalid("image.pullSecrets", "must hold names of Secrets");
    }
    Some(Image { reference: format!("{}{}", repository?, version?), pull_policy: spec.pull_policy, pull_secrets })
}

/// `repository` and what follows it: `:tag`, `@digest`, both, or nothing. A colon before the last slash is a port.
fn split_reference(reference: &str) -> (&str, &str) {
    let name_starts = reference.rfind('/').map_or(0, |slash| slash + 1);
    let version_starts = reference
        .char_indices()
        .find(|(index, letter)| *index >= name_starts && matches!(letter, ':' | '@'))
        .map_or(reference.len(), |(index, _)| index);
    reference.split_at_checked(version_starts).unwrap_or((reference, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(repository: Option<&str>, tag: Option<&str>, default: &str) -> String {
        let spec =
            ImageSpec { repository: repository.map(Into::into), tag: tag.map(Into::into), ..ImageSpec::default() };
        let mut findings = Findings::default();
        validate(Some(&spec), &Defaults { proxy_image: default.into() }, &mut findings).unwrap().reference
    }

    #[test]
    fn what_the_spec_leaves_out_comes_from_the_operators_release() {
        let default = "registry:5000/org/catalyst-proxy:1.0";
        assert_eq!(reference(None, None, default), default);
        assert_eq!(reference(None, Some("2.0"), default), "registry:5000/org/catalyst-proxy:2.0");
        assert_eq!(reference(Some("mirror.local/proxy"), None, default), "mirror.local/proxy:1.0");
        assert_eq!(reference(None, None, "catalyst-proxy"), "catalyst-proxy");
        assert_eq!(reference(None, Some("x"), "a/b:1@sha256:00"), "a/b:x");
    }
}
