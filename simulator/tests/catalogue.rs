//! Checks the catalogue of the simulated shop: determinism, order, valid records, and that it agrees with the events.

#![expect(clippy::cast_precision_loss, reason = "counts as shares")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use schema::{
    Availability, CatalogueLine, Event, FieldValue, ItemField, RESERVED, Statement, canonical_category, check_name,
    check_ts, id64,
};
use simulator::{CatalogueGenerator, Generator, Options, ShopRecord};

fn options(text: &str) -> Options {
    Options::parse(text).expect("valid options")
}

fn generator(text: &str) -> CatalogueGenerator {
    CatalogueGenerator::new(options(text)).expect("valid options")
}

fn records(text: &str) -> Vec<ShopRecord> {
    generator(text).collect()
}

fn events(text: &str) -> Vec<Event> {
    Generator::new(options(text)).expect("valid options").collect()
}

/// The shop of `deltarec demo`: 20 minutes of a log that is six times as fast as real viewers.
const DEMO: &str = "events=60000,users=5000,items=2000,rooms=20,rate=50";
/// Five and a half hours of the same shop, 33 at real pace.
const LONG: &str = "events=1000000,users=5000,items=2000,rooms=20,rate=50";
/// Options where the same product is in many rooms, where a millisecond has many events, and where a stream is shorter
/// than a millisecond.
const EXTREMES: [&str; 5] = [
    "events=20000,users=2000,items=300,rooms=200,rate=100",
    "events=20000,users=200,items=150,rooms=3,rate=100000",
    "events=20000,users=7,items=150,rooms=3,rate=1000000",
    "events=5000,users=1,items=1,rooms=1,rate=1000000",
    "events=2000,users=3,rooms=1000,rate=1",
];

fn demo() -> &'static [ShopRecord] {
    static RECORDS: OnceLock<Vec<ShopRecord>> = OnceLock::new();
    RECORDS.get_or_init(|| records(DEMO))
}

fn line(record: &ShopRecord) -> String {
    let ShopRecord { item, ts, statement } = record;
    let line = CatalogueLine { item, ts: *ts, statement, tag_groups: &["default"] };
    serde_json::to_string(&line).expect("a record that can be written")
}

fn fields(record: &ShopRecord) -> &[(ItemField, Option<FieldValue>)] {
    match &record.statement {
        Statement::Fields(fields) => fields,
        Statement::Deleted => &[],
    }
}

/// What holds of each item: its latest statements.
#[derive(Default)]
struct State(BTreeMap<String, BTreeMap<ItemField, Option<FieldValue>>>);

impl State {
    fn apply(&mut self, record: &ShopRecord) {
        match &record.statement {
            Statement::Deleted => drop(self.0.remove(&record.item)),
            Statement::Fields(fields) => self.0.entry(record.item.clone()).or_default().extend(fields.iter().cloned()),
        }
    }

    fn get(&self, item: &str, field: ItemField) -> Option<&FieldValue> {
        self.0.get(item)?.get(&field)?.as_ref()
    }

    fn availability(&self, item: &str) -> Option<Availability> {
        match self.get(item, ItemField::Availability)? {
            FieldValue::Availability(availability) => Some(*availability),
            other => panic!("{item}: {other:?}"),
        }
    }

    fn is_available(&self, item: &str) -> bool {
        self.availability(item).is_some_and(Availability::allows)
    }

    fn price(&self, item: &str) -> u64 {
        match self.get(item, ItemField::Price) {
            Some(FieldValue::Number(price)) => *price,
            other => panic!("{item}: {other:?}"),
        }
    }

    fn rooms(&self, item: &str) -> BTreeSet<&str> {
        match self.get(item, ItemField::Room) {
            None => BTreeSet::new(),
            Some(FieldValue::Set(rooms)) => rooms.iter().map(AsRef::as_ref).collect(),
            other => panic!("{item}: {other:?}"),
        }
    }
}

/// Calls `check` for each event with the state of the catalogue at its time. Returns the state at the end.
fn replay(text: &str, mut check: impl FnMut(&State, &Event)) -> State {
    let mut state = State::default();
    let mut records = generator(text).peekable();
    for event in events(text) {
        while let Some(record) = records.next_if(|record| record.ts <= event.ts) {
            state.apply(&record);
        }
        check(&state, &event);
    }
    assert!(records.next().is_none(), "{text}: records after the last event");
    state
}

