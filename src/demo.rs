//! `deltarec demo`: the main job end to end on simulated events, with a few viewers to look at.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use connectors::generate::Options;
use connectors::{Batch, Generator, Polled, RawEvent, RejectLog, Sink, SinkError, Source, SourceError};
use schema::{Change, Position};

use crate::cli::Failure;
use crate::config::Config;
use crate::generate;
use crate::run::{Clock, Input, Job, Show, Stop, Summary, run, timestamp};

/// Arguments of `deltarec demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many events to simulate
    #[arg(long, default_value_t = 200_000)]
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

/// Viewers are followed from their fifth event on: then there is something to recommend.
const WARM: u32 = 5;

/// Changes shown of each viewer.
const SHOWN: u32 = 12;

/// Events in a tick: small, so that lists change in front of one's eyes.
const TICK: &str = "input.batch=20";

/// Runs the demo.
pub fn main(args: &DemoArgs, stop: Stop) -> Result<(), Failure> {
    let config = Config::load(None, &[TICK.to_owned()])?;
    let options =
        Options { events: args.events, users: 5_000, items: 2_000, rooms: 20, seed: args.seed, ..Options::default() };
    let generator = Generator::new(options).map_err(|errors| Failure::Usage(generate::mistakes(&errors)))?;
    let followed = Arc::new(Followed { most: args.viewers, viewers: Mutex::default() });
    say(&format!(
        "{} simulated events of live commerce: 5,000 viewers, 2,000 products, 20 rooms (seed {}).\n\
         Below, what {} of the viewers do, and how their list of recommendations changes with it:\n\
         + entered, - left, then the whole list, best first.\n",
        args.events, args.seed, args.viewers
    ))?;
    let rejects = RejectLog::open(None)?;
    let (summary, result) = run(Job {
        config,
        inputs: vec![Input {
            source: Box::new(Tapped { inner: generator, followed: Arc::clone(&followed) }),
            waits: false,
        }],
        output: Box::new(Screen { followed, acknowledged: None }),
        rejects,
        workers: usize::from(args.workers),
        clock: Clock::Event,
        show: Show::Nothing,
        stop,
    });
    result.map_err(|error| Failure::Running(error.into()))?;
    say(&closing(&summary))?;
    Ok(())
}

fn closing(summary: &Summary) -> String {
    format!(
        "\n{summary}\n\nNext: deltarec generate events=100000 --output events.jsonl.gz\n      \
         deltarec run --input events.jsonl.gz --output changes.jsonl"
    )
}

/// Viewers looked at, with the events seen and the changes shown of each.
struct Followed {
    most: usize,
    viewers: Mutex<Viewers>,
}

#[derive(Default)]
struct Viewers {
    events: HashMap<String, u32>,
    /// Followed viewers, what they did and when since their last change, and how many changes were shown. The generator
    /// runs ahead of the lists, so a change takes only what was done by its own time.
    chosen: HashMap<String, (Vec<(u64, String)>, u32)>,
}

impl Followed {
    fn viewers(&self) -> std::sync::MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, event: RawEvent<'_>) {
        let RawEvent { user, action, item, ts, .. } = event;
        let mut viewers = self.viewers();
        let events = viewers.events.entry(user.to_owned()).or_insert(0);
        *events += 1;
        let warm = *events == WARM;
        if warm && viewers.chosen.len() < self.most {
            viewers.chosen.insert(user.to_owned(), (Vec::new(), 0));
        }
        if let Some((did, _)) = viewers.chosen.get_mut(user) {
            did.push((ts, format!("{action} {item}")));
        }
    }

    /// The lines to show for a change, if its viewer is followed.
    fn describe(&self, change: &Change) -> Option<String> {
        let mut viewers = self.viewers();
        let (did, shown) = viewers.chosen.get_mut(&change.user)?;
        if *shown == SHOWN {
            return None;
        }
        *shown += 1;
        let later = did.split_off(did.partition_point(|(ts, _)| *ts <= change.at));
        let did: Vec<String> = std::mem::replace(did, later).into_iter().map(|(_, what)| what).collect();
        let cause = if did.is_empty() { "(others' doings)".to_owned() } else { did.join(", ") };
        let moved: Vec<String> = change
            .entered
            .iter()
            .map(|item| format!("+{item}"))
            .chain(change.left.iter().map(|item| format!("-{item}")))
            .collect();
        let items: Vec<&str> = change.items.iter().map(|recommended| recommended.item.as_str()).collect();
        let time = timestamp(change.at).unwrap_or_default();
        Some(format!(
            "{time}  {:<6} {cause}\n{:29}{}\n{:29}{}",
            change.user,
            "",
            if moved.is_empty() { "(another order)".to_owned() } else { moved.join(" ") },
            "",
            if items.is_empty() { "(left the audience: no list)".to_owned() } else { items.join(" ") },
        ))
    }
}

/// The generator, overheard.
struct Tapped {
    inner: Generator,
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

    fn position(&self) -> Position {
        self.inner.position()
    }

    fn resume_at(&mut self, position: Position) -> Result<(), SourceError> {
        self.inner.resume_at(position)
    }
}

/// Shows the changes of the viewers followed.
struct Screen {
    followed: Arc<Followed>,
    acknowledged: Option<u64>,
}

impl Sink for Screen {
    fn name(&self) -> &str {
        "the screen"
    }

    fn write(&mut self, change: &Change) -> Result<(), SinkError> {
        self.followed.describe(change).map_or(Ok(()), |lines| say(&lines).map_err(|error| error.0))
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

/// What could not be shown.
struct Unseen(SinkError);

impl From<Unseen> for Failure {
    fn from(error: Unseen) -> Self {
        Failure::Running(error.0.into())
    }
}

fn say(text: &str) -> Result<(), Unseen> {
    writeln!(io::stdout(), "{text}").map_err(|error| {
        Unseen(SinkError {
            sink_name: "stdout".into(),
            what: format!("cannot write: {error}"),
            advice: "run it with a terminal or a file to write to".into(),
            closed: error.kind() == io::ErrorKind::BrokenPipe,
            cause: Some(error),
        })
    })
}
