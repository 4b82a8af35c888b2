//! Logs for tests: random logs, small so that histories overflow, times tie and lists compete, and real logs where they
//! are available.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use schema::IdKey;

use super::graph::Tick;
use super::oracle::catalogue::{CatalogueParams, OracleItemRecord, OracleStatement, OracleValue};
use super::oracle::diversity::Caps;
use super::oracle::measures::Measure;
use super::oracle::{OracleEffect, OracleEvent, Params};

/// Every measure of similarity.
pub(crate) fn measures() -> impl Strategy<Value = Measure> {
    prop::sample::select(vec![Measure::Cosine, Measure::Jaccard, Measure::Llr, Measure::Count])
}

/// No key, or one of many.
pub(crate) fn ids() -> impl Strategy<Value = IdKey> {
    prop::option::of(any::<[u8; 16]>())
        .prop_map(|secret| secret.and_then(|secret| IdKey::new(&secret).ok()).unwrap_or_default())
}

/// Random parameters, without a key.
pub(crate) fn params() -> impl Strategy<Value = Params> {
    (
        (1_usize..7, 1_usize..5, 1_usize..4),
        (5_u64..80, prop::option::of(1_u64..40)),
        (measures(), near(), 1_u64..3, 0_u64..4),
        (baskets(), prop::sample::select(vec![vec![1], vec![1, 2], vec![2, 4, 8], vec![1, 2, 3, 5, 9]])),
        (1_u32..17, 1_u32..17),
        (1_usize..6, 1_usize..5, prop::sample::select(vec![0_i64, 1, 1, 4, 30])),
        (refresh(), prop::bool::weighted(0.3)),
    )
        .prop_map(
            |(
                (history, neighbours, k),
                (retention, audience),
                (similarity, near, min_cooccurrence, shrink),
                (basket, stairs),
                (resolution, user_resolution),
                (sample, similar_users, users_weight),
                (refresh, membership),
            )| {
                Params {
                    ids: IdKey::default(),
                    history,
                    basket,
                    neighbours,
                    k,
                    retention,
                    audience: audience.map(|audience| audience.min(retention)),
                    skipped: 3_600_000,
                    similarity,
                    near,
                    min_cooccurrence,
                    shrink,
                    stairs,
                    resolution,
                    items_weight: 4,
                    user_resolution,
                    sample,
                    similar_users,
                    users_weight,
                    diversity: 0,
                    caps: Caps::default(),
                    why: 0,
                    refresh,
                    membership,
                    catalogue: None,
                }
            },
        )
}

/// Milliseconds between two boundaries of a viewer: none, several between two events of a log whose events are a few
/// milliseconds apart, some in the log, or hardly any.
pub(crate) fn refresh() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0_u64, 0, 0, 1, 3, 7, 64, 100])
}

/// Milliseconds below which pairs count twice: none, some or all pairs of a log whose events are a few milliseconds apart.
pub(crate) fn near() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0_u64, 1, 2, 5, 5, 20, 60_000])
}

/// Milliseconds that separate baskets: each interaction of such a log its own, some together, or all.
pub(crate) fn baskets() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0_u64, 1, 2, 2, 5, 10, 1_000])
}

/// A random log: the clock advances with the events, some of which are late, repeated or simultaneous.
pub(crate) fn log(length: usize) -> impl Strategy<Value = Vec<OracleEvent>> {
    let event = (0..7_u8, 0..12_u8, 1..7_u8, 0..6_u64, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(event, 1..length).prop_map(|drawn| {
        let mut clock = 1_000;
        let mut events: Vec<OracleEvent> = Vec::new();
        for (user, item, level, step, late, repeat) in drawn {
            let ts = if late { clock - 7 * step } else { clock + step / 2 };
            clock = clock.max(ts);
            events.push(OracleEvent::new(format!("u{user}"), format!("p{item}"), level, ts));
            if repeat {
                events.push(events[events.len() / 2].clone());
            }
        }
        events
    })
}

/// Milliseconds for which a skip is in force: hardly any, some of such a log, longer than what is retained, or all.
pub(crate) fn skipped() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0_u64, 1, 2, 5, 12, 12, 30, 100, 3_600_000])
}

