//! Who asks: the rightmost address that a trusted proxy vouches for.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The nearest address that is not a trusted proxy.
    pub address: IpAddr,
    /// The request came through a proxy that is not trusted: many people may share the address.
    pub shared: bool,
}

/// Finds the client of a connection's request.
pub fn client(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Client {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let peer = peer.ip().to_canonical();
    if !is_trusted(&peer) {
        let forwarded = ["x-forwarded-for", "forwarded", "x-real-ip"].iter().any(|name| headers.contains_key(*name));
        return Client { address: peer, shared: forwarded };
    }
    let mut nearest = peer;
    // Each proxy appends to the right; an entry counts only while all those to its right are trusted.
    for value in headers.get_all("x-forwarded-for").iter().rev() {
        let Ok(text) = value.to_str() else { break };
        for entry in text.rsplit(',') {
            let Some(address) = parse(entry.trim()) else { return Client { address: nearest, shared: true } };
            nearest = address;
            if !is_trusted(&address) {
                return Client { address, shared: false };
            }
        }
    }
    Client { address: nearest, shared: false }
}

/// An address with or without a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let address = entry.parse::<IpAddr>().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, forwarded: &[&str], trusted: &[&str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let client = client(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &trusted);
        (client.address.to_string(), client.shared)
    }

    #[test]
    fn a_header_from_a_stranger_is_not_believed() {
        assert_eq!(found("203.0.113.9", &[], &[]), ("203.0.113.9".into(), false));
        assert_eq!(found("203.0.113.9", &["1.2.3.4"], &["10.0.0.0/8"]), ("203.0.113.9".into(), true));
    }

    #[test]
    fn the_rightmost_untrusted_address_counts() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(found("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"], trusted).0, "198.51.100.7");
        assert_eq!(found("::ffff:10.0.0.1", &["6.6.6.6", "198.51.100.7:4711"], trusted).0, "198.51.100.7");
        assert_eq!(found("10.0.0.1", &["10.0.0.9"], trusted), ("10.0.0.9".into(), false));
        assert_eq!(found("10.0.0.1", &["1.2.3.4, unknown"], trusted), ("10.0.0.1".into(), true));
    }
}
