//! The writer thread: replaces ids with names and writes results to their sinks.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use connectors::{Sink, SinkError};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflows::ListChange;
use dataflows::operators::RowChange;
use dataflows::types::{ReasonSource, Scored};
use schema::{Change, ItemName, ListKey, ListReason, Recommended, Similar, SimilarTo, UserName};

use super::Shared;
use super::clock::{Clock, now};
use super::names::{ForgottenNames, Table, TrendingNames};
use super::progress::grouped;
use super::snapshot::OutputProgress;
use super::supervisor::OutputWatch;
use super::tick::{CompletedOutput, Waker};
use crate::faults;

/// The sinks of a run, one for each kind of result.
pub struct Sinks {
    /// Changes of lists.
    pub changes: Box<dyn Sink<Change>>,
    /// Changed rows of similar items, of all items.
    pub similar_items: Option<Box<dyn Sink<Similar<ItemName>>>>,
    /// Changed rows of similar users, of the audience.
    pub similar_users: Option<Box<dyn Sink<Similar<UserName>>>>,
}

impl Sinks {
    /// The rows that the graph has to emit.
    pub(crate) fn outputs(&self) -> dataflows::config::Outputs {
        dataflows::config::Outputs {
            similar_items: self.similar_items.is_some(),
            similar_users: self.similar_users.is_some(),
        }
    }

    /// Flushes the changes last: in a topic their commit costs most.
    fn flush(&mut self, at: u64) -> Result<(), SinkError> {
        self.similar_items.as_mut().map_or(Ok(()), |sink| sink.flush(at))?;
        self.similar_users.as_mut().map_or(Ok(()), |sink| sink.flush(at))?;
        self.changes.flush(at)
    }

    fn maintain(&mut self) -> Result<(), SinkError> {
        self.similar_items.as_mut().map_or(Ok(()), |sink| sink.maintain())?;
        self.similar_users.as_mut().map_or(Ok(()), |sink| sink.maintain())?;
        self.changes.maintain()
    }

    /// Closes all sinks, also when one fails. `replace`: what files held before is replaced, even by nothing.
    fn close(&mut self, replace: bool) -> Result<(), SinkError> {
        fn end<R>(sink: &mut dyn Sink<R>, replace: bool) -> Result<(), SinkError> {
            if replace { sink.close() } else { sink.release() }
        }
        let changes = end(&mut *self.changes, replace);
        let similar_items = self.similar_items.as_mut().map_or(Ok(()), |sink| end(&mut **sink, replace));
        let similar_users = self.similar_users.as_mut().map_or(Ok(()), |sink| end(&mut **sink, replace));
        changes.and(similar_items).and(similar_users)
    }
}

/// Maximum number of outputs flushed together, so that a steady stream does not delay the first of them.
const MAX_OUTPUTS_PER_FLUSH: usize = 16;

/// Time without output after which the sinks are maintained.
const MAINTAIN_INTERVAL: Duration = Duration::from_millis(250);

/// Changes and rows named under one lock of the names. The reader needs the names too.
const CHANGES_PER_LOCK: usize = 256;
const ROWS_PER_LOCK: usize = 64;

/// Writes completed output.
pub(super) struct Writer {
    sinks: Sinks,
    shared: Shared,
    /// Names without state that standing lists may still have.
    forgotten: ForgottenNames,
    /// Tick up to which everything is written, if snapshots are taken.
    output_progress: Option<OutputProgress>,
    /// Calls of the sinks, which may wait for the outside world.
    pub(super) watch: OutputWatch,
}

impl Writer {
    pub(super) fn new(sinks: Sinks, shared: Shared, refresh: u64, output_progress: Option<OutputProgress>) -> Self {
        let (name, progress) = (sinks.changes.name().to_owned(), Arc::clone(&shared.progress));
        let watch = OutputWatch::new(move || format!("{name}: {} changes", grouped(progress.unacknowledged())));
        Writer { sinks, shared, forgotten: ForgottenNames::new(refresh), output_progress, watch }
    }

    /// Writes until the coordinator has ended, then closes the sinks. Fails where a sink does. If the reader of a pipe has
    /// closed it, which is a normal end, the other sinks are closed too.
    pub(super) fn run(mut self, outputs: &Receiver<CompletedOutput>, waker: &Waker) -> Result<(), SinkError> {
        let written = self.write_all(outputs, waker);
        if written.as_ref().is_err_and(|error| !error.closed) {
            return written;
        }
        let replace = !self.shared.progress.has_no_results();
        let watch = self.watch.clone();
        let closed = watch.during(|| faults::hit_sink("writer.close").and_then(|()| self.sinks.close(replace)));
        written.and(closed)
    }

