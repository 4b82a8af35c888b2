//! The rows of a group.

use std::fmt;

use schema::{Effect, MAX_TS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::CodecError;
use crate::names::NameTable;

/// One event that the graph retains: what the user did with the item at `ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interaction<'r> {
    /// Name of the user.
    pub user: &'r str,
    /// Name of the item.
    pub item: &'r str,
    /// Time in milliseconds since the Unix epoch.
    pub ts: u64,
    /// What the event does.
    pub effect: Effect,
    /// Name of the room, if trending lists of the room need this row.
    pub room: Option<&'r str>,
}

/// The interactions of one group of users, in the order of insertion. Each takes 16 bytes; each name is stored once.
///
/// ```
/// use snapshots::Interactions;
/// use schema::{Effect, id64};
///
/// let mut rows = Interactions::default();
/// rows.push((id64("ann"), "ann"), (id64("bread"), "bread"), 1_763_900_000_000, Effect::Counts(6));
/// assert_eq!(rows.iter().map(|row| (row.user, row.item, row.ts)).collect::<Vec<_>>(), [("ann", "bread", 1_763_900_000_000)]);
/// ```
#[derive(Clone, Default)]
pub struct Interactions {
    users: NameTable,
    items: NameTable,
    records: Vec<Record>,
    rooms: NameTable,
    /// The room of each record, numbered from 1; 0 or beyond the end: none.
    in_rooms: Vec<u32>,
}

impl Interactions {
    /// Adds a row to rows that were not read from a file. Each name comes with its id64. Takes constant time, and
    /// allocates only for new names.
    ///
    /// # Panics
    /// If `effect` or `ts` is out of range, which would be stored as another value; or if the rows were read from a file.
    pub fn push(&mut self, user: (u64, &str), item: (u64, &str), ts: u64, effect: Effect) {
        let stamp = Stamp::new(ts, effect).expect("the effect and the time of an event are valid");
        let (user, item) = (self.users.number(user.0, user.1), self.items.number(item.0, item.1));
        self.records.push(Record { user, item, stamp: stamp.0 });
    }

    /// Adds a row if its user and its item, given by their id64, are in earlier rows. Returns whether it was added.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_known(&mut self, user: u64, item: u64, ts: u64, effect: Effect) -> bool {
        let (Some(user), Some(item)) = (self.users.known(user), self.items.known(item)) else { return false };
        let stamp = Stamp::new(ts, effect).expect("the effect and the time of an event are valid");
        self.records.push(Record { user, item, stamp: stamp.0 });
        true
    }

    /// Sets the room of the last row.
    pub fn set_room(&mut self, id: u64, room: &str) {
        let room = self.rooms.number(id, room) + 1;
        self.in_rooms.resize(self.records.len() - 1, 0);
        self.in_rooms.push(room);
    }

    /// Forgets the ids of the names, after which no rows can be added.
    pub(crate) fn without_ids(self) -> Self {
        let Interactions { users, items, rooms, .. } = self;
        let [users, items, rooms] = [users, items, rooms].map(NameTable::without_ids);
        Interactions { users, items, rooms, ..self }
    }

    /// Builds rows from decoded tables and records. Checks every record.
    pub(crate) fn checked(users: NameTable, items: NameTable, records: Vec<Record>) -> Result<Self, CodecError> {
        let is_valid = |record: &Record| {
            (record.user as usize) < users.len()
                && (record.item as usize) < items.len()
                && Stamp(record.stamp).is_valid()
        };
        match records.iter().position(|record| !is_valid(record)) {
            Some(row) => Err(CodecError::damaged(format!("row {row} has an unknown user, item or level"))),
            None => Ok(Interactions { users, items, records, ..Interactions::default() }),
        }
    }

    /// Adds decoded rooms. Checks every entry.
    pub(crate) fn checked_rooms(self, rooms: NameTable, in_rooms: Vec<u32>) -> Result<Self, CodecError> {
        if in_rooms.len() > self.records.len() || in_rooms.iter().any(|room| *room as usize > rooms.len()) {
            return Err(CodecError::damaged("a row has an unknown room"));
        }
        Ok(Interactions { rooms, in_rooms, ..self })
    }

    /// Iterates over all rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Interaction<'_>> {
        self.records.iter().enumerate().map(|(row, record)| Interaction {
            room: self.room(row),
            user: self.users.name(record.user),
            item: self.items.name(record.item),
            ts: Stamp(record.stamp).ts(),
            effect: Stamp(record.stamp).effect(),
        })
    }

    /// Iterates over all rows as `(user, item, ts, effect)`, with users and items as indexes into
    /// [`users`](Self::users) and [`items`](Self::items). Use it to compute something once per name.
    pub fn numbered(&self) -> impl ExactSizeIterator<Item = (usize, usize, u64, Effect)> {
        self.records.iter().map(|record| {
            let stamp = Stamp(record.stamp);
            (record.user as usize, record.item as usize, stamp.ts(), stamp.effect())
        })
    }

    /// The room of a row, given its index in [`iter`](Self::iter).
    pub fn room(&self, row: usize) -> Option<&str> {
        let number = self.in_rooms.get(row)?.checked_sub(1)?;
        Some(self.rooms.name(number))
    }

    /// The names of all users, each once.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &str> {
        self.users.iter()
    }

    /// The names of all items, each once.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &str> {
        self.items.iter()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn tables(&self) -> (&NameTable, &NameTable) {
        (&self.users, &self.items)
    }

    /// All rooms, and the room of each row, numbered from 1; empty if no row has a room.
    pub(crate) fn rooms(&self) -> (&NameTable, &[u32]) {
        (&self.rooms, &self.in_rooms)
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

impl fmt::Debug for Interactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Interactions {
    /// Equal rows in the same order. The numbering of names may differ.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// A row in memory, and in files of the machine's own layout. Deriving `IntoBytes` proves that there is no padding,
/// `FromBytes` that any bytes are a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) user: u32,
    pub(crate) item: u32,
    /// A [`Stamp`].
    pub(crate) stamp: u64,
}

const _: () = assert!(size_of::<Record>() == 16 && align_of::<Record>() == 8);

/// Time and effect in one number: `ts << 8 | code`.
#[derive(Clone, Copy)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// `None` if the time or the effect is out of range.
    fn new(ts: u64, effect: Effect) -> Option<Self> {
        let is_valid = ts <= MAX_TS && Effect::from_code(effect.code()) == Some(effect);
        is_valid.then(|| Stamp(ts << 8 | u64::from(effect.code())))
    }

    fn is_valid(self) -> bool {
        self.ts() <= MAX_TS && Effect::from_code(self.code()).is_some()
    }

    pub(crate) fn ts(self) -> u64 {
        self.0 >> 8
    }

    pub(crate) fn code(self) -> u8 {
        self.0 as u8
    }

    fn effect(self) -> Effect {
        Effect::from_code(self.code()).expect("a stamp is checked when it is made or read")
    }
}
