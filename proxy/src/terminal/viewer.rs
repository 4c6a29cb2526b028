//! Whoever looks at a terminal: how far it has come, how much may be sent to it, and what it typed.

use bytes::Bytes;
use catalyst_ssh::{Failure, Size};
use tokio::sync::mpsc;

use super::protocol::{Exit, Opened, Place};
use super::replies::without_reports;
use super::ring::Ring;

/// Output that may be on the way to a viewer without credit.
pub(super) const OUTPUT_WINDOW: u64 = 256 * 1024;
/// Input that may be on the way from a viewer without credit.
pub(super) const INPUT_WINDOW: usize = 256 * 1024;
/// What one message carries at most.
const PIECE: u64 = 32 * 1024;
/// With more than this unsent, reading from the VM pauses.
const LAG: u64 = 64 * 1024;

/// What a viewer is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// First.
    Opened(Opened),
    /// What the terminal prints.
    Output(Bytes),
    /// So many bytes of input were taken.
    Credit(u64),
    /// It is over; last.
    Exit(Exit),
    /// The connection to the VM is gone; last.
    Failed(Failure),
    /// The viewer broke the rule of the sentence; last.
    Refused(&'static str),
}

/// A viewer that wants to attach.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) id: u64,
    pub(super) size: Size,
    pub(super) resume: Option<Place>,
    pub(super) events: mpsc::Sender<Event>,
}

/// The viewer that is attached.
pub(super) struct Viewer {
    pub(super) id: u64,
    pub(super) events: mpsc::Sender<Event>,
    opened: Option<Opened>,
    position: u64,
    allowance: u64,
    /// Bytes of the replay that are not credited yet.
    replaying: u64,
    /// Input that the VM has not taken, and what of it was taken but not told.
    outstanding: usize,
    taken: u64,
}

impl Viewer {
    /// Attaches a newcomer where it was, or where one who saw nothing begins.
    pub(super) fn attach(newcomer: Newcomer, ring: &Ring, opened: Opened) -> Viewer {
        let known = newcomer.resume.filter(|place| place.session == opened.session && place.after <= ring.end());
        let (position, lost) = match known {
            Some(place) if place.after >= ring.start() => (place.after, false),
            Some(_) => (ring.beginning(), true),
            None => (ring.beginning(), ring.start() > 0),
        };
        let replay = ring.end().saturating_sub(position);
        let opened = Opened { lost, offset: position, replay, window: OUTPUT_WINDOW, ..opened };
        Viewer {
            id: newcomer.id,
            events: newcomer.events,
            opened: Some(opened),
            position,
            allowance: OUTPUT_WINDOW,
            replaying: replay,
            outstanding: 0,
            taken: 0,
        }
    }

    /// The first byte that it has not been sent.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether output that it should have seen could not be kept.
    pub(super) fn has_lost(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.lost)
    }

    /// Whether it has fallen so far behind that the VM has to wait.
    pub(super) fn lags(&self, ring: &Ring) -> bool {
        ring.end().saturating_sub(self.position) > LAG
    }

    /// Whether all that was printed has been sent.
    pub(super) fn is_done(&self, ring: &Ring) -> bool {
        self.opened.is_none() && self.position >= ring.end()
    }

    /// Whether [`Viewer::next`] has anything.
    pub(super) fn has_news(&self, ring: &Ring) -> bool {
        self.opened.is_some() || self.taken > 0 || (self.allowance > 0 && self.position < ring.end())
    }

    /// What to send now.
    pub(super) fn next(&mut self, ring: &Ring) -> Option<Event> {
        if let Some(opened) = self.opened.take() {
            return Some(Event::Opened(opened));
        }
        if self.taken > 0 {
            return Some(Event::Credit(std::mem::take(&mut self.taken)));
        }
        let limit = usize::try_from(self.allowance.min(PIECE)).unwrap_or(0);
        let piece = ring.read(self.position, limit);
        if piece.is_empty() {
            return None;
        }
        self.position += piece.len() as u64;
        self.allowance -= piece.len() as u64;
        Some(Event::Output(piece.into()))
    }

    /// So much more output was consumed; never more than was sent.
    pub(super) fn credit(&mut self, bytes: u64) {
        self.allowance = self.allowance.saturating_add(bytes).min(OUTPUT_WINDOW);
        self.replaying = self.replaying.saturating_sub(bytes);
    }

    /// What of the input goes to the VM; none if it is more than may be on the way.
    pub(super) fn typed(&mut self, input: Bytes) -> Option<Bytes> {
        if self.outstanding.saturating_add(input.len()) > INPUT_WINDOW {
            return None;
        }
        let whole = input.len();
        let kept = if self.replaying > 0 { without_reports(&input).into() } else { input };
        self.outstanding += kept.len();
        // What is dropped is taken at once.
        self.taken += (whole - kept.len()) as u64;
        Some(kept)
    }

    /// The VM took so much of the input.
    pub(super) fn was_taken(&mut self, bytes: usize) {
        // What a viewer before this one typed is not this one's.
        let bytes = bytes.min(self.outstanding);
        self.outstanding -= bytes;
        self.taken += bytes as u64;
    }
}
