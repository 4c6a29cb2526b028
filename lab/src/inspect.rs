//! Asks every part of a lab whether it is there.

use std::net::SocketAddr;

use crate::cluster::{CONTROLLER_MANAGER_PORT, Cluster, SCHEDULER_PORT};
use crate::daemon::{Daemon, resident_bytes};
use crate::node;
use crate::status::PartStatus;
use crate::vm::DevVm;
use crate::{ingress, readiness};

/// All parts, in the order of their start.
pub(crate) async fn parts(cluster: &Cluster, vm: &DevVm, forwarded: SocketAddr) -> Vec<PartStatus> {
    let node = &cluster.node;
    let address = node.network.node;
    let client = readiness::client(&cluster.plane.kubeconfig()).await.ok();
    let runs = |daemon: &Daemon| daemon.pid().is_some();
    // What does not run is not asked: a stranger may have its port, and a missing one would be waited for.
    let (api_server, containerd, kube_proxy) = (cluster.api_server(), node.containerd(), node.kube_proxy());
    let network_policy = node.network_policy();
    let (controllers, scheduler) = (cluster.controller_manager(), cluster.scheduler());
    let (nginx, forwarder) = (ingress::daemon(node), cluster.forwarder());
    let with_client = client.as_ref().filter(|_| runs(&api_server));

    let api_answers = async {
        match with_client {
            Some(client) => readiness::api_server(client).await,
            None => false,
        }
    };
    let node_ready = async {
        match with_client {
            Some(client) => readiness::node(client, node::NAME).await,
            None => false,
        }
    };
    let dns_ready = async {
        match with_client {
            Some(client) => cluster.dns_answers(client).await,
            None => false,
        }
    };
    let controllers_answer = async { runs(&controllers) && readiness::accepts(address, CONTROLLER_MANAGER_PORT).await };
    let scheduler_answers = async { runs(&scheduler) && readiness::accepts(address, SCHEDULER_PORT).await };
    let containerd_answers = async { runs(&containerd) && node.containerd_answers().await };
    let kube_proxy_answers = async { runs(&kube_proxy) && node.kube_proxy_answers().await };
    let policies_hold = async { runs(&network_policy) && node.policies_hold().await };
    let nginx_answers = async { runs(&nginx) && ingress::answers(node).await };
    let forwarder_answers = async { runs(&forwarder) && readiness::accepts(forwarded.ip(), forwarded.port()).await };
    let answers = tokio::join!(
        api_answers,
        node_ready,
        dns_ready,
        controllers_answer,
        scheduler_answers,
        containerd_answers,
        kube_proxy_answers,
        policies_hold,
        nginx_answers,
        forwarder_answers
    );
    let (api_answers, node_ready, dns_ready, controllers_answer, scheduler_answers, ..) = answers;
    let (.., containerd_answers, kube_proxy_answers, policies_hold, nginx_answers, forwarder_answers) = answers;

    let of = |daemon: Daemon, answers: bool| PartStatus {
        name: daemon.name.to_owned(),
        pid: daemon.pid(),
        resident_bytes: resident_bytes(&node.groups.processes_of(daemon.name)),
        ready: answers && daemon.pid().is_some(),
        log: daemon.log,
    };
    let without_process =
        |name: &str, ready, log| PartStatus { name: name.to_owned(), pid: None, resident_bytes: 0, ready, log };
    vec![
        of(node.keeper(), true),
        // It answers the API server alone.
        of(cluster.etcd(), api_answers),
        of(api_server, api_answers),
        of(controllers, controllers_answer),
        of(scheduler, scheduler_answers),
        of(containerd, containerd_answers),
        of(node.kubelet(), node_ready),
        of(kube_proxy, kube_proxy_answers),
        of(network_policy, policies_hold),
        without_process("coredns", dns_ready, node.pod_logs()),
        of(nginx, nginx_answers),
        of(forwarder, forwarder_answers),
        without_process("dev-vm", vm.is_up(), vm.log()),
    ]
}
