//! The ways in from outside, and what is said of them.

use super::*;
use crate::observed::{IngressClass, RouteView};

#[test]
fn a_header_that_everybody_could_send_names_nobody() {
    let named = |trusted: &str| {
        let mut spec = least();
        spec["identityHeader"] = json!("Remote-User");
        spec["trustedProxies"] = json!(["10.0.0.0/8", trusted]);
        spec
    };
    assert_eq!(valid(named("10.1.0.0/16"), &complete()).identity_header.as_deref(), Some("Remote-User"));
    for everywhere in ["0.0.0.0/0", "::/0"] {
        let (reason, field, message) = stopped(named(everywhere), &complete());
        assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("trustedProxies")));
        assert!(message.contains("whoever connects could name himself anybody"), "{message}");
    }
    let mut open = named("10.1.0.0/16");
    open["networkPolicy"] = json!({"enabled": false});
    let (_, field, message) = stopped(open, &complete());
    assert_eq!(field.as_deref(), Some("identityHeader"));
    assert!(message.contains("networkPolicy.enabled: false"), "{message}");
}

#[test]
fn a_missing_ingress_class_is_told_but_keeps_nothing_from_being_built() {
    let class = IngressClass { name: "traefik".to_owned() };
    let fetched = Fetched { ingress_classes: Some(vec![class]), ..complete() };
    let valid = valid(with("ingress.host", json!("a.example.com")), &fetched);
    let told: Vec<(Reason, bool)> =
        valid.advice.iter().map(|finding| (finding.reason, finding.message.contains("traefik"))).collect();
    assert_eq!(told, [(Reason::PlainHttp, false), (Reason::IngressClassMissing, true)]);
    assert!(valid.ingress.is_some());
}

#[test]
fn the_url_follows_ingress_tls_and_what_overrides_them() {
    let origin = |spec: Value| valid(spec, &complete()).public_url.map(|url| url.origin());
    assert_eq!(origin(least()), None);
    assert_eq!(origin(with("ingress.host", json!("a.b"))).as_deref(), Some("http://a.b"));
    let mut spec = with("ingress.tls.secretName", json!("cert"));
    spec["ingress"]["host"] = json!("a.b");
    assert_eq!(origin(spec.clone()).as_deref(), Some("https://a.b"));
    spec["publicUrl"] = json!("https://c.d:8443");
    assert_eq!(origin(spec).as_deref(), Some("https://c.d:8443"));
}

/// An Ingress with TLS and these annotations.
fn annotated(annotations: Value) -> Value {
    with("ingress", json!({"host": "a.b", "tls": {"secretName": "s"}, "annotations": annotations}))
}

#[test]
fn annotations_that_break_web_sockets_are_warned_of() {
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "10"),
        ("nginx.ingress.kubernetes.io/proxy-send-timeout", "59s"),
        ("nginx.org/proxy-read-timeout", "20s"),
        ("nginx.ingress.kubernetes.io/proxy-http-version", "1.0"),
        ("nginx.ingress.kubernetes.io/connection-proxy-header", "keep-alive"),
        ("nginx.org/websocket-services", "other"),
    ] {
        let told = advice(annotated(json!({key: value})), &complete());
        let [(Reason::WebSocketsAtRisk, message)] = told.as_slice() else { panic!("{key}: {told:?}") };
        assert!(message.contains(key) && message.contains(value) && message.contains("Remove it"), "{message}");
    }
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "7200"),
        ("nginx.org/proxy-read-timeout", "2h"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "no time"),
        ("nginx.org/websocket-services", "other, catalyst"),
        ("example.com/proxy-read-timeout", "1"),
    ] {
        assert_eq!(advice(annotated(json!({key: value})), &complete()), [], "{key}: {value}");
    }
}

#[test]
fn plain_http_is_warned_of_and_an_issuer_that_makes_no_certificate_is_named() {
    let told = |spec: Value| advice(spec, &complete());
    let [(Reason::PlainHttp, message)] = &told(with("ingress.host", json!("a.b")))[..] else { panic!("no warning") };
    assert!(message.contains("http://a.b") && message.contains("Set ingress.tls"), "{message}");
    let mut issued = with("ingress.host", json!("a.b"));
    issued["ingress"]["annotations"] = json!({"cert-manager.io/cluster-issuer": "letsencrypt"});
    let [(Reason::PlainHttp, message)] = &told(issued.clone())[..] else { panic!("no warning") };
    assert!(message.contains("set ingress.tls.issuer to {name: letsencrypt, kind: ClusterIssuer}"), "{message}");
    issued["publicUrl"] = json!("https://a.b");
    assert_eq!(told(issued), []);
    assert_eq!(told(with("ingress.host", json!("catalyst.localhost"))), []);
    assert_eq!(told(least()), []);
}

#[test]
fn what_gateways_say_of_the_route_is_told() {
    let routed = || with("gateway", json!({"parentRefs": [{"name": "public"}], "hostnames": ["a.b"]}));
    let told = |route| advice(routed(), &Fetched { route, gateway_api: Some(true), ..complete() });
    assert_eq!(told(Some(RouteView::Accepted)), []);
    let unheard = told(Some(RouteView::Unheard));
    assert_eq!(told(None), unheard, "it is only made now");
    assert_eq!(unheard[0].0, Reason::RouteNotAccepted);
    assert!(unheard[0].1.contains("whether Gateway public exists"), "{unheard:?}");
    let refused = told(Some(RouteView::Refused("Gateway public: NoMatchingListenerHostname: no.".to_owned())));
    assert!(
        refused[0].1.contains("is not accepted: Gateway public: NoMatchingListenerHostname: no. Correct"),
        "{refused:?}"
    );
}

#[test]
fn a_service_that_the_policy_shuts_off_is_warned_of() {
    let typed = |kind: &str| with("service.type", json!(kind));
    assert_eq!(advice(typed("ClusterIP"), &complete()), []);
    for kind in ["NodePort", "LoadBalancer"] {
        let told = advice(typed(kind), &complete());
        let [(Reason::ServiceShutOff, message)] = told.as_slice() else { panic!("{told:?}") };
        assert!(message.contains(kind) && message.contains("networkPolicy.ingressCidrs"), "{message}");
        for policy in [json!({"enabled": false}), json!({"ingressCidrs": ["192.168.0.0/16"]})] {
            let mut open = typed(kind);
            open["networkPolicy"] = policy;
            assert_eq!(advice(open, &complete()), []);
        }
    }
}

#[test]
fn a_gateway_makes_the_url_and_excludes_an_ingress() {
    let gateway = json!({"parentRefs": [{"name": "g"}], "hostnames": ["a.b", "c.d"]});
    let valid = valid(with("gateway", gateway.clone()), &complete());
    assert_eq!(valid.origins(), ["https://a.b", "https://c.d"]);
    let mut both = with("ingress.host", json!("a.b"));
    both["gateway"] = gateway;
    let (reason, field, _) = stopped(both, &complete());
    assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("gateway")));
}
