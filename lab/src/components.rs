//! The command lines of etcd and Kubernetes' server parts, the same for a lab and for a test's control plane.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::certificates::{Certificates, Issued};

/// Services' addresses; the first is the API server's, the tenth the DNS server's.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16";
pub(crate) const API_SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));
/// Pods' addresses; the one node has 10.244.0.0/24 of them.
pub(crate) const POD_CIDR: &str = "10.244.0.0/16";

const AUDIT_POLICY: &str = include_str!("../manifests/audit-policy.yaml");
const API_SERVER_NAMES: [&str; 4] = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// A control plane's files and addresses.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    /// Holds certificates, kubeconfigs, etcd's data and the audit log.
    pub(crate) folder: PathBuf,
    /// Where etcd is reached by the API server.
    pub(crate) etcd: SocketAddr,
    /// Where the API server is reached by everyone.
    pub(crate) api: SocketAddr,
}

impl Plane {
    pub(crate) fn certificates(&self) -> anyhow::Result<Certificates> {
        Certificates::ensure(&self.folder.join("pki"))
    }

    /// The kubeconfig of cluster-admin.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn audit_policy(&self) -> PathBuf {
        self.folder.join("audit-policy.yaml")
    }

    pub(crate) fn server(&self) -> String {
        format!("https://{}", self.api)
    }

    /// Writes what the parts read at their start; what is there stays.
    pub(crate) fn prepare(&self) -> anyhow::Result<Certificates> {
        crate::folders::make(&self.folder)?;
        let certificates = self.certificates()?;
        let admin = certificates.client("admin", "admin", Some("system:masters"))?;
        certificates.kubeconfig(&self.kubeconfig(), &self.server(), &admin)?;
        crate::folders::write_whole(&self.audit_policy(), AUDIT_POLICY)?;
        Ok(certificates)
    }

    /// A kubeconfig for `user` in `group`, with a certificate of its own.
    pub(crate) fn kubeconfig_for(&self, user: &str, group: Option<&str>) -> anyhow::Result<PathBuf> {
        let certificates = self.certificates()?;
        let file: String = user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let holder = certificates.client(&format!("user-{file}"), user, group)?;
        let path = self.folder.join(format!("{file}.kubeconfig"));
        certificates.kubeconfig(&path, &self.server(), &holder)?;
        Ok(path)
    }

    /// etcd, in memory as far as it can be: a lab is not kept across a crash of the machine.
    pub(crate) fn etcd(&self) -> Vec<String> {
        let client = format!("http://{}", self.etcd);
        vec![
            "etcd".into(),
            flag("data-dir", self.folder.join("etcd").display()),
            "--unsafe-no-fsync".into(),
            flag("log-level", "error"),
            // Bytes. Beyond the default of 2 GiB nothing more is written.
            flag("quota-backend-bytes", 8_u64 << 30),
            flag("listen-client-urls", &client),
            flag("advertise-client-urls", &client),
            // Alone, it never talks to a peer; any free port will do.
            flag("listen-peer-urls", format!("http://{}:0", self.etcd.ip())),
        ]
    }

    pub(crate) fn api_server(&self, certificates: &Certificates, bind: IpAddr) -> anyhow::Result<Vec<String>> {
        let mut addresses = vec![IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), API_SERVICE];
        if !addresses.contains(&self.api.ip()) {
            addresses.push(self.api.ip());
        }
        let serving = certificates.server("kube-apiserver", &addresses, &API_SERVER_NAMES)?;
        let kubelet = certificates.client("kubelet-client", "kube-apiserver", Some("system:masters"))?;
        Ok(vec![
            "kube-apiserver".into(),
            flag("etcd-servers", format!("http://{}", self.etcd)),
            flag("bind-address", bind),
            flag("secure-port", self.api.port()),
            flag("advertise-address", self.api.ip()),
            file("client-ca-file", &certificates.ca_certificate()),
            file("tls-cert-file", &serving.certificate),
            file("tls-private-key-file", &serving.key),
            file("kubelet-client-certificate", &kubelet.certificate),
            file("kubelet-client-key", &kubelet.key),
            // Else `kubectl logs` looks the node's name up in DNS, where it is not.
            flag("kubelet-preferred-address-types", "InternalIP"),
            flag("authorization-mode", "Node,RBAC"),
            flag("allow-privileged", true),
            file("service-account-key-file", &certificates.service_account_public_key()),
            file("service-account-signing-key-file", &certificates.service_account_key()),
            flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            flag("service-cluster-ip-range", SERVICE_CIDR),
            file("audit-policy-file", &self.audit_policy()),
            file("audit-log-path", &self.audit_log()),
            // Written before the answer is sent, so a test that has its answer can read the line.
            flag("audit-log-mode", "blocking-strict"),
            flag("audit-log-maxsize", 200),
            flag("audit-log-maxbackup", 1),
            // Watches end at once on SIGTERM rather than a minute later.
            flag("shutdown-delay-duration", "0s"),
        ])
    }

    pub(crate) fn controller_manager(&self, certificates: &Certificates, secure_port: u16) -> Vec<String> {
        vec![
            "kube-controller-manager".into(),
            file("kubeconfig", &self.kubeconfig()),
            flag("leader-elect", false),
            flag("use-service-account-credentials", true),
            file("service-account-private-key-file", &certificates.service_account_key()),
            file("root-ca-file", &certificates.ca_certificate()),
            flag("allocate-node-cidrs", true),
            flag("cluster-cidr", POD_CIDR),
            file("cluster-signing-cert-file", &certificates.ca_certificate()),
            file("cluster-signing-key-file", &certificates.ca_key()),
            flag("secure-port", secure_port),
            // The default of 20 a second makes hundreds of objects wait for minutes.
            flag("kube-api-qps", 500),
            flag("kube-api-burst", 1000),
        ]
    }

    pub(crate) fn scheduler(&self, secure_port: u16) -> Vec<String> {
        vec![
            "kube-scheduler".into(),
            file("kubeconfig", &self.kubeconfig()),
            flag("leader-elect", false),
            flag("secure-port", secure_port),
        ]
    }

    /// The identity that the Node authorizer knows the kubelet by.
    pub(crate) fn kubelet_kubeconfig(&self, certificates: &Certificates, node: &str) -> anyhow::Result<PathBuf> {
        let holder: Issued = certificates.client("kubelet", &format!("system:node:{node}"), Some("system:nodes"))?;
        let path = self.folder.join("kubelet.kubeconfig");
        certificates.kubeconfig(&path, &self.server(), &holder).context("write the kubelet's kubeconfig")?;
        Ok(path)
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn file(name: &str, path: &Path) -> String {
    flag(name, path.display())
}
