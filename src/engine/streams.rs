//! Similar items and similar users as streams of their own, beside the lists.

use std::sync::Arc;

use connectors::{Lines, SinkError};
use dataflows::operators::RowChange;
use schema::{ItemName, Similar, SimilarTo, UserName};

use super::names::{Names, Table};

/// Where rows that changed are written to, if they are asked for.
#[derive(Default)]
pub struct Streams {
    /// Similar items of all items.
    pub similar_items: Option<Lines>,
    /// Similar users of the audience.
    pub similar_users: Option<Lines>,
}

/// Rows that changed.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) similar_items: Vec<RowChange>,
    pub(super) similar_users: Vec<RowChange>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.similar_items.len() + self.similar_users.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows between two looks at the names.
const NAMED_AT_ONCE: usize = 64;

impl Streams {
    /// What the graph has to tell for them.
    pub(crate) fn told(&self) -> dataflows::config::Outputs {
        dataflows::config::Outputs {
            similar_items: self.similar_items.is_some(),
            similar_users: self.similar_users.is_some(),
        }
    }

    pub(super) fn write(&mut self, rows: &Rows, names: &Arc<Names>) -> Result<(), SinkError> {
        if let Some(lines) = &mut self.similar_items {
            let item = |table: &Table, id| ItemName { item: name(table, id) };
            for some in rows.similar_items.chunks(NAMED_AT_ONCE) {
                let named: Vec<_> = some.iter().map(|row| named(row, &names.items(), item)).collect();
                named.iter().try_for_each(|row| lines.write(row))?;
            }
            lines.flush()?;
        }
        if let Some(lines) = &mut self.similar_users {
            let user = |table: &Table, id| UserName { user: name(table, id) };
            for some in rows.similar_users.chunks(NAMED_AT_ONCE) {
                let named: Vec<_> = some.iter().map(|row| named(row, &names.users(), user)).collect();
                named.iter().try_for_each(|row| lines.write(row))?;
            }
            lines.flush()?;
        }
        Ok(())
    }

    pub(super) fn close(&mut self) -> Result<(), SinkError> {
        [&mut self.similar_items, &mut self.similar_users].into_iter().flatten().try_for_each(Lines::close)
    }
}

fn name(table: &Table, id: u64) -> String {
    table.get(id).expect("a name stays until the last row with it is written").to_owned()
}

fn named<N>(row: &RowChange, table: &Table, name: impl Fn(&Table, u64) -> N) -> Similar<N> {
    let similar = |(id, similarity): &(u64, u16)| SimilarTo { name: name(table, *id), similarity: *similarity };
    Similar { of: name(table, row.of), at: row.at, similar: row.similar.iter().map(similar).collect() }
}
