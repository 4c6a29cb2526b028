//! The part of a run that lives on the VM: delivered once a version, then called by name.

use std::sync::LazyLock;
use std::time::Duration;

use catalyst_ssh::{Exec, Finished, Lane};

use super::command;
use super::{Remote, RemoteError};

const PROGRAM: &str = concat!(
    include_str!("vm/library.sh"),
    include_str!("vm/supervisor.sh"),
    include_str!("vm/delivery.sh"),
    include_str!("vm/start.sh"),
    include_str!("vm/claude.sh"),
    include_str!("vm/courier.sh"),
    include_str!("vm/history.sh"),
    include_str!("vm/commands.sh"),
);

/// Exit status of [`CALL`] when this version is not on the VM.
const NOT_DELIVERED: u32 = 66;

const CALL: &str = r#"program=$HOME/.local/state/catalyst/bin/$1.sh
[ -f "$program" ] || exit 66
shift
exec sh "$program" "$@""#;

/// Renamed into place when all of it has arrived: what is there under the name is whole.
const DELIVER: &str = r#"umask 077
bin=$HOME/.local/state/catalyst/bin
mkdir -p "$bin" && cat >"$bin/.$1.$$" && [ "$(wc -c <"$bin/.$1.$$")" -eq "$2" ] && mv -f "$bin/.$1.$$" "$bin/$1.sh""#;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PROGRAM.as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
});

impl Remote {
    /// Calls a command of the program; delivers it first where it is missing.
    pub(crate) async fn call(
        &self,
        deadline: Duration,
        lane: Lane,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<Finished, RemoteError> {
        let args = with_version(args);
        let finished = self.sh_within(deadline, lane, CALL, &args, stdin).await?;
        if finished.status != Some(NOT_DELIVERED) {
            return Ok(finished);
        }
        if let Err(finished) = self.deliver().await? {
            return Ok(finished);
        }
        self.sh_within(deadline, lane, CALL, &args, stdin).await
    }

    /// Starts a command of the program whose output goes on; it ends when its standard input ends.
    pub(crate) async fn stream(&self, lane: Lane, args: &[&str]) -> Result<Stream, RemoteError> {
        let exec = self.pool.exec(lane, &command::shell(CALL, &with_version(args))).await?;
        Ok(Stream { exec, before_marker: Some(Vec::new()) })
    }

    /// Brings the program to the VM; inside, how that failed.
    pub(crate) async fn deliver(&self) -> Result<Result<(), Finished>, RemoteError> {
        let length = PROGRAM.len().to_string();
        let finished = self.sh(Lane::Interactive, DELIVER, &[&VERSION, &length], PROGRAM.as_bytes()).await?;
        Ok(if finished.status == Some(0) { Ok(()) } else { Err(finished) })
    }
}

fn with_version<'a>(args: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(VERSION.as_str()).chain(args.iter().copied()).collect()
}

/// A piece of a [`Stream`], or how it ended.
pub(crate) enum Piece {
    /// Output of the command; the first piece may be empty and says that the command runs.
    Output(bytes::Bytes),
    /// The command ended with this status.
    Ended(u32),
    /// The program is not on the VM.
    NotDelivered,
}

/// The output of a command that goes on.
pub(crate) struct Stream {
    exec: Exec,
    /// What came before the marker so far; none once it was found.
    before_marker: Option<Vec<u8>>,
}

/// What start-up files may print before the marker.
const NOISE_LIMIT: usize = 64 * 1024;

impl Stream {
    /// The next piece. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Piece, RemoteError> {
        loop {
            match self.exec.next().await {
                Some(catalyst_ssh::Output::Stdout(bytes)) => {
                    if let Some(output) = self.behind_marker(bytes)? {
                        return Ok(Piece::Output(output));
                    }
                }
                Some(catalyst_ssh::Output::Stderr(_)) => {}
                Some(catalyst_ssh::Output::Exit(NOT_DELIVERED)) => return Ok(Piece::NotDelivered),
                Some(catalyst_ssh::Output::Exit(status)) if self.before_marker.is_some() => {
                    return Err(RemoteError::NoShell(command::exit_words(Some(status))));
                }
                Some(catalyst_ssh::Output::Exit(status)) => return Ok(Piece::Ended(status)),
                Some(catalyst_ssh::Output::Signal(_)) => return Ok(Piece::Ended(128)),
                None => return Err(self.exec.lost().into()),
            }
        }
    }

    /// Writes to its standard input.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        Ok(self.exec.write(bytes).await?)
    }

    fn behind_marker(&mut self, bytes: bytes::Bytes) -> Result<Option<bytes::Bytes>, RemoteError> {
        let Some(noise) = &mut self.before_marker else { return Ok(Some(bytes)) };
        noise.extend_from_slice(&bytes);
        if let Some(rest) = command::after_marker(noise) {
            let rest = bytes::Bytes::copy_from_slice(rest);
            self.before_marker = None;
            // Empty or not: it proves the way.
            return Ok(Some(rest));
        }
        if noise.len() > NOISE_LIMIT {
            return Err(RemoteError::NoShell("it prints without end".to_owned()));
        }
        Ok(None)
    }
}
