//! Logs for tests: random logs, small so that histories overflow, times tie and lists compete, and real logs where they
//! are available.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use schema::IdKey;

use super::oracle::catalogue::{CatalogueParams, OracleItemRecord, OracleStatement, OracleValue};
use super::oracle::measures::Measure;
use super::oracle::{OracleEvent, Params};

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
            events.push(OracleEvent { user: format!("u{user}"), item: format!("p{item}"), level, ts });
            if repeat {
                events.push(events[events.len() / 2].clone());
            }
        }
        events
    })
}

/// Random parameters of a catalogue without a bound.
pub(crate) fn catalogue_params() -> impl Strategy<Value = CatalogueParams> {
    any::<bool>().prop_map(|unknown_is_eligible| CatalogueParams { unknown_is_eligible, max_items: usize::MAX })
}

/// Random catalogue records of the items of a [`log`], of times around its own, in no order. Those of the time 0 come first:
/// mostly all items exist from then on.
pub(crate) fn item_records(length: usize) -> impl Strategy<Value = Vec<OracleItemRecord>> {
    let words = ["in_stock", "preorder", "on_air", "sold_out", "hidden"];
    let availability = prop::sample::select(words.to_vec()).prop_map(|word| OracleValue::Availability(word.to_owned()));
    let kind = prop::sample::select(vec!["live", "product"]).prop_map(|kind| OracleValue::Text(kind.to_owned()));
    let tags = prop::collection::btree_set(prop::sample::select(vec!["new", "sale"]).prop_map(str::to_owned), 1..3);
    let field = prop_oneof![
        3 => (Just("kind"), prop::option::weighted(0.9, kind)),
        3 => (Just("availability"), prop::option::weighted(0.9, availability)),
        1 => (Just("from"), prop::option::weighted(0.7, (990..1_150_u64).prop_map(OracleValue::Number))),
        1 => (Just("until"), prop::option::weighted(0.7, (1_000..1_300_u64).prop_map(OracleValue::Number))),
        1 => (Just("tags:default"), prop::option::weighted(0.8, tags.prop_map(OracleValue::Set))),
    ];
    let fields = prop::collection::vec(field, 1..4).prop_map(|stated| {
        OracleStatement::Fields(stated.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    });
    let statement = prop_oneof![8 => fields, 1 => Just(OracleStatement::Deleted)];
    let ts = prop_oneof![3 => 990..1_040_u64, 2 => 1_000..1_200_u64];
    let record = (0..12_u8, ts, statement).prop_map(|(item, ts, statement)| OracleItemRecord {
        item: format!("p{item}"),
        ts,
        statement,
    });
    let listed = |item: u8| {
        let kind = ("kind".to_owned(), Some(OracleValue::Text("product".to_owned())));
        OracleItemRecord { item: format!("p{item}"), ts: 0, statement: OracleStatement::Fields([kind].into()) }
    };
    (prop::bool::weighted(0.8), prop::collection::vec(record, 0..length)).prop_map(move |(all_exist, records)| {
        let first = (0..12).filter(|_| all_exist).map(listed);
        first.chain(records).collect()
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
