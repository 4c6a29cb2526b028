//! The forms that single values have to have, their lengths aside (`bounds`). The schema says the same in CEL; a test holds the
//! two together.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::validated::{Host, PublicUrl};

/// A DNS label: a namespace.
pub(super) fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else { return false };
    text.len() <= 63
        && alphanumeric(first)
        && alphanumeric(last)
        && text.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
}

/// A DNS subdomain: the name of a Secret, an IngressClass, the host of an Ingress.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|part| {
            let (Some(first), Some(last)) = (part.bytes().next(), part.bytes().last()) else { return false };
            alphanumeric(first) && alphanumeric(last) && part.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
        })
}

/// `ssh.host`.
pub(super) fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<IpAddr>() {
        // Kubernetes takes no IPv4 address in the notation of IPv6.
        let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
        return (!mapped).then_some(Host::Address(address));
    }
    let edge = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = text.bytes().next().is_some_and(edge)
        && text.bytes().last().is_some_and(edge)
        && text.bytes().all(|byte| edge(byte) || byte == b'.' || byte == b'-')
        && !text.contains("..")
        // Digits and dots alone are a mistyped address.
        && !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    fits.then(|| Host::Name(text.to_owned()))
}

/// `ssh.user`.
pub(super) fn is_user(text: &str) -> bool {
    let body = text.strip_suffix('$').unwrap_or(text);
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    body.bytes().next().is_some_and(first) && body.bytes().all(|byte| first(byte) || b".@+-".contains(&byte))
}

/// `ssh.ideasBasePath`.
pub(super) fn is_base_path(text: &str) -> bool {
    let anchored = text == "~" || text.starts_with("~/") || (text.starts_with('/') && text.len() > 1);
    anchored && !text.chars().any(char::is_control)
}

/// `ssh.keyPath` as folder and file name.
pub(super) fn key_path(text: &str) -> Option<(String, String)> {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let parts: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
    if !(2..=8).contains(&parts.len()) || !parts.iter().all(|name| part(name)) {
        return None;
    }
    let (folder, file) = text.rsplit_once('/')?;
    Some((folder.to_owned(), file.to_owned()))
}

/// A range of addresses, written as the API server takes it: no zero before a number, which some read as octal, and no IPv4
/// as IPv6. Host bits are cut off as a NetworkPolicy wants it.
pub(super) fn cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let disguised = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    let range = IpNet::new(address, length.parse().ok()?).ok()?;
    (plain && !disguised).then(|| range.trunc())
}

/// `publicUrl`.
pub(super) fn public_url(text: &str) -> Option<PublicUrl> {
    let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (name, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            (format!("[{address}]"), port)
        }
        None => {
            let (name, port) = match rest.find(':') {
                Some(colon) => rest.split_at_checked(colon)?,
                None => (rest, ""),
            };
            let edge = |byte: u8| byte.is_ascii_alphanumeric();
            let fits = name.bytes().next().is_some_and(edge)
                && name.bytes().last().is_some_and(edge)
                && name.bytes().all(|byte| edge(byte) || byte == b'.' || byte == b'-');
            if !fits {
                return None;
            }
            (name.to_ascii_lowercase(), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    // Browsers leave the scheme's own port out of the origin.
    let own = if https { 443 } else { 80 };
    Some(PublicUrl { https, host: name, port: port.filter(|port| *port != own) })
}

/// `image.repository`.
pub(super) fn is_repository(text: &str) -> bool {
    let mut parts = text.split('/');
    let registry = parts.next().unwrap_or_default();
    let (name, port) = registry.split_once(':').unwrap_or((registry, "0"));
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    let registry_fits = name.bytes().next().is_some_and(edge)
        && name.bytes().last().is_some_and(edge)
        && name.bytes().all(|byte| edge(byte) || byte == b'.' || byte == b'-')
        && (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit());
    let path_part = |part: &str| {
        let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        part.bytes().next().is_some_and(edge)
            && part.bytes().last().is_some_and(edge)
            && part.bytes().all(|byte| edge(byte) || b"._-".contains(&byte))
    };
    registry_fits && parts.all(path_part)
}

/// `image.tag`.
pub(super) fn is_tag(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.bytes().next().is_some_and(first) && text.bytes().all(|byte| first(byte) || byte == b'.' || byte == b'-')
}

/// `image.digest`.
pub(super) fn is_digest(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

/// The name of an environment variable.
pub(super) fn is_variable(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(first) && text.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
}

/// The key of an entry of a Secret or a ConfigMap.
pub(super) fn is_entry(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !text.is_empty() && text != "." && !text.starts_with("..") && text.bytes().all(fits)
}

/// The key of a label, a taint or (in lower case) an annotation: `[prefix/]name`.
pub(super) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_value(name)
}

/// The value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 63
        && text.bytes().next().is_none_or(edge)
        && text.bytes().last().is_none_or(edge)
        && text.bytes().all(|byte| edge(byte) || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_never_mistyped_addresses() {
        assert!(matches!(host("192.168.1.100"), Some(Host::Address(_))));
        assert!(matches!(host("fd00::1"), Some(Host::Address(_))));
        assert!(matches!(host("dev-vm.example.com"), Some(Host::Name(_))));
        for wrong in [
            "",
            "192.168.1.300",
            "10.0.0",
            "a..b",
            "-a",
            "user@host",
            "ssh://host",
            "host:22",
            "a b",
            "[::1]",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_public_url_is_an_origin_without_the_schemes_own_port() {
        let origin = |text: &str| public_url(text).map(|url| url.origin());
        assert_eq!(origin("https://Catalyst.Example.com:443/").as_deref(), Some("https://catalyst.example.com"));
        assert_eq!(origin("http://catalyst.localhost:8080").as_deref(), Some("http://catalyst.localhost:8080"));
        assert_eq!(origin("http://[FD00::1]:80").as_deref(), Some("http://[fd00::1]"));
        for wrong in
            ["", "ftp://a", "https://", "https://a/b", "https://a?b", "https://u@a", "http://a:0", "http://a:70000"]
        {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_path_splits_into_mount_and_entry() {
        assert_eq!(key_path("/secrets/ssh/id_ed25519"), Some(("/secrets/ssh".into(), "id_ed25519".into())));
        for wrong in ["", "/", "/key", "secrets/key", "/secrets/../key", "/secrets//key", "/secrets/ssh/", "/a b/c"] {
            assert_eq!(key_path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_range_loses_its_host_bits() {
        assert_eq!(cidr("192.168.1.100/24").unwrap().to_string(), "192.168.1.0/24");
        assert_eq!(cidr("::/0").unwrap().to_string(), "::/0");
        for none in ["192.168.1.100", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/33", "::ffff:10.0.0.0/104"]
        {
            assert_eq!(cidr(none), None, "{none}");
        }
    }
}