#[track_caller]
fn assert_within(what: &str, found: f64, least: f64, most: f64) {
    assert!((least..=most).contains(&found), "{what}: {found:.4}, expected {least} to {most}");
}

#[test]
fn the_same_options_give_the_same_records() {
    let lines = |text: &str| records(text).iter().map(line).collect::<Vec<_>>();
    let options = "events=20000,items=3000,seed=7";
    assert_eq!(lines(options), lines(options));
    assert_ne!(lines(options), lines("events=20000,items=3000,seed=8"));
}

/// The same on every machine and for every build, like the events.
#[test]
fn the_bytes_of_the_demo_catalogue_are_pinned() {
    let lines: Vec<String> = demo().iter().map(line).collect();
    assert_eq!(id64(&lines.join("\n")), DIGEST, "first line: {}", lines[0]);
}

const DIGEST: u64 = 17_842_688_762_294_182_335;

#[test]
fn a_longer_log_begins_with_the_records_of_the_shorter_one() {
    for text in EXTREMES.into_iter().chain([DEMO]) {
        let options = options(text);
        let whole = records(text);
        for events in [0, 1, options.events / 7, options.events / 2] {
            let shorter = Options { events, ..options.clone() };
            let last = Generator::new(shorter.clone()).unwrap().last().map_or(options.start, |event| event.ts);
            let expected: Vec<&ShopRecord> = whole.iter().take_while(|record| record.ts <= last).collect();
            let found: Vec<ShopRecord> = CatalogueGenerator::new(shorter).unwrap().collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{text}: {events} events");
        }
    }
}

#[test]
fn skipping_leads_to_the_same_records() {
    let count = demo().len() as u64;
    for skipped in [0, 1, 2_030, count - 1, count] {
        let mut generator = generator(DEMO);
        assert!(generator.skip_to(skipped));
        assert_eq!(generator.generated(), skipped);
        assert_eq!(generator.next().as_ref(), demo().get(usize::try_from(skipped).unwrap()));
        assert!(skipped == 0 || !generator.skip_to(skipped - 1));
    }
    let mut generator = generator(DEMO);
    assert!(!generator.skip_to(count + 1) && generator.next().is_none());
    assert!(CatalogueGenerator::new(Options { items: 0, ..Options::default() }).is_err());
}

#[test]
fn the_catalogue_begins_with_all_there_is_and_follows_time() {
    let options = options(DEMO);
    let first: Vec<&ShopRecord> = demo().iter().take_while(|record| record.ts == options.start).collect();
    let of_kind = |kind: &str| {
        let kind = (ItemField::Kind, Some(FieldValue::Text(kind.into())));
        first.iter().filter(|record| fields(record).contains(&kind)).count()
    };
    assert_eq!(
        (of_kind("product"), of_kind("room"), of_kind("host")),
        (1_940 + shown_new_products(&first), 20, 20 + 40)
    );
    assert!(demo().is_sorted_by_key(|record| record.ts));
    for text in EXTREMES {
        let mut seen = BTreeSet::new();
        for record in records(text) {
            assert!(
                seen.insert((record.ts, record.item.clone())),
                "{text}: {record:?} is the second of its millisecond"
            );
        }
    }
}

/// New products that are listed at once, because a running stream has them.
fn shown_new_products(records: &[&ShopRecord]) -> usize {
    let number = |item: &str| item.strip_prefix('p').and_then(|number| number.parse().ok()).unwrap_or(0);
    records.iter().filter(|record| number(&record.item) >= 1_940).count()
}

