//! `deltarec bench kafka`: from the moment an event is due at its producer until its change is at a consumer, beside the
//! broker's own round trip in the same run; and a replay between topics beside one between files.

mod clients;

use simulator::{EventRef, Generator};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use clap::Args;
use connectors::{Delivery, InputOptions, Uri, continue_sink, open_lines, open_sink, open_source};
use hdrhistogram::Histogram;
use schema::Event;
use serde::Serialize;

use self::clients::Clients;
use super::{Setup, check_writable, named, whole};
use crate::commands::generate;
use crate::commands::table::{Table, say};
use crate::config::{Audience, Config};
use crate::console;
use crate::engine::{Clock, Input, Job, Progress, Resume, RunError, Summary, run};
use crate::failure::Failure;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  eval \"$(scripts/kafka start)\"
  deltarec bench kafka
  deltarec bench kafka users=10000,items=2000 --rates 1000,10000 --seconds 30 --json kafka.json

One event in ten is a probe: a new user looks at a well-known item that was just touched. Its list is its own event's, so it
is known which event a record at the consumer comes from. Times are from the schedule (open loop); events of the first second
are not recorded. `busy` is the share of all cores that anybody on the machine used, the broker included.";

#[derive(Debug, Args)]
pub(super) struct KafkaArgs {
    #[command(flatten)]
    setup: Setup,
    /// The broker; left out: what the environment variable `DELTAREC_KAFKA` names
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Events per second
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_name = "N,...")]
    rates: Vec<u64>,
    /// Seconds at each rate
    #[arg(long, default_value_t = 20, value_name = "N")]
    seconds: u64,
    /// Events that are there before, of users who do not watch now
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    preload: u64,
    /// Events of the replay between topics and between files; 0 leaves it out
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    replay: u64,
    /// Worker threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
}

