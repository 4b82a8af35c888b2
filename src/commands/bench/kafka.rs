//! `deltarec bench kafka`: latency from the scheduled production of an event to the consumption of its change, next to the
//! round trip of the broker alone; and a replay between topics next to one between files.

mod clients;

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use clap::Args;
use connectors::{Delivery, InputOptions, Uri, continue_sink, open_lines, open_sink, open_source};
use schema::Event;
use serde::Serialize;
use simulator::{EventRef, Generator, Options};

use self::clients::Clients;
use super::audience::AudienceShare;
use super::histogram::{LatencyHistogram, Percentiles};
use super::{CommonArgs, check_writable, describe, rounded};
use crate::commands::simulation::generator;
use crate::commands::table::{Table, say};
use crate::config::Config;
use crate::console;
use crate::engine::{Clock, Input, Job, Progress, Resume, RunError, Summary, run};
use crate::environment;
use crate::failure::Failure;
use crate::proc::MachineTime;
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = "\
Examples:
  eval \"$(scripts/kafka start)\"
  deltarec bench kafka
  deltarec bench kafka --users 10000 --items 2000 --rates 1000,10000 --seconds 30 --json kafka.json

One event in ten is a probe: a new user views an item with many events. The list of a new user results from that event \
alone, so the consumer can match a change with its event. Latency is measured from the schedule (open loop). `effects of \
others` is how long what other viewers did waits until a list follows. `busy` is the share of all cores in use \
by all processes, including the broker. A broker that has just started compiles its code for half a minute: warm it up.";

#[derive(Debug, Args)]
pub(super) struct KafkaArgs {
    /// Address of the broker [default: the environment variable `DELTAREC_KAFKA`]
    #[arg(long, value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Events per second
    #[arg(long, value_delimiter = ',', default_value = "1000,10000", value_name = "RATE,...")]
    rates: Vec<u64>,
    /// Seconds of each rate that are recorded
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Warm-up of each rate in seconds, not recorded
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    warm_up: u64,
    /// Users in the audience at each rate, beside the probes: a share of all users, or `all`
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    audience: AudienceShare,
    /// Events loaded before each rate, with timestamps spaced at that rate
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    preload: u64,
    /// Events of the replay between topics and between files; 0 for no replay
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    replay: u64,
    /// Worker threads
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    #[command(flatten)]
    common: CommonArgs,
}

/// Result of one rate.
#[derive(Debug, Serialize)]
struct KafkaStep {
    delivery: &'static str,
    rate: u64,
    /// Number of recorded probes.
    probes: u64,
    /// Number of probes with a change at the consumer.
    arrived: u64,
    /// Changed lists per second.
    changes: u64,
    /// Users in the audience at the end, probes included.
    audience: u64,
    /// Share of the cores of the machine in use by all processes.
    busy: Option<f64>,
    change_ms: KafkaLatency,
    /// How long the effects of others waited until a list followed.
    others_ms: KafkaLatency,
    broker_ms: KafkaLatency,
}

#[derive(Debug, Serialize)]
struct KafkaLatency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct ReplayRun {
    between: &'static str,
    events: u64,
    seconds: f64,
    changes: u64,
}

const PARTITIONS: i32 = 8;
/// Time without an arrival after which the remaining probes are given up.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// One event in this many is a probe.
const PROBE_INTERVAL: u64 = 10;
/// Events of an item after which it has similar items, so that a probe gets a list.
const MIN_ITEM_EVENTS: u32 = 20;
/// Records per second of the round-trip measurement.
const ECHO_RATE: u64 = 200;

