//! One event on a warm graph: how long until all changes that follow from it are out, closed loop.
//!
//! ```text
//! cargo bench --bench warm                 # 1 worker, the generator's defaults, 1 M events loaded, audience all
//! cargo bench --bench warm -- --workers 2
//! ```
//!
//! The load is one batch, whose rate is printed too. The events that follow are those the simulation goes on with, so
//! items come by their popularity. Graph alone: no parsing, no names, no writing.

#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use connectors::generate::Options;
use dataflows::{Audience, Config, Event, recommendations};
use support::{Loop, histogram, ms, peak_mib, record, simulated};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOADED: u64 = 1_000_000;
const MEASURED: u64 = 20_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let workers = arguments.iter().position(|argument| argument == "--workers");
    let workers = workers.and_then(|at| arguments.get(at + 1)).map_or(1, |n| n.parse().expect("--workers N"));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let config = Config { audience: Audience::All, ..Config::default() };
        let changed = Rc::new(Cell::new(0_u64));
        let counter = Rc::clone(&changed);
        let (input, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let changes = recommendations(events, &config).changes;
            let (probe, _) = changes.inspect(move |_| counter.set(counter.get() + 1)).probe();
            (input, probe)
        });
        if worker.index() > 0 {
            return;
        }
        let mut driver = Loop { input, probe, last: 0 };
        let options = Options { events: LOADED + MEASURED + MEASURED, ..Options::default() };
        let mut events = simulated(options);
        let load: Vec<Event> = events.by_ref().take(LOADED as usize * 85 / 100).collect();

        let started = Instant::now();
        driver.tick(worker, &load);
        #[allow(clippy::cast_precision_loss)]
        let rate = load.len() as f64 / started.elapsed().as_secs_f64();
        println!(
            "load: {} events as one batch in {:.2} s, {rate:.0} events/s, {} lists",
            load.len(),
            started.elapsed().as_secs_f64(),
            changed.get()
        );

        changed.set(0);
        let (mut all, mut changing) = (histogram(), histogram());
        for event in events.take(MEASURED as usize) {
            let before = changed.get();
            let took = driver.tick(worker, &[event]);
            record(&mut all, took);
            if changed.get() > before {
                record(&mut changing, took);
            }
        }
        println!("single events, closed loop, {workers} worker(s), audience all:");
        for (name, histogram) in [("all", &all), ("those that changed a list here", &changing)] {
            println!(
                "  {name}: {} events, p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms",
                histogram.len(),
                ms(histogram, 0.5),
                ms(histogram, 0.9),
                ms(histogram, 0.99),
                ms(histogram, 0.999),
                ms(histogram, 1.0),
            );
        }
        #[allow(clippy::cast_precision_loss)]
        let each = changed.get() as f64 / all.len() as f64;
        println!("  {each:.1} changed lists an event (first worker's), peak memory {} MiB", peak_mib().unwrap_or(0));
    });
    guards.expect("workers start").join().into_iter().for_each(|result| result.expect("a worker failed"));
}
