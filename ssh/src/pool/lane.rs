//! The bookkeeping of one lane: which connections there are, how full they are, and when to dial again. No I/O.

use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::failure::{Failure, Reason};

/// A connection is left after so many channels: russh keeps a little of each channel that we close, for ever.
const CHANNELS_FOR_LIFE: u64 = 4096;

/// For how long a refusal counts: it may be for good (a small MaxSessions) or for a moment (commands whose channels are
/// closed still end).
const REFUSAL_COUNTS: Duration = Duration::from_secs(3);

/// The same where less is open than the server is known to allow: then it is for a moment.
const CLOSING_COUNTS: Duration = Duration::from_millis(200);

/// For how long more have to be open than were allowed before that counts: what has just ended is open no more for the server.
const MORE_COUNTS: Duration = Duration::from_secs(1);

/// The longest pause before a server is asked again that had no place for a moment.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(500);

/// One lane's share of [`super::PoolStats`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Open connections.
    pub connections: usize,
    /// Channels in use on them.
    pub channels: usize,
    /// Dials that succeeded so far.
    pub dialed: u64,
    /// Dials that failed so far.
    pub failed: u64,
    /// The failure of the last dial, if it failed.
    pub failure: Option<Failure>,
}

#[derive(Default)]
pub(super) struct LaneState {
    connections: Vec<Member>,
    next_id: u64,
    dialing: bool,
    dialed: u64,
    failed: u64,
    failures_in_a_row: u32,
    failure: Option<Failure>,
    /// No dial before this.
    not_before: Option<Instant>,
    /// What a connection carries, since the server was seen to refuse more for good.
    allowed: Option<usize>,
}

struct Member {
    id: u64,
    connection: Connection,
    in_use: usize,
    /// Those of them that were opened.
    open: usize,
    /// Since when those are more than a connection is known to carry.
    beyond: Option<Instant>,
    /// Learned when the server refuses a channel, and until when that is believed.
    refused_beyond: Option<(usize, Instant)>,
    /// Since when no more could be opened, whenever that was tried.
    refused_since: Option<Instant>,
    opened: u64,
    /// Grows with each use, so that an idle timer can tell whether it was used since.
    uses: u64,
    retired: bool,
}

impl Member {
    fn capacity(&self, now: Instant) -> Option<usize> {
        self.refused_beyond.filter(|(_, until)| *until > now).map(|(capacity, _)| capacity)
    }
}

pub(super) enum Dial {
    /// The caller shall dial; the lane is marked as dialing.
    Now,
    /// A dial failed a moment ago; look again at that time.
    Later(Instant),
    /// One is under way, or all connections that may be are there.
    No,
    /// There is no connection and none to be had for now.
    Failed(Failure),
}

impl LaneState {
    /// A slot on the fullest connection that has one, so that others fall idle and can go.
    pub(super) fn take_slot(&mut self, capacity: usize) -> Option<(u64, Connection)> {
        self.connections.retain(|member| !member.connection.is_closed());
        let now = Instant::now();
        let free = |member: &&mut Member| !member.retired && member.in_use < member.capacity(now).unwrap_or(capacity);
        let member = self.connections.iter_mut().filter(free).max_by_key(|member| member.in_use)?;
        member.in_use += 1;
        member.uses += 1;
        Some((member.id, member.connection.clone()))
    }

    pub(super) fn may_dial(&mut self, limit: usize, failed_before: u64, now: Instant) -> Dial {
        let alive = self.connections.iter().filter(|member| !member.retired).count();
        let backing_off = self.not_before.filter(|until| *until > now);
        if alive == 0
            && !self.dialing
            && let Some(failure) = self.failure.as_ref().filter(|failure| !failure.turned_away)
            && (self.failed > failed_before || backing_off.is_some())
        {
            return Dial::Failed(failure.clone());
        }
        match backing_off {
            _ if self.dialing || alive >= limit => Dial::No,
            Some(until) => Dial::Later(until),
            None => {
                self.dialing = true;
                Dial::Now
            }
        }
    }

