//! `catalyst-proxy check`: the whole way to the VM, step by step, each with what to do when it fails.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use catalyst_ssh::{Connection, Failure, Lane, Pool};
use tokio::net::{TcpStream, lookup_host};

use crate::args::RawSettings;
use crate::dial::Dial;
use crate::remote::Remote;

const STEP: Duration = Duration::from_secs(10);

/// What the VM must have, by one script: each line `name<TAB>ok|warn|fail<TAB>text`.
const LOOK: &str = concat!(include_str!("remote/vm/claude.sh"), include_str!("check.sh"));

/// Prints a line a step.
struct Report<'a, W: Write> {
    out: &'a mut W,
    failed: bool,
}

impl<W: Write> Report<'_, W> {
    fn line(&mut self, mark: &str, step: &str, text: &str) {
        self.failed |= mark == "FAIL";
        let _told = writeln!(self.out, "{mark:<5}{step:<12}{text}");
    }

    fn ok(&mut self, step: &str, text: &str) {
        self.line("ok", step, text);
    }

    fn fail(&mut self, step: &str, text: &str) {
        self.line("FAIL", step, text);
    }
}

/// Goes the whole way; `true` when everything that is needed is there.
pub async fn run(raw: &RawSettings, out: &mut impl Write) -> bool {
    let mut report = Report { out, failed: false };
    if let Err(problems) = raw.check() {
        for problem in &problems.0 {
            report.fail("settings", problem);
        }
    } else {
        report.ok("settings", "all given and sound");
    }
    let Ok(settings) = raw.check_way_to_vm() else { return false };
    let dial = Dial::new(settings);
    // Behind a jump host the VM may have no name and no route here: sign-in shows what lies behind.
    let hop = dial.first_hop();

    match dial.key() {
        Ok(_) => report.ok("key", "the private key can be read"),
        Err(failure) => report.fail("key", &failure.message),
    }
    match dial.known_hosts() {
        Ok(known) if known.is_empty() => report.line("warn", "known hosts", "no host key is known yet"),
        Ok(_) => report.ok("known hosts", "read"),
        Err(failure) => report.fail("known hosts", &failure.message),
    }
    let Some(addresses) = resolve(&mut report, &hop.host, hop.port).await else { return false };
    if !reach(&mut report, &addresses).await {
        return false;
    }
    if sign_in(&mut report, &dial).await.is_none() {
        return false;
    }
    let pool = Pool::new(dial.source(), dial.limits());
    let remote = Remote::new(pool, raw.ideas_base_path.trim());
    match tokio::time::timeout(STEP, remote.pool().sftp()).await {
        Ok(Ok(_)) => report.ok("sftp", "file transfer is there"),
        Ok(Err(failure)) => {
            let remedy =
                "Ideas are read by it: see that sshd_config on the VM has a line `Subsystem sftp internal-sftp`.";
            report.fail("sftp", &format!("{failure} {remedy}"));
        }
        Err(_) => report.fail("sftp", "the VM does not answer"),
    }
    look_around(&mut report, &remote, raw.claude_command.trim()).await;
    remote.pool().close().await;
    !report.failed
}

async fn resolve<W: Write>(report: &mut Report<'_, W>, host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let found = match tokio::time::timeout(STEP, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => {
            report.fail("name", &format!("the DNS server did not answer for {host}. Is egress to port 53 allowed?"));
            return None;
        }
    };
    if found.is_empty() {
        report.fail("name", &format!("{host} has no address. Correct SSH_HOST, or the DNS zone."));
        return None;
    }
    let shown: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    report.ok("name", &format!("{host} is {}", shown.join(", ")));
    Some(found)
}

async fn reach<W: Write>(report: &mut Report<'_, W>, addresses: &[SocketAddr]) -> bool {
    let mut last = String::new();
    for address in addresses {
        let began = Instant::now();
        match tokio::time::timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                report.ok("tcp", &format!("{address} answers after {:.1} ms", began.elapsed().as_secs_f64() * 1000.0));
                return true;
            }
            Ok(Err(error)) => {
                last = format!(
                    "{address}: {error}. Is sshd running, and does a firewall or network policy allow this port?"
                )
            }
            Err(_) => {
                last = format!(
                    "{address} does not answer. Look at the network policy's egress CIDR, the firewall and routes."
                )
            }
        }
    }
    report.fail("tcp", &last);
    false
}

async fn sign_in<W: Write>(report: &mut Report<'_, W>, dial: &Dial) -> Option<()> {
    let attempt = async {
        let connection: Connection = dial.connector()?.connect().await?;
        let shown = connection.host_key().map(catalyst_ssh::fingerprint);
        connection.close().await;
        Ok::<_, Failure>(shown)
    };
    match attempt.await {
        Ok(shown) => {
            report.ok("ssh", &format!("signed in; host key {}", shown.unwrap_or_default()));
            Some(())
        }
        Err(failure) => {
            report.fail("ssh", &format!("{}: {}", failure.reason.as_str(), failure.message));
            None
        }
    }
}

async fn look_around<W: Write>(report: &mut Report<'_, W>, remote: &Remote, claude: &str) {
    let base = match remote.base().await {
        Ok(base) => base,
        Err(error) => return report.fail("shell", &error.to_string()),
    };
    let looked = match remote.sh(Lane::Interactive, LOOK, &[&base, claude], b"").await {
        Ok(looked) => looked,
        Err(error) => return report.fail("shell", &error.to_string()),
    };
    let text = String::from_utf8_lossy(&looked.stdout);
    for line in text.lines() {
        let mut parts = line.splitn(3, '\t');
        if let (Some(step), Some(mark), Some(text)) = (parts.next(), parts.next(), parts.next()) {
            let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
            report.line(if mark == "fail" { "FAIL" } else { mark }, step, &text);
        }
    }
    if looked.status != Some(0) {
        report.fail("shell", "the script that looks at the VM did not come to its end");
    }
}
