//! Prepares a stateful run: picks the snapshot to resume from, checks it against the configuration, seeks the inputs,
//! reads back the output.

mod compatibility;

use std::sync::Arc;

use anyhow::{Context, anyhow};
use connectors::{
    Batch, CatalogueRecord, ControlRecords, InputOptions, InputUri, OpenError, OutputClaim, Record, Sink,
    SourcePosition, Uri, begins_as_before,
};
use schema::{IdKey, MAX_TS, shown};
use serde_json::Value;
use snapshots::{InputPosition, Manifest, RunId, Store, StoreError, codec};

use super::snapshot::{Files, input_positions, manifest, report_passed_over};
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
    /// The inputs with their own options.
    pub(crate) named: &'a [InputUri],
    /// The options of all inputs.
    pub(crate) defaults: &'a InputOptions,
    pub(crate) catalogue: OtherInputs<'a, CatalogueRecord>,
    pub(crate) controls: OtherInputs<'a, ControlRecords>,
    /// Options that say how records become events: columns, action, conditions.
    pub(crate) records: Value,
    pub(crate) ids: IdKey,
    pub(crate) clock: Clock,
    /// Whether to ignore the snapshots and reread the inputs. The output is continued all the same.
    pub(crate) rebuild: bool,
}

/// Inputs of another kind of record than events, as given on the command line.
pub(crate) struct OtherInputs<'a, R: Record> {
    /// What the records are, for messages.
    pub(crate) what: &'static str,
    pub(crate) named: &'a [Uri],
    /// Opens one of the inputs again.
    pub(crate) reopen: &'a dyn Fn(usize) -> Result<Input<R>, Failure>,
}

/// Opens the output of a run that resumes from no snapshot. A topic is never replaced, and topics as inputs are read
/// before anything is sent.
pub(crate) fn open_output(output: OutputClaim, inputs: &[Input]) -> Result<(Box<dyn Sink>, Option<Resume>), OpenError> {
    if output.is_topic() {
        let (sink, sink_state) = output.resume()?;
        return Ok((sink, Some(Resume { manifest: None, sink_state: Arc::new(sink_state) })));
    }
    let is_live = inputs.iter().any(|input| input.source.is_live());
    Ok((output.open()?, is_live.then(Resume::default)))
}

/// Opens the store of the snapshots and keeps other runs out of it.
pub(crate) fn claim(uri: &str, config: &Config, ids: IdKey) -> Result<Store, Failure> {
    let codec = codec(&config.state.codec).expect("the configuration accepts only codecs of this build");
    let mut store = Store::create(uri)?.with_codec(codec).with_ids(ids);
    store.claim()?;
    Ok(store)
}

/// A stateful run whose snapshot is found and whose inputs are at their positions. Nothing is written yet.
pub(crate) struct Prepared {
    settings: SnapshotSettings,
    /// Whether the store has no snapshot, whole or damaged.
    is_first: bool,
    /// The snapshot to resume from, if there is one.
    manifest: Option<Manifest>,
    /// The snapshot before any event.
    empty: Manifest,
    clock: Clock,
}

/// Finds the snapshot to resume from, checks it against the configuration, and seeks the inputs.
pub(crate) fn prepare(
    run: &StatefulRun<'_>,
    store: Store,
    inputs: &mut [Input],
    catalogue: &mut [Input<CatalogueRecord>],
    controls: &mut [Input<ControlRecords>],
) -> Result<Prepared, Failure> {
    let &StatefulRun { config, named, defaults, ref records, ids, clock, rebuild, .. } = run;
    let found = store.newest_accepted(check_positions)?;
    report_passed_over(&found);
    // `next` is above everything that there is or was.
    if found.manifest.is_none() && found.next > 1 && !rebuild {
        return Err(Failure::Usage(anyhow!(
            "{}: there were snapshots, and none can be used (see above): restore the files from a copy, or add --rebuild to read \
             all inputs from their start",
            store.name()
        )));
    }
    let names: Vec<String> = named.iter().map(|input| input.uri.to_string()).collect();
    let compatibility = compatibility::settings(config, records, ids);
    let starts: Vec<SourcePosition> = inputs.iter().map(|input| input.source.position(&Batch::default(), 0)).collect();
    let id = (found.next, RunId::random());
    let empty = manifest(id, 0, compatibility.clone(), input_positions(&names, &starts), 0, Files::new());
    let manifest = found.manifest.filter(|_| !rebuild);
    if let Some(manifest) = &manifest {
        compatibility::check(&manifest.compatibility, &compatibility).map_err(Failure::Usage)?;
        seek(manifest, named, defaults, &names, inputs)?;
        run.catalogue.seek(manifest.sequence, &manifest.catalogue_inputs, catalogue)?;
        run.controls.seek(manifest.sequence, &manifest.control_inputs, controls)?;
    }
    let settings = SnapshotSettings {
        newest: found.next - 1,
        store: Arc::new(store),
        interval: Interval::of_ms(config.state.interval),
        keep: config.state.keep,
        compatibility,
        inputs: names,
        catalogue: run.catalogue.named.iter().map(ToString::to_string).collect(),
        controls: run.controls.named.iter().map(ToString::to_string).collect(),
    };
    Ok(Prepared { settings, is_first: found.next == 1, manifest, empty, clock })
}

