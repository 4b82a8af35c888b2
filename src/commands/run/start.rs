//! Carries out a plan: opens inputs and outputs, links the processes, and starts the threads.

use connectors::{RejectLog, Uri, open_sink};
use schema::IdKey;

use super::id_key::warn_without_key;
use super::plan::{CoordinatorPlan, Endpoints, FollowerPlan};
use crate::cluster::GraphOptions;
use crate::config::Config;
use crate::engine::{self, Job, Running, state};
use crate::failure::Failure;
use crate::stop::Stop;

/// Starts a run. Inputs are opened first: a mistake there must not replace an output. The cluster is linked last, so that
/// a process that cannot run does not keep the others waiting. `None`: the run was stopped before all processes were linked.
pub(super) fn start(plan: CoordinatorPlan, ids: IdKey, stop: Stop) -> Result<Option<Running>, Failure> {
    let CoordinatorPlan { config, workers, member, endpoints } = plan;
    let mut job = open(endpoints, config, workers, ids, stop)?;
    if let Some(member) = member {
        let options = GraphOptions { resumes: job.resume.is_some(), outputs: job.sinks.outputs() };
        job.links = member.gather(options, &job.stop)?;
        if job.links.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(engine::start(job)))
}

/// Runs a process that computes for process 0, to its end.
pub(super) fn follow(plan: &FollowerPlan, stop: &Stop) -> Result<(), Failure> {
    let Some(links) = plan.member.gather(GraphOptions::default(), stop)? else { return Ok(()) };
    let saves = plan.config.state.uri.is_some();
    let workers = plan.member.me.workers as usize;
    Ok(engine::run_follower(&plan.config, links, workers, saves, stop)?)
}

/// Opens the inputs and outputs of a run.
fn open(endpoints: Endpoints, config: Config, workers: usize, ids: IdKey, stop: Stop) -> Result<Job, Failure> {
    let Endpoints { input_args, inputs: uris, output, rejects, similar_items, similar_users, clock, show, rebuild } =
        endpoints;
    warn_without_key(ids, &uris);
    let dead_letters = matches!(rejects, Some(Uri::Kafka(_)));
    let mut inputs = input_args.open(&config, dead_letters)?;
    let (sink, resume, rejects, state) = if let Some(uri) = &config.state.uri {
        let rejects = if state::has_snapshots(uri)? {
            RejectLog::append(rejects.as_ref(), &config.kafka)?
        } else {
            RejectLog::open(rejects.as_ref(), &config.kafka)?
        };
        let records = input_args.reading();
        let run = state::StatefulRun {
            config: &config,
            state: uri,
            uris: &uris,
            output: &output,
            records,
            ids,
            clock,
            rebuild,
        };
        let (sink, resume, state) = state::prepare(run, &mut inputs)?;
        (sink, resume, rejects, Some(state))
    } else {
        let (sink, resume) = state::open_output(&output, &inputs, &config.kafka)?;
        (sink, resume, RejectLog::open(rejects.as_ref(), &config.kafka)?, None)
    };
    let similar_items = similar_items.map(|uri| open_sink(&uri, &config.kafka)).transpose()?;
    let similar_users = similar_users.map(|uri| open_sink(&uri, &config.kafka)).transpose()?;
    let mut job = Job::new(config, inputs, sink);
    (job.sinks.similar_items, job.sinks.similar_users) = (similar_items, similar_users);
    Ok(Job { rejects, workers, ids, clock, show, stop, state, resume, ..job })
}
