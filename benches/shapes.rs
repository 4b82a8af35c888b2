//! The shapes of the graph side by side: the textbook of arrange, join and reduce, and each of our own operators put in
//! its place, alone and together. All stages have differential collections at their borders, so they can be mixed.
//!
//! ```text
//! cargo bench --bench shapes
//! ```
//!
//! Each shape runs in a process of its own, so that its memory is its own: a load in batches, then single events in a
//! closed loop. The lists at the end must be the same for all.

#![allow(clippy::print_stdout, missing_docs, unreachable_pub, dead_code)]

mod support;
#[path = "../tests/support"]
mod twin {
    pub(crate) mod oracle;
    pub(crate) mod plain;
}

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::generate::Options;
use dataflows::{
    Audience, Collection, Config, Event, Input, Interest, ItemId, List, Neighbour, Scored, UserId, interactions,
    interest, lists, popularity, similar_items,
};
use differential_dataflow::AsCollection;
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

const SHAPES: [&str; 5] = ["textbook", "door", "door+index", "door+look-up", "door+index+look-up"];
const LOAD: usize = 40_000;
const BATCH: usize = 1_000;
const SINGLES: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--shape") {
        return measure(&arguments[at + 1]);
    }
    println!(
        "{LOAD} events of 20,000 users and 10,000 items loaded {BATCH} at a time, then {SINGLES} one by one; audience all, 1 worker"
    );
    println!(
        "{:<20} {:>12} {:>10} {:>10} {:>10} {:>8}  lists",
        "shape", "load ev/s", "p50 ms", "p99 ms", "max ms", "MiB"
    );
    for shape in SHAPES {
        let itself = std::env::current_exe().expect("this program has a path");
        let status = Command::new(itself).args(["--shape", shape]).status().expect("this program starts again");
        assert!(status.success(), "{shape} failed");
    }
}

fn measure(shape: &str) {
    let shape = shape.to_owned();
    timely::execute_directly(move |worker| {
        let config = Config { audience: Audience::All, ..Config::default() };
        let state: Rc<RefCell<BTreeMap<(UserId, List), isize>>> = Rc::default();
        let kept = Rc::clone(&state);
        let (input, probe) = worker.dataflow(|scope| {
            let (input, events) = scope.new_input();
            let lists = build(&shape, events, &config);
            let (probe, _) = lists
                .inspect(move |(list, _, diff)| {
                    let mut kept = kept.borrow_mut();
                    let count = kept.entry(list.clone()).or_insert(0);
                    *count += diff;
                    if *count == 0 {
                        kept.remove(list);
                    }
                })
                .inner
                .probe();
            (input, probe)
        });
        let mut driver = Loop { input, probe, last: 0 };
        let options =
            Options { events: 2 * (LOAD + SINGLES) as u64, users: 20_000, items: 10_000, ..Options::default() };
        let events: Vec<Event> = simulated(options).take(LOAD + SINGLES).collect();
        let started = Instant::now();
        for batch in events[..LOAD].chunks(BATCH) {
            driver.tick(worker, batch);
        }
        let loaded = started.elapsed();
        let mut single = histogram();
        let patience = Instant::now();
        for event in &events[LOAD..] {
            // The slowest shapes are not waited for to the end.
            if patience.elapsed() < Duration::from_secs(60) {
                record(&mut single, driver.tick(worker, &[*event]));
            }
        }
        let lists = if single.len() == SINGLES as u64 { digest(&state.borrow()) } else { "(cut short)".to_owned() };
        #[allow(clippy::cast_precision_loss)]
        let rate = LOAD as f64 / loaded.as_secs_f64();
        println!(
            "{shape:<20} {rate:>12.0} {:>10.3} {:>10.3} {:>10.3} {:>8}  {lists}",
            ms(&single, 0.5),
            ms(&single, 0.99),
            ms(&single, 1.0),
            peak_mib().unwrap_or(0)
        );
    });
}

/// The final lists in a few characters, to compare shapes. Ours keep the scores of the last sent list.
fn digest(lists: &BTreeMap<(UserId, List), isize>) -> String {
    let sequences = lists.keys().map(|(user, list)| (user, list.iter().map(|scored| scored.item).collect::<Vec<_>>()));
    let items = format!("{:?}", sequences.collect::<Vec<_>>());
    format!("{} lists, {:016x}", lists.len(), schema::id64(&items))
}

type Events<'scope> = timely::dataflow::Stream<'scope, u64, Vec<Input>>;

fn build<'scope>(shape: &str, events: Events<'scope>, config: &Config) -> Collection<'scope, (UserId, List)> {
    let params = Params { audience: None, ..Params::default() };
    if shape == "textbook" {
        let events = as_collection(events);
        let history = plain::history(events.clone(), params.history);
        let profiles = plain::profiles(events, &params);
        let similar = plain::similar_items(plain::cooccurrence(history.clone()), plain::popularity(history), &params);
        return scored(plain::lists(profiles, similar, params.k, params.items_weight));
    }
    let gauges = Arc::default();
    let door = interactions(events, config, &ProbeHandle::new(), &gauges);
    let popular = popularity(door.history);
    let wanted = interest(door.profiles.clone());
    let neighbours = if shape.contains("index") {
        similar_items(door.cooccurrence, popular, wanted, config, &gauges).neighbours
    } else {
        // The rows that are wanted, by a join.
        let rows = plain::similar_items(door.cooccurrence, popular, &params);
        let wanted =
            wanted.map(|interest| interest.item).threshold_named("wanted", |_, _| 1).arrange_by_self_named("wanted");
        rows.arrange_by_key_named("rows")
            .join_core(wanted, |item: &ItemId, row: &(ItemId, u32), ()| Some(delivered(*item, *row)))
    };
    if shape.contains("look-up") {
        lists(door.profiles, neighbours, config, &gauges)
    } else {
        let rows =
            neighbours.map(|(interest, neighbour)| (interest.item, (neighbour.item, u32::from(neighbour.similarity))));
        scored(plain::lists(door.profiles, rows, params.k, params.items_weight))
    }
}

fn delivered(item: ItemId, (neighbour, similarity): (ItemId, u32)) -> (Interest, Neighbour) {
    let similarity = u16::try_from(similarity).expect("at most 1024");
    (Interest { item, worker: 0 }, Neighbour { item: neighbour, similarity })
}

fn as_collection(events: Events<'_>) -> Collection<'_, (UserId, (ItemId, u64, u8))> {
    events
        .unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "Events", |_, _| {
            move |input, output| {
                input.for_each(|capability, inputs| {
                    let time = *capability.least().expect("a message with data has a time");
                    let held = capability.retain_least(0).expect("a message with data has a time");
                    output.session(&held).give_iterator(inputs.drain(..).filter_map(|input| match input {
                        Input::Event(event) => Some(((event.user, (event.item, event.ts, event.level)), time, 1)),
                        Input::Together { .. } => None,
                    }));
                });
            }
        })
        .as_collection()
}

fn scored<'scope>(lists: Collection<'scope, (UserId, Vec<(ItemId, i64)>)>) -> Collection<'scope, (UserId, List)> {
    lists.map(|(user, list)| (user, list.into_iter().map(|(item, score)| Scored { item, score }).collect()))
}
