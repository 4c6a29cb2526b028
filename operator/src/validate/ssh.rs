//! The way to the VM: host, port, user, paths, key and host keys.

use catalyst_ssh::{KnownHosts, PublicKey, known_hosts_line, parse_private_key, public_line};

use super::findings::Findings;
use super::text;
use crate::crd::{HostKeyRecord, JumpSpec, SshSpec};
use crate::names::InstanceName;
use crate::observed::{Ownership, Referenced, SshKeySecret};
use crate::reason::Reason;
use crate::validated::{Host, HostKeys, Jump, KeyState, KeyUse, Ssh};

const DEFAULT_PORT: u16 = 22;
const DEFAULT_BASE_PATH: &str = "~/catalyst/ideas";
const DEFAULT_KEY_PATH: &str = "/secrets/ssh/id_ed25519";
/// Folders in the container that hold something else.
const TAKEN_FOLDERS: [&str; 6] = ["/tmp", "/etc", "/proc", "/sys", "/dev", crate::container::KNOWN_HOSTS_FOLDER];

/// `None` if anything stops it; `findings` says what.
pub(super) fn validate(
    spec: &SshSpec,
    recorded: &[HostKeyRecord],
    secret: &Referenced<SshKeySecret>,
    name: &InstanceName,
    namespace: &str,
    findings: &mut Findings,
) -> Option<Ssh> {
    let host = text::host(&spec.host).or_else(|| {
        findings.invalid(
            "ssh.host",
            format_args!(
                "is {:?}; it must be a host name or an IP address alone, such as dev-vm.example.com",
                spec.host
            ),
        )
    });
    let port = match &spec.port {
        None => Some(DEFAULT_PORT),
        Some(port) => port.number().or_else(|| findings.invalid("ssh.port", "must be a port from 1 to 65535")),
    };
    let user = if text::is_user(&spec.user) {
        Some(spec.user.clone())
    } else {
        findings.invalid("ssh.user", "must be a user name of letters, digits and _ . @ + -, such as vagrant")
    };
    let jump = match &spec.jump {
        None => Some(None),
        Some(_) if spec.known_hosts.is_none() => findings.invalid(
            "ssh.knownHosts",
            "is required with ssh.jump, with the host keys of the jump host and of the VM: through a jump host the operator \
             records none",
        ),
        Some(jump) => self::jump(jump, &spec.user, findings).map(Some),
    };
    let base_path = spec.ideas_base_path.as_deref().unwrap_or(DEFAULT_BASE_PATH);
    let ideas_base_path = if text::is_base_path(base_path) {
        Some(base_path.to_owned())
    } else {
        findings.invalid("ssh.ideasBasePath", "must be an absolute path or begin with ~/, such as ~/catalyst/ideas")
    };
    let key = key(spec, secret, name, namespace, findings);
    let host_keys = match (&spec.known_hosts, &host, port) {
        (Some(given), ..) => given_host_keys(given, findings),
        (None, Some(host), Some(port)) => Some(HostKeys::Recorded(recorded_lines(recorded, host, port))),
        (None, ..) => None,
    };
    Some(Ssh {
        host: host?,
        port: port?,
        user: user?,
        jump: jump?,
        ideas_base_path: ideas_base_path?,
        key: key?,
        host_keys: host_keys?,
    })
}

fn jump(spec: &JumpSpec, user: &str, findings: &mut Findings) -> Option<Jump> {
    let host = text::host(&spec.host).or_else(|| {
        findings.invalid(
            "ssh.jump.host",
            format_args!(
                "is {:?}; it must be a host name or an IP address alone, such as bastion.example.com",
                spec.host
            ),
        )
    });
    let port = match &spec.port {
        None => Some(DEFAULT_PORT),
        Some(port) => port.number().or_else(|| findings.invalid("ssh.jump.port", "must be a port from 1 to 65535")),
    };
    let user = match spec.user.as_deref() {
        Some(user) if !text::is_user(user) => {
            findings.invalid("ssh.jump.user", "must be a user name of letters, digits and _ . @ + -, such as vagrant")
        }
        given => Some(given.unwrap_or(user).to_owned()),
    };
    Some(Jump { host: host?, port: port?, user: user? })
}

fn given_host_keys(given: &str, findings: &mut Findings) -> Option<HostKeys> {
    match KnownHosts::parse(given) {
        Ok(known) if known.is_empty() => findings.invalid("ssh.knownHosts", "has no entry; remove it or add one"),
        Ok(_) => Some(HostKeys::Given(given.to_owned())),
        Err(error) => findings.invalid("ssh.knownHosts", format_args!("cannot be read: {error}")),
    }
}

