//! `[graph]`, `[graph.sources]` and `[graph.caps]`: what is computed.

use super::Snapshot::{ListsRecomputed, MustNotGrow};
use super::{Key, Section, key};
use crate::config::reader::Reader;
use crate::config::rules::{MAX_DURATION, audience, boolean, duration, emit, integer, measure, retention, stairs};
use crate::config::{Audience, Config};

/// An hour. A list that is older shows nothing of a live stream.
const MAX_REFRESH: u64 = 60 * 60 * 1_000;

pub(super) fn sections() -> Vec<Section> {
    vec![
        Section { name: "graph", keys: graph(), finish: check, ..Section::EMPTY },
        Section {
            name: "graph.sources",
            doc: "Weight of each source of candidates in a list, relative to the others.",
            keys: sources(),
            ..Section::EMPTY
        },
        Section {
            name: "graph.caps",
            doc: "How many items of a list may be alike. Caps need a catalogue.",
            keys: caps(),
            ..Section::EMPTY
        },
    ]
}

fn graph() -> Vec<Key> {
    [users_and_lists(), similar_items(), similar_users()].into_iter().flatten().collect()
}

fn users_and_lists() -> Vec<Key> {
    vec![
        Key {
            name: "history",
            doc: "Items remembered per user, the most recently touched ones. Work and memory grow with the square, \
                  because every two items of a history form a pair.",
            snapshot: MustNotGrow("items beyond the shorter history were dropped"),
            ..key(integer(1..=1_000), |config| &mut config.graph.history)
        },
        Key {
            name: "neighbours",
            doc: "Similar items kept per item. More find more candidates, at more work for every list.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=1_000), |config| &mut config.graph.neighbours)
        },
        Key {
            name: "k",
            doc: "Recommendations in a list, at most.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=1_000), |config| &mut config.graph.k)
        },
        Key {
            name: "retention",
            doc: "Lifetime of an event. A longer retention remembers more taste and takes more memory; a user never takes \
                  more than the items of a history.",
            snapshot: MustNotGrow("events beyond the shorter retention were dropped"),
            ..key(retention(), |config| &mut config.graph.retention)
        },
        Key {
            name: "skipped",
            doc: "Time for which an item that its viewer has skipped stays out of the viewer's list, at most the retention. \
                  A skip is a `watch` shorter than `input.skip`.",
            more: "[Taking back](semantics.md#taking-back).",
            snapshot: MustNotGrow("skips beyond the shorter time were dropped"),
            ..key(duration(1..=MAX_DURATION), |config| &mut config.graph.skipped)
        },
        Key {
            name: "audience",
            doc: "Users that have a list: those with an event within this time, at most the retention; or `\"all\"` for \
                  every user with a history. A shorter time saves the work for viewers who have left.",
            snapshot: ListsRecomputed,
            ..key(audience(), |config| &mut config.graph.audience)
        },
        Key {
            name: "refresh",
            doc: "Time within which a list follows what others do. A viewer's own action always counts at once. A longer time \
                  saves work; with \"0ms\" every event moves every list, at many times the work.",
            more: "[Freshness](semantics.md#freshness).",
            snapshot: ListsRecomputed,
            ..key(duration(0..=MAX_REFRESH), |config| &mut config.graph.refresh)
        },
        Key {
            name: "emit",
            doc: "Which lists are sent: `order`, when the sequence of items differs from the one sent last; or \
                  `membership`, when the set of items differs, so that mere reorderings are not sent.",
            snapshot: ListsRecomputed,
            ..key(emit(), |config| &mut config.graph.emit)
        },
        Key {
            name: "why",
            doc: "Reasons that are given of each item of a list, at most, the largest first. With a number above the last of \
                  the `stairs` all are given, and their points add up to the score. 0 gives none; any other number makes an \
                  evaluation about twice as much work.",
            more: "[Reasons](semantics.md#reasons).",
            snapshot: ListsRecomputed,
            ..key(integer(0..=1_000), |config| &mut config.graph.why)
        },
        Key {
            name: "diversity",
            doc: "How much a list gives up of its scores for items that have fewer tags, categories, hosts and brands in \
                  common, in percent. Needs a catalogue.",
            more: "[Diversity](semantics.md#diversity).",
            snapshot: ListsRecomputed,
            ..key(integer(0..=100), |config| &mut config.graph.diversity)
        },
        Key {
            name: "caps_strict",
            doc: "Whether a list is shorter rather than beyond one of its caps.",
            snapshot: ListsRecomputed,
            ..key(boolean(), |config| &mut config.graph.caps.strict)
        },
    ]
}

fn caps() -> Vec<Key> {
    vec![
        Key {
            name: "category",
            doc: "Items of a list with the same first category, as a whole path, at most. 0 is no cap.",
            snapshot: ListsRecomputed,
            ..key(integer(0..=1_000), |config| &mut config.graph.caps.category)
        },
        Key {
            name: "host",
            doc: "Items of a list with the same host, at most. 0 is no cap.",
            snapshot: ListsRecomputed,
            ..key(integer(0..=1_000), |config| &mut config.graph.caps.host)
        },
    ]
}

