//! Writes what the workers hand over, a file for each key group.

use std::sync::Arc;

use connectors::snapshot::{GroupFile, Interactions, RunId, Store};
use crossbeam_channel::{Receiver, Sender};
use dataflows::{GROUPS, Groups, Piece};
use serde::{Deserialize, Serialize};

use super::keeper::Handed;
use crate::run::names::Names;

/// What a process wrote of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::run) struct Report {
    pub(in crate::run) snapshot: u64,
    pub(in crate::run) process: usize,
    /// The files written. Groups without one have not changed since the last complete snapshot.
    pub(in crate::run) files: Vec<GroupFile>,
    /// Groups of which nothing is held any more.
    pub(in crate::run) empty: Vec<u8>,
    /// Why they are not all there.
    pub(in crate::run) failure: Option<String>,
}

/// See the module. One thread a process.
pub(in crate::run) struct Scribe {
    pub(in crate::run) store: Arc<Store>,
    /// Tells the files of this process from those of others.
    pub(in crate::run) run: RunId,
    pub(in crate::run) process: usize,
    pub(in crate::run) names: Arc<Names>,
    pub(in crate::run) handed: Receiver<Handed>,
    /// Workers of all processes.
    pub(in crate::run) workers: usize,
    pub(in crate::run) reports: Sender<Report>,
}

/// A snapshot being written.
struct Writing {
    report: Report,
    /// Of each group, how many workers have handed over all of it.
    handed_over: [usize; GROUPS],
    /// Groups still to be written.
    left: usize,
    /// What came of groups that are not complete.
    open: Vec<Interactions>,
}

/// Events between two looks at the names, which the reader and the writer need too.
const NAMED_AT_ONCE: usize = 512;

impl Scribe {
    /// Writes until the workers are gone.
    pub(in crate::run) fn run(self) {
        let mut writing: Option<Writing> = None;
        for handed in &self.handed {
            match (handed, &mut writing) {
                (Handed::Begins { snapshot, wanted }, _) => {
                    writing = Some(Writing::new(snapshot, self.process, wanted.into()));
                }
                (Handed::Piece(piece), Some(writing)) => self.take(&piece, writing),
                (Handed::Piece(_), None) => {}
            }
            if let Some(written) = writing.take_if(|writing| writing.left == 0) {
                // Nobody listens only when the run is over.
                self.reports.send(written.report).unwrap_or_default();
            }
        }
    }

    fn take(&self, piece: &Piece, writing: &mut Writing) {
        let group = usize::from(piece.group);
        if piece.snapshot != writing.report.snapshot {
            return;
        }
        for events in piece.events.chunks(NAMED_AT_ONCE) {
            let (users, items) = (self.names.users(), self.names.items());
            for event in events {
                let user = users.get(event.user).expect("names are held while a snapshot is taken");
                let item = items.get(event.item).expect("names are held while a snapshot is taken");
                writing.open[group].push((event.user, user), (event.item, item), event.ts, event.level);
            }
        }
        writing.handed_over[group] += usize::from(piece.last);
        if writing.handed_over[group] == self.workers {
            let interactions = std::mem::take(&mut writing.open[group]);
            writing.left -= 1;
            if interactions.is_empty() {
                writing.report.empty.push(piece.group);
            } else if writing.report.failure.is_none() {
                match self.store.put_group(writing.report.snapshot, self.run, piece.group, &interactions) {
                    Ok(file) => writing.report.files.push(file),
                    Err(error) => writing.report.failure = Some(error.to_string()),
                }
            }
        }
    }
}

impl Writing {
    fn new(snapshot: u64, process: usize, wanted: Groups) -> Self {
        Writing {
            report: Report { snapshot, process, files: Vec::new(), empty: Vec::new(), failure: None },
            left: wanted.iter().filter(|wanted| **wanted).count(),
            handed_over: [0; GROUPS],
            open: (0..GROUPS).map(|_| Interactions::default()).collect(),
        }
    }
}