/// What was measured of one rate.
#[derive(Debug, Serialize)]
struct Step {
    delivery: &'static str,
    rate: u64,
    /// Probes that were recorded, of which so many gave a list.
    probes: u64,
    arrived: u64,
    /// Changed lists a second.
    changes: u64,
    /// Share of the machine's cores in use by anybody; where the system tells.
    busy: Option<f64>,
    change_ms: Quantiles,
    broker_ms: Quantiles,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Replay {
    between: &'static str,
    events: u64,
    seconds: f64,
    changes: u64,
}

/// Partitions of the topics.
const PARTITIONS: i32 = 8;
/// When no probe has come for so long, none will.
const SILENCE: Duration = Duration::from_secs(5);

/// One event of so many is a probe.
const PROBE_EVERY: u64 = 10;
/// An item with so many events before has similar items: a probe's list comes of the probe.
const WELL_KNOWN: u32 = 20;
/// So long nothing is recorded.
const WARM_UP: Duration = Duration::from_secs(1);
/// Echoes per second.
const ECHO_RATE: u64 = 200;

/// See the module.
pub(super) fn main(args: &KafkaArgs, stop: &Stop) -> Result<(), Failure> {
    check_writable([&args.setup.json])?;
    let broker = args.broker.clone().or_else(|| std::env::var("DELTAREC_KAFKA").ok()).ok_or_else(|| {
        Failure::Usage(anyhow!("no broker: give --broker HOST:PORT, or start one with eval \"$(scripts/kafka start)\""))
    })?;
    let options = args.setup.endless()?;
    let config = args.setup.config()?;
    let mut steps = Vec::new();
    let mut replays = Vec::new();
    for (delivery, name) in [(Delivery::Transactional, "transactional"), (Delivery::Idempotent, "idempotent")] {
        let mut config = config.clone();
        config.kafka.delivery = delivery;
        let mut live = Live::start(args, &broker, &config, stop).map_err(Failure::Running)?;
        for rate in args.rates.iter().copied().take_while(|_| !stop.is_set()) {
            let step = live.offer(rate, args.seconds, name).map_err(Failure::Running)?;
            console::say(&format!(
                "{name}, {} events/s: p50 {:.2} ms, p99 {:.2} ms",
                step.rate, step.change_ms.p50, step.change_ms.p99
            ));
            steps.push(step);
        }
        live.end().map_err(Failure::Running)?;
    }
    if args.replay > 0 && !stop.is_set() {
        replays = replay(args, &broker, &config, stop)?;
    }
    show(&steps, &replays)?;
    args.setup.report("kafka", &options, &serde_json::json!({ "latency": steps, "replay": replays }))
}

fn show(steps: &[Step], replays: &[Replay]) -> Result<(), Failure> {
    let columns =
        ["delivery", "events/s", "what", "p50 ms", "p90", "p99", "p99.9", "max", "probes", "changes/s", "busy"];
    let mut table = Table::new(&columns);
    for step in steps {
        for (what, of) in [("event to change", &step.change_ms), ("broker alone", &step.broker_ms)] {
            let quantiles = [of.p50, of.p90, of.p99, of.p999, of.max].map(|ms| format!("{ms:.2}"));
            let more = if what == "broker alone" {
                Default::default()
            } else {
                let busy = step.busy.map(|busy| format!("{:.0}%", busy * 100.0)).unwrap_or_default();
                [format!("{} of {}", step.arrived, step.probes), step.changes.to_string(), busy]
            };
            table.row(
                [step.delivery.into(), step.rate.to_string(), what.into()].into_iter().chain(quantiles).chain(more),
            );
        }
    }
    say(&table.to_string())?;
    if let [files, topics] = replays {
        let mut table = Table::new(&["replay", "events", "seconds", "events/s", "changes", "ratio"]);
        #[allow(clippy::cast_precision_loss)]
        let rate = |of: &Replay| of.events as f64 / of.seconds;
        for of in [files, topics] {
            table.row([
                of.between.to_owned(),
                of.events.to_string(),
                format!("{:.1}", of.seconds),
                whole(rate(of)),
                of.changes.to_string(),
                format!("{:.2}", rate(of) / rate(files)),
            ]);
        }
        say(&table.to_string())?;
    }
    Ok(())
}

/// A run between two topics, with a producer and consumers beside it.
struct Live {
    clients: Clients,
    events: Generator,
    input: String,
    echo: String,
    running: JoinHandle<(Summary, Result<(), RunError>)>,
    progress: Arc<Progress>,
    stop: Stop,
    /// Events of each item so far.
    known: HashMap<String, u32>,
    /// Probes that have not arrived: when their event was due.
    due: Arc<Mutex<HashMap<String, Instant>>>,
    latencies: Arc<Mutex<Histogram<u64>>>,
    probes: u64,
}

impl Live {
    fn start(args: &KafkaArgs, broker: &str, config: &Config, stop: &Stop) -> anyhow::Result<Self> {
        let clients = Clients::new(broker)?;
        let tag = format!("{}-{}", std::process::id(), now_ms());
        let topic = |what: &str| format!("bench-{what}-{tag}");
        let (input, output, echo) = (topic("events"), topic("lists"), topic("echo"));
        for name in [&input, &output, &echo] {
            clients.create(name, PARTITIONS, name == &output)?;
        }
        let options = generate::options(&args.setup.simulation)?;
        let endless = simulator::Options { events: super::ENDLESS, ..options };
        let mut events = Generator::new(endless).map_err(|errors| generate::mistakes(&errors))?;
        // Before everybody's time in the audience, well within the retention.
        let before = match config.graph.audience {
            Audience::All => 0,
            Audience::Within(ms) => ms + 1,
        };
        let ts = now_ms() - before.min(config.graph.retention / 2);
        let mut load = clients.producer()?;
        let mut known = HashMap::new();
        for _ in 0..args.preload {
            let Some(event) = events.next_event() else { break };
            *known.entry(event.item.to_owned()).or_insert(0) += 1;
            load.send(&input, &owned(&event, ts))?;
        }
        load.flush()?;
        let progress = Arc::new(Progress::default());
        let (job, ends) = job(args, config.clone(), broker, (&input, &output), Clock::Wall, &progress)?;
        let running = thread::spawn(move || run(job));
        let wanted = args.preload;
        while progress.settled.load(Relaxed) + progress.ignored.load(Relaxed) < wanted
            && !running.is_finished()
            && !stop.is_set()
        {
            thread::sleep(Duration::from_millis(20));
        }
        let due: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let latencies = Arc::new(Mutex::new(histogram()));
        let (waiting, measured, consumer) = (Arc::clone(&due), Arc::clone(&latencies), clients.consumer(&output)?);
        let until = ends.clone();
        thread::spawn(move || {
            while !until.is_set() {
                let Some(key) = consumer.next_key() else { continue };
                let arrived = Instant::now();
                if let Some(due) = locked(&waiting).remove(&key) {
                    record(&measured, arrived.saturating_duration_since(due));
                }
            }
        });
        Ok(Live { clients, events, input, echo, running, progress, stop: ends, known, due, latencies, probes: 0 })
    }