/// Runs each rate with both kinds of delivery, then the replay, and prints the tables.
pub(super) fn main(args: &KafkaArgs, stop: &Stop) -> Result<(), Failure> {
    check_writable([&args.common.json])?;
    let broker = args.broker.clone().or_else(|| environment::text("DELTAREC_KAFKA")).ok_or_else(|| {
        Failure::Usage(anyhow!("no broker: give --broker HOST:PORT, or start one with eval \"$(scripts/kafka start)\""))
    })?;
    let options = args.common.endless()?;
    let config = args.common.config()?;
    let mut steps = Vec::new();
    let mut replays = Vec::new();
    for (delivery, name) in [(Delivery::Transactional, "transactional"), (Delivery::Idempotent, "idempotent")] {
        for rate in args.rates.iter().copied().take_while(|_| !stop.is_set()) {
            // The simulation's rate sets the time of its events, and so the span in which the audience acts.
            let options = Options { rate, ..options.clone() };
            let span = args.audience.span(&options, &config, args.preload)?;
            if span.is_some_and(|span| span * rate / 1_000 > args.preload) {
                return Err(Failure::Usage(anyhow!(
                    "--preload {} has too few events for --audience {} at {rate} events/s: raise it or lower the audience",
                    args.preload,
                    args.audience
                )));
            }
            let mut config = args.common.with_audience(span)?;
            config.kafka.delivery = delivery;
            let mut live = LiveRun::start(args, &options, &broker, &config, stop).map_err(Failure::Running)?;
            let step = live.measure(rate, args, name, stop).map_err(Failure::Running)?;
            live.finish().map_err(Failure::Running)?;
            let Some(step) = step else { break };
            console::say(&format!(
                "{name}, {} events/s: p50 {:.2} ms, p99 {:.2} ms",
                step.rate, step.change_ms.p50, step.change_ms.p99
            ));
            steps.push(step);
        }
    }
    if args.replay > 0 && !stop.is_set() {
        replays = replay(args, &broker, &config, stop)?;
    }
    print_tables(&steps, &replays)?;
    args.common.report("kafka", &options, &serde_json::json!({ "latency": steps, "replay": replays }))
}

fn print_tables(steps: &[KafkaStep], replays: &[ReplayRun]) -> Result<(), Failure> {
    let columns = "delivery|events/s|what|p50 ms|p90|p99|p99.9|max|probes|changes/s|audience|busy";
    let mut table = Table::new(columns.split('|'));
    for step in steps {
        for (what, latency) in [
            ("event to own change", &step.change_ms),
            ("effects of others", &step.others_ms),
            ("broker alone", &step.broker_ms),
        ] {
            let KafkaLatency { p50, p90, p99, p999, max } = latency;
            let quantiles = [p50, p90, p99, p999, max].map(|ms| format!("{ms:.2}"));
            let more = if what == "event to own change" {
                let busy = step.busy.map(|busy| format!("{:.0}%", busy * 100.0)).unwrap_or_default();
                let probes = format!("{} of {}", step.arrived, step.probes);
                [probes, step.changes.to_string(), step.audience.to_string(), busy]
            } else {
                Default::default()
            };
            table.row(
                [step.delivery.into(), step.rate.to_string(), what.into()].into_iter().chain(quantiles).chain(more),
            );
        }
    }
    say(&table.to_string())?;
    if let [files, topics] = replays {
        let mut table = Table::new(["replay", "events", "seconds", "events/s", "changes", "ratio"]);
        #[allow(clippy::cast_precision_loss)]
        let rate = |replay: &ReplayRun| replay.events as f64 / replay.seconds;
        for replay in [files, topics] {
            table.row([
                replay.between.to_owned(),
                replay.events.to_string(),
                format!("{:.1}", replay.seconds),
                rounded(rate(replay)),
                replay.changes.to_string(),
                format!("{:.2}", rate(replay) / rate(files)),
            ]);
        }
        say(&table.to_string())?;
    }
    Ok(())
}

/// A run between two topics, with its producer and its consumer.
struct LiveRun {
    clients: Clients,
    events: Generator,
    input: String,
    echo: String,
    running: JoinHandle<(Summary, Result<(), RunError>)>,
    progress: Arc<Progress>,
    stop: Stop,
    /// Number of preloaded events by item.
    item_events: HashMap<String, u32>,
    /// Scheduled time of the probes that have not arrived.
    due: Arc<Mutex<HashMap<String, Instant>>>,
    latencies: Arc<Mutex<LatencyHistogram>>,
    probes: u64,
}

impl LiveRun {
    fn start(args: &KafkaArgs, options: &Options, broker: &str, config: &Config, stop: &Stop) -> anyhow::Result<Self> {
        let clients = Clients::new(broker)?;
        let tag = format!("{}-{}", std::process::id(), now_ms());
        let topic = |what: &str| format!("bench-{what}-{tag}");
        let (input, output, echo) = (topic("events"), topic("lists"), topic("echo"));
        for name in [&input, &output, &echo] {
            clients.create(name, PARTITIONS, name == &output)?;
        }
        let mut events = generator(options.clone())?;
        let mut producer = clients.producer()?;
        let mut item_events = HashMap::new();
        let start = now_ms();
        for left in (0..args.preload).rev() {
            let Some(event) = events.next_event() else { break };
            *item_events.entry(event.item.to_owned()).or_insert(0) += 1;
            let age = left * 1_000 / options.rate.max(1);
            producer.send(&input, &owned(&event, start - age.min(config.graph.retention / 2)))?;
        }
        producer.flush()?;
        let progress = Arc::new(Progress::default());
        let (job, run_stop) = job(args, config.clone(), broker, (&input, &output), Clock::Wall, &progress)?;
        let running = thread::spawn(move || run(job));
        while progress.completed.load(Relaxed) < args.preload && !running.is_finished() && !stop.is_set() {
            thread::sleep(Duration::from_millis(20));
        }
        let due: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let latencies: Arc<Mutex<LatencyHistogram>> = Arc::default();
        let (pending, recorder, consumer) = (Arc::clone(&due), Arc::clone(&latencies), clients.consumer(&output)?);
        let stopped = run_stop.clone();
        thread::spawn(move || {
            while !stopped.is_set() {
                let Some(key) = consumer.next_key() else { continue };
                let arrived = Instant::now();
                if let Some(due) = locked(&pending).remove(&key) {
                    locked(&recorder).record(arrived.saturating_duration_since(due));
                }
            }
        });
        Ok(LiveRun {
            clients,
            events,
            input,
            echo,
            running,
            progress,
            stop: run_stop,
            item_events,
            due,
            latencies,
            probes: 0,
        })
    }

