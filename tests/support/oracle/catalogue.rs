//! The catalogue: `docs/semantics.md`, "Catalogue", one function per definition.
//!
//! Records are as after reading: their names, texts, numbers and words are valid, and an empty text or list is no value.

use std::collections::{BTreeMap, BTreeSet};

use super::Params;

/// The keys `catalogue.*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatalogueParams {
    /// Whether an item that never had a record is eligible: `catalogue.unknown`.
    pub(crate) unknown_is_eligible: bool,
    /// Number of items with a statement of a field, and of deletions; `usize::MAX` is no bound.
    pub(crate) max_items: usize,
}

/// > A catalogue record states something of an item: an item, a time `ts`, and **fields**.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OracleItemRecord {
    /// Name of the item.
    pub(crate) item: String,
    /// Time in milliseconds.
    pub(crate) ts: u64,
    /// What it states.
    pub(crate) statement: OracleStatement,
}

/// What a record states.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OracleStatement {
    /// The stated fields: `kind`, `availability`, `from`, ..., and `tags:GROUP` for each group of tags.
    ///
    /// > A field that a record does not have is not stated. `null`, an empty text and an empty list state that the field
    /// > has no value.
    Fields(BTreeMap<String, Option<OracleValue>>),
    /// > A record with `"deleted": true`, or a tombstone of a topic, states nothing else.
    Deleted,
}

/// The value of a field. All values of a field are of the same variant, and compare as
///
/// > numbers as numbers, texts and names by their bytes, sets as their sorted elements, element by element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OracleValue {
    /// A name or a text.
    Text(String),
    /// Names or paths. A path is a text: its levels, joined by ` > `.
    Set(BTreeSet<String>),
    /// A time, or a price in ten-thousandths.
    Number(u64),
    /// One of the words of the text, in its spelling.
    Availability(String),
}

/// > May be recommended: `in_stock`, `limited_availability`, `preorder`, `presale`, `backorder`, `made_to_order`,
/// > `online_only`, `on_air`, and no value at all. May not: `out_of_stock`, `sold_out`, `discontinued`, `reserved`,
/// > `in_store_only`, `off_air`, `hidden`.
///
/// Panics if it is another word: the record would have been rejected.
pub(crate) fn forbids(word: &str) -> bool {
    match word {
        "in_stock"
        | "limited_availability"
        | "preorder"
        | "presale"
        | "backorder"
        | "made_to_order"
        | "online_only"
        | "on_air" => false,
        "out_of_stock" | "sold_out" | "discontinued" | "reserved" | "in_store_only" | "off_air" | "hidden" => true,
        _ => panic!("{word} is no availability"),
    }
}

/// > The state of the catalogue is a function of the set of its records with `ts <= t`.
fn acting(records: &[OracleItemRecord], t: u64) -> Vec<&OracleItemRecord> {
    records.iter().filter(|record| record.ts <= t).collect()
}

/// What holds of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemState {
    /// Fields that have a value.
    pub(crate) values: BTreeMap<String, OracleValue>,
    /// Its first time.
    pub(crate) first_time: u64,
}

/// The state of an item at t. `None`: no record of it has been.
pub(crate) fn state(records: &[OracleItemRecord], item: &str, t: u64) -> Option<ItemState> {
    state_of(&acting(records, t), item)
}

/// The states at t of all items that have had a record.
pub(crate) fn states(records: &[OracleItemRecord], t: u64) -> BTreeMap<String, ItemState> {
    states_of(&acting(records, t))
}

/// > A record that is ahead of the clock at the end of a finite input acts in the tick of the end.
pub(crate) fn states_at_the_end(records: &[OracleItemRecord]) -> BTreeMap<String, ItemState> {
    states_of(&records.iter().collect::<Vec<_>>())
}

fn states_of(acted: &[&OracleItemRecord]) -> BTreeMap<String, ItemState> {
    let items: BTreeSet<&str> = acted.iter().map(|record| record.item.as_str()).collect();
    items.into_iter().filter_map(|item| Some((item.to_owned(), state_of(acted, item)?))).collect()
}

