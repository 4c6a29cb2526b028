//! A piece of a run's log as it is, for what is too long to be sent as an event; read as it is sent, nothing is kept.

use std::sync::Arc;

use catalyst_ssh::{FileReader, Lane};

use super::{IdeaRef, RunError, Runs};
use crate::remote::READ;

/// Bytes of a run's log.
#[derive(Debug)]
pub struct LogRange {
    file: FileReader,
    at: u64,
    end: u64,
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
        let bytes = self.file.read(self.at, left).await?;
        self.at += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(bytes))
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
        let path = vm.log(idea, run).await?;
        let file = vm.remote().logs(Lane::Bulk).open(&path).await?.ok_or(RunError::BadPosition)?;
        Ok(LogRange { file, at: start, end: start.saturating_add(length) })
    }
}
