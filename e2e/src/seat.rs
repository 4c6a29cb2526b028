//! A way past the ingress to one pod of an instance, where it matters to which a person comes: a Service of its own that selects the pod by a
//! label, on a port of the node. The instance must have no NetworkPolicy, which would not let anybody in from there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::eventually::eventually;
use crate::instance::Instance;
use crate::stage::Stage;

/// How long the node may take to follow the Service.
const SETTLED: Duration = Duration::from_secs(30);

/// The Service; it goes with the namespace.
pub struct Seat<'a> {
    instance: &'a Instance<'a>,
    label: String,
    address: SocketAddr,
}

impl<'a> Seat<'a> {
    /// Makes the Service `name` and waits until it leads to the pod.
    ///
    /// # Errors
    /// When it does not in 30 s.
    pub async fn at(stage: &Stage, instance: &'a Instance<'a>, name: &str, pod: &str) -> Result<Self> {
        let label = format!("seat-{name}");
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": instance.namespace()},
            "spec": {"type": "NodePort", "selector": {&label: "here"}, "ports": [{"port": 3001}]},
        });
        stage.apply(&service.to_string()).await?;
        let service = instance.get(&format!("service/{name}")).await?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().context("a port of the node")?;
        let address = SocketAddr::new(stage.lab().network().node, port.try_into()?);
        let seat = Self { instance, label, address };
        seat.lead_to(pod).await?;
        eventually(&format!("an answer from {pod}"), SETTLED, || async {
            let answer = reqwest::get(format!("http://{address}/livez")).await?;
            ensure!(answer.status() == 200, "{}", answer.status());
            Ok(())
        })
        .await?;
        Ok(seat)
    }

    /// Leads to that pod too, as a Service does when another pod has gone.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn lead_to(&self, pod: &str) -> Result<()> {
        self.instance.kubectl(&["label", "pod", pod, &format!("{}=here", self.label)]).await.map(drop)
    }

    /// Where it is, for [`crate::browser::Browser::start_by`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
