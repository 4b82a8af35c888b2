//! Compares shapes of the graph: the reference implementation of arrange, join and reduce, and each operator of this
//! project in place of its stages, alone and together. All stages have differential collections at their borders, so they
//! can be mixed. The COST program (`benches/cost/mod.rs`) computes the same lists in one thread without dataflow.
//!
//! ```text
//! cargo bench --bench shapes
//! cargo bench --bench shapes -- --smoke     # few events; exits with 1 if the graph is much slower or larger than it was
//! ```
//!
//! Each program runs in a process of its own, so that its memory can be measured: a load in batches, then single events
//! in a closed loop. Exits with 1 unless all programs end with the same lists.

#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs, unreachable_pub, dead_code)]

#[path = "cost/mod.rs"]
mod program;
mod support;
#[path = "../tests/support"]
mod test_support {
    pub(crate) mod oracle;
    pub(crate) mod reference;
}

use std::cell::RefCell;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::config::Sources;
use dataflows::operators::{
    Evaluation, ListInputs, Neighbour, Subscriber, Subscription, Touched, interactions, lists, profile_subscriptions,
    similar_items,
};
use dataflows::time::Time;
use dataflows::types::{Collection, ItemId, List, Scored, UserId};
use dataflows::{Audience, Config, Event, GraphInput, InputStreams, ListKey};
use differential_dataflow::AsCollection;
use schema::IdMap;
use simulator::Options;
use support::{Loop, histogram, ms, peak_mib, record, simulated};
use test_support::oracle::Params;
use test_support::reference;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::{ProbeHandle, Stream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The COST program: one thread, flat arrays and hash tables, no dataflow.
const COST: &str = "COST";
const REFERENCE: &str = "reference";
/// The graph of the program: all operators of this project.
const GRAPH: &str = "interactions+items+lists";
const PROGRAMS: [&str; 6] = [COST, REFERENCE, "interactions", "interactions+items", "interactions+lists", GRAPH];

/// Number of events.
#[derive(Clone, Copy)]
struct Size {
    /// Events that are loaded in batches.
    load: usize,
    /// Events that follow one by one.
    singles: usize,
}

const FULL: Size = Size { load: 40_000, singles: 1_000 };
const SMOKE: Size = Size { load: 20_000, singles: 200 };
const BATCH: usize = 1_000;

// Limits of the smoke test, far from noise: on a shared machine of two cores with a load of six, the graph loaded 13 to 29
// times as fast as the reference, at 0.28 to 0.51 of COST's rate, with a quarter of the reference's memory.

/// Least load rate of the graph, as a multiple of the reference's.
const LEAST_OF_REFERENCE: f64 = 8.0;
/// Least load rate of the graph, as a share of COST's.
const LEAST_OF_COST: f64 = 0.15;
/// Largest peak memory of the graph, as a share of the reference's.
const MAX_OF_REFERENCE_MEMORY: f64 = 0.5;
/// Runs of the graph and of COST, alternating. The fastest counts: they are so short that other processes disturb them.
const SMOKE_ROUNDS: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse().expect("the arguments are numbers");
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

/// The result of a program.
struct ProgramResult {
    /// Load rate in events a second.
    load: f64,
    /// Latencies of single events in ms: p50, p99, maximum.
    singles: [f64; 3],
    peak_mib: u64,
    lists: usize,
    /// Digest of the lists; `None` if the program was cut short.
    digest: Option<u64>,
}

impl ProgramResult {
    fn line(&self) -> String {
        let ProgramResult { load, singles: [p50, p99, max], peak_mib, lists, digest } = self;
        let digest = digest.map(|digest| digest.to_string()).unwrap_or_default();
        format!("{load} {p50} {p99} {max} {peak_mib} {lists} {digest}")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut figure = || words.next()?.parse::<f64>().ok();
        let (load, singles) = (figure()?, [figure()?, figure()?, figure()?]);
        Some(ProgramResult {
            load,
            singles,
            peak_mib: words.next()?.parse().ok()?,
            lists: words.next()?.parse().ok()?,
            digest: words.next().map(str::parse).transpose().ok()?,
        })
    }

    fn row(&self, program: &str, cost: &ProgramResult) -> String {
        let ProgramResult { load, singles: [p50, p99, max], peak_mib, lists, digest } = self;
        let lists = digest.map_or("(cut short)".to_owned(), |digest| format!("{lists} lists, {digest:016x}"));
        let share = format!("{:.1}%", 100.0 * load / cost.load);
        format!("{program:<20} {load:>12.0} {share:>8} {p50:>10.3} {p99:>10.3} {max:>10.3} {peak_mib:>8}  {lists}")
    }
}

fn print_header(size: Size) {
    let Size { load, singles } = size;
    println!(
        "{load} events of 20,000 users and 10,000 items loaded {BATCH} at a time, then {singles} one by one; audience all, 1 worker"
    );
    println!(
        "{:<20} {:>12} {:>8} {:>10} {:>10} {:>10} {:>8}  lists",
        "program", "load ev/s", "of COST", "p50 ms", "p99 ms", "max ms", "MiB"
    );
}

/// Runs all programs and prints one table.
fn compare() -> Result<(), String> {
    print_header(FULL);
    let cost = start(COST, FULL)?;
    println!("{}", cost.row(COST, &cost));
    for program in &PROGRAMS[1..] {
        let found = start(program, FULL)?;
        println!("{}", found.row(program, &cost));
        same_lists(program, &found, &cost)?;
    }
    Ok(())
}

/// Runs reference, graph and COST on few events, and checks lists and ratios.
#[allow(clippy::cast_precision_loss)]
fn smoke() -> Result<(), String> {
    print_header(SMOKE);
    let (mut costs, mut graphs) = (Vec::new(), Vec::new());
    for _ in 0..SMOKE_ROUNDS {
        costs.push(start(COST, SMOKE)?);
        graphs.push(start(GRAPH, SMOKE)?);
    }
    let by_load = |a: &&ProgramResult, b: &&ProgramResult| a.load.total_cmp(&b.load);
    let cost = costs.iter().max_by(by_load).expect("there are rounds");
    let graph = graphs.iter().max_by(by_load).expect("there are rounds");
    let reference = start(REFERENCE, SMOKE)?;
    for (program, found) in [(COST, cost), (REFERENCE, &reference), (GRAPH, graph)] {
        println!("{}", found.row(program, cost));
    }
    same_lists(REFERENCE, &reference, cost)?;
    graphs.iter().try_for_each(|graph| same_lists(GRAPH, graph, cost))?;

    let of_reference = graph.load / reference.load;
    let of_cost = graph.load / cost.load;
    let peak = graphs.iter().map(|graph| graph.peak_mib).max().unwrap_or(0);
    let memory = peak as f64 / reference.peak_mib as f64;
    println!(
        "the graph loads {of_reference:.1} times as fast as the reference (at least {LEAST_OF_REFERENCE}), at {of_cost:.2} of \
         COST's rate (at least {LEAST_OF_COST}), with {memory:.2} of the reference's memory (at most \
         {MAX_OF_REFERENCE_MEMORY})"
    );
    if of_reference < LEAST_OF_REFERENCE {
        return Err(format!(
            "the graph's load rate is {of_reference:.2} times the reference's, less than the {LEAST_OF_REFERENCE} it should be"
        ));
    }
    if of_cost < LEAST_OF_COST {
        return Err(format!(
            "the graph's load rate is {of_cost:.3} of the COST program's, less than the {LEAST_OF_COST} it should be"
        ));
    }
    // 0 where the system does not report memory.
    if reference.peak_mib > 0 && memory > MAX_OF_REFERENCE_MEMORY {
        return Err(format!(
            "the graph's peak memory is {memory:.2} of the reference's, more than the {MAX_OF_REFERENCE_MEMORY} it should be"
        ));
    }
    Ok(())
}

fn same_lists(program: &str, found: &ProgramResult, cost: &ProgramResult) -> Result<(), String> {
    // A program that was cut short has no digest.
    if found.digest.is_none_or(|digest| (Some(digest), found.lists) == (cost.digest, cost.lists)) {
        return Ok(());
    }
    Err(format!("the lists of {program} differ from those of {COST}"))
}

fn start(program: &str, size: Size) -> Result<ProgramResult, String> {
    let program_path = std::env::current_exe().expect("this program has a path");
    let arguments = ["--program", program, &size.load.to_string(), &size.singles.to_string()];
    let output = Command::new(program_path).args(arguments).output().expect("this program can be started again");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let found = ProgramResult::parse(&String::from_utf8_lossy(&output.stdout));
    found.filter(|_| output.status.success()).ok_or(format!("{program} failed"))
}

/// The current lists, as a consumer of the changes would keep them.
#[derive(Default)]
struct Lists(IdMap<Vec<(List, isize)>>);

impl Lists {
    /// Within a tick the insertion may precede the retraction.
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

    /// Number and digest of the lists, without scores: the graph keeps those of the last emitted list.
    fn digest(&self) -> (usize, u64) {
        let items = |list: &List| list.iter().map(|scored| scored.item).collect::<Vec<_>>();
        let all = self.0.iter().flat_map(|(user, lists)| lists.iter().map(|(list, diff)| (*user, items(list), *diff)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        (all.len(), schema::id64(&format!("{all:?}")))
    }
}

fn measure(program: &str, size: Size) -> ProgramResult {
    let config =
        Config { audience: Audience::All, sources: Sources { items: 4, users: 0 }, refresh: 0, ..Config::default() };
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
            let (input, streams) = GraphInput::new(scope, &config, false);
            let (probe, _) = build(&program, streams, &config)
                .inspect(move |((user, list), _, diff)| kept.borrow_mut().update(*user, list, *diff))
                .inner
                .probe();
            (input, probe)
        });
        let mut driver = Loop { input, probe };
        clocked(&events, size, &lists, |events| driver.tick(worker, events))
    })
}

