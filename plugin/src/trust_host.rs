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
    if !changed(&instance) {
        let another = |compared: &&String| !recorded.is_empty() && !recorded.contains(compared);
        if let Some(compared) = args.fingerprint.as_ref().filter(another) {
            bail!("{} shows the key that is recorded, and not {compared}, which you have compared", ssh.host);
        }
        if recorded.is_empty() {
            println!("No host key of {} is recorded yet; the first one that it shows will be.", ssh.host);
        } else {
            println!("{} shows the key that is recorded: nothing is to be decided.", ssh.host);
        }
        return Ok(true);
    }
    let Some(seen) = instance.status.as_ref().and_then(|status| status.changed_host_key.clone()) else {
        bail!(
            "the pods see another key of {} than the recorded one, but the operator has not seen it itself, so there is nothing to \
             compare. Set spec.ssh.knownHosts to the line of the right key",
            ssh.host
        );
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

/// Whether the VM shows another key than the one on record.
fn changed(instance: &CatalystInstance) -> bool {
    let mut conditions = instance.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.reason == Reason::HostKeyChanged.as_str())
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
    fn the_records_of_other_ports_are_not_shown_and_a_change_is_known_by_its_reason() {
        let record = |port: u16, fingerprint: &str| json!({"host": "h", "port": port, "key": "k", "fingerprint": fingerprint, "recordedAt": "2026-01-01T00:00:00Z"});
        let with = |reason: &str| -> CatalystInstance {
            let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "Words.",
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            let status =
                json!({"hostKeys": [record(2222, "SHA256:old"), record(22, "SHA256:other")], "conditions": [ready]});
            let spec = json!({"ssh": {"host": "h", "user": "u", "port": "2222"}});
            serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": spec, "status": status})).unwrap()
        };
        assert_eq!(recorded(&with("HostKeyChanged")), ["SHA256:old"]);
        assert!(changed(&with("HostKeyChanged")) && !changed(&with("SSHAuthRejected")));
    }
}
