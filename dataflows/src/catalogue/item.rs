//! The state of one item: the last statement of each field.

use schema::{Availability, FieldValue, ItemField, Statement};

/// The last statement of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldState {
    pub(super) field: ItemField,
    pub(super) ts: u64,
    pub(super) value: Option<FieldValue>,
}

/// What is kept of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// The fields of which anything is stated after the deletion, in no order.
    pub(super) fields: Vec<FieldState>,
    /// The latest deletion.
    pub(super) deleted: Option<u64>,
    /// The least timestamp of its records, if there is no deletion.
    pub(super) first: Option<u64>,
}

impl Item {
    /// Applies what is stated at `ts`. Idempotent, and the order of statements does not matter.
    pub(super) fn apply(&mut self, ts: u64, statement: Statement) {
        match statement {
            Statement::Deleted => {
                self.deleted = self.deleted.max(Some(ts));
                self.first = None;
                self.fields.retain(|state| state.ts > ts);
            }
            Statement::Fields(fields) => {
                if self.deleted.is_none() {
                    self.first = Some(self.first.map_or(ts, |first| first.min(ts)));
                }
                for (field, value) in fields {
                    self.state(ts, field, value);
                }
            }
        }
    }

    fn state(&mut self, ts: u64, field: ItemField, value: Option<FieldValue>) {
        if self.deleted.is_some_and(|deleted| ts <= deleted) {
            return;
        }
        match self.fields.iter_mut().find(|state| state.field == field) {
            // A value beats none at the same time, and a greater one beats a lesser.
            Some(state) if (state.ts, &state.value) < (ts, &value) => (state.ts, state.value) = (ts, value),
            Some(_) => {}
            None => self.fields.push(FieldState { field, ts, value }),
        }
    }

    /// Whether anything but a deletion is kept.
    pub(super) fn is_stated(&self) -> bool {
        !self.fields.is_empty() || self.first.is_some()
    }

    /// Whether the item was never heard of.
    pub(super) fn is_unknown(&self) -> bool {
        !self.is_stated() && self.deleted.is_none()
    }

    fn value(&self, field: ItemField) -> Option<&FieldValue> {
        self.fields.iter().find(|state| state.field == field)?.value.as_ref()
    }

    pub(super) fn text(&self, field: ItemField) -> Option<&str> {
        match self.value(field)? {
            FieldValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a set; none without a value.
    pub(super) fn set(&self, field: ItemField) -> &[Box<str>] {
        set_of(self.value(field))
    }

    /// The tags of all groups.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        let groups = self.fields.iter().filter(|state| matches!(state.field, ItemField::Tags(_)));
        groups.flat_map(|state| set_of(state.value.as_ref())).map(|tag| &**tag)
    }

    fn time(&self, field: ItemField) -> Option<u64> {
        match self.value(field)? {
            FieldValue::Number(ms) => Some(*ms),
            _ => None,
        }
    }

    /// Whether the item exists, may be recommended, and is within its times at `now`.
    pub(super) fn is_eligible(&self, now: u64) -> bool {
        let exists = self.fields.iter().any(|state| state.field.makes_an_item() && state.value.is_some());
        let allows = match self.value(ItemField::Availability) {
            Some(FieldValue::Availability(availability)) => Availability::allows(*availability),
            _ => true,
        };
        let (from, until) = (self.time(ItemField::From), self.time(ItemField::Until));
        exists && allows && from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until)
    }

    /// Whether the times of the item leave it no moment.
    pub(super) fn has_empty_interval(&self) -> bool {
        self.time(ItemField::From).zip(self.time(ItemField::Until)).is_some_and(|(from, until)| until <= from)
    }

    /// The next of its times after `now`.
    pub(super) fn next_due(&self, now: u64) -> Option<u64> {
        let times = [ItemField::From, ItemField::Until].map(|field| self.time(field));
        times.into_iter().flatten().filter(|ms| *ms > now).min()
    }

    /// What is kept, as records that make the same state of nothing.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, Statement)> {
        let deleted = self.deleted.map(|ts| (ts, Statement::Deleted));
        let first = self.first.map(|ts| (ts, Statement::Fields(Vec::new())));
        let field = |state: &FieldState| {
            let FieldState { field, ts, ref value } = *state;
            (ts, Statement::Fields(vec![(field, value.clone())]))
        };
        deleted.into_iter().chain(first).chain(self.fields.iter().map(field))
    }
}

fn set_of(value: Option<&FieldValue>) -> &[Box<str>] {
    match value {
        Some(FieldValue::Set(elements)) => elements,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statements() -> impl Strategy<Value = Vec<(u64, Statement)>> {
        let field = prop::sample::select(vec![ItemField::Kind, ItemField::Title, ItemField::Availability]);
        let value = |field, value: Option<usize>| {
            let of_field = |n: usize| match field {
                ItemField::Availability => FieldValue::Availability(Availability::ALL[n * 4]),
                _ => FieldValue::Text(["a", "b", "c"][n].into()),
            };
            (field, value.map(of_field))
        };
        let fields = prop::collection::vec((field, prop::option::of(0_usize..3)), 0..3).prop_map(move |fields| {
            let mut fields: Vec<_> = fields.into_iter().map(|(field, of_field)| value(field, of_field)).collect();
            fields.sort_by_key(|(field, _)| *field);
            fields.dedup_by_key(|(field, _)| *field);
            Statement::Fields(fields)
        });
        let statement = prop_oneof![5 => fields, 1 => Just(Statement::Deleted)];
        prop::collection::vec((0_u64..6, statement), 0..10)
    }

    fn item(statements: &[(u64, Statement)]) -> Item {
        let mut item = Item::default();
        for (ts, statement) in statements {
            item.apply(*ts, statement.clone());
        }
        item.fields.sort_by_key(|state| state.field);
        item
    }

    proptest! {
        /// In any order, repeated, and after a restart from what is kept.
        #[test]
        fn the_state_is_a_function_of_the_set_of_records(
            statements in statements(),
            order in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let expected = item(&statements);
            let mut shuffled = statements.clone();
            for index in order.iter().filter(|_| !statements.is_empty()) {
                shuffled.push(index.get(&statements).clone());
                let swapped = index.index(shuffled.len());
                shuffled.swap(0, swapped);
            }
            prop_assert_eq!(&item(&shuffled), &expected);
            let kept: Vec<_> = expected.records().collect();
            prop_assert_eq!(item(&kept), expected);
        }
    }
}
