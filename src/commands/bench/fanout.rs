//! Work of single events by popularity of their item.

use std::collections::HashMap;
use std::time::Duration;

use dataflows::gauges::{STAGES, Work};
use dataflows::types::ItemId;
use serde::{Deserialize, Serialize};

use super::histogram::figure;
use super::{per, rounded};
use crate::commands::table::Table;
use crate::engine::grouped;

/// Number of events by item.
pub(super) type Popularity = HashMap<ItemId, u64>;

const TENTHS: usize = 10;

/// Work and time of single events, grouped by tenths of the items.
pub(super) struct FanoutStats {
    tenth_of: HashMap<ItemId, usize>,
    tenths: Vec<TenthSamples>,
}

#[derive(Default)]
struct TenthSamples {
    items: u64,
    /// Smallest and largest number of events of an item.
    popularity: Option<(u64, u64)>,
    work: Vec<Work>,
    times: Vec<Duration>,
}

impl FanoutStats {
    /// Sorts the items by popularity, descending, and cuts them into ten parts of equal size.
    pub(super) fn new(popularity: &Popularity) -> Self {
        let mut items: Vec<(u64, ItemId)> = popularity.iter().map(|(item, count)| (*count, *item)).collect();
        items.sort_unstable_by(|a, b| b.cmp(a));
        // The eleventh part has the items that were not in the preload.
        let mut tenths: Vec<TenthSamples> = (0..=TENTHS).map(|_| TenthSamples::default()).collect();
        let mut tenth_of = HashMap::with_capacity(items.len());
        for (rank, (count, item)) in items.iter().enumerate() {
            let at = rank * TENTHS / items.len();
            let (least, most) = tenths[at].popularity.unwrap_or((*count, *count));
            tenths[at].popularity = Some((least.min(*count), most.max(*count)));
            tenths[at].items += 1;
            tenth_of.insert(*item, at);
        }
        FanoutStats { tenth_of, tenths }
    }

    /// Records an event: its time, and the work counters before and after it.
    pub(super) fn add(&mut self, item: ItemId, time: Duration, before: Work, after: Work) {
        let tenth = &mut self.tenths[self.tenth_of.get(&item).copied().unwrap_or(TENTHS)];
        tenth.work.push(std::array::from_fn(|stage| after[stage] - before[stage]));
        tenth.times.push(time);
    }

    pub(super) fn tenths(self) -> Vec<Tenth> {
        let summarize = |(at, mut part): (usize, TenthSamples)| {
            part.times.sort_unstable();
            let ms = |time: Option<&Duration>| time.map_or(0.0, |time| 1e3 * time.as_secs_f64());
            let events = part.work.len() as u64;
            Tenth {
                tenth: if at < TENTHS { format!("{}", at + 1) } else { "new".to_owned() },
                items: part.items,
                popularity: part.popularity,
                events,
                mean_ms: ms(Some(&part.times.iter().sum())) / per(events.max(1), 1.0),
                p999_ms: ms(part.times.get(rank_of_p999(part.times.len()))),
                max_ms: ms(part.times.last()),
                stages: STAGES
                    .iter()
                    .enumerate()
                    .map(|(stage, name)| {
                        let mut counts: Vec<u64> = part.work.iter().map(|work| work[stage]).collect();
                        counts.sort_unstable();
                        StageWork {
                            stage: (*name).to_owned(),
                            mean: per(counts.iter().sum(), per(events, 1.0)),
                            p999: counts.get(rank_of_p999(counts.len())).copied().unwrap_or(0),
                            max: counts.last().copied().unwrap_or(0),
                        }
                    })
                    .collect(),
            }
        };
        self.tenths.into_iter().enumerate().map(summarize).filter(|tenth| tenth.items + tenth.events > 0).collect()
    }
}

/// Index of the 99.9th percentile in a sorted list.
fn rank_of_p999(count: usize) -> usize {
    (count * 999).div_ceil(1_000).saturating_sub(1)
}

/// Statistics of the events of one tenth of the items.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tenth {
    tenth: String,
    items: u64,
    /// Smallest and largest number of events of an item in the preload.
    popularity: Option<(u64, u64)>,
    events: u64,
    mean_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    stages: Vec<StageWork>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StageWork {
    stage: String,
    mean: f64,
    p999: u64,
    max: u64,
}

/// One table each for the mean, the 99.9th percentile and the maximum.
pub(super) fn tables(tenths: &[Tenth]) -> String {
    let figures: [(&str, fn(&Tenth) -> f64, fn(&StageWork) -> String); 3] = [
        (
            "mean",
            |tenth| tenth.mean_ms,
            |stage| if stage.mean < 1_000.0 { figure(stage.mean) } else { rounded(stage.mean) },
        ),
        ("p99.9", |tenth| tenth.p999_ms, |stage| grouped(stage.p999)),
        ("max", |tenth| tenth.max_ms, |stage| grouped(stage.max)),
    ];
    let table = |(name, ms, cell): &(&str, fn(&Tenth) -> f64, fn(&StageWork) -> String)| {
        let mut table = Table::new([*name, "popularity", "events", "ms"].into_iter().chain(STAGES));
        for tenth in tenths {
            let popularity = tenth.popularity.map(|(least, most)| format!("{}-{}", grouped(least), grouped(most)));
            let cells = [tenth.tenth.clone(), popularity.unwrap_or_default(), grouped(tenth.events)];
            table.row(cells.into_iter().chain([figure(ms(tenth))]).chain(tenth.stages.iter().map(cell)));
        }
        table.to_string()
    };
    figures.iter().map(table).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_events_by_the_tenth_of_their_item() {
        let mut popularity = Popularity::new();
        for item in 1..=20 {
            popularity.insert(item, item);
        }
        let mut fanout = FanoutStats::new(&popularity);
        let work = |lists| [0, 0, 0, 0, 0, 0, lists];
        for (item, lists) in [(20, 4), (19, 6), (1, 1), (99, 3)] {
            fanout.add(item, Duration::from_millis(2), work(10), work(10 + lists));
        }
        let tenths = fanout.tenths();
        let summary: Vec<(&str, u64, u64)> =
            tenths.iter().map(|tenth| (&*tenth.tenth, tenth.events, tenth.stages[6].max)).collect();
        assert_eq!(tenths.len(), 11);
        assert_eq!([summary[0], summary[9], summary[10]], [("1", 2, 6), ("10", 1, 1), ("new", 1, 3)]);
        assert_eq!((tenths[0].popularity, tenths[9].popularity), (Some((19, 20)), Some((1, 2))));
        assert!((tenths[0].stages[6].mean - 5.0).abs() < 1e-9 && (tenths[0].mean_ms - 2.0).abs() < 1e-9);
    }
}
