//! NetworkPolicies hold on the node: kube-router's controller writes them into its iptables, for pods of one bridge too (`links` switches that on).

use crate::components::{Plane, SERVICE_CIDR};
use crate::daemon::{Daemon, words};
use crate::node::{NAME, Node, until};
use crate::parts::Built;
use crate::readiness;

/// On the node; serves `/healthz`.
const PORT: u16 = 20244;

impl Node {
    /// Enforces NetworkPolicies.
    pub(crate) fn network_policy(&self) -> Daemon {
        Daemon::new(&self.state, "network-policy")
    }

    /// Starts the enforcer if it does not run. The node must be known to the API server: the enforcer looks it up once, when it starts.
    pub(super) async fn enforce_policies(&self, plane: &Plane, kubelab: &Built) -> anyhow::Result<()> {
        let daemon = self.network_policy();
        if daemon.pid().is_none() {
            let command = [
                kubelab.program().display().to_string(),
                "network-policy".into(),
                format!("--kubeconfig={}", plane.kubeconfig().display()),
                format!("--hostname-override={NAME}"),
                format!("--service-cluster-ip-range={SERVICE_CIDR}"),
                format!("--health-port={PORT}"),
            ];
            daemon.start(&self.groups, &self.place()?, &words(command))?;
        }
        until("the enforcer of NetworkPolicies", &daemon, async || self.policies_hold().await).await
    }

    pub(crate) async fn policies_hold(&self) -> bool {
        readiness::http(self.network.node, PORT, "/healthz").await.is_some_and(|status| status == 200)
    }
}
