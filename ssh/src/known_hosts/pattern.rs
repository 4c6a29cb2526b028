//! The host field of a known_hosts line: names with wildcards and negation, or one hashed name.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Debug)]
pub(super) enum HostPatterns {
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    Plain(Vec<Pattern>),
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    negated: bool,
    glob: String,
}

impl HostPatterns {
    pub(super) fn parse(field: &str) -> Result<HostPatterns, String> {
        if let Some(hashed) = field.strip_prefix("|1|") {
            let decoded = hashed.split_once('|').and_then(|(salt, hash)| {
                Some(HostPatterns::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? })
            });
            return decoded.ok_or_else(|| "the hashed host name is not `|1|salt|hash` in base64".to_owned());
        }
        if field.starts_with('|') {
            return Err("the host name is hashed in a way that is not known (only |1| is)".to_owned());
        }
        let mut patterns = Vec::new();
        for part in field.split(',').filter(|part| !part.is_empty()) {
            let (negated, name) = part.strip_prefix('!').map_or((false, part), |name| (true, name));
            if name.is_empty() {
                return Err("a host name is empty".to_owned());
            }
            // `[host]:22` is how people write what ssh records as the bare name.
            let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix("]:22")).unwrap_or(name);
            patterns.push(Pattern { negated, glob: bare.to_ascii_lowercase() });
        }
        if patterns.is_empty() {
            return Err("there is no host name".to_owned());
        }
        Ok(HostPatterns::Plain(patterns))
    }

    /// Whether the lower-case entry name (`host` or `[host]:port`) is meant; one negated match outweighs all others.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            HostPatterns::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
            HostPatterns::Plain(patterns) => {
                let mut found = false;
                for pattern in patterns {
                    if glob_matches(pattern.glob.as_bytes(), name.as_bytes()) {
                        if pattern.negated {
                            return false;
                        }
                        found = true;
                    }
                }
                found
            }
        }
    }
}

/// `*` and `?` as in OpenSSH. Linear in memory and at worst quadratic in time: only the last star is backed up to.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at_glob, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (glob.get(at_glob), name.get(at_name)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at_glob + 1, at_name));
                at_glob += 1;
                continue;
            }
            (Some(wanted), Some(byte)) if *wanted == b'?' || wanted == byte => {
                at_glob += 1;
                at_name += 1;
                continue;
            }
            _ => {}
        }
        match star {
            Some((after_star, taken)) if taken < name.len() => {
                at_glob = after_star;
                at_name = taken + 1;
                star = Some((after_star, taken + 1));
            }
            _ => return false,
        }
    }
}