/// What an event of a log does in which much is taken back: of several levels or of all, wholly or in part.
pub(crate) fn effect() -> impl Strategy<Value = OracleEffect> {
    let retraction = (prop::sample::select(vec![1_u8, 2, 3, 4, 6, 15, 15]), 0..30_u8).prop_map(|(of, leaves)| {
        // Mostly nothing is left.
        OracleEffect::Retracts { of, leaves: if leaves < 15 { 0 } else { leaves % of } }
    });
    prop_oneof![
        6 => (1..7_u8).prop_map(OracleEffect::Counts),
        3 => retraction,
        2 => Just(OracleEffect::Skips),
        1 => Just(OracleEffect::Attends),
    ]
}

/// Whether a log has events ahead of the clock, and whether it arrives in any order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disorder {
    /// Some events are ahead of the clock.
    pub(crate) ahead: bool,
    /// The log is shuffled.
    pub(crate) shuffled: bool,
}

/// None, events ahead of the clock, any order, or both.
fn disorder() -> impl Strategy<Value = Disorder> {
    (any::<bool>(), prop::bool::weighted(0.15)).prop_map(|(ahead, shuffled)| Disorder { ahead, shuffled })
}

/// A random log of events of all kinds, cut into ticks. Some are late, repeated, simultaneous or ahead of the clock,
/// which jumps now and then by more than what is retained, or the log is shuffled. Many retractions and skips are of an
/// item that their user has touched.
pub(crate) fn ticks_that_take_back(length: usize, sizes: &'static [usize]) -> impl Strategy<Value = Vec<Tick>> {
    ticks_of(effect(), length, sizes)
}

/// The same with events with a level of their own only.
pub(crate) fn ticks_ahead_of_the_clock(length: usize, sizes: &'static [usize]) -> impl Strategy<Value = Vec<Tick>> {
    ticks_of((1..7_u8).prop_map(OracleEffect::Counts), length, sizes)
}

fn ticks_of(
    effect: impl Strategy<Value = OracleEffect>,
    length: usize,
    sizes: &'static [usize],
) -> impl Strategy<Value = Vec<Tick>> {
    let again = prop::option::weighted(0.4, any::<prop::sample::Index>());
    let event = (0..6_u8, 0..12_u8, effect, (0..6_u64, 0..100_u8), again, prop::bool::weighted(0.1));
    let log = (prop::collection::vec(event, 1..length), disorder()).prop_map(|(drawn, disorder)| {
        let mut clock = 1_000;
        // Events, and whether they wait for their time if the clock has not got there.
        let mut events: Vec<(OracleEvent, bool)> = Vec::new();
        for (user, item, effect, (step, kind), again, repeat) in drawn {
            let is_ahead = disorder.ahead && (10..18).contains(&kind);
            let ts = match kind {
                0..10 => clock - 7 * step,
                10..18 if is_ahead => clock + 1 + 4 * step,
                18 => clock + 30 * step,
                _ => clock + step / 2,
            };
            if !is_ahead {
                clock = clock.max(ts);
            }
            let (mut user, mut item) = (format!("u{user}"), format!("p{item}"));
            if let Some(index) = again.filter(|_| !events.is_empty()) {
                (user, item) = {
                    let (event, _) = index.get(&events);
                    (event.user.clone(), event.item.clone())
                };
            }
            events.push((OracleEvent { user, item, effect, ts }, is_ahead));
            if repeat {
                events.push(events[events.len() / 2].clone());
            }
        }
        (events, disorder)
    });
    let ordered = log.prop_flat_map(
        |(events, Disorder { shuffled, .. })| {
            if shuffled { Just(events).prop_shuffle().boxed() } else { Just(events).boxed() }
        },
    );
    (ordered, prop::sample::select(sizes)).prop_map(|(events, size)| ticks_by_the_clock(&events, size))
}

/// Cuts a log in arrival order into ticks of `size` events. The clock is the largest timestamp so far of the events
/// that are not ahead of it.
fn ticks_by_the_clock(events: &[(OracleEvent, bool)], size: usize) -> Vec<Tick> {
    let mut clock = 1_000;
    let moves_the_clock = |(event, is_ahead): &(OracleEvent, bool)| if *is_ahead { 0 } else { event.ts };
    let tick = |chunk: &[(OracleEvent, bool)]| {
        let since = clock.max(moves_the_clock(&chunk[0]));
        clock = chunk.iter().map(moves_the_clock).fold(clock, u64::max);
        let events: Vec<OracleEvent> = chunk.iter().map(|(event, _)| event.clone()).collect();
        Tick::of_events(since, clock, &events)
    };
    events.chunks(size).map(tick).collect()
}