/// The rules of docs/semantics.md, "Catalogue".
#[test]
fn every_record_is_valid() {
    let longer: Vec<ShopRecord> = EXTREMES.into_iter().flat_map(records).collect();
    let mut stated = BTreeSet::new();
    for record in demo().iter().chain(&longer) {
        check_name("item", &record.item).unwrap();
        check_ts(record.ts.into()).unwrap();
        assert!(!record.item.starts_with(RESERVED));
        let Statement::Fields(fields) = &record.statement else { continue };
        assert!(!fields.is_empty() && fields.is_sorted_by(|a, b| a.0 < b.0), "{record:?}");
        for (field, value) in fields {
            stated.insert(*field);
            match (field, value) {
                (ItemField::Kind | ItemField::Host | ItemField::Brand, Some(FieldValue::Text(name))) => {
                    check_name("item", name).unwrap();
                }
                (ItemField::Title, Some(FieldValue::Text(title))) => {
                    assert!((2..=6).contains(&title.split(' ').count()), "{title}");
                }
                (ItemField::Currency, Some(FieldValue::Text(currency))) => assert_eq!(currency.len(), 3),
                (ItemField::Category, Some(FieldValue::Set(paths))) => {
                    let levels = paths[0].split('>').count();
                    assert!(paths.len() == 1 && (2..=3).contains(&levels), "{paths:?}");
                    assert_eq!(canonical_category(&paths[0]).as_deref(), Some(&*paths[0]));
                }
                (ItemField::Room, Some(FieldValue::Set(rooms))) => {
                    assert!((1..=8).contains(&rooms.len()) && rooms.is_sorted());
                    assert!(rooms.iter().all(|room| room.starts_with("room")));
                }
                (ItemField::Tags(0), Some(FieldValue::Set(tags))) => {
                    assert!((2..=4).contains(&tags.len()) && tags.is_sorted(), "{tags:?}");
                    assert!(tags.iter().all(|tag| !tag.contains(':')), "{tags:?}");
                }
                (ItemField::Price, Some(FieldValue::Number(price))) => {
                    assert!((1_000..100_000_000).contains(price), "{price}");
                }
                (ItemField::From, Some(FieldValue::Number(from))) => assert!(*from <= record.ts),
                (ItemField::Room, None) | (ItemField::Availability, Some(FieldValue::Availability(_))) => {}
                _ => panic!("{record:?}"),
            }
        }
    }
    assert_eq!(stated.len(), 11, "{stated:?}");
}

/// Nothing happens in a room that is off the air, and the product on show is on sale there.
#[test]
fn every_event_is_in_a_room_on_air() {
    let usual = [DEMO, EXTREMES[0], "events=200000", "events=200000,rate=50"];
    for text in EXTREMES.into_iter().chain(usual) {
        replay(text, |state, event| {
            let room = event.room.as_deref().unwrap();
            assert_eq!(state.availability(room), Some(Availability::OnAir), "{text}: {event:?}");
            // Of streams that begin and end in one millisecond the last one holds.
            if event.action == "like" && usual.contains(&text) {
                let rooms = state.rooms(&event.item);
                assert!(rooms.contains(room) || rooms.len() == 8, "{text}: {event:?} {rooms:?}");
            }
        });
    }
}

/// Viewers do not know the stock. Still most of what they do is about products that can be had.
#[test]
fn most_events_are_of_available_products() {
    for text in [DEMO, "", "events=300000,rate=50"] {
        let (mut bought, mut purchases, mut available, mut all) = (0.0, 0.0, 0.0, 0.0);
        replay(text, |state, event| {
            let is_available = f64::from(state.is_available(&event.item));
            (available, all) = (available + is_available, all + 1.0);
            if event.action == "purchase" {
                (bought, purchases) = (bought + is_available, purchases + 1.0);
            }
        });
        assert_within("purchases of what can be had", bought / purchases, 0.85, 1.0);
        assert_within("events of what can be had", available / all, 0.9, 1.0);
    }
}

#[test]
fn most_products_are_available_at_any_time() {
    for (text, seeds) in [(DEMO, 1..4), (LONG, 1..2), ("", 1..2)] {
        for seed in seeds {
            let options = Options { seed, ..options(text) };
            let products: Vec<String> = (0..options.items).map(|number| format!("p{number}")).collect();
            let seconds = options.events / options.rate;
            let mut next = options.start;
            let mut state = State::default();
            for record in CatalogueGenerator::new(options).unwrap() {
                if record.ts > next {
                    let available = products.iter().filter(|product| state.is_available(product)).count();
                    assert_within("available products", available as f64 / products.len() as f64, 0.86, 0.96);
                    next += seconds * 1_000 / 40;
                }
                state.apply(&record);
            }
        }
    }
}

/// Counts the changes from one availability to another after the start; no record is `None`.
fn availability_changes(text: &str) -> BTreeMap<[Option<Availability>; 2], usize> {
    let start = options(text).start;
    let mut state = State::default();
    let mut changes = BTreeMap::new();
    for record in generator(text) {
        let before = state.availability(&record.item);
        state.apply(&record);
        let change = [before, state.availability(&record.item)];
        if change[0] != change[1] && record.ts > start {
            *changes.entry(change).or_default() += 1;
        }
    }
    changes
}

