//! Where the VM is; the one thing that every step towards it names.

use std::fmt;
use std::net::IpAddr;

/// Where the VM's SSH server is and as whom to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP literal; an IPv6 literal without brackets.
    pub host: String,
    /// TCP port, usually 22.
    pub port: u16,
    /// The account on the VM.
    pub user: String,
}

/// `host:port`, with brackets around an IPv6 literal; what messages name.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// Reads `[user@]host[:port]` as `ssh -J` takes it (one host); an IPv6 literal with a port is in brackets. Without a
    /// user it is `user`, without a port 22. None if it is anything else.
    pub fn parse(text: &str, user: Option<&str>) -> Option<Endpoint> {
        let (user, address) = match text.rsplit_once('@') {
            Some((user, address)) => (user, address),
            None => (user?, text),
        };
        let (host, port) = match (address.strip_prefix('['), address.parse::<IpAddr>()) {
            (Some(rest), _) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<IpAddr>().ok()?;
                (host, if port.is_empty() { "22" } else { port.strip_prefix(':')? })
            }
            (None, Ok(IpAddr::V6(_))) => (address, "22"),
            (None, _) => {
                let (host, port) = address.split_once(':').unwrap_or((address, "22"));
                (!host.contains(':') && !port.contains(':')).then_some((host, port))?
            }
        };
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !"/,[]".contains(c));
        let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
        (plain(host) && plain(user)).then(|| Endpoint { host: host.to_owned(), port, user: user.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_what_they_leave_out() {
        for (text, user, host, port) in [
            ("bastion", "dev", "bastion", 22),
            ("jump@bastion.example.com:2222", "jump", "bastion.example.com", 2222),
            ("10.0.0.7:22", "dev", "10.0.0.7", 22),
            ("fd00::7", "dev", "fd00::7", 22),
            ("jump@[fd00::7]:2222", "jump", "fd00::7", 2222),
            ("[fd00::7]", "dev", "fd00::7", 22),
            ("me@example.com@bastion", "me@example.com", "bastion", 22),
        ] {
            let expected = Endpoint { host: host.to_owned(), port, user: user.to_owned() };
            assert_eq!(Endpoint::parse(text, Some("dev")), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        for text in [
            "",
            "@",
            "@host",
            "host:",
            "host:ssh",
            "host:0",
            "host:70000",
            "a,b",
            "a b",
            "[host]:22",
            "[fd00::7",
            "a:b:c",
            "ssh://a/",
        ] {
            assert_eq!(Endpoint::parse(text, Some("dev")), None, "{text}");
        }
        assert_eq!(Endpoint::parse("host", None), None);
    }
}
