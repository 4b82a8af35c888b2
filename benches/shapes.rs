//! The shapes of the graph side by side: the textbook of arrange, join and reduce, and each of our own operators put in
//! its place, alone and together. All stages have differential collections at their borders, so they can be mixed. Beside
//! them the COST program (`benches/cost/mod.rs`), the same lists by one thread without dataflow.
//!
//! ```text
//! cargo bench --bench shapes
//! cargo bench --bench shapes -- --smoke     # few events; ends with 1 if the graph has become much slower or larger
//! ```
//!
//! Each program runs in a process of its own, so that its memory is its own: a load in batches, then single events in a
//! closed loop. The lists at the end must be the same for all, else it ends with 1.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub, dead_code)]

#[path = "cost/mod.rs"]
mod program;
mod support;
#[path = "../tests/support"]
mod twin {
    pub(crate) mod oracle;
    pub(crate) mod plain;
}

use std::cell::RefCell;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::{
    Audience, Collection, Config, Event, IdMap, Input, ItemId, List, Neighbour, Scored, Sources, Subscription, UserId,
    interactions, interest, lists, similar_items,
};
use differential_dataflow::AsCollection;
use simulator::Options;
use support::{Loop, histogram, ms, peak_mib, record, simulated};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::{Input as _, Probe};
use twin::oracle::Params;
use twin::plain;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The COST program: one thread, flat arrays and hash tables, no dataflow.
const COST: &str = "COST";
const TEXTBOOK: &str = "textbook";
/// All of ours.
const OURS: &str = "door+index+look-up";
const PROGRAMS: [&str; 6] = [COST, TEXTBOOK, "door", "door+index", "door+look-up", OURS];

/// Events of the load and single ones behind it.
#[derive(Clone, Copy)]
struct Size {
    load: usize,
    singles: usize,
}

const FULL: Size = Size { load: 40_000, singles: 1_000 };
const SMOKE: Size = Size { load: 20_000, singles: 200 };
const BATCH: usize = 1_000;

// The smoke's limits, far from noise: on a shared machine of two cores with three times as much to do as it could, the
// graph loaded 13 to 29 times as fast as the textbook, at 0.28 to 0.51 of COST's rate, with a quarter of the textbook's
// memory. Only a change of the program should fail them.

/// The graph loads at least so many times as fast as the textbook.
const LEAST_OF_TEXTBOOK: f64 = 8.0;
/// The graph's load rate is at least this share of COST's.
const LEAST_OF_COST: f64 = 0.15;
/// The graph's peak memory is at most this share of the textbook's.
const MOST_OF_TEXTBOOKS_MEMORY: f64 = 0.5;
/// Of the graph and of COST, by turns, the fastest run counts: they are over so soon that others can get in the way.
const SMOKE_ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse().expect("this program writes numbers");
    if let Some(at) = arguments.iter().position(|argument| argument == "--program") {
        println!("{}", measure(&arguments[at + 1], Size { load: number(at + 2), singles: number(at + 3) }).line());
        return ExitCode::SUCCESS;
    }
    let outcome = if arguments.iter().any(|argument| argument == "--smoke") { smoke() } else { compare() };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

/// What a program came to.
struct Measured {
    /// Events a second.
    load: f64,
    /// Of single events, in ms: p50, p99, the longest.
    singles: [f64; 3],
    peak_mib: u64,
    lists: usize,
    /// What is in the lists; none if not all events were taken.
    digest: Option<u64>,
}

