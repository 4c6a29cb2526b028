//! Makes the situations: VMs, which are real SSH servers on this machine, instances, and what happens to them.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use catalyst_operator::crd::{CatalystInstanceStatus, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_SSH_KEY_ANNOTATION};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::{
    cluster, kubelet,
    situations::{NAMESPACE, TEAM},
    world::{World, until},
};

/// What the document calls the VM: as long as the address of this machine, so that columns stay where they are.
pub(crate) const VM: &str = "10.20.0.7";
/// No route ever leads a TCP connection there; and what the document calls it.
const UNROUTED: (&str, &str) = ("224.0.0.1", "10.20.0.9");
/// A key of no VM here.
const ELSEWHERE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Everything that the gallery shows.
pub(crate) struct Stage {
    pub(crate) ideas: World,
    pub(crate) team: World,
    /// What differs each time, and what the document says in its place.
    pub(crate) forms: Vec<(String, String)>,
    vms: Vms,
    /// The connection that is one too many for others.
    _stranger: TcpStream,
    web: u16,
}

struct Vms {
    good: TestSshd,
    new: TestSshd,
    rebuilt: TestSshd,
    asleep: TestSshd,
    outdated: TestSshd,
    frozen: TestSshd,
    crowd: TestSshd,
    rotated: TestSshd,
}

impl Vms {
    async fn start() -> Vms {
        let plain = TestSshdOptions::default;
        let outdated = TestSshdOptions { config: vec!["Ciphers aes128-cbc".to_owned()], ..plain() };
        let crowd = TestSshdOptions { max_startups: "1".to_owned(), ..plain() };
        let options = [plain(), plain(), plain(), plain(), outdated, plain(), crowd, plain()];
        let started = join_all(options.map(TestSshd::start)).await;
        let [good, new, rebuilt, asleep, outdated, frozen, crowd, rotated] =
            <[TestSshd; 8]>::try_from(started).ok().unwrap();
        Vms { good, new, rebuilt, asleep, outdated, frozen, crowd, rotated }
    }

    fn all(&self) -> [&TestSshd; 8] {
        let Vms { good, new, rebuilt, asleep, outdated, frozen, crowd, rotated } = self;
        [good, new, rebuilt, asleep, outdated, frozen, crowd, rotated]
    }
}

/// The spec of an instance that knows the VM only by its address.
fn at(vm: &TestSshd) -> Value {
    let endpoint = vm.endpoint();
    json!({"ssh": {"host": endpoint.host, "port": endpoint.port, "user": "dev"}})
}

/// The same with a user that the VM has.
fn own_user(vm: &TestSshd) -> Value {
    let mut spec = at(vm);
    spec["ssh"]["user"] = json!(vm.endpoint().user);
    spec
}

/// The same with the VM's host key.
fn knowing(vm: &TestSshd) -> Value {
    let mut spec = own_user(vm);
    spec["ssh"]["knownHosts"] = json!(vm.known_hosts_text());
    spec
}

/// One with whose VM nothing is wrong.
fn with(vm: &TestSshd, more: Value) -> Value {
    let mut spec = knowing(vm);
    spec["ssh"]["existingKeySecret"] = json!("key");
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// The same, of which the way there is another.
fn with_ssh(vm: &TestSshd, more: Value) -> Value {
    let mut spec = with(vm, json!({}));
    spec["ssh"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// Answers as a web server does that is asked what it does not understand; on which port.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |mut stream: std::net::TcpStream| {
        let _ = stream.read(&mut [0; 256])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever is gone already needs no answer.
            let _ = stream.and_then(answer);
        }
    });
    port
}

/// Takes the only place that `vm` has for those who have not signed in yet.
async fn stranger(vm: &TestSshd) -> TcpStream {
    until("a place", || async {
        let mut stream = TcpStream::connect(("127.0.0.1", vm.endpoint().port)).await.ok()?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.ok()?;
        (greeting == *b"SSH-").then_some(stream)
    })
    .await
}

