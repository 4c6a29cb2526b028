//! Structured logs on standard output. Secret values never get here: no type that holds one implements `Debug` openly.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::args::LogFormat;

/// Starts logging for the whole process.
///
/// # Errors
/// A filter that does not parse, named in the message, or a logger that was started before.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|e| TelemetryError::Filter(filter.to_owned(), e.to_string()))?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_span_list(false)).try_init(),
        LogFormat::Text => registry.with(fmt::layer().with_target(false)).try_init(),
    }
    .map_err(|e| TelemetryError::Started(e.to_string()))
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter {0:?} is not valid ({1}): use for example info,catalyst_operator=debug")]
    Filter(String, String),
    /// Logging was started before.
    #[error("logging cannot start: {0}")]
    Started(String),
}