/// A log in which two users skip so much that not all of it is kept, mostly other items than those that others touch
/// together with p0.
pub(crate) fn log_of_skips() -> impl Strategy<Value = Vec<OracleEvent>> {
    let event = (0..100_u8, (0..6_u8, 0..5_u8, 5..12_u8), 1..7_u8, (0..5_u64, prop::bool::weighted(0.1)));
    prop::collection::vec(event, 240..360).prop_map(|drawn| {
        let mut clock = 1_000;
        let event = |(kind, (user, popular, other), level, (step, late)): (u8, (u8, u8, u8), u8, (u64, bool))| {
            let ts = if late { clock - 9 * step } else { clock + step / 2 };
            clock = clock.max(ts);
            let (user, item, effect) = match kind {
                0..5 => (user % 2, 1 + popular % 4, OracleEffect::Skips),
                5..75 => (user % 2, other, OracleEffect::Skips),
                _ if user < 2 => (user, 0, OracleEffect::Counts(level)),
                _ => (user, popular, OracleEffect::Counts(level)),
            };
            OracleEvent { user: format!("u{user}"), item: format!("p{item}"), effect, ts }
        };
        drawn.into_iter().map(event).collect()
    })
}

/// Random parameters of a catalogue without a bound.
pub(crate) fn catalogue_params() -> impl Strategy<Value = CatalogueParams> {
    any::<bool>().prop_map(|unknown_is_eligible| CatalogueParams { unknown_is_eligible, max_items: usize::MAX })
}

/// Fields of a record with their values.
pub(crate) type Stated = Vec<(String, Option<OracleValue>)>;