/// Records of another host or port say nothing about this one; one that no longer parses is as if it were not there.
fn recorded_lines(records: &[HostKeyRecord], host: &Host, port: u16) -> Vec<String> {
    let host = host.to_string();
    records
        .iter()
        .filter(|record| record.host == host && record.port == i32::from(port))
        .filter_map(|record| PublicKey::from_openssh(&record.key).ok())
        .map(|key| known_hosts_line(&host, port, &key).trim_end().to_owned())
        .collect()
}

fn key(
    spec: &SshSpec,
    secret: &Referenced<SshKeySecret>,
    name: &InstanceName,
    namespace: &str,
    findings: &mut Findings,
) -> Option<KeyUse> {
    let path = spec.key_path.as_deref().unwrap_or(DEFAULT_KEY_PATH);
    let Some((folder, entry)) = text::key_path(path).filter(|(folder, _)| !TAKEN_FOLDERS.contains(&folder.as_str()))
    else {
        return findings.invalid(
            "ssh.keyPath",
            "must be an absolute path of a file in a folder of its own, such as /secrets/ssh/id_ed25519",
        );
    };
    let existing = spec.existing_key_secret.as_deref();
    if existing.is_some_and(|secret| !text::is_dns_subdomain(secret)) {
        return findings.invalid("ssh.existingKeySecret", "must be the name of a Secret");
    }
    let secret_name = existing.map_or_else(|| name.ssh_key(), str::to_owned);
    let state = match (secret, existing) {
        (Referenced::Missing, None) => KeyState::ToGenerate,
        (Referenced::Missing, Some(_)) => {
            return findings.stop(
                Reason::SecretMissing,
                Some("ssh.existingKeySecret"),
                format!(
                    "Secret {secret_name}, which ssh.existingKeySecret names, does not exist. Create it (kubectl create secret \
                     generic {secret_name} -n {namespace} --from-file={entry}=PRIVATE_KEY_FILE), or remove ssh.existingKeySecret to \
                     have a key generated."
                ),
            );
        }
        (Referenced::Found { owner, .. }, None) if owner.is_predecessors(name.as_str()) => {
            return findings.predecessors("Secret", &secret_name);
        }
        (Referenced::Found { owner: Ownership::Foreign(_), .. }, None) => {
            return findings.stop(
                Reason::NameConflict,
                Some("ssh.existingKeySecret"),
                format!(
                    "Secret {secret_name} exists and was not made by the operator. To use it, set ssh.existingKeySecret: \
                     {secret_name}; to have a key generated, delete it."
                ),
            );
        }
        (Referenced::Found { value, owner }, _) => {
            let Some(bytes) = value.entries.get(&entry) else {
                return findings.stop(
                    Reason::SSHKeyInvalid,
                    Some("ssh.existingKeySecret"),
                    format!(
                        "Secret {secret_name} has no entry {entry}{}. {}",
                        entries_there(value),
                        match owner {
                            Ownership::Ours => "Delete the Secret to have a new key generated.",
                            Ownership::Foreign(_) =>
                                "Add the private key under that name, or set ssh.keyPath to end in the entry's name.",
                        }
                    ),
                );
            };
            if bytes.expose().contains(&b'\r') {
                // Ours reads it; OpenSSH, which other images call, takes it for no key at all.
                return findings.stop(
                    Reason::SSHKeyInvalid,
                    Some("ssh.existingKeySecret"),
                    format!(
                        "The private key in Secret {secret_name}, entry {entry}, has the line ends of Windows, which OpenSSH does not \
                         read. Put it there without them: tr -d '\\r' < FILE > KEY; kubectl create secret generic {secret_name} -n \
                         {namespace} --from-file={entry}=KEY --dry-run=client -o yaml | kubectl replace -f -"
                    ),
                );
            }
            match parse_private_key(bytes.expose()) {
                Ok(key) => {
                    KeyState::Present { public_line: public_line(&key, &format!("catalyst-{namespace}-{name}")) }
                }
                Err(problem) => {
                    return findings.stop(
                        Reason::SSHKeyInvalid,
                        Some("ssh.existingKeySecret"),
                        format!("The private key in Secret {secret_name}, entry {entry}, cannot be used: {problem}"),
                    );
                }
            }
        }
    };
    Some(KeyUse { secret: secret_name, entry, folder, state })
}

/// Names of entries are no secrets, and the right one is often there under another name.
fn entries_there(secret: &SshKeySecret) -> String {
    let names: Vec<&str> = secret.entries.keys().map(String::as_str).take(5).collect();
    if names.is_empty() { " (it is empty)".to_owned() } else { format!(" (it has {})", names.join(", ")) }
}
