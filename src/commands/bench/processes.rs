//! Runs a replay on several processes of this machine, for comparison with as many threads of one process.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use anyhow::Context;

use super::child::run_in_child;
use super::replay::{ReplayResult, ReplayTask};
use crate::commands::run::ClusterArgs;
use crate::failure::Failure;
use crate::stop::Stop;

/// Replays with `task.workers` divided among `processes`. Processor time and memory are summed.
pub(super) fn replay(
    task: &ReplayTask,
    processes: u16,
    folder: &Path,
    stop: &Stop,
) -> Result<Option<ReplayResult>, Failure> {
    let secret_file = folder.join("secret");
    // Guessable only on this machine.
    let secret = format!("{} {:?}", folder.display(), std::time::SystemTime::now());
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&secret_file);
    let written = file.and_then(|mut file| file.write_all(secret.as_bytes()));
    written.context("cannot write a secret").map_err(Failure::Running)?;
    let hosts = hosts(processes).context("cannot find free ports").map_err(Failure::Running)?;
    let process_task = |process: u16| {
        let cluster = ClusterArgs::of(hosts.clone(), process.to_string(), secret_file.clone());
        ReplayTask { workers: task.workers / processes, cluster: Some(cluster), ..task.clone() }
    };
    let others: Vec<_> = (1..processes)
        .map(|process| {
            let (task, stop) = (process_task(process), stop.clone());
            thread::spawn(move || run_in_child(&task, &stop))
        })
        .collect();
    let mut result = run_in_child(&process_task(0), stop)?;
    for other in others {
        let other = other.join().map_err(|_| Failure::Running(anyhow::anyhow!("a benchmark thread panicked")))??;
        if let (Some(result), Some(other)) = (&mut result, &other) {
            result.add_process(other);
        }
    }
    Ok(result)
}

fn hosts(processes: u16) -> std::io::Result<String> {
    // All listeners are open at the same time, so that no port is returned twice.
    let listeners = (0..processes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    Ok(addresses.collect::<std::io::Result<Vec<_>>>()?.join(","))
}
