//! A slot of a pooled connection, held for as long as its channel lives.

use std::ops::Deref;
use std::sync::Arc;

use russh_sftp::client::SftpSession;

use super::core::{Core, Lane};
use crate::connection::Connection;
use crate::failure::{Failure, Reason};

/// One slot of one connection; free again when dropped.
pub(crate) struct Lease {
    pub(super) core: Arc<Core>,
    pub(super) lane: Lane,
    pub(super) id: u64,
    pub(super) connection: Connection,
    opened: bool,
}

impl Lease {
    /// Of a slot that was taken.
    pub(super) fn new(core: Arc<Core>, lane: Lane, (id, connection): (u64, Connection)) -> Lease {
        Lease { core, lane, id, connection, opened: false }
    }

    /// Its channel is open.
    pub(super) fn opened(&mut self) {
        self.opened = true;
        let mut state = self.core.lock();
        state.lane(self.lane).opened(self.id);
        self.core.tell(&state);
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes note of a failure on this connection; says whether another connection may do better.
    pub(super) fn judge(&self, failure: &Failure) -> bool {
        let another = {
            let mut state = self.core.lock();
            let another = state.lane(self.lane).failed(self.id, failure.reason);
            self.core.tell(&state);
            another
        };
        self.core.changed.notify_waiters();
        another
    }

    /// The same for what happens on an open channel, where a refusal is about the command and not about room.
    pub(super) fn judge_start(&self, failure: &Failure) {
        if failure.reason != Reason::ChannelRefused {
            self.judge(failure);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let idle = {
            let mut state = self.core.lock();
            let idle = state.lane(self.lane).release(self.id, self.opened);
            self.core.tell(&state);
            idle
        };
        self.core.changed.notify_waiters();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if let Some(since) = idle {
            let (core, lane, id) = (Arc::downgrade(&self.core), self.lane, self.id);
            let wait = self.core.limits.idle;
            runtime.spawn(async move {
                tokio::time::sleep(wait).await;
                let Some(core) = core.upgrade() else { return };
                let spare = core.lock().lane(lane).take_spare(id, since);
                if let Some(connection) = spare {
                    connection.close().await;
                }
            });
        }
    }
}

/// A file transfer session that holds its slot in the pool.
pub struct Sftp {
    pub(super) session: SftpSession,
    pub(super) _lease: Lease,
}

impl Deref for Sftp {
    type Target = SftpSession;

    fn deref(&self) -> &SftpSession {
        &self.session
    }
}
