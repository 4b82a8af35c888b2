//! Compares the graph with the COST program (`benches/cost/mod.rs`), which computes the same lists on one thread without
//! dataflow.
//!
//! ```text
//! cargo bench --bench cost                                    # the standard stream, audience 10 %, one round
//! cargo bench --bench cost -- --rounds 3 --events 1000000
//! cargo bench --bench cost -- --adversarial                   # one item in all histories, as many expire as arrive
//! cargo bench --bench cost -- --only cost                     # or graph-1, graph-2
//! ```
//!
//! Also `--users N`, `--items N`, `--audience 10%|all|30s`, `--batch N`. The programs run in turn, each in a child process.
//! Events are generated before the clock starts; a batch is fed when the previous one is complete. The ratio of a graph is
//! its time, summed over its workers, divided by the time of COST: wall-clock time and processor time. Exits with 1 if the
//! lists differ.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub)]

#[path = "cost/mod.rs"]
mod program;
mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dataflows::types::{ItemId, UserId};
use dataflows::{GraphInput, ListKey, SnapshotSinks, recommendations};
use deltarec::commands::bench::audience::AudienceShare;
use support::workload::{Within, Workload, adversarial, standard};
use support::{Loop, cpu_seconds, peak_mib};
use timely::dataflow::operators::{Inspect, Probe};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAMS: [&str; 3] = ["cost", "graph-1", "graph-2"];

/// The command line.
struct Arguments {
    events: u64,
    users: Option<u32>,
    items: Option<u32>,
    audience: Within,
    batch: usize,
    rounds: usize,
    adversarial: bool,
    only: Option<String>,
    /// Program to run in this process; set for child processes.
    program: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut parsed = Arguments {
            events: 5_000_000,
            users: None,
            items: None,
            audience: Within::Share(AudienceShare::Percent(10.0)),
            batch: 10_000,
            rounds: 1,
            adversarial: false,
            only: None,
            program: None,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--events" => parsed.events = number(&value()?)?,
                "--users" => parsed.users = Some(number(&value()?)?),
                "--items" => parsed.items = Some(number(&value()?)?),
                "--audience" => parsed.audience = value()?.parse()?,
                "--batch" => parsed.batch = number(&value()?)?,
                "--rounds" => parsed.rounds = number(&value()?)?,
                "--adversarial" => parsed.adversarial = true,
                "--only" => parsed.only = Some(value()?),
                "--program" => parsed.program = Some(value()?),
                // Set by cargo.
                "--bench" => {}
                _ => return Err(format!("unknown option {arg}")),
            }
        }
        Ok(parsed)
    }

    /// Arguments of a child process.
    fn forwarded(&self, program: &str) -> Vec<String> {
        let mut args = vec![format!("--program={program}"), format!("--events={}", self.events)];
        args.push(format!("--audience={}", self.audience));
        args.push(format!("--batch={}", self.batch));
        args.extend(self.users.map(|users| format!("--users={users}")));
        args.extend(self.items.map(|items| format!("--items={items}")));
        let mut args: Vec<String> = args.iter().flat_map(|arg| arg.split('=')).map(ToOwned::to_owned).collect();
        args.extend(self.adversarial.then(|| "--adversarial".to_owned()));
        args
    }

    fn workload(&self) -> Workload {
        let make = if self.adversarial { adversarial } else { standard };
        make(self.events, self.users, self.items)
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is not a number"))
}