impl Stage {
    /// What has to be there before the operator and its instances; a client for the operator.
    pub(crate) async fn set() -> (Stage, kube::Client) {
        let ideas = World::new(NAMESPACE).await;
        let team = World::new(TEAM).await;
        let client = &ideas.client;
        let folder = "The ideas folder /srv/ideas cannot be used: dev may not write in /srv. Correct IDEAS_BASE_PATH \
             (ssh.ideasBasePath), or the folder's owner and mode on the VM.";
        let logs = [
            ("folder", kubelet::folder_log(folder)),
            ("cut", kubelet::vm_log("TimedOut")),
            ("sessions", kubelet::vm_log("ChannelRefused")),
        ];
        let operator = cluster::operator_in("catalyst-system").await;
        let snippets = "annotation group ConfigurationSnippet contains risky annotation based on ingress configuration";
        let (vms, ..) = futures::join!(
            Vms::start(),
            kubelet::start(client, logs.into()),
            cluster::ingresses(&ideas),
            cluster::quota(&ideas),
            cluster::refuse_by_webhook(&ideas, "snippet", snippets),
            cluster::refuse_ingress(&ideas, "internal-hosts", "denied", "hosts have to end in .internal.example.com"),
            cluster::leave_webhook(&ideas, "webhook"),
            cluster::predecessor(&ideas, "heir"),
            cluster::grant(client),
        );
        let stranger = stranger(&vms.crowd).await;
        let web = web_server();
        let address = |at: &str, called: &str| (at.to_owned(), called.to_owned());
        let mut forms = vec![address("127.0.0.1", VM), address(UNROUTED.0, UNROUTED.1)];
        forms.extend(vms.all().map(|vm| (vm.endpoint().port.to_string(), "22".to_owned())));
        forms.push((web.to_string(), "8080".to_owned()));
        // known_hosts leaves out the usual port.
        forms.push((format!("[{VM}]:22"), VM.to_owned()));
        // How a machine without DNS says it.
        forms.push(("was not resolved within 5 s".to_owned(), "does not resolve".to_owned()));
        (Stage { ideas, team, forms, vms, _stranger: stranger, web }, operator)
    }

    pub(crate) fn world(&self, namespace: &str) -> &World {
        [&self.ideas, &self.team].into_iter().find(|world| world.namespace == namespace).unwrap()
    }

    /// Makes the instances that the operator looks after.
    pub(crate) async fn make(&mut self) {
        self.secrets().await;
        for (name, spec) in self.instances() {
            self.ideas.create(name, spec).await;
        }
        self.kubelet_speaks().await;
        let deployments: Api<Deployment> = Api::namespaced(self.ideas.client.clone(), NAMESPACE);
        until("a Deployment", || async { deployments.get_opt("stuck").await.unwrap() }).await;
        edit(&deployments, "stuck", json!({"spec": {"progressDeadlineSeconds": 1}})).await;
        self.annotate("paused", catalyst_operator::crd::PAUSED_ANNOTATION, "true").await;

        self.status("rebuilt", |status| status.host_keys.first().map(|_| ())).await;
        let rebuilt = &mut self.vms.rebuilt;
        rebuilt.stop();
        rebuilt.replace_host_key().unwrap();
        rebuilt.start_again().await.unwrap();
    }

    async fn secrets(&self) {
        let world = &self.ideas;
        let cookie = "0123456789abcdef0123456789abcdef";
        let app = |catalyst: &str| json!({"CATALYST_SECRET": catalyst, "COOKIE_SECRET": cookie});
        cluster::secret(world, "mine", app("CHANGE_ME_CHANGE_ME")).await;
        cluster::secret(world, "ours", app("fedcba9876543210fedcba9876543210")).await;
        cluster::secret(world, "works-tls", json!({"tls.crt": "a", "tls.key": "b"})).await;
        let key = std::fs::read_to_string(self.vms.good.key_path()).unwrap();
        cluster::secret(world, "key", json!({"id_ed25519": key})).await;
        cluster::secret(world, "public", json!({"id_ed25519": format!("{ELSEWHERE} dev@laptop")})).await;
        let taken = json!({"metadata": {"name": "taken"}, "spec": {"ports": [{"port": 80}]}});
        cluster::beside::<Service>(world, taken).await;
    }

