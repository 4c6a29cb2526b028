//! Service `NAME`: port 80 (or as the spec says) to the pods' port 3001.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, non_empty, selector};
use crate::container::HTTP_PORT;
use crate::validated::ValidatedInstance;

/// Name of the Service's port.
const PORT_NAME: &str = "http";

pub(super) fn build(instance: &ValidatedInstance) -> Service {
    let mut metadata = metadata(instance, instance.name.to_string());
    metadata.annotations = non_empty(instance.service.annotations.clone());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(instance.service.type_.as_str().to_owned()),
            selector: Some(selector(&instance.name)),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: i32::from(instance.service.port),
                // A Gateway takes it for plain HTTP otherwise, and may refuse the upgrade.
                app_protocol: instance.gateway.is_some().then(|| "kubernetes.io/ws".to_owned()),
                // Part of the list's key: an apply without it would not find its own entry again.
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(i32::from(HTTP_PORT))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
