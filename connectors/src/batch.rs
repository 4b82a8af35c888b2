use std::collections::BTreeMap;
use std::ops::Range;

use schema::{Original, Position, Rejected};

/// One event as a source read it: well formed, its timestamp in range, its names checked; its action not yet judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// Who acted.
    pub user: &'a str,
    /// The product acted on.
    pub item: &'a str,
    /// What was done, as the input spells it.
    pub action: &'a str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// For `watch`.
    pub dwell_ms: Option<i64>,
    /// The live room it happened in, if it has one that is a name.
    pub room: Option<&'a str>,
    /// Where it stands in its source.
    pub position: Position,
    /// When its record was made, by a source that knows (a topic): what lies too far after that is from the future.
    pub stamped: Option<u64>,
}

#[derive(Clone, Debug)]
struct Slot {
    user: Range<u32>,
    item: Range<u32>,
    action: Range<u32>,
    ts: u64,
    dwell_ms: Option<i64>,
    room: Range<u32>,
    position: Position,
    stamped: Option<u64>,
}

/// Events and rejected records of one [`Source::poll`](crate::Source::poll), in the order of the source.
///
/// Names lie in one buffer, so that reading an event allocates nothing; a batch is cleared and used again.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    slots: Vec<Slot>,
    originals: BTreeMap<usize, Box<Original>>,
    /// Records set aside, in order.
    pub rejected: Vec<Rejected>,
}

impl Batch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.slots.clear();
        self.originals.clear();
        self.rejected.clear();
    }

    /// Appends an event.
    pub fn push(&mut self, event: RawEvent<'_>) {
        let slot = Slot {
            user: self.keep(event.user),
            item: self.keep(event.item),
            action: self.keep(event.action),
            ts: event.ts,
            dwell_ms: event.dwell_ms,
            room: self.keep(event.room.unwrap_or_default()),
            position: event.position,
            stamped: event.stamped,
        };
        self.slots.push(slot);
    }

    /// Keeps the record that the last event was read from.
    pub(crate) fn keep_original(&mut self, original: Box<Original>) {
        self.originals.insert(self.slots.len() - 1, original);
    }

    /// The record that the event at `index` was read from, if it was kept. It is taken out.
    pub fn take_original(&mut self, index: usize) -> Option<Box<Original>> {
        self.originals.remove(&index)
    }

    /// Puts another batch behind this one.
    pub fn append(&mut self, mut other: Batch) {
        if self.is_empty() && self.rejected.is_empty() {
            std::mem::swap(self, &mut other);
            return;
        }
        for at in 0..other.len() {
            let original = other.take_original(at);
            if let Some(event) = other.get(at) {
                self.push(event);
            }
            if let Some(original) = original {
                self.keep_original(original);
            }
        }
        self.rejected.append(&mut other.rejected);
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no event (there may be rejected records).
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The event at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<RawEvent<'_>> {
        self.slots.get(index).map(|slot| RawEvent {
            user: self.text(&slot.user),
            item: self.text(&slot.item),
            action: self.text(&slot.action),
            ts: slot.ts,
            dwell_ms: slot.dwell_ms,
            room: Some(self.text(&slot.room)).filter(|room| !room.is_empty()),
            position: slot.position,
            stamped: slot.stamped,
        })
    }

    fn keep(&mut self, text: &str) -> Range<u32> {
        let start = offset(self.text.len());
        self.text.push_str(text);
        start..offset(self.text.len())
    }

    fn text(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a source ends its poll long before a batch holds 4 GiB of names")
}
