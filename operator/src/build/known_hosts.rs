//! ConfigMap `NAME-known-hosts`: made from the spec or from the record in status, mounted in the pods, read again by the
//! server on each connection. It is never itself the record: deleting it trusts nothing anew.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::validated::{HostKeys, ValidatedInstance};

/// The entry, which is also the file's name.
pub(super) const ENTRY: &str = "known_hosts";

pub(super) fn build(instance: &ValidatedInstance) -> ConfigMap {
    let text = match &instance.ssh.host_keys {
        HostKeys::Given(text) => with_final_line_end(text),
        HostKeys::Recorded(lines) if lines.is_empty() => {
            "# No host key has been recorded yet: the server connects to no host.\n".to_owned()
        }
        HostKeys::Recorded(lines) => with_final_line_end(&lines.join("\n")),
    };
    ConfigMap {
        metadata: metadata(instance, instance.name.known_hosts()),
        data: Some(BTreeMap::from([(ENTRY.to_owned(), text)])),
        ..ConfigMap::default()
    }
}

fn with_final_line_end(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