/// Measures a load in batches, then single events, each after the previous one is completely processed.
#[allow(clippy::cast_precision_loss)]
fn clocked(
    events: &[Event],
    size: Size,
    lists: &RefCell<Lists>,
    mut tick: impl FnMut(&[Event]) -> Duration,
) -> ProgramResult {
    let started = Instant::now();
    for batch in events[..size.load].chunks(BATCH) {
        tick(batch);
    }
    let loaded = started.elapsed();
    let mut single = histogram();
    let first = Instant::now();
    for event in &events[size.load..] {
        // Cuts the slowest shapes short.
        if first.elapsed() < Duration::from_secs(60) {
            record(&mut single, tick(&[*event]));
        }
    }
    // Before the digest allocates.
    let peak_mib = peak_mib().unwrap_or(0);
    let (lists, digest) = lists.borrow().digest();
    ProgramResult {
        load: size.load as f64 / loaded.as_secs_f64(),
        singles: [0.5, 0.99, 1.0].map(|quantile| ms(&single, quantile)),
        peak_mib,
        lists,
        digest: Some(digest).filter(|_| single.len() == size.singles as u64),
    }
}

type Events<'scope> = timely::dataflow::Stream<'scope, u64, Vec<Event>>;

fn build<'scope>(shape: &str, streams: InputStreams<'scope>, config: &Config) -> Collection<'scope, (UserId, List)> {
    let params = Params { audience: None, ..Params::default() };
    if shape == REFERENCE {
        let events = as_collection(streams.events);
        let interactions = reference::interactions(events, params.history);
        let weights = reference::weights(reference::profiles(interactions.clone(), &params));
        let pairs = reference::cooccurrence(interactions.clone(), &params);
        let similar = reference::similar_items(pairs, reference::history(interactions), &params);
        let contributions = reference::of_items(weights.clone(), similar, params.items_weight);
        return scored(reference::lists(weights, contributions, params.k));
    }
    let gauges = Arc::default();
    let barriers = streams.barriers.clone();
    let users = interactions(streams.events, None, streams.barriers, config, &ProbeHandle::new(), &gauges, None);
    let subscriptions = profile_subscriptions(users.profiles.clone());
    let neighbours = if shape.contains("items") {
        let touched = Touched { cooccurrence: users.cooccurrence, history: users.history, traces: users.traces };
        similar_items(touched, None, subscriptions, users.loading, config, &gauges).neighbours
    } else {
        // The rows with a subscriber, by a join.
        let rows = reference::similar_items(users.cooccurrence, users.history, &params);
        let subscribed = subscriptions.map(|subscription| subscription.row);
        let subscribed = subscribed.threshold_named("subscribed", |_, _| 1).arrange_by_self_named("subscribed");
        rows.arrange_by_key_named("rows")
            .join_core(subscribed, |item: &ItemId, row: &(ItemId, u32), ()| Some(replicated(*item, *row)))
    };
    if shape.contains("lists") {
        let inputs = ListInputs {
            preferences: None,
            profiles: users.profiles,
            actions: users.actions,
            neighbours,
            users: None,
            items: None,
            barriers,
            reconcile: None,
        };
        latest(lists(inputs, config, &gauges).lists)
    } else {
        let rows = neighbours
            .map(|(subscription, neighbour)| (subscription.row, (neighbour.item, u32::from(neighbour.similarity))));
        let weights = users.profiles.map(|(user, item)| (user, (item.item, item.weight())));
        let contributions = reference::of_items(weights.clone(), rows, params.items_weight);
        scored(reference::lists(weights, contributions, params.k))
    }
}

