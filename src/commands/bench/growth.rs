//! `deltarec bench growth`: what an event costs when what there is grows tenfold, one thing after the other.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use simulator::Options;

use super::audience::Share;
use super::batches::preload;
use super::child::{Task, ask};
use super::machine::{Machine, memory};
use super::sample::{Percentiles, Sample, figure};
use super::simulated::{ENDLESS, EventStream};
use super::throughput::Cpu;
use super::{Setup, check_writable, mib, per};
use crate::alone::{StateSize, alone};
use crate::commands::table::{Table, say};
use crate::config::Audience;
use crate::console;
use crate::engine::grouped;
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  deltarec bench growth                            # a few minutes
  deltarec bench growth --scale 10 --json growth.json

Each row has ten times as much of one thing as the first row, and as much of everything else. SIMULATION
may say rooms, rate and seed; events, users and items are what grows.";

#[derive(Debug, Args)]
pub(super) struct GrowthArgs {
    #[command(flatten)]
    setup: Setup,
    /// Multiplies events, users, items and audience of all rows
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Events to measure in each row
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

fn scale(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|scale| (0.01..=1_000.0).contains(scale));
    number.ok_or_else(|| format!("expected a number from 0.01 to 1000: `{text}`"))
}

/// What there is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Size {
    events: u64,
    users: u64,
    items: u64,
    history: u32,
    /// Users in the audience.
    viewers: u64,
}

const FIRST: Size = Size { events: 200_000, users: 20_000, items: 4_000, history: 10, viewers: 400 };
const TENFOLD: u64 = 10;
/// Single events measured in each row, for their percentiles.
const SINGLES: u64 = 5_000;
const BATCH: usize = 1_000;

impl Size {
    fn scaled(self, scale: f64) -> Self {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let times = |count: u64| ((count as f64 * scale) as u64).max(1);
        Size {
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
            ("events", Size { events: self.events * TENFOLD, ..self }),
            ("users", Size { users: self.users * TENFOLD, ..self }),
            ("items", Size { items: self.items * TENFOLD, ..self }),
            ("history", Size { history: self.history * 10, ..self }),
            ("audience", Size { viewers: self.viewers * TENFOLD, ..self }),
        ]
    }
}

/// One row, for a child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GrowthTask {
    setup: Setup,
    size: Size,
    span: Option<u64>,
    measured: u64,
    workers: u16,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    held: StateSize,
    cpu_us_per_event: Option<f64>,
    us_per_event: f64,
    single: Percentiles,
    rss_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Row {
    grown: &'static str,
    size: Size,
    #[serde(flatten)]
    measured: Measured,
}

fn options(setup: &Setup, size: Size) -> Result<Options, Failure> {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let given = setup.bounded()?;
    let (defaults, users, items) = (Options::default(), number(size.users), number(size.items));
    if (given.events, given.users, given.items) != (defaults.events, defaults.users, defaults.items) {
        return Err(Failure::Usage(anyhow::anyhow!(
            "`{}`: events, users and items are what grows here; leave them out and say --scale X",
            setup.simulation
        )));
    }
    Ok(Options { events: ENDLESS, users, items, ..given })
}

/// The child's side.
pub(super) fn measure(task: &GrowthTask, stop: &Stop) -> Result<Option<Measured>, Failure> {
    let mut config = task.setup.with_audience(task.span.map_or(Audience::All, Audience::Within))?;
    config.graph.history = task.size.history as usize;
    let mut maker = EventStream::new(options(&task.setup, task.size)?, config.levels.clone(), None)?;
    let (load, events, asked) = (task.size.events, task.measured, stop.clone());
    let measured = alone(&config, task.workers, move |driver| {
        preload(driver, &mut maker, load, &asked, |_| {});
        let (mut cpu, mut busy, mut done) = (Cpu::default(), Duration::ZERO, 0);
        while done < events && !asked.is_set() {
            let batch = maker.events(BATCH);
            busy += cpu.during(|| driver.tick(&batch));
            done += batch.len() as u64;
        }
        let mut single = Sample::default();
        for _ in 0..SINGLES.min(events) {
            if asked.is_set() {
                break;
            }
            let event = maker.events(1);
            single.record(driver.tick(&event));
        }
        let each = |seconds: f64| 1e6 * seconds / per(done.max(1), 1.0);
        Measured {
            held: driver.held(),
            cpu_us_per_event: cpu.0.map(each),
            us_per_event: each(busy.as_secs_f64()),
            single: single.percentiles(),
            rss_bytes: memory().0,
        }
    })?;
    Ok((!stop.is_set()).then_some(measured))
}

/// Measures row after row, each in a process of its own.
pub(super) fn main(args: &GrowthArgs, stop: &Stop) -> Result<(), Failure> {
    let config = args.setup.config()?;
    check_writable([&args.setup.json])?;
    let first = FIRST.scaled(args.scale);
    let simulation = options(&args.setup, first)?;
    let mut rows: Vec<Row> = Vec::new();
    for (grown, size) in first.rows() {
        let options = options(&args.setup, size)?;
        // The same number of viewers in all rows but the audience's, whatever share of the users they are.
        let share = Share::Percent(100.0 * per(size.viewers, per(size.users, 1.0)));
        let span = match share.audience(&options, &config, size.events)? {
            Audience::All => None,
            Audience::Within(ms) => Some(ms),
        };
        if stop.is_set() {
            break;
        }
        let (setup, measured, workers) = (args.setup.clone(), args.events, args.workers);
        let task = Task::Growth(GrowthTask { setup, size, span, measured, workers });
        if let Some(measured) = ask::<Measured>(&task, stop)? {
            console::say(&format!("ten times {grown}: {} us an event", figure(measured.us_per_event)));
            rows.push(Row { grown, size, measured });
        }
    }
    say(&format!(
        "{}\n{} worker(s), graph alone: {} events in batches of {}, then {} single ones\n",
        Machine::this(),
        args.workers,
        grouped(args.events),
        grouped(BATCH as u64),
        grouped(SINGLES.min(args.events))
    ))?;
    let mut table = Table::new(&[
        "ten times",
        "events",
        "users",
        "items",
        "history",
        "audience",
        "pairs",
        "CPU us/ev",
        "p50 ms",
        "p99 ms",
        "MiB",
    ]);
    for Row { grown, size, measured } in &rows {
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
    args.setup.report("growth", &simulation, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_grows_one_thing() {
        let rows = FIRST.scaled(0.5).rows();
        assert_eq!(rows[0].1, Size { events: 100_000, users: 10_000, items: 2_000, history: 10, viewers: 200 });
        let factors = |size: Size| {
            let of = |size: Size| [size.events, size.users, size.items, u64::from(size.history), size.viewers];
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