    /// Produces events at a fixed rate, each when it is due, whether or not the run keeps up.
    /// `None` if it was stopped.
    fn measure(
        &mut self,
        rate: u64,
        args: &KafkaArgs,
        delivery: &'static str,
        stop: &Stop,
    ) -> anyhow::Result<Option<KafkaStep>> {
        let echo_stop = Stop::default();
        let echo = self.start_echo(Duration::from_secs(args.warm_up), &echo_stop)?;
        let mut producer = self.clients.producer()?;
        let (start, first) = (Instant::now(), rate * args.warm_up);
        let (mut changes, mut time) = (0, None);
        let mut probes = 0;
        let mut item = String::new();
        for number in (0..first + rate * args.seconds).take_while(|_| !stop.is_set()) {
            if number == first {
                (changes, time) = (self.progress.changes.load(Relaxed), MachineTime::now());
                self.progress.waits.reset();
            }
            let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
            while Instant::now() < due {
                producer.poll();
                let left = due.saturating_duration_since(Instant::now());
                thread::sleep(left.min(Duration::from_millis(1)));
            }
            let ts = now_ms();
            if number % PROBE_INTERVAL == PROBE_INTERVAL - 1 && !item.is_empty() {
                self.probes += 1;
                let user = format!("probe-{}", self.probes);
                if number >= first {
                    probes += 1;
                    locked(&self.due).insert(user.clone(), due);
                }
                producer.send(&self.input, &event(&user, &item, "click", ts, None))?;
            } else if let Some(event) = self.events.next_event() {
                let event = owned(&event, ts);
                if self.item_events.get(&event.item).is_some_and(|events| *events >= MIN_ITEM_EVENTS) {
                    item.clone_from(&event.item);
                }
                producer.send(&self.input, &event)?;
            }
        }
        producer.flush()?;
        let busy = time.zip(MachineTime::now()).map(|(before, now)| now.busy_since(&before));
        let (changes, audience) = (self.progress.changes.load(Relaxed) - changes, self.progress.audience.load(Relaxed));
        let others = Percentiles::of(&self.progress.waits.take(), 1.0);
        if !stop.is_set() {
            self.wait_for_probes();
        }
        echo_stop.set();
        let broker = echo.join().map_err(|_| anyhow!("the round-trip thread panicked"))?;
        let latencies = locked(&self.latencies);
        Ok((!stop.is_set()).then(|| KafkaStep {
            delivery,
            rate,
            probes,
            arrived: latencies.count(),
            changes: changes / args.seconds,
            audience,
            busy,
            change_ms: KafkaLatency::of(&latencies.percentiles()),
            others_ms: KafkaLatency::of(&others),
            broker_ms: KafkaLatency::of(&broker.percentiles()),
        }))
    }

    /// Waits while probes arrive, so that a run that is behind is measured to its end. Probes of items without similar items
    /// never arrive.
    fn wait_for_probes(&self) {
        let (mut pending, mut since) = (locked(&self.due).len(), Instant::now());
        while pending > 0 && since.elapsed() < PROBE_TIMEOUT {
            thread::sleep(Duration::from_millis(20));
            let now = locked(&self.due).len();
            if now < pending {
                (pending, since) = (now, Instant::now());
            }
        }
    }

