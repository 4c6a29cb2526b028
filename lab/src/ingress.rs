//! The community's ingress controller, a process of the node, on Debian's nginx.
//!
//! Its own template and Lua code, with what Debian's nginx 1.22 does not know taken out; a library that is missing is replaced
//! by a stand-in of ours (`ingress/lua`).

use std::path::Path;

use anyhow::{Context, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use crate::components::Plane;
use crate::daemon::{Daemon, words};
use crate::node::{Node, until};
use crate::parts::Built;
use crate::{golang, readiness};

const OBJECTS: &str = include_str!("../manifests/ingress-nginx.yaml");
const ADMISSION: &str = include_str!("../manifests/ingress-nginx-admission.yaml");
const ADMISSION_NAME: &str = "ingress-nginx-admission";
const ADMISSION_PORT: u16 = 8443;
const HEALTH_PORT: u16 = 10254;

const ABSENT: &str = include_str!("../ingress/lua/absent.lua");
/// Lua libraries that Debian does not have, by their path below the controller's `lua` folder.
const STAND_INS: [(&str, &str); 8] = [
    ("resty/roundrobin.lua", include_str!("../ingress/lua/roundrobin.lua")),
    ("resty/chash.lua", include_str!("../ingress/lua/chash.lua")),
    ("resty/lock.lua", include_str!("../ingress/lua/lock.lua")),
    ("resty/cookie.lua", include_str!("../ingress/lua/cookie.lua")),
    ("resty/dns/resolver.lua", ABSENT),
    ("resty/global_throttle.lua", ABSENT),
    ("resty/http.lua", ABSENT),
    ("resty/ipmatcher.lua", ABSENT),
];

/// What is compiled into other builds of nginx is loaded in Debian's; in this order.
const MODULES: [&str; 4] =
    ["ndk_http_module", "ngx_stream_module", "ngx_http_lua_module", "ngx_http_headers_more_filter_module"];

/// The controller's process.
pub(crate) fn daemon(node: &Node) -> Daemon {
    Daemon::new(&node.state, "ingress-nginx")
}

/// The objects that it reads at its start.
pub(crate) fn objects() -> String {
    OBJECTS.replace("@PAUSE@", &Node::labtool_image())
}

/// Starts the controller if it does not run; returns when it serves and checks what is to be served.
pub(crate) async fn start(node: &Node, plane: &Plane, built: &Built, client: &Client) -> anyhow::Result<String> {
    let daemon = daemon(node);
    let certificates = plane.certificates()?;
    if daemon.pid().is_none() {
        // While nobody answers it, the webhook would block every Ingress.
        forget_admission(client).await?;
        node.groups.kill_part(daemon.name).await?;
        configure(&built.kept(), &node.nginx()).context("put nginx's configuration together")?;
        let serving = certificates.server(ADMISSION_NAME, &[node.network.node], &[])?;
        let command = [
            "env".to_owned(),
            "POD_NAME=controller".into(),
            "POD_NAMESPACE=ingress-nginx".into(),
            "NGINX_BINARY=/usr/sbin/nginx".into(),
            built.program().display().to_string(),
            format!("--kubeconfig={}", plane.kubeconfig().display()),
            "--election-id=ingress-nginx-leader".into(),
            "--controller-class=k8s.io/ingress-nginx".into(),
            "--ingress-class=nginx".into(),
            "--configmap=ingress-nginx/controller".into(),
            format!("--publish-status-address={}", node.network.node),
            format!("--validating-webhook=:{ADMISSION_PORT}"),
            format!("--validating-webhook-certificate={}", serving.certificate.display()),
            format!("--validating-webhook-key={}", serving.key.display()),
            "--enable-metrics=false".into(),
        ];
        daemon.start(&node.groups, &node.place()?, &words(command))?;
    }
    until("the ingress controller", &daemon, async || answers(node).await).await?;
    let authority = std::fs::read(certificates.ca_certificate()).context("read the authority's certificate")?;
    let encoded = serde_json::to_value(ByteString(authority))?;
    let encoded = encoded.as_str().context("base64 is a string")?;
    Ok(ADMISSION.replace("@NODE@", &node.network.node.to_string()).replace("@CA@", encoded))
}

/// Whether nginx serves, and the controller's webhook takes connections.
pub(crate) async fn answers(node: &Node) -> bool {
    let address = node.network.node;
    readiness::http(address, HEALTH_PORT, "/healthz").await == Some(200)
        && readiness::http(address, 80, "/").await.is_some()
        && readiness::accepts(address, ADMISSION_PORT).await
}

/// Removes the webhook, if it is there.
pub(crate) async fn forget_admission(client: &Client) -> anyhow::Result<()> {
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    match webhooks.delete(ADMISSION_NAME, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop).context("remove the ingress controller's webhook"),
    }
}

