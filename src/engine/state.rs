//! Prepares a stateful run: picks the snapshot to resume from, checks it against the configuration, seeks the inputs,
//! reads back the output.

mod compatibility;

use std::sync::Arc;

use anyhow::Context;
use connectors::{Batch, KafkaOptions, OpenError, Sink, SourcePosition, Uri, continue_sink, open_sink};
use serde_json::Value;
use snapshots::{Depth, InputPosition, Manifest, RunId, Store, StoreError, codec};

use super::snapshot::{input_positions, manifest, report_passed_over};
use crate::config::Config;
use crate::engine::{Clock, Input, Interval, Resume, SnapshotSettings, grouped, now, timestamp};
use crate::failure::Failure;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_usage() { Failure::Usage(error.into()) } else { Failure::Running(error.into()) }
    }
}

/// A stateful run, as given on the command line.
pub(crate) struct StatefulRun<'a> {
    pub(crate) config: &'a Config,
    /// Location of the snapshots.
    pub(crate) state: &'a str,
    pub(crate) uris: &'a [Uri],
    pub(crate) output: &'a Uri,
    /// Options that say how records become events: columns, action, conditions.
    pub(crate) records: Value,
    pub(crate) clock: Clock,
    /// Whether to ignore the snapshots and reread the inputs. The output is continued all the same.
    pub(crate) rebuild: bool,
}

/// Opens the output of a run that resumes from no snapshot. A topic is never replaced, and topics as inputs are read
/// before anything is sent.
pub(crate) fn open_output(
    output: &Uri,
    inputs: &[Input],
    kafka: &KafkaOptions,
) -> Result<(Box<dyn Sink>, Option<Resume>), OpenError> {
    if matches!(output, Uri::Kafka(_)) {
        let (sink, sink_state) = continue_sink(output, kafka)?;
        return Ok((sink, Some(Resume { manifest: None, sink_state: Arc::new(sink_state) })));
    }
    let is_live = inputs.iter().any(|input| input.source.is_live());
    Ok((open_sink(output, kafka)?, is_live.then(Resume::default)))
}

/// Whether the store has snapshots of earlier runs.
pub(crate) fn has_snapshots(uri: &str) -> Result<bool, Failure> {
    Ok(!Store::create(uri)?.list(Depth::Sizes)?.is_empty())
}

/// Prepares a stateful run. Opens the output, positioned at its end if the run resumes.
pub(crate) fn prepare(
    run: StatefulRun<'_>,
    inputs: &mut [Input],
) -> Result<(Box<dyn Sink>, Option<Resume>, SnapshotSettings), Failure> {
    let StatefulRun { config, state, uris, output, records, clock, rebuild } = run;
    let codec = codec(&config.state.codec).expect("the configuration accepts only codecs of this build");
    let mut store = Store::create(state)?.with_codec(codec);
    store.claim()?;
    let found = store.newest()?;
    report_passed_over(&found);
    let names: Vec<String> = uris.iter().map(ToString::to_string).collect();
    let compatibility = compatibility::settings(config, &records);
    let is_first = found.next == 1;
    let starts: Vec<SourcePosition> = inputs.iter().map(|input| input.source.position(&Batch::default(), 0)).collect();
    let id = (found.next, RunId::random());
    let empty = manifest(id, 0, compatibility.clone(), input_positions(&names, &starts), 0, Vec::new());
    let mut newest = found.next - 1;
    if is_first || rebuild {
        // The next start must see that it is not the first, or that older snapshots were abandoned, even if this run is
        // killed before its first snapshot.
        store.publish(&empty)?;
        newest = found.next;
    }
    let (sink, resume) = if is_first {
        open_output(output, inputs, &config.kafka)?
    } else {
        let manifest = if let Some(manifest) = found.manifest.filter(|_| !rebuild) {
            compatibility::check(&manifest.compatibility, &compatibility).map_err(Failure::Usage)?;
            seek(&manifest, &names, inputs)?;
            manifest
        } else {
            tracing::warn!(store = store.name(), "no snapshot is used: rereading the inputs from their start");
            empty
        };
        let (sink, sink_state) = continue_sink(output, &config.kafka)?;
        if clock == Clock::Wall {
            check_clock(manifest.time.ms.max(sink_state.at));
        }
        if *output == Uri::Stdio {
            tracing::info!("the lists that stdout received before are unknown: sending all lists");
        }
        (sink, Some(Resume { manifest: Some(Arc::new(manifest)), sink_state: Arc::new(sink_state) }))
    };
    let settings = SnapshotSettings {
        newest,
        store: Arc::new(store),
        interval: Interval::of_ms(config.state.interval),
        keep: config.state.keep,
        compatibility,
        inputs: names,
    };
    Ok((sink, resume, settings))
}

/// Moves each input to its position in the snapshot.
fn seek(manifest: &Manifest, names: &[String], inputs: &mut [Input]) -> Result<(), Failure> {
    tracing::info!(
        snapshot = manifest.sequence,
        taken = %manifest.taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        interactions = manifest.rows,
        time = timestamp(manifest.time.ms).unwrap_or_else(|| "the start".into()),
        "resuming from snapshot"
    );
    let mut unused: Vec<&InputPosition> = manifest.inputs.iter().collect();
    for (name, input) in names.iter().zip(inputs) {
        let Some(at) = unused.iter().position(|saved| saved.name == *name) else {
            tracing::info!(input = name, "input is not in the snapshot: reading it from its start");
            continue;
        };
        let saved = unused.swap_remove(at);
        if name == "-" {
            tracing::info!("stdin cannot be reread: continuing with what arrives now");
            continue;
        }
        let position: SourcePosition = serde_json::from_value(saved.position.clone())
            .with_context(|| format!("snapshot {}: the position of {name} is not readable", manifest.sequence))
            .map_err(Failure::Running)?;
        input.source.resume_at(&position).map_err(|error| Failure::Running(error.into()))?;
    }
    for InputPosition { name, .. } in unused {
        tracing::warn!(input = name, "input of the snapshot was removed: its events are kept until they expire");
    }
    Ok(())
}

/// Warns if the clock is behind `at`: time never goes back, so nothing expires until the clock has caught up.
fn check_clock(at: u64) {
    let behind = at.saturating_sub(now());
    if behind > CLOCK_TOLERANCE {
        tracing::warn!(
            "this machine's clock is {} s behind the newest time in the state or the output ({}). Until it catches up, \
             time stands still, and events older than graph.retention at that time do not count. If the clock was wrong \
             when they were written, delete the manifests from then on to go back to an earlier snapshot, or add \
             --rebuild, with another --output",
            grouped(behind / 1_000),
            timestamp(at).unwrap_or_else(|| format!("{at} ms")),
        );
    }
}

/// Clock corrections up to this many milliseconds are normal and not reported.
const CLOCK_TOLERANCE: u64 = 60_000;
