//! `deltarec bench toggles`: what it costs to take items off air and to bring them back.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use dataflows::types::ItemId;
use dataflows::{Driver, ItemRecord, ListChange, ListKey};
use schema::{Availability, FieldValue, ItemField, Statement, id64};
use serde::{Deserialize, Serialize};

use super::audience::AudienceShare;
use super::child::{ChildTask, run_in_child};
use super::event_stream::EventStream;
use super::histogram::{LatencyHistogram, Percentiles, figure};
use super::machine::Machine;
use super::{CommonArgs, check_writable, describe, per, rounded};
use crate::commands::table::{Table, say};
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench toggles
  deltarec bench toggles --audience 30% --workers 2 --json toggles.json

Measures the graph alone, with a catalogue of all items, without names, inputs and outputs. The next tick is fed when all \
changes of the previous one have been emitted.";

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(super) struct TogglesArgs {
    /// Events loaded before the measurement
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    preload: u64,
    /// Items of the most lists that are taken off air one after the other
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    hottest: u64,
    /// Items that are taken off air at once
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    together: u64,
    /// Seconds for which single items are toggled between events
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Users in the audience: a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: AudienceShare,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    #[command(flatten)]
    common: CommonArgs,
}

/// Single events between two toggles of the last measurement.
const EVENTS_A_TOGGLE: usize = 2;

/// A change of availability, with what followed from it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Toggle {
    ms: f64,
    /// Lists that changed in the tick.
    lists: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TogglesResult {
    viewers: u64,
    /// The hottest items, taken off air: that of the most lists first.
    off: Vec<Toggle>,
    /// The same items, brought back.
    on: Vec<Toggle>,
    /// Many items at once, off and on.
    together: Vec<Toggle>,
    /// Single items between events: toggles, and events.
    toggles: Percentiles,
    events: Percentiles,
    toggles_per_s: f64,
}

/// Task of the child process, with an audience of `span` milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TogglesTask {
    args: TogglesArgs,
    span: Option<u64>,
}

/// The standing lists, and the number of changes.
#[derive(Default)]
struct Lists {
    lists: HashMap<ListKey, Vec<ItemId>>,
    changes: u64,
}

impl Lists {
    fn apply(&mut self, change: &ListChange) {
        self.changes += 1;
        self.lists.insert(change.key, change.items.iter().map(|scored| scored.item).collect());
    }

    /// The items in lists, that of the most lists first.
    fn hottest(&self) -> Vec<ItemId> {
        let mut counts: BTreeMap<ItemId, u64> = BTreeMap::new();
        self.lists.values().flatten().for_each(|item| *counts.entry(*item).or_default() += 1);
        let mut items: Vec<(u64, ItemId)> = counts.into_iter().map(|(item, count)| (count, item)).collect();
        items.sort_unstable_by(|a, b| b.cmp(a));
        items.into_iter().map(|(_, item)| item).collect()
    }
}

/// A driver with a catalogue, at the time of the last event.
struct Shop<'d, 'w> {
    driver: &'d mut Driver<'w>,
    lists: Arc<Mutex<Lists>>,
    now: u64,
}

impl Shop<'_, '_> {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the availability of items in one tick.
    fn toggle(&mut self, items: &[ItemId], availability: Availability) -> (Duration, Toggle) {
        self.now += 1;
        let fields = vec![(ItemField::Availability, Some(FieldValue::Availability(availability)))];
        let record = |item| ItemRecord { item, ts: self.now, statement: Statement::Fields(fields.clone()) };
        let records = items.iter().map(|item| record(*item)).collect();
        let before = self.lists().changes;
        let took = self.driver.tick_items(self.now, records);
        (took, Toggle { ms: 1e3 * took.as_secs_f64(), lists: self.lists().changes - before })
    }
}

impl ChildTask for TogglesTask {
    const NAME: &str = "toggles";
    type Result = TogglesResult;

