//! What Prometheus reads on a port of its own. Labels have few values: routes as patterns, reasons as enumerated.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use catalyst_ssh::{Pool, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Direction {
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LaneLabel {
    lane: &'static str,
}

/// All counters and gauges.
pub struct Metrics {
    registry: Registry,
    requests: Family<Route, Counter>,
    request_seconds: Histogram,
    sign_ins: Family<Outcome, Counter>,
    sockets: Gauge,
    frames: Family<Direction, Counter>,
    bytes: Family<Direction, Counter>,
    vm_reachable: Gauge,
    vm_checks: Family<Outcome, Counter>,
    vm_check_seconds: Gauge<f64, AtomicU64>,
    ssh_connections: Family<LaneLabel, Gauge>,
    ssh_channels: Family<LaneLabel, Gauge>,
    ssh_dialed: Family<LaneLabel, Gauge>,
    ssh_failed: Family<LaneLabel, Gauge>,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Arc<Metrics> {
        let seconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("catalyst_proxy"),
            requests: Family::default(),
            request_seconds: Histogram::new(seconds),
            sign_ins: Family::default(),
            sockets: Gauge::default(),
            frames: Family::default(),
            bytes: Family::default(),
            vm_reachable: Gauge::default(),
            vm_checks: Family::default(),
            vm_check_seconds: Gauge::default(),
            ssh_connections: Family::default(),
            ssh_channels: Family::default(),
            ssh_dialed: Family::default(),
            ssh_failed: Family::default(),
        };
        let Metrics {
            registry: r,
            requests,
            request_seconds,
            sign_ins,
            sockets,
            frames,
            bytes,
            vm_reachable,
            vm_checks,
            vm_check_seconds,
            ssh_connections,
            ssh_channels,
            ssh_dialed,
            ssh_failed,
        } = &mut metrics;
        r.register("http_requests", "HTTP requests answered", requests.clone());
        r.register_with_unit("http_request", "Time to answer", Unit::Seconds, request_seconds.clone());
        r.register("sign_ins", "Sign-ins: succeeded, failed, limited", sign_ins.clone());
        r.register("websockets", "Open WebSockets", sockets.clone());
        r.register("websocket_frames", "WebSocket messages, in and out", frames.clone());
        r.register("websocket_bytes", "Bytes of WebSocket messages, in and out", bytes.clone());
        r.register("vm_reachable", "1 when the latest check reached the VM", vm_reachable.clone());
        r.register("vm_checks", "Checks of the VM by outcome: ok, or the reason", vm_checks.clone());
        r.register_with_unit("vm_check", "Time of the latest check", Unit::Seconds, vm_check_seconds.clone());
        r.register("ssh_connections", "SSH connections now", ssh_connections.clone());
        r.register("ssh_channels", "SSH channels now", ssh_channels.clone());
        r.register("ssh_dialed", "SSH connections made since the start", ssh_dialed.clone());
        r.register("ssh_failed", "SSH connections that failed since the start", ssh_failed.clone());
        Arc::new(metrics)
    }

    /// One request was answered.
    pub fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Route { method, route: route.to_owned(), status }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// One sign-in: `succeeded`, `failed` or `limited`.
    pub fn sign_ins(&self, outcome: &'static str) {
        self.sign_ins.get_or_create(&Outcome { outcome }).inc();
    }

    /// A WebSocket is open for as long as the value lives.
    pub fn socket(self: &Arc<Self>) -> OpenSocket {
        self.sockets.inc();
        OpenSocket(self.clone())
    }

    /// Messages came in.
    pub fn frames_in(&self, count: u64, bytes: u64) {
        self.count(&Direction { direction: "in" }, count, bytes);
    }

    /// Messages went out.
    pub fn frames_out(&self, count: u64, bytes: u64) {
        self.count(&Direction { direction: "out" }, count, bytes);
    }

    fn count(&self, direction: &Direction, count: u64, bytes: u64) {
        self.frames.get_or_create(direction).inc_by(count);
        self.bytes.get_or_create(direction).inc_by(bytes);
    }

    /// The VM was checked.
    pub fn vm_checked(&self, failed: Option<Reason>, took: Duration) {
        self.vm_reachable.set(i64::from(failed.is_none()));
        self.vm_checks.get_or_create(&Outcome { outcome: failed.map_or("ok", Reason::as_str) }).inc();
        self.vm_check_seconds.set(took.as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub fn render(&self, pool: &Pool) -> String {
        let stats = pool.stats();
        for (lane, of) in [("interactive", &stats.interactive), ("bulk", &stats.bulk)] {
            let label = LaneLabel { lane };
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            self.ssh_connections.get_or_create(&label).set(count(of.connections));
            self.ssh_channels.get_or_create(&label).set(count(of.channels));
            self.ssh_dialed.get_or_create(&label).set(i64::try_from(of.dialed).unwrap_or(i64::MAX));
            self.ssh_failed.get_or_create(&label).set(i64::try_from(of.failed).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            let _written = write!(text, "# {error}");
        }
        text
    }
}

/// Counts one open WebSocket.
pub struct OpenSocket(Arc<Metrics>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.sockets.dec();
    }
}
