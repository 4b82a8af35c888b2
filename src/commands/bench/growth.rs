//! `deltarec bench growth`: cost of an event when one dimension of the workload grows tenfold.

use std::time::Duration;

use clap::{Arg, Args};
use dataflows::Driver;
use dataflows::gauges::StateSize;
use serde::{Deserialize, Serialize};
use simulator::Options;

use super::audience::AudienceShare;
use super::child::{ChildTask, run_in_child};
use super::event_stream::EventStream;
use super::histogram::{LatencyHistogram, Percentiles, figure};
use super::machine::{CpuStopwatch, Machine, resident_bytes};
use super::{CommonArgs, check_writable, mib, per};
use crate::commands::table::{Table, say};
use crate::console;
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench growth                            # a few minutes
  deltarec bench growth --scale 10 --json growth.json

Each row has ten times as much of one dimension as the first row, and the same of all others. Events, users and items \
grow, so only --rooms, --rate, --seed and --start of the simulation can be set.";

#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(super) struct GrowthArgs {
    /// Factor for events, users, items and audience of all rows
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Events measured in each row
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    #[command(flatten)]
    common: CommonArgs,
}

/// An option of the simulation that this benchmark sets itself: it is rejected with an explanation.
pub(super) fn refused(arg: Arg) -> Arg {
    arg.hide(true)
}

fn scale(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|scale| (0.01..=1_000.0).contains(scale));
    number.ok_or_else(|| format!("expected a number from 0.01 to 1000: `{text}`"))
}

/// Workload of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct WorkloadSize {
    events: u64,
    users: u64,
    items: u64,
    history: u32,
    /// Number of users in the audience.
    viewers: u64,
}

const FIRST: WorkloadSize = WorkloadSize { events: 200_000, users: 20_000, items: 4_000, history: 10, viewers: 400 };
const TENFOLD: u64 = 10;
/// Single events measured in each row for the percentiles.
const SINGLES: u64 = 5_000;
const BATCH: usize = 1_000;

impl WorkloadSize {
    fn scaled(self, scale: f64) -> Self {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let times = |count: u64| ((count as f64 * scale) as u64).max(1);
        WorkloadSize {
            events: times(self.events),
            users: times(self.users),
            items: times(self.items),
            viewers: times(self.viewers),
            ..self
        }
    }

    /// The first row and the five others.
    fn rows(self) -> [(&'static str, Self); 6] {
        [
            ("(as a start)", self),
            ("events", WorkloadSize { events: self.events * TENFOLD, ..self }),
            ("users", WorkloadSize { users: self.users * TENFOLD, ..self }),
            ("items", WorkloadSize { items: self.items * TENFOLD, ..self }),
            ("history", WorkloadSize { history: self.history * 10, ..self }),
            ("audience", WorkloadSize { viewers: self.viewers * TENFOLD, ..self }),
        ]
    }
}

/// Task of the child process: one row.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GrowthTask {
    args: GrowthArgs,
    size: WorkloadSize,
    span: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GrowthResult {
    held: StateSize,
    cpu_us_per_event: Option<f64>,
    us_per_event: f64,
    single: Percentiles,
    rss_bytes: u64,
}

#[derive(Debug, Serialize)]
struct GrowthRow {
    grown: &'static str,
    size: WorkloadSize,
    #[serde(flatten)]
    measured: GrowthResult,
}

fn options(common: &CommonArgs, size: WorkloadSize) -> Result<Options, Failure> {
    if ["events", "users", "items"].iter().any(|key| common.simulation.has(key)) {
        return Err(Failure::Usage(anyhow::anyhow!(
            "`{}`: events, users and items grow here; omit them and use --scale X",
            common.simulation
        )));
    }
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Options { users: number(size.users), items: number(size.items), ..common.endless()? })
}

impl ChildTask for GrowthTask {
    const NAME: &str = "growth";
    type Result = GrowthResult;

