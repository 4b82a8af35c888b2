//! Starts the threads of a run, with the channels between them.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::bounded;

use super::compute::start_workers;
use super::coordinator::{self, Coordinator};
use super::names::Names;
use super::reader::{Inputs, Reader, Rejects, TickSender};
use super::running::Running;
use super::snapshot::{self, FieldNames};
use super::supervisor::{OutputWatch, Part, Supervisor};
use super::worker::Durability;
use super::writer::Writer;
use super::{Job, Shared};
use crate::cluster::Links;

/// Starts a run. It ends when its inputs do or when [`Stop`](crate::stop::Stop) is set; the caller [joins](Running::join) it.
pub fn start(job: Job) -> Running {
    let started = Instant::now();
    let graph = job.graph();
    let Job { config, inputs, catalogue, controls, sinks, rejects, workers, links, ids, .. } = job;
    let Job { clock, progress, show, stop, state, resume, .. } = job;
    let mut supervisor = Supervisor::new(stop.clone(), 0);
    let (reporter, ending) = (supervisor.reporter.clone(), supervisor.ending.clone());
    let names = Arc::new(Names::new(config.graph.retention + config.graph.refresh));
    let shared = Shared { clock, stop, ids, names, progress, ending, reporter: reporter.clone() };

    // Both channels are short: the reader blocks on a full one, the coordinator stops taking ticks. So no thread runs ahead
    // of the slowest one.
    let (ticks_in, ticks) = bounded(1);
    let (completed_in, completed) = bounded(coordinator::COMPLETED_QUEUE);
    let store = state.as_ref().map(|state| Arc::clone(&state.store));
    let mut coordinator = Coordinator::new(ticks, completed_in, shared.clone());
    let waker = coordinator.waker.clone();

    let resumes_from = resume.as_ref().and_then(|resume| resume.manifest.clone());
    let all_workers = workers * links.as_ref().map_or(1, Links::processes);
    let mut durability = Durability { resumes: resume.is_some(), ..Durability::default() };
    let takes_snapshots = state.is_some();
    let mut output_progress = None;
    if let Some(state) = state {
        let fields = graph.catalogue.is_some().then(|| FieldNames::new(&config.catalogue.tag_groups));
        let (resumed, controls) = (resumes_from.as_deref(), graph.controls);
        let started = snapshot::start(state, resumed, all_workers, fields, controls, &shared, waker.clone());
        coordinator.snapshots = Some(started.schedule);
        (durability.saves, durability.snapshots) = (true, Some(started.link));
        output_progress = Some(started.output);
    }

    let out = TickSender { ticks: ticks_in, waker: waker.clone(), waiting: Arc::clone(&coordinator.reader_waits) };
    let rejects = Rejects::new(rejects, OutputWatch::new(|| "rejected records (--rejects)".to_owned()));
    supervisor.watch(rejects.watch.clone());
    let inputs = Inputs::new(inputs, catalogue, controls);
    let reader = Reader::new(config, inputs, rejects.clone(), shared.clone(), out, store, resume);
    reporter.spawn(Part::Reader, tracing::error_span!("reader"), move || reader.run());
    let writer = Writer::new(sinks, shared.clone(), graph.refresh, output_progress);
    supervisor.watch(writer.watch.clone());
    reporter.spawn(Part::Writer, tracing::error_span!("writer"), move || Ok(writer.run(&completed, &waker)?));
    let display = show.start(Arc::clone(&shared.progress), &reporter);
    let is_cluster = links.is_some();
    let names = graph.catalogue.is_some().then_some(shared.names);
    let has_controls = graph.controls;
    start_workers(workers, links, graph, Some(coordinator), durability, &supervisor);
    Running {
        started,
        progress: shared.progress,
        names,
        has_controls,
        supervisor,
        rejects,
        display,
        is_cluster,
        takes_snapshots,
    }
}
