use std::fmt;

use schema::{MAX_LEVEL, MAX_TS};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::CodecError;
use crate::names::Names;

/// One interaction: at `ts` (ms since the Unix epoch) the user showed at least `level` (1 to 15) of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interaction<'r> {
    /// Who.
    pub user: &'r str,
    /// In what.
    pub item: &'r str,
    /// When.
    pub ts: u64,
    /// How much, 1 to [`MAX_LEVEL`].
    pub level: u8,
    /// In which room, where that matters: for what trends there.
    pub room: Option<&'r str>,
}

/// The interactions of one group of users, in the order in which they came: 16 bytes each, and every name once.
///
/// ```
/// use snapshots::Interactions;
/// use schema::id64;
///
/// let mut rows = Interactions::default();
/// rows.push((id64("ann"), "ann"), (id64("bread"), "bread"), 1_763_900_000_000, 6);
/// assert_eq!(rows.iter().map(|row| (row.user, row.item, row.level)).collect::<Vec<_>>(), [("ann", "bread", 6)]);
/// ```
#[derive(Clone, Default)]
pub struct Interactions {
    users: Names,
    items: Names,
    records: Vec<Record>,
    rooms: Names,
    /// Of each record the number of its room from 1, or 0; of those behind the end there is none either.
    in_rooms: Vec<u32>,
}

impl Interactions {
    /// Adds a row; names come with their id64. Constant time, no allocation for names that were there before.
    ///
    /// # Panics
    /// Where `level` or `ts` is not one of a valid event, which would be stored as another.
    pub fn push(&mut self, user: (u64, &str), item: (u64, &str), ts: u64, level: u8) {
        let stamp = Stamp::new(ts, level).expect("the level and the time of an event that was let in");
        let (user, item) = (self.users.number(user.0, user.1), self.items.number(item.0, item.1));
        self.records.push(Record { user, item, stamp: stamp.0 });
    }

    /// Adds a row of a user and an item that are both in other rows already, by their id64s. `false`: they are not, and
    /// nothing was added.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_known(&mut self, user: u64, item: u64, ts: u64, level: u8) -> bool {
        let (Some(user), Some(item)) = (self.users.known(user), self.items.known(item)) else { return false };
        let stamp = Stamp::new(ts, level).expect("the level and the time of an event that was let in");
        self.records.push(Record { user, item, stamp: stamp.0 });
        true
    }

    /// The row pushed last happened in this room.
    pub fn in_room(&mut self, id: u64, room: &str) {
        let room = self.rooms.number(id, room) + 1;
        self.in_rooms.resize(self.records.len() - 1, 0);
        self.in_rooms.push(room);
    }

    /// Tables and records read back, after a look at every record.
    pub(crate) fn checked(users: Names, items: Names, records: Vec<Record>) -> Result<Self, CodecError> {
        let sound = |record: &Record| {
            (record.user as usize) < users.len()
                && (record.item as usize) < items.len()
                && Stamp::new(Stamp(record.stamp).ts(), Stamp(record.stamp).level()).is_some()
        };
        match records.iter().position(|record| !sound(record)) {
            Some(row) => Err(CodecError::damaged(format!("row {row} names nobody, nothing or no level"))),
            None => Ok(Interactions { users, items, records, ..Interactions::default() }),
        }
    }

    /// Rooms read back, after a look at every one.
    pub(crate) fn checked_rooms(self, rooms: Names, in_rooms: Vec<u32>) -> Result<Self, CodecError> {
        if in_rooms.len() > self.records.len() || in_rooms.iter().any(|room| *room as usize > rooms.len()) {
            return Err(CodecError::damaged("a row is in a room that is none"));
        }
        Ok(Interactions { rooms, in_rooms, ..self })
    }

    /// All rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Interaction<'_>> {
        self.records.iter().enumerate().map(|(row, record)| Interaction {
            room: self.room(row),
            user: self.users.name(record.user),
            item: self.items.name(record.item),
            ts: Stamp(record.stamp).ts(),
            level: Stamp(record.stamp).level(),
        })
    }

    /// All rows as `(user, item, ts, level)`, names as their places in [`users`](Self::users) and
    /// [`items`](Self::items): whoever needs something of each name works it out once.
    pub fn numbered(&self) -> impl ExactSizeIterator<Item = (usize, usize, u64, u8)> {
        self.records.iter().map(|record| {
            let stamp = Stamp(record.stamp);
            (record.user as usize, record.item as usize, stamp.ts(), stamp.level())
        })
    }

    /// The room of a row, by its place in [`iter`](Self::iter).
    pub fn room(&self, row: usize) -> Option<&str> {
        let number = self.in_rooms.get(row)?.checked_sub(1)?;
        Some(self.rooms.name(number))
    }

    /// The names of the users, each once.
    pub fn users(&self) -> impl ExactSizeIterator<Item = &str> {
        self.users.iter()
    }

    /// The names of the items, each once.
    pub fn items(&self) -> impl ExactSizeIterator<Item = &str> {
        self.items.iter()
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn tables(&self) -> (&Names, &Names) {
        (&self.users, &self.items)
    }

    /// All rooms, and of each row the number of its own from 1; empty if no row has one.
    pub(crate) fn rooms(&self) -> (&Names, &[u32]) {
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
    /// The same rows in the same order, however names are numbered.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// A row as it lies in memory and in files that are made for this machine. `IntoBytes` is derived only where there is
/// no padding, `FromBytes` only where all bytes are a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Record {
    pub(crate) user: u32,
    pub(crate) item: u32,
    /// A [`Stamp`].
    pub(crate) stamp: u64,
}

const _: () = assert!(size_of::<Record>() == 16 && align_of::<Record>() == 8);

/// Time and level in one: `ts << 8 | level`.
#[derive(Clone, Copy)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// `None` where no event has such a time or level.
    pub(crate) fn new(ts: u64, level: u8) -> Option<Self> {
        (ts <= MAX_TS && (1..=MAX_LEVEL).contains(&level)).then_some(Stamp(ts << 8 | u64::from(level)))
    }

    pub(crate) fn ts(self) -> u64 {
        self.0 >> 8
    }

    pub(crate) fn level(self) -> u8 {
        self.0 as u8
    }
}