/// Awaits that the API server asks the controller about an Ingress, and gets an answer.
pub(crate) async fn await_admission(node: &Node, client: &Client) -> anyhow::Result<()> {
    let probe: Ingress = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "lab-probe"},
        "spec": {"ingressClassName": "nginx", "defaultBackend": {"service": {"name": "none", "port": {"number": 80}}}},
    }))?;
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), "default");
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let (controller, mut refusal) = (daemon(node), None);
    let admitted = until("the ingress controller's webhook", &controller, async || {
        refusal = ingresses.create(&dry_run, &probe).await.err();
        refusal.is_none()
    });
    admitted.await.with_context(|| match refusal {
        Some(error) => format!("an Ingress cannot be written: {error}"),
        None => "an Ingress cannot be written".to_owned(),
    })
}

/// Writes nginx's configuration folder: the controller's, made fit for Debian's nginx.
fn configure(controllers: &Path, to: &Path) -> anyhow::Result<()> {
    golang::copy_writable(controllers, to)?;
    for name in ["mime.types", "fastcgi_params", "proxy_params"] {
        let from = Path::new("/etc/nginx").join(name);
        std::fs::copy(&from, to.join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    for (name, text) in STAND_INS {
        let path = to.join("lua").join(name);
        crate::folders::make(path.parent().context("a folder for Lua")?)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let template = to.join("template/nginx.tmpl");
    let text = std::fs::read_to_string(&template).with_context(|| format!("read {}", template.display()))?;
    std::fs::write(&template, fit_for_debian(&text)?).with_context(|| format!("write {}", template.display()))
}

fn fit_for_debian(template: &str) -> anyhow::Result<String> {
    let mut fitted = String::with_capacity(template.len());
    let (mut loads, mut streams, mut in_stream) = (0, 0, false);
    for line in template.lines() {
        if line == "stream {" {
            (in_stream, streams) = (true, streams + 1);
        }
        if in_stream {
            // Debian has no Lua for streams, so TCP and UDP services are left out.
            in_stream = line != "}";
            continue;
        }
        // A directive of nginx 1.25.
        if line.trim() == "http2 on;" {
            continue;
        }
        if line == "daemon off;" {
            loads += 1;
            for module in MODULES {
                fitted += &format!("load_module /usr/lib/nginx/modules/{module}.so;\n");
            }
        }
        fitted += line;
        fitted.push('\n');
    }
    if (loads, streams) != (1, 1) {
        bail!(
            "the controller's template is not the one that the lab knows: {loads} places for modules, {streams} stream blocks"
        );
    }
    // The controller posts its list of TCP services to this port and counts an error as a failed reload.
    fitted += "stream { server { listen 127.0.0.1:10247; return \"\"; } }\n";
    Ok(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_debians_nginx_does_not_know_is_taken_out() {
        let template = "pid x;\ndaemon off;\nhttp {\n    http2 on;\n    a;\n}\nstream {\n    lua_x {\n    }\n}\n";
        let fitted = fit_for_debian(template).unwrap();
        assert!(!fitted.contains("http2 on") && !fitted.contains("lua_x"), "{fitted}");
        assert!(fitted.find("ngx_http_lua_module").unwrap() < fitted.find("daemon off;").unwrap());
        assert!(fitted.contains("http {\n    a;\n}\n"));
    }

    #[test]
    fn a_template_of_another_shape_is_refused() {
        assert!(fit_for_debian("http {\n}\n").is_err());
    }
}
