//! `deltarec snapshot`: lists, verifies, exports and prunes the snapshots of a state.

use std::borrow::Cow;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use schema::{Effect, MAX_LEVEL, WATCH};
use serde::Serialize;
use snapshots::{Damage, Depth, Inspected, Interaction, Manifest, Newest, Store};

use crate::commands::files::{is_closed, open_output, output_uri};
use crate::commands::same::{is_within, state_folder};
use crate::commands::table::{Table, say};
use crate::console;
use crate::engine::{grouped, report_passed_over};
use crate::failure::Failure;
use crate::stdio::check_stdout;
use crate::stop::Stop;

/// Examples of `deltarec snapshot --help`.
pub const EXAMPLES: &str = "\
Examples:
  deltarec snapshot list --state /var/lib/deltarec
  deltarec snapshot verify --state s3://bucket/shop
  deltarec snapshot export --state /var/lib/deltarec --output interactions.jsonl.zst
  deltarec snapshot export --state /var/lib/deltarec --output - | deltarec run --output lists.jsonl
  deltarec snapshot prune --state /var/lib/deltarec --keep 3

File formats and checks: docs/snapshots.md.
Exit codes: 0 success, 1 a snapshot is damaged or the state cannot be read, 2 usage.";

/// Subcommands of `deltarec snapshot`.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// List all snapshots, newest first, and check that their files exist and have the right size
    List(StateArgs),
    /// Read every file and verify its checksum and its rows
    Verify(VerifyArgs),
    /// Write the interactions of a snapshot as events that `deltarec run` can read
    Export(ExportArgs),
    /// Delete all but the newest sound snapshots, and files that belong to no snapshot
    Prune(PruneArgs),
}

const STATE: &str = "A folder, file:///FOLDER, or if built with cloud stores s3://BUCKET/PREFIX, gs://... or az://..., \
                     with credentials from the environment";

/// The option that names the store.
#[derive(Debug, Args)]
pub struct StateArgs {
    #[arg(long = "state", value_name = "URI", help = STATE)]
    uri: String,
}

/// Arguments of `deltarec snapshot verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Verify only this snapshot
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
}

/// Arguments of `deltarec snapshot export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Export this snapshot instead of the newest sound one
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Output for the events: PATH.jsonl (also .gz, .zst) or - for stdout; an existing file is replaced
    #[arg(long, value_name = "URI")]
    output: String,
}

/// Arguments of `deltarec snapshot prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Number of sound snapshots to keep
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: u32,
}

/// Runs the subcommand.
pub fn main(command: &SnapshotCommand, stop: &Stop) -> Result<(), Failure> {
    if !matches!(command, SnapshotCommand::Export(_)) {
        check_stdout()?;
    }
    match command {
        SnapshotCommand::List(state) => list(state),
        SnapshotCommand::Verify(args) => verify(args),
        SnapshotCommand::Export(args) => export(args, stop),
        SnapshotCommand::Prune(args) => prune(args),
    }
}

fn list(state: &StateArgs) -> Result<(), Failure> {
    let snapshots = Store::open(&state.uri)?.list(Depth::Sizes)?;
    if snapshots.is_empty() {
        console::say(&format!("{}: no snapshots", state.uri));
        return Ok(());
    }
    let mut table = Table::new("sequence|taken|time|rows|statements|controls|bytes|groups|state".split('|'));
    for snapshot in &snapshots {
        table.row(row(snapshot));
    }
    say(table.to_string().trim_end())
}

fn row(snapshot: &Inspected) -> [String; 9] {
    let of = |field: fn(&Manifest) -> String| snapshot.manifest.as_ref().map_or_else(|| "?".to_owned(), field);
    [
        snapshot.sequence.to_string(),
        of(|manifest| format_seconds(manifest.taken)),
        of(|manifest| format_ms(manifest.time.ms)),
        of(|manifest| grouped(manifest.rows)),
        of(|manifest| grouped(manifest.statements())),
        of(|manifest| grouped(manifest.control_count())),
        of(|manifest| grouped(manifest.bytes())),
        of(|manifest| manifest.files().count().to_string()),
        if snapshot.is_sound() { "whole" } else { "damaged" }.to_owned(),
    ]
}

fn format_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats a time of the graph.
fn format_ms(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms} ms"), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let store = Store::open(&args.state.uri)?;
    let snapshots = match args.sequence {
        Some(sequence) => vec![store.inspect(sequence, Depth::Rows)?],
        None => store.list(Depth::Rows)?,
    };
    if snapshots.is_empty() {
        return Err(Failure::Running(anyhow!("{}: no snapshots to verify; check the path", store.name())));
    }
    for snapshot in &snapshots {
        match &snapshot.manifest {
            Some(manifest) if snapshot.is_sound() => {
                let (files, rows) = (manifest.files().count(), grouped(manifest.rows));
                let catalogue = match manifest.statements() {
                    0 => String::new(),
                    statements => format!(", {} statements of the catalogue", grouped(statements)),
                };
                let controls = match manifest.control_count() {
                    0 => String::new(),
                    controls => format!(", {} controls", grouped(controls)),
                };
                say(&format!(
                    "snapshot {}: sound, {files} files, {rows} rows{catalogue}{controls}",
                    snapshot.sequence
                ))?;
            }
            _ => snapshot.damaged.iter().try_for_each(|damage| say(&format_damage(damage)))?,
        }
    }
    let damaged = snapshots.iter().filter(|snapshot| !snapshot.is_sound()).count();
    if damaged > 0 {
        let all = snapshots.len();
        return Err(Failure::Running(anyhow!(
            "{damaged} of {all} snapshots damaged; restore the files from a copy, or delete those manifests: a run uses \
             the newest sound snapshot"
        )));
    }
    Ok(())
}