fn main() -> ExitCode {
    let finished = Arguments::parse().and_then(|arguments| match &arguments.program {
        Some(program) => measure(program, &arguments).map(|measured| println!("{}", measured.line())),
        None => compare(arguments),
    });
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Result of a run.
#[derive(Default)]
struct RunResult {
    seconds: f64,
    cpu: f64,
    /// Peak memory in MiB, including the generated events.
    peak: u64,
    changes: u64,
    lists: u64,
    digest: u64,
    /// Statistics of COST; lines divided by `|`.
    detail: String,
}

impl RunResult {
    fn line(&self) -> String {
        let RunResult { seconds, cpu, peak, changes, lists, digest, detail } = self;
        format!("{seconds} {cpu} {peak} {changes} {lists} {digest} {detail}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut args = line.trim_end().splitn(7, ' ');
        Some(RunResult {
            seconds: args.next()?.parse().ok()?,
            cpu: args.next()?.parse().ok()?,
            peak: args.next()?.parse().ok()?,
            changes: args.next()?.parse().ok()?,
            lists: args.next()?.parse().ok()?,
            digest: args.next()?.parse().ok()?,
            detail: args.next().unwrap_or_default().to_owned(),
        })
    }
}

/// Runs the programs in turn, each in a child process, and prints their results.
#[allow(clippy::cast_precision_loss)]
fn compare(mut arguments: Arguments) -> Result<(), String> {
    let workload = arguments.workload();
    let audience = arguments.audience;
    if let dataflows::Audience::Within(span) = workload.audience(audience)? {
        arguments.audience = Within::Span(span);
    }
    let counted = workload.events.len();
    println!(
        "{} stream: {} events, {counted} with an effect ({} MiB), {} per batch, audience {audience} = {}",
        if arguments.adversarial { "adversarial" } else { "standard" },
        arguments.events,
        size_of_val(&*workload.events) >> 20,
        arguments.batch,
        arguments.audience,
    );
    drop(workload);
    println!(
        "{:<8} {:>10} {:>9} {:>9} {:>9} {:>10} {:>7} {:>9}  lists",
        "program", "events/s", "seconds", "CPU s", "peak MiB", "changes", "ratio", "CPU ratio"
    );
    let mut ratios: HashMap<&str, [Vec<f64>; 2]> = HashMap::new();
    let mut answers: Vec<(u64, u64, u64)> = Vec::new();
    for _ in 0..arguments.rounds {
        let mut cost: Option<[f64; 2]> = None;
        for program in PROGRAMS.into_iter().filter(|name| arguments.only.as_ref().is_none_or(|only| only == name)) {
            let result = run_in_child(program, &arguments)?;
            let workers: f64 = program.strip_prefix("graph-").map_or(1.0, |n| n.parse().expect("a number of workers"));
            // A graph occupies one core per worker; processor time already covers all cores.
            let used = [result.seconds * workers, result.cpu];
            let ratio = cost.map(|cost| [used[0] / cost[0], used[1] / cost[1]]);
            cost = cost.or((program == "cost").then_some(used));
            for (all, one) in ratios.entry(program).or_default().iter_mut().zip(ratio.into_iter().flatten()) {
                all.push(one);
            }
            let [ratio, cpu_ratio] = ratio.map_or_else(Default::default, |both| both.map(|one| format!("{one:.2}")));
            println!(
                "{program:<8} {:>10.0} {:>9.2} {:>9.2} {:>9} {:>10} {ratio:>7} {cpu_ratio:>9}  {} lists, {:016x}",
                counted as f64 / result.seconds,
                result.seconds,
                result.cpu,
                result.peak,
                result.changes,
                result.lists,
                result.digest
            );
            result.detail.split('|').filter(|line| !line.is_empty()).for_each(|line| println!("  {line}"));
            answers.push((result.changes, result.lists, result.digest));
        }
    }
    for program in PROGRAMS {
        if let Some(both) = ratios.get_mut(program).filter(|both| !both[0].is_empty()) {
            let [wall, cpu] = both.each_mut().map(|all| {
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            });
            println!(
                "{program}: {wall:.2} times the wall-clock time of COST per core, {cpu:.2} times its processor time \
                 (medians of {})",
                both[0].len()
            );
        }
    }
    if answers.windows(2).any(|two| two[0] != two[1]) {
        return Err("the lists of the programs differ".to_owned());
    }
    Ok(())
}

fn run_in_child(program: &str, arguments: &Arguments) -> Result<RunResult, String> {
    let executable = std::env::current_exe().expect("this program has a path");
    let output = Command::new(executable).args(arguments.forwarded(program)).output().expect("the child starts");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8_lossy(&output.stdout);
    RunResult::parse(&line).filter(|_| output.status.success()).ok_or(format!("{program} failed"))
}

fn measure(program: &str, arguments: &Arguments) -> Result<RunResult, String> {
    let mut workload = arguments.workload();
    workload.config.audience = workload.audience(arguments.audience)?;
    Ok(match program.strip_prefix("graph-") {
        Some(workers) => graph(workload, arguments.batch, workers.parse().expect("a number of workers")),
        None => cost(&workload, arguments.batch),
    })
}

/// Latest list of each user, and the number of emitted changes.
#[derive(Default)]
struct EmittedLists {
    lists: HashMap<UserId, Vec<ItemId>>,
    changes: u64,
}

impl EmittedLists {
    fn record(&mut self, user: UserId, items: impl Iterator<Item = ItemId>) {
        self.changes += 1;
        let list = self.lists.entry(user).or_default();
        list.clear();
        list.extend(items);
    }

    /// Adds the number of lists and their digest to the result.
    fn add_to(&self, result: RunResult) -> RunResult {
        let mut lists: Vec<_> = self.lists.iter().filter(|(_, list)| !list.is_empty()).collect();
        lists.sort_unstable();
        let digest = schema::id64(&format!("{lists:?}"));
        RunResult { changes: self.changes, lists: lists.len() as u64, digest, ..result }
    }
}

/// Measures time and memory of a closure.
fn timed(run: impl FnOnce()) -> RunResult {
    let cpu = cpu_seconds().unwrap_or(f64::NAN);
    let started = Instant::now();
    run();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds().unwrap_or(f64::NAN) - cpu;
    RunResult { seconds, cpu, peak: peak_mib().unwrap_or(0), ..RunResult::default() }
}

fn cost(workload: &Workload, batch: usize) -> RunResult {
    let mut emitted = EmittedLists::default();
    let mut program = program::Cost::new(&workload.config);
    let mut result = timed(|| {
        for events in workload.events.chunks(batch) {
            for (user, list) in program.batch(events) {
                emitted.record(*user, list.iter().map(|scored| scored.item));
            }
        }
    });
    result.detail = detail(&program, &result, workload.events.len());
    emitted.add_to(result)
}

/// Time and work of COST by stage; lines divided by `|`.
#[allow(clippy::cast_precision_loss)]
fn detail(program: &program::Cost, result: &RunResult, events: usize) -> String {
    let (times, work) = (program.times(), program.work());
    let (cells, bytes) = program.cells();
    let per_event = |n: u64| n as f64 / events as f64;
    let share = |part: Duration| 100.0 * part.as_secs_f64() / result.seconds;
    // Excludes the time that a busy machine gave to other processes; without processor time all of it counts.
    let own = if result.cpu > 0.0 { result.cpu / result.seconds } else { 1.0 };
    format!(
        "{:.1} M pair updates, {:.1} M per CPU second of the pair stage, {:.1} M of all stages; {:.1} M counts in {} MiB|\
         histories {:.0} %, popularity {:.0} %, pairs {:.0} %, rows {:.0} %, lists {:.0} %|\
         per event: {:.1} pair updates, {:.2} row entries moved, {:.3} rows scanned, {:.2} lists computed, {:.2} changed",
        work.pairs as f64 / 1e6,
        work.pairs as f64 / 1e6 / (times.pairs.as_secs_f64() * own),
        work.pairs as f64 / 1e6 / (result.seconds * own),
        cells as f64 / 1e6,
        bytes >> 20,
        share(times.histories),
        share(times.popularity),
        share(times.pairs),
        share(times.rows),
        share(times.lists),
        per_event(work.pairs),
        per_event(work.moves),
        per_event(work.scans),
        per_event(work.lists),
        per_event(work.changes),
    )
}

/// Runs the graph. All events enter at the first worker; each worker records the lists that it emits.
fn graph(workload: Workload, batch: usize, workers: usize) -> RunResult {
    let emitted: Arc<Mutex<EmittedLists>> = Arc::default();
    let all = Arc::clone(&emitted);
    let result = timed(move || {
        let Workload { events, config, .. } = workload;
        let events = Arc::new(events);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let emitted: Rc<RefCell<EmittedLists>> = Rc::default();
            let recorder = Rc::clone(&emitted);
            let (input, probe) = worker.dataflow(|scope| {
                let (input, streams) = GraphInput::new(scope, &config, false);
                let changes = recommendations(streams, &config, SnapshotSinks::default()).changes;
                let (probe, _) = changes
                    .inspect(move |change| {
                        let ListKey::User(user) = change.key else { unreachable!("no trending lists are configured") };
                        recorder.borrow_mut().record(user, change.items.iter().map(|scored| scored.item));
                    })
                    .probe();
                (input, probe)
            });
            let mut driver = Loop { input, probe };
            if worker.index() == 0 {
                for events in events.chunks(batch) {
                    // Timers since the last batch fire with this batch, as in COST.
                    driver.tick_since(worker, 0, events);
                }
            }
            drop(driver);
            while worker.step_or_park(None) {}
            let mut all = all.lock().expect("no worker failed");
            let own = emitted.take();
            all.changes += own.changes;
            all.lists.extend(own.lists);
        });
        guards.expect("workers start").join().into_iter().for_each(|result| result.expect("a worker failed"));
    });
    let emitted = emitted.lock().expect("no worker failed");
    emitted.add_to(result)
}
