//! The log: one event a line on stderr, json or text. Nothing that is logged holds a secret, a prompt or an answer.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::RawSettings;

/// Starts logging; a filter that cannot be read counts as `info` and is complained about.
pub fn start(settings: &RawSettings) {
    // The SSH library logs protocol details at levels that say little to a person: only its errors are of interest.
    let (filter, complaint) = match EnvFilter::builder().parse(&settings.log_level) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::default().add_directive(LevelFilter::INFO.into()), Some(error.to_string())),
    };
    let filter = match "russh=error".parse() {
        Ok(quiet) if !settings.log_level.contains("russh") => filter.add_directive(quiet),
        _ => filter,
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if settings.log_format == "text" {
        log.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    } else {
        log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
    }
    if let Some(error) = complaint {
        tracing::warn!(error, "LOG_LEVEL cannot be read; using info");
    }
}
