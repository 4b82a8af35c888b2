//! The graph beside the COST program, the same lists by one thread without dataflow (`benches/cost/mod.rs`).
//!
//! ```text
//! cargo bench --bench cost                                    # the standard stream, audience 10 %, one round
//! cargo bench --bench cost -- --rounds 3 --events 1000000
//! cargo bench --bench cost -- --adversarial                   # one item held by all, as much expires as arrives
//! cargo bench --bench cost -- --only cost                     # or graph-1, graph-2
//! ```
//!
//! Also `--users N`, `--items N`, `--audience 10%|all|30s`, `--batch N`. Each program runs in a process of its own, by turns.
//! The events are prepared before the clock starts, for both; a batch is fed when the one before is through. A graph's
//! ratio is its time on all its workers by COST's time, once by the wall and once by the processor. Ends with 1 if the lists are not the same.

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

use dataflows::{ItemId, UserId, recommendations};
use deltarec::commands::bench::audience::AudienceShare;
use support::workload::{Within, Workload, adversarial, standard};
use support::{Loop, cpu_seconds, peak_mib};
use timely::dataflow::operators::{Input as _, Inspect, Probe};

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
    /// In a process that measures: what.
    program: Option<String>,
}

impl Arguments {
    fn parse() -> Result<Self, String> {
        let mut found = Arguments {
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
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--events" => found.events = number(&value()?)?,
                "--users" => found.users = Some(number(&value()?)?),
                "--items" => found.items = Some(number(&value()?)?),
                "--audience" => found.audience = value()?.parse()?,
                "--batch" => found.batch = number(&value()?)?,
                "--rounds" => found.rounds = number(&value()?)?,
                "--adversarial" => found.adversarial = true,
                "--only" => found.only = Some(value()?),
                "--program" => found.program = Some(value()?),
                // Cargo says that this is a benchmark.
                "--bench" => {}
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(found)
    }

    /// For a process that measures.
    fn forwarded(&self, program: &str) -> Vec<String> {
        let mut words = vec![format!("--program={program}"), format!("--events={}", self.events)];
        words.push(format!("--audience={}", self.audience));
        words.push(format!("--batch={}", self.batch));
        words.extend(self.users.map(|users| format!("--users={users}")));
        words.extend(self.items.map(|items| format!("--items={items}")));
        let mut words: Vec<String> = words.iter().flat_map(|word| word.split('=')).map(ToOwned::to_owned).collect();
        words.extend(self.adversarial.then(|| "--adversarial".to_owned()));
        words
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
    let outcome = Arguments::parse().and_then(|arguments| match &arguments.program {
        Some(program) => measure(program, &arguments).map(|measured| println!("{}", measured.line())),
        None => compare(arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

/// What a run came to.
#[derive(Default)]
struct Measured {
    seconds: f64,
    cpu: f64,
    /// Of memory, with the prepared events.
    peak: u64,
    changes: u64,
    lists: u64,
    digest: u64,
    /// What only COST tells.
    detail: String,
}

impl Measured {
    fn line(&self) -> String {
        let Measured { seconds, cpu, peak, changes, lists, digest, detail } = self;
        format!("{seconds} {cpu} {peak} {changes} {lists} {digest} {detail}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim_end().splitn(7, ' ');
        Some(Measured {
            seconds: words.next()?.parse().ok()?,
            cpu: words.next()?.parse().ok()?,
            peak: words.next()?.parse().ok()?,
            changes: words.next()?.parse().ok()?,
            lists: words.next()?.parse().ok()?,
            digest: words.next()?.parse().ok()?,
            detail: words.next().unwrap_or_default().to_owned(),
        })
    }
}

/// Runs all programs by turns, each in a process of its own, and prints what they came to.
#[allow(clippy::cast_precision_loss)]
fn compare(mut arguments: Arguments) -> Result<(), String> {
    let workload = arguments.workload();
    let audience = arguments.audience;
    if let dataflows::Audience::Within(span) = workload.audience(audience)? {
        arguments.audience = Within::Span(span);
    }
    let counted = workload.events.len();
    println!(
        "{} stream: {} events, {counted} of them count ({} MiB prepared), {} a batch, audience {audience} = {}",
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
            let found = start(program, &arguments)?;
            let workers: f64 = program.strip_prefix("graph-").map_or(1.0, |n| n.parse().expect("a number of workers"));
            // A graph of one worker takes one core and so on; processor time is of all cores already.
            let used = [found.seconds * workers, found.cpu];
            let ratio = cost.map(|cost| [used[0] / cost[0], used[1] / cost[1]]);
            cost = cost.or((program == "cost").then_some(used));
            for (all, one) in ratios.entry(program).or_default().iter_mut().zip(ratio.into_iter().flatten()) {
                all.push(one);
            }
            let [ratio, cpu_ratio] = ratio.map_or_else(Default::default, |both| both.map(|one| format!("{one:.2}")));
            println!(
                "{program:<8} {:>10.0} {:>9.2} {:>9.2} {:>9} {:>10} {ratio:>7} {cpu_ratio:>9}  {} lists, {:016x}",
                counted as f64 / found.seconds,
                found.seconds,
                found.cpu,
                found.peak,
                found.changes,
                found.lists,
                found.digest
            );
            found.detail.split('|').filter(|line| !line.is_empty()).for_each(|line| println!("  {line}"));
            answers.push((found.changes, found.lists, found.digest));
        }
    }
    for program in PROGRAMS {
        if let Some(both) = ratios.get_mut(program).filter(|both| !both[0].is_empty()) {
            let [wall, cpu] = both.each_mut().map(|all| {
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            });
            println!(
                "{program}: a core takes {wall:.2} times COST's time, {cpu:.2} times its processor time (medians of {})",
                both[0].len()
            );
        }
    }
    if answers.windows(2).any(|two| two[0] != two[1]) {
        return Err("the programs differ in their lists".to_owned());
    }
    Ok(())
}

fn start(program: &str, arguments: &Arguments) -> Result<Measured, String> {
    let itself = std::env::current_exe().expect("this program has a path");
    let output = Command::new(itself).args(arguments.forwarded(program)).output().expect("this program starts again");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let line = String::from_utf8_lossy(&output.stdout);
    Measured::parse(&line).filter(|_| output.status.success()).ok_or(format!("{program} failed"))
}

fn measure(program: &str, arguments: &Arguments) -> Result<Measured, String> {
    let mut workload = arguments.workload();
    workload.config.audience = workload.audience(arguments.audience)?;
    Ok(match program.strip_prefix("graph-") {
        Some(workers) => graph(workload, arguments.batch, workers.parse().expect("a number of workers")),
        None => cost(&workload, arguments.batch),
    })
}

/// The last lists told and how many were.
#[derive(Default)]
struct Outputs {
    lists: HashMap<UserId, Vec<ItemId>>,
    changes: u64,
}

impl Outputs {
    fn tell(&mut self, user: UserId, list: impl Iterator<Item = ItemId>) {
        self.changes += 1;
        let kept = self.lists.entry(user).or_default();
        kept.clear();
        kept.extend(list);
    }

    /// Adds to what was measured how many lists there are at the end and what is in them, in a few characters.
    fn digest(&self, measured: Measured) -> Measured {
        let mut lists: Vec<_> = self.lists.iter().filter(|(_, list)| !list.is_empty()).collect();
        lists.sort_unstable();
        let digest = schema::id64(&format!("{lists:?}"));
        Measured { changes: self.changes, lists: lists.len() as u64, digest, ..measured }
    }
}

/// Takes the time of what it is given.
fn clocked(run: impl FnOnce()) -> Measured {
    let cpu = cpu_seconds().unwrap_or(f64::NAN);
    let started = Instant::now();
    run();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds().unwrap_or(f64::NAN) - cpu;
    Measured { seconds, cpu, peak: peak_mib().unwrap_or(0), ..Measured::default() }
}

fn cost(workload: &Workload, batch: usize) -> Measured {
    let mut told = Outputs::default();
    let mut program = program::Cost::new(&workload.config);
    let mut measured = clocked(|| {
        for events in workload.events.chunks(batch) {
            for (user, list) in program.batch(events) {
                told.tell(*user, list.iter().map(|scored| scored.item));
            }
        }
    });
    measured.detail = detail(&program, &measured, workload.events.len());
    told.digest(measured)
}

/// Where COST's time went, how much it did; lines divided by `|`.
#[allow(clippy::cast_precision_loss)]
fn detail(program: &program::Cost, measured: &Measured, events: usize) -> String {
    let (spent, work) = (program.spent(), program.work());
    let (cells, bytes) = program.cells();
    let per_event = |n: u64| n as f64 / events as f64;
    let share = |part: Duration| 100.0 * part.as_secs_f64() / measured.seconds;
    // On a busy machine some of the time is others'; where processor time is not told, all of it counts.
    let own = if measured.cpu > 0.0 { measured.cpu / measured.seconds } else { 1.0 };
    format!(
        "{:.1} M pair updates, {:.1} M per CPU second in the pair part, {:.1} M over the whole; {:.1} M counts in {} MiB|\
         histories {:.0} %, popularity {:.0} %, pairs {:.0} %, rows {:.0} %, lists {:.0} %|\
         an event: {:.1} pair updates, {:.2} row entries moved, {:.3} rows scanned, {:.2} lists computed, {:.2} changed",
        work.pairs as f64 / 1e6,
        work.pairs as f64 / 1e6 / (spent.pairs.as_secs_f64() * own),
        work.pairs as f64 / 1e6 / (measured.seconds * own),
        cells as f64 / 1e6,
        bytes >> 20,
        share(spent.histories),
        share(spent.popularity),
        share(spent.pairs),
        share(spent.rows),
        share(spent.lists),
        per_event(work.pairs),
        per_event(work.moves),
        per_event(work.scans),
        per_event(work.lists),
        per_event(work.changes),
    )
}

/// All events enter through the first worker; each worker keeps the lists that it tells.
fn graph(workload: Workload, batch: usize, workers: usize) -> Measured {
    let told: Arc<Mutex<Outputs>> = Arc::default();
    let all = Arc::clone(&told);
    let measured = clocked(move || {
        let Workload { events, config, .. } = workload;
        let events = Arc::new(events);
        let guards = timely::execute(timely::Config::process(workers), move |worker| {
            let told: Rc<RefCell<Outputs>> = Rc::default();
            let telling = Rc::clone(&told);
            let (input, probe) = worker.dataflow(|scope| {
                let (input, events) = scope.new_input();
                let changes = recommendations(events, &config).changes;
                let (probe, _) = changes
                    .inspect(move |change| {
                        telling.borrow_mut().tell(change.user, change.items.iter().map(|scored| scored.item));
                    })
                    .probe();
                (input, probe)
            });
            let mut driver = Loop { input, probe, last: 0 };
            if worker.index() == 0 {
                for events in events.chunks(batch) {
                    // What is due since the last batch is taken with this one, as COST does.
                    driver.tick_since(worker, 0, events);
                }
            }
            driver.input.close();
            while worker.step_or_park(None) {}
            let mut all = all.lock().expect("no worker failed");
            let mine = told.take();
            all.changes += mine.changes;
            all.lists.extend(mine.lists);
        });
        guards.expect("workers start").join().into_iter().for_each(|result| result.expect("a worker failed"));
    });
    let told = told.lock().expect("no worker failed");
    told.digest(measured)
}
