//! The two commands that people run in the pod: the image has nothing but this binary, which answers to their names.
//!
//! `curl -s [URL]`: plain http to this very host. `nc -zv HOST PORT`: whether a TCP connection can be made.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: u64 = 16 * 1024 * 1024;

/// Runs the tool that the binary was called as; `None` when it was called by its own name.
pub fn by_name(mut args: impl Iterator<Item = String>) -> Option<i32> {
    let called = args.next()?;
    let args: Vec<String> = args.collect();
    match called.rsplit('/').next()? {
        "curl" => Some(curl(&args, &mut std::io::stdout(), &mut std::io::stderr())),
        "nc" => Some(nc(&args, &mut std::io::stderr())),
        _ => None,
    }
}

/// Exit codes as curl's: 0; 2 usage; 3 URL; 6 not this host; 7 no connection; 22 with -f; 28 time; 56 broken.
fn curl(args: &[String], out: &mut impl Write, complaints: &mut impl Write) -> i32 {
    let (mut url, mut silent, mut head, mut fail) = (None, false, false, false);
    for arg in args {
        match arg.strip_prefix('-') {
            None => url = Some(arg.as_str()),
            Some(flags) => {
                for flag in flags.trim_start_matches('-').chars() {
                    match flag {
                        's' => silent = true,
                        'i' => head = true,
                        'f' => fail = true,
                        'S' | 'L' | 'v' => {}
                        other => {
                            let _told = writeln!(
                                complaints,
                                "curl: option -{other} is not known; this small curl knows: curl [-sSif] [http://localhost:PORT/PATH]"
                            );
                            return 2;
                        }
                    }
                }
            }
        }
    }
    let url = url.unwrap_or("http://localhost:3001/api/health");
    match get(url) {
        Ok(answer) => {
            let failed = fail && answer.status >= 400;
            let shown: &[&[u8]] = if head { &[&answer.head, b"\r\n\r\n", &answer.body] } else { &[&answer.body] };
            if !failed {
                for part in shown {
                    let _told = out.write_all(part);
                }
                let _told = out.flush();
            } else if !silent {
                let _told = writeln!(complaints, "curl: the answer was {}", answer.status);
            }
            if failed { 22 } else { 0 }
        }
        Err((code, problem)) => {
            if !silent || code < 7 {
                let _told = writeln!(complaints, "curl: {problem}");
            }
            code
        }
    }
}

struct Answer {
    status: u16,
    head: Vec<u8>,
    body: Vec<u8>,
}

fn get(url: &str) -> Result<Answer, (i32, String)> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err((3, format!("{scheme} is not known here, only http"))),
        None => url,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, "80"),
    };
    let port: u16 = port.parse().map_err(|_| (3, format!("{port:?} is not a port")))?;
    let host = match host {
        "localhost" | "127.0.0.1" => "127.0.0.1",
        "[::1]" => "::1",
        other => return Err((6, format!("{other} is not this host; this small curl only asks localhost"))),
    };
    if path.bytes().any(|b| b.is_ascii_control() || b == b' ') {
        return Err((3, "the URL has characters that need percent-encoding".to_owned()));
    }
    let broken = |error: std::io::Error| (56, format!("the connection broke: {error}"));
    let mut stream = connect(host, port).map_err(|error| (7, format!("localhost port {port}: {error}")))?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(broken)?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\nUser-Agent: catalyst-proxy\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(broken)?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut bytes).map_err(broken)?;
    parse(&bytes).ok_or_else(|| (56, "the answer is not HTTP".to_owned()))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, rest) = bytes.split_at(end);
    let status = std::str::from_utf8(head).ok()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_vec(), body: rest.get(4..)?.to_vec() })
}

/// As `nc -zv` says it, on stderr; 0 or 1.
fn nc(args: &[String], told: &mut impl Write) -> i32 {
    let mut wait = DEADLINE;
    let mut words = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-w" => wait = args.next().and_then(|s| s.parse().ok()).map_or(DEADLINE, Duration::from_secs),
            flags if flags.starts_with('-') && flags.chars().skip(1).all(|flag| "zvn".contains(flag)) => {}
            word if !word.starts_with('-') => words.push(word),
            other => {
                let _told = writeln!(
                    told,
                    "nc: option {other} is not known; this small nc knows: nc -zv [-w SECONDS] HOST PORT"
                );
                return 1;
            }
        }
    }
    let [host, port] = words.as_slice() else {
        let _told = writeln!(told, "usage: nc -zv [-w SECONDS] HOST PORT");
        return 1;
    };
    let outcome = match port.parse::<u16>() {
        Ok(port) => connect_within(host, port, wait).map_err(|error| error.to_string()),
        Err(_) => Err("that is not a port".to_owned()),
    };
    match outcome {
        Ok(stream) => {
            let address = stream.peer_addr().map_or_else(|_| (*host).to_owned(), |peer| peer.ip().to_string());
            let _told = writeln!(told, "Connection to {host} ({address}) {port} port [tcp/*] succeeded!");
            0
        }
        Err(problem) => {
            let _told = writeln!(told, "nc: connect to {host} port {port} (tcp) failed: {problem}");
            1
        }
    }
}

fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    connect_within(host, port, DEADLINE)
}

fn connect_within(host: &str, port: u16, wait: Duration) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name has no address");
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, wait) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn curl_says(line: &str) -> (i32, String, String) {
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        let code = curl(&words(line), &mut out, &mut complaints);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(complaints).unwrap())
    }

    fn answering(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _request = stream.read(&mut [0; 1024]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        port
    }

    #[test]
    fn curl_prints_the_body_also_of_a_failure() {
        let port = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(curl_says(&format!("-s localhost:{port}/api/health")), (0, "{}".into(), String::new()));
        let port = answering("HTTP/1.0 503 x\r\n\r\n{}");
        assert_eq!(curl_says(&format!("-sf http://127.0.0.1:{port}")).0, 22);
    }

    #[test]
    fn curl_asks_no_other_host_and_says_what_is_wrong() {
        assert_eq!(curl_says("-s http://example.com/").0, 6);
        assert_eq!(curl_says("-s https://localhost/").0, 3);
        assert_eq!(curl_says("-d x localhost").0, 2);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (code, _, complaint) = curl_says(&format!("localhost:{free}"));
        assert_eq!(code, 7);
        assert!(complaint.contains("refused"), "{complaint}");
    }

    #[test]
    fn nc_tells_an_open_port_from_a_closed_one() {
        let says = |line: String| {
            let mut told = Vec::new();
            (nc(&words(&line), &mut told), String::from_utf8(told).unwrap())
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (code, text) = says(format!("-zv 127.0.0.1 {port}"));
        assert!(code == 0 && text.contains("succeeded!"), "{text}");
        drop(listener);
        let (code, text) = says(format!("-z -v -w 2 127.0.0.1 {port}"));
        assert!(code == 1 && text.contains("refused"), "{text}");
        assert_eq!(says("-zv".into()).0, 1);
    }
}