    /// Offers events at a rate, each when it is due, however the run keeps up.
    fn offer(&mut self, rate: u64, seconds: u64, delivery: &'static str) -> anyhow::Result<Step> {
        locked(&self.latencies).reset();
        locked(&self.due).clear();
        let over = Stop::default();
        let echo = self.echo(&over)?;
        let mut producer = self.clients.producer()?;
        let begun = Instant::now();
        let before = (self.progress.changes.load(Relaxed), Cores::now());
        let mut probes = 0;
        let mut item = String::new();
        for number in 0..rate * seconds {
            let due = begun + Duration::from_nanos(number * 1_000_000_000 / rate);
            while Instant::now() < due {
                producer.poll();
                let left = due.saturating_duration_since(Instant::now());
                thread::sleep(left.min(Duration::from_millis(1)));
            }
            let ts = now_ms();
            if number % PROBE_EVERY == PROBE_EVERY - 1 && !item.is_empty() {
                self.probes += 1;
                let user = format!("probe-{}", self.probes);
                if due >= begun + WARM_UP {
                    probes += 1;
                    locked(&self.due).insert(user.clone(), due);
                }
                let event = Event {
                    user,
                    item: item.clone(),
                    action: "click".into(),
                    ts,
                    dwell_ms: None,
                    room: None,
                    text: None,
                    id: None,
                };
                producer.send(&self.input, &event)?;
            } else if let Some(event) = self.events.next_event() {
                let event = owned(&event, ts);
                if self.known.get(&event.item).is_some_and(|events| *events >= WELL_KNOWN) {
                    item.clone_from(&event.item);
                }
                producer.send(&self.input, &event)?;
            }
        }
        producer.flush()?;
        let busy = before.1.zip(Cores::now()).map(|(before, now)| now.busy_since(&before));
        self.wait_for_probes();
        let changes = self.progress.changes.load(Relaxed) - before.0;
        over.set();
        let broker = echo.join().map_err(|_| anyhow!("the echo failed"))??;
        let latencies = locked(&self.latencies);
        Ok(Step {
            delivery,
            rate,
            probes,
            arrived: latencies.len(),
            changes: changes / seconds.max(1),
            busy,
            change_ms: quantiles(&latencies),
            broker_ms: quantiles(&broker),
        })
    }

    /// Waits while probes come: a run that is behind is measured to its end, or its latest would be left out. What has no
    /// list (an item without similar ones) never comes.
    fn wait_for_probes(&self) {
        let mut left = (locked(&self.due).len(), Instant::now());
        while left.0 > 0 && left.1.elapsed() < SILENCE {
            thread::sleep(Duration::from_millis(20));
            let now = locked(&self.due).len();
            if now < left.0 {
                left = (now, Instant::now());
            }
        }
    }

    /// The broker's own round trip meanwhile: produced with the same acknowledgements, consumed.
    fn echo(&self, over: &Stop) -> anyhow::Result<JoinHandle<anyhow::Result<Histogram<u64>>>> {
        let producer = self.clients.producer()?;
        let consumer = self.clients.consumer(&self.echo)?;
        let (topic, over) = (self.echo.clone(), over.clone());
        let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (waiting, ended) = (Arc::clone(&sent), over.clone());
        thread::spawn(move || {
            let mut number = 0_u64;
            while !ended.is_set() {
                let key = number.to_string();
                locked(&waiting).insert(key.clone(), Instant::now());
                if producer.send_key(&topic, &key).is_err() {
                    break;
                }
                producer.poll();
                number += 1;
                thread::sleep(Duration::from_nanos(1_000_000_000 / ECHO_RATE));
            }
        });
        Ok(thread::spawn(move || {
            let measured = Mutex::new(histogram());
            while !over.is_set() {
                let Some(key) = consumer.next_key() else { continue };
                if let Some(at) = locked(&sent).remove(&key) {
                    record(&measured, at.elapsed());
                }
            }
            Ok(measured.into_inner().unwrap_or_else(PoisonError::into_inner))
        }))
    }