/// The state of an item after these records have acted.
fn state_of(acted: &[&OracleItemRecord], item: &str) -> Option<ItemState> {
    let of_item: Vec<&OracleItemRecord> = acted.iter().copied().filter(|record| record.item == item).collect();
    Some(ItemState { first_time: first_time(&of_item)?, values: values(&of_item) })
}

/// > of its latest deletion
fn latest_deletion(of_item: &[&OracleItemRecord]) -> Option<u64> {
    of_item.iter().filter(|record| record.statement == OracleStatement::Deleted).map(|record| record.ts).max()
}

/// > The **first time** of an item is the least `ts` of its catalogue records with `ts <= t`, or that of its latest
/// > deletion if that is greater.
fn first_time(of_item: &[&OracleItemRecord]) -> Option<u64> {
    let least = of_item.iter().map(|record| record.ts).min()?;
    Some(latest_deletion(of_item).map_or(least, |deletion| deletion.max(least)))
}

/// > The field statements of an item whose `ts` is not above that of its latest deletion do not exist.
///
/// Returns the statements that exist, `(ts, field, value)`.
fn statements<'r>(of_item: &[&'r OracleItemRecord]) -> Vec<(u64, &'r str, &'r Option<OracleValue>)> {
    let deletion = latest_deletion(of_item);
    let mut statements = Vec::new();
    for record in of_item {
        if let OracleStatement::Fields(fields) = &record.statement
            && deletion.is_none_or(|deletion| record.ts > deletion)
        {
            statements.extend(fields.iter().map(|(field, value)| (record.ts, field.as_str(), value)));
        }
    }
    statements
}

/// > **The last statement holds.** Of all statements of a field with `ts <= t` the one with the largest `ts` holds. At
/// > equal `ts` a value beats `null`; of two availabilities that differ in whether the item may be recommended, the one
/// > that forbids it; then the greater value: numbers as numbers, texts and names by their bytes, sets as their sorted
/// > elements, element by element.
fn values(of_item: &[&OracleItemRecord]) -> BTreeMap<String, OracleValue> {
    let does_forbid =
        |value: &Option<OracleValue>| matches!(value, Some(OracleValue::Availability(word)) if forbids(word));
    let strength = |(ts, value): (u64, &Option<OracleValue>)| (ts, value.is_some(), does_forbid(value), value.clone());
    let mut held: BTreeMap<&str, (u64, &Option<OracleValue>)> = BTreeMap::new();
    for (ts, field, value) in statements(of_item) {
        let holds = held.entry(field).or_insert((ts, value));
        if strength((ts, value)) > strength(*holds) {
            *holds = (ts, value);
        }
    }
    held.into_iter().filter_map(|(field, (_, value))| Some((field.to_owned(), value.clone()?))).collect()
}

impl ItemState {
    /// > The item **exists** at t if one of kind, title, category, host, brand or a tag group has a value.
    pub(crate) fn exists(&self) -> bool {
        let makes_it_exist =
            |field: &str| ["kind", "title", "category", "host", "brand"].contains(&field) || field.starts_with("tags:");
        self.values.keys().any(|field| makes_it_exist(field))
    }

    /// > Without a kind it is of the kind `product`.
    pub(crate) fn kind(&self) -> &str {
        self.text("kind").unwrap_or("product")
    }

    /// > Without a group it is alone in a group of its own.
    ///
    /// Returns the name of the group; `None` if the item is alone in its own.
    pub(crate) fn group(&self) -> Option<&str> {
        self.text("group")
    }

    /// > May be recommended: ..., and no value at all.
    pub(crate) fn may_be_recommended(&self) -> bool {
        match self.values.get("availability") {
            None => true,
            Some(OracleValue::Availability(word)) => !forbids(word),
            Some(other) => panic!("availability is {other:?}"),
        }
    }

