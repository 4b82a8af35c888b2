//! `deltarec demo`: the main job end to end on simulated events, with a few viewers to look at.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;
use connectors::{Batch, Polled, RawEvent, Sink, SinkError, Source, SourceError, SourcePosition};
use schema::Change;
use simulator::Options;

use crate::commands::simulation::generator;
use crate::config::Config;
use crate::engine::{Input, Job, Simulated, Summary, grouped, run, timestamp};
use crate::failure::Failure;
use crate::stop::Stop;

/// Arguments of `deltarec demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many events to simulate
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Where the randomness starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many viewers to follow
    #[arg(long, default_value_t = 3)]
    viewers: usize,
    /// Worker threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

/// Viewers are chosen among those with so many events once one in so many of all events is over: then there is something
/// to recommend.
const WARM: u32 = 5;
const WARM_AFTER: u64 = 4;

/// Changes shown of each viewer.
const SHOWN: u32 = 8;

/// Events in a tick: small, so that lists change in front of one's eyes.
const TICK: &str = "input.batch=20";

/// Runs the demo.
pub fn main(args: &DemoArgs, stop: Stop) -> Result<(), Failure> {
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
    let generator = generator(options).map_err(Failure::Usage)?;
    let from = args.events / WARM_AFTER;
    let followed = Arc::new(Followed { most: args.viewers, from, viewers: Mutex::default() });
    let opening = format!(
        "{} simulated events of live commerce: 5,000 viewers, 2,000 products, 20 rooms (seed {}).\n\
         After a quarter of them, {} viewers are followed: what they do, and how their recommendations change with it\n\
         (+ entered, - left, = the whole list, best first).\n",
        grouped(args.events),
        args.seed,
        args.viewers
    );
    if unseen(say(&opening))? {
        return Ok(());
    }
    let source = Box::new(Tapped { inner: Simulated::new(generator), followed: Arc::clone(&followed) });
    let screen = Box::new(Screen { followed, acknowledged: None });
    let job = Job::new(config, vec![Input { source, waits: false }], screen);
    let (summary, result) = run(Job { workers: usize::from(args.workers), stop, ..job });
    result.map_err(|error| Failure::Running(error.into()))?;
    unseen(say(&closing(&summary)))?;
    Ok(())
}

/// Whether nobody looks any more, which is no failure.
fn unseen(said: Result<(), SinkError>) -> Result<bool, Failure> {
    match said {
        Err(error) if error.closed => Ok(true),
        said => said.map(|()| false).map_err(|error| Failure::Running(error.into())),
    }
}

fn closing(summary: &Summary) -> String {
    format!(
        "\n{summary}\n\nNext: deltarec generate events=100000 --output events.jsonl.gz\n      \
         deltarec run --input events.jsonl.gz --output changes.jsonl"
    )
}

/// Viewers looked at. The generator runs ahead of the lists, so what viewers did waits here for the lists to come by.
struct Followed {
    /// How many are looked at.
    most: usize,
    /// From this event on they are chosen.
    from: u64,
    viewers: Mutex<Viewers>,
}

#[derive(Default)]
struct Viewers {
    seen: u64,
    events: HashMap<String, u32>,
    chosen: HashMap<String, Viewer>,
}

/// One viewer looked at.
#[derive(Default)]
struct Viewer {
    /// What they did and when, since their last change shown.
    did: Vec<(u64, String)>,
    /// Changes that others' doings made meanwhile.
    others: u32,
    /// When they were chosen: what came before is not shown.
    since: u64,
    shown: u32,
}

impl Followed {
    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, event: RawEvent<'_>) {
        let mut viewers = self.viewers();
        viewers.seen += 1;
        let warm = viewers.seen > self.from && viewers.chosen.len() < self.most;
        let events = viewers.events.entry(event.user.to_owned()).or_insert(0);
        *events += 1;
        if warm && *events >= WARM && !viewers.chosen.contains_key(event.user) {
            viewers.chosen.insert(event.user.to_owned(), Viewer { since: event.ts, ..Viewer::default() });
        }
        if let Some(viewer) = viewers.chosen.get_mut(event.user) {
            viewer.did.push((event.ts, format!("{} {}", event.action, event.item)));
        }
    }

    /// What to show for a change: those that follow something the viewer did, with a count of the others.
    fn describe(&self, change: &Change) -> Option<String> {
        let mut viewers = self.viewers();
        let viewer = viewers.chosen.get_mut(&change.user)?;
        if viewer.shown == SHOWN || change.at < viewer.since {
            return None;
        }
        let later = viewer.did.split_off(viewer.did.partition_point(|(ts, _)| *ts <= change.at));
        let did: Vec<String> = std::mem::replace(&mut viewer.did, later).into_iter().map(|(_, what)| what).collect();
        if did.is_empty() && !change.items.is_empty() {
            viewer.others += 1;
            return None;
        }
        viewer.shown += 1;
        let others = match std::mem::take(&mut viewer.others) {
            0 => String::new(),
            1 => "  (and 1 change by what others did)".to_owned(),
            times => format!("  (and {times} changes by what others did)"),
        };
        let moved = change
            .entered
            .iter()
            .map(|item| format!("+{item}"))
            .chain(change.left.iter().map(|item| format!("-{item}")));
        let moved: Vec<String> = moved.collect();
        let items: Vec<&str> = change.items.iter().map(|recommended| recommended.item.as_str()).collect();
        let indent = "\n                               ";
        Some(format!(
            "{}  {:<8} {}{others}{indent}{}{indent}= {}",
            timestamp(change.at).unwrap_or_default(),
            change.user,
            if did.is_empty() { "nothing for 30 minutes".to_owned() } else { did.join(", ") },
            if moved.is_empty() { "(another order)".to_owned() } else { moved.join(" ") },
            if items.is_empty() { "no list: left the audience".to_owned() } else { items.join(" ") },
        ))
    }
}

/// The generator, overheard.
struct Tapped {
    inner: Simulated,
    followed: Arc<Followed>,
}

impl Source for Tapped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn poll(&mut self, into: &mut Batch) -> Result<Polled, SourceError> {
        let start = into.len();
        let polled = self.inner.poll(into)?;
        for event in (start..into.len()).filter_map(|at| into.get(at)) {
            self.followed.saw(event);
        }
        Ok(polled)
    }

    fn position(&self, batch: &Batch, next: usize) -> SourcePosition {
        self.inner.position(batch, next)
    }

    fn resume_at(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        self.inner.resume_at(position)
    }
}

/// Shows the changes of the viewers followed.
struct Screen {
    followed: Arc<Followed>,
    acknowledged: Option<u64>,
}

impl Sink for Screen {
    fn name(&self) -> &'static str {
        "the screen"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.followed.describe(change).map_or(Ok(()), |lines| say(&lines))
    }

    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        self.acknowledged = Some(at);
        Ok(())
    }

    fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn say(text: &str) -> Result<(), SinkError> {
    writeln!(io::stdout(), "{text}").map_err(|error| SinkError {
        sink_name: "stdout".into(),
        what: format!("cannot write: {error}"),
        advice: "run it with a terminal or a file to write to".into(),
        closed: error.kind() == io::ErrorKind::BrokenPipe,
        cause: Some(error),
    })
}
