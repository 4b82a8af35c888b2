//! `deltarec demo`: recommends on simulated events and prints the events and list changes of a few viewers.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;
use connectors::{
    Batch, CatalogueRecord, Polled, RawEvent, RawItem, Sink, SinkError, Source, SourceError, SourcePosition,
};
use schema::{Change, FieldValue, ItemField, ListKey, Statement};
use simulator::Options;

use crate::commands::files::is_closed;
use crate::commands::simulation::{catalogue_generator, generator};
use crate::config::Config;
use crate::engine::{Input, Job, Simulated, SimulatedCatalogue, grouped, run, timestamp};
use crate::failure::Failure;
use crate::stdio::check_stdout;
use crate::stop::Stop;

/// Arguments of `deltarec demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Number of simulated events
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Seed of the simulation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of viewers to follow
    #[arg(long, default_value_t = 3)]
    viewers: usize,
    /// Worker threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

/// Events that a viewer needs to be followed.
const MIN_EVENTS: u32 = 5;
/// Divisor of the number of events after which viewers are chosen, when the graph has data to recommend from.
const WARM_UP: u64 = 4;

/// Changes printed per viewer.
const MAX_CHANGES: u32 = 8;

/// Small ticks, so that each event changes the lists on its own.
const TICK: &str = "input.batch=20";

/// Runs the demo.
pub fn main(args: &DemoArgs, stop: Stop) -> Result<(), Failure> {
    check_stdout()?;
    let config = Config::load(None, &[TICK.to_owned()])?;
    let options = Options {
        events: args.events,
        users: 5_000,
        items: 2_000,
        rooms: 20,
        rate: 50,
        seed: args.seed,
        ..Options::default()
    };
    let catalogue = catalogue_generator(options.clone()).map_err(Failure::Usage)?;
    let generator = generator(options).map_err(Failure::Usage)?;
    let tracker = Arc::new(Tracker { limit: args.viewers, from: args.events / WARM_UP, state: Mutex::default() });
    let introduction = format!(
        "{} simulated events of live commerce: 5,000 viewers, 2,000 products, 20 rooms (seed {}).\n\
         Hosts go live and off air, products sell out and come back: only what can be had is recommended.\n\
         After a quarter of the events, {} viewers are followed: their events and the changes of their recommendations\n\
         (+ entered, - left, = the whole list, best first).\n",
        grouped(args.events),
        args.seed,
        args.viewers
    );
    if is_closed(print(&introduction))? {
        return Ok(());
    }
    let source = Box::new(TrackedSource { inner: Simulated::new(generator), tracker: Arc::clone(&tracker) });
    let catalogue = TrackedCatalogue { inner: SimulatedCatalogue::new(catalogue), tracker: Arc::clone(&tracker) };
    let catalogue = vec![Input { source: Box::new(catalogue) as Box<dyn Source<CatalogueRecord>>, waits: false }];
    let job = Job::new(config, vec![Input { source, waits: false }], Box::new(TrackedSink(tracker)));
    let (summary, result) = run(Job { catalogue, workers: usize::from(args.workers), stop, ..job });
    result?;
    let closing = format!(
        "\n{summary}\n\nNext: deltarec generate --events 100000 --output events.jsonl.gz --catalogue shop.jsonl.gz\n      \
         deltarec run --input events.jsonl.gz --catalogue shop.jsonl.gz --output changes.jsonl"
    );
    is_closed(print(&closing)).map(drop)
}

/// Collects the events of the followed viewers. The source is ahead of the sink, so events wait here for the changes that
/// follow from them.
struct Tracker {
    /// Number of viewers to follow.
    limit: usize,
    /// Number of events after which viewers are chosen.
    from: u64,
    state: Mutex<TrackerState>,
}

#[derive(Default)]
struct TrackerState {
    events: u64,
    events_by_user: HashMap<String, u32>,
    followed: HashMap<String, FollowedViewer>,
    /// Why items may not be recommended, by the time from which that holds; `None`: they may.
    losses: HashMap<String, BTreeMap<u64, Option<&'static str>>>,
}

#[derive(Default)]
struct FollowedViewer {
    /// Time and description of the events since the last printed change.
    events: Vec<(u64, String)>,
    /// Number of changes caused by other users meanwhile.
    other_changes: u32,
    /// Time when the viewer was chosen; earlier changes are not printed.
    since: u64,
    printed: u32,
}