impl Prepared {
    /// Whether there were runs before, whose outputs are continued.
    pub(crate) fn continues(&self) -> bool {
        !self.is_first
    }

    /// Opens the output, positioned at its end if the run continues earlier ones.
    pub(crate) fn open(
        self,
        output: OutputClaim,
        inputs: &[Input],
    ) -> Result<(Box<dyn Sink>, Option<Resume>, SnapshotSettings), Failure> {
        let Prepared { mut settings, is_first, manifest, empty, clock } = self;
        if manifest.is_none() {
            // The next start must see that it is not the first, or that older snapshots were abandoned, even if this run is
            // killed before its first snapshot.
            settings.store.publish(&empty)?;
            settings.newest = empty.sequence;
        }
        if is_first {
            let (sink, resume) = open_output(output, inputs)?;
            return Ok((sink, resume, settings));
        }
        let manifest = manifest.unwrap_or_else(|| {
            let store = settings.store.name();
            tracing::warn!(store, "no snapshot is used: rereading the inputs from their start");
            empty
        });
        let is_readable = output.is_readable();
        let (sink, sink_state) = output.resume()?;
        if clock == Clock::Wall {
            check_clock(manifest.time.ms.max(sink_state.at));
        }
        if !is_readable {
            tracing::info!("the lists that {} received before are unknown: sending all lists", sink.name());
        }
        let resume = Resume { manifest: Some(Arc::new(manifest)), sink_state: Arc::new(sink_state) };
        Ok((sink, Some(resume), settings))
    }
}

/// Checks the positions of the inputs, which the store does not understand.
fn check_positions(manifest: &Manifest) -> Result<(), String> {
    for InputPosition { name, position } in
        manifest.inputs.iter().chain(&manifest.catalogue_inputs).chain(&manifest.control_inputs)
    {
        let position: SourcePosition = serde_json::from_value(position.clone())
            .map_err(|error| format!("the position of {} is not readable: {error}", shown(name)))?;
        let is_possible = match &position {
            SourcePosition::Line { line, byte, .. } => (1..=MAX_TS).contains(line) && *byte <= MAX_TS,
            SourcePosition::Partitions { offsets, .. } => {
                offsets.iter().all(|(partition, offset)| *partition >= 0 && (0..i64::MAX).contains(offset))
            }
        };
        if !is_possible {
            return Err(format!("no input can have the position of {}", shown(name)));
        }
    }
    Ok(())
}