fn format_damage(damage: &Damage) -> String {
    format!("snapshot {}: {}: {}", damage.sequence, damage.file, damage.reason)
}

fn export(args: &ExportArgs, stop: &Stop) -> Result<(), Failure> {
    let uri = output_uri(&args.output)?;
    if state_folder(&args.state.uri).is_some_and(|folder| is_within(&uri, folder)) {
        return Err(Failure::Usage(anyhow!("--output {uri} is in the folder of the state: name another place")));
    }
    let store = Store::open(&args.state.uri)?.with_any_ids();
    // Checked before the output is opened: damage must not replace an existing output.
    let manifest = sound_manifest(&store, args.sequence)?;
    let mut lines = open_output(&uri)?;
    for group in &manifest.groups {
        if stop.is_set() {
            return Err(Failure::Running(anyhow!("stopped: {uri} has only part of the snapshot")));
        }
        let rows = store.read_group(group)?;
        if is_closed(rows.iter().try_for_each(|row| lines.write(&Event::from(row))))? {
            return Ok(());
        }
    }
    is_closed(lines.close())?;
    let left_out = match manifest.control_count() {
        0 => String::new(),
        controls => format!(", without the {} controls of users", grouped(controls)),
    };
    console::say(&format!("snapshot {}: {} events{left_out}", manifest.sequence, grouped(manifest.rows)));
    Ok(())
}

/// Finds a snapshot with undamaged files: the given one, or the newest.
fn sound_manifest(store: &Store, sequence: Option<u64>) -> Result<Manifest, Failure> {
    let manifest = if let Some(sequence) = sequence {
        let Inspected { manifest, damaged, .. } = store.inspect(sequence, Depth::Contents)?;
        let is_sound = damaged.is_empty();
        report_passed_over(&Newest { damaged, ..Newest::default() });
        manifest.filter(|_| is_sound)
    } else {
        let newest = store.newest()?;
        report_passed_over(&newest);
        newest.manifest
    };
    manifest.ok_or_else(|| {
        let which = sequence.map_or_else(|| "no sound snapshot".to_owned(), |n| format!("snapshot {n} is not sound"));
        Failure::Running(anyhow!("{}: {which}; see deltarec snapshot list --state {}", store.name(), store.name()))
    })
}

fn prune(args: &PruneArgs) -> Result<(), Failure> {
    let store = Store::open(&args.state.uri)?;
    let pruned = store.prune(args.keep as usize, None, Depth::Contents)?;
    say(&format!(
        "deleted {} snapshots, {} files, {} bytes",
        grouped(pruned.snapshots as u64),
        grouped(pruned.files as u64),
        grouped(pruned.bytes)
    ))
}

/// A row as an event. Its action is not stored, so it gets an action of the same effect.
#[derive(Debug, Serialize)]
struct Event<'r> {
    user: &'r str,
    item: &'r str,
    action: Cow<'static, str>,
    ts: u64,
    /// For human readers; `deltarec run` uses the level of the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u8>,
    /// Of a watch.
    #[serde(skip_serializing_if = "Option::is_none")]
    dwell_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'r str>,
}

/// The first action of each level from 1 among the default levels.
const ACTIONS: [&str; 6] = ["view", "click", "like", "share", "cart", "purchase"];

/// The default retractions, each effect once.
const RETRACTIONS: [(Effect, &str); 5] = [
    (Effect::Retracts { of: 3, leaves: 1 }, "unlike"),
    (Effect::Retracts { of: 4, leaves: 0 }, "unfollow"),
    (Effect::Retracts { of: 5, leaves: 2 }, "remove_from_cart"),
    (Effect::Retracts { of: 6, leaves: 1 }, "return"),
    (Effect::Retracts { of: MAX_LEVEL, leaves: 0 }, "dislike"),
];

impl<'r> From<Interaction<'r>> for Event<'r> {
    fn from(Interaction { user, item, ts, effect, room }: Interaction<'r>) -> Self {
        let of_level = |level: u8| {
            let action = ACTIONS.get(usize::from(level).wrapping_sub(1));
            action.map_or_else(|| Cow::Owned(format!("level{level}")), |action| Cow::Borrowed(*action))
        };
        let (action, dwell_ms) = match effect {
            Effect::Counts(level) => (of_level(level), None),
            Effect::Retracts { of, leaves } => {
                let known = RETRACTIONS.iter().find(|(known, _)| *known == effect).map(|(_, action)| *action);
                (known.map_or_else(|| Cow::Owned(format!("retract{of}to{leaves}")), Cow::Borrowed), None)
            }
            Effect::Skips => (WATCH.into(), Some(0)),
            // From the least duration that is no skip by default.
            Effect::Attends => (WATCH.into(), Some(3_000)),
        };
        Event { user, item, action, ts, level: effect.level(), dwell_ms, room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::Levels;

    #[test]
    fn exported_actions_have_the_stored_effect() {
        let levels = Levels::default();
        let mut unknown = Vec::new();
        for stored in (0..=u8::MAX).filter_map(Effect::from_code) {
            let event = Event::from(Interaction { user: "u", item: "p", ts: 5, effect: stored, room: None });
            match levels.effect(&event.action, event.dwell_ms) {
                Ok(effect) => assert_eq!(effect, stored),
                // No default action has this effect; the configuration can define one of this name.
                Err(_) => unknown.push(event.action.into_owned()),
            }
        }
        assert_eq!((unknown.len(), unknown[0].as_str(), unknown[9].as_str()), (124, "level7", "retract1to0"));
    }
}
