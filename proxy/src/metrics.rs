//! What Prometheus reads on a port of its own. Labels have few values: routes as patterns, reasons as enumerated.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use catalyst_ssh::{Pool, Reason};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::run::{RUN_ENDINGS, RunStats, TURN_ENDINGS};

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
struct Ending {
    reason: &'static str,
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
    connections: Gauge,
    ideas_followed: Gauge,
    turns: Gauge,
    viewers: Gauge,
    lagging: Gauge,
    behind: Gauge,
    asking: Gauge,
    events: Counter,
    turns_ended: Family<Outcome, Counter>,
    runs_ended: Family<Ending, Counter>,
    terminals: Gauge,
    resident: Gauge,
    started: Gauge<f64, AtomicU64>,
    frames: Family<Direction, Counter>,
    bytes: Family<Direction, Counter>,
    vm_reachable: Gauge,
    vm_checks: Family<Outcome, Counter>,
    vm_check_seconds: Gauge<f64, AtomicU64>,
    ssh_connections: Family<LaneLabel, Gauge>,
    ssh_channels: Family<LaneLabel, Gauge>,
    ssh_dialed: Family<LaneLabel, Counter>,
    ssh_failed: Family<LaneLabel, Counter>,
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
            connections: Gauge::default(),
            ideas_followed: Gauge::default(),
            turns: Gauge::default(),
            viewers: Gauge::default(),
            lagging: Gauge::default(),
            behind: Gauge::default(),
            asking: Gauge::default(),
            events: Counter::default(),
            turns_ended: Family::default(),
            runs_ended: Family::default(),
            terminals: Gauge::default(),
            resident: Gauge::default(),
            started: Gauge::default(),
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
            connections,
            ideas_followed,
            turns,
            viewers,
            lagging,
            behind,
            asking,
            events,
            turns_ended,
            runs_ended,
            terminals,
            resident,
            started,
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
        r.register_with_unit("http_request", "Time to answer, health apart", Unit::Seconds, request_seconds.clone());
        r.register("sign_ins", "Sign-ins: succeeded, failed, limited", sign_ins.clone());
        r.register("websockets", "Open WebSockets", sockets.clone());
        r.register("http_connections", "Open HTTP connections, WebSockets included", connections.clone());
        r.register("ideas_followed", "Ideas whose log on the VM is followed", ideas_followed.clone());
        r.register("turns", "Turns under way in the ideas that are followed", turns.clone());
        r.register("viewers", "Who looks at the ideas that are followed", viewers.clone());
        r.register("ideas_lagging", "Ideas with a viewer so far behind that nobody waits for it", lagging.clone());
        let furthest = "Of a run's log, what the viewer that is furthest behind has not taken";
        r.register_with_unit("viewer_behind", furthest, Unit::Bytes, behind.clone());
        r.register(
            "approvals_open",
            "Requests for permission that wait, in the ideas that are followed",
            asking.clone(),
        );
        r.register("events", "Events that were decoded from the logs that are followed", events.clone());
        r.register("turns_ended", "Turns that were seen to end: succeeded, failed, stopped", turns_ended.clone());
        r.register("runs_ended", "Runs that were seen to end, by the reason of run:exit", runs_ended.clone());
        r.register("terminals", "Terminals that this server serves or keeps", terminals.clone());
        r.register_with_unit("resident_memory", "Resident memory", Unit::Bytes, resident.clone());
        r.register_with_unit("start_time", "When the server started, since 1970", Unit::Seconds, started.clone());
        started.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()));
        r.register("websocket_frames", "WebSocket messages, in and out", frames.clone());
        r.register("websocket_bytes", "Bytes of WebSocket messages, in and out", bytes.clone());
        r.register("vm_reachable", "1 when the latest check reached the VM", vm_reachable.clone());
        r.register("vm_checks", "Checks of the VM by outcome: ok, or the reason", vm_checks.clone());
        r.register_with_unit("vm_check", "Time of the latest check", Unit::Seconds, vm_check_seconds.clone());
        r.register("ssh_connections", "SSH connections now", ssh_connections.clone());
        r.register("ssh_channels", "SSH channels now", ssh_channels.clone());
        r.register("ssh_dialed", "SSH connections made", ssh_dialed.clone());
        r.register("ssh_failed", "SSH connections that failed", ssh_failed.clone());
        Arc::new(metrics)
    }

    /// One request was answered.
    pub fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.requests(method, route, status).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// The counter of a route's requests, for who counts without looking it up each time.
    pub fn requests(&self, method: &'static str, route: &str, status: u16) -> Counter {
        self.requests.get_or_create_owned(&Route { method, route: route.to_owned(), status })
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

    /// A connection is open for as long as the value lives.
    pub fn connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.clone())
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

    /// The text that Prometheus reads; `terminals` is how many there are.
    pub fn render(&self, pool: &Pool, runs: RunStats, terminals: usize) -> String {
        let stats = pool.stats();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.ideas_followed.set(count(runs.followed));
        self.turns.set(count(runs.turns));
        self.viewers.set(count(runs.viewers));
        self.lagging.set(count(runs.lagging));
        self.behind.set(i64::try_from(runs.behind).unwrap_or(i64::MAX));
        self.asking.set(count(runs.asking));
        self.terminals.set(count(terminals));
        counted(&self.events, runs.events);
        for (outcome, ended) in TURN_ENDINGS.iter().zip(runs.turns_ended) {
            counted(&self.turns_ended.get_or_create(&Outcome { outcome }), ended);
        }
        for (reason, ended) in RUN_ENDINGS.iter().zip(runs.runs_ended) {
            counted(&self.runs_ended.get_or_create(&Ending { reason }), ended);
        }
        self.resident.set(resident_bytes().unwrap_or_default());
        for (lane, of) in [("interactive", &stats.interactive), ("bulk", &stats.bulk)] {
            let label = LaneLabel { lane };
            self.ssh_connections.get_or_create(&label).set(count(of.connections));
            self.ssh_channels.get_or_create(&label).set(count(of.channels));
            counted(&self.ssh_dialed.get_or_create(&label), of.dialed);
            counted(&self.ssh_failed.get_or_create(&label), of.failed);
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

/// Counts one open connection.
pub struct OpenConnection(Arc<Metrics>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// Shows what is counted elsewhere, and only grows there.
fn counted(counter: &Counter, count: u64) {
    counter.inner().store(count, Ordering::Relaxed);
}

/// As the kernel counts; `None` where it does not tell.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok().map(|kibibytes| kibibytes * 1024)
}