fn replicated(item: ItemId, (neighbour, similarity): (ItemId, u32)) -> (Subscription, Neighbour) {
    let similarity = u16::try_from(similarity).expect("at most 1024");
    (Subscription { row: item, subscriber: Subscriber::Worker(0) }, Neighbour { item: neighbour, similarity })
}

fn as_collection(events: Events<'_>) -> Collection<'_, (UserId, (ItemId, u64, u8))> {
    events
        .unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Events", |_, _| {
            move |input, output| {
                input.for_each(|capability, events| {
                    let time = *capability.least().expect("a message with data has a time");
                    let retained = capability.retain_least(0).expect("a message with data has a time");
                    let updates = events.drain(..).map(|event| {
                        let level = event.effect.level().expect("every event of the workload has a level");
                        ((event.user, (event.item, event.ts, level)), time, 1)
                    });
                    output.session(&retained).give_iterator(updates);
                });
            }
        })
        .as_collection()
}

/// The last list of each viewer, without empty ones.
fn latest(evaluated: Stream<'_, Time, Vec<Evaluation>>) -> Collection<'_, (UserId, List)> {
    evaluated
        .unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Latest", |_, _| {
            let mut lists: IdMap<List> = IdMap::default();
            move |input, output| {
                input.for_each(|capability, evaluated| {
                    let time = *capability.least().expect("a message with data has a time");
                    let retained = capability.retain_least(0).expect("a message with data has a time");
                    let updates = evaluated.drain(..).flat_map(|Evaluation { key, list, .. }| {
                        let ListKey::User(user) = key else { unreachable!("trending lists are not evaluated") };
                        let old = lists.insert(user, list.clone()).unwrap_or_default();
                        let updates = [(old, -1), (list, 1)].into_iter().filter(|(list, _)| !list.is_empty());
                        updates.map(move |(list, diff)| ((user, list), time, diff))
                    });
                    output.session(&retained).give_iterator(updates);
                });
            }
        })
        .as_collection()
}

fn scored<'scope>(lists: Collection<'scope, (UserId, Vec<(ItemId, i64)>)>) -> Collection<'scope, (UserId, List)> {
    lists.map(|(user, list)| (user, list.into_iter().map(|(item, score)| Scored { item, score }).collect()))
}