    /// > An item is **eligible** at t if it exists, may be recommended, and `from <= t < until`; a `from` or `until`
    /// > without a value is no bound. If `until` is not after `from` it is never eligible.
    pub(crate) fn is_eligible(&self, t: u64) -> bool {
        let has_begun = self.number("from").is_none_or(|from| from <= t);
        let has_not_ended = self.number("until").is_none_or(|until| t < until);
        self.exists() && self.may_be_recommended() && has_begun && has_not_ended
    }

    /// The value of a field that is a text.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field).map(|value| match value {
            OracleValue::Text(text) => text.as_str(),
            other => panic!("{field} is {other:?}"),
        })
    }

    /// The sorted elements of a field that is a set.
    pub(crate) fn elements(&self, field: &str) -> Vec<&str> {
        match self.values.get(field) {
            None => Vec::new(),
            Some(OracleValue::Set(elements)) => elements.iter().map(String::as_str).collect(),
            Some(other) => panic!("{field} is {other:?}"),
        }
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.values.get(field).map(|value| match value {
            OracleValue::Number(number) => *number,
            other => panic!("{field} is {other:?}"),
        })
    }
}

/// Which items are eligible at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Eligible {
    /// Whether an item that had a record is.
    recorded: BTreeMap<String, bool>,
    /// Whether all other items are.
    others: bool,
}

impl Eligible {
    /// > Without a catalogue every item is eligible.
    pub(crate) fn everything() -> Self {
        Eligible { recorded: BTreeMap::new(), others: true }
    }

    /// Whether this item is.
    pub(crate) fn contains(&self, item: &str) -> bool {
        self.recorded.get(item).copied().unwrap_or(self.others)
    }
}

/// The items that are eligible at t.
///
/// With a bound of items the records must be those that count: [`counted`].
pub(crate) fn eligible(records: &[OracleItemRecord], params: &Params, t: u64) -> Eligible {
    eligible_of(&acting(records, t), params, t)
}

/// > A record that is ahead of the clock at the end of a finite input acts in the tick of the end.
///
/// The items that are eligible in that tick, at t.
pub(crate) fn eligible_at_the_end(records: &[OracleItemRecord], params: &Params, t: u64) -> Eligible {
    eligible_of(&records.iter().collect::<Vec<_>>(), params, t)
}

/// > An item without a catalogue record is not eligible, but with `catalogue.unknown = "eligible"` an item is that never
/// > had one. Without a catalogue every item is eligible.
fn eligible_of(acted: &[&OracleItemRecord], params: &Params, t: u64) -> Eligible {
    let Some(catalogue) = params.catalogue else {
        assert!(acted.is_empty(), "a run with catalogue records has a catalogue");
        return Eligible::everything();
    };
    let recorded = states_of(acted).into_iter().map(|(item, state)| (item, state.is_eligible(t))).collect();
    Eligible { recorded, others: catalogue.unknown_is_eligible }
}

/// Records in the order in which they act.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    /// Those that have acted, in this order.
    acted: Vec<OracleItemRecord>,
    /// Those that have arrived and are ahead of the clock, as they arrived.
    ahead: Vec<OracleItemRecord>,
}

impl Arrivals {
    /// After a tick at `at`. Takes the records that had arrived, in the order in which they acted.
    pub(crate) fn resumed(records: &[OracleItemRecord], at: u64) -> Self {
        let (acted, ahead) = records.iter().cloned().partition(|record| record.ts <= at);
        Arrivals { acted, ahead }
    }

    /// A tick at `at` in which these records arrive.
    ///
    /// > it acts in the tick in which it arrives, or at its own millisecond if that is later.
    ///
    /// Those that act in the same tick act in the order of `ts`, then as they arrived.
    pub(crate) fn tick(&mut self, at: u64, arriving: &[OracleItemRecord]) {
        self.ahead.extend(arriving.iter().cloned());
        self.ahead.sort_by_key(|record| record.ts);
        let act = self.ahead.iter().take_while(|record| record.ts <= at).count();
        self.acted.extend(self.ahead.drain(..act));
    }

