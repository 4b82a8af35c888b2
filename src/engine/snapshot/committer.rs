//! Makes a snapshot count: once all processes have written their files, its manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use connectors::SourcePosition;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflows::time::{first_of, ms_of};
use jiff::Timestamp;
use snapshots::{Depth, GroupFile, InputPosition, Manifest, RunId, Store, StoreError};

use super::writer::Report;
use super::{Begin, SnapshotStatus};
use crate::engine::names::Names;
use crate::engine::tick::Waker;
use crate::stop::Stop;

/// Why a snapshot is not complete. The one before stands.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Files are not written.
    #[error("process {process}: {failure}")]
    Files {
        /// Of which process.
        process: usize,
        /// What happened there.
        failure: String,
    },
    /// The manifest is not written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where each input goes on, by its name.
pub(crate) fn positions(names: &[String], positions: &[SourcePosition]) -> Vec<InputPosition> {
    let position = |(name, position): (&String, &SourcePosition)| InputPosition {
        name: name.clone(),
        position: serde_json::to_value(position).expect("a position is numbers under text keys"),
    };
    names.iter().zip(positions).map(position).collect()
}

/// See the module. One thread, in the first process.
pub(in crate::engine) struct SnapshotCommitter {
    pub(in crate::engine) store: Arc<Store>,
    pub(in crate::engine) run: RunId,
    pub(in crate::engine) processes: usize,
    pub(in crate::engine) workers: usize,
    /// What the answers depend on, for whoever goes on from here.
    pub(in crate::engine) meaning: serde_json::Map<String, serde_json::Value>,
    /// The inputs as the user named them.
    pub(in crate::engine) inputs: Vec<String>,
    pub(in crate::engine) keep: usize,
    /// Files of the snapshot that the run goes on from.
    pub(in crate::engine) files: Files,
    pub(in crate::engine) begins: Receiver<Begin>,
    pub(in crate::engine) reports: Receiver<Report>,
    pub(in crate::engine) told: SnapshotStatus,
    pub(in crate::engine) names: Arc<Names>,
    pub(in crate::engine) waker: Waker,
    /// Set when the output is gone: what is under way cannot be completed.
    pub(in crate::engine) gone: Stop,
    /// Set when another run has taken over the state: this one must not go on.
    pub(in crate::engine) stop: Stop,
}

/// Files of the last complete snapshot, by group and process.
pub(in crate::engine) type Files = BTreeMap<(u8, usize), GroupFile>;

/// How often the end of the run and the output are looked at.
const NAP: Duration = Duration::from_millis(2);

/// The files of a snapshot that a run of one writing process goes on from, if they can be named again: one for each group.
pub(in crate::engine) fn files_of(manifest: &Manifest) -> Option<Files> {
    let files: Files = manifest.groups.iter().map(|file| ((file.group, 0), file.clone())).collect();
    (!files.is_empty() && files.len() == manifest.groups.len()).then_some(files)
}

impl SnapshotCommitter {
    /// Completes snapshots until the first worker is done. The last failure, if it was the last snapshot's.
    pub(in crate::engine) fn run(self) -> Result<(), SnapshotError> {
        let mut files = self.files.clone();
        let mut last = Ok(());
        for begin in &self.begins {
            last = match self.complete(&begin, &files) {
                Ok(Some(complete)) => {
                    files = complete;
                    self.told.0.complete.store(begin.time, Release);
                    Ok(())
                }
                Ok(None) => Ok(()),
                Err(error) => {
                    tracing::warn!("snapshot {} is not complete, the one before stands: {error}", begin.number);
                    self.failed(&begin, &error, &mut files);
                    Err(error)
                }
            };
            self.told.0.failed.store(last.is_err(), Release);
            self.names.release();
            self.told.0.ended.store(begin.number, Release);
            self.waker.wake();
        }
        last
    }

    fn failed(&self, begin: &Begin, error: &SnapshotError, files: &mut Files) {
        match error {
            // Files of an older snapshot are gone, which this one would have named too: the next one has all groups.
            SnapshotError::Store(StoreError::Damaged { .. }) => {
                files.clear();
                self.told.0.complete.store(0, Release);
            }
            SnapshotError::Store(StoreError::Taken { .. }) => {
                self.told.0.lost.store(true, Release);
                self.stop.set();
            }
            _ => {}
        }
        if let Err(error) = self.store.discard(begin.number, self.run) {
            tracing::warn!("files of snapshot {} are left for now: {error}", begin.number);
        }
    }

    /// Waits for all files and for the output, then writes the manifest. `None` if the run ends before that.
    fn complete(&self, begin: &Begin, files: &Files) -> Result<Option<Files>, SnapshotError> {
        let mut files = files.clone();
        let mut reported = 0;
        while reported < self.processes {
            match self.reports.recv_timeout(NAP) {
                Ok(report) if report.snapshot != begin.number => {}
                Ok(report) => {
                    if let Some(failure) = report.failure {
                        return Err(SnapshotError::Files { process: report.process, failure });
                    }
                    reported += 1;
                    for group in report.empty {
                        files.remove(&(group, report.process));
                    }
                    files.extend(report.files.into_iter().map(|file| ((file.group, report.process), file)));
                }
                Err(RecvTimeoutError::Timeout) if !self.gone.is_set() => {}
                Err(_) => return Ok(None),
            }
        }
        while self.told.0.written.load(Acquire) < begin.time {
            if self.gone.is_set() {
                return Ok(None);
            }
            std::thread::sleep(NAP);
        }
        self.store.publish(&self.manifest(begin, &files))?;
        // Files that are not removed now are removed next time.
        if let Err(error) = self.store.prune(self.keep, None, Depth::Sizes) {
            tracing::warn!("old snapshots are not removed: {error}");
        }
        Ok(Some(files))
    }

    fn manifest(&self, begin: &Begin, files: &Files) -> Manifest {
        let mut groups: Vec<GroupFile> = files.values().cloned().collect();
        groups.sort_unstable_by(|a, b| (a.group, &a.file).cmp(&(b.group, &b.file)));
        Manifest {
            version: Manifest::VERSION,
            deltarec: env!("CARGO_PKG_VERSION").into(),
            sequence: begin.number,
            run: self.run,
            taken: Timestamp::now(),
            time: snapshots::Time {
                ms: ms_of(begin.time),
                sequence: (begin.time - first_of(ms_of(begin.time))) as u32,
            },
            meaning: self.meaning.clone(),
            inputs: positions(&self.inputs, &begin.positions),
            output: None,
            workers: self.workers,
            rows: groups.iter().map(|group| group.rows).sum(),
            groups,
        }
    }
}