/// A text that is one of these.
pub(crate) fn one_of(texts: &[&'static str]) -> impl Strategy<Value = OracleValue> + use<> {
    prop::sample::select(texts.to_vec()).prop_map(|text| OracleValue::Text(text.to_owned()))
}

/// A set of at most so many of these.
pub(crate) fn some_of(texts: &[&'static str], most: usize) -> impl Strategy<Value = OracleValue> + use<> {
    prop::collection::btree_set(prop::sample::select(texts.to_vec()).prop_map(str::to_owned), 1..=most)
        .prop_map(OracleValue::Set)
}

/// Fields that decide whether an item may be recommended.
fn fields_of_eligibility() -> impl Strategy<Value = Stated> {
    let words = ["in_stock", "preorder", "on_air", "sold_out", "hidden"];
    let availability = prop::sample::select(words.to_vec()).prop_map(|word| OracleValue::Availability(word.to_owned()));
    let field = prop_oneof![
        3 => (Just("kind"), prop::option::weighted(0.9, one_of(&["live", "product"]))),
        3 => (Just("availability"), prop::option::weighted(0.9, availability)),
        1 => (Just("from"), prop::option::weighted(0.7, (990..1_150_u64).prop_map(OracleValue::Number))),
        1 => (Just("until"), prop::option::weighted(0.7, (1_000..1_300_u64).prop_map(OracleValue::Number))),
        1 => (Just("tags:default"), prop::option::weighted(0.8, some_of(&["new", "sale"], 2))),
    ];
    named(prop::collection::vec(field, 1..4))
}

/// Fields that decide what an item is like. Some hosts are items themselves, some words are in several groups of tags, and
/// few groups of items have many.
fn fields_of_likeness() -> impl Strategy<Value = Stated> {
    let categories = ["A", "A > B", "A > B > C", "A > D", "E", "E > B"];
    let field = prop_oneof![
        2 => (Just("kind"), prop::option::weighted(0.9, one_of(&["host", "product", "product"]))),
        4 => (Just("group"), prop::option::weighted(0.8, one_of(&["g0", "g1", "g2", "p3"]))),
        4 => (Just("category"), prop::option::weighted(0.9, some_of(&categories, 2))),
        3 => (Just("host"), prop::option::weighted(0.9, one_of(&["h0", "h1", "p4"]))),
        2 => (Just("brand"), prop::option::weighted(0.9, one_of(&["b0", "b1", "h0"]))),
        2 => (Just("tags:default"), prop::option::weighted(0.9, some_of(&["new", "sale", "red"], 3))),
        1 => (Just("tags:season"), prop::option::weighted(0.9, some_of(&["new", "summer"], 2))),
        1 => (Just("tags:colour"), prop::option::weighted(0.9, some_of(&["red", "blue"], 2))),
    ];
    named(prop::collection::vec(field, 1..6))
}

pub(crate) fn named(
    fields: impl Strategy<Value = Vec<(&'static str, Option<OracleValue>)>>,
) -> impl Strategy<Value = Stated> {
    fields.prop_map(|fields| fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
}

/// Random catalogue records of the items of a [`log`], of times around its own, in no order. Those of the time 0 come first:
/// mostly all items exist from then on.
pub(crate) fn item_records(length: usize) -> impl Strategy<Value = Vec<OracleItemRecord>> {
    records_stating(fields_of_eligibility(), Just(Stated::new()), length)
}

/// [`item_records`] of items with groups, categories, hosts, brands and tags, which change.
pub(crate) fn diverse_item_records(length: usize) -> impl Strategy<Value = Vec<OracleItemRecord>> {
    let fields = prop_oneof![1 => fields_of_eligibility(), 2 => fields_of_likeness()];
    records_stating(fields, fields_of_likeness(), length)
}

/// Records with such fields; those of the time 0 with these.
fn records_stating(
    fields: impl Strategy<Value = Stated>,
    first: impl Strategy<Value = Stated>,
    length: usize,
) -> impl Strategy<Value = Vec<OracleItemRecord>> {
    let fields = fields.prop_map(|stated| OracleStatement::Fields(stated.into_iter().collect()));
    let statement = prop_oneof![8 => fields, 1 => Just(OracleStatement::Deleted)];
    let ts = prop_oneof![3 => 990..1_040_u64, 2 => 1_000..1_200_u64];
    let record = (0..12_u8, ts, statement).prop_map(|(item, ts, statement)| OracleItemRecord {
        item: format!("p{item}"),
        ts,
        statement,
    });
    let listed = |(item, stated): (usize, Stated)| {
        let mut fields = BTreeMap::from([("kind".to_owned(), Some(OracleValue::Text("product".to_owned())))]);
        fields.extend(stated);
        OracleItemRecord { item: format!("p{item}"), ts: 0, statement: OracleStatement::Fields(fields) }
    };
    let drawn = (prop::bool::weighted(0.8), prop::collection::vec(first, 12), prop::collection::vec(record, 0..length));
    drawn.prop_map(move |(all_exist, stated, records)| {
        let first = stated.into_iter().enumerate().filter(|_| all_exist).map(listed);
        first.chain(records).collect()
    })
}

/// Diversity and caps: none, some or much.
pub(crate) fn diversity() -> impl Strategy<Value = (u32, Caps)> {
    let cap = || prop::sample::select(vec![0_usize, 0, 1, 1, 2]);
    let caps = (cap(), cap(), any::<bool>()).prop_map(|(category, host, strict)| Caps { category, host, strict });
    (prop::sample::select(vec![0_u32, 0, 1, 20, 50, 99, 100]), caps)
}

/// [`params`] with diversity, caps and reasons, and lists that can be longer.
pub(crate) fn params_of_lists() -> impl Strategy<Value = Params> {
    let why = prop::sample::select(vec![0_usize, 1, 2, 100]);
    (params(), diversity(), why, 1_usize..6, 3_usize..8).prop_map(|(params, (diversity, caps), why, k, neighbours)| {
        Params { neighbours, k, diversity, caps, why, ..params }
    })
}

/// Path of a real log, in the folder that `DELTAREC_DATA` names or else in `../shared/data` beside the checkout.
/// Real logs are not part of the project: `None`, and a note on stdout, if the file does not exist.
pub(crate) fn real_log(name: &str) -> Option<PathBuf> {
    let default_folder = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("DELTAREC_DATA").map_or_else(default_folder, PathBuf::from).join(name);
    if !path.exists() {
        println!("skipped: {} does not exist", path.display());
        return None;
    }
    Some(path)
}
