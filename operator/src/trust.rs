//! The record of host keys: trust on first use, and nothing else without a person's word. Pure.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{crd::HostKeyRecord, observed::ShownHostKey};

/// Records that are kept in all; the oldest go first.
const RECORDS: usize = 16;

/// What looking at a shown key did to the record.
#[derive(Clone, Debug, PartialEq)]
pub enum Trust {
    /// Nothing: the record stays.
    Unchanged,
    /// The first key of this host was recorded.
    Recorded(Vec<HostKeyRecord>),
    /// A person said by annotation to trust the changed key.
    Replaced(Vec<HostKeyRecord>),
}

/// Looks at a key that `host` showed at `port`. `approved` is the fingerprint in the trust annotation.
#[must_use]
pub fn consider(
    records: &[HostKeyRecord],
    host: &str,
    port: u16,
    shown: &ShownHostKey,
    approved: Option<&str>,
    now: Timestamp,
) -> Trust {
    let of_host = |record: &&HostKeyRecord| record.host == host && record.port == i32::from(port);
    let known: Vec<_> = records.iter().filter(of_host).collect();
    if known.iter().any(|record| record.key == shown.key) {
        return Trust::Unchanged;
    }
    let approved = approved.is_some_and(|fingerprint| fingerprint.trim() == shown.fingerprint);
    if !known.is_empty() && !approved {
        return Trust::Unchanged;
    }
    let first = known.is_empty();
    let mut kept: Vec<_> = records.iter().filter(|record| !of_host(record)).cloned().collect();
    let surplus = (kept.len() + 1).saturating_sub(RECORDS);
    kept.drain(..surplus);
    kept.push(HostKeyRecord {
        host: host.to_owned(),
        port: i32::from(port),
        key: shown.key.clone(),
        fingerprint: shown.fingerprint.clone(),
        recorded_at: Time(now),
    });
    if first { Trust::Recorded(kept) } else { Trust::Replaced(kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &str) -> ShownHostKey {
        ShownHostKey { key: format!("ssh-ed25519 {key}"), fingerprint: format!("SHA256:{key}") }
    }

    fn recorded(trust: Trust) -> Vec<HostKeyRecord> {
        match trust {
            Trust::Recorded(records) | Trust::Replaced(records) => records,
            Trust::Unchanged => panic!("nothing was recorded"),
        }
    }

    #[test]
    fn the_first_key_is_recorded_and_another_changes_nothing_until_a_person_names_it() {
        let now = Timestamp::UNIX_EPOCH;
        let first = recorded(consider(&[], "vm", 22, &shown("A"), None, now));
        assert_eq!(first[0].fingerprint, "SHA256:A");
        assert_eq!(consider(&first, "vm", 22, &shown("A"), None, now), Trust::Unchanged);
        assert_eq!(consider(&first, "vm", 22, &shown("B"), None, now), Trust::Unchanged);
        assert_eq!(consider(&first, "vm", 22, &shown("B"), Some("SHA256:A"), now), Trust::Unchanged);
        let Trust::Replaced(second) = consider(&first, "vm", 22, &shown("B"), Some(" SHA256:B\n"), now) else {
            panic!("the approved key was not taken")
        };
        assert_eq!(second.len(), 1);
        assert_eq!(second[0].fingerprint, "SHA256:B");
    }

    #[test]
    fn another_host_or_port_is_another_record_and_going_back_trusts_nothing_anew() {
        let now = Timestamp::UNIX_EPOCH;
        let one = recorded(consider(&[], "a", 22, &shown("A"), None, now));
        let two = recorded(consider(&one, "a", 2222, &shown("B"), None, now));
        assert_eq!(two.len(), 2);
        assert_eq!(consider(&two, "a", 22, &shown("C"), None, now), Trust::Unchanged);
    }

    #[test]
    fn the_record_is_bounded() {
        let mut records = Vec::new();
        for port in 1..=40 {
            records = recorded(consider(&records, "a", port, &shown("A"), None, Timestamp::UNIX_EPOCH));
        }
        assert_eq!(records.len(), RECORDS);
        assert_eq!(records[RECORDS - 1].port, 40);
    }
}
