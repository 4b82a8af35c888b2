//! What is to be done before a run that keeps its state: find the snapshot to go on from, see that it fits this
//! configuration, move the inputs to where they go on, and look at what the output holds.

mod compatibility;

use std::sync::Arc;

use anyhow::Context;
use connectors::{Batch, KafkaOptions, OpenError, Sink, SourcePosition, Uri, continue_sink, open_sink};
use jiff::Timestamp;
use serde_json::{Map, Value};
use snapshots::{InputPosition, Manifest, RunId, Store, Time, codec};

use crate::config::Config;
use crate::engine::{Clock, Input, Interval, Resume, State, grouped, now, positions, timestamp};
use crate::failure::Failure;

/// How a run with a state begins.
pub(crate) struct Begun {
    pub(crate) state: State,
    /// The output, behind what it holds.
    pub(crate) output: Box<dyn Sink>,
    pub(crate) resume: Option<Resume>,
}

/// Opens the output of a run that goes on from no snapshot. A topic is never replaced, and topics as inputs are read before
/// anything is sent.
pub(crate) fn open_output(
    output: &Uri,
    inputs: &[Input],
    kafka: &KafkaOptions,
) -> Result<(Box<dyn Sink>, Option<Resume>), OpenError> {
    if matches!(output, Uri::Kafka(_)) {
        let (sink, holds) = continue_sink(output, kafka)?;
        return Ok((sink, Some(Resume { manifest: None, holds: Arc::new(holds) })));
    }
    let is_live = inputs.iter().any(|input| input.source.is_live());
    Ok((open_sink(output, kafka)?, is_live.then(Resume::default)))
}

/// Whether snapshots of earlier runs are there.
pub(crate) fn is_continued(uri: &str) -> Result<bool, Failure> {
    let store = Store::create(uri).map_err(failure)?;
    let listed = store.list(snapshots::Depth::Sizes).map_err(failure)?;
    Ok(!listed.is_empty())
}

/// What the command line says of a run that keeps a state.
pub(crate) struct Asked<'a> {
    pub(crate) config: &'a Config,
    /// Location of the snapshots.
    pub(crate) state: &'a str,
    pub(crate) uris: &'a [Uri],
    pub(crate) output: &'a Uri,
    /// How records become events, as it was given: columns, action, conditions.
    pub(crate) records: Value,
    pub(crate) clock: Clock,
    /// The snapshots are left alone and everything is read again; the output is continued all the same.
    pub(crate) rebuild: bool,
}

/// Prepares a run with a state.
pub(crate) fn begin(asked: Asked<'_>, inputs: &mut [Input]) -> Result<Begun, Failure> {
    let Asked { config, state, uris, output, records, clock, rebuild } = asked;
    let codec = codec(&config.state.codec).expect("the configuration takes only codecs of this build");
    let mut store = Store::create(state).map_err(failure)?.with_codec(codec);
    store.claim().map_err(failure)?;
    let found = store.newest().map_err(failure)?;
    for damage in &found.damaged {
        tracing::warn!("snapshot {} is not used: {}: {}", damage.sequence, damage.file, damage.what);
    }
    let names: Vec<String> = uris.iter().map(ToString::to_string).collect();
    let meaning = compatibility::settings(config, &records);
    let starts: Vec<SourcePosition> = inputs.iter().map(|input| input.source.position(&Batch::default(), 0)).collect();
    let nothing = empty(found.next, &meaning, positions(&names, &starts));
    let is_first = found.next == 1;
    let begins_anew = is_first || rebuild;
    if begins_anew {
        // So that the next start knows that it is not the first, or what was left behind, even if this one is killed before
        // its first snapshot.
        store.publish(&nothing).map_err(failure)?;
    }
    let newest = if begins_anew { found.next } else { found.next - 1 };
    let resume = if is_first {
        None
    } else {
        Some(resume(&store, found.manifest.filter(|_| !rebuild), nothing, &meaning, &names, inputs)?)
    };
    let (sink, resume) = match resume {
        None => open_output(output, inputs, &config.kafka)?,
        Some(manifest) => {
            let (sink, holds) = continue_sink(output, &config.kafka)?;
            if clock == Clock::Wall {
                check_clock(manifest.time.ms.max(holds.at));
            }
            if *output == Uri::Stdio {
                tracing::info!("what stdout was told before is not known: all lists are sent");
            }
            (sink, Some(Resume { manifest: Some(Arc::new(manifest)), holds: Arc::new(holds) }))
        }
    };
    let state = State {
        newest,
        store: Arc::new(store),
        interval: Interval::of_ms(config.state.interval),
        keep: config.state.keep,
        meaning,
        inputs: names,
    };
    Ok(Begun { state, output: sink, resume })
}

