use std::collections::BTreeMap;

use schema::{Event, Original, Position, Rejected};

use crate::Record;
use crate::text::Text;
use crate::transports::MAX_REJECTED_BYTES;

/// Records and rejected records of one [`Source::poll`](crate::Source::poll), in the order of the source.
///
/// Clear a batch and use it again: it keeps its memory.
pub struct Batch<R: Record = Event> {
    text: Text,
    slots: Vec<R::Slot>,
    originals: BTreeMap<usize, Box<Original>>,
    /// Rejected records.
    pub rejected: Vec<Rejected>,
}

impl<R: Record> Default for Batch<R> {
    fn default() -> Self {
        Batch { text: Text::default(), slots: Vec::new(), originals: BTreeMap::new(), rejected: Vec::new() }
    }
}

impl<R: Record> Batch<R> {
    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.slots.clear();
        self.originals.clear();
        self.rejected.clear();
    }

    /// Appends a record.
    pub fn push(&mut self, record: R::Ref<'_>) {
        let slot = R::store(record, &mut self.text);
        self.slots.push(slot);
    }

    /// Attaches the original of the records from `first` on, which are those of one array.
    #[cfg(feature = "kafka")]
    pub(crate) fn attach_original(&mut self, first: usize, original: Box<Original>) {
        self.originals.insert(first, original);
    }

    /// The original of the record at `index`, if it is kept.
    pub fn original(&self, index: usize) -> Option<&Original> {
        let (first, original) = self.originals.range(..=index).next_back()?;
        (self.position(*first) == self.position(index)).then_some(original)
    }

    /// Text of the original of the record at `index`, if it has one, truncated as that of any rejected record.
    pub(crate) fn original_text(&self, index: usize) -> Option<String> {
        let value = self.original(index)?.value.as_deref()?;
        Some(String::from_utf8_lossy(&value[..value.len().min(MAX_REJECTED_BYTES)]).into_owned())
    }

    /// Appends the contents of another batch.
    #[cfg(feature = "kafka")]
    pub(crate) fn append(&mut self, mut other: Batch<R>) {
        if self.is_empty() && self.rejected.is_empty() {
            std::mem::swap(self, &mut other);
            return;
        }
        let start = self.slots.len();
        for slot in &other.slots {
            self.push(R::load(slot, &other.text));
        }
        self.originals.extend(
            std::mem::take(&mut other.originals).into_iter().map(|(index, original)| (start + index, original)),
        );
        self.rejected.append(&mut other.rejected);
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no records. There may be rejected records.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<R::Ref<'_>> {
        self.slots.get(index).map(|slot| R::load(slot, &self.text))
    }

    /// Position of the record at `index`.
    pub fn position(&self, index: usize) -> Option<Position> {
        self.slots.get(index).map(R::position)
    }
}
