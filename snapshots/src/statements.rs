//! The rows of a group of the catalogue or of the controls.

use std::collections::HashMap;
use std::fmt;

/// One statement: at `ts` a field of its owner got a value. What fields and values mean is up to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementRow<'r> {
    /// Name of the item, or of the user for controls.
    pub owner: &'r str,
    /// Name of the field.
    pub field: &'r str,
    /// Time in milliseconds since the Unix epoch.
    pub ts: u64,
    /// Text of the value; `None`: the field has none.
    pub value: Option<&'r str>,
}

/// The statements of one group of items or users, in the order of insertion. Each takes 24 bytes beside its value. The
/// name of each field is stored once, and the name of an owner once for rows that follow each other.
///
/// ```
/// use snapshots::StatementRows;
///
/// let mut rows = StatementRows::default();
/// rows.push("bread", "title", 1_763_900_000_000, Some("\"Rye bread\""));
/// rows.push("bread", "brand", 1_763_900_000_000, None);
/// assert_eq!(rows.iter().map(|row| (row.owner, row.value)).collect::<Vec<_>>(), [
///     ("bread", Some("\"Rye bread\"")),
///     ("bread", None),
/// ]);
/// ```
#[derive(Clone, Default)]
pub struct StatementRows {
    owners: Texts,
    fields: Texts,
    field_numbers: HashMap<Box<str>, u32>,
    /// Values of the rows that have one.
    values: Texts,
    records: Vec<Record>,
}

/// A row: the numbers of its texts.
#[derive(Clone, Copy)]
struct Record {
    owner: u32,
    field: u32,
    value: Option<u32>,
    ts: u64,
}

/// Texts, numbered in the order of insertion.
#[derive(Clone, Default)]
struct Texts {
    text: String,
    /// End of each text. It starts where the one before ends.
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) -> u32 {
        let number = u32::try_from(self.ends.len());
        self.text.push_str(text);
        self.ends.push(self.text.len());
        // A group has a sixteenth of all items, or fewer users: memory runs out before.
        number.expect("a group has fewer than four billion statements")
    }

    fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[start..self.ends[number]]
    }

    fn last(&self) -> Option<(u32, &str)> {
        let number = self.ends.len().checked_sub(1)? as u32;
        Some((number, self.get(number)))
    }
}

impl StatementRows {
    /// Adds a row. Rows of one owner should follow each other: then its name is stored once.
    pub fn push(&mut self, owner: &str, field: &str, ts: u64, value: Option<&str>) {
        let owner = match self.owners.last() {
            Some((number, last)) if last == owner => number,
            _ => self.owners.push(owner),
        };
        let field = self.field_numbers.get(field).copied().unwrap_or_else(|| {
            let number = self.fields.push(field);
            self.field_numbers.insert(field.into(), number);
            number
        });
        let value = value.map(|value| self.values.push(value));
        self.records.push(Record { owner, field, value, ts });
    }

    /// Iterates over all rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = StatementRow<'_>> {
        self.records.iter().map(|Record { owner, field, value, ts }| StatementRow {
            owner: self.owners.get(*owner),
            field: self.fields.get(*field),
            ts: *ts,
            value: value.map(|value| self.values.get(value)),
        })
    }

    /// The names of all owners. An owner whose rows do not follow each other is named several times.
    pub fn owners(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.owners.ends.len()).map(|number| self.owners.get(number as u32))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl fmt::Debug for StatementRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for StatementRows {
    /// Equal rows in the same order.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
