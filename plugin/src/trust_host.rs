//! `trust-host`: shows the host key that was recorded and the one that the VM shows now, and trusts the latter if told to.

use std::io::{IsTerminal, Write};

use anyhow::bail;
use catalyst_operator::{
    crd::{CatalystInstance, TRUST_HOST_KEY_ANNOTATION},
    reason::Reason,
};

use crate::{
    args,
    context::{Context, place},
};

/// Whether the key is trusted now, or there is nothing to decide.
pub(crate) async fn run(context: &Context, args: &args::TrustHost) -> anyhow::Result<bool> {
    let instance = context.instance(&args.which).await?;
    let ssh = &instance.spec.ssh;
    if ssh.known_hosts.is_some() {
        bail!("the host keys of {} are given in spec.ssh.knownHosts: correct them there", place(&instance));
    }
    let recorded = recorded(&instance);
    for fingerprint in &recorded {
        println!("recorded  {fingerprint}");
    }
    let Some(seen) = seen(&instance) else {
        if recorded.is_empty() {
            println!("No host key of {} is recorded yet; the first one that it shows will be.", ssh.host);
        } else {
            println!("{} shows the key that is recorded: nothing is to be decided.", ssh.host);
        }
        return Ok(true);
    };
    println!("shown now {seen}");
    if let Some(compared) = args.fingerprint.as_ref().filter(|compared| **compared != seen) {
        bail!("{} shows {seen}, not {compared} that you have compared: it is not trusted", ssh.host);
    }
    if !args.yes && !confirmed(&ssh.host)? {
        println!("It is not trusted; nothing was changed.");
        return Ok(false);
    }
    context.annotate(&instance, TRUST_HOST_KEY_ANNOTATION, &seen).await?;
    println!("{seen} is trusted for {}. The pods use it within a minute.", ssh.host);
    Ok(true)
}

/// Fingerprints that are recorded for the host and port of the spec.
fn recorded(instance: &CatalystInstance) -> Vec<String> {
    let ssh = &instance.spec.ssh;
    let port = ssh.port.as_ref().and_then(|port| port.number()).map_or(22, i32::from);
    let records = instance.status.iter().flat_map(|status| &status.host_keys);
    let these = records.filter(|record| record.host == ssh.host && record.port == port);
    these.map(|record| record.fingerprint.clone()).collect()
}

/// The fingerprint that the operator saw in place of the recorded one: its message has the annotation that would trust it.
fn seen(instance: &CatalystInstance) -> Option<String> {
    let conditions = instance.status.iter().flat_map(|status| &status.conditions);
    let changed = conditions.into_iter().find(|condition| condition.reason == Reason::HostKeyChanged.as_str())?;
    let (_, after) = changed.message.split_once(&format!("{TRUST_HOST_KEY_ANNOTATION}="))?;
    let fingerprint = after.split_whitespace().next()?;
    Some(fingerprint.trim_end_matches('.').to_owned())
}

fn confirmed(host: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here; compare the fingerprint and give it: --fingerprint SHA256:… --yes");
    }
    print!(
        "Compare it with what the VM's console shows (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). Trust it for {host}? [y/N] "
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_key_that_is_shown_is_read_from_what_the_operator_says() {
        let message = format!(
            "The key changed. If you know why, run: kubectl annotate -n n cati x --overwrite {TRUST_HOST_KEY_ANNOTATION}=SHA256:new"
        );
        let instance: CatalystInstance = serde_json::from_value(json!({"metadata": {"name": "x"},
            "spec": {"ssh": {"host": "h", "user": "u", "port": "2222"}}, "status": {
                "hostKeys": [{"host": "h", "port": 2222, "key": "k", "fingerprint": "SHA256:old", "recordedAt": "2026-01-01T00:00:00Z"},
                    {"host": "h", "port": 22, "key": "k", "fingerprint": "SHA256:other", "recordedAt": "2026-01-01T00:00:00Z"}],
                "conditions": [{"type": "Ready", "status": "False", "reason": "HostKeyChanged", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
        .unwrap();
        assert_eq!(seen(&instance).as_deref(), Some("SHA256:new"));
        assert_eq!(recorded(&instance), ["SHA256:old"]);
    }
}
