//! Logs to test with: random ones, small so that everything collides (histories overflow, times tie, lists compete), and
//! the real ones, where they are at hand.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::oracle::measures::Measure;
use super::oracle::{Ev, Params};

/// By what items may be similar.
pub(crate) fn measures() -> impl Strategy<Value = Measure> {
    prop::sample::select(vec![Measure::Cosine, Measure::Jaccard, Measure::Llr, Measure::Count])
}

/// Parameters of every kind.
pub(crate) fn params() -> impl Strategy<Value = Params> {
    (
        (1_usize..7, 1_usize..5, 1_usize..4),
        (5_u64..80, prop::option::of(1_u64..40)),
        (measures(), 1_u64..3, 0_u64..4),
        prop::sample::select(vec![vec![1], vec![1, 2], vec![2, 4, 8], vec![1, 2, 3, 5, 9]]),
        1_u32..17,
        (1_usize..6, 1_usize..5, prop::sample::select(vec![0_i64, 1, 1, 4, 30])),
    )
        .prop_map(
            |(
                (history, neighbours, k),
                (retention, audience),
                (similarity, min_cooccurrence, shrink),
                stairs,
                resolution,
                (sample, similar_users, users_weight),
            )| {
                Params {
                    history,
                    neighbours,
                    k,
                    retention,
                    audience: audience.map(|audience| audience.min(retention)),
                    similarity,
                    min_cooccurrence,
                    shrink,
                    stairs,
                    resolution,
                    items_weight: 4,
                    sample,
                    similar_users,
                    users_weight,
                }
            },
        )
}

/// A log whose clock moves on with every event and whose events come late, twice and at equal times.
pub(crate) fn log(length: usize) -> impl Strategy<Value = Vec<Ev>> {
    let event = (0..7_u8, 0..12_u8, 1..7_u8, 0..6_u64, prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    prop::collection::vec(event, 1..length).prop_map(|steps| {
        let mut clock = 1_000;
        let mut events: Vec<Ev> = Vec::new();
        for (user, item, level, step, late, twice) in steps {
            let ts = if late { clock - 7 * step } else { clock + step / 2 };
            clock = clock.max(ts);
            events.push(Ev { user: format!("u{user}"), item: format!("p{item}"), level, ts });
            if twice {
                events.push(events[events.len() / 2].clone());
            }
        }
        events
    })
}

/// A real log: in the folder that `DELTAREC_DATA` names, else in `../shared/data` beside the checkout. `None`, and a note,
/// where there is no such file: real logs are not part of the project.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("DELTAREC_DATA").map_or_else(beside, PathBuf::from).join(name);
    if !path.exists() {
        println!("not run: there is no {}", path.display());
        return None;
    }
    Some(path)
}
