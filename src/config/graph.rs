use dataflows::config::Measure;

use super::reader::Reader;
use super::rules::{MAX_DURATION, audience, duration, integer, measure, stairs};

/// The `[graph]` section: what is computed. Fields are named as their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Items remembered of each user, 1 to 1,000: pairs grow with its square.
    pub history: u32,
    /// Similar items kept for each item, 1 to 1,000.
    pub neighbours: u32,
    /// Recommendations in a list, 1 to 1,000.
    pub k: u32,
    /// How long an event counts, in ms, at least 1.
    pub retention: u64,
    /// Who has a list.
    pub audience: Audience,
    /// By what items are similar.
    pub similarity: Measure,
    /// Co-occurrence from which two items are similar, at least 1.
    pub min_cooccurrence: u32,
    /// Added to an item's popularity.
    pub shrink: u32,
    /// Ranks at which the weight of a history halves: 1 to 16, strictly rising.
    pub stairs: Vec<u32>,
    /// Steps a doubling of a count is divided into, 1 to 16.
    pub resolution: u32,
    /// Users of each item that are looked at for similar users, 1 to 1,000.
    pub sample: u32,
    /// Similar users kept for each user of the audience, 1 to 1,000.
    pub similar_users: u32,
    /// Weights of the sources of candidates.
    pub sources: Sources,
}

/// Who has a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Every user with an interaction.
    #[default]
    All,
    /// Users with an event within so many ms, at least 1 and at most the retention.
    Within(u64),
}

/// The `[graph.sources]` section: weights, 0 to 1,000,000, 0 switches a source off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Items similar to those of the user's history.
    pub items: u32,
    /// What similar users have.
    pub users: u32,
}

pub(super) fn read(reader: &mut Reader) -> Graph {
    let graph = Graph {
        history: reader.read("graph", "history", integer(1..=1_000)),
        neighbours: reader.read("graph", "neighbours", integer(1..=1_000)),
        k: reader.read("graph", "k", integer(1..=1_000)),
        retention: reader.read("graph", "retention", duration(1..=MAX_DURATION)),
        audience: reader.read("graph", "audience", audience),
        similarity: reader.read("graph", "similarity", measure),
        min_cooccurrence: reader.read("graph", "min_cooccurrence", integer(1..=u32::MAX)),
        shrink: reader.read("graph", "shrink", integer(0..=u32::MAX)),
        stairs: reader.read("graph", "stairs", stairs),
        resolution: reader.read("graph", "resolution", integer(1..=16)),
        sample: reader.read("graph", "sample", integer(1..=1_000)),
        similar_users: reader.read("graph", "similar_users", integer(1..=1_000)),
        sources: Sources {
            items: reader.read("graph.sources", "items", integer(0..=1_000_000)),
            users: reader.read("graph.sources", "users", integer(0..=1_000_000)),
        },
    };
    // A value that could not be read has a stand-in, 0 and `All`, which is no mistake of its own.
    if let Audience::Within(audience) = graph.audience
        && audience > graph.retention
        && graph.retention > 0
    {
        refuse_audience(reader);
    }
    graph
}

/// The audience reaches further back than the retention: a mistake of the one that was set last.
fn refuse_audience(reader: &mut Reader) {
    if !reader.whole() {
        return; // the layer that was lost may well have set the other one
    }
    let (audience, retention) = (reader.value("graph", "audience"), reader.value("graph", "retention"));
    let (name, right) = if retention.origin.layer() > audience.origin.layer() {
        ("retention", format!("at least the audience, {} ({})", audience.given, audience.origin))
    } else {
        ("audience", format!("at most the retention, {} ({})", retention.given, retention.origin))
    };
    reader.refuse("graph", name, right);
}
