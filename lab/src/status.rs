//! What `catalyst-lab status` shows: every part, whether it runs and answers, and where its log is.

use std::fmt;
use std::path::PathBuf;

/// One part of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartStatus {
    /// As in the folder of logs.
    pub name: String,
    /// Its process, if that runs and the part has one of its own.
    pub pid: Option<i32>,
    /// Resident memory of its processes, in bytes.
    pub resident_bytes: u64,
    /// Whether it answered when asked.
    pub ready: bool,
    /// Where it says what it does.
    pub log: PathBuf,
}

/// All parts of a lab, in the order of their start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The lab's name.
    pub lab: String,
    /// Empty if there is nothing of the lab.
    pub parts: Vec<PartStatus>,
    /// `http://127.0.0.1:PORT` on the host, which leads to the ingress.
    pub ingress: String,
    /// For `export KUBECONFIG=…`.
    pub kubeconfig: PathBuf,
}

impl Status {
    /// Whether all parts are ready.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(|part| part.ready)
    }

    /// Whether no part runs.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.parts.iter().all(|part| !part.ready && part.pid.is_none())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_down() {
            return writeln!(f, "the lab {} is down; `catalyst-lab --name {} up` starts it", self.lab, self.lab);
        }
        let width = self.parts.iter().map(|part| part.name.len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>8}  {:>8}  {:5}  LOG", "PART", "PID", "RSS", "READY")?;
        for part in &self.parts {
            let pid = part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let resident = format!("{} MB", part.resident_bytes / 1_000_000);
            let ready = if part.ready { "yes" } else { "NO" };
            writeln!(f, "{:width$}  {pid:>8}  {resident:>8}  {ready:5}  {}", part.name, part.log.display())?;
        }
        writeln!(f, "\ningress {}  (http://NAME.localhost:PORT for the host NAME.localhost)", self.ingress)?;
        writeln!(f, "export KUBECONFIG={}", self.kubeconfig.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_does_not_answer_is_told_apart_at_a_glance() {
        let part = |name: &str, ready| PartStatus {
            name: name.to_owned(),
            pid: Some(7),
            resident_bytes: 277_000_000,
            ready,
            log: PathBuf::from("/log"),
        };
        let status = Status {
            lab: "demo".to_owned(),
            parts: vec![part("etcd", true), part("kubelet", false)],
            ingress: "http://127.0.0.1:8080".to_owned(),
            kubeconfig: PathBuf::from("/kubeconfig"),
        };
        let shown = status.to_string();
        assert!(shown.contains("etcd            7    277 MB  yes    /log"), "{shown}");
        assert!(shown.contains("  NO     /log"), "{shown}");
        assert!(!status.is_up() && !status.is_down());
    }
}