/// The snapshot to go on from, with the inputs moved to where they go on; nothing at all if there is none.
fn resume(
    store: &Store,
    manifest: Option<Manifest>,
    nothing: Manifest,
    meaning: &Map<String, Value>,
    names: &[String],
    inputs: &mut [Input],
) -> Result<Manifest, Failure> {
    let Some(manifest) = manifest else {
        tracing::warn!(
            "no snapshot in {} is used: everything is read again from the start of the inputs",
            store.name()
        );
        return Ok(nothing);
    };
    compatibility::check(&manifest.meaning, meaning).map_err(Failure::Usage)?;
    tracing::info!(
        "goes on from snapshot {} of {}: {} interactions as of {}",
        manifest.sequence,
        manifest.taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        grouped(manifest.rows),
        timestamp(manifest.time.ms).unwrap_or_else(|| "the start".into()),
    );
    let mut left: Vec<&InputPosition> = manifest.inputs.iter().collect();
    for (name, input) in names.iter().zip(inputs) {
        let Some(at) = left.iter().position(|known| known.name == *name) else {
            tracing::info!("input {name} is not in the snapshot: it is read from its start");
            continue;
        };
        let known = left.swap_remove(at);
        if name == "-" {
            tracing::info!("stdin goes on with whatever comes now");
            continue;
        }
        let position: SourcePosition = serde_json::from_value(known.position.clone())
            .with_context(|| format!("snapshot {}: where {name} goes on is not readable", manifest.sequence))
            .map_err(Failure::Running)?;
        input.source.resume_at(&position).map_err(|error| Failure::Running(error.into()))?;
    }
    for gone in left {
        tracing::warn!(
            "input {} of the snapshot is no input any more: what it had is kept until it expires",
            gone.name
        );
    }
    Ok(manifest)
}

/// Time never goes back, so a clock that was ahead once holds up everything until it is that late.
fn check_clock(at: u64) {
    let ahead = at.saturating_sub(now());
    if ahead > AHEAD {
        tracing::warn!(
            "this machine's clock is {} s behind the time up to which the state or the output goes ({}): until then time \
             stands still, and events older than graph.retention by that time do not count. If the clock was wrong when \
             they were written, go back to a snapshot from before (delete the later manifests) or add --rebuild, with \
             another --output",
            grouped(ahead / 1_000),
            timestamp(at).unwrap_or_else(|| format!("{at} ms")),
        );
    }
}

/// Clocks are set back by less than this, in ms, without a word.
const AHEAD: u64 = 60_000;

/// A snapshot of nothing, before the first event.
fn empty(sequence: u64, meaning: &Map<String, Value>, inputs: Vec<InputPosition>) -> Manifest {
    Manifest {
        version: Manifest::VERSION,
        deltarec: env!("CARGO_PKG_VERSION").into(),
        sequence,
        run: RunId::random(),
        taken: Timestamp::now(),
        time: Time { ms: 0, sequence: 0 },
        meaning: meaning.clone(),
        inputs,
        output: None,
        workers: 0,
        rows: 0,
        groups: Vec::new(),
    }
}

fn failure(error: snapshots::StoreError) -> Failure {
    if error.is_usage() { Failure::Usage(error.into()) } else { Failure::Running(error.into()) }
}