/// Moves each input to its position in the snapshot. A file is known by its contents: one that was renamed resumes
/// where it was, and another file under its name is read from the start if the old one is among the inputs too. The
/// rest of an input must be read as its start was.
fn seek(
    manifest: &Manifest,
    named: &[InputUri],
    defaults: &InputOptions,
    names: &[String],
    inputs: &mut [Input],
) -> Result<(), Failure> {
    tracing::info!(
        snapshot = manifest.sequence,
        taken = %manifest.taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        interactions = manifest.rows,
        time = timestamp(manifest.time.ms).unwrap_or_else(|| "the start".into()),
        "resuming from snapshot"
    );
    let mut resumed = vec![false; inputs.len()];
    // An input is known by its contents, or by its name where there are none to compare.
    let is_of = |input: usize, name: &str, position: &SourcePosition| {
        begins_as_before(&named[input].uri, position).unwrap_or(names[input] == name)
    };
    let is_read_as = |input: usize, before: &str| {
        before.parse().is_ok_and(|before: InputUri| before.reads_as(&named[input], defaults))
    };
    let mut moved: Vec<(&str, String, SourcePosition)> = Vec::new();
    for (InputPosition { name, position }, before) in manifest.inputs.iter().zip(compatibility::inputs(manifest)) {
        let position: SourcePosition = serde_json::from_value(position.clone())
            .with_context(|| format!("snapshot {}: the position of {name} is not readable", manifest.sequence))
            .map_err(Failure::Running)?;
        // An input may be given twice, also with other options.
        let mut left = (0..inputs.len()).filter(|input| names[*input] == *name && !resumed[*input]);
        if let Some(input) = left.find(|input| is_of(*input, name, &position) && is_read_as(*input, &before)) {
            resumed[input] = true;
            resume(name, &mut inputs[input], &position)?;
        } else {
            moved.push((name, before, position));
        }
    }
    for (name, before, position) in moved {
        let left: Vec<usize> = (0..inputs.len()).filter(|input| !resumed[*input]).collect();
        let found: Vec<usize> = left.iter().copied().filter(|input| is_of(*input, name, &position)).collect();
        if let Some(&input) = found.iter().find(|input| is_read_as(**input, &before)) {
            tracing::info!(input = names[input], "resuming in the file that was {name}");
            resumed[input] = true;
            resume(&names[input], &mut inputs[input], &position)?;
        } else if let Some(&input) = found.first() {
            return Err(Failure::Usage(compatibility::read_otherwise(name, &before, &named[input])));
        } else if let Some(new) = left.iter().find(|input| names[**input] == name).map(|input| &named[*input]) {
            return Err(Failure::Usage(anyhow!(
                "{name} is not the file that was read before: its first bytes differ. If that file was renamed or rotated, \
                 name it too, under its new name (--input OLD --input {new}): what is left in it is read, and the new \
                 one from its start. If it was read to its end and is gone, rename the new file. Or add --rebuild to read \
                 all inputs from their start"
            )));
        } else {
            tracing::warn!(input = name, "input of the snapshot was removed: its events are kept until they expire");
        }
    }
    for (name, _) in names.iter().zip(resumed).filter(|(_, resumed)| !resumed) {
        tracing::info!(input = name, "input is not in the snapshot: reading it from its start");
    }
    Ok(())
}

impl<R: Record> OtherInputs<'_, R> {
    /// Moves each input to its position in the snapshot with this number. One that is not what it was, such as a new export
    /// under the same name, is read from its start: what it states again changes nothing.
    fn seek(&self, sequence: u64, positions: &[InputPosition], inputs: &mut [Input<R>]) -> Result<(), Failure> {
        let OtherInputs { what, named, reopen } = self;
        let mut resumed = vec![false; inputs.len()];
        for InputPosition { name, position } in positions {
            let position: SourcePosition = serde_json::from_value(position.clone())
                .with_context(|| format!("snapshot {sequence}: the position of {name} is not readable"))
                .map_err(Failure::Running)?;
            let is_of = |input: &usize| {
                let uri = &named[*input];
                !resumed[*input] && begins_as_before(uri, &position).unwrap_or(uri.to_string() == *name)
            };
            let Some(input) = (0..inputs.len()).find(is_of) else {
                tracing::info!(input = name, "input of {what} is gone or replaced: its records stay");
                continue;
            };
            match resume(name, &mut inputs[input], &position) {
                Err(Failure::Usage(_)) => inputs[input] = reopen(input)?,
                done => {
                    done?;
                    resumed[input] = true;
                }
            }
        }
        for (uri, _) in named.iter().zip(resumed).filter(|(_, resumed)| !resumed) {
            tracing::info!(input = %uri, "reading {what} from the start");
        }
        Ok(())
    }
}

fn resume<R: Record>(name: &str, input: &mut Input<R>, position: &SourcePosition) -> Result<(), Failure> {
    if input.waits && !input.source.is_live() {
        tracing::info!(
            "{} cannot be reread: continuing with what arrives now",
            if name == "-" { "stdin" } else { name }
        );
        return Ok(());
    }
    input.source.resume_at(position).map_err(|error| match error.cause {
        Some(_) => Failure::Running(error.into()),
        // It can be read, and is not what was read before.
        None => Failure::Usage(error.into()),
    })
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
