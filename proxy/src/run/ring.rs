//! The newest frames of an idea, bounded in bytes.
//!
//! Invariant: every frame of the log after `floor` and up to `head` is in it. Frames are numbered as they come, so that a
//! viewer that has joined knows what it had, also of frames that are not from the log.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::{Frame, Position, Resume};

/// What a ring holds, in bytes.
pub(super) const CAPACITY: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Ring {
    frames: VecDeque<Arc<Frame>>,
    weight: usize,
    /// Number of the first frame in it.
    start: u64,
    floor: Position,
    head: Position,
}

/// A viewer's place in the ring.
#[derive(Debug)]
pub(super) struct Place {
    /// Number of the next frame.
    pub(super) next: u64,
    /// From where the log can be read instead, where the ring tells.
    pub(super) resume: Option<Resume>,
}

/// What a viewer finds.
#[derive(Debug)]
pub(super) enum Found {
    /// These, in order.
    Frames(Vec<Arc<Frame>>),
    /// Nothing newer.
    UpToDate,
    /// What comes next is not there any more.
    Behind,
}

impl Ring {
    pub(super) fn new(at: Position) -> Ring {
        Ring { frames: VecDeque::new(), weight: 0, start: 0, floor: at, head: at }
    }

    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Number of the next frame.
    pub(super) fn end(&self) -> u64 {
        self.start + self.frames.len() as u64
    }

    pub(super) fn extend(&mut self, frames: Vec<Arc<Frame>>, head: Position) {
        for frame in frames {
            self.weight += frame.weight();
            self.frames.push_back(frame);
        }
        self.head = self.head.max(head);
        while self.weight > CAPACITY {
            let Some(frame) = self.frames.pop_front() else { break };
            self.weight -= frame.weight();
            self.start += 1;
            self.floor = self.floor.max(frame.position());
        }
    }

    /// The place after `cursor`, if the ring has all that follows it.
    pub(super) fn join(&self, cursor: Position) -> Option<Place> {
        if cursor < self.floor {
            return None;
        }
        let before = self.frames.partition_point(|frame| frame.position() <= cursor);
        // A frame that begins before the cursor and ends after it has to be read anew.
        let whole = self.frames.get(before).is_none_or(|frame| frame.first_position() > cursor);
        let resume = || before.checked_sub(1).and_then(|last| self.frames.get(last)?.resume.clone());
        whole.then(|| Place { next: self.start + before as u64, resume: resume() })
    }

    /// Frames from number `next` on.
    pub(super) fn from(&self, next: u64) -> Found {
        if next < self.start {
            return Found::Behind;
        }
        let skip = usize::try_from(next - self.start).unwrap_or(usize::MAX);
        let frames: Vec<Arc<Frame>> = self.frames.iter().skip(skip).cloned().collect();
        if frames.is_empty() { Found::UpToDate } else { Found::Frames(frames) }
    }
}