    fn measure(&self, stop: &Stop) -> Result<Option<GrowthResult>, Failure> {
        let GrowthTask { args, size, span } = self;
        let mut config = args.common.with_audience(*span)?;
        config.graph.history = size.history as usize;
        let mut stream = EventStream::new(options(&args.common, *size)?, config.levels.clone(), None)?;
        let (load, events, stopped) = (size.events, args.events, stop.clone());
        let result = Driver::run(&config.graph, usize::from(args.workers), move |driver| {
            stream.preload(driver, load, &stopped, |_| {});
            let (mut cpu, mut busy, mut done) = (CpuStopwatch::default(), Duration::ZERO, 0);
            while done < events && !stopped.is_set() {
                let batch = stream.events(BATCH);
                busy += cpu.measure(|| driver.tick(&batch));
                done += batch.len() as u64;
            }
            let mut single = LatencyHistogram::default();
            for _ in 0..SINGLES.min(events) {
                if stopped.is_set() {
                    break;
                }
                let event = stream.events(1);
                single.record(driver.tick(&event));
            }
            let us_per_event = |seconds: f64| 1e6 * seconds / per(done.max(1), 1.0);
            GrowthResult {
                held: driver.state_size(),
                cpu_us_per_event: cpu.0.map(us_per_event),
                us_per_event: us_per_event(busy.as_secs_f64()),
                single: single.percentiles(),
                rss_bytes: resident_bytes(),
            }
        })?;
        Ok((!stop.is_set()).then_some(result))
    }
}

/// Measures each row in a child process and prints the table.
pub(super) fn main(args: &GrowthArgs, stop: &Stop) -> Result<(), Failure> {
    let config = args.common.config()?;
    check_writable([&args.common.json])?;
    let first = FIRST.scaled(args.scale);
    let simulation = options(&args.common, first)?;
    let mut rows: Vec<GrowthRow> = Vec::new();
    for (grown, size) in first.rows() {
        let options = options(&args.common, size)?;
        // The number of viewers is fixed, so their share of the users differs between rows.
        let share = AudienceShare::Percent(100.0 * per(size.viewers, per(size.users, 1.0)));
        let span = share.span(&options, &config, size.events)?;
        if stop.is_set() {
            break;
        }
        if let Some(measured) = run_in_child(&GrowthTask { args: args.clone(), size, span }, stop)? {
            console::say(&format!("ten times {grown}: {} us per event", figure(measured.us_per_event)));
            rows.push(GrowthRow { grown, size, measured });
        }
    }
    say(&format!(
        "{}\n{} worker(s), graph alone: {} events in batches of {}, then {} single events\n",
        Machine::this(),
        args.workers,
        grouped(args.events),
        grouped(BATCH as u64),
        grouped(SINGLES.min(args.events))
    ))?;
    let mut table =
        Table::new("ten times|events|users|items|history|audience|pairs|CPU us/ev|p50 ms|p99 ms|MiB".split('|'));
    for GrowthRow { grown, size, measured } in &rows {
        let [p50, _, p99, ..] = measured.single.cells();
        table.row([
            (*grown).to_owned(),
            grouped(size.events),
            grouped(measured.held.users),
            grouped(size.items),
            size.history.to_string(),
            grouped(measured.held.audience),
            grouped(measured.held.pairs),
            measured.cpu_us_per_event.map_or_else(|| "-".to_owned(), figure),
            p50,
            p99,
            mib(measured.rss_bytes),
        ]);
    }
    say(&table.to_string())?;
    args.common.report("growth", &simulation, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_grows_one_dimension() {
        let rows = FIRST.scaled(0.5).rows();
        assert_eq!(rows[0].1, WorkloadSize { events: 100_000, users: 10_000, items: 2_000, history: 10, viewers: 200 });
        let factors = |size: WorkloadSize| {
            let of = |size: WorkloadSize| [size.events, size.users, size.items, u64::from(size.history), size.viewers];
            let (grown, first) = (of(size), of(rows[0].1));
            std::array::from_fn::<u64, 5, _>(|at| grown[at] / first[at])
        };
        for (at, (_, size)) in rows[1..].iter().enumerate() {
            let mut expected = [1; 5];
            expected[at] = TENFOLD;
            assert_eq!(factors(*size), expected);
        }
    }
}
