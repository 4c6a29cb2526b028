//! How many files and connections this process may have open: as many as the machine lets it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The connections that are taken, and what the server needs beside them.
const ENOUGH: u64 = 20_000;

/// Raises the limit as far as it goes, and tells what it was and is. Whatever keeps it from that is no reason not to serve.
pub fn raise() {
    let Ok((before, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = before >= most || setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok();
    let limit = if raised { most.max(before) } else { before };
    if limit < ENOUGH {
        tracing::warn!(
            before,
            limit,
            "few files may be open at once, so that connections are refused when there are about as many: raise the limit \
             (ulimit -Hn, LimitNOFILE of the container runtime) to {ENOUGH}"
        );
    } else {
        tracing::info!(before, limit, "files that may be open at once");
    }
}
