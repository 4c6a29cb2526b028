//! A piece of a run's log as it is, for what is too long to be sent as an event; read as it is sent, nothing is kept.

use std::sync::Arc;

use catalyst_ssh::Lane;

use super::vm::Vm;
use super::{IdeaRef, RunError, Runs};
use crate::remote::{Log, READ};

/// Bytes of a run's log.
pub struct LogRange {
    vm: Arc<Vm>,
    log: Log,
    at: u64,
    end: u64,
}

impl std::fmt::Debug for LogRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogRange").field("log", &self.log).field("at", &self.at).finish_non_exhaustive()
    }
}

impl LogRange {
    /// The next piece, at most 64 KiB; none after the last byte that was asked for or that there is.
    ///
    /// # Errors
    /// What kept it from being read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, RunError> {
        let left = u32::try_from(self.end.saturating_sub(self.at)).unwrap_or(READ).min(READ);
        if left == 0 {
            return Ok(None);
        }
        let bytes = self.read(left).await?;
        self.at += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    async fn read(&mut self, length: u32) -> Result<Vec<u8>, RunError> {
        let logs = self.vm.remote().logs(Lane::Bulk);
        self.log.read(logs, self.at, length).await?.ok_or(RunError::BadPosition)
    }
}

impl Runs {
    /// The bytes of a run's log from `start` on, at most `length` of them.
    ///
    /// # Errors
    /// [`RunError::BadPosition`] if there is no such log, or what kept it from being read.
    pub async fn log(
        self: &Arc<Self>,
        idea: &IdeaRef,
        run: u64,
        start: u64,
        length: u64,
    ) -> Result<LogRange, RunError> {
        let vm = self.vm();
        let log = Log::new(vm.log(idea, run).await?);
        let mut range = LogRange { vm, log, at: start, end: start.saturating_add(length) };
        // Whether it is there is to be known before anything is answered.
        range.read(0).await?;
        Ok(range)
    }
}