    fn write_all(&mut self, outputs: &Receiver<CompletedOutput>, waker: &Waker) -> Result<(), SinkError> {
        let watch = self.watch.clone();
        loop {
            let mut last = match outputs.recv_timeout(MAINTAIN_INTERVAL) {
                Ok(first) => self.write(first, waker)?,
                Err(RecvTimeoutError::Timeout) => {
                    watch.during(|| self.sinks.maintain())?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // The output that arrived during the last flush is flushed together: in a topic a flush is a transaction.
            self.forgotten.add(std::mem::take(&mut last.forgotten), &self.shared.names);
            for output in outputs.try_iter().take(MAX_OUTPUTS_PER_FLUSH) {
                last = self.write(output, waker)?;
                self.forgotten.add(std::mem::take(&mut last.forgotten), &self.shared.names);
            }
            self.shared.progress.completed.store(last.events, Relaxed);
            watch.during(|| faults::hit_sink("writer.flush").and_then(|()| self.sinks.flush(last.at)))?;
            self.shared.progress.on_flush();
            if let Some(output_progress) = &self.output_progress {
                output_progress.set(last.time);
            }
            self.shared.names.expire(last.at);
            self.forgotten.forget(last.at, &self.shared.names);
        }
    }

    /// Writes an output and returns it without its changes.
    fn write(&mut self, mut output: CompletedOutput, waker: &Waker) -> Result<CompletedOutput, SinkError> {
        waker.wake();
        let names = &*self.shared.names;
        for changes in std::mem::take(&mut output.changes).chunks(CHANGES_PER_LOCK) {
            let named: Vec<Change> = {
                let (users, items, trending) = (names.users(), names.items(), names.trending());
                changes.iter().map(|change| named_change(change, &users, &items, &trending)).collect()
            };
            self.watch.during(|| {
                faults::hit_sink("writer.write")?;
                named.iter().try_for_each(|change| self.sinks.changes.write(change))
            })?;
            let progress = &self.shared.progress;
            let at_once = changes.iter().filter(|change| change.waited.is_none()).count();
            progress.changes.fetch_add(named.len() as u64, Relaxed);
            progress.at_once.fetch_add(at_once as u64, Relaxed);
            // By the event clock it means nothing when a change is written.
            let written = if self.shared.clock == Clock::Wall { now() } else { 0 };
            let waited = |change: &ListChange| Some(u64::from(change.waited?) + written.saturating_sub(change.at));
            progress.waits.record(changes.iter().filter_map(waited));
        }
        let watch = &self.watch;
        if let Some(sink) = &mut self.sinks.similar_items {
            write_rows(watch, &mut **sink, &output.rows.similar_items, || names.items(), |item| ItemName { item })?;
        }
        if let Some(sink) = &mut self.sinks.similar_users {
            write_rows(watch, &mut **sink, &output.rows.similar_users, || names.users(), |user| UserName { user })?;
        }
        Ok(output)
    }
}

fn write_rows<'n, N>(
    watch: &OutputWatch,
    sink: &mut dyn Sink<Similar<N>>,
    rows: &[RowChange],
    table: impl Fn() -> MutexGuard<'n, Table>,
    wrap: impl Fn(String) -> N,
) -> Result<(), SinkError> {
    for rows in rows.chunks(ROWS_PER_LOCK) {
        let named: Vec<Similar<N>> = {
            let table = table();
            let name =
                |id| wrap(table.get(id).expect("a name is kept until the last row with it is written").to_owned());
            let named = |row: &RowChange| Similar {
                of: name(row.of),
                at: row.at,
                similar: row
                    .similar
                    .iter()
                    .map(|(id, similarity)| SimilarTo { name: name(*id), similarity: *similarity })
                    .collect(),
            };
            rows.iter().map(named).collect()
        };
        watch.during(|| named.iter().try_for_each(|row| sink.write(row)))?;
    }
    Ok(())
}

fn named_change(change: &ListChange, users: &Table, items: &Table, trending: &TrendingNames) -> Change {
    let item = |id: u64| {
        // An item that only trends has an expiring name.
        let name = items.get(id).or_else(|| trending.items.get(id));
        name.expect("the name of an item is kept until the last list without it is written").to_owned()
    };
    let reason = |term: &dataflows::types::ListReason, sum| match term.source {
        ReasonSource::Item(id) => ListReason::of_item(item(id), term.points, sum),
        ReasonSource::Users(number) => ListReason::of_users(number, term.points, sum),
        ReasonSource::Less => ListReason::of_less(term.points, sum),
    };
    // Without reasons there is no entry for any item.
    let why = change.why.iter().map(Vec::as_slice).chain(std::iter::repeat(&[][..]));
    let recommended = change.items.iter().zip(why).map(|(&Scored { item: id, score }, why)| {
        // A `less` takes from the sum of the other terms, and they are parts of that.
        let taken = why.iter().filter(|term| term.source == ReasonSource::Less).map(|term| term.points).sum::<i64>();
        let why = why.iter().map(|term| reason(term, score - taken)).collect();
        Recommended { item: item(id), score, why }
    });
    Change {
        key: list_key(change.key, users, trending),
        at: change.at,
        items: recommended.collect(),
        entered: change.entered.iter().copied().map(item).collect(),
        left: change.left.iter().copied().map(item).collect(),
    }
}

/// The wire's key of a list of the graph.
fn list_key(key: dataflows::ListKey, users: &Table, trending: &TrendingNames) -> ListKey {
    const RETAINED: &str = "the name of a list is kept until its last change is written";
    match key {
        dataflows::ListKey::Everywhere => ListKey::Everywhere,
        dataflows::ListKey::User(user) => ListKey::parse(users.get(user).expect(RETAINED)).into_owned(),
        dataflows::ListKey::Room(scope) => ListKey::Room(trending.rooms.get(scope.id()).expect(RETAINED).to_owned()),
    }
}
