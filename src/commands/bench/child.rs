//! A measurement in a process of its own: its memory is its own, and nothing is warm from the one before.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::batches::BatchesTask;
use super::growth::GrowthTask;
use super::latency::LatencyTask;
use super::recovery::RecoveryTask;
use super::throughput::{GraphTask, ReplayTask};
use super::{batches, growth, latency, recovery, throughput};
use crate::commands::table;
use crate::failure::Failure;
use crate::stop::Stop;

/// What a child is to measure.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Task {
    Latency(LatencyTask),
    Batches(BatchesTask),
    Replay(ReplayTask),
    Graph(GraphTask),
    Growth(GrowthTask),
    Recovery(RecoveryTask),
}

/// Has a child measure, and waits for what it found: nothing, if it was stopped before it found anything.
pub(super) fn ask<R: DeserializeOwned>(task: &Task, stop: &Stop) -> Result<Option<R>, Failure> {
    answer(task, stop).map_err(Failure::Running)
}

fn answer<R: DeserializeOwned>(task: &Task, stop: &Stop) -> anyhow::Result<Option<R>> {
    let itself = std::env::current_exe().context("cannot find this program to start it again")?;
    let mut child = Command::new(itself)
        .args(["bench", "child", &serde_json::to_string(task)?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start this program again")?;
    // Open for as long as it is to go on: it also ends when this process is no more.
    let mut going_on = child.stdin.take();
    let mut stdout = child.stdout.take().context("a child has a stdout")?;
    let hearing = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for the measuring process")? {
            break status;
        }
        if stop.is_set() {
            drop(going_on.take());
        }
        thread::sleep(Duration::from_millis(20));
    };
    anyhow::ensure!(status.success(), "the measuring process failed ({status}); it says why above");
    let text = hearing.join().map_err(|_| anyhow::anyhow!("cannot hear the measuring process"))?;
    let text = text.context("cannot hear the measuring process")?;
    serde_json::from_str(&text).context("cannot make out what the measuring process says")
}

/// The child's side.
pub(super) fn main(task: &str, stop: &Stop) -> Result<(), Failure> {
    let task: Task = serde_json::from_str(task)
        .map_err(|error| Failure::Usage(anyhow::anyhow!("`bench child` is for the program itself: {error}")))?;
    let asked = stop.clone();
    thread::spawn(move || {
        // Nothing is ever written to it: it ends, or fails, when the measurement is to end.
        let end = io::copy(&mut io::stdin().lock(), &mut io::sink());
        tracing::debug!("asked to end: {end:?}");
        asked.set();
    });
    let found = match task {
        Task::Latency(task) => told(latency::measure(&task, stop)?.as_ref()),
        Task::Batches(task) => told(batches::measure(&task, stop)?.as_ref()),
        Task::Replay(task) => told(throughput::replay(&task, stop)?.as_ref()),
        Task::Graph(task) => told(throughput::graph(&task, stop)?.as_ref()),
        Task::Growth(task) => told(growth::measure(&task, stop)?.as_ref()),
        Task::Recovery(task) => told(recovery::measure(&task, stop)?.as_ref()),
    };
    table::say(&found?)
}

fn told<R: Serialize>(found: Option<&R>) -> Result<String, Failure> {
    serde_json::to_string(&found).map_err(|error| Failure::Running(error.into()))
}