    /// Name and spec of all in [`NAMESPACE`]; what takes longest comes first.
    fn instances(&mut self) -> Vec<(&'static str, Value)> {
        self.vms.asleep.stop();
        self.vms.frozen.freeze();
        let Vms { good, new, rebuilt, asleep, outdated, frozen, crowd, rotated } = &self.vms;
        let nothing = || json!({});
        let ingress = |host: &str, more: Value| {
            let mut ingress = json!({"host": host, "tls": {"secretName": "works-tls"}});
            ingress.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with(good, json!({"ingress": ingress}))
        };
        let away = |host: &str| json!({"ssh": {"host": host, "user": "dev"}});
        let large = json!({"memory": "64Gi"});
        vec![
            ("cut", with(good, nothing())),
            ("rebuilt", at(rebuilt)),
            ("rotated", own_user(rotated)),
            ("frozen", with(frozen, nothing())),
            ("nameless", away("dev-vm.invalid")),
            ("works", ingress("ideas.example.com", json!({"tls": {"issuer": {"name": "letsencrypt"}}}))),
            ("new", at(new)),
            ("asleep", at(asleep)),
            ("unset", with(good, json!({"secrets": {"useExisting": true}}))),
            ("placeholder", with(good, json!({"secrets": {"existingSecret": "mine"}}))),
            ("typo", json!({"ssh": {"host": "127.0.0.1", "user": "dev", "knownHosts": "no line of ssh-keyscan"}})),
            ("image", with(good, json!({"image": {"repository": "registry.example.com/catalyst", "tag": "1.2"}}))),
            ("crash", with(good, nothing())),
            ("full", with(good, json!({"resources": {"requests": large, "limits": large}}))),
            ("class", ingress("other.example.com", json!({"className": "traefik"}))),
            ("taken", with(good, nothing())),
            ("key", json!({"ssh": {"host": "127.0.0.1", "user": "dev", "existingKeySecret": "public"}})),
            ("certificate", ingress("third.example.com", json!({"tls": {"secretName": "absent"}}))),
            ("shut", with(good, json!({"networkPolicy": {"sshEgressCidr": "192.168.0.0/16"}}))),
            ("asked", with(good, json!({"suspend": true}))),
            ("outdated", with(outdated, nothing())),
            ("web", json!({"ssh": {"host": "127.0.0.1", "port": self.web, "user": "dev"}})),
            ("revoked", with_ssh(good, json!({"knownHosts": format!("@revoked {}", good.known_hosts_text())}))),
            ("stranger", with_ssh(good, json!({"knownHosts": format!("other-vm.example.com {ELSEWHERE}")}))),
            ("inside", away("10.96.0.10")),
            ("second", ingress("wiki.example.com", nothing())),
            ("snippet", ingress("snippet.example.com", json!({"configurationSnippet": true}))),
            ("quota", with(good, json!({"priorityClassName": "idle"}))),
            ("variable", with(good, json!({"extraEnv": [token()]}))),
            ("folder", with_ssh(good, json!({"ideasBasePath": "/srv/ideas"}))),
            ("gateway", with(good, json!({"gateway": gateway("gateway.example.com")}))),
            ("stuck", with(good, nothing())),
            ("denied", ingress("denied.example.com", nothing())),
            ("heir", with(good, nothing())),
            ("rolling", with(good, nothing())),
            ("mounting", with(good, nothing())),
            ("evicted", with(good, nothing())),
            ("slow", with(good, nothing())),
            ("lost", away(UNROUTED.0)),
            ("crowd", with(crowd, nothing())),
            ("sessions", with(good, nothing())),
            ("issuer", ingress("issuer.example.com", json!({"tls": {"issuer": {"name": "letsencrypt"}}}))),
            ("webhook", ingress("webhook.example.com", nothing())),
            ("wide", with(good, json!({"networkPolicy": {"sshEgressCidr": "0.0.0.0/0"}}))),
            ("plain", ingress("plain.example.com", json!({"tls": null}))),
            ("timeouts", ingress("timeouts.example.com", timeouts())),
            ("balancer", with(good, json!({"service": {"type": "LoadBalancer"}}))),
            ("paused", with(good, nothing())),
            ("renewed", with(good, nothing())),
            ("own", json!({"ssh": {"host": "127.0.0.1", "user": "dev"}, "secrets": {"existingSecret": "ours"}})),
        ]
    }

    /// What the kubelet says of their pods.
    async fn kubelet_speaks(&self) {
        let world = &self.ideas;
        for name in ["cut", "sessions"] {
            kubelet::says_with_log(world, name, kubelet::runs()).await;
        }
        kubelet::says_with_log(world, "folder", kubelet::serves()).await;
        let serving = "works class certificate second gateway issuer wide plain timeouts balancer paused renewed";
        for name in serving.split(' ') {
            kubelet::says(world, name, kubelet::serves()).await;
        }
        kubelet::says(world, "slow", kubelet::runs()).await;
        let waiting = |reason: &str, words: &str| json!({"waiting": {"reason": reason, "message": words}});
        let unauthorized = waiting("ImagePullBackOff", "failed to authorize: 401 Unauthorized");
        kubelet::says(world, "image", kubelet::container(unauthorized, json!({}))).await;
        let without = waiting("CreateContainerConfigError", "secret \"tokens\" not found");
        kubelet::says(world, "variable", kubelet::container(without, json!({}))).await;
        kubelet::says(world, "mounting", kubelet::container(waiting("ContainerCreating", ""), json!({}))).await;
        let words = "{\"message\":\"the port 3001 is taken\"}\n";
        let ended = json!({"terminated": {"exitCode": 1, "message": words}});
        kubelet::says(world, "crash", kubelet::container(waiting("CrashLoopBackOff", ""), ended)).await;
        let full = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient memory."}]);
        kubelet::says(world, "full", json!({"phase": "Pending", "conditions": full})).await;
        let evicted =
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
        kubelet::says(world, "evicted", evicted).await;
    }

