//! What a start says about newer snapshots that it does not use.

use std::fmt::Display;

use snapshots::{Missing, Newest};

/// Files that are named one by one. A state with more is damaged as a whole.
const NAMED: usize = 20;

/// Logs what is newer than the snapshot in use, or is not one.
pub fn report_passed_over(found: &Newest) {
    for damage in found.damaged.iter().take(NAMED) {
        tracing::warn!(snapshot = damage.sequence, file = %damage.file, error = %damage.reason, "snapshot is not used");
    }
    if let Some(more) = found.damaged.len().checked_sub(NAMED + 1) {
        tracing::warn!("snapshots are not used because of {} more damaged files", more + 1);
    }
    let used = found.manifest.as_ref().map(|manifest| manifest.sequence);
    let used: &dyn Display = used.as_ref().map_or(&"none", |sequence| sequence);
    match found.missing {
        Some(Missing { sequence, was_published: true }) => tracing::warn!(
            expected = sequence,
            %used,
            "the manifest of the newest snapshot is gone"
        ),
        Some(Missing { sequence, was_published: false }) => tracing::info!(
            begun = sequence,
            %used,
            "a newer snapshot has files and no manifest: the run ended while it was taken, or the manifest is gone"
        ),
        None => {}
    }
    for file in found.ignored.iter().take(NAMED) {
        tracing::warn!(file, "not the name of a manifest: the file is ignored");
    }
    if let Some(more) = found.ignored.len().checked_sub(NAMED + 1) {
        tracing::warn!("{} more files with such names are ignored", more + 1);
    }
}
