//! ConfigMap `NAME-config`: the way to the VM. Each entry is a variable of the server's environment.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::metadata;
use crate::validated::ValidatedInstance;

pub(super) fn build(instance: &ValidatedInstance) -> ConfigMap {
    let ssh = &instance.ssh;
    let mut data = BTreeMap::from([
        ("SSH_HOST".to_owned(), ssh.host.to_string()),
        ("SSH_PORT".to_owned(), ssh.port.to_string()),
        ("SSH_USER".to_owned(), ssh.user.clone()),
        ("IDEAS_BASE_PATH".to_owned(), ssh.ideas_base_path.clone()),
    ]);
    if let Some(jump) = &ssh.jump {
        data.insert("SSH_JUMP".to_owned(), jump.to_string());
    }
    ConfigMap { metadata: metadata(instance, instance.name.config()), data: Some(data), ..ConfigMap::default() }
}