impl Measured {
    fn line(&self) -> String {
        let Measured { load, singles: [p50, p99, max], peak_mib, lists, digest } = self;
        let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        format!("{load} {p50} {p99} {max} {peak_mib} {lists} {digest}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut figure = || words.next()?.parse::<f64>().ok();
        let (load, singles) = (figure()?, [figure()?, figure()?, figure()?]);
        Some(Measured {
            load,
            singles,
            peak_mib: words.next()?.parse().ok()?,
            lists: words.next()?.parse().ok()?,
            digest: words.next().map(str::parse).transpose().ok()?,
        })
    }

    fn row(&self, program: &str, cost: &Measured) -> String {
        let Measured { load, singles: [p50, p99, max], peak_mib, lists, digest } = self;
        let lists = digest.map_or("(cut short)".to_owned(), |digest| format!("{lists} lists, {digest:016x}"));
        let share = format!("{:.1}%", 100.0 * load / cost.load);
        format!("{program:<20} {load:>12.0} {share:>8} {p50:>10.3} {p99:>10.3} {max:>10.3} {peak_mib:>8}  {lists}")
    }
}

fn head(size: Size) {
    let Size { load, singles } = size;
    println!(
        "{load} events of 20,000 users and 10,000 items loaded {BATCH} at a time, then {singles} one by one; audience all, 1 worker"
    );
    println!(
        "{:<20} {:>12} {:>8} {:>10} {:>10} {:>10} {:>8}  lists",
        "program", "load ev/s", "of COST", "p50 ms", "p99 ms", "max ms", "MiB"
    );
}

/// All of them, in one table.
fn compare() -> Result<(), String> {
    head(FULL);
    let cost = start(COST, FULL)?;
    println!("{}", cost.row(COST, &cost));
    for program in &PROGRAMS[1..] {
        let found = start(program, FULL)?;
        println!("{}", found.row(program, &cost));
        same_lists(program, &found, &cost)?;
    }
    Ok(())
}

/// Textbook, graph and COST on few events: the same lists, and ratios beyond doubt.
#[allow(clippy::cast_precision_loss)]
fn smoke() -> Result<(), String> {
    head(SMOKE);
    let (mut costs, mut graphs) = (Vec::new(), Vec::new());
    for _ in 0..SMOKE_ROUNDS {
        costs.push(start(COST, SMOKE)?);
        graphs.push(start(OURS, SMOKE)?);
    }
    let by_load = |a: &&Measured, b: &&Measured| a.load.total_cmp(&b.load);
    let cost = costs.iter().max_by(by_load).expect("there are rounds");
    let graph = graphs.iter().max_by(by_load).expect("there are rounds");
    let textbook = start(TEXTBOOK, SMOKE)?;
    for (program, found) in [(COST, cost), (TEXTBOOK, &textbook), (OURS, graph)] {
        println!("{}", found.row(program, cost));
    }
    same_lists(TEXTBOOK, &textbook, cost)?;
    graphs.iter().try_for_each(|graph| same_lists(OURS, graph, cost))?;

    let of_textbook = graph.load / textbook.load;
    let of_cost = graph.load / cost.load;
    let peak = graphs.iter().map(|graph| graph.peak_mib).max().unwrap_or(0);
    let memory = peak as f64 / textbook.peak_mib as f64;
    println!(
        "the graph loads {of_textbook:.1} times as fast as the textbook (at least {LEAST_OF_TEXTBOOK}), at {of_cost:.2} of \
         COST's rate (at least {LEAST_OF_COST}), with {memory:.2} of the textbook's memory (at most \
         {MOST_OF_TEXTBOOKS_MEMORY})"
    );
    if of_textbook < LEAST_OF_TEXTBOOK {
        return Err(format!(
            "the graph's load rate is {of_textbook:.2} times the textbook's, less than the {LEAST_OF_TEXTBOOK} it should be"
        ));
    }
    if of_cost < LEAST_OF_COST {
        return Err(format!(
            "the graph's load rate is {of_cost:.3} of the COST program's, less than the {LEAST_OF_COST} it should be"
        ));
    }
    // Where the system tells no memory there is nothing to compare.
    if textbook.peak_mib > 0 && memory > MOST_OF_TEXTBOOKS_MEMORY {
        return Err(format!(
            "the graph's peak memory is {memory:.2} of the textbook's, more than the {MOST_OF_TEXTBOOKS_MEMORY} it should be"
        ));
    }
    Ok(())
}

fn same_lists(program: &str, found: &Measured, cost: &Measured) -> Result<(), String> {
    // What was cut short has nothing to compare.
    if found.digest.is_none_or(|digest| (Some(digest), found.lists) == (cost.digest, cost.lists)) {
        return Ok(());
    }
    Err(format!("the lists of {program} are not those of {COST}"))
}

fn start(program: &str, size: Size) -> Result<Measured, String> {
    let itself = std::env::current_exe().expect("this program has a path");
    let arguments = ["--program", program, &size.load.to_string(), &size.singles.to_string()];
    let output = Command::new(itself).args(arguments).output().expect("this program starts again");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let found = Measured::parse(&String::from_utf8_lossy(&output.stdout));
    found.filter(|_| output.status.success()).ok_or(format!("{program} failed"))
}

/// The present lists, as whoever gets the changes would keep them.
#[derive(Default)]
struct Lists(IdMap<Vec<(List, isize)>>);

impl Lists {
    /// Within a tick the new list may come before the old one goes.
    fn update(&mut self, user: UserId, list: &List, diff: isize) {
        let lists = self.0.entry(user).or_default();
        match lists.iter().position(|(known, _)| known == list) {
            None => lists.push((list.clone(), diff)),
            Some(at) => {
                lists[at].1 += diff;
                if lists[at].1 == 0 {
                    lists.swap_remove(at);
                }
            }
        }
    }