    /// What people ask for, and do on the VM, that only events tell of.
    pub(crate) async fn ask(&self) {
        self.status("renewed", |status| status.last_rollout.clone()).await;
        let config: Api<ConfigMap> = Api::namespaced(self.ideas.client.clone(), NAMESPACE);
        edit(&config, "renewed-config", json!({"data": {"SSH_PORT": "2222"}})).await;
        self.annotate("renewed", ROTATE_CATALYST_SECRET_ANNOTATION, "1").await;
        self.annotate("renewed", ROTATE_SSH_KEY_ANNOTATION, "1").await;
        self.annotate("own", ROTATE_CATALYST_SECRET_ANNOTATION, "1").await;
        self.annotate("rotated", ROTATE_SSH_KEY_ANNOTATION, "1").await;
        let line = self.status("rotated", |status| status.next_authorized_keys_line.clone()).await;
        let path = self.vms.rotated.authorized_keys_path();
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{before}{line}\n")).unwrap();
    }

    /// Goes on from what the first act has shown.
    pub(crate) async fn second_act(&self) {
        let fingerprint = self.status("rebuilt", |status| status.changed_host_key.clone()).await;
        self.annotate("rebuilt", catalyst_operator::crd::TRUST_HOST_KEY_ANNOTATION, &fingerprint).await;
        cluster::install_http_routes(&self.ideas.client, false).await;
        let spec = with(&self.vms.good, json!({"gateway": gateway("unstored.example.com")}));
        self.ideas.create("unstored", spec).await;
    }

    /// And from the second.
    pub(crate) async fn third_act(&self) {
        cluster::install_http_routes(&self.ideas.client, true).await;
        self.ideas.create("route", with(&self.vms.good, json!({"gateway": gateway("route.example.com")}))).await;
        kubelet::says(&self.ideas, "route", kubelet::serves()).await;
        cluster::refuse_route(&self.ideas, "route").await;
    }

    /// Makes those that the operator looks after which may do less; a client for it.
    pub(crate) async fn last_act(&self) -> kube::Client {
        let world = &self.team;
        cluster::grant_within(world).await;
        let mut spec = knowing(&self.vms.good);
        spec["ingress"] = json!({"host": "team.example.com", "tls": {"secretName": "team-tls"}});
        cluster::secret(world, "team-tls", json!({"tls.crt": "a", "tls.key": "b"})).await;
        world.create("unseen", spec).await;
        let mut spec = knowing(&self.vms.good);
        spec["replicas"] = json!(2);
        world.create("redundant", spec).await;
        cluster::operator_in(TEAM).await
    }

    /// Their pod serves.
    pub(crate) async fn narrow_serves(&self) {
        kubelet::says(&self.team, "unseen", kubelet::serves()).await;
    }

    async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        edit(&self.ideas.instances(), name, json!({"metadata": {"annotations": {annotation: value}}})).await;
    }

    /// What status says as soon as it says it.
    async fn status<T>(&self, name: &str, wanted: impl Fn(&CatalystInstanceStatus) -> Option<T>) -> T {
        let instances = self.ideas.instances();
        until(&format!("the status of {name}"), || async {
            instances.get(name).await.unwrap().status.as_ref().and_then(&wanted)
        })
        .await
    }
}

fn gateway(host: &str) -> Value {
    json!({"parentRefs": [{"name": "public"}], "hostnames": [host]})
}

/// A variable from a Secret that nobody has made.
fn token() -> Value {
    json!({"name": "GITHUB_TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "github"}}})
}

fn timeouts() -> Value {
    json!({"annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "30"}})
}

/// Changes something as `kubectl edit` does.
async fn edit<K>(api: &Api<K>, name: &str, patch: Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let params = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Merge(patch)).await.unwrap();
}