#[test]
fn the_demo_has_a_few_hundred_changes_of_availability() {
    let changes = availability_changes(DEMO);
    assert_within("changes", changes.values().sum::<usize>() as f64, 400.0, 900.0);
    let count = |from, to| changes.get(&[Some(from), Some(to)]).copied().unwrap_or_default() as f64;
    assert_within("out of stock", count(Availability::InStock, Availability::OutOfStock), 150.0, 400.0);
    assert_within("back in stock", count(Availability::OutOfStock, Availability::InStock), 150.0, 400.0);
    assert_within("streams that begin", count(Availability::OffAir, Availability::OnAir), 5.0, 40.0);
    assert_within("streams that end", count(Availability::OnAir, Availability::OffAir), 5.0, 40.0);
}

#[test]
fn products_are_listed_discontinued_deleted_and_listed_again() {
    use Availability::{Discontinued, Hidden, InStock, OutOfStock};
    let changes = availability_changes(LONG);
    for change in [
        [None, Some(InStock)],
        [Some(InStock), Some(OutOfStock)],
        [Some(OutOfStock), Some(InStock)],
        [Some(InStock), Some(Hidden)],
        [Some(Hidden), Some(InStock)],
        [Some(InStock), Some(Discontinued)],
        [Some(Discontinued), Some(InStock)],
        [Some(Discontinued), None],
    ] {
        assert!(changes.get(&change).is_some_and(|count| *count >= 10), "{change:?}: {changes:?}");
    }
    // After 33 hours all products have been listed, and some are deleted for now.
    let state = replay(LONG, |_, _| {});
    let listed = state.0.keys().filter(|item| item.starts_with('p')).count();
    assert_within("listed products", listed as f64, 1_900.0, 1_999.0);
}

#[test]
fn products_on_show_are_cheaper() {
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for record in demo() {
        if let Some((_, Some(FieldValue::Number(price)))) =
            fields(record).iter().find(|(field, _)| *field == ItemField::Price)
        {
            first.entry(&record.item).or_insert(*price);
        }
    }
    let start = demo()[0].ts;
    let (mut cheaper, mut likes) = (0.0, 0.0);
    // What is on show in the first minutes may have been so from the start.
    let state = replay(DEMO, |state, event| {
        if event.action == "like" && event.ts > start + 300_000 {
            likes += 1.0;
            cheaper += f64::from(state.price(&event.item) * 20 <= first[event.item.as_str()] * 19);
        }
    });
    assert_within("likes of a product at a discount", cheaper / likes, 0.85, 1.0);
    let over = first.iter().filter(|(item, _)| state.rooms(item).is_empty());
    let back: Vec<bool> = over.map(|(item, price)| state.price(item) == *price).collect();
    let share = back.iter().filter(|back| **back).count() as f64 / back.len() as f64;
    // Not all: some have changed, and some were on show at the start.
    assert_within("prices as at the start", share, 0.9, 0.99);
}

#[test]
fn categories_brands_and_sellers_follow_the_tastes() {
    let tastes = Generator::new(options(DEMO)).unwrap().tastes();
    let mut sections: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut brands: BTreeMap<u32, BTreeSet<&FieldValue>> = BTreeMap::new();
    for record in demo() {
        let number = ["p", "room"].iter().find_map(|prefix| record.item.strip_prefix(prefix)?.parse::<u32>().ok());
        let Some(taste) = number.map(|number| number % tastes) else { continue };
        for (field, value) in fields(record) {
            match (field, value) {
                (ItemField::Category, Some(FieldValue::Set(paths))) => {
                    let section: Vec<&str> = paths[0].split(" > ").take(2).collect();
                    sections.entry(taste).or_default().insert(section.join(" > "));
                }
                (ItemField::Brand, Some(brand)) => drop(brands.entry(taste).or_default().insert(brand)),
                (ItemField::Host, Some(FieldValue::Text(host))) => {
                    let seller = host.strip_prefix("host").or(host.strip_prefix("shop")).unwrap();
                    assert_eq!(seller.parse::<u32>().unwrap() % tastes, taste, "{record:?}");
                }
                _ => {}
            }
        }
    }
    assert_eq!(sections.len(), tastes as usize);
    assert!(sections.values().all(|sections| sections.len() == 1), "{sections:?}");
    assert_eq!(sections.into_values().flatten().collect::<BTreeSet<_>>().len(), tastes as usize);
    assert!(brands.values().all(|brands| brands.len() == 6), "{brands:?}");
}
