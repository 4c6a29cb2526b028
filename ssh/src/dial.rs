//! From a host name to a TCP connection: resolve, then try IPv6 and IPv4 addresses staggered (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};

pub(crate) const NO_DNS_ANSWER: &str = "got no answer from DNS";
/// How long an address is waited for before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the first address that answers.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    addresses: Vec<SocketAddr>,
    deadline: Duration,
) -> Result<TcpStream, Failure> {
    let stream = match timeout(deadline, first_to_connect(interleave(addresses))).await {
        Ok(connected) => connected.map_err(|error| connect_failure(endpoint, &error))?,
        Err(_) => return Err(unanswered(endpoint, deadline.as_secs())),
    };
    // Frames are small and latency is what users feel; a failure here only costs speed.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    Ok(stream)
}

/// Names a connection that nobody answered.
pub(crate) fn unanswered(endpoint: &Endpoint, seconds: u64) -> Failure {
    Failure::new(
        Reason::HostUnreachable,
        format!(
            "{endpoint} did not answer within {seconds} s: see that the VM runs, that the address is right, and that no \
             firewall or NetworkPolicy drops the connection."
        ),
    )
}

/// Names a name server that did not answer, or a name without an address.
pub(crate) fn unresolvable(endpoint: &Endpoint, cause: &str) -> Failure {
    Failure::new(
        Reason::HostUnresolvable,
        format!(
            "The host name {} {cause}: correct it, or see that the cluster's DNS knows it; an IP address works too.",
            endpoint.host
        ),
    )
}

/// The addresses of the endpoint; a literal is its own.
pub(crate) async fn resolve(endpoint: &Endpoint, deadline: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let bare = endpoint.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, endpoint.port)]);
    }
    let addresses: Vec<SocketAddr> =
        match timeout(deadline, tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port))).await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) => return Err(unresolvable(endpoint, "cannot be resolved")),
            Err(_) => return Err(unresolvable(endpoint, NO_DNS_ANSWER)),
        };
    if addresses.is_empty() { Err(unresolvable(endpoint, "has no address")) } else { Ok(addresses) }
}

/// Alternates the address families, beginning with the resolver's first choice.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut other = other.into_iter();
    let mut ordered = Vec::new();
    for address in preferred {
        ordered.push(address);
        ordered.extend(other.next());
    }
    ordered.extend(other);
    ordered
}

async fn first_to_connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(address));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = Some(telling(failure, error)),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::NotFound.into())),
            },
            () = sleep(STAGGER), if more => {}
        }
    }
}

/// A refusal says more than a missing route: the host is there.
fn telling(earlier: Option<io::Error>, later: io::Error) -> io::Error {
    match earlier {
        Some(earlier) if earlier.kind() == io::ErrorKind::ConnectionRefused => earlier,
        _ => later,
    }
}

fn connect_failure(endpoint: &Endpoint, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return Failure::new(
            Reason::ConnectionRefused,
            format!(
                "{endpoint} refuses the connection: nothing listens on that port. Start the SSH server on the VM \
                 (systemctl enable --now ssh), or correct the port."
            ),
        );
    }
    let cause = match error.kind() {
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route leads to the host",
        io::ErrorKind::PermissionDenied => "a local rule forbids the connection",
        io::ErrorKind::TimedOut => "the host does not answer",
        _ => "the connection could not be made",
    };
    Failure::new(
        Reason::HostUnreachable,
        format!(
            "{endpoint} cannot be reached, {cause}: see that the VM runs, that the address is right, and that a firewall or \
             NetworkPolicy lets the connection through."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        Endpoint { host: host.to_owned(), port, user: "dev".to_owned() }
    }

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let addresses = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"].map(parse).to_vec();
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(parse).to_vec();
        assert_eq!(interleave(addresses), expected);
    }

    #[tokio::test]
    async fn a_name_that_no_resolver_knows_is_unresolvable() {
        let failure = resolve(&endpoint("no-such-host.invalid", 22), Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failure.reason, Reason::HostUnresolvable);
        assert!(failure.message.contains("no-such-host.invalid"), "{failure}");
    }

    #[tokio::test]
    async fn literals_of_both_families_are_taken_as_they_are() {
        for (host, expected) in
            [("10.0.0.7", "10.0.0.7:22"), ("fd00::7", "[fd00::7]:22"), ("[fd00::7]", "[fd00::7]:22")]
        {
            let addresses = resolve(&endpoint(host, 22), Duration::from_secs(5)).await.unwrap();
            assert_eq!(addresses, [expected.parse().unwrap()]);
        }
    }

    #[tokio::test]
    async fn an_address_that_drops_packets_is_unreachable_and_another_is_tried_beside_it() {
        // A full backlog drops what comes.
        let full = tokio::net::TcpSocket::new_v4().unwrap();
        full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = full.listen(0).unwrap();
        let silent = full.local_addr().unwrap();
        let _filler = TcpStream::connect(silent).await.unwrap();
        let failure = connect(&endpoint("vm", 22), vec![silent], Duration::from_millis(300)).await.unwrap_err();
        assert_eq!(failure.reason, Reason::HostUnreachable, "{failure}");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let stream = connect(&endpoint("vm", 22), vec![silent, good], Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn a_working_address_is_found_behind_a_refusing_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        let stream = first_to_connect(vec![refusing, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let refused = first_to_connect(vec![refusing]).await.unwrap_err();
        assert_eq!(connect_failure(&endpoint("h", 1), &refused).reason, Reason::ConnectionRefused);
    }
}