    /// Why the last dial got no connection, if it was turned away: whoever waits goes on waiting, but not for ever.
    pub(super) fn turned_away(&self) -> Option<&Failure> {
        let none = self.connections.iter().all(|member| member.retired);
        self.failure.as_ref().filter(|failure| none && failure.turned_away)
    }

    /// When a refusal stops to count, so that there may be room again though nothing was released.
    pub(super) fn room_after(&self, now: Instant) -> Option<Instant> {
        let ends = self.connections.iter().filter_map(|member| member.refused_beyond);
        ends.map(|(_, until)| until).filter(|until| *until > now).min()
    }

    pub(super) fn dialed(&mut self, dialed: Result<Connection, Failure>, first: Duration, last: Duration) {
        self.dialing = false;
        match dialed {
            Ok(connection) => {
                self.dialed += 1;
                self.failures_in_a_row = 0;
                self.failure = None;
                self.not_before = None;
                self.next_id += 1;
                self.connections.push(Member {
                    id: self.next_id,
                    connection,
                    in_use: 0,
                    open: 0,
                    beyond: None,
                    refused_beyond: None,
                    refused_since: None,
                    opened: 0,
                    uses: 0,
                    retired: false,
                });
            }
            Err(failure) => {
                self.failed += 1;
                let last = if failure.turned_away { last.min(TURNED_AWAY_PAUSE) } else { last };
                self.not_before = Some(Instant::now() + backoff(self.failures_in_a_row, first, last));
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.failure = Some(failure);
            }
        }
    }

    pub(super) fn opened(&mut self, id: u64) {
        let Some(member) = self.member(id) else { return };
        member.opened += 1;
        member.open += 1;
        member.retired |= member.opened >= CHANNELS_FOR_LIFE;
        let open = member.open;
        // So the refusal was for a moment.
        if member.refused_beyond.is_none_or(|(capacity, _)| open > capacity) {
            (member.refused_beyond, member.refused_since) = (None, None);
        }
        self.see_more(id);
    }

    /// Takes note of a connection that carries more than was allowed, if it has done so for a while.
    fn see_more(&mut self, id: u64) {
        let Some(allowed) = self.allowed else { return };
        let now = Instant::now();
        let Some(member) = self.member(id) else { return };
        if member.open <= allowed {
            member.beyond = None;
        } else if now.duration_since(*member.beyond.get_or_insert(now)) >= MORE_COUNTS {
            self.allowed = Some(member.open);
        }
    }

    /// What a connection carries, as far as the server has refused more for longer than a moment.
    pub(super) fn allowed(&self) -> Option<usize> {
        self.allowed
    }

    /// Draws the conclusion from a failure on a connection; true if another connection may do better.
    pub(super) fn failed(&mut self, id: u64, reason: Reason) -> bool {
        let allowed = self.allowed;
        let Some(member) = self.member(id) else { return true };
        if reason != Reason::ChannelRefused {
            member.retired = true;
            return member.opened > 0 || reason == Reason::ConnectionLost;
        }
        if member.opened == 0 {
            return false;
        }
        let now = Instant::now();
        // Refused anew though what was closing has had its time.
        let since = *member.refused_since.get_or_insert(now);
        let for_good = (now.duration_since(since) >= REFUSAL_COUNTS).then_some(member.open.max(1));
        let closing = allowed.is_some_and(|allowed| member.open < allowed);
        let counts = if closing { CLOSING_COUNTS } else { REFUSAL_COUNTS };
        match member.in_use.saturating_sub(1) {
            // Commands whose channels are closed may live on and still count for the server.
            0 => member.retired = true,
            others => member.refused_beyond = Some((others, now + counts)),
        }
        self.allowed = for_good.or(allowed);
        true
    }