    fn replace(&mut self, user: UserId, list: &List) {
        let lists = self.0.entry(user).or_default();
        lists.clear();
        lists.extend((!list.is_empty()).then(|| (list.clone(), 1)));
    }

    /// How many there are and what is in them. Scores are not compared: ours keep those of the last sent list.
    fn digest(&self) -> (usize, u64) {
        let items = |list: &List| list.iter().map(|scored| scored.item).collect::<Vec<_>>();
        let all = self.0.iter().flat_map(|(user, lists)| lists.iter().map(|(list, diff)| (*user, items(list), *diff)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        (all.len(), schema::id64(&format!("{all:?}")))
    }
}

fn measure(program: &str, size: Size) -> Measured {
    let config = Config { audience: Audience::All, sources: Sources { items: 4, users: 0 }, ..Config::default() };
    let options =
        Options { events: 2 * (size.load + size.singles) as u64, users: 20_000, items: 10_000, ..Options::default() };
    let events: Vec<Event> = simulated(options).take(size.load + size.singles).collect();
    let lists: Rc<RefCell<Lists>> = Rc::default();
    if program == COST {
        let mut cost = program::Cost::new(&config);
        let tick = |events: &[Event]| {
            let started = Instant::now();
            for (user, list) in cost.batch(events) {
                lists.borrow_mut().replace(*user, list);
            }
            started.elapsed()
        };
        return clocked(&events, size, &lists, tick);
    }
    let program = program.to_owned();
    timely::execute_directly(move |worker| {
        let lists: Rc<RefCell<Lists>> = Rc::default();
        let kept = Rc::clone(&lists);
        let (input, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let (probe, _) = build(&program, events, &config)
                .inspect(move |((user, list), _, diff)| kept.borrow_mut().update(*user, list, *diff))
                .inner
                .probe();
            (input, probe)
        });
        let mut driver = Loop { input, probe, last: 0 };
        clocked(&events, size, &lists, |events| driver.tick(worker, events))
    })
}

/// A load in batches, then single events, each when everything that follows from the one before is out.
#[allow(clippy::cast_precision_loss)]
fn clocked(
    events: &[Event],
    size: Size,
    lists: &RefCell<Lists>,
    mut tick: impl FnMut(&[Event]) -> Duration,
) -> Measured {
    let started = Instant::now();
    for batch in events[..size.load].chunks(BATCH) {
        tick(batch);
    }
    let loaded = started.elapsed();
    let mut single = histogram();
    let patience = Instant::now();
    for event in &events[size.load..] {
        // The slowest shapes are not waited for to the end.
        if patience.elapsed() < Duration::from_secs(60) {
            record(&mut single, tick(&[*event]));
        }
    }
    // Before the lists are put in order.
    let peak_mib = peak_mib().unwrap_or(0);
    let (lists, digest) = lists.borrow().digest();
    Measured {
        load: size.load as f64 / loaded.as_secs_f64(),
        singles: [0.5, 0.99, 1.0].map(|quantile| ms(&single, quantile)),
        peak_mib,
        lists,
        digest: Some(digest).filter(|_| single.len() == size.singles as u64),
    }
}

type Events<'scope> = timely::dataflow::Stream<'scope, u64, Vec<Input>>;

fn build<'scope>(shape: &str, events: Events<'scope>, config: &Config) -> Collection<'scope, (UserId, List)> {
    let params = Params { audience: None, ..Params::default() };
    if shape == TEXTBOOK {
        let events = as_collection(events);
        let history = plain::history(events.clone(), params.history);
        let profiles = plain::profiles(events, &params);
        let similar = plain::similar_items(plain::cooccurrence(history.clone()), history, &params);
        let contributions = plain::of_items(profiles.clone(), similar, params.items_weight);
        return scored(plain::lists(profiles, contributions, params.k));
    }
    let gauges = Arc::default();
    let door = interactions(events, config, &ProbeHandle::new(), &gauges, None);
    let wanted = interest(door.profiles.clone());
    let neighbours = if shape.contains("index") {
        similar_items(door.cooccurrence, door.history, wanted, door.loading, config, &gauges).neighbours
    } else {
        // The rows that are wanted, by a join.
        let rows = plain::similar_items(door.cooccurrence, door.history, &params);
        let wanted =
            wanted.map(|interest| interest.row).threshold_named("wanted", |_, _| 1).arrange_by_self_named("wanted");
        rows.arrange_by_key_named("rows")
            .join_core(wanted, |item: &ItemId, row: &(ItemId, u32), ()| Some(delivered(*item, *row)))
    };
    if shape.contains("look-up") {
        lists(door.profiles, neighbours, None, config, &gauges)
    } else {
        let rows =
            neighbours.map(|(interest, neighbour)| (interest.row, (neighbour.item, u32::from(neighbour.similarity))));
        let contributions = plain::of_items(door.profiles.clone(), rows, params.items_weight);
        scored(plain::lists(door.profiles, contributions, params.k))
    }
}

fn delivered(item: ItemId, (neighbour, similarity): (ItemId, u32)) -> (Subscription, Neighbour) {
    let similarity = u16::try_from(similarity).expect("at most 1024");
    (Subscription { row: item, worker: 0 }, Neighbour { item: neighbour, similarity })
}

fn as_collection(events: Events<'_>) -> Collection<'_, (UserId, (ItemId, u64, u8))> {
    events
        .unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Events", |_, _| {
            move |input, output| {
                input.for_each(|capability, inputs| {
                    let time = *capability.least().expect("a message with data has a time");
                    let held = capability.retain_least(0).expect("a message with data has a time");
                    output.session(&held).give_iterator(inputs.drain(..).filter_map(|input| {
                        let (event, _) = input.event()?;
                        Some(((event.user, (event.item, event.ts, event.level)), time, 1))
                    }));
                });
            }
        })
        .as_collection()
}

fn scored<'scope>(lists: Collection<'scope, (UserId, Vec<(ItemId, i64)>)>) -> Collection<'scope, (UserId, List)> {
    lists.map(|(user, list)| (user, list.into_iter().map(|(item, score)| Scored { item, score }).collect()))
}