/// Similar items, and the profile by which they are weighed.
fn similar_items() -> Vec<Key> {
    vec![
        Key {
            name: "similarity",
            doc: "Measure of the similarity of two items: shrunk cosine, shrunk Jaccard (users of both per users of \
                  either), log-likelihood ratio (together more often than by chance), or the co-occurrence count.",
            more: "[Formulas](semantics.md#similar-items).",
            snapshot: ListsRecomputed,
            ..key(measure(), |config| &mut config.graph.similarity)
        },
        Key {
            name: "min_cooccurrence",
            doc: "Co-occurrence from which two items are similar. A higher value cuts off chance encounters.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=u32::MAX), |config| &mut config.graph.min_cooccurrence)
        },
        Key {
            name: "shrink",
            doc: "Constant added to an item's popularity by `cosine` and `jaccard`. A higher value trusts rare items \
                  less; 0 trusts a single common user as much as a thousand.",
            snapshot: ListsRecomputed,
            ..key(integer(0..=u32::MAX), |config| &mut config.graph.shrink)
        },
        Key {
            name: "near",
            doc: "Two items of a user that were touched less than this time apart count twice in the co-occurrence: what is \
                  touched in one go is more alike. \"0ms\" counts all pairs once.",
            snapshot: ListsRecomputed,
            ..key(duration(0..=MAX_DURATION), |config| &mut config.graph.near)
        },
        Key {
            name: "basket",
            doc: "Items of a user that follow each other by less than this time are one basket, and fade together. \"0ms\" \
                  makes each item a basket of its own.",
            more: "[Basket rank](semantics.md#history).",
            snapshot: ListsRecomputed,
            ..key(duration(0..=MAX_DURATION), |config| &mut config.graph.basket)
        },
        Key {
            name: "stairs",
            doc: "Basket ranks at which the weight of a history halves, so how fast taste fades. With the default, the items \
                  of the newest basket weigh 8, those of the next one 4, of the next two 2, older ones 1. The last number is \
                  also how many items count at all, the newest ones.",
            snapshot: ListsRecomputed,
            ..key(stairs(), |config| &mut config.graph.stairs)
        },
        Key {
            name: "resolution",
            doc: "Steps per doubling of a count. A higher value follows counts more closely, at more work for every event \
                  on a popular item; 4 ranks as well as exact logarithms.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=16), |config| &mut config.graph.resolution)
        },
    ]
}

fn similar_users() -> Vec<Key> {
    vec![
        Key {
            name: "sample",
            doc: "Users sampled per item. User similarity is estimated from this sample. More find more similar users, \
                  at more work for every list.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=1_000), |config| &mut config.graph.sample)
        },
        Key {
            name: "similar_users",
            doc: "Similar users kept per user of the audience. More find more candidates, at more work for every list.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=1_000), |config| &mut config.graph.similar_users)
        },
        Key {
            name: "user_resolution",
            doc: "`resolution` for the similarity of users. A higher value follows their activity more closely, at more work \
                  for every event.",
            snapshot: ListsRecomputed,
            ..key(integer(1..=16), |config| &mut config.graph.user_resolution)
        },
    ]
}

fn sources() -> Vec<Key> {
    vec![
        Key {
            name: "items",
            doc: "Weight of items similar to those in the user's history. 0 switches the source off.",
            snapshot: ListsRecomputed,
            ..key(integer(0..=1_000_000), |config| &mut config.graph.sources.items)
        },
        Key {
            name: "users",
            doc: "Weight of items in the histories of similar users. 0 switches the source off: nothing is computed or \
                  stored for it, which saves about half of the work.",
            snapshot: ListsRecomputed,
            ..key(integer(0..=1_000_000), |config| &mut config.graph.sources.users)
        },
    ]
}

/// Checks that the audience and the time of skips lie within the retention.
fn check(reader: &mut Reader, config: &mut Config) {
    if let Audience::Within(ms) = config.graph.audience {
        check_retained(reader, config, "audience", "the audience", ms);
    }
    if reader.value("graph", "skipped").origin.layer() == 0 {
        // Skips end with the retention anyway. A short one needs no other key for that.
        config.graph.skipped = config.graph.skipped.min(config.graph.retention);
    }
    check_retained(reader, config, "skipped", "graph.skipped", config.graph.skipped);
}

/// Checks that the time `ms` of a key lies within the retention. The key that was set last is the mistake.
fn check_retained(reader: &mut Reader, config: &Config, name: &'static str, what: &str, ms: u64) {
    if ms <= config.graph.retention || !reader.is_read(&[&format!("graph.{name}"), "graph.retention"]) {
        return;
    }
    let (span, retention) = (reader.value("graph", name), reader.value("graph", "retention"));
    let (name, right) = if retention.origin.layer() > span.origin.layer() {
        ("retention", format!("at least {what}, {} ({})", span.given, span.origin))
    } else {
        (name, format!("at most the retention, {} ({})", retention.given, retention.origin))
    };
    reader.refuse("graph", name, right);
}