    /// Gives a slot back, `opened` or not; some if the connection is idle now, with its count of uses.
    pub(super) fn release(&mut self, id: u64, opened: bool) -> Option<u64> {
        self.see_more(id);
        let allowed = self.allowed;
        let member = self.member(id)?;
        member.in_use = member.in_use.saturating_sub(1);
        member.open = member.open.saturating_sub(usize::from(opened));
        member.beyond = member.beyond.filter(|_| allowed.is_some_and(|allowed| member.open > allowed));
        let (idle, uses, gone) = (member.in_use == 0, member.uses, member.retired && member.in_use == 0);
        if gone {
            self.connections.retain(|member| member.id != id);
            return None;
        }
        idle.then_some(uses)
    }

    /// Takes a connection out that was not used since and that others can stand in for.
    pub(super) fn take_spare(&mut self, id: u64, uses: u64) -> Option<Connection> {
        let others = self.connections.iter().any(|member| member.id != id && !member.retired);
        let at =
            self.connections.iter().position(|member| member.id == id && member.uses == uses && member.in_use == 0)?;
        others.then(|| self.connections.remove(at).connection)
    }

    pub(super) fn take_all(&mut self) -> Vec<Connection> {
        self.connections.drain(..).map(|member| member.connection).collect()
    }

    pub(super) fn stats(&self) -> LaneStats {
        let alive = || self.connections.iter().filter(|member| !member.connection.is_closed());
        LaneStats {
            connections: alive().count(),
            channels: alive().map(|member| member.in_use).sum(),
            dialed: self.dialed,
            failed: self.failed,
            failure: self.failure.clone(),
        }
    }

    fn member(&mut self, id: u64) -> Option<&mut Member> {
        self.connections.iter_mut().find(|member| member.id == id)
    }
}

/// Doubling from `first` to `last`, with up to a quarter taken off at random so that replicas do not dial in step.
fn backoff(failures: u32, first: Duration, last: Duration) -> Duration {
    let full = first.saturating_mul(2u32.saturating_pow(failures.min(16))).min(last);
    full.mul_f64(1.0 - 0.25 * rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(250);
    const LAST: Duration = Duration::from_secs(5);

    fn refused() -> Failure {
        Failure::new(Reason::ConnectionRefused, "refused")
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (failures, full) in [(0, 250), (1, 500), (2, 1000), (5, 5000), (1000, 5000)] {
            let pause = backoff(failures, FIRST, LAST).as_millis();
            assert!(pause <= full && pause >= full * 3 / 4, "{failures} failures: {pause} ms");
        }
    }

    #[tokio::test]
    async fn one_dial_at_a_time_and_its_failure_reaches_those_who_waited() {
        let mut lane = LaneState::default();
        let now = Instant::now();
        assert!(matches!(lane.may_dial(8, 0, now), Dial::Now));
        assert!(matches!(lane.may_dial(8, 0, now), Dial::No));
        lane.dialed(Err(refused()), FIRST, LAST);
        assert!(matches!(lane.may_dial(8, 0, now), Dial::Failed(failure) if failure == refused()));
    }

    #[tokio::test]
    async fn one_that_was_turned_away_is_no_failure_yet_and_dials_again_soon() {
        let mut lane = LaneState::default();
        assert!(matches!(lane.may_dial(8, 0, Instant::now()), Dial::Now));
        lane.dialed(Err(Failure::turned_away("full")), FIRST, LAST);
        let now = Instant::now();
        assert!(matches!(lane.may_dial(8, 0, now), Dial::Later(until) if until <= now + TURNED_AWAY_PAUSE));
        assert!(matches!(lane.may_dial(8, 0, now + TURNED_AWAY_PAUSE), Dial::Now));
        assert!(lane.turned_away().is_some());
    }

    #[tokio::test]
    async fn during_the_pause_the_failure_is_given_at_once_and_after_it_one_dials_again() {
        let mut lane = LaneState::default();
        let now = Instant::now();
        assert!(matches!(lane.may_dial(8, 0, now), Dial::Now));
        lane.dialed(Err(refused()), FIRST, LAST);
        assert!(matches!(lane.may_dial(8, 1, Instant::now()), Dial::Failed(_)));
        assert!(matches!(lane.may_dial(8, 1, Instant::now() + LAST), Dial::Now));
    }
}