    fn measure(&self, stop: &Stop) -> Result<Option<TogglesResult>, Failure> {
        let TogglesTask { args, span } = self;
        let mut config = args.common.with_audience(*span)?;
        config.graph.catalogue = Some(config.catalogue.graph());
        let options = args.common.endless()?;
        let mut stream = EventStream::new(options.clone(), config.levels.clone(), None)?;
        let (args, stop, start) = (args.clone(), stop.clone(), options.start);
        let lists = Arc::new(Mutex::new(Lists::default()));
        let observed = Arc::clone(&lists);
        let on_change = move |change: &ListChange| {
            observed.lock().unwrap_or_else(PoisonError::into_inner).apply(change);
        };
        let result = Driver::observe(&config.graph, usize::from(args.workers), on_change, move |driver| {
            let kind = vec![(ItemField::Kind, Some(FieldValue::Text("product".into())))];
            let items: Vec<ItemId> = (0..options.items).map(|item| id64(&format!("p{item}"))).collect();
            let record = |item: &ItemId| ItemRecord { item: *item, ts: 0, statement: Statement::Fields(kind.clone()) };
            driver.tick_items(start, items.iter().map(record).collect());
            let mut now = start;
            stream.preload(driver, args.preload, &stop, |event| now = now.max(event.ts));
            driver.evaluate_all();
            let mut shop = Shop { driver, lists, now };
            let mut result = TogglesResult { viewers: shop.driver.state_size().audience, ..Default::default() };
            let hottest: Vec<ItemId> = shop.lists().hottest();
            for item in hottest.iter().take(usize::try_from(args.hottest).unwrap_or(usize::MAX)) {
                result.off.push(shop.toggle(&[*item], Availability::OffAir).1);
                result.on.push(shop.toggle(&[*item], Availability::OnAir).1);
                shop.driver.evaluate_all();
            }
            // Every n-th item: of all popularities.
            let together = usize::try_from(args.together).unwrap_or(usize::MAX).min(items.len());
            let many: Vec<ItemId> = (0..together).map(|n| items[n * items.len() / together]).collect();
            result.together.push(shop.toggle(&many, Availability::OffAir).1);
            result.together.push(shop.toggle(&many, Availability::OnAir).1);
            shop.driver.evaluate_all();

            let (mut toggles, mut events) = (LatencyHistogram::default(), LatencyHistogram::default());
            let (started, limit) = (Instant::now(), Duration::from_secs(args.seconds));
            let mut count = 0;
            // A step of another size than the number of items, so that each is toggled before one is for a second time.
            while started.elapsed() < limit && !stop.is_set() {
                let item = items[count * 7_919 % items.len()];
                for availability in [Availability::OffAir, Availability::OnAir] {
                    toggles.record(shop.toggle(&[item], availability).0);
                    for event in stream.events(EVENTS_A_TOGGLE) {
                        shop.now = shop.now.max(event.ts);
                        events.record(shop.driver.tick(&[event]));
                    }
                }
                count += 1;
            }
            result.toggles_per_s = per(2 * count as u64, started.elapsed().as_secs_f64());
            (result.toggles, result.events) = (toggles.percentiles(), events.percentiles());
            result
        })?;
        Ok(Some(result).filter(|result| !result.off.is_empty()))
    }
}

impl TogglesResult {
    fn tables(&self) -> String {
        let mut table = Table::new("off and on|toggles|median ms|max ms|most lists changed".split('|'));
        let (many_off, many_on) = (&self.together[..1], &self.together[1..]);
        for (name, toggles) in [
            ("hottest items, off", &self.off[..]),
            ("hottest items, on", &self.on[..]),
            ("many at once, off", many_off),
            ("many at once, on", many_on),
        ] {
            let mut ms: Vec<f64> = toggles.iter().map(|toggle| toggle.ms).collect();
            ms.sort_unstable_by(f64::total_cmp);
            let lists = toggles.iter().map(|toggle| toggle.lists).max().unwrap_or(0);
            let most = ms.last().copied().unwrap_or_default();
            let cells = [grouped(ms.len() as u64), figure(ms[ms.len() / 2]), figure(most), grouped(lists)];
            table.row([name.to_owned()].into_iter().chain(cells));
        }
        let mut ticks = Table::new("single items between events|p50 ms|p90 ms|p99 ms|p99.9 ms|max ms".split('|'));
        ticks.row(["toggle".to_owned()].into_iter().chain(self.toggles.cells()));
        ticks.row(["event".to_owned()].into_iter().chain(self.events.cells()));
        format!(
            "{} viewers\n\n{table}\n{ticks}\n{} toggles/s, each with {EVENTS_A_TOGGLE} events in ticks of their own\n",
            grouped(self.viewers),
            rounded(self.toggles_per_s),
        )
    }
}

/// Runs the benchmark in a child process and prints its tables.
pub(super) fn main(args: &TogglesArgs, stop: &Stop) -> Result<(), Failure> {
    let options = args.common.endless()?;
    let config = args.common.config()?;
    check_writable([&args.common.json])?;
    let span = args.audience.span(&options, &config, args.preload)?;
    say(&format!(
        "{}\n{}\nclosed loop, graph alone, {} worker(s), audience {}\n",
        Machine::this(),
        describe(&options),
        args.workers,
        args.audience
    ))?;
    let result = run_in_child(&TogglesTask { args: args.clone(), span }, stop)?;
    if let Some(result) = &result {
        say(&result.tables())?;
    }
    args.common.report("toggles", &options, &result)
}
