//! The retained events of one user.

use dataflows::Audience;
use dataflows::types::{ItemId, Level};

/// Event that no later event of the same item supersedes.
#[derive(Clone, Copy)]
pub(super) struct RetainedEvent {
    pub(super) ts: u64,
    pub(super) item: u32,
    pub(super) level: Level,
}

/// Retained events of a user, newest first, equal times by id. The first event of an item is its last touch; the following
/// ones are older with ascending levels, so the last one has the level of the interaction.
#[derive(Default)]
pub(super) struct User {
    pub(super) events: Vec<RetainedEvent>,
    /// Time of the queued timer; `u64::MAX` if there is none.
    pub(super) queued: u64,
}

impl User {
    /// Inserts an event, unless another event of the item supersedes it.
    pub(super) fn insert(&mut self, event: RetainedEvent, ids: &[ItemId]) {
        let id = ids[event.item as usize];
        let mut at = 0;
        while let Some(other) = self.events.get(at) {
            if other.ts < event.ts || (other.ts == event.ts && ids[other.item as usize] >= id) {
                break;
            }
            if other.item == event.item && other.level >= event.level {
                return;
            }
            at += 1;
        }
        if self
            .events
            .get(at)
            .is_some_and(|other| other.item == event.item && other.ts == event.ts && other.level >= event.level)
        {
            return;
        }
        // Removes the older events of the item that this one supersedes.
        let mut behind = at;
        while let Some(other) = self.events.get(behind) {
            if other.item == event.item && other.level <= event.level {
                self.events.remove(behind);
            } else {
                behind += 1;
            }
        }
        self.events.insert(at, event);
    }

    /// Time of the next expiry or exit from the audience; `u64::MAX` for never.
    pub(super) fn due(&self, t: u64, retention: u64, audience: Audience) -> u64 {
        let (Some(newest), Some(oldest)) = (self.events.first(), self.events.last()) else {
            return u64::MAX;
        };
        let expiry = oldest.ts.saturating_add(retention);
        match audience {
            Audience::Within(span) if newest.ts.saturating_add(span) > t => expiry.min(newest.ts.saturating_add(span)),
            Audience::Within(_) | Audience::All => expiry,
        }
    }

    pub(super) fn in_audience(&self, t: u64, audience: Audience) -> bool {
        self.events.first().is_some_and(|newest| match audience {
            Audience::Within(span) => newest.ts.saturating_add(span) > t,
            Audience::All => true,
        })
    }
}
