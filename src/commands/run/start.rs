//! Carries out a plan: opens inputs and outputs, links the processes, and starts the threads.

use std::time::Duration;

use anyhow::anyhow;
use connectors::{KafkaOptions, OutputClaim, RejectLog, Uri, check_options, is_same_topic};
use schema::IdKey;

use super::id_key::warn_without_key;
use super::plan::{CoordinatorPlan, Endpoints, FollowerPlan};
use crate::cluster::GraphOptions;
use crate::config::Config;
use crate::console;
use crate::engine::{self, Job, Running, state};
use crate::failure::Failure;
use crate::stdio::check_stdout;
use crate::stop::Stop;

/// Starts a run. The cluster is linked last, so that a process that cannot run does not keep the others waiting. `None`:
/// the run was stopped before all processes were linked.
pub(super) fn start(plan: CoordinatorPlan, ids: IdKey, stop: Stop) -> Result<Option<Running>, Failure> {
    let CoordinatorPlan { config, workers, member, endpoints } = plan;
    // The header of a CSV in a pipe, a broker or a network disk may not answer.
    let (job, stopped) = (stop.clone(), stop);
    let opened = stopped.bound(OPEN_PATIENCE, move || open(endpoints, config, workers, ids, job));
    let Some(job) = opened.map_err(Failure::Running)? else { return Ok(stopped_early()) };
    let mut job = job?;
    if let Some(member) = member {
        let (resumes, catalogue, controls) = (job.resume.is_some(), job.has_catalogue(), job.has_controls());
        let options = GraphOptions { resumes, catalogue, controls, outputs: job.sinks.outputs() };
        job.links = member.gather(options, &job.stop)?;
        if job.links.is_none() {
            return Ok(stopped_early());
        }
    }
    Ok(Some(engine::start(job)))
}

/// Longest wait for what is being opened when the run is to end.
const OPEN_PATIENCE: Duration = Duration::from_millis(400);

fn stopped_early() -> Option<Running> {
    console::say("stopped before the run began: nothing was read, all outputs are as they were");
    None
}

/// Runs a process that computes for process 0, to its end.
pub(super) fn follow(plan: &FollowerPlan, stop: &Stop) -> Result<(), Failure> {
    let Some(links) = plan.member.gather(GraphOptions::default(), stop)? else { return Ok(()) };
    let saves = plan.config.state.uri.is_some();
    let workers = plan.member.me.workers as usize;
    Ok(engine::run_follower(&plan.config, links, workers, saves, stop)?)
}

/// Finds a topic that two of the inputs and outputs name by different brokers of one cluster. The plan has compared the
/// texts; this may have to ask the brokers.
fn check_topics(endpoints: &Endpoints, kafka: &KafkaOptions) -> Result<(), Failure> {
    let outputs = endpoints.outputs();
    let is_same = |a: &Uri, b: &Uri| match (a, b) {
        (Uri::Kafka(a), Uri::Kafka(b)) => is_same_topic(a, b, kafka),
        _ => Ok(false),
    };
    for (at, (option, output)) in outputs.iter().enumerate() {
        for (named, input) in endpoints.all_inputs() {
            if is_same(input, output)? {
                return Err(Failure::Usage(anyhow!(
                    "{option} {output} is the same topic as {named} {input}, by another name of its brokers: what is \
                     written would be read as records; name another topic"
                )));
            }
        }
        for (other, named) in &outputs[..at] {
            if is_same(named, output)? {
                return Err(Failure::Usage(anyhow!(
                    "{option} {output} and {other} {named} are the same topic by different names of its brokers: name \
                     another topic"
                )));
            }
        }
    }
    Ok(())
}

/// Opens the inputs and outputs of a run. A mistake in one of them must cost nothing: everything is claimed, opened and
/// compared before anything is created or fenced off, and what files hold is replaced only by results.
fn open(endpoints: Endpoints, config: Config, workers: usize, ids: IdKey, stop: Stop) -> Result<Job, Failure> {
    if endpoints.has_topic() {
        check_options(&config.kafka)?;
    }
    if endpoints.outputs().iter().any(|(_, output)| **output == Uri::Stdio) {
        check_stdout()?;
    }
    let store = config.state.uri.as_deref().map(|uri| state::claim(uri, &config, ids)).transpose()?;
    warn_without_key(ids, endpoints.all_inputs().map(|(_, uri)| uri));
    check_topics(&endpoints, &config.kafka)?;
    let claim = |uri: &Option<Uri>| uri.as_ref().map(|uri| OutputClaim::new(uri, &config.kafka)).transpose();
    let output = OutputClaim::new(&endpoints.output, &config.kafka)?;
    let rejects = claim(&endpoints.rejects)?;
    let (similar_items, similar_users) = (claim(&endpoints.similar_items)?, claim(&endpoints.similar_users)?);

    let Endpoints { input_args, catalogue_args, control_args, clock, show, rebuild, .. } = endpoints;
    let defaults = input_args.defaults(&config, rejects.is_some())?;
    let mut inputs = input_args.open(&config, &defaults)?;
    let open_catalogue = || catalogue_args.open(&config, clock, rejects.is_some());
    let mut catalogue = open_catalogue()?;
    let open_controls = || control_args.open(&config, rejects.is_some());
    let mut controls = open_controls()?;
    let stateful = store.map(|store| {
        let (named, records) = (&input_args.parse()?, input_args.reading());
        let run = state::StatefulRun {
            config: &config,
            named,
            defaults: &defaults,
            catalogue: state::OtherInputs {
                what: "the catalogue",
                named: &catalogue_args.uris()?,
                reopen: &|input| Ok(open_catalogue()?.swap_remove(input)),
            },
            controls: state::OtherInputs {
                what: "the controls",
                named: &control_args.uris()?,
                reopen: &|input| Ok(open_controls()?.swap_remove(input)),
            },
            records,
            ids,
            clock,
            rebuild,
        };
        state::prepare(&run, store, &mut inputs, &mut catalogue, &mut controls)
    });
    let stateful = stateful.transpose()?;

    let continues = stateful.as_ref().is_some_and(state::Prepared::continues);
    let rejects = rejects.map(|claim| RejectLog::to(claim, continues)).transpose()?.unwrap_or_default();
    let similar_items = similar_items.map(OutputClaim::open).transpose()?;
    let similar_users = similar_users.map(OutputClaim::open).transpose()?;
    // Last: of a topic, other writers are fenced off.
    let (sink, resume, state) = if let Some(stateful) = stateful {
        let (sink, resume, state) = stateful.open(output, &inputs)?;
        (sink, resume, Some(state))
    } else {
        let (sink, resume) = state::open_output(output, &inputs)?;
        (sink, resume, None)
    };
    let mut job = Job::new(config, inputs, sink);
    (job.sinks.similar_items, job.sinks.similar_users) = (similar_items, similar_users);
    Ok(Job { catalogue, controls, rejects, workers, ids, clock, show, stop, state, resume, ..job })
}