    /// Measures the round trip of the broker meanwhile, with the same acknowledgements.
    fn start_echo(&self, warm_up: Duration, stop: &Stop) -> anyhow::Result<JoinHandle<LatencyHistogram>> {
        let producer = self.clients.producer()?;
        let consumer = self.clients.consumer(&self.echo)?;
        let (topic, stop) = (self.echo.clone(), stop.clone());
        let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let (pending, stopped) = (Arc::clone(&sent), stop.clone());
        thread::spawn(move || {
            let mut number = 0_u64;
            while !stopped.is_set() {
                let key = number.to_string();
                locked(&pending).insert(key.clone(), Instant::now());
                if producer.send_key(&topic, &key).is_err() {
                    break;
                }
                producer.poll();
                number += 1;
                thread::sleep(Duration::from_nanos(1_000_000_000 / ECHO_RATE));
            }
        });
        Ok(thread::spawn(move || {
            let mut latencies = LatencyHistogram::default();
            let started = Instant::now();
            while !stop.is_set() {
                let Some(key) = consumer.next_key() else { continue };
                if let Some(at) = locked(&sent).remove(&key)
                    && started.elapsed() > warm_up
                {
                    latencies.record(at.elapsed());
                }
            }
            latencies
        }))
    }

    fn finish(self) -> anyhow::Result<()> {
        self.stop.set();
        let (_, result) = self.running.join().map_err(|_| anyhow!("the run panicked"))?;
        result.context("the run between the topics failed")
    }
}

/// A run between two topics, and the flag that stops it.
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
    let (sink, sink_state) = continue_sink(&uri(output)?, &config.kafka)?;
    let stop = Stop::default();
    let job = Job {
        workers: usize::from(args.workers),
        clock,
        progress: Arc::clone(progress),
        stop: stop.clone(),
        resume: Some(Resume { manifest: None, sink_state: Arc::new(sink_state) }),
        ..Job::new(config, vec![Input { source, waits: true }], sink)
    };
    Ok((job, stop))
}

/// Replays the same log from file to file and from topic to topic.
fn replay(args: &KafkaArgs, broker: &str, config: &Config, stop: &Stop) -> Result<Vec<ReplayRun>, Failure> {
    let folder = tempfile::tempdir().context("cannot create a folder for the files").map_err(Failure::Running)?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let uri = |name: &str| path(name).parse::<Uri>().map_err(connectors::OpenError::from);
    let options = Options { events: args.replay, ..args.common.endless()? };
    console::say(&format!("replay of {}", describe(&options)));
    let clients = Clients::new(broker).map_err(Failure::Running)?;
    let tag = format!("{}-{}", std::process::id(), now_ms());
    let (input, output) = (format!("bench-replay-{tag}"), format!("bench-replayed-{tag}"));
    let write = || -> anyhow::Result<()> {
        clients.create(&input, PARTITIONS, false)?;
        clients.create(&output, PARTITIONS, true)?;
        let mut lines = open_lines(&uri("in.jsonl")?)?;
        let mut producer = clients.producer()?;
        let mut events = generator(options)?;
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
    let files =
        Job::new(config.clone(), vec![Input { source, waits: false }], open_sink(&uri("out.jsonl")?, &config.kafka)?);
    let (summary, result) = run(Job { workers: usize::from(args.workers), stop: stop.clone(), ..files });
    result?;
    let replay = |between, summary: &Summary, elapsed: Duration| ReplayRun {
        between,
        events: summary.events,
        seconds: elapsed.as_secs_f64(),
        changes: summary.changes,
    };
    let files = replay("file to file", &summary, summary.elapsed);
    let progress = Arc::new(Progress::default());
    let start = Instant::now();
    let (job, run_stop) =
        job(args, config.clone(), broker, (&input, &output), Clock::Event, &progress).map_err(Failure::Running)?;
    let running = thread::spawn(move || run(job));
    while progress.events.load(Relaxed) < summary.events && !running.is_finished() && !stop.is_set() {
        thread::sleep(Duration::from_millis(2));
    }
    // The time includes the flush to the output topic.
    run_stop.set();
    let (summary, result) = running.join().map_err(|_| Failure::Running(anyhow!("the run panicked")))?;
    result?;
    Ok(vec![files, replay("topic to topic", &summary, start.elapsed())])
}

/// A simulated event at another time.
fn owned(event: &EventRef<'_>, ts: u64) -> Event {
    self::event(event.user, event.item, event.action, ts, event.dwell_ms)
}

fn event(user: &str, item: &str, action: &str, ts: u64, dwell_ms: Option<i64>) -> Event {
    let (user, item, action) = (user.to_owned(), item.to_owned(), action.to_owned());
    Event { user, item, action, ts, dwell_ms, room: None, text: None, id: None }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl KafkaLatency {
    fn of(percentiles: &Percentiles) -> Self {
        let Percentiles { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = *percentiles;
        KafkaLatency { p50: p50_ms, p90: p90_ms, p99: p99_ms, p999: p999_ms, max: max_ms }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
