//! The lines that our own part on the VM writes: messages handed over, and the end.

use super::out::Out;
use super::state::State;
use crate::agent::event::{Event, TurnResult};
use crate::agent::outcome;
use crate::agent::wire::{ExitLine, TurnLine};

pub(super) fn turn(state: &mut State, bytes: &[u8], out: &mut Out<'_>) {
    let Ok(turn) = serde_json::from_slice::<TurnLine>(bytes) else { return };
    taken(state, turn, out);
}

/// A message is handed over.
pub(super) fn taken(state: &mut State, turn: TurnLine, out: &mut Out<'_>) {
    state.pending = state.pending.saturating_add(1);
    state.turn_open = true;
    let TurnLine { id, mode, permissions, by, text } = turn;
    out.push(Event::User { text, message_id: id, mode, permissions, by });
}

pub(super) fn exit(state: &mut State, bytes: &[u8], out: &mut Out<'_>) {
    let Ok(line) = serde_json::from_slice::<ExitLine>(bytes) else { return };
    state.close(|_| true, out);
    // Without room, the log need not say that there was a message.
    if std::mem::replace(&mut state.turn_open, false) || line.reason == "full" {
        let (result, error) = outcome::of_exit(&line);
        let interrupted = error.is_none();
        if let Some(error) = &error {
            out.push(Event::Error { error: error.clone() });
        }
        out.push(Event::Result(TurnResult {
            result,
            error: error.or_else(|| Some(outcome::STOPPED.to_owned())),
            session_id: String::new(),
            cost_usd: 0.0,
            duration_ms: 0,
            turns: 0,
            interrupted,
        }));
    }
    out.push(Event::Exit { code: line.code, reason: line.reason });
}
