//! What a command on the VM gives, as it comes over its channel.

use bytes::Bytes;
use russh::{ChannelMsg, Sig};

/// What a running command gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes of its standard output.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// Its exit status; after all output, and last.
    Exit(u32),
    /// The name of the signal that ended it, without SIG; after all output, and last.
    Signal(String),
}

/// What a message of the channel tells, if it tells anything about the command.
///
/// The end may come before the last output: it counts when the channel is closed.
pub(crate) fn told(message: ChannelMsg) -> Option<Output> {
    match message {
        ChannelMsg::Data { data } => Some(Output::Stdout(data)),
        ChannelMsg::ExtendedData { data, ext: 1 } => Some(Output::Stderr(data)),
        ChannelMsg::ExitStatus { exit_status } => Some(Output::Exit(exit_status)),
        ChannelMsg::ExitSignal { signal_name, .. } => Some(Output::Signal(signal(signal_name))),
        _ => None,
    }
}

fn signal(signal: Sig) -> String {
    match signal {
        // A name of the server's own is untrusted text; real ones are short and upper case.
        Sig::Custom(name) => name.chars().filter(char::is_ascii_alphanumeric).take(16).collect(),
        known => format!("{known:?}"),
    }
}