    fn end(self) -> anyhow::Result<()> {
        self.stop.set();
        let (_, result) = self.running.join().map_err(|_| anyhow!("the run failed"))?;
        result.context("the run between the topics")
    }
}

/// A run between two topics, and what ends it.
fn job(
    args: &KafkaArgs,
    config: Config,
    broker: &str,
    (input, output): (&str, &str),
    clock: Clock,
    progress: &Arc<Progress>,
) -> anyhow::Result<(Job, Stop)> {
    let uri = |topic: &str| format!("kafka://{broker}/{topic}").parse::<Uri>();
    let options = InputOptions { kafka: config.kafka.clone(), ..InputOptions::default() };
    let source = open_source(&uri(input)?, &options)?;
    let (sink, holds) = continue_sink(&uri(output)?, &config.kafka)?;
    let stop = Stop::default();
    let job = Job {
        workers: usize::from(args.workers),
        clock,
        progress: Arc::clone(progress),
        stop: stop.clone(),
        resume: Some(Resume { manifest: None, holds: Arc::new(holds) }),
        ..Job::new(config, vec![Input { source, waits: true }], sink)
    };
    Ok((job, stop))
}

/// The same log file to file, and topic to topic.
fn replay(args: &KafkaArgs, broker: &str, config: &Config, stop: &Stop) -> Result<Vec<Replay>, Failure> {
    let folder = tempfile::tempdir().context("a folder for the files").map_err(Failure::Running)?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let uri = |name: &str| path(name).parse::<Uri>().map_err(connectors::OpenError::from);
    let options = simulator::Options { events: args.replay, ..args.setup.endless()? };
    console::say(&format!("replay of {}", named(&options)));
    let clients = Clients::new(broker).map_err(Failure::Running)?;
    let tag = format!("{}-{}", std::process::id(), now_ms());
    let (input, output) = (format!("bench-replay-{tag}"), format!("bench-replayed-{tag}"));
    let write = || -> anyhow::Result<()> {
        clients.create(&input, PARTITIONS, false)?;
        clients.create(&output, PARTITIONS, true)?;
        let mut lines = open_lines(&uri("in.jsonl")?)?;
        let mut producer = clients.producer()?;
        let mut events = Generator::new(options).map_err(|errors| generate::mistakes(&errors))?;
        while let Some(event) = events.next_event() {
            let event = owned(&event, event.ts);
            lines.write(&event)?;
            producer.send(&input, &event)?;
        }
        lines.close()?;
        producer.flush()
    };
    write().map_err(Failure::Running)?;
    let source = open_source(&uri("in.jsonl")?, &InputOptions::default())?;
    let files = Job::new(config.clone(), vec![Input { source, waits: false }], open_sink(&uri("out.jsonl")?)?);
    let (summary, result) = run(Job { workers: usize::from(args.workers), stop: stop.clone(), ..files });
    result.map_err(|error| Failure::Running(error.into()))?;
    let of = |between, summary: &Summary, seconds: Duration| Replay {
        between,
        events: summary.events,
        seconds: seconds.as_secs_f64(),
        changes: summary.changes,
    };
    let mut replays = vec![of("file to file", &summary, summary.elapsed)];
    let progress = Arc::new(Progress::default());
    let begun = Instant::now();
    let (job, ends) =
        job(args, config.clone(), broker, (&input, &output), Clock::Event, &progress).map_err(Failure::Running)?;
    let running = thread::spawn(move || run(job));
    while progress.events.load(Relaxed) < summary.events && !running.is_finished() && !stop.is_set() {
        thread::sleep(Duration::from_millis(2));
    }
    // Until the comparison is in the topic as well.
    ends.set();
    let (summary, result) = running.join().map_err(|_| Failure::Running(anyhow!("the run failed")))?;
    result.map_err(|error| Failure::Running(error.into()))?;
    replays.push(of("topic to topic", &summary, begun.elapsed()));
    Ok(replays)
}

fn owned(event: &EventRef<'_>, ts: u64) -> Event {
    Event {
        user: event.user.to_owned(),
        item: event.item.to_owned(),
        action: event.action.to_owned(),
        ts,
        dwell_ms: event.dwell_ms,
        room: None,
        text: None,
        id: None,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Hundredths of a second that the machine's cores have worked and rested.
struct Cores {
    busy: u64,
    idle: u64,
}

impl Cores {
    /// The first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
    fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let times: Vec<u64> =
            stat.lines().next()?.split_whitespace().skip(1).map_while(|time| time.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, ..] = times[..] else { return None };
        Some(Cores { busy: user + nice + system + irq + softirq, idle: idle + iowait })
    }

    #[allow(clippy::cast_precision_loss)]
    fn busy_since(&self, before: &Self) -> f64 {
        let (busy, idle) = ((self.busy - before.busy) as f64, self.idle.saturating_sub(before.idle) as f64);
        busy / (busy + idle).max(1.0)
    }
}

/// Microseconds, up to ten minutes.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds and digits that fit")
}

fn record(into: &Mutex<Histogram<u64>>, latency: Duration) {
    locked(into).saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

fn quantiles(of: &Histogram<u64>) -> Quantiles {
    #[allow(clippy::cast_precision_loss)]
    let ms = |us: u64| us as f64 / 1e3;
    let at = |quantile| ms(of.value_at_quantile(quantile));
    Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: ms(of.max()) }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