    /// > A record that is ahead of the clock at the end of a finite input acts in the tick of the end.
    pub(crate) fn end(&mut self) {
        self.acted.append(&mut self.ahead);
    }

    /// The records that have acted and count.
    pub(crate) fn counted(&self, params: &Params) -> Vec<OracleItemRecord> {
        counted(&self.acted, params)
    }

    /// The milliseconds at which what is eligible can change: those of the records, and the `from` and `until` of items,
    /// whether they hold or not.
    ///
    /// > the `from` and `until` of an item take effect at their own millisecond
    pub(crate) fn due_times(&self) -> BTreeSet<u64> {
        let mut times = BTreeSet::new();
        for record in self.acted.iter().chain(&self.ahead) {
            times.insert(record.ts);
            if let OracleStatement::Fields(fields) = &record.statement {
                for field in ["from", "until"] {
                    if let Some(Some(OracleValue::Number(time))) = fields.get(field) {
                        times.insert(*time);
                    }
                }
            }
        }
        times
    }
}

/// The items that have a statement of a field, be it that the field has no value.
fn items_with_a_statement(records: &[OracleItemRecord]) -> BTreeSet<&str> {
    let has_one = |item: &str| {
        let of_item: Vec<&OracleItemRecord> = records.iter().filter(|record| record.item == item).collect();
        !statements(&of_item).is_empty()
    };
    records.iter().map(|record| record.item.as_str()).filter(|item| has_one(item)).collect()
}

/// > Of the deletions the `catalogue.max_items` newest are kept, by (`ts`, id64 of the item); when others have been
/// > dropped, a record that acts later counts for nothing (`stale`) unless its `ts` is above the largest `ts` of the dropped
/// > ones, and an item whose deletion was dropped and that has no field counts as one that never had a record. While
/// > `catalogue.max_items` items have a record that is later than their deletion, a record of another item counts for nothing
/// > (`catalogue_full`).
///
/// Takes records in the order in which they acted. Returns those that count. The deletions are the latest ones of their
/// items. What a deletion has ended does not come back when it is dropped, and an item that has a field then keeps its
/// first time: such a deletion still counts, but not towards the bound.
pub(crate) fn counted(acted: &[OracleItemRecord], params: &Params) -> Vec<OracleItemRecord> {
    let max_items = params.catalogue.map_or(usize::MAX, |catalogue| catalogue.max_items);
    if max_items == usize::MAX {
        return acted.to_vec();
    }
    let mut counted: Vec<OracleItemRecord> = Vec::new();
    let mut kept_deletions: BTreeMap<&str, u64> = BTreeMap::new();
    let mut largest_dropped: Option<u64> = None;
    for record in acted {
        let is_stale = largest_dropped.is_some_and(|dropped| record.ts <= dropped);
        let stated = items_with_a_statement(&counted);
        let is_full = stated.len() >= max_items && !stated.contains(record.item.as_str());
        let is_refused = is_full && record.statement != OracleStatement::Deleted;
        if is_stale || is_refused {
            continue;
        }
        counted.push(record.clone());
        if record.statement != OracleStatement::Deleted {
            continue;
        }
        let latest = kept_deletions.entry(&record.item).or_default();
        *latest = record.ts.max(*latest);
        if kept_deletions.len() > max_items {
            let by_age = |(item, ts): &(&&str, &u64)| (**ts, params.ids.id64(item));
            let oldest = *kept_deletions.iter().min_by_key(by_age).expect("there are more than none").0;
            let ts = kept_deletions.remove(oldest).expect("it is kept");
            largest_dropped = largest_dropped.max(Some(ts));
            if !items_with_a_statement(&counted).contains(oldest) {
                counted.retain(|record| record.item != oldest);
            }
        }
    }
    counted
}
