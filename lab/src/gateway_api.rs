//! The Gateway API's own CRD of HTTPRoutes, for a test to install: so what takes or refuses a route is what a cluster has.

use anyhow::Context;
use serde_json::Value;

use crate::parts::{self, Part};
use crate::progress::Progress;

/// Of the standard channel, in the folder that is kept.
const HTTP_ROUTES: &str = "gateway.networking.k8s.io_httproutes.yaml";

/// The CRD as it is published; fetched first if it is not there.
///
/// # Errors
/// When it cannot be fetched or read.
pub async fn http_routes_crd() -> anyhow::Result<Value> {
    let file = parts::ensure(Part::GatewayApi, &Progress::stderr()).await?.kept().join(HTTP_ROUTES);
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("read {} as YAML", file.display()))
}