impl Tracker {
    fn state(&self) -> MutexGuard<'_, TrackerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, event: RawEvent<'_>) {
        let mut state = self.state();
        state.events += 1;
        let choosing = state.events > self.from && state.followed.len() < self.limit;
        let events = state.events_by_user.entry(event.user.to_owned()).or_insert(0);
        *events += 1;
        if choosing && *events >= MIN_EVENTS && !state.followed.contains_key(event.user) {
            let viewer = FollowedViewer { since: event.ts, ..FollowedViewer::default() };
            state.followed.insert(event.user.to_owned(), viewer);
        }
        if let Some(viewer) = state.followed.get_mut(event.user) {
            viewer.events.push((event.ts, format!("{} {}", event.action, event.item)));
        }
    }

    fn observe_item(&self, record: RawItem<'_>) {
        let lost = match record.statement {
            Statement::Deleted => Some("deleted"),
            Statement::Fields(fields) => {
                let stated = fields.iter().find(|(field, _)| *field == ItemField::Availability);
                let Some((_, Some(FieldValue::Availability(availability)))) = stated else { return };
                (!availability.allows()).then(|| availability.word())
            }
        };
        self.state().losses.entry(record.item.to_owned()).or_default().insert(record.ts, lost);
    }

    /// The text for a change that follows events of a followed viewer, with the number of changes caused by others.
    fn describe(&self, change: &Change) -> Option<String> {
        let ListKey::User(user) = &change.key else { return None };
        let mut state = self.state();
        let TrackerState { followed, losses, .. } = &mut *state;
        let viewer = followed.get_mut(user)?;
        if viewer.printed == MAX_CHANGES || change.at < viewer.since {
            return None;
        }
        let later = viewer.events.split_off(viewer.events.partition_point(|(ts, _)| *ts <= change.at));
        let events = std::mem::replace(&mut viewer.events, later);
        let mut events: Vec<String> = events.into_iter().map(|(_, event)| event).collect();
        let lost = |item: &String| {
            let why = losses.get(item)?.range(..=change.at).next_back()?.1.as_ref()?;
            Some(format!("({item} is {})", why.replace('_', " ")))
        };
        events.extend(change.left.iter().filter_map(lost));
        if events.is_empty() && !change.items.is_empty() {
            viewer.other_changes += 1;
            return None;
        }
        viewer.printed += 1;
        let others = match std::mem::take(&mut viewer.other_changes) {
            0 => String::new(),
            1 => "  (and 1 change caused by others)".to_owned(),
            count => format!("  (and {count} changes caused by others)"),
        };
        let entered = change.entered.iter().map(|item| format!("+{item}"));
        let moved: Vec<String> = entered.chain(change.left.iter().map(|item| format!("-{item}"))).collect();
        let items: Vec<&str> = change.items.iter().map(|recommended| recommended.item.as_str()).collect();
        let indent = "\n                               ";
        Some(format!(
            "{}  {:<8} {}{others}{indent}{}{indent}= {}",
            timestamp(change.at).unwrap_or_default(),
            user,
            if events.is_empty() { "no event for 30 minutes".to_owned() } else { events.join(", ") },
            if moved.is_empty() { "(new order)".to_owned() } else { moved.join(" ") },
            if items.is_empty() { "no list: left the audience".to_owned() } else { items.join(" ") },
        ))
    }
}

/// A source that shows its events to the tracker.
struct TrackedSource {
    inner: Simulated,
    tracker: Arc<Tracker>,
}

impl Source for TrackedSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        let start = into.len();
        let polled = self.inner.poll(into)?;
        for event in (start..into.len()).filter_map(|at| into.get(at)) {
            self.tracker.observe(event);
        }
        Ok(polled)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        self.inner.position(batch, next)
    }
}

/// The same for the catalogue.
struct TrackedCatalogue {
    inner: SimulatedCatalogue,
    tracker: Arc<Tracker>,
}

impl Source<CatalogueRecord> for TrackedCatalogue {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn poll(&mut self, into: &mut Batch<CatalogueRecord>) -> Result<Polled, SourceError> {
        let start = into.len();
        let polled = self.inner.poll(into)?;
        for record in (start..into.len()).filter_map(|at| into.get(at)) {
            self.tracker.observe_item(record);
        }
        Ok(polled)
    }

    fn position(&self, batch: &Batch<CatalogueRecord>, next: usize) -> SourcePosition {
        self.inner.position(batch, next)
    }
}

/// Prints the changes of the followed viewers.
struct TrackedSink(Arc<Tracker>);

impl Sink for TrackedSink {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.0.describe(change).map_or(Ok(()), |lines| print(&lines))
    }
}

fn print(text: &str) -> Result<(), SinkError> {
    writeln!(io::stdout(), "{text}").map_err(|error| SinkError {
        sink_name: "stdout".into(),
        what: format!("cannot write: {error}"),
        advice: "redirect stdout to a terminal or a file".into(),
        closed: error.kind() == io::ErrorKind::BrokenPipe,
        cause: Some(error),
    })
}
